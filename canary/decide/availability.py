"""A canary without a ready endpoint: its weight goes to 0 at once, and comes back with the step if it does in time."""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.scope import Scope
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
        message = f"{scope.step_text}: canary workload {canary.name} {what} while it has traffic; {lost}"
        return scope.with_(
            EmitEvent("Warning", reasons.CANARY_UNAVAILABLE, f"{message} for {scope.spec.unavailable_grace} at most"),
            run=evolution.unavailable(scope.run, scope.now),
        )
    return scope


def back(scope: Scope) -> bool:
    """Whether the canary lost its weight for want of a ready endpoint, and has one again."""
    canary = scope.facts.canary
    return scope.run.unavailable_since is not None and (canary is None or canary.ready > 0)
