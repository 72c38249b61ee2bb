"""Messages that wait for one target: namespaces take turns, and when there are too many the loudest loses one.

So a team that has a thousand Rollouts rolled back at once neither delays nor pushes out the one message of another.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class TurnQueue(Generic[T]):
    """Items by namespace: one of each in turn, those of one namespace in the order they came in."""

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

    def drop(self) -> T:
        """Take out the oldest of the namespace that has the most. Raises ValueError when there is none."""
        loudest = max(self._queues, key=lambda namespace: len(self._queues[namespace]))
        item = self._queues[loudest].popleft()
        if not self._queues[loudest]:
            del self._queues[loudest]
        self._count -= 1
        return item
