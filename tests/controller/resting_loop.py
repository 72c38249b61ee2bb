"""An event loop that tells when nothing is left to do in it. So nobody waits for a silence, whose length is a matter of speed."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ARRIVAL = 0.001
"""Seconds that the kernel has to bring what was sent on one socket of this process to another one."""


@dataclass(frozen=True)
class _Waiting:
    """Somebody who waits for rest; see `RestingLoop.rest`."""

    horizon: float
    busy: Callable[[], bool]
    told: asyncio.Future[None]

    def tell(self, timeout: float | None) -> bool:
        """Whether it is told that there is rest, with the next timer due in so many seconds (None: there is none)."""
        if self.told.done() or (timeout is not None and timeout <= self.horizon) or self.busy():
            return False
        self.told.set_result(None)
        return True


class _Selector(selectors.DefaultSelector):
    """Is asked by the loop once it has nothing to run, and told how soon its next timer is due."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[_Waiting] = []

    def select(self, timeout: float | None = None) -> Any:
        self.waiting = [one for one in self.waiting if not one.told.done()]
        if not self.waiting or timeout == 0:
            return super().select(timeout)
        arrival = ARRIVAL if timeout is None else min(timeout, ARRIVAL)
        if found := super().select(arrival):
            return found
        left = None if timeout is None else timeout - arrival
        if any(one.tell(timeout) for one in self.waiting):
            return []
        return super().select(left)


class RestingLoop(asyncio.SelectorEventLoop):
    """Clients and servers that run in it, all of them, can be waited for."""

    def __init__(self) -> None:
        self._asked = _Selector()
        self._in_threads = 0
        super().__init__(self._asked)

    async def rest(self, horizon: float, busy: Callable[[], bool]) -> None:
        """Return when nothing runs, nothing has come in, no thread works for us and no timer is due within `horizon` seconds.

        `busy` says whether there is something else to wait for, whose end wakes the loop.
        """
        told = self.create_future()
        self._asked.waiting.append(_Waiting(horizon, lambda: bool(self._in_threads) or busy(), told))
        await told

    def run_in_executor(self, *work: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(*work)
        self._in_threads += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1


async def rest(horizon: float = 0.0, busy: Callable[[], bool] = lambda: False) -> None:
    """`RestingLoop.rest` of the loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, RestingLoop)
    await loop.rest(horizon, busy)
