"""Phases of a run, one function each: progressing, paused, promoting, rolling back.

Each takes a scope and returns a decision; where one phase leads into another in the same tick (a verdict into its
rollback), it calls that phase, so that the writes of both are in one decision.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

from canary.decide import reasons
from canary.decide.actions import CopyPodSpec, ForgetPodSpec, RemoveFinalizer, RestorePodSpec, Tell, WriteRoute
from canary.decide.drift import lowered, raised
from canary.decide.guards import ALWAYS, STOP, Stop, first_objection
from canary.decide.resting import begin
from canary.decide.scope import FIGHT_LIMIT, FIGHT_WINDOW, Decision, Scope
from canary.decide.writes import put_back, releases, unwritable, writes
from canary.model.rollout import OnFailure, Promotion
from canary.model.status import Outcome, PauseStatus, Phase, RolloutStatus, VerdictKind
from canary.model.values import decimal_text


def progressing(scope: Scope) -> Decision:
    """At a step: stop, start anew, wait for a person, or hold and go on."""
    interrupted = _interrupted(scope)
    if interrupted is not None:
        return interrupted
    scope, contested = _repair(scope)
    if contested:
        return pause(scope, reasons.CONTESTED, contested)
    if scope.spec.paused:
        return pause(scope, reasons.PAUSED_BY_SPEC, "spec.paused is true")
    return _step(scope)


def paused(scope: Scope) -> Decision:
    """Waits for a person; still stops when it must, and still puts back what others raise."""
    scope = _note_acceptance(scope)
    stop = objection(scope)
    if stop is not None:
        return fail(scope, stop)
    changed = _anew(scope)
    if changed is not None:
        return changed
    if _paused_for(scope) not in BY_POLICY:
        scope = _see_lowered(scope)
    reason = _paused_for(scope)
    if reason == reasons.PAUSED_BY_SPEC and not scope.spec.paused:
        return resume(scope, "spec.paused is false again")
    if reason != reasons.CONTESTED:
        scope, contested = _repair(scope)
        if contested:
            return pause(scope, reasons.CONTESTED, contested)
    if scope.step.index == 0:  # no traffic is wanted yet, and what a run before this one left goes at once
        repaired = _written_now(scope)
        scope = scope.with_(*(write for write in writes(scope) if (write.kind, write.name) not in repaired))
    words = scope.status.paused.message if scope.status.paused else ""
    return scope.decide(
        reason,
        f"{scope.step_text}: paused at {_percent(scope.written)}: {words}; `canary resume` or `canary abort`",
        _wake(scope),
    )


def promoting(scope: Scope) -> Decision:
    """All steps passed: make stable what the canary is, then give it the traffic back."""
    if scope.run.outcome is Outcome.SUCCEEDED:
        return _finish(scope)
    interrupted = _interrupted(scope)
    if interrupted is not None:
        return interrupted
    scope, contested = _repair(_note_acceptance(scope))
    if contested:
        return pause(scope, reasons.CONTESTED, contested)
    match scope.spec.promotion_mode:
        case Promotion.COPY:
            return _copy(scope)
        case Promotion.AWAIT:
            return _await(scope)
        case Promotion.SWAP:
            return _swap(scope)


def rolling_back(scope: Scope) -> Decision:
    """Everything back to stable. Each route on its own; nothing here waits before it writes."""
    stable = scope.facts.stable
    if stable is not None and stable.copied:
        scope = scope.with_(RestorePodSpec(stable.name))
    pending = writes(scope)
    scope = scope.with_(*pending)
    why = scope.run.message
    if pending:
        names = ", ".join(action.name for action in pending)
        return scope.decide(reasons.ROLLING_BACK, f"rolling back ({why}): writing {names}", _wake(scope))
    if stable is not None and stable.copied:
        return scope.decide(reasons.ROLLING_BACK, f"rolling back ({why}): restoring the pod spec of {stable.name}")
    waiting, limit = _still_waiting(scope)
    if waiting and limit is not None:
        return scope.decide(reasons.ROLLING_BACK, f"rolled back ({why}): waiting for {waiting}", limit)
    late = f"; still not accepted: {waiting}" if waiting else ""
    return _end(scope, Phase.ROLLED_BACK, reasons.ROLLED_BACK, f"rolled back: {why}{late}")


def fail(scope: Scope, stop: Stop) -> Decision:
    """A run has to stop: pause where the policy says so, else roll back in this very tick."""
    if stop.policy and scope.spec.on_failure is OnFailure.PAUSE:
        return pause(scope, stop.reason, stop.message)
    scope = scope.with_run(
        outcome=Outcome.ROLLED_BACK, reason=stop.reason, message=stop.message[:512], ended_at=scope.now
    )
    scope = scope.with_(Tell("Warning", stop.reason, f"{scope.step_text}: {stop.message}; all traffic back to stable"))
    return rolling_back(_at(scope, Phase.ROLLING_BACK))


def objection(scope: Scope) -> Stop | None:
    """Why an undecided run must stop now, whatever anybody asks for."""
    if not scope.status.active or scope.run.outcome is not None:
        return None
    return first_objection(scope, ALWAYS if _paused_for(scope) in BY_POLICY else STOP)


def pause(scope: Scope, reason: str, message: str) -> Decision:
    """Stay where the weights are and wait for a person. Writes nothing but repairs that are in the scope already."""
    text = f"{scope.step_text}: paused at {_percent(scope.written)}: {message}; `canary resume` or `canary abort`"
    return _hold_still(scope, reason, message).decide(reason, text, _wake(scope))


def _hold_still(scope: Scope, reason: str, message: str) -> Scope:
    before = scope.status.paused
    if before is None or before.reason != reason:
        kind = "Normal" if reason in {reasons.PAUSED_BY_REQUEST, reasons.PAUSED_BY_SPEC} else "Warning"
        scope = scope.with_(
            Tell("Normal" if kind == "Normal" else "Warning", reason, f"{scope.step_text}: paused: {message}"),
            paused=PauseStatus(reason=reason, message=message[:512], since=scope.now),
        )
    return scope.with_(phase=Phase.PAUSED)


def resume(scope: Scope, why: str) -> Decision:
    """Enter the current step again: its weight, its acceptance, its hold, its checks."""
    scope = scope.with_(
        Tell("Normal", reasons.RESUMED, f"{scope.step_text}: resumed: {why}"),
        phase=Phase.PROGRESSING,
        paused=None,
        fights=(),
        checks=tuple(check.model_copy(update={"failures": 0, "unknown_since": None}) for check in scope.status.checks),
    )
    return _enter(scope, scope.step.index, tell=False)


BY_POLICY = frozenset({reasons.CHECK_FAILED, reasons.HOLD_LIMIT_EXCEEDED, reasons.NOT_ACCEPTED})
"""Reasons of a pause that spec.onFailure asked for."""

BY_HAND = frozenset({reasons.PAUSED_BY_REQUEST, reasons.LOWERED_BY_HAND, reasons.CONTESTED})
"""Reasons of a pause that is a person's word: only a person ends it, also when another revision comes along."""


def kept_by_hand(scope: Scope) -> bool:
    """Whether a run is paused by somebody's hand."""
    return scope.status.paused is not None and scope.status.paused.reason in BY_HAND


# -- parts of the phases -------------------------------------------------------------------------------------------


def _interrupted(scope: Scope) -> Decision | None:
    """What takes a run out of its course, in this order: it must stop, a person lowered the share, it must start anew."""
    stop = objection(scope)
    if stop is not None:
        return fail(scope, stop)
    anew = _anew(scope)
    if anew is not None:
        return anew
    drift = lowered(scope)
    if drift is not None:
        return pause(scope, reasons.LOWERED_BY_HAND, drift.message)
    return None


def _see_lowered(scope: Scope) -> Scope:
    """Take note of a person's hand before anything ends the pause, or the run in which it was seen.

    A pair that is gone may be gone because the plan names another one now: that is for the new run to find out.
    """
    drift = None if kept_by_hand(scope) and _paused_for(scope) != reasons.PAUSED_BY_REQUEST else lowered(scope)
    if drift is None or (drift.gone and scope.run.plan != scope.spec.plan_hash()):
        return scope
    return _hold_still(scope, reasons.LOWERED_BY_HAND, drift.message)


def _paused_for(scope: Scope) -> str:
    return scope.status.paused.reason if scope.status.paused else ""


def _anew(scope: Scope) -> Decision | None:
    """A new revision, or another plan: traffic back to stable, and from step one."""
    canary = scope.facts.canary
    if canary is not None and canary.exists and canary.revision != scope.run.revision:
        reason, why = (
            reasons.SUPERSEDED,
            f"revision {canary.revision} replaces {scope.run.revision or 'the one before'}",
        )
    elif scope.run.plan != scope.spec.plan_hash():
        reason, why = reasons.PLAN_CHANGED, "routes, Services, workloads or steps were edited"
    else:
        return None
    scope = _see_lowered(scope)
    before = scope.run.number
    trigger = scope.run.trigger
    stable = scope.facts.stable
    if stable is not None and stable.copied:
        scope = scope.with_(ForgetPodSpec(stable.name))
    kept = scope.status.paused if kept_by_hand(scope) else None
    scope = begin(scope, by=trigger.by, reason=why)
    message = f"run {before} gives way to run {scope.run.number}: {why}; traffic back to stable, from step one"
    if kept is not None:
        scope = scope.with_(phase=Phase.PAUSED, paused=kept)
        message += f"; still paused: {kept.message}"
    return scope.with_(Tell("Normal", reason, message)).decide(reason, message)


def _repair(scope: Scope) -> tuple[Scope, str]:
    """Put back what somebody raised. The third time in ten minutes is the last: then also say that it is contested."""
    drifts = raised(scope)
    if not drifts:
        return scope, ""
    fresh = [drift for drift in drifts if _unfought(scope, drift.route.kind, drift.route.name, drift.route.generation)]
    recent = tuple(at for at in scope.status.fights if scope.now - at < FIGHT_WINDOW)
    fights = (*recent, *([scope.now] if fresh else []))[-FIGHT_LIMIT:]
    message = "; ".join(drift.message for drift in drifts)
    fought = {(drift.route.kind, drift.route.name): drift.route.generation for drift in drifts}
    back = [put_back(scope, drift.route, drift.written) for drift in drifts]
    routes = tuple(
        route.model_copy(update={"fought": fought.get((route.kind, route.name), route.fought)})
        for route in scope.status.routes
    )
    scope = scope.with_(fights=fights, routes=routes)
    if fresh:
        scope = scope.with_(Tell("Warning", reasons.RAISED_BY_OTHER, f"{message}; put back to {_percent(scope.share)}"))
    scope = scope.with_(*back)
    if len(fights) >= FIGHT_LIMIT:
        return (
            scope,
            f"{message}; that was {FIGHT_LIMIT} times in 10 minutes, so the weights are left alone from here on",
        )
    return scope, ""


def _unfought(scope: Scope, kind: str, name: str, generation: int) -> bool:
    remembered = scope.status.route(kind, name)
    return remembered is None or remembered.fought != generation


def _step(scope: Scope) -> Decision:
    """Write what the step wants, wait for acceptance, hold, and go on."""
    pending = writes(scope)
    repaired = _written_now(scope)
    scope = scope.with_(*(write for write in pending if (write.kind, write.name) not in repaired))
    if pending:
        names = ", ".join(action.name for action in pending)
        message = f"{scope.step_text}: writing {scope.share_text} to {names}"
        return scope.decide(reasons.AWAITING_ACCEPTANCE, message, _wake(scope))
    scope = _forget_old_copy(_note_acceptance(scope))
    waiting = scope.unaccepted
    if waiting is not None:
        message = f"{scope.step_text}: waiting for {waiting.label}: {waiting.acceptance.message}"
        return scope.decide(reasons.AWAITING_ACCEPTANCE, message, _wake(scope))
    reason, message = _objection(scope)
    if reason:
        return scope.decide(reason, message, _wake(scope))
    return _advance(scope)


def _forget_old_copy(scope: Scope) -> Scope:
    """Before its first step a run has copied nothing: a pod spec kept by then is of a run that gave way to this one."""
    stable = scope.facts.stable
    again = any(isinstance(action, ForgetPodSpec) for action in scope.actions)
    if scope.step.index > 0 or stable is None or not stable.copied or again:
        return scope
    return scope.with_(ForgetPodSpec(stable.name))


def _written_now(scope: Scope) -> set[tuple[str, str]]:
    """Routes that this very decision writes already: one write each."""
    return {(action.kind, action.name) for action in scope.actions if isinstance(action, WriteRoute)}


def _note_acceptance(scope: Scope) -> Scope:
    """Keep the books of acceptance: since when a gateway has not accepted, and when the step was reached."""
    if scope.unaccepted is not None:
        return scope if scope.step.unaccepted_since else scope.with_step(unaccepted_since=scope.now)
    if scope.step.unaccepted_since is not None:
        scope = scope.with_step(unaccepted_since=None)
    if scope.step.reached_at is not None:
        return scope
    hold = scope.declared_step.hold if scope.declared_step else None
    scope = scope.with_step(reached_at=scope.now, hold_until=scope.now + hold.delta if hold else scope.now)
    if scope.share > 0 and scope.run.traffic_since is None:
        scope = scope.with_run(traffic_since=scope.now)
    return scope


def _objection(scope: Scope) -> tuple[str, str]:
    """What keeps the run at this step although it is reached; two empty strings when nothing does."""
    if scope.facts.problems:
        return reasons.INVALID, f"{scope.step_text}: held: {scope.facts.problems[0]}"
    if scope.step.index == 0:
        return _preflight(scope)
    summary = summary_of(scope.status)
    # Before the canary has traffic there is nothing to measure, so checks only speak from then on.
    if scope.share > 0:
        reached = scope.step.reached_at or scope.now
        for _, status in scope.judging:
            if status.verdict is VerdictKind.FAIL:
                text = f"check {status.name}: {status.message}"
                count = f"({status.failures} of {status.failure_limit} tolerated failures)"
                return reasons.CHECKS_OBJECT, f"{scope.step_text}: held at {scope.share_text}: {text} {count}"
    if scope.run.full:
        return "", ""
    if scope.share > 0:
        for _, status in scope.judging:
            if status.measured_at is None or status.measured_at < reached:
                return _holding(scope, summary, f"waiting for check {status.name} to be measured")
            if status.verdict is VerdictKind.UNKNOWN:
                text = f"check {status.name} is unknown ({status.reason}: {status.message})"
                return reasons.CHECKS_UNKNOWN, f"{scope.step_text}: held at {scope.share_text}: {text}"
    hold_until = scope.step.hold_until
    if hold_until is not None and scope.now < hold_until:
        return _holding(scope, summary, "")
    declared = scope.declared_step
    if declared is not None and declared.approval is not None and not scope.step.approved:
        return reasons.AWAITING_APPROVAL, f"{scope.step_text}: waiting for `canary promote` at {scope.share_text}"
    return "", ""


def _holding(scope: Scope, summary: str, wait: str) -> tuple[str, str]:
    hold_until = scope.step.hold_until
    over = hold_until is None or scope.now >= hold_until
    until = "" if over or hold_until is None else f" until {hold_until:%H:%M:%S}"
    tail = f"; {wait}" if wait else f"; {summary}" if summary else ""
    return (
        reasons.AWAITING_VERDICTS if wait and over else reasons.HOLDING,
        f"{scope.step_text}: holding {scope.share_text}{until}{tail}",
    )


def _preflight(scope: Scope) -> tuple[str, str]:
    """Before the first step: the run is on record, the Rollout cannot vanish, and the canary could take traffic."""
    for share in sorted({scope.share_at(index + 1) for index in range(len(scope.spec.steps))}):
        problem = unwritable(scope, share)
        if problem:
            return reasons.ROUTE_UNWRITABLE, f"preflight: {problem}"
    canary, stable = scope.facts.canary, scope.facts.stable
    if stable is not None and stable.copied:
        return reasons.PREFLIGHT, f"preflight: forgetting the pod spec that {stable.name} ran before"
    if canary is not None and not canary.rolled_out:
        return reasons.AWAITING_CANARY, f"preflight: waiting for {canary.name} to roll out revision {canary.revision}"
    return _unready(scope, "preflight")


def _unready(scope: Scope, where: str) -> tuple[str, str]:
    """What forbids more weight however good the numbers are."""
    canary = scope.facts.canary
    if canary is not None and canary.ready == 0:
        return reasons.AWAITING_CANARY, f"{where}: waiting for a ready replica of {canary.name}"
    if scope.facts.recorded.run != scope.run.number or not scope.facts.finalizer:
        return reasons.PREFLIGHT, f"{where}: putting run {scope.run.number} on record"
    return "", ""


def _advance(scope: Scope) -> Decision:
    """Everything holds: the next step, or the promotion."""
    index = scope.step.index + 1
    if scope.run.full and index <= len(scope.spec.steps):
        index = max(index, len(scope.spec.steps))
    if index > len(scope.spec.steps):
        scope = _at(scope, Phase.PROMOTING).with_(
            Tell("Normal", reasons.PROMOTING, f"all steps passed; promotion {scope.spec.promotion_mode}")
        )
        return promoting(scope)
    if scope.share_at(index) > scope.share:
        reason, message = _unready(scope, scope.step_text)
        if reason:
            return scope.decide(reason, message, _wake(scope))
    return _enter(scope, index)


def _enter(scope: Scope, index: int, *, tell: bool = True) -> Decision:
    """Stand at a step: everything about it is fresh."""
    total = len(scope.spec.steps)
    scope = scope.with_step(
        index=index,
        total=total,
        display=f"{index}/{total}",
        started_at=scope.now,
        reached_at=None,
        hold_until=None,
        unaccepted_since=scope.now,
        approved=False,
    )
    if tell:
        scope = scope.with_(Tell("Normal", reasons.STEP_STARTED, f"{scope.step_text}: {_wants(scope)}"))
    return _step(scope)


def _wants(scope: Scope) -> str:
    declared = scope.declared_step
    parts = [f"{scope.share_text} of the pair to the canary"]
    if declared is not None and declared.hold is not None:
        parts.append(f"hold {declared.hold}")
    if declared is not None and declared.approval is not None:
        parts.append("then wait for approval")
    return ", ".join(parts)


def _copy(scope: Scope) -> Decision:
    canary, stable = scope.facts.canary, scope.facts.stable
    if canary is None or stable is None or not canary.exists or not stable.exists:
        gone = "workloads" if canary is None or stable is None else (canary if not canary.exists else stable).name
        return scope.decide(
            reasons.AWAITING_STABLE, f"promoting: {gone} does not exist; create it or abort", _wake(scope)
        )
    if stable.revision != canary.revision:
        scope = scope.with_(CopyPodSpec(canary.name, stable.name, scope.run.revision))
        message = f"promoting: copying the pod spec of {canary.name} to {stable.name}"
        return scope.decide(reasons.PROMOTING, message, _wake(scope))
    if not stable.rolled_out:
        message = f"promoting: waiting for {stable.name} to roll out revision {stable.revision}"
        return scope.decide(reasons.AWAITING_STABLE, message, _wake(scope))
    return _succeed(scope, f"{stable.name} runs revision {stable.revision}")


def _await(scope: Scope) -> Decision:
    canary, stable = scope.facts.canary, scope.facts.stable
    if scope.step.approved:
        return _succeed(scope, "ended by `canary promote`")
    if canary is None or stable is None:
        message = (
            f"promoting: {_percent(scope.written)} on the canary until `canary promote` says that stable is up to date"
        )
        return scope.decide(reasons.AWAITING_STABLE, message, _wake(scope))
    if stable.exists and stable.revision == scope.run.revision and stable.rolled_out:
        return _succeed(scope, f"{stable.name} runs revision {stable.revision}")
    message = f"promoting: waiting for {stable.name} to run revision {scope.run.revision}"
    return scope.decide(reasons.AWAITING_STABLE, message, _wake(scope))


def _swap(scope: Scope) -> Decision:
    pending = writes(scope)
    repaired = _written_now(scope)
    scope = scope.with_(*(write for write in pending if (write.kind, write.name) not in repaired))
    if not pending:
        scope = _note_acceptance(scope)
    waiting = scope.unaccepted
    if pending or waiting is not None:
        what = f": {waiting.label}: {waiting.acceptance.message}" if waiting is not None else ""
        return scope.decide(reasons.AWAITING_ACCEPTANCE, f"promoting: all traffic to the canary{what}", _wake(scope))
    return _succeed(scope, "the two change roles")


def _succeed(scope: Scope, message: str) -> Decision:
    """The run is won; what is left is to give the traffic back. From here on nothing makes it fail."""
    scope = scope.with_run(
        outcome=Outcome.SUCCEEDED, reason=reasons.SUCCEEDED, message=f"succeeded: {message}"[:512], ended_at=scope.now
    ).with_step(unaccepted_since=scope.now)
    return _finish(_at(scope, Phase.PROMOTING))


def _finish(scope: Scope) -> Decision:
    pending = writes(scope)
    scope = scope.with_(*pending)
    if pending:
        return scope.decide(reasons.FINISHING, "promoting: returning traffic to stable", _wake(scope))
    waiting, limit = _still_waiting(scope)
    if waiting and limit is not None:
        return scope.decide(reasons.FINISHING, f"promoting: waiting for {waiting}", limit)
    stable = scope.facts.stable
    if stable is not None and stable.copied:
        # Left behind, it would make the next rollback restore a pod spec from before this run.
        scope = scope.with_(ForgetPodSpec(stable.name))
        return scope.decide(reasons.FINISHING, f"promoting: forgetting the pod spec that {stable.name} ran before")
    late = f"; still not accepted: {waiting}" if waiting else ""
    return _end(scope, Phase.SUCCEEDED, reasons.SUCCEEDED, f"{scope.run.message}{late}")


def _still_waiting(scope: Scope) -> tuple[str, datetime | None]:
    """Which gateway has not accepted the end of the run yet, and until when that is worth waiting for (None: no more)."""
    waiting = scope.unaccepted
    if waiting is None:
        return "", None
    limit = (scope.run.ended_at or scope.now) + scope.spec.accept_timeout.delta
    return f"{waiting.label}: {waiting.acceptance.message}", limit if scope.now < limit else None


def _end(scope: Scope, phase: Phase, reason: str, message: str) -> Decision:
    """Leave no trace on the routes, then let go.

    The annotation stays until the outcome is on record: it is all that would tell a restart what these weights mean.
    """
    left = releases(scope)
    if left:
        on_record = scope.facts.recorded.run == scope.run.number and scope.facts.recorded.outcome is scope.run.outcome
        return scope.with_(*(left if on_record else ())).decide(reason, message)
    swap = phase is Phase.SUCCEEDED and scope.spec.promotion_mode is Promotion.SWAP
    revisions = scope.status.revisions
    settled = scope.run.revision or revisions.settled
    if swap and scope.facts.stable is not None:  # the stable workload of today is the canary of the next run
        settled = scope.facts.stable.revision
    scope = scope.with_run(message=message[:512]).with_(
        Tell("Normal" if phase is Phase.SUCCEEDED else "Warning", reason, f"run {scope.run.number} {message}"),
        RemoveFinalizer(),
        phase=phase,
        paused=None,
        fights=(),
        swapped=scope.status.swapped != swap,
        revisions=revisions.model_copy(update={"settled": settled}),
    )
    return scope.decide(reason, message)


def _at(scope: Scope, phase: Phase) -> Scope:
    return scope.with_(phase=phase, paused=None)


def _percent(share: Fraction) -> str:
    return f"{decimal_text(share)} %"


def summary_of(status: RolloutStatus) -> str:
    """The checks in short: `2/2 checks pass`."""
    counted = [check for check in status.checks if not check.dry_run]
    if not counted:
        return ""
    passing = sum(check.verdict is VerdictKind.PASS for check in counted)
    return f"{passing}/{len(counted)} checks pass"


def _wake(scope: Scope) -> datetime | None:
    """The next moment at which time alone changes the answer."""
    step, run = scope.step, scope.run
    times = [step.hold_until]
    if step.unaccepted_since is not None:
        times.append(step.unaccepted_since + scope.spec.accept_timeout.delta)
    if scope.spec.deadline is not None:
        times.append(run.started_at + scope.spec.deadline.delta)
    times += [
        status.unknown_since + check.hold_limit.delta
        for check, status in scope.judging
        if status.unknown_since is not None
    ]
    return min((at for at in times if at is not None and at > scope.now), default=None)
