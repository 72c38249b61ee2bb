"""Delivers messages: in the background, a target at a time each, tried again with growing pauses, and bounded in everything.

A pause belongs to the target and not to a message: while a receiver is down it gets one attempt per pause, whatever waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from canary.backoff import Backoff
from canary.fair import FairLimit, LimitClosed
from canary.notify.backlog import Backlog
from canary.notify.notice import Notice
from canary.notify.outcome import Delivered, Outcome, Undelivered
from canary.notify.queue import TurnQueue
from canary.notify.targets import Target, TargetKey

log = logging.getLogger("canary.notify")

AT_ONCE = 8
"""Attempts under way at a time. Targets take turns, and slow ones leave places to others (`canary.fair`)."""

MOST = 5000
"""Messages that wait, in all. Half of it is for targets of the platform as far as they need it (`canary.notify.backlog`)."""

OF_ONE = 2000
"""Of one target: a thousand Rollouts that are rolled back at once fit in."""

ATTEMPTS = 6
LASTS = 900.0
"""Seconds after which a message is given up: by then somebody has found out otherwise."""

LAST = 0.5
"""Seconds that an end waits for what is under way. The next controller waits for our end."""

PAUSES = Backoff(1.0, 60.0)


class Sender(Protocol):
    """Makes one attempt, and raises nothing of what can go wrong on the way."""

    async def send(self, target: Target, notice: Notice) -> Outcome: ...


class Listener(Protocol):
    """Wants to know what came of messages. `final` is False while it will be tried again."""

    def attempted(self, target: Target, notice: Notice, outcome: Outcome, *, final: bool) -> None: ...

    def dropped(self, target: TargetKey, notice: Notice) -> None: ...


@dataclass(slots=True)
class _Waiting:
    notice: Notice
    until: float
    attempts: int = 0


@dataclass(slots=True)
class _Line:
    """What waits for one target, and who sends it."""

    queue: TurnQueue[_Waiting] = field(default_factory=TurnQueue)
    worker: asyncio.Task[None] | None = None


class Dispatcher:
    """`target` gives a target as it is now, None when it is gone. `clock` gives seconds that only go forward."""

    def __init__(
        self,
        sender: Sender,
        target: Callable[[TargetKey], Target | None],
        listener: Listener,
        *,
        pauses: Backoff = PAUSES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST,
        of_one: int = OF_ONE,
    ) -> None:
        self._sender, self._target, self._listener = sender, target, listener
        self._pauses, self._sleep, self._clock = pauses, sleep, clock
        self._most, self._of_one = most, of_one
        self._lines: dict[TargetKey, _Line] = {}
        self._count = 0
        self._backlog = Backlog(most // 2)
        self._limit = FairLimit(AT_ONCE, clock=clock)
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Messages that wait, or are under way."""
        return self._count

    def put(self, target: TargetKey, notice: Notice) -> None:
        """Have a message delivered."""
        if self._closed:
            return
        line = self._lines.setdefault(target, _Line())
        self._line_up(target, line, _Waiting(notice, self._clock() + LASTS))
        self._count += 1
        if len(line.queue) > self._of_one:
            self._drop(target, line.queue.loudest)
        elif self._count > self._most:
            self._drop(*self._backlog.loudest())
        if line.worker is None:
            self._idle.clear()
            line.worker = asyncio.create_task(self._work(target, line), name=f"notify {'/'.join(target)}")

    async def close(self, patience: float = LAST) -> None:
        """Take no more; what is left after so many seconds is told by whoever comes after us."""
        self._closed = True
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            log.info("%d notifications are left for the next controller", self._count)
        self._limit.close()
        workers = [line.worker for line in self._lines.values() if line.worker is not None]
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _line_up(self, key: TargetKey, line: _Line, waiting: _Waiting) -> None:
        line.queue.put(waiting.notice.namespace, waiting)
        self._backlog.add(key, waiting.notice.namespace)

    def _next(self, key: TargetKey, line: _Line) -> _Waiting:
        waiting = line.queue.pop()
        self._backlog.remove(key, waiting.notice.namespace)
        return waiting

    def _drop(self, target: TargetKey, namespace: str) -> None:
        """Give up the oldest message to a target about Rollouts of a namespace."""
        dropped = self._lines[target].queue.drop(namespace)
        self._backlog.remove(target, namespace)
        self._count -= 1
        self._listener.dropped(target, dropped.notice)

    async def _work(self, key: TargetKey, line: _Line) -> None:
        failures = 0
        try:
            while line.queue:
                outcome = await self._one(key, line)
                if outcome is None:
                    continue
                trying = isinstance(outcome, Undelivered) and outcome.retryable
                failures = failures + 1 if trying else 0
                if isinstance(outcome, Undelivered) and trying and line.queue:
                    await self._sleep(max(self._pauses.pause(failures), outcome.retry_after or 0.0))
        except LimitClosed:
            pass
        finally:
            while line.queue:
                self._next(key, line)
                self._count -= 1
            self._lines.pop(key, None)
            if not self._lines:
                self._idle.set()

    async def _one(self, key: TargetKey, line: _Line) -> Outcome | None:
        """The next attempt; None: there was nothing to try."""
        async with self._limit.held((key[1], f"{key[0]}/{key[2]}")):
            if not line.queue:
                return None  # dropped meanwhile
            waiting = self._next(key, line)
            target = self._target(key)
            if target is None or target.spec is None:
                self._count -= 1
                return None
            outcome = await self._sent(key, target, waiting.notice)
        waiting.attempts += 1
        final = isinstance(outcome, Delivered) or not outcome.retryable
        final = final or waiting.attempts >= ATTEMPTS or self._clock() >= waiting.until
        if final:
            self._count -= 1
        else:
            self._line_up(key, line, waiting)
        self._listener.attempted(target, waiting.notice, outcome, final=final)
        return outcome

    async def _sent(self, key: TargetKey, target: Target, notice: Notice) -> Outcome:
        try:
            return await self._sender.send(target, notice)
        except asyncio.CancelledError:
            self._count -= 1
            raise
        except Exception:  # a bug of ours in one message is none of the others' business
            log.exception("a notification of %s failed for a reason of ours", "/".join(key))
            return Undelivered("InternalError", "it failed for a reason of canary's own; see the controller's log")
