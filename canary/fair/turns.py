"""Turns by namespace, and places of which nobody can hold all. A turn costs a microsecond or two."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
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
        if not self._queues:
            raise KeyError
        return self._take(next(iter(self._queues)))

    def pop_of(self, fits: Callable[[str], bool]) -> T | None:
        """The next item of a namespace that fits; None when there is none."""
        namespace = next(filter(fits, self._queues), None)
        return None if namespace is None else self._take(namespace)

    def _take(self, namespace: str) -> T:
        queue = self._queues.pop(namespace)
        item = queue.popleft()
        if queue:
            self._queues[namespace] = queue  # at the end: the others go first
        self._count -= 1
        return item


class Limit:
    """So many may be at it at a time; who waits for a place is let in by turns of namespaces.

    A namespace begins one more only while it holds fewer places than are free. So one alone has half of them, two a third
    each, and however long their work takes, another one finds a place at once, unless nearly as many are slow as there are places.
    """

    def __init__(self, number: int) -> None:
        self.free = number
        """Places that nobody holds."""
        self._held: Counter[str] = Counter()
        self._waiting: RoundRobin[tuple[str, asyncio.Future[None]]] = RoundRobin()

    @asynccontextmanager
    async def held(self, namespace: str) -> AsyncGenerator[None]:
        """A place for the length of the block, on behalf of somebody in a namespace."""
        await self._take(namespace)
        try:
            yield
        finally:
            self._give(namespace)

    async def _take(self, namespace: str) -> None:
        if self._fits(namespace):  # nobody who waits could have a place now, so this overtakes nobody
            self._seat(namespace)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(namespace, (namespace, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give(namespace)  # it was ours for a moment, and nobody will come for it
            raise

    def _fits(self, namespace: str) -> bool:
        return self._held[namespace] < self.free

    def _seat(self, namespace: str) -> None:
        self.free -= 1
        self._held[namespace] += 1

    def _give(self, namespace: str) -> None:
        self.free += 1
        self._held[namespace] -= 1
        if not self._held[namespace]:
            del self._held[namespace]
        while (found := self._waiting.pop_of(self._fits)) is not None:
            whose, place = found
            if not place.done():
                self._seat(whose)
                place.set_result(None)
