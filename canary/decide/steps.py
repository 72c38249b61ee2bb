"""At a step: write what it wants, wait for acceptance, hold, and go on when nothing objects."""

from __future__ import annotations

from datetime import timedelta

from canary.decide import reasons
from canary.decide.actions import EmitEvent, ForgetPodSpec
from canary.decide.common import at, note_acceptance, wake, written_now
from canary.decide.pausing import await_approval
from canary.decide.promotion import promoting
from canary.decide.scope import Decision, Scope
from canary.decide.writes import foreign, unwritable, writes
from canary.model.checks import SHORTEST_INTERVAL, ResolvedCheck
from canary.model.status import Phase, RolloutStatus, VerdictKind


def step(scope: Scope) -> Decision:
    """Write what the step wants, wait for acceptance, hold, and go on."""
    pending = writes(scope)
    repaired = written_now(scope)
    scope = scope.with_(*(write for write in pending if (write.kind, write.name) not in repaired))
    if pending:
        if scope.step.unaccepted_since is None:
            scope = scope.with_step(unaccepted_since=scope.now)
        names = ", ".join(action.name for action in pending)
        message = f"writing {scope.share_text} to {names} ({scope.step_text})"
        if scope.pending:
            message += f": {scope.pending}"
        return scope.decide(reasons.AWAITING_ACCEPTANCE, message, wake(scope))
    scope = _forget_old_copy(note_acceptance(scope))
    waiting = scope.unaccepted
    if waiting is not None:
        message = f"waiting for {waiting.label}: {waiting.acceptance.message} ({scope.step_text})"
        return scope.decide(reasons.AWAITING_ACCEPTANCE, message, wake(scope))
    reason, message = _held_by(scope)
    if reason == reasons.AWAITING_APPROVAL:
        return await_approval(scope, message)
    if reason:
        return scope.decide(reason, message, wake(scope))
    return _advance(scope)


def _forget_old_copy(scope: Scope) -> Scope:
    """Before its first step a run has copied nothing: a record kept by then is of a run that gave way to this one."""
    stable = scope.facts.stable
    again = any(isinstance(action, ForgetPodSpec) for action in scope.actions)
    if scope.step.index > 0 or stable is None or stable.copied is None or again:
        return scope
    return scope.with_(ForgetPodSpec(stable.name))


def _held_by(scope: Scope) -> tuple[str, str]:
    """What keeps the run at this step although it is reached; two empty strings when nothing does."""
    if scope.facts.problems:
        return reasons.INVALID, f"{scope.facts.problems[0]}; held at {scope.share_text} ({scope.step_text})"
    if scope.facts.blind:
        return (
            reasons.CHECKS_UNKNOWN,
            f"the API server's watches are broken; held at {scope.share_text} ({scope.step_text})",
        )
    if scope.step.index == 0:
        return _preflight(scope)
    summary = _summary(scope.status)
    if scope.share > 0:  # before the canary has traffic there is nothing to measure, so checks only speak from then on
        reason, message = _objected(scope, summary)
        if reason:
            return reason, message
    if scope.run.full:
        return "", ""
    hold_until = scope.step.hold_until
    if hold_until is not None and scope.now < hold_until:
        return _holding(scope, summary, "")
    declared = scope.declared_step
    if declared is not None and declared.approval is not None and not scope.step.approved:
        return reasons.AWAITING_APPROVAL, f"waiting for `canary promote` at {scope.share_text} ({scope.step_text})"
    return "", ""


def _objected(scope: Scope, summary: str) -> tuple[str, str]:
    """What the checks say against more weight: one fails, or has not passed lately, in this step, under our own eyes."""
    for _, status in scope.judging:
        if status.verdict is VerdictKind.FAIL:
            text = f"check {status.name}: {status.message}"
            count = f"({status.failures} of {status.failure_limit} tolerated failures)"
            return reasons.CHECKS_OBJECT, f"{text} {count}; held at {scope.share_text} ({scope.step_text})"
    if scope.run.full and scope.run.ignore_unknown:
        return "", ""
    since = max(at for at in (scope.step.reached_at or scope.now, scope.facts.since) if at is not None)
    for check, status in scope.judging:
        at = status.measured_at
        if at is None or at < since:
            return _holding(scope, summary, f"waiting for check {status.name} to be measured")
        if status.verdict is VerdictKind.UNKNOWN:
            text = f"check {status.name} is unknown ({status.reason}: {status.message})"
            return reasons.CHECKS_UNKNOWN, f"{text}; held at {scope.share_text} ({scope.step_text})"
        if scope.now - at > fresh_for(check):
            return _holding(scope, summary, f"waiting for check {status.name} to be measured again")
    return "", ""


def fresh_for(check: ResolvedCheck) -> timedelta:
    """How long a measurement counts as evidence for a rise: about one interval, with what it is jittered by."""
    return timedelta(seconds=1.2 * max(check.interval.seconds, SHORTEST_INTERVAL) + 1)


def _holding(scope: Scope, summary: str, wait: str) -> tuple[str, str]:
    hold_until = scope.step.hold_until
    over = hold_until is None or scope.now >= hold_until
    until = "" if over or hold_until is None else f" until {hold_until:%H:%M:%S}"
    if wait and over:
        return reasons.AWAITING_VERDICTS, f"{wait}; holding {scope.share_text} ({scope.step_text})"
    tail = f"; {wait or summary}" if wait or summary else ""
    return reasons.HOLDING, f"holding {scope.share_text}{until}{tail} ({scope.step_text})"


def _summary(status: RolloutStatus) -> str:
    """The checks in short: `2/2 checks pass`."""
    counted = [check for check in status.checks if not check.dry_run]
    if not counted:
        return ""
    passing = sum(check.verdict is VerdictKind.PASS for check in counted)
    return f"{passing}/{len(counted)} checks pass"


def _preflight(scope: Scope) -> tuple[str, str]:
    """Before the first step: the run is on record, the Rollout cannot vanish, and the canary could take traffic."""
    for share in sorted({scope.share_at(index + 1) for index in range(len(scope.spec.steps))}):
        problem = unwritable(scope, share)
        if problem:
            return reasons.ROUTE_UNWRITABLE, f"{problem} (preflight)"
    canary, stable = scope.facts.canary, scope.facts.stable
    if stable is not None and stable.copied:
        return reasons.PREFLIGHT, f"forgetting the pod spec that {stable.name} ran before (preflight)"
    if canary is not None and not canary.rolled_out:
        return reasons.AWAITING_CANARY, f"waiting for {canary.name} to roll out revision {canary.revision} (preflight)"
    return _unready(scope, "preflight")


def _unready(scope: Scope, where: str) -> tuple[str, str]:
    """What forbids more weight however good the numbers are."""
    canary = scope.facts.canary
    if canary is not None and canary.ready == 0:
        return reasons.AWAITING_CANARY, f"waiting for a ready replica of {canary.name} ({where})"
    recorded = scope.facts.recorded
    if recorded.run != scope.run.number or not scope.facts.finalizer:
        return reasons.PREFLIGHT, f"putting run {scope.run.number} on record ({where})"
    if recorded.step < scope.step.index:
        # A restart believes a route that is one step ahead of the record, and no more.
        return reasons.PREFLIGHT, f"putting the step on record ({where})"
    if scope.facts.fresh and foreign(scope):
        return reasons.PREFLIGHT, f"taking over the routes ({where})"
    return "", ""


def _advance(scope: Scope) -> Decision:
    """Everything holds: the next step, or the promotion."""
    index = scope.step.index + 1
    if scope.run.full and index <= len(scope.spec.steps):
        index = max(index, len(scope.spec.steps))
    if index > len(scope.spec.steps):
        passed = (
            "all steps passed" if scope.run.full_at is None else f"the rest after step {scope.run.full_at} was skipped"
        )
        scope = at(scope, Phase.PROMOTING).with_(
            EmitEvent("Normal", reasons.PROMOTING, f"{passed}; promotion {scope.spec.promotion_mode}")
        )
        return promoting(scope)
    if scope.share_at(index) > scope.share:
        reason, message = _unready(scope, scope.step_text)
        if reason:
            return scope.decide(reason, message, wake(scope))
    return enter(scope, index)


def enter(scope: Scope, index: int, *, tell: bool = True) -> Decision:
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
        scope = scope.with_(EmitEvent("Normal", reasons.STEP_STARTED, f"{scope.step_text}: {_wants(scope)}"))
    return step(scope)


def _wants(scope: Scope) -> str:
    declared = scope.declared_step
    parts = [f"{scope.share_text} of the pair to the canary"]
    if declared is not None and declared.hold is not None:
        parts.append(f"hold {declared.hold}")
    if declared is not None and declared.approval is not None:
        parts.append("then wait for approval")
    return ", ".join(parts)
