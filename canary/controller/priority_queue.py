"""Who goes first when a thousand reconcilers want to look at once: those with a measurement.

A look takes about a millisecond of the one thread there is. After a mass of events (a gateway that answers, a thousand runs
that end) looks would stand in line, and a failing sample at its end. So reconcilers without one go one at a time, one of each
namespace in turn, and between two of them everybody else that is ready gets a turn.
"""

from __future__ import annotations

import asyncio

from canary.fair import RoundRobin


class PriorityQueue:
    """The line of those who are in no hurry."""

    def __init__(self) -> None:
        self._line: RoundRobin[asyncio.Future[None]] = RoundRobin()
        self._calling = False

    def queue(self, namespace: str) -> asyncio.Future[None]:
        """Stand in line, for a Rollout of a namespace; the future is done when it is one's turn. Who is in a hurry after all may set its result."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._line.put(namespace, turn)
        if not self._calling:
            self._calling = True
            loop.call_soon(self._call)
        return turn

    def _call(self) -> None:
        """Call the next one, and go on in the next round of the event loop."""
        while self._line:
            turn = self._line.pop()
            if not turn.done():
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._call)
                return
        self._calling = False
