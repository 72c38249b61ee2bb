"""How long a watch is asked for, and when it is taken for dead.

A connection can die without a word: a wire that is cut, a proxy that stopped forwarding while its kernel still
acknowledges. TCP does not tell. What does is a promise of the server's that it did not keep: a watch ends when the time
is over that was asked for, so the shorter that is, the sooner is a silent one found out. While a run depends on a watch
it is `brisk`, some seconds; else it is calm, some minutes, as everybody's. Opened again from where it was, it costs one
request and loses nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial

from canary.errors import Unavailable

CALM = 290.0
"""Seconds asked of the server, as client-go does; each watch takes 100-120 % of it, to spread reconnects."""
BRISK = 6.0
"""With GRACE, and a second until somebody notices that a run began, below ten."""
GRACE = 1.5
"""Seconds of silence after its time was over that make a watch dead."""
TURNS = 20
"""Turns of our own loop that are due to whatever has come in before it counts as silence: it takes some to be read."""
SILENCE = 120.0
"""Seconds of silence that make a watch dead before its time is over: real servers send a bookmark a minute."""


class WatchPace:
    """Whether the watches of one place have to be brisk; `seconds` is how long such a one is asked for."""

    def __init__(self, seconds: float = BRISK) -> None:
        self.seconds = seconds
        self._brisk = False
        self._open: set[Vigil] = set()

    @property
    def brisk(self) -> bool:
        return self._brisk

    def turn(self, *, brisk: bool) -> None:
        """Be brisk or calm. Calm watches that are open are renewed at once, brisk ones end by themselves."""
        begins, self._brisk = brisk and not self._brisk, brisk
        if begins:
            self.renew()

    def renew(self) -> None:
        """Open every watch anew, from where it is."""
        for vigil in tuple(self._open):
            vigil.renew()

    def enter(self, vigil: Vigil) -> None:
        """A watch is opened: it is told when it has to be renewed."""
        self._open.add(vigil)

    def leave(self, vigil: Vigil) -> None:
        self._open.discard(vigil)


class Silent(Unavailable):
    """A watch on which nothing came although something had to."""


class Vigil:
    """One watch, from its request to its end. Times are those of time.monotonic, which is the event loop's too.

    `seconds` is what to ask of the server (None: as the pace has it). `on_open` is called when the server has answered.
    """

    def __init__(
        self,
        pace: WatchPace | None = None,
        *,
        seconds: float | None = None,
        silence: float = SILENCE,
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        self._brisk = pace is not None and pace.brisk
        usual = pace.seconds if pace is not None and pace.brisk else CALM * random.uniform(1, 1.2)  # noqa: S311 - jitter
        self.seconds = usual if seconds is None else seconds
        self.renewed = False
        self.heard = time.monotonic()
        """When something came last; at first, when it was made."""
        self._pace = pace
        self._silence = silence
        self._on_open = on_open
        self._end = self.heard + self.seconds
        self.interrupt: Callable[[], None] | None = None
        """How to wake up whoever waits for something to come."""

    @property
    def deadline(self) -> float:
        """When it is dead if nothing comes."""
        return min(self.heard + self._silence, max(self.heard, self._end) + GRACE)

    def opened(self) -> None:
        """The server has answered, and counts from now on."""
        self.heard = time.monotonic()
        self._end = self.heard + self.seconds
        if self._pace is not None:
            self._pace.enter(self)
            self.renewed = self._pace.brisk and not self._brisk  # it has turned brisk while this one was asked for
        self._on_open()

    def closed(self) -> None:
        """It is over, however that came."""
        if self._pace is not None:
            self._pace.leave(self)

    def renew(self) -> None:
        """End it now, to be opened again in the pace of now."""
        self.renewed = True
        if self.interrupt is not None:
            self.interrupt()

    async def read(self, receive: Callable[[], Awaitable[bytes]], received: Callable[[], object]) -> bytes:
        """The next bytes; none when the stream is over or to be renewed.

        `received` tells how much has come in, read or not, and whether that is all: a loop that was held up for longer than
        the deadline finds it waiting, and takes nothing for dead that is not.

        Raises:
            Silent: nothing came although something had to.

        """
        while not self.renewed:
            before = received()
            try:
                async with asyncio.timeout_at(self.deadline) as limit:
                    self.interrupt = partial(_expire, limit)
                    chunk = await receive()
            except TimeoutError:
                if received() != before or await arrived(received):
                    self.heard = time.monotonic()
                elif not self.renewed:
                    raise Silent(f"nothing came for {time.monotonic() - self.heard:.1f} s", reason="Silent") from None
            else:
                self.heard = time.monotonic()
                return chunk
            finally:
                self.interrupt = None
        return b""


async def arrived(received: Callable[[], object]) -> bool:
    """Whether something turns up that had come in already, and that a busy loop has not read yet."""
    before = received()
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if received() != before:
            return True
    return False


def _expire(limit: asyncio.Timeout) -> None:
    """Let a time-out be over now, unless it is already."""
    if not limit.expired():
        limit.reschedule(0)
