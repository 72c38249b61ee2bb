"""Turns for what is quick: one of each namespace, and no other account of anybody. A turn costs a microsecond or two."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class RoundRobin(Generic[T]):
    """A queue that gives out one item of each namespace in turn; those of one namespace in the order they came in."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, namespace: str, item: T) -> None:
        self._queues.setdefault(namespace, deque()).append(item)
        self._count += 1

    def pop(self) -> T:
        """The next item. Raises KeyError when there is none."""
        namespace, queue = self._queues.popitem(last=False)
        item = queue.popleft()
        if queue:
            self._queues[namespace] = queue  # at the end: the others go first
        self._count -= 1
        return item


class Limit:
    """So many may be at it at a time; who waits for a place is let in by turns of namespaces."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: RoundRobin[asyncio.Future[None]] = RoundRobin()

    @asynccontextmanager
    async def held(self, namespace: str) -> AsyncGenerator[None]:
        """A place for the length of the block, on behalf of somebody in a namespace."""
        await self._take(namespace)
        try:
            yield
        finally:
            self._give()

    async def _take(self, namespace: str) -> None:
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(namespace, place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give()  # it was ours for a moment, and nobody will come for it
            raise

    def _give(self) -> None:
        while self._waiting:
            place = self._waiting.pop()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
