"""Who goes first when a thousand reconcilers want to look at once: those with a measurement.

A look takes about a millisecond of the one thread there is. After a mass of events (a gateway that answers, a thousand runs
that end) looks would stand in line, and a failing sample at its end. So reconcilers without one go one at a time, one of each
namespace in turn, and between two of them everybody else that is ready gets a turn.

Among them, those whose run nobody has decided about since the start go before those that look once more.

What can wait for all of them stands in a line of its own: a turn that is put on a route at a takeover moves no traffic, nor does
an annotation that is taken off at the end, and a thousand of them would stand before the first decisions about the runs that are
taken over last, or before a rollback.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from canary.fair import Limit, RoundRobin

LONGEST_WAIT = 0.5
"""Seconds after which what can wait goes first: it waits for those who are in a hurry now, not for a flood without end."""

LOOK_AGAIN = 0.01
"""Seconds between two looks whether a start is over."""

AHEAD = 8
"""As many first looks go before one of those that look once more: new Rollouts without end hold up nobody."""

PATIENT = 8
"""As many of those that can wait are at it at a time, half of them of one namespace; namespaces take turns."""


class PriorityQueue:
    """The line of those who are in no hurry, and of those who can wait for them."""

    def __init__(self) -> None:
        self._first: RoundRobin[asyncio.Future[None]] = RoundRobin()
        self._line: RoundRobin[asyncio.Future[None]] = RoundRobin()
        self._ahead = 0
        self._patient: RoundRobin[asyncio.Future[None]] = RoundRobin()
        self._places = Limit(PATIENT)
        self._calling = False
        self._waiting = 0
        self._again: asyncio.TimerHandle | None = None
        self.starting: Callable[[], bool] = lambda: False
        """Whether runs wait that nobody has looked at since the start."""

    def queue(self, namespace: str, *, first: bool = False) -> asyncio.Future[None]:
        """Stand in line, for a Rollout of a namespace; the future is done when it is one's turn.

        `first`: nothing has been decided about it yet. Who is in a hurry after all may set the result of the future.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._first if first else self._line).put(namespace, turn)
        self._go_on()
        return turn

    @asynccontextmanager
    async def held(self, namespace: str) -> AsyncGenerator[None]:
        """Do what can wait, in the block: when nobody is in a hurry, or after LONGEST_WAIT."""
        async with self._places.held(namespace):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._patient.put(namespace, turn)
            self._go_on()
            self._waiting += 1
            try:
                await asyncio.wait({turn}, timeout=LONGEST_WAIT)
            finally:
                turn.cancel()
                self._waiting -= 1
            yield

    def _go_on(self) -> None:
        if not self._calling:
            self._calling = True
            asyncio.get_running_loop().call_soon(self._call)

    def _call(self) -> None:
        """Call the next one, and go on in the next round of the event loop."""
        loop = asyncio.get_running_loop()
        while self._first or self._line:
            ahead = bool(self._first) and (self._ahead < AHEAD or not self._line)
            if self._done((self._first if ahead else self._line).pop()):
                self._ahead = self._ahead + 1 if ahead else 0
                loop.call_soon(self._call)
                return
        while self._patient and not self.starting():
            if self._done(self._patient.pop()):
                loop.call_soon(self._call)
                return
        self._calling = False
        if self._patient and self._again is None:
            self._again = loop.call_later(LOOK_AGAIN, self._look_again)

    @staticmethod
    def _done(turn: asyncio.Future[None]) -> bool:
        """Call somebody; False when nobody waits there any more."""
        if turn.done():
            return False
        turn.set_result(None)
        return True

    def _look_again(self) -> None:
        """See whether the start is over. Who can wait gives up waiting by itself; so this ends with them."""
        self._again = None
        if self._waiting:
            self._go_on()
