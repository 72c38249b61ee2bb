"""At which steps canary and stable can be compared, which of them are one process, and what alpha each check has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.judges.evidence import shared
from canary.checks.resolve import ResolvedCheck
from canary.model.rollout import RolloutSpec


def incomparable(spec: RolloutSpec, index: int) -> str:
    """Why canary and stable are not compared at a one-based step, in words; empty where they are."""
    step, shares = spec.steps[index - 1], spec.shares_at(index)
    if step.match is not None:
        return "who opts in is no random sample of the users: nothing is compared"
    apart = sorted(name for name, share in shares.rules.items() if share != shares.weight)
    if apart:
        return f"rule {apart[0]} has a share of its own, and who uses it is no random sample: nothing is compared"
    if shares.weight == 100:
        return "stable has no traffic at 100 %: nothing to compare with"
    if step.mirror is not None and step.mirror.comparer is not None:
        return "copies go to a comparer, which sends both versions other numbers of requests: nothing is compared"
    if shares.weight == 0 and step.mirror is None:
        return "the canary has no traffic: nothing to compare"
    return ""


def unanswered(spec: RolloutSpec, index: int) -> str:
    """Why no answers are compared at a one-based step, in words; empty where they are."""
    mirror = spec.steps[index - 1].mirror
    return (
        "" if mirror is not None and mirror.comparer is not None else "the step mirrors to no comparer: nothing to read"
    )


def answered(spec: RolloutSpec) -> int:
    """At how many steps answers are compared, each by itself."""
    return sum(not unanswered(spec, index) for index in range(1, len(spec.steps) + 1))


def processes(spec: RolloutSpec) -> tuple[int, ...]:
    """By step, to which process its looks belong, from 1; 0: to none.

    Steps with a weight are one process, also across steps at which nothing is compared. Each mirror is one of its own, and
    what comes after it begins anew, since one state is kept.
    """
    found, number, weights = [], 0, False
    for index, step in enumerate(spec.steps, 1):
        if incomparable(spec, index):
            found.append(0)
            continue
        mirrors = step.mirror is not None
        if mirrors or not weights:
            number += 1
        weights = not mirrors
        found.append(number)
    return tuple(found)


def with_alphas(checks: Iterable[ResolvedCheck], spec: RolloutSpec, unresolved: int = 0) -> tuple[ResolvedCheck, ...]:
    """The checks, of which each comparison knows its part of alpha. `unresolved` of the Rollout may be comparisons too."""
    checks = tuple(checks)
    judges = [check.judge for check in checks if isinstance(check.judge, Against | Answers)]
    if not judges:
        return checks
    alphas = iter(shared((*(judge.own for judge in judges), *[None] * unresolved), spec.shared_alpha))
    parts, steps = max((1, *processes(spec))), answered(spec)
    given = []
    for check in checks:
        match check.judge:
            case Against():
                given.append(replace(check, judge=check.judge.given(next(alphas), parts)))
            case Answers():
                given.append(replace(check, judge=check.judge.given(next(alphas), steps)))
            case _:
                given.append(check)
    return tuple(given)
