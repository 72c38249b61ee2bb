"""Asks the system that the gate of a step names, off the tick, for as long as the run waits for its yes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from canary.checks.sources.web import Web
from canary.controller.clock import Clock
from canary.controller.measure import JITTER, LONGEST_TIMEOUT, Pace
from canary.errors import RenderError
from canary.fair import NOBODY, Tenant
from canary.metrics.port import Provider, Query
from canary.model.gates import HttpGate
from canary.model.measurement import Malformed, Measurement, Unreachable

log = logging.getLogger("canary.asking")


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to ask, how often (seconds), and for whom: the run and the time at which it entered the step. Another one begins anew."""

    gate: HttpGate
    interval: float
    run: int
    entered: datetime


class Asking:
    """The gate of one active run. `sync` says what is to be asked from now on; `stop` ends it.

    `render` makes a request of what is declared, and raises RenderError; `wake` is called with every answer.
    """

    def __init__(
        self,
        clock: Clock,
        provider: Provider,
        render: Callable[[HttpGate], Web],
        wake: Callable[[], None],
        tenant: Tenant = NOBODY,
        *,
        pace: Pace | None = None,
    ) -> None:
        self._clock, self._provider, self._render, self._wake = clock, provider, render, wake
        self._tenant, self._pace = tenant, pace or Pace()
        self._question: Question | None = None
        self._task: asyncio.Task[None] | None = None
        self.answer: Measurement | None = None
        """What was said last, since the question is asked; as of when it was asked."""

    def sync(self, question: Question | None) -> None:
        """Ask exactly this. The same question goes on undisturbed."""
        if question == self._question:
            return
        if self._task is not None:
            self._task.cancel()
        self._question, self._task, self.answer = question, None, None
        if question is not None:
            self._task = asyncio.create_task(self._ask_on(question), name=f"ask {question.gate.host}")

    async def stop(self) -> None:
        """End, and wait for it."""
        task = self._task
        self.sync(None)
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _ask_on(self, question: Question) -> None:
        # After a start a thousand runs may want to ask at once.
        await self._clock.sleep(self._pace.turn(self._clock.now(), question.interval))
        while True:
            started = self._clock.now()
            self.answer = await self._asked(question, started)
            self._wake()
            spent = (self._clock.now() - started).total_seconds()
            # A yes counts for one interval, so the next one comes before that.
            pause = question.interval * random.uniform(1 - 2 * JITTER, 1 - JITTER)  # noqa: S311 - spreads load
            await self._clock.sleep(max(pause - spent, question.interval / 10))

    async def _asked(self, question: Question, now: datetime) -> Measurement:
        try:
            source = self._render(question.gate)
        except RenderError as error:
            return Malformed(now, "UnknownVariable", str(error))
        timeout = min(question.interval, LONGEST_TIMEOUT)
        query = Query(source, timeout, tenant=self._tenant, patience=question.interval)
        try:
            return await self._provider.measure(query, now)
        except Exception as error:  # as of measurements: a provider must not raise
            log.exception("provider failed on a gate")
            return Unreachable(now, "ProviderError", f"{type(error).__name__}: {error}", query.text)
