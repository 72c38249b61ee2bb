"""When a request may be sent again: a few named policies, so that no caller grows a retry loop of its own.

Only errors that say so themselves (`CanaryError.retryable`) are retried. A retried write must be safe to repeat: a JSON
Patch is when its `test` operations no longer hold once it took effect; an Event is when its name is its identity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from canary.backoff import Backoff
from canary.errors import CanaryError

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `attempts` tries, and at most `total` seconds of pauses between them.

    When the server said Retry-After, and that does not fit into `total`, the error is raised at once.
    """

    name: str
    backoff: Backoff
    attempts: int
    total: float

    async def call(self, send: Callable[[], Awaitable[T]], *, sleep: Sleep = asyncio.sleep) -> T:
        """The result of `send()`, or the last error it raised."""

        async def attempt() -> T:  # tenacity awaits only what is visibly a coroutine function, and a lambda is not
            return await send()

        return await self.retrying(sleep=sleep)(attempt)

    def retrying(self, *, sleep: Sleep = asyncio.sleep) -> AsyncRetrying:
        """The same as a tenacity object, for `async for attempt in ...`."""
        return AsyncRetrying(
            sleep=sleep, stop=self._exhausted, wait=self._pause, retry=retry_if_exception(_may_retry), reraise=True
        )

    def _pause(self, state: RetryCallState) -> float:
        return self.backoff.pause(state.attempt_number, state.outcome.exception() if state.outcome else None)

    def _exhausted(self, state: RetryCallState) -> bool:
        # Counted in pauses and not by the clock: the time-out of each request bounds the rest.
        return state.attempt_number >= self.attempts or state.idle_for + state.upcoming_sleep > self.total


def _may_retry(error: BaseException) -> bool:
    return isinstance(error, CanaryError) and error.retryable


ROUTE_WRITE = RetryPolicy("route-write", Backoff(0.05, 2.0, obeys=2.0), attempts=6, total=8.0)
"""Traffic: the first retry comes quickly, since a rollback may be what is waiting."""

STATUS_WRITE = RetryPolicy("status-write", Backoff(0.2, 2.0, obeys=10.0), attempts=4, total=5.0)
"""Words about what happened; the next tick writes them again anyway."""

REFUSED_WRITE = Backoff(0.2, 60.0, obeys=60.0)
"""Pauses after a write that a policy, a rule or the rights of the controller refuse: somebody has to edit something first."""

UNKEPT = Backoff(1.0, 600.0)
"""Pauses after a write of a status of which not everything was kept. It may be at rest, and there may be thousands of them."""

UNKEPT_IN_RUN = Backoff(1.0, 60.0)
"""The same of a run that is not over: once it is kept, somebody is told, or a route let go of."""

HELD_ROUTE = Backoff(0.05, 10.0, obeys=10.0)
"""The same of a route, unless it is a rollback, and of our finalizer: a share that somebody holds is put back as slowly as one that is contested."""

EVENT_WRITE = RetryPolicy("event-write", Backoff(0.5, 1.0), attempts=2, total=2.0)
"""Nice to have."""

READ = RetryPolicy("read", Backoff(0.1, 2.0), attempts=4, total=5.0)
"""Safe to repeat; bounded so that a person at a terminal gets an answer."""
