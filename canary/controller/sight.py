"""Since when, and for how long in all, the controller could not see the cluster.

What nobody could see does not count against anybody: a gateway that may have answered while we were blind has not been
silent, and a hold that nobody watched has not been held. So whoever measures a time asks how much of it was blind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from canary.controller.clock import Clock, SystemClock

_KEPT = 64
"""Episodes whose bounds are remembered. Older ones are a sum: nothing reported now reaches back behind them."""


class Sights:
    """A Sight for each namespace that is watched by itself, else one for all: what is out of sight in one is that one's trouble."""

    def __init__(self, clock: Clock | None = None, namespaces: Iterable[str] = ()) -> None:
        self._all: dict[str | None, Sight] = {place: Sight(clock) for place in tuple(namespaces) or (None,)}

    def of(self, namespace: str) -> Sight:
        """What is seen of a namespace."""
        return self._all[namespace] if namespace in self._all else next(iter(self._all.values()))

    def lost(self, name: str, place: str | None, since: datetime | None = None) -> None:
        """`name` is out of sight in a namespace, or with None wherever it is watched for."""
        for sight in self._at(place):
            sight.lost(name, since)

    def found(self, name: str) -> None:
        """`name` is in sight."""
        for sight in self._all.values():
            sight.found(name)

    def slept(self, seconds: float) -> None:
        """The process did not run for so long."""
        for sight in self._all.values():
            sight.slept(seconds)

    def on_found(self, call: Callable[[], None]) -> None:
        """Call when everything of some namespace is in sight again."""
        for sight in self._all.values():
            sight.on_found(call)

    def _at(self, place: str | None) -> Iterable[Sight]:
        return [self._all[place]] if place in self._all else self._all.values()


class Sight:
    """What is out of sight, by name (a resource, with its namespace if it is watched by namespace).

    `total` only ever grows. Time counts once, however many names were lost in it, and time that is reported afterwards
    (a connection that turns out to have been dead for a while) counts as if it had been reported when it began. Pure but
    for its clock.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lost: dict[str, datetime] = {}
        self._episodes: list[tuple[datetime, datetime]] = []
        self._settled = timedelta()
        self._horizon: datetime | None = None
        self._most = timedelta()
        self._on_found: list[Callable[[], None]] = []
        self._on_wake: list[Callable[[float], None]] = []

    @property
    def blind(self) -> bool:
        """Whether anything is out of sight now."""
        return bool(self._lost)

    @property
    def missing(self) -> tuple[str, ...]:
        """What is out of sight now, in order."""
        return tuple(sorted(self._lost))

    @property
    def since(self) -> datetime | None:
        """When the first of what is out of sight now was seen last."""
        return min(self._lost.values(), default=None)

    @property
    def total(self) -> timedelta:
        """How long we were blind in all so far, the episode under way included."""
        now, closed = (
            self._clock.now(),
            self._settled + sum((end - start for start, end in self._episodes), timedelta()),
        )
        if (since := self.since) is not None and since < now:
            closed += (now - since) - self._covered(since, now)
        self._most = max(self._most, closed)  # a clock that is set back takes nothing back
        return self._most

    def on_found(self, call: Callable[[], None]) -> None:
        """Call when everything is in sight again."""
        self._on_found.append(call)

    def on_wake(self, call: Callable[[float], None]) -> None:
        """Call after the process was not running, with the seconds for which it was not."""
        self._on_wake.append(call)

    def lost(self, name: str, since: datetime | None = None) -> None:
        """`name` is out of sight, since now or since an earlier moment. Said again, the earliest moment counts."""
        now = self._clock.now()
        moment = min(since or now, now)
        self._lost[name] = min(moment, self._lost.get(name, moment))

    def found(self, name: str) -> None:
        """`name` is in sight. Nothing happens when it was not lost."""
        since = self._lost.pop(name, None)
        if since is None:
            return
        self._add(since, self._clock.now())
        if not self._lost:
            for call in self._on_found:
                call()

    def slept(self, seconds: float) -> None:
        """The process did not run for the last `seconds` (stopped, suspended, or held up by something in its loop)."""
        now = self._clock.now()
        self._add(now - timedelta(seconds=seconds), now)
        for call in self._on_wake:
            call(seconds)

    def _covered(self, start: datetime, end: datetime) -> timedelta:
        """How much between `start` and `end` is counted already."""
        if self._horizon is not None and start < self._horizon:
            behind = min(self._horizon, end) - start
            start = min(self._horizon, end)
        else:
            behind = timedelta()
        overlaps = (min(end, one) - max(start, other) for other, one in self._episodes)
        return behind + sum((overlap for overlap in overlaps if overlap > timedelta()), timedelta())

    def _add(self, start: datetime, end: datetime) -> None:
        """Count an episode, merged with those that it touches."""
        if self._horizon is not None:
            start = max(start, self._horizon)
        if start >= end:
            return
        first = bisect_right(self._episodes, (start, start))
        if first and self._episodes[first - 1][1] >= start:
            first -= 1
        last = first
        while last < len(self._episodes) and self._episodes[last][0] <= end:
            start, end = min(start, self._episodes[last][0]), max(end, self._episodes[last][1])
            last += 1
        self._episodes[first:last] = [(start, end)]
        while len(self._episodes) > _KEPT:
            begun, over = self._episodes.pop(0)
            self._settled += over - begun
            self._horizon = over
