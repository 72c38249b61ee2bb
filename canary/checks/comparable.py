"""At which steps canary and stable can be compared, which of them are one process, and what alpha each check has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from canary.checks.judges.against import Against
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
    if shares.weight == 0 and step.mirror is None:
        return "the canary has no traffic: nothing to compare"
    return ""


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
    judges = [check.judge for check in checks if isinstance(check.judge, Against)]
    if not judges:
        return checks
    alphas = iter(shared((*(judge.own for judge in judges), *[None] * unresolved), spec.shared_alpha))
    parts = max((1, *processes(spec)))
    return tuple(
        replace(check, judge=check.judge.given(next(alphas), parts)) if isinstance(check.judge, Against) else check
        for check in checks
    )
