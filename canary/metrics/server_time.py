"""The time of day at a server, for what is sent there as one: the dates of a query, and of a signature.

Our own clock goes by what has passed since the process began, and after a machine's clock was set right that is no time of day any more.
So the machine's clock is read when a request is sent; and a server says in each answer what time it is there (`Date`), which is what it
reckons by. Where the two differ that counts from then on, and what has passed since by a clock that nobody sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

APART = timedelta(seconds=60)
"""What was asked at a time that the server is further from was asked about another time. Signatures may be five minutes off."""
_INEXACT = timedelta(seconds=2)
"""A Date is in whole seconds, and so is what proxies make of it."""
_YEARS = range(1971, 9000)


def machine_time() -> datetime:
    """What the machine's clock says."""
    return datetime.now(UTC)


class ServerTime:
    """What time it is at one server. `machine` is asked until it has said so itself; `clock` gives seconds that only go forward."""

    def __init__(self, machine: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self._machine, self._clock = machine, clock
        self._said: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """As good as it is known."""
        if self._said is None:
            return self._machine()
        said, at = self._said
        return said + timedelta(seconds=self._clock() - at)

    def heard(self, date: datetime | None, asked: datetime, began: float) -> str:
        """What an answer says of the time, in words if it is far from `asked`, at which the request was sent (`began` by `clock`)."""
        if date is None:
            return ""
        now = self._clock()
        ahead = date - (asked + timedelta(seconds=now - began))
        late = asked - date
        if max(ahead, late) <= _INEXACT:
            return ""
        before, self._said = self._said, (date, now)
        off, behind = max((ahead, True), (late, False))
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
