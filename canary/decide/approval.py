"""Approvals: a step that declares one is left only with a person's word."""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.common import at, wake
from canary.decide.pausing import paused_for
from canary.decide.scope import Decision, Scope
from canary.model.evolution import approved, pause_since
from canary.model.status import Phase


def declared(scope: Scope) -> bool:
    """Whether the step that the run is at declares an approval, given or not."""
    step = scope.declared_step if scope.status.step else None
    return step is not None and step.approval is not None


def wanted(scope: Scope) -> bool:
    """Whether the step may not be left before somebody approves it."""
    return declared(scope) and not scope.step.approved and not scope.run.full


def awaiting(scope: Scope) -> bool:
    """Whether the run is paused for want of nothing else."""
    return paused_for(scope) == reasons.AWAITING_APPROVAL


def ask(scope: Scope, message: str) -> Decision:
    """All that the step wants holds; a person has to say that the next one may begin."""
    words = "waiting for `canary promote`"
    if not awaiting(scope):
        scope = scope.with_(
            EmitEvent("Normal", reasons.AWAITING_APPROVAL, f"{scope.step_text}: {words}"),
            paused=pause_since(scope.now, reasons.AWAITING_APPROVAL, words),
        )
    return scope.with_(phase=Phase.PAUSED).decide(reasons.AWAITING_APPROVAL, message, wake(scope))


def give(scope: Scope) -> Scope:
    """Somebody approved the step: the run is under way again."""
    return at(scope, Phase.PROGRESSING).with_(step=approved(scope.step))
