"""A canary without a ready endpoint: its weight goes to 0 at once, and comes back with the step if it does in time."""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.scope import Scope
from canary.decide.sight import untold
from canary.model import evolution

MOST_OUTAGES = 3
"""How often a canary may come back in one run."""


def noted(scope: Scope) -> Scope:
    """Keep the book of outages: since when nobody could answer for the canary while it was to have traffic."""
    canary = scope.facts.canary
    if canary is None or scope.run.outcome is not None:
        return scope
    gone = canary.ready == 0
    if scope.run.unavailable_since is None:
        if not gone or not scope.has_traffic or not scope.wants_traffic:
            return scope
        extras = scope.mirror is not None or scope.match is not None
        lost = "it gets no traffic and no copies" if extras else "its weight goes to 0"
        what = "has no ready replica" if canary.exists else "does not exist"
        message = (
            f"{scope.step_text}: canary workload {canary.name} {what} while it has traffic{canary.who_emptied}; {lost}"
        )
        return scope.with_(
            EmitEvent("Warning", reasons.CANARY_UNAVAILABLE, f"{message} for {scope.spec.unavailable_grace} at most"),
            run=evolution.unavailable(scope.run, scope.now),
        )
    return scope


def back(scope: Scope) -> bool:
    """Whether the canary lost its weight for want of a ready endpoint, and is seen to have one again that is what the run is about."""
    canary = scope.facts.canary
    if scope.run.unavailable_since is None or untold(scope.facts):
        return False
    return canary is None or canary.ready > 0


def why_away(scope: Scope, what: str) -> tuple[str, str]:
    """Why the canary has `what` (no weight, say), and what it waits for: a constant, and words."""
    canary, why = scope.facts.canary, untold(scope.facts)
    if canary is None and why:
        words = f"the canary had no ready replica when it was last seen, so it has {what}; {why}"
        return reasons.REVISION_UNKNOWN, words
    name, who = (canary.name, canary.who_emptied) if canary is not None else ("the canary", "")
    if canary is not None and canary.ready > 0 and why:
        words = f"{name} had no ready replica, so it has {what}; it has one again, and its revision is not known: {why}"
        return reasons.REVISION_UNKNOWN, words
    return reasons.CANARY_UNAVAILABLE, f"{name} has no ready replica{who}, so it has {what}; waiting for one"
