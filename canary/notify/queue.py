"""Messages that wait for one target: namespaces take turns, and when there are too many the loudest loses one.

So a team that has a thousand Rollouts rolled back at once neither delays nor pushes out the one message of another.
"""

from __future__ import annotations

from typing import TypeVar

from canary.fair import RoundRobin

T = TypeVar("T")


class TurnQueue(RoundRobin[T]):
    """Turns, and a way to have fewer that wait."""

    @property
    def loudest(self) -> str:
        """The namespace that has the most. Raises ValueError when there is none."""
        return max(self._queues, key=lambda namespace: len(self._queues[namespace]))

    def drop(self, namespace: str) -> T:
        """Take out the oldest of a namespace. Raises KeyError when it has none."""
        item = self._queues[namespace].popleft()
        if not self._queues[namespace]:
            del self._queues[namespace]
        self._count -= 1
        return item
