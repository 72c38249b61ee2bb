"""The time of day at a server, for what is sent there as one: the dates of a query, and of a signature.

Our own clock goes by what has passed since the process began, and after a machine's clock was set right that is no time of day any more.
So the machine's clock is read when a request is sent; and a server says in each answer what time it is there (`Date`), which is what it
reckons by. From the first answer on that counts, and what has passed since by a clock that nobody sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

APART = timedelta(seconds=60)
"""What was asked at a time that the server is further from was asked about another time. Signatures may be five minutes off."""
_INEXACT = timedelta(seconds=2)
"""A Date is in whole seconds, and older by what the answer took."""
_YEARS = range(1971, 9000)


def machine_time() -> datetime:
    """What the machine's clock says."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of day, and the seconds of a clock that only goes forward, at which it was that."""

    time: datetime
    at: float


class ServerTime:
    """What time it is at one server. `machine` is asked until it has said so itself; `passing` gives seconds by a clock that nobody sets."""

    def __init__(self, machine: Callable[[], datetime], passing: Callable[[], float]) -> None:
        self._machine, self._passing = machine, passing
        self._said: Moment | None = None

    def now(self) -> Moment:
        """As good as it is known."""
        at = self._passing()
        if self._said is None:
            return Moment(self._machine(), at)
        return Moment(self._said.time + timedelta(seconds=at - self._said.at), at)

    def heard(self, date: datetime | None, asked: Moment) -> str:
        """What an answer says of the time, in words if it is far from what it was when it was asked for."""
        if date is None:
            return ""
        at = self._passing()
        took = timedelta(seconds=at - asked.at)
        ahead = date - (asked.time + took)
        late = asked.time - date
        off, behind = max((ahead, True), (late, False))
        before = self._said
        # The Date of an answer that took long is of any moment in between.
        if off > _INEXACT or (before is None and took <= _INEXACT):
            self._said = Moment(date, at)
        if off <= APART:
            return ""
        if before is not None:
            return f"its clock is {_span(off)} {'ahead of' if behind else 'behind'} what it said before"
        return f"this machine's clock is {_span(off)} {'behind' if behind else 'ahead of'} the server's"


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """When an answer was made, by the server; None: it does not say. `headers` is read in lower case."""
    try:
        said = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    if said.year not in _YEARS:
        return None
    return said if said.tzinfo else said.replace(tzinfo=UTC)


def _span(apart: timedelta) -> str:
    """1h0m, 2m5s, 400d."""
    seconds = round(apart.total_seconds())
    minutes, hours = seconds // 60, seconds // 3600
    if hours >= 48:
        return f"{hours // 24}d"
    return f"{hours}h{minutes % 60}m" if hours else f"{minutes}m{seconds % 60}s"
