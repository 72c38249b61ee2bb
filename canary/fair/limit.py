"""The places, and the queue before them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from canary.fair.line import Line
from canary.fair.room import SLOW_SECONDS, Pace, Place, Room, Tenant

SLOW_FOR = 30.0
"""Seconds of quick work after which it is a slow one no longer. One that had no turn meanwhile stays what it was."""

REMEMBERED = 10_000
"""So many tenants, namespaces and topics are remembered; of others nobody knows when they were served or how long it took."""


class LimitClosed(Exception):
    """There will be no place any more."""


@dataclass(eq=False, slots=True)
class _Waiter:
    tenant: Tenant
    topic: Hashable
    number: int
    place: asyncio.Future[Place]


class FairLimit:
    """At most `places` are held at a time. For one event loop; `clock` gives seconds that only go forward."""

    def __init__(self, places: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.places = places
        self._clock = clock
        self._held: set[Place] = set()
        self._waiting: dict[Tenant, list[_Waiter]] = {}
        self._lines = {pace: Line() for pace in Pace}
        self._filed: dict[Tenant, Pace] = {}
        self._arrivals = itertools.count()
        self._closed = False
        # Only of those who were served while others waited: without that there is no order to keep.
        self._served: OrderedDict[Hashable, int] = OrderedDict()
        self._serial = itertools.count(1)
        # When a tenant's work was slow last; None: it is quick.
        self._last_slow: OrderedDict[Tenant, float | None] = OrderedDict()

    @property
    def busy(self) -> bool:
        """Whether anybody holds a place, or waits for one."""
        return bool(self._held or self._waiting)

    @asynccontextmanager
    async def held(self, tenant: Tenant, topic: Hashable = "") -> AsyncIterator[None]:
        """A place for the length of the block."""
        place = await self.take(tenant, topic)
        try:
            yield
        finally:
            self.give_back(place)

    async def take(self, tenant: Tenant, topic: Hashable = "") -> Place:
        """Wait for a place. Who is cancelled while waiting has none. Raises LimitClosed."""
        if self._closed:
            raise LimitClosed
        # Nobody who waits could have a place now (or it would have one), so whoever fits in overtakes nobody.
        if self._room().fits(tenant):
            return self._seat(tenant, topic)
        future: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(tenant, topic, next(self._arrivals), future)
        self._waiting.setdefault(tenant, []).append(waiter)
        self._file(tenant)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._vacate(future.result())  # it came at the very moment in which we gave up
            else:
                self._leave(waiter)
            raise

    def give_back(self, place: Place) -> None:
        """End of the work: the next one may begin."""
        now, tenant = self._clock(), place.tenant
        slow = self._last_slow.get(tenant)
        if now - place.since > SLOW_SECONDS:
            slow = now
        elif slow is not None and now - slow > SLOW_FOR:
            slow = None
        self._last_slow[tenant] = slow
        self._last_slow.move_to_end(tenant)
        if len(self._last_slow) > REMEMBERED:
            self._last_slow.popitem(last=False)
        self._vacate(place)

    def close(self) -> None:
        """Whoever waits gets LimitClosed; places that are held stay held until they are given back."""
        self._closed = True
        for waiter in [waiter for waiters in self._waiting.values() for waiter in waiters]:
            if not waiter.place.done():
                waiter.place.set_exception(LimitClosed())
            self._leave(waiter)

    def _vacate(self, place: Place) -> None:
        self._held.discard(place)
        self._file(place.tenant)  # its pace may have changed
        while (waiter := self._next()) is not None:
            self._leave(waiter)
            waiter.place.set_result(self._seat(waiter.tenant, waiter.topic))

    def _seat(self, tenant: Tenant, topic: Hashable) -> Place:
        place = Place(tenant, self._clock(), self._room().pace(tenant))
        self._held.add(place)
        if self._waiting:
            serial = next(self._serial)
            for key in (tenant[0], tenant, (tenant, topic)):
                self._served[key] = serial
                self._served.move_to_end(key)
            while len(self._served) > REMEMBERED:
                self._served.popitem(last=False)
            for line in self._lines.values():
                line.served(tenant, serial)
        return place

    def _leave(self, waiter: _Waiter) -> None:
        waiters = self._waiting.get(waiter.tenant, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiting.pop(waiter.tenant, None)
            self._file(waiter.tenant)

    def _file(self, tenant: Tenant) -> None:
        """Put a tenant into the line of its pace, or out of all of them if it does not wait."""
        pace = self._room().pace(tenant) if tenant in self._waiting else None
        before = self._filed.pop(tenant, None)
        if pace is not None:
            self._filed[tenant] = pace
        if before is not None and before is not pace:
            self._lines[before].drop(tenant)
        if pace is not None and before is not pace:
            served = self._served
            self._lines[pace].put(tenant, served.get(tenant[0], 0), served.get(tenant, 0))

    def _next(self) -> _Waiter | None:
        """Whose turn it is: the one served longest ago of those that may have a place now."""
        room, served = self._room(), self._served
        while True:
            found: list[Tenant] = []
            for pace, line in self._lines.items():
                if room.open_to(pace):
                    found += itertools.islice(line.tenants(room, pace), 1)
            strayed = [tenant for tenant in found if room.pace(tenant) is not self._filed[tenant]]
            if not found:
                return None
            if not strayed:
                tenant = min(found, key=lambda one: (served.get(one[0], 0), served.get(one, 0)))
                # Who has given up may not have left yet.
                waiters = [one for one in self._waiting[tenant] if not one.place.done()]
                if waiters:
                    return min(waiters, key=lambda one: (served.get((tenant, one.topic), 0), one.number))
                del self._waiting[tenant]
                strayed = [tenant]
            for tenant in strayed:
                self._file(tenant)

    def _room(self) -> Room:
        return Room(self.places, self._held, self._last_slow, self._clock())
