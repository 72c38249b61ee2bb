"""The phases of a run under way: progressing, and paused. (Promoting and rolling back have rooms of their own.)

Where one phase leads into another in the same tick (a verdict into its rollback, the last step into the promotion), it
calls that phase, so that the writes of both are in one decision.
"""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import Tell
from canary.decide.common import note_acceptance, percent_text, wake, written_now
from canary.decide.interrupts import anew, fail, interrupted, objection, repair, see_lowered
from canary.decide.pausing import BY_POLICY, pause, paused_for
from canary.decide.scope import Decision, Scope
from canary.decide.steps import enter, step
from canary.decide.writes import writes
from canary.model.status import Phase


def progressing(scope: Scope) -> Decision:
    """At a step: stop, start anew, wait for a person, or hold and go on."""
    interruption = interrupted(scope)
    if interruption is not None:
        return interruption
    scope, contested = repair(scope)
    if contested:
        return pause(scope, reasons.CONTESTED, contested)
    if scope.spec.paused:
        return pause(scope, reasons.PAUSED_BY_SPEC, "spec.paused is true")
    return step(scope)


def paused(scope: Scope) -> Decision:
    """Waits for a person; still stops when it must, and still puts back what others raise."""
    scope = note_acceptance(scope)
    stop = objection(scope)
    if stop is not None:
        return fail(scope, stop)
    changed = anew(scope)
    if changed is not None:
        return changed
    if paused_for(scope) not in BY_POLICY:
        scope = see_lowered(scope)
    reason = paused_for(scope)
    if reason == reasons.PAUSED_BY_SPEC and not scope.spec.paused:
        return resume(scope, "spec.paused is false again")
    if reason != reasons.CONTESTED:
        scope, contested = repair(scope)
        if contested:
            return pause(scope, reasons.CONTESTED, contested)
    if scope.step.index == 0:  # no traffic is wanted yet, and what a run before this one left goes at once
        repaired = written_now(scope)
        scope = scope.with_(*(write for write in writes(scope) if (write.kind, write.name) not in repaired))
    words = scope.status.paused.message if scope.status.paused else ""
    return scope.decide(
        reason,
        f"{scope.step_text}: paused at {percent_text(scope.written)}: {words}; `canary resume` or `canary abort`",
        wake(scope),
    )


def resume(scope: Scope, why: str) -> Decision:
    """Enter the current step again: its weight, its acceptance, its hold, its checks."""
    scope = scope.with_(
        Tell("Normal", reasons.RESUMED, f"{scope.step_text}: resumed: {why}"),
        phase=Phase.PROGRESSING,
        paused=None,
        fights=(),
        checks=tuple(check.model_copy(update={"failures": 0, "unknown_since": None}) for check in scope.status.checks),
    )
    return enter(scope, scope.step.index, tell=False)
