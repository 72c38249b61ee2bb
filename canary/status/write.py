"""When a status is worth a write, and the smallest patch that makes it so.

A weight step costs at most two status writes: one when it is entered (held back for a moment, because the gateways
mostly accept at once and then one write says both), one when its checks have spoken. Values that merely move ride along.
Whatever a person or an alert must know at once is written at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from canary.decide import reasons
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.run_status import GateAnswer
from canary.model.status import Phase, RolloutStatus
from canary.model.times import format_time

SETTLE = timedelta(seconds=1)
"""How long the write of an entered step may wait for the gateways' answer."""

RELEASE = timedelta(seconds=10)
"""How long the write of an end that has arrived everywhere may wait for the routes to be let go of: then one write says both.

The outcome is on record by then, no traffic moves any more, and when a thousand runs end at once each of them takes a while.
"""

STEP_BUDGET = 2

WORDS = timedelta(minutes=1)
"""Between two writes for the words of a gate that stays closed. Whoever answers may say something else each time."""

LOOKS = 8
"""Looks of a comparison that ride along before the first write that is for them alone; then it is every doubling."""

ASKING = frozenset(
    {
        reasons.AWAITING_APPROVAL,
        reasons.AWAITING_CANARY,
        reasons.AWAITING_REPLICAS,
        reasons.PODS_NOT_UPDATED,
        reasons.REVISION_UNKNOWN,
        reasons.CANNOT_SCALE,
        reasons.AWAITING_STABLE,
        reasons.CHECKS_OBJECT,
        reasons.GATE_CLOSED,
        reasons.CHECKS_UNKNOWN,
        reasons.SPLIT_MISMATCH,
        reasons.ROUTE_UNWRITABLE,
        reasons.CONFLICTING_ROLLOUT,
        reasons.INVALID,
    }
)
"""Reasons to stay that somebody may have to act on."""

Json = dict[str, Any]


class Urgency(Enum):
    """How soon a status has to be written."""

    NONE = "none"
    SETTLING = "settling"
    """When it is still so after `SETTLE`."""
    RELEASING = "releasing"
    """When it is still so after `RELEASE`."""
    NOW = "now"

    @property
    def patience(self) -> timedelta:
        """For how long it may wait to be overtaken."""
        return {Urgency.SETTLING: SETTLE, Urgency.RELEASING: RELEASE}.get(self, timedelta(0))


def urgency(before: RolloutStatus, after: RolloutStatus, writes_in_step: int) -> Urgency:
    """Compare what the API server has with what holds now. `writes_in_step` counts the writes since the step began."""
    if _flickers(before, after):
        return Urgency.SETTLING
    if _loud(before) != _loud(after) or _asks(after) not in {"", _asks(before)}:
        return Urgency.NOW
    if _step(before) != _step(after):
        if _let_go(before, after):
            return Urgency.RELEASING
        return Urgency.SETTLING if after.split.accepted != after.split.desired or _underway(after) else Urgency.NOW
    if _evidence(before) != _evidence(after) and writes_in_step < STEP_BUDGET:
        return Urgency.NOW
    if any(_unkept(before, check) for check in after.checks) or _gate_says_else(before, after):
        return Urgency.NOW
    if after.notified is not before.notified and _told(before, after) and _has_room(before, after, writes_in_step):
        return Urgency.NOW
    if _asks(after) == reasons.REVISION_UNKNOWN and before.message != after.message:
        return Urgency.SETTLING  # that it is being read, or what of it cannot be
    if after.active and _waits_in_vain(before, after):
        return Urgency.SETTLING
    return Urgency.NONE


def _waits_in_vain(before: RolloutStatus, after: RolloutStatus) -> bool:
    """Whether it is on record that a gateway is waited for which has accepted the route by now, and nothing else may come for long."""
    accepted = {(route.kind, route.name) for route in after.routes if route.accepted}
    return any((route.kind, route.name) in accepted and not route.accepted for route in before.routes)


def _told(before: RolloutStatus, after: RolloutStatus) -> bool:
    """Whether somebody was told of something, which is not on record. That something holds no more rides along."""
    known = {(said.target, event) for said in before.notified for event in said.events}
    return any((said.target, event) not in known for said in after.notified for event in said.events)


def _has_room(before: RolloutStatus, after: RolloutStatus, writes_in_step: int) -> bool:
    """Whether what was told is worth a write of its own: where nothing else is about to be written.

    A step has two writes. With checks the second one is that of their evidence, and says this as well.
    """
    if after.phase is Phase.PAUSED or not after.active:
        return True
    if after.step is None or after.step.index == 0:
        return False  # the first step is about to be entered
    return writes_in_step < STEP_BUDGET and (not after.checks or _evidence(before))


def _flickers(before: RolloutStatus, after: RolloutStatus) -> bool:
    """At rest: a gateway has not answered for a route yet. Mostly it is about to, and then nothing was worth a word."""
    if before.active or after.active or (before.phase, before.run) != (after.phase, after.run):
        return False
    if before.split.written != after.split.written:
        return False  # an Event tells of this share: unless that is on record, the next look tells of it again
    ready = {_ready(status) for status in (before, after)}
    return len(ready) > 1 and _ready(after) in {reasons.NOT_ACCEPTED_YET, reasons.ROUTE_NOT_ATTACHED}


def _ready(status: RolloutStatus) -> str:
    return next((condition.reason for condition in status.conditions if condition.type == "Ready"), "")


def _loud(status: RolloutStatus) -> Any:
    """What somebody waits for: phases, outcomes, requests, verdicts that are not good, conditions that changed sides."""
    return (
        status.observed_generation,
        status.phase,
        (status.message, status.split.written, _drains(status)) if not status.active else None,
        (
            (
                status.run.number,
                status.run.outcome,
                status.run.reason,
                status.run.full,
                status.run.outages,
                _kept(status.run.unavailable_since),
                status.run.copied,
            )
            if status.run
            else None
        ),
        status.step.approved if status.step else None,
        status.paused.reason if status.paused else None,
        (status.last_request.which, _kept(status.last_request.at)) if status.last_request else None,
        len(status.overrides),
        None if status.active else _kept(max(status.overrides, default=None)),
        (status.swapped, status.roles_known),
        status.scale.giving if status.active and status.scale is not None else 0,
        tuple((route.kind, route.name, route.altered) for route in status.routes if route.altered),
        status.revisions,
        tuple((each.kind, each.name) for each in status.former_canaries),
        tuple(
            (check.name, check.verdict, check.reason, check.failures)
            for check in status.checks
            # That a check had no turn is news if it never had one. Else it is a matter of seconds, there and back.
            if check.verdict is VerdictKind.FAIL
            or (check.verdict is VerdictKind.UNKNOWN and bool(check.measured_at) is not (check.reason == "Queued"))
        ),
        tuple((check.name, _window(check)) for check in status.checks if "x" in check.recent),
        tuple(
            (condition.type, condition.status)
            for condition in status.conditions
            if condition.type in {"Ready", "Reconciling", "Stalled", "Contested", "CopyExact", "ReferencesPermitted"}
        ),
    )


def _kept(at: datetime | None) -> str:
    """A time as it is kept, in milliseconds: what is finer is no difference between what is on record and what holds."""
    return format_time(at) if at is not None else ""


def _drains(status: RolloutStatus) -> Any:
    """What is left to do about the canary's replicas after a run."""
    former = tuple((each.kind, each.name, _kept(each.drained_since)) for each in status.former_canaries)
    if status.scale is None:
        return former
    return status.scale.kind, status.scale.workload, _kept(status.scale.drained_since), former


def _window(check: CheckStatus) -> Any:
    """What of a window is worth a write while a failure is in it: when it leaves, and that it moved by a fifth.

    A crash forgets no failure then, and takes none for younger than it is by more than that.
    """
    good = len(check.recent) - 1 - check.recent.rfind("x")
    return check.failures, good // max(1, check.failure_window // 5)


def _asks(status: RolloutStatus) -> str:
    """The reason to stay that somebody may have to act on, if there is one. That it is over is no news by itself."""
    reasons_ = (condition.reason for condition in status.conditions if condition.type == "Reconciling")
    return next((reason for reason in reasons_ if reason in ASKING), "")


def _underway(status: RolloutStatus) -> bool:
    """A step is entered and not reached yet, be it that it moves no weight: the gateways mostly accept at once."""
    step = status.step
    return status.phase is Phase.PROGRESSING and step is not None and step.index > 0 and step.reached_at is None


def _let_go(before: RolloutStatus, after: RolloutStatus) -> bool:
    """An end that is on record has arrived everywhere: all that is left is to let go of the routes, and to say so."""
    run, split = after.run, after.split
    known = (
        before.run is not None
        and run is not None
        and (before.run.number, before.run.outcome) == (run.number, run.outcome)
    )
    arrived = split.desired == split.written == split.accepted
    return known and arrived and run is not None and run.outcome is not None and after.active


def _step(status: RolloutStatus) -> Any:
    return (
        status.step.index if status.step else None,
        _underway(status),
        status.split.desired,
        status.split.written,
        status.split.accepted,
        tuple((route.kind, route.name, route.owned) for route in status.routes),
        # A rule that is computed anew in the middle of a step is another one, and no more than this tells whose it is.
        tuple((route.kind, route.name, route.added, route.places) for route in status.routes if route.added),
    )


def _evidence(status: RolloutStatus) -> Any:
    """Whether every check has spoken since the step settled, and what is counted has been, so that one write says both."""
    reached, traffic = status.step.evidence_since if status.step else None, status.traffic
    if reached is None or (traffic.about and not traffic.seconds and not traffic.reason):
        return False
    return bool(status.checks or traffic.about) and all(
        not check.applicable or (check.measured_at is not None and check.measured_at >= reached)
        for check in status.checks
    )


def _gate_says_else(before: RolloutStatus, after: RolloutStatus) -> bool:
    """Whether a gate that stays closed gives another answer: at once, or, where only its words are others, now and then."""
    gate = after.step.gate if after.step is not None else None
    if gate is None or gate.asked_at is None or gate.answer is GateAnswer.YES:
        return False
    known = before.step.gate if before.step is not None else None
    if known is None or known.asked_at is None or (known.answer, known.reason) != (gate.answer, gate.reason):
        return True
    return known.message != gate.message and gate.asked_at - known.asked_at >= WORDS


def _unkept(before: RolloutStatus, check: CheckStatus) -> bool:
    """Whether a crash would lose more than half of the looks of a comparison.

    Which are lost must not depend on what they showed: so they are counted, and what they showed causes no write.
    """
    evidence = check.evidence
    if evidence is None or not check.applicable:
        return False
    known = before.check(check.name)
    recorded = known.evidence if known is not None else None
    kept = recorded.looks if recorded is not None and recorded.process == evidence.process else 0
    return evidence.looks >= max(LOOKS, 2 * kept)


def merge_patch(before: Json, after: Json) -> Json:
    """The smallest JSON merge patch (RFC 7386) that turns one document into another; lists are replaced whole."""
    patch: Json = {}
    for key in before.keys() | after.keys():
        if key not in after:
            patch[key] = None
        elif key not in before:
            patch[key] = after[key]
        elif before[key] != after[key]:
            both = isinstance(before[key], dict) and isinstance(after[key], dict)
            patch[key] = merge_patch(before[key], after[key]) if both else after[key]
    return patch
