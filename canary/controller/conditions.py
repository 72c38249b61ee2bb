"""Evaluates conditions away from the event loop, in turns: one at a time, and everybody who waits comes once in between.

The thread lets go of the interpreter after every thousand steps, so the event loop waits for a tenth of a millisecond or
two, and not for a condition. Steps are what bounds an evaluation (`canary.checks.condition`); the deadline is for a machine
on which even those take too long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from canary.checks.condition import ConditionTooExpensive, weighed
from canary.model.measurement import Sample, Weighed

log = logging.getLogger("canary.conditions")

DEADLINE = 1.0
"""Seconds that one evaluation may take. The dearest that is allowed takes about a hundredth of that."""

_GAP = 0.0001
"""Seconds for which the thread sleeps. Only to let go of the interpreter is not enough: it would have it back before the
other thread has woken up."""

Weigh = Callable[[str, Sample], Awaitable[Sample]]


@dataclass(eq=False, slots=True)
class _Turn:
    """A line, in the order of arrival, and how many are in it or at its head."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Conditions:
    """Evaluates for everybody. The thread is started by the first evaluation.

    PriorityQueue are taken among namespaces, within one of them among its Rollouts, and within one of these in order: whatever
    one of them has to evaluate, another waits for one evaluation of it, or two.
    """

    def __init__(self, *, deadline: float = DEADLINE, clock: Callable[[], float] = time.monotonic) -> None:
        self._deadline = deadline
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conditions")
        self._turns: dict[tuple[str, ...], _Turn] = {}

    def of(self, namespace: str, name: str) -> Weigh:
        """A function for one Rollout: from a condition and a sample to the sample with what the condition said of it."""
        return partial(self._weigh, (namespace, name))

    def close(self) -> None:
        """Let the thread go. What it is at ends by itself, within its deadline."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _weigh(self, who: tuple[str, str], expression: str, sample: Sample) -> Sample:
        async with self._turn(who), self._turn(who[:1]), self._turn(()):
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._evaluate, expression, sample)
            return await work

    @asynccontextmanager
    async def _turn(self, key: tuple[str, ...]) -> AsyncIterator[None]:
        """One's turn among all who have the same key."""
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]

    def _evaluate(self, expression: str, sample: Sample) -> Sample:
        """Runs in the thread."""
        until = self._clock() + self._deadline

        def pause() -> None:
            time.sleep(_GAP)
            if self._clock() > until:
                raise ConditionTooExpensive(f"the condition was not evaluated within {self._deadline:g} s")

        try:
            found = weighed(expression, sample, pause)
        except Exception as error:  # a bug of ours is no verdict, and must not end the measuring
            log.exception("condition %r could not be evaluated", expression)
            found = Weighed(expression, None, "ConditionError", f"{type(error).__name__}: {error}")
        return replace(sample, weighed=found)
