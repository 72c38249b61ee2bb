"""Measures the checks of one active run: a task per check, each on its own jittered interval."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from canary.backoff import Backoff
from canary.checks.judges.against import Against
from canary.checks.judges.comparison import Versus
from canary.checks.queries import BACKENDS, Backend
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source
from canary.checks.sources.job import Job
from canary.controller.clock import Clock
from canary.controller.comparers import Answering
from canary.controller.conditions import Weigh
from canary.controller.counting import Counting
from canary.controller.job_documents import RunOf
from canary.controller.jobs import NOT_RUN, Jobs
from canary.controller.proof import Proof
from canary.errors import RenderError
from canary.fair import NOBODY, Tenant
from canary.metrics.port import Provider, Query
from canary.model.checks import SHORTEST_INTERVAL
from canary.model.measurement import Compared, Counts, Malformed, Measured, Measurement, Reading, Sample, Unreachable

log = logging.getLogger("canary.measure")

LONGEST_TIMEOUT = 10.0
JITTER = 0.1
"""Intervals vary by this fraction, so that a thousand runs do not ask in step."""
JOB_AGAIN = 5.0
"""Seconds until a Job that could not be run is tried again; then twice as long each time, up to the interval."""

NOTHING_SETTLED: Mapping[str, datetime] = {}

MAX_AGE = 1.0
"""Seconds that an answer given to others may be old at most; and a tenth of the pause between two looks.

What is so for a pause and its jitter is seen all the same, since pauses count from the moment of which an answer is.
"""

APART = 0.01
"""Seconds between two first looks."""

EARLY_LOOKS = 10.0
"""So many looks a second the comparisons of all runs may have together for being quick; each has its interval in any case."""

Post = Callable[[str, Measured | Reading], None]
Render = Callable[[ResolvedCheck, Backend | None], Source]


def _proof(check: ResolvedCheck, sure: datetime) -> Proof | None:
    """What may prove a canary good; `sure` is when the data planes do what the routes say, whatever a status says of that."""
    if not isinstance(check.judge, Versus) or not check.judge.promote_early:
        return None
    return Proof(check.judge, sure + check.judge.lag.delta)


class Pace:
    """Of all runs: spreads the first looks after a start, and says how often comparisons look.

    First looks come one every ten milliseconds, and each within its own interval.
    """

    def __init__(self) -> None:
        self._next: datetime | None = None
        self._comparing = 0

    @contextmanager
    def comparing(self) -> Iterator[None]:
        """While one more comparison looks."""
        self._comparing += 1
        try:
            yield
        finally:
            self._comparing -= 1

    def between_looks(self, quick: float, interval: float) -> float:
        """Seconds between two looks of a comparison: `quick`, and the more of them there are, the longer, up to the interval."""
        return min(interval, max(quick, self._comparing / EARLY_LOOKS))

    def turn(self, now: datetime, interval: float) -> float:
        """Seconds until the next look that is free."""
        at = max(self._next or now, now)
        self._next = at + timedelta(seconds=APART)
        return (at - now).total_seconds() % max(interval, APART)


class Spent:
    """How much of the pause between two looks of one check is over when an answer comes: what has passed since the moment that it is of.

    One that is older than it may be for being shared was kept by a cache before who was asked. It is asked for again soon, once: that
    shows what a cache is (docs/decisions/0082). More often would be no use.
    """

    def __init__(self) -> None:
        self._soon = False

    def since(self, at: datetime, oldest: datetime, now: datetime) -> float:
        """Seconds; `oldest` is what a shared answer may be of at most."""
        self._soon = at < oldest and not self._soon
        return (now - (at if self._soon else max(at, oldest))).total_seconds()


class Measurements:
    """The measuring tasks of one run. `sync` says what is to be measured from now on; `stop` ends them all."""

    def __init__(
        self,
        clock: Clock,
        provider: Provider,
        render: Render,
        post: Post,
        tenant: Tenant = NOBODY,
        *,
        weigh: Weigh,
        pace: Pace | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        self._jobs = jobs
        self._for: RunOf | None = None
        self._weigh = weigh
        self._tenant = tenant
        self._clock = clock
        self._provider = provider
        self._render = render
        self._post = post
        self._pace = pace or Pace()
        self._tasks: dict[str, tuple[ResolvedCheck, datetime | None, asyncio.Task[None]]] = {}
        self._evidence_since: datetime | None = None
        self._good: dict[str, datetime] = {}

    @property
    def good(self) -> Mapping[str, datetime]:
        """Comparisons with `promoteEarly` that have proved their canary good, and since when they have counted."""
        return dict(self._good)

    def sync(
        self,
        checks: tuple[ResolvedCheck, ...],
        traffic_since: datetime | None,
        settled: Mapping[str, datetime] = NOTHING_SETTLED,
        settle: timedelta = timedelta(0),
        evidence_since: datetime | None = None,
        run_of: RunOf | None = None,
    ) -> None:
        """Measure exactly these checks. One that is measured already and has not changed goes on undisturbed.

        Comparisons are read from when on their counters are `settled`, by name, and anew when that is another moment. `settle` is
        how long data planes may take to follow: what is to prove a canary good is counted from then on at the earliest. What is
        older than `evidence_since` is no evidence for the present step, so answers of before are not taken over. Jobs run for
        `run_of`, anew when they are settled at another moment; those that are wanted no more are removed.
        """
        self._evidence_since = evidence_since
        wanted = {check.name: (check, settled.get(check.name)) for check in checks}
        for name, (check, since, task) in list(self._tasks.items()):
            if wanted.get(name) != (check, since):
                task.cancel()
                del self._tasks[name]
                self._good.pop(name, None)
                if check.lasts is not None and name not in wanted and self._jobs is not None and self._for is not None:
                    self._jobs.remove(self._for.namespace, self._for.uid, name)
        self._for = run_of or self._for
        for name, (check, since) in wanted.items():
            if name not in self._tasks:
                sure = self._clock.now() + settle
                if check.lasts is not None:
                    loop = self._run_on(check, traffic_since)
                elif since is None:
                    loop = self._loop(check, traffic_since)
                else:
                    loop = self._looks(check, traffic_since, since, sure)
                self._tasks[name] = (check, since, asyncio.create_task(loop, name=f"measure {name}"))

    async def stop(self) -> None:
        """End every task and wait for it."""
        tasks = [task for _, _, task in self._tasks.values()]
        self._tasks.clear()
        self._good.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _loop(self, check: ResolvedCheck, traffic_since: datetime | None) -> None:
        interval = max(check.settings.interval.seconds, SHORTEST_INTERVAL)
        # The first measurement comes within one interval of the canary's first traffic, and never before initialDelay.
        # Where there has been traffic for longer, a restart is the reason, and nobody has looked for a while: at once, but
        # for a thousand runs that all want to look now.
        now = self._clock.now()
        new = traffic_since is None or (now - traffic_since).total_seconds() < interval
        first = interval * random.uniform(1 - 2 * JITTER, 1) if new else self._pace.turn(now, interval)  # noqa: S311 - spreads load
        if traffic_since is not None:
            earliest = traffic_since + timedelta(seconds=check.settings.initial_delay.seconds)
            first = max(first, (earliest - now).total_seconds())
        await self._clock.sleep(first)
        began, time_spent = self._clock.now(), Spent()
        while True:
            started = self._clock.now()
            max_age = self._max_age(interval, began, started)
            found = await self._measure(check, started, max_age)
            self._post(check.name, found)
            spent = time_spent.since(found.at, started - timedelta(seconds=max_age), self._clock.now())
            pause = interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load
            await self._clock.sleep(max(pause - spent, interval / 10))

    async def _run_on(self, check: ResolvedCheck, traffic_since: datetime | None) -> None:
        """Of a Job: one after the other, an interval after each end, from when on what is found out is of this step.

        One that could not be run is tried again sooner: a quota, or an API server that was away, is no reason to wait for an hour.
        """
        interval, attempt = max(check.settings.interval.seconds, SHORTEST_INTERVAL), 0
        now = self._clock.now()
        earliest = [self._evidence_since or now]
        if traffic_since is not None:
            earliest.append(traffic_since + check.settings.initial_delay.delta)
        await self._clock.sleep(max((max(earliest) - now).total_seconds(), self._pace.turn(now, interval)))
        again, in_vain = Backoff(JOB_AGAIN, interval), 0
        while True:
            attempt += 1
            found = await self._run(check, attempt)
            self._post(check.name, found)
            in_vain = in_vain + 1 if isinstance(found, Unreachable) and found.reason in NOT_RUN else 0
            pause = again.pause(in_vain) if in_vain else interval * random.uniform(1 - JITTER, 1)  # noqa: S311 - spreads load
            await self._clock.sleep(pause)

    async def _run(self, check: ResolvedCheck, attempt: int) -> Measurement:
        now = self._clock.now()
        try:
            source = self._render(check, None)
        except RenderError as error:
            return Malformed(now, "UnknownVariable", str(error), check.source.text)
        if not isinstance(source, Job) or self._jobs is None or self._for is None:
            return Malformed(now, "NoProvider", "no Job can be run here", source.text)
        try:
            return await self._jobs.run(source, replace(self._for, check=check.name, attempt=attempt))
        except Exception as error:  # as of a provider
            log.exception("the Job of check %s", check.name)
            return Unreachable(now, "ProviderError", f"{type(error).__name__}: {error}", source.text)

    async def _looks(
        self, check: ResolvedCheck, traffic_since: datetime | None, settled: datetime, sure: datetime
    ) -> None:
        """Of a comparison: a reading as soon as the counters are settled, then looks after 1, 2, 4, … s up to its pace.

        That is valid at every look, so nobody has to wait for the first one.
        """
        with self._pace.comparing():
            await self._look_on(check, traffic_since, settled, sure)

    async def _look_on(
        self, check: ResolvedCheck, traffic_since: datetime | None, settled: datetime, sure: datetime
    ) -> None:
        interval = max(check.settings.interval.seconds, SHORTEST_INTERVAL)
        quick = check.judge.pause(interval) if isinstance(check.judge, Against) else interval
        now = self._clock.now()
        # Where it has been settled for longer a restart is the reason, and a thousand runs want to look now.
        first = (settled - now).total_seconds() if settled > now else self._pace.turn(now, interval)
        if traffic_since is not None:
            earliest = traffic_since + timedelta(seconds=check.settings.initial_delay.seconds)
            first = max(first, (earliest - now).total_seconds())
        await self._clock.sleep(max(first, 0.0))
        counting, answering, pause, began = Counting(), Answering(), SHORTEST_INTERVAL, self._clock.now()
        proof, least, time_spent = _proof(check, sure), interval * (1 - 2 * JITTER), Spent()
        while True:
            started = self._clock.now()
            max_age = self._max_age(pause, began, started)
            if check.per_backend:
                found = await self._count(check, counting, started, least, max_age)
            else:
                found = await self._read(check, answering, started, least)
            if found is not None:
                if proof is not None and isinstance(found, Compared):
                    self._prove(check.name, proof, found)
                self._post(check.name, found)
            oldest = started - timedelta(seconds=max_age)
            spent = time_spent.since(counting.at or started, oldest, self._clock.now())
            varied = pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load
            await self._clock.sleep(max(varied - spent, pause / 10))
            pause = min(2 * pause, self._pace.between_looks(quick, interval))

    def _max_age(self, pause: float, began: datetime, now: datetime) -> float:
        """How old an answer may be: not of before this task began, nor of before the step."""
        since = max(began, self._evidence_since or began)
        return max(0.0, min(MAX_AGE, JITTER * pause, (now - since).total_seconds()))

    def _prove(self, name: str, proof: Proof, look: Compared) -> None:
        proof.seen(look)
        self._good.pop(name, None)
        if proof.good_since is not None:
            self._good[name] = proof.good_since

    async def _measure(self, check: ResolvedCheck, now: datetime, max_age: float) -> Measurement | Reading:
        if not check.per_backend:
            return await self._ask(check, now, max_age=max_age)
        # Both at once: what is compared is to be of one moment.
        answers = await asyncio.gather(*(self._ask(check, now, backend) for backend in BACKENDS))
        numbers = []
        for backend, found in zip(BACKENDS, answers, strict=True):
            if not isinstance(found, Sample):
                return replace(found, message=f"{backend}: {found.message}")
            numbers.append(found.value)
        canary, stable = numbers
        return Counts(canary, stable, min(found.at for found in answers))

    async def _count(
        self, check: ResolvedCheck, counting: Counting, now: datetime, least: float, max_age: float
    ) -> Measured | None:
        try:
            sources = {backend: self._render(check, backend) for backend in BACKENDS}
        except RenderError as error:
            return Malformed(now, "UnknownVariable", str(error), check.source.text)

        async def ask(source: Source, instant: float | None) -> Measurement:
            query = replace(self._query(check, source), counters=True, instant=instant, max_age=max_age)
            return await self._put(check, query, now)

        return await counting.look(sources, ask, now, least)

    async def _read(self, check: ResolvedCheck, answering: Answering, now: datetime, least: float) -> Measured | None:
        try:
            source = self._render(check, None)
        except RenderError as error:
            return Malformed(now, "UnknownVariable", str(error), check.source.text)

        async def ask(source: Source) -> Measurement:
            return await self._put(check, self._query(check, source), now)

        return await answering.look(source, ask, now, least)

    async def _ask(
        self, check: ResolvedCheck, now: datetime, backend: Backend | None = None, max_age: float = 0.0
    ) -> Measurement:
        try:
            source = self._render(check, backend)
        except RenderError as error:
            return Malformed(now, "UnknownVariable", str(error), check.source.text)
        found = await self._put(check, replace(self._query(check, source), max_age=max_age), now)
        if check.judge.expression is not None and isinstance(found, Sample):
            return await self._weigh(check.judge.expression, found)
        return found

    def _query(self, check: ResolvedCheck, source: Source) -> Query:
        interval = max(check.settings.interval.seconds, SHORTEST_INTERVAL)
        timeout = min(interval, LONGEST_TIMEOUT)
        return Query(source, timeout, many=check.judge.many, tenant=self._tenant, patience=interval)

    async def _put(self, check: ResolvedCheck, query: Query, now: datetime) -> Measurement:
        try:
            return await self._provider.measure(query, now)
        except Exception as error:  # a provider must not raise; if one does, that is no verdict either
            log.exception("provider failed on check %s", check.name)
            return Unreachable(now, "ProviderError", f"{type(error).__name__}: {error}", query.text)
