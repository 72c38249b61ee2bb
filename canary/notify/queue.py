"""Messages that wait for one target: namespaces take turns, and when there are too many the loudest loses one.

So a team that has a thousand Rollouts rolled back at once neither delays nor pushes out the one message of another.
"""

from __future__ import annotations

from typing import TypeVar

from canary.fair import RoundRobin

T = TypeVar("T")


class TurnQueue(RoundRobin[T]):
    """Turns, and a way to have fewer that wait."""

    def drop(self) -> T:
        """Take out the oldest of the namespace that has the most. Raises ValueError when there is none."""
        loudest = max(self._queues, key=lambda namespace: len(self._queues[namespace]))
        item = self._queues[loudest].popleft()
        if not self._queues[loudest]:
            del self._queues[loudest]
        self._count -= 1
        return item
