"""What there is to tell of a Rollout, by its recorded status: typed fields, and never prose. Pure.

An occasion is known by run, step and kind, all of which are on record. So it is the same after a restart, and for another controller.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from canary.decide.reasons import AWAITING_APPROVAL, CONTESTED, INVALID, RUN_STARTED, STEP_STARTED
from canary.model.notifications import EventKind
from canary.model.run_status import Outcome, PauseStatus, RunStatus
from canary.model.status import Phase, RolloutStatus

_PAUSES = {AWAITING_APPROVAL: EventKind.AWAITING_APPROVAL, CONTESTED: EventKind.CONTESTED}
"""Pauses that are an event of their own. Every other one is Paused."""


_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something that happened. `key` is how it goes on record as told, among what else is said of the same Rollout.

    `number` tells it from all others of the Rollout, also from one with the same key that is over. It has no dots.
    """

    kind: EventKind
    key: str
    number: str
    at: datetime
    reason: str
    message: str
    run: RunStatus | None = None
    """The run that it is about."""


def current(status: RolloutStatus) -> dict[str, Occasion]:
    """What is so now, by key: of the runs on record how they began and ended; step and pause of the one that is under way."""
    found = _of_run(status, status.run) if status.run is not None else []
    if status.previous_run is not None:
        found += _of_run(over(status.previous_run), status.previous_run)
    if status.phase is Phase.INVALID:
        found.append(_invalid(status))
    return {occasion.key: occasion for occasion in found}


def over(run: RunStatus) -> RolloutStatus:
    """The status of a Rollout whose last run this is, as far as that is known of one that another run has followed."""
    phase = Phase.SUCCEEDED if run.outcome is Outcome.SUCCEEDED else Phase.ROLLED_BACK
    return RolloutStatus(phase=phase, run=run)


def _of_run(status: RolloutStatus, run: RunStatus) -> list[Occasion]:
    began = f"started by {run.trigger.by}" + (f": {run.trigger.reason}" if run.trigger.reason else "")
    found = [_occasion(EventKind.RUN_STARTED, run, "", run.started_at, RUN_STARTED, began)]
    ended = run.ended_at or run.started_at
    if run.outcome is Outcome.ROLLED_BACK:
        found.append(_occasion(EventKind.ROLLED_BACK, run, "", ended, run.reason, run.message))
    elif run.outcome is Outcome.SUCCEEDED and not status.active:
        found.append(_occasion(EventKind.SUCCEEDED, run, "", ended, run.reason, run.message))
    step = status.step
    if run.outcome is not None or not status.active or step is None:
        return found
    if step.index:
        found.append(_occasion(EventKind.STEP_STARTED, run, str(step.index), step.started_at, STEP_STARTED, ""))
    if status.phase is Phase.PAUSED and status.paused is not None:
        found.append(_pause(run, step.index, status.paused))
    return found


def _pause(run: RunStatus, step: int, paused: PauseStatus) -> Occasion:
    kind = _PAUSES.get(paused.reason, EventKind.PAUSED)
    occasion = _occasion(kind, run, f"{step}/{paused.reason}", paused.since, paused.reason, paused.message)
    # The same step may be paused again, for the same reason.
    number = f"{run.number}-{step}-{kind}-{_milliseconds(paused.since)}"
    return Occasion(kind, occasion.key, number, paused.since, paused.reason, paused.message, run)


def _invalid(status: RolloutStatus) -> Occasion:
    said = next((condition for condition in status.conditions if condition.type == "Stalled"), None)
    at = said.last_transition_time if said is not None else _EPOCH
    generation, reason = status.observed_generation, said.reason if said is not None else INVALID
    key, number = f"{EventKind.INVALID}/{generation}", f"{generation}-{EventKind.INVALID}-{_milliseconds(at)}"
    return Occasion(EventKind.INVALID, key, number, at, reason, status.message)


def _occasion(kind: EventKind, run: RunStatus, where: str, at: datetime, reason: str, message: str) -> Occasion:
    key = f"{kind}/{run.number}/{where}" if where else f"{kind}/{run.number}"
    return Occasion(kind, key, "-".join([str(run.number), *([where] if where else []), kind]), at, reason, message, run)


def _milliseconds(at: datetime) -> int:
    """As it is on record, where what is finer is cut off: a status in mind has the same occasions."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
