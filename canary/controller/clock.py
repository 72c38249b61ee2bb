"""Time as a port, so that tests own it. `ManualClock` is the scripted twin of `SystemClock`."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta
from typing import Protocol

from canary.elapsed import elapsed


class Clock(Protocol):
    """What the controller knows of time."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed."""
        ...


class SystemClock:
    """The time of day when this process began, and what has passed since by a clock that nobody sets.

    So the order of what happens, and the time between two things, are what they are, whatever becomes of the machine's
    clock meanwhile (promise 11). It is nothing to send to anybody as the time of day: see `metrics/server_time`.
    """

    def __init__(self) -> None:
        self._began = datetime.now(UTC) - timedelta(seconds=elapsed())

    def now(self) -> datetime:
        return self._began + timedelta(seconds=elapsed())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """Time that only moves when it is told to. Sleepers wake in the order of their times."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._count), woken))
        await woken

    @property
    def next_wake(self) -> datetime | None:
        """When the first sleeper wakes."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Move on, and wake everybody whose time has come."""
        self._now += timedelta(seconds=seconds)
        while (due := self.next_wake) is not None and due <= self._now:
            heapq.heappop(self._sleepers)[2].set_result(None)


class Alarm:
    """Sets an event when a moment has come. Set again for the same moment, as it mostly is, it costs nothing."""

    def __init__(self, clock: Clock, event: asyncio.Event) -> None:
        self._clock = clock
        self._event = event
        self._until: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    def set(self, until: datetime | None) -> None:
        """Ring at this moment and at no other; None: not at all."""
        if until == self._until and self._task is not None and not self._task.done():
            return
        self.cancel()
        if until is not None:
            self._until = until
            self._task = asyncio.create_task(self._ring((until - self._clock.now()).total_seconds()), name="alarm")

    def cancel(self) -> None:
        """Do not ring any more."""
        if self._task is not None:
            self._task.cancel()
        self._until = self._task = None

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._event.set()
