"""Waiting for a person: why, and whose word it takes to go on."""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.common import wake
from canary.decide.scope import Decision, Scope
from canary.model.evolution import pause_since
from canary.model.status import Phase

BY_POLICY = frozenset(
    {reasons.CHECK_FAILED, reasons.HOLD_LIMIT_EXCEEDED, reasons.NOT_ACCEPTED, reasons.CANARY_TOO_SMALL}
)
"""Reasons of a pause that spec.onFailure asked for."""

BY_HAND = frozenset({reasons.PAUSED_BY_REQUEST, reasons.LOWERED_BY_HAND, reasons.CONTESTED, reasons.STABLE_CHANGED})
"""Reasons of a pause that is a person's word: only a person ends it, also when another revision comes along."""


def paused_for(scope: Scope) -> str:
    """The reason of the pause; empty without one."""
    return scope.status.paused.reason if scope.status.paused else ""


def kept_by_hand(scope: Scope) -> bool:
    """Whether a run is paused by somebody's hand."""
    return scope.status.paused is not None and scope.status.paused.reason in BY_HAND


def pause(scope: Scope, reason: str, message: str) -> Decision:
    """Stay where the weights are and wait for a person. Writes nothing but repairs that are in the scope already."""
    return hold_still(scope, reason, message).decide(reason, paused_text(scope, message), wake(scope))


def paused_text(scope: Scope, why: str) -> str:
    """What a person reads of a pause: why first, then where, then what to do."""
    return f"{why}; paused at {scope.found} ({scope.step_text}); `canary resume` or `canary abort`"


def hold_still(scope: Scope, reason: str, message: str) -> Scope:
    """The run, paused for this reason, and people told so once."""
    before = scope.status.paused
    if before is None or before.reason != reason:
        kind = "Normal" if reason in {reasons.PAUSED_BY_REQUEST, reasons.PAUSED_BY_SPEC} else "Warning"
        scope = scope.with_(
            EmitEvent("Normal" if kind == "Normal" else "Warning", reason, f"{scope.step_text}: paused: {message}"),
            paused=pause_since(scope.now, reason, message),
        )
    return scope.with_(phase=Phase.PAUSED)
