"""All steps passed: make stable what the canary is, then give it the traffic back."""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import CopyPodSpec, EmitEvent
from canary.decide.availability import noted, why_away
from canary.decide.common import at, note_acceptance, wake
from canary.decide.copying import booked, given_up, tidied_copy, untidied, waits_until
from canary.decide.dividing import unwritable
from canary.decide.drift import lowered
from canary.decide.ending import end, still_waiting
from canary.decide.facts import WorkloadView
from canary.decide.holds import LATE_ANYWHERE, why_stuck
from canary.decide.interrupts import interrupted, repair
from canary.decide.pausing import pause
from canary.decide.rising import too_late_to_rise
from canary.decide.scope import Decision, Next, Place, Scope
from canary.decide.writes import won_on_record, writing
from canary.model.evolution import copying, ended, unaccepted
from canary.model.rollout import Promotion
from canary.model.run_status import Outcome
from canary.model.status import Phase


def promoting(scope: Scope) -> Next:
    """All steps passed: make stable what the canary is, then give it the traffic back."""
    if scope.run.outcome is Outcome.SUCCEEDED:
        return scope.goto(Place.FINISHING)
    scope = noted(scope)
    interruption = interrupted(scope)
    if interruption is not None:
        return interruption
    scope, contested = repair(note_acceptance(scope))
    if contested:
        return pause(scope, reasons.CONTESTED, contested)
    if scope.spec.paused and not scope.facts.unread:
        return pause(scope, reasons.PAUSED_BY_SPEC, "spec.paused is true (promoting)")
    if scope.run.unavailable_since is not None:
        scope, _ = writing(at(scope, Phase.PROGRESSING))
        reason, why = why_away(scope, "no weight")
        return scope.decide(reason, f"{why} ({scope.step_text})", wake(scope))
    if scope.facts.unread:
        # Least of all by a default: a promotion that nobody can read is none that somebody has declared.
        message = f"{scope.facts.unread}; nothing is promoted before that can be read; {scope.found} on the canary (promoting)"
        return scope.decide(reasons.INVALID, message, wake(scope))
    if scope.promotion is Promotion.SWAP:
        return _swap(scope)
    scope, _ = writing(scope)  # the copies of the last step are over
    return _copy(scope) if scope.promotion is Promotion.COPY else _await(scope)


def _copy(scope: Scope) -> Next:
    canary, stable = scope.facts.canary, scope.facts.stable
    unseen = scope.facts.unseen_canary or scope.facts.unseen_stable
    if unseen is not None:
        message = f"{unseen.name} cannot be seen: {unseen.why} (promoting)"
        return scope.decide(reasons.AWAITING_STABLE, message, wake(scope))
    if canary is None or stable is None or not canary.exists or not stable.exists:
        gone = "workloads" if canary is None or stable is None else (canary if not canary.exists else stable).name
        return scope.decide(
            reasons.AWAITING_STABLE, f"{gone} does not exist; create it or abort (promoting)", wake(scope)
        )
    book = booked(scope)
    if stable.revision == scope.run.revision and (book is None or not book.kept):
        pass  # it is what was to be copied, whoever put it there
    elif book is None:
        if scope.run.replaces not in {"", stable.revision}:
            return _stable_changed(scope, stable, since="during the run")
        return _about_to_copy(scope.with_(run=copying(scope.run, stable.kind, stable.name, stable.revision)))
    elif not book.kept:
        if stable.revision != book.replaced:
            return _stable_changed(scope, stable, since="before anything was copied")
        if not (scope.facts.recorded.copying and scope.facts.recorded.run == scope.run.number):
            return _about_to_copy(scope)
        return _copy_over(scope, canary, stable)
    elif stable.revision != book.kept:
        return _stable_changed(scope, stable, since="after it was copied")
    elif book.kept != scope.run.revision:
        words = (
            f"the API server keeps another pod spec on {stable.name} than was copied (admission); it counts as copied"
        )
        scope = scope.with_(EmitEvent("Normal", reasons.COPY_ALTERED, words, once=True))
    if not stable.rolled_out:
        message = f"waiting for {stable.name} to roll out revision {stable.revision}{why_stuck(stable)} (promoting)"
        reason = reasons.PODS_NOT_UPDATED if stable.stuck else reasons.AWAITING_STABLE
        return scope.decide(reason, message, wake(scope))
    return _succeed(scope, f"{stable.name} runs revision {stable.revision}")


def _about_to_copy(scope: Scope) -> Decision:
    """That the run copies, and over what, is on record before the workload is written: whatever happens then, it is known whose it was."""
    message = "putting on record what the copy is made over (promoting)"
    return scope.decide(reasons.PROMOTING, message, wake(scope))


def _copy_over(scope: Scope, canary: WorkloadView, stable: WorkloadView) -> Decision:
    copy = CopyPodSpec(
        canary.name,
        stable.name,
        scope.run.revision,
        stable.revision,
        scope.facts.uid,
        scope.run.number,
        canary.kind,
        stable.kind,
    )
    why = f": {scope.facts.uncopied}" if scope.facts.uncopied else ""
    message = f"copying the pod spec of {canary.name} to {stable.name} (promoting){why}"
    return scope.with_(copy).decide(reasons.PROMOTING, message, wake(scope))


def _stable_changed(scope: Scope, stable: WorkloadView, *, since: str) -> Decision:
    """Somebody's change of stable is not overwritten by a copy that knows nothing of it."""
    who = stable.writer or "somebody unknown"
    return pause(
        scope,
        reasons.STABLE_CHANGED,
        f"{who} changed {stable.name} {since} (now revision {stable.revision}); `resume` copies over it, `abort` keeps it",
    )


def _await(scope: Scope) -> Next:
    canary, stable = scope.facts.canary, scope.facts.stable
    if scope.step.approved:
        return _succeed(scope, "ended by `canary promote`")
    workloads, unseen = scope.spec.workloads, scope.facts.unseen_stable
    comparable = workloads is not None and workloads.comparable
    if unseen is not None and comparable:
        what = f"waiting for {unseen.name} to run revision {scope.run.revision}, or for `canary promote`, which says that it does"
        message = f"{what}; it cannot be seen: {unseen.why} (promoting)"
        return scope.decide(reasons.AWAITING_STABLE, message, wake(scope))
    if stable is None or not comparable or (canary is None and scope.facts.unseen_canary is None):
        message = f"waiting for `canary promote`, which says that stable is up to date; {scope.found} on the canary"
        return scope.decide(reasons.AWAITING_STABLE, message, wake(scope))
    current = stable.known and stable.revision == scope.run.revision
    if current and stable.rolled_out:
        return _succeed(scope, f"{stable.name} runs revision {stable.revision}")
    reason, why = reasons.AWAITING_STABLE, ""
    if stable.unknown:
        reason, why = reasons.REVISION_UNKNOWN, f"; its revision is not known: {stable.unknown}"
    elif current and stable.stuck:
        reason, why = reasons.PODS_NOT_UPDATED, why_stuck(stable)
    message = f"waiting for {stable.name} to run revision {scope.run.revision}{why} (promoting)"
    return scope.decide(reason, message, wake(scope))


def _swap(scope: Scope) -> Next:
    stuck = unwritable(scope)
    if stuck:
        return scope.decide(
            reasons.ROUTE_UNWRITABLE, f"{stuck}; all traffic to the canary waits for that (promoting)", wake(scope)
        )
    late = too_late_to_rise(scope, LATE_ANYWHERE)
    if late is not None:
        return late
    scope, pending = writing(scope)
    if not pending:
        scope = note_acceptance(scope)
    waiting = scope.unaccepted
    if pending or waiting is not None:
        what = f": {waiting.label}: {waiting.acceptance.message}" if waiting is not None else ""
        return scope.decide(reasons.AWAITING_ACCEPTANCE, f"all traffic to the canary{what} (promoting)", wake(scope))
    return _succeed(scope, "the two change roles")


def _succeed(scope: Scope, message: str) -> Next:
    """The run is won; what is left is to give the traffic back. From here on nothing makes it fail."""
    swap = scope.promotion is Promotion.SWAP
    scope = scope.with_(
        run=ended(scope.run, Outcome.SUCCEEDED, reasons.SUCCEEDED, message, scope.now, swap=swap),
        step=unaccepted(scope.step, scope.now),
    )
    return at(scope, Phase.PROMOTING).goto(Place.FINISHING)


def finishing(scope: Scope) -> Decision:
    """The run is won: the traffic goes back, and the outcome on record before the last of it."""
    # As soon as that is on record: until then a restart finds a run that may still fail. A record that outlives the run (which may be
    # deleted while a gateway still answers) is of no good to anybody.
    forgetting = tidied_copy(scope) if won_on_record(scope) else ()
    scope, kept = _as_a_hand_left_it(scope)
    scope, pending = writing(scope.with_(*forgetting))
    if pending:
        # After a Swap the canary of before is stable, and has it.
        doing = "letting go of the routes" if scope.run.swap else "returning traffic to stable"
        return scope.decide(reasons.FINISHING, f"{doing}{kept} (promoting)", wake(scope))
    waiting, limit = still_waiting(scope)
    if waiting and limit is not None:
        return scope.decide(reasons.FINISHING, f"waiting for {waiting}{kept} (promoting)", limit)
    stable = scope.facts.stable
    if forgetting and stable is not None and not given_up(scope):
        words = f"forgetting the pod spec that {stable.name} ran before (promoting){untidied(scope)}"
        return scope.decide(reasons.FINISHING, words, waits_until(scope))
    late = f"; still not accepted: {waiting}" if waiting else ""
    return end(scope, Phase.SUCCEEDED, reasons.SUCCEEDED, f"{scope.run.message}{late}{kept}")


def _as_a_hand_left_it(scope: Scope) -> tuple[Scope, str]:
    """Say of a Swap that is won where somebody has lowered the canary's share since: in words behind a semicolon. It is not raised again."""
    drift = lowered(scope) if scope.run.swap else None
    if drift is None:
        return scope, ""
    told = EmitEvent("Warning", reasons.LOWERED_BY_HAND, f"{drift.message}; the run is won, and leaves that", once=True)
    return scope.with_(told), f"; {drift.message}"
