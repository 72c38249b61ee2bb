"""The phases of a run under way: progressing, and paused. (Promoting and rolling back have modules of their own.)"""

from __future__ import annotations

from datetime import datetime

from canary.decide import approval, reasons, scaling
from canary.decide.actions import EmitEvent, ForgetPodSpec
from canary.decide.availability import back, noted, why_away
from canary.decide.common import note_acceptance, wake
from canary.decide.drift import lessened, raised
from canary.decide.interrupts import fail, hold_down, interrupted, objection, repair, restart, see_lowered
from canary.decide.pausing import BY_POLICY, pause, paused_for, paused_text
from canary.decide.scope import CONTESTED_PACE, Next, Place, Scope, replaced
from canary.decide.steps import enter
from canary.decide.writes import writing
from canary.model.evolution import available, forgiven, replacing, resumed_over
from canary.model.status import Phase
from canary.model.values import number


def progressing(scope: Scope) -> Next:
    """At a step: stop, start over, wait for a person, or hold and go on."""
    scope = noted(scope)
    interruption = interrupted(scope)
    if interruption is not None:
        return interruption
    scope, contested = repair(scope)
    if contested:
        return pause(scope, reasons.CONTESTED, contested)
    if scope.spec.paused:
        return pause(scope, reasons.PAUSED_BY_SPEC, "spec.paused is true")
    if scope.run.unavailable_since is not None:
        return _unavailable(scope)
    return scope.goto(Place.STEP)


def _unavailable(scope: Scope) -> Next:
    """Without weight until the canary has a ready endpoint again; then the step begins anew."""
    if back(scope) and not scope.facts.blind:
        message = f"the canary has a ready replica again; {scope.step_text} begins anew"
        scope = scope.with_(EmitEvent("Normal", reasons.CANARY_AVAILABLE, message), run=available(scope.run))
        return enter(scope, scope.step.index, tell=False)
    scope, _ = writing(scope)
    index = scope.step.index
    extras = scope.mirror_at(index) is not None or scope.match_at(index) is not None
    what = "no traffic and no copies" if extras else "no weight"
    reason, why = why_away(scope, what)
    return scope.decide(reason, f"{why} ({scope.step_text})", wake(scope))


def paused(scope: Scope) -> Next:
    """Waits for a person; still stops when it must, and still puts back what others raise."""
    scope = scaling.waits_no_more(noted(note_acceptance(scope)))
    stop = objection(scope)
    if stop is not None:
        return fail(scope, stop)
    changed = restart(scope)
    if changed is not None:
        return changed
    if paused_for(scope) not in BY_POLICY:
        scope = see_lowered(scope)
    reason = paused_for(scope)
    if reason == reasons.PAUSED_BY_SPEC and not scope.spec.paused and not scope.facts.unread:
        return resume(scope, "spec.paused is false again")
    if reason == reasons.CONTESTED:
        scope = hold_down(scope)
    else:
        scope, contested = repair(scope)
        if contested:
            return pause(scope, reasons.CONTESTED, contested)
    if approval.awaiting(scope) and scope.run.unavailable_since is not None and back(scope):
        return resume(scope, "the canary has a ready replica again")
    # No traffic is wanted yet, and what a run before this one left goes at once; or nobody is there to answer.
    if scope.step.index == 0 or scope.run.unavailable_since is not None:
        scope, _ = writing(scope)
    words = scope.status.paused.message if scope.status.paused else ""
    if approval.awaiting(scope):
        return scope.decide(reason, f"{words} at {scope.found} ({scope.step_text})", wake(scope))
    wakes = [wake(scope), _next_override(scope) if reason == reasons.CONTESTED else None]
    return scope.decide(reason, paused_text(scope, words), min((at for at in wakes if at is not None), default=None))


def _next_override(scope: Scope) -> datetime | None:
    last = max(scope.status.overrides, default=None)
    return last + CONTESTED_PACE if last is not None and raised(scope) else None


def resume(scope: Scope, why: str) -> Next:
    """Enter the current step again: its weight, its acceptance, its hold, its checks."""
    stable, book = scope.facts.stable, scope.run.copied
    in_place = book is not None and book.kept != "" and replaced(scope) == book.kept
    if paused_for(scope) == reasons.STABLE_CHANGED and not in_place:
        # Whoever resumes has seen what stands there: it may be replaced, and is what a rollback would put back. What nobody sees now may not.
        forgotten = (
            (ForgetPodSpec(stable.name, stable.kind),) if stable is not None and stable.copied is not None else ()
        )
        scope = scope.with_(*forgotten, run=replacing(scope.run, replaced(scope) or scope.run.replaces))
    routes = tuple(
        resumed_over(record, {key: number(share) for key, share in lessened(scope, route).items()})
        if (route := scope.seen(record)) is not None and record.owned
        else record
        for record in scope.status.routes
    )
    scope = scaling.forgiven(scope).with_(
        EmitEvent("Normal", reasons.RESUMED, f"{scope.step_text}: resumed: {why}"),
        run=available(scope.run),
        phase=Phase.PROGRESSING,
        paused=None,
        routes=routes,
        overrides=(),
        checks=tuple(map(forgiven, scope.status.checks)),
    )
    return enter(scope, scope.step.index, tell=False)
