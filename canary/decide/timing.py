"""Times of a status moved as a whole: for time in which nothing could be seen, and for clocks that disagree.

Order and intervals are what decisions rest on (promise 11). Both survive when every time is moved by the same amount, so
that is the only thing that is ever done to them.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from canary.model.evolution import excused, postponed, reckoned, replicas_unseen, unseen
from canary.model.status import RolloutStatus

AGREE = timedelta(seconds=2)
"""Times of a record that differ by no more are of one moment: some are cut to seconds, and a write takes its time."""

TOLD = frozenset({"paused", "previous_run", "last_request", "notified"})
"""Members of a status by whose times nothing is decided: people read them, and what was told of goes by them."""

PACE = ("scale", "former_canaries", "overrides")
"""Members by whose times something is decided at rest: how long a canary keeps its replicas, how often shares were put back."""

_AHEAD = frozenset({"hold_until", "settled_at"})
"""Times that are in the future by nature."""


_NO_TIMES = frozenset({str, int, float, bool, type(None)})


def delayed(status: RolloutStatus, by: timedelta) -> RolloutStatus:
    """Time in which nothing could be seen counts against nobody: neither acceptance, nor holds, nor hold limits.

    The deadline of a run is the user's own and goes on.
    """
    if not status.active or by <= timedelta(0):
        return status
    changes: dict[str, Any] = {"checks": tuple(excused(check, by) for check in status.checks)}
    if status.step is not None:
        changes["step"] = postponed(status.step, by)
    if status.run is not None:
        changes["run"] = unseen(status.run, by)
    if status.scale is not None:
        changes["scale"] = replicas_unseen(status.scale, by)
    return status.model_copy(update=changes)


def rebased(status: RolloutStatus, now: datetime) -> RolloutStatus:
    """A status that another process wrote, by this one's clock: as if it had been written now.

    It says itself when it was written, by its writer's clock (where it does not, that is the latest of its times), so every time is moved by what lies between that and
    `now`. How long ago it was written is not asked of anybody: two clocks would have to agree for that, be it the API server's of
    before and of now. No more is credited to a hold, or charged to a limit, than is sure to have passed: nothing since then
    (docs/decisions/0078).

    What is only for people to read stays where it is, as long as that is the past, and when a run began is; and so does all of a Rollout
    at rest, but for what its pace goes by. A request of the present step is moved with that: an approval counts where it came after its step began.
    """
    latest = status.recorded_at or max(_past(status), default=None)
    if latest is None:
        return status
    shift = now - latest
    ahead = any(at > now for at in _past(status))
    if status.active or ahead:
        by = shift if status.active else min(shift, timedelta(0))
        moved: RolloutStatus = _moved(status, by, now, but=() if ahead else TOLD)
        if not ahead and _asked_in_step(status):
            moved = moved.model_copy(update={"last_request": _moved(status.last_request, by, now)})
        if status.run is None or moved.run is None:
            return moved
        return moved.model_copy(update={"run": reckoned(moved.run, min(status.run.started_at, now))})
    changes = {field: _moved(value, shift, now) for field in PACE if (value := getattr(status, field))}
    return status.model_copy(update=changes) if changes else status


def _asked_in_step(status: RolloutStatus) -> bool:
    """Whether the last request came after the present step began."""
    last, step = status.last_request, status.step
    return last is not None and step is not None and last.at >= step.started_at


def _past(value: Any, name: str = "") -> list[datetime]:
    """Every time of the past in a status, conditions left out (they are for people, and cut to seconds)."""
    if isinstance(value, datetime):
        return [] if name in _AHEAD else [value]
    if isinstance(value, tuple):
        return [at for item in value for at in _past(item, name)]
    if isinstance(value, BaseModel):
        # By what is in it rather than by its class: pydantic makes a dictionary of that each time.
        return [
            at
            for field, member in value.__dict__.items()
            if type(member) not in _NO_TIMES and field != "conditions"
            for at in _past(member, field)
        ]
    return []


def _moved(value: Any, by: timedelta, now: datetime, name: str = "", but: Collection[str] = ()) -> Any:
    """Every time in it later by so much; of the past none comes to lie ahead of `now`, whatever was written there."""
    if isinstance(value, datetime):
        moved = _shifted(value, by)
        return moved if name in _AHEAD else min(moved, now)
    if isinstance(value, BaseModel):
        changes = {
            field: _moved(getattr(value, field), by, now, field)
            for field in type(value).model_fields
            if field not in {"conditions", *but} and isinstance(getattr(value, field), datetime | BaseModel | tuple)
        }
        return value.model_copy(update=changes)
    if isinstance(value, tuple):
        return tuple(_moved(item, by, now, name) for item in value)
    return value


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(4999, 12, 31, tzinfo=UTC)
"""Between these is what can be read again."""


def _shifted(at: datetime, by: timedelta) -> datetime:
    """A time moved, and no further than to what can be on record: one that was forged moves all others by thousands of years."""
    return at + max(min(by, LATEST - at), EARLIEST - at)
