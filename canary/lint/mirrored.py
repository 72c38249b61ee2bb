"""Answers to mirrored requests by content: who compares them, who reads what was compared, and who looks elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from canary.checks.comparable import unanswered
from canary.checks.resolve import overlay
from canary.lint.findings import Finding, Path, Rule, Severity, path_of
from canary.lint.source import Document
from canary.model.checks import Settings
from canary.model.rollout import RolloutSpec


def unread(document: Document, spec: RolloutSpec) -> Iterator[Finding]:
    """A comparer whose results nobody reads. Templates that are not known may."""
    if spec.comparer is None or any(one.mirrored is not None or one.template is not None for one in spec.checks):
        return
    words = "the step mirrors to a comparer, and no check reads what that finds: its answers decide nothing"
    path = path_of(spec.comparer_field)
    yield document.finding(Severity.WARNING, Rule.PLAN, path, words, "add a check with `mirrored`")


def check(document: Document, spec: RolloutSpec, path: Path) -> Iterator[Finding]:
    """A check of answers that nobody compares, and steps at which it says nothing and nobody else is there."""
    if spec.comparer is None:
        words = "no step mirrors to a comparer, so there are never any results to read"
        advice = "name one in the mirror of a step (`comparer`), or take the check out"
        yield document.finding(Severity.ERROR, Rule.PLAN, path, words, advice)
        return
    others = [one for one in spec.checks if one.mirrored is None and not overlay(one, Settings()).dry_run]
    for index, step in enumerate(spec.steps, 1):
        given = spec.shares_at(index).some or step.match is not None
        if given and not others and unanswered(spec, index):
            words = f"at step {index} no answers are compared; no other check looks there, so its weight rises on time alone"
            advice = "add a check with a threshold, or one with `compare`"
            yield document.finding(Severity.WARNING, Rule.PLAN, path, words, advice)
            return
