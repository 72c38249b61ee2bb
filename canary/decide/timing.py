"""Times of a status moved as a whole: for time in which nothing could be seen, and for clocks that disagree.

Order and intervals are what decisions rest on (promise 11). Both survive when every time is moved by the same amount, so
that is the only thing that is ever done to them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from canary.model.evolution import excused, postponed, replicas_unseen, unseen
from canary.model.status import RolloutStatus

AGREE = timedelta(seconds=2)
"""Clocks that differ by no more agree: an API server stamps whole seconds, and a write takes its time."""

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


def rebased(status: RolloutStatus, now: datetime, away: timedelta | None) -> RolloutStatus:
    """A status that another process wrote, by this one's clock.

    Args:
        status: as the API server has it; its times are by the clock of who wrote them.
        now: the present, by ours.
        away: how long ago it was written, by the API server's clock; None: nobody knows, and nothing is credited.

    It says itself when it was written, by its writer's clock. Where the two clocks agree on that, nothing is changed; else
    every time is moved so that they do. A clock that was ahead can then neither end a hold nor hide a measurement.
    At rest, where nobody knows how long ago that was, the past stays where it is: there is no hold to credit.

    """
    latest = max(_past(status), default=None)
    if latest is None:
        return status
    shift = now - (away or timedelta(0)) - latest
    known = status.active or away is not None or shift < timedelta(0)
    moved: RolloutStatus = status if abs(shift) <= AGREE or not known else _moved(status, shift)
    return moved


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


def _moved(value: Any, by: timedelta) -> Any:
    if isinstance(value, datetime):
        return _shifted(value, by)
    if isinstance(value, BaseModel):
        changes = {
            field: _moved(getattr(value, field), by)
            for field in type(value).model_fields
            if field != "conditions" and isinstance(getattr(value, field), datetime | BaseModel | tuple)
        }
        return value.model_copy(update=changes)
    if isinstance(value, tuple):
        return tuple(_moved(item, by) for item in value)
    return value


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(4999, 12, 31, tzinfo=UTC)
"""Between these is what can be read again."""


def _shifted(at: datetime, by: timedelta) -> datetime:
    """A time moved, and no further than to what can be on record: one that was forged moves all others by thousands of years."""
    return at + max(min(by, LATEST - at), EARLIEST - at)
