"""The same trials without the world around them: the controller's own looks and its judge, on a clock that costs no time.

Scrapes come at their interval, with a phase that is drawn; between them requests come evenly and fail by chance. What reads the counters, when it
does so, and what judges them is the product's code; Envoy, Prometheus, the API server and what they take (some hundredths of a second)
are not there. So hundreds of trials with scrapes of 30 s take seconds, and the trials in real time show whether they are true.

Beside them stands a limit (A. Wald, "Sequential tests of statistical hypotheses", Annals of Mathematical Statistics 16, 1945): somebody who was
told how often stable fails, how much worse the canary is and since when, needs no settle time, no `lag` and no second look, and finds out
as soon as the scrape that proves it is there. Nobody can be much faster with so few false alarms.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, log, log1p
from statistics import median
from typing import Any

from numpy.random import Generator, default_rng

from bench.detection.trials import CASES, TEN, Case, Setting, Trial
from canary.checks.judges.comparison import Versus
from canary.checks.judges.finding import Standing
from canary.checks.queries import Backend
from canary.checks.resolve import ResolvedCheck, resolve
from canary.checks.sources import Source
from canary.checks.sources.counters import Counters
from canary.controller.measure import Measurements
from canary.metrics.port import Query, Refusal
from canary.model.measurement import Compared, Measurement, Sample, Vector
from canary.model.rollout import RolloutSpec

Json = dict[str, Any]

ACCEPTED = 0.05
"""Seconds that the gateway of the sandbox takes to accept a weight."""
SETTLE = 2.0
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = frozenset({("job", "gateway"), ("instance", "one")})
ALPHA = Fraction(1, 20)


class Virtual:
    """A clock for one task: whoever sleeps finds that so much time has passed. Once it is stopped nobody wakes."""

    def __init__(self) -> None:
        self.seconds, self.stopped = 0.0, asyncio.Event()

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        if self.stopped.is_set():
            await asyncio.Event().wait()
        self.seconds += max(seconds, 0.0)
        await asyncio.sleep(0)


@dataclass
class Scrapes:
    """What Prometheus has of both backends: counters as they were at the last scrape.

    The canary gets its weight at second 0, and is bad from `bad` on.
    """

    setting: Setting
    random: Generator
    clock: Virtual
    bad: float
    _counted: dict[str, list[int]] = field(default_factory=lambda: {"canary": [0, 0], "stable": [0, 0]})
    _at: float = 0.0
    _next: float = 0.0

    def __post_init__(self) -> None:
        self._next = float(self.random.uniform(0, self.setting.scrape))

    def _scrape(self, until: float) -> None:
        setting = self.setting
        while self._next <= until:
            for begin, end in ((self._at, min(self.bad, self._next)), (max(self.bad, self._at), self._next)):
                for side, part in (("canary", setting.weight / 100), ("stable", 1 - setting.weight / 100)):
                    if end <= begin:
                        continue
                    worse = TEN if side == "canary" and begin >= self.bad else 1
                    requests = int(self.random.poisson(setting.rps * part * (end - begin)))
                    failed = int(self.random.binomial(requests, min(worse * setting.stable / 100, 1.0)))
                    counted = self._counted[side]
                    counted[0], counted[1] = counted[0] + requests, counted[1] + failed
            self._at, self._next = self._next, self._next + setting.scrape

    async def measure(self, query: Query, now: datetime) -> Measurement:
        """As a provider does."""
        self._scrape(self.clock.seconds)
        what, side = query.text.split()
        count = self._counted[side][what == "failures"]
        instant = self.clock.seconds if query.instant is None else query.instant
        return Sample(0.0, now, query.text, vector=Vector({LABELS: float(count)}, instant))

    async def validate(self, query: Query) -> Refusal | None:  # noqa: ARG002 - as every provider
        return None

    async def close(self) -> None:
        """Nothing is open."""


async def trial(setting: Setting, case: Case, chance: Generator) -> Trial | None:
    """One canary, as `Trials.run` has it; None: it was not found in time. One that is failed before it is bad is no trial."""
    while True:
        found = await _tried(setting, case, chance)
        if not isinstance(found, Early):
            return found


class Early:
    """It was failed before it was bad."""


async def _tried(setting: Setting, case: Case, chance: Generator) -> Trial | Early | None:
    check, clock = _check(setting), Virtual()
    assert isinstance(check.judge, Versus)  # noqa: S101 - what the setting declares
    rule = check.judge
    late = case == "in the step"
    scrapes = Scrapes(setting, chance, clock, float("inf") if late else 0.0)
    progress, looks, seen = rule.begin(), 0, None
    found: list[Trial | Early | None] = []

    def post(_: str, measured: object) -> None:
        nonlocal progress, looks, seen
        if clock.stopped.is_set() or not isinstance(measured, Compared):
            return
        progress, looks = rule.folded(progress, measured), looks + (measured.canary > 0)
        at = clock.seconds - scrapes.bad
        if seen is None and at >= 0 and measured.canary_failed > 0:
            seen = at
        if rule.stands(progress).standing is Standing.FAIL:
            found.append(Early() if at < 0 or seen is None else Trial(seen, at, at))
        elif at > setting.patience:
            found.append(None)
        elif late and looks >= 3 and scrapes.bad == float("inf"):
            scrapes.bad = clock.seconds + float(chance.uniform(0, 2 * setting.scrape + 2))
        if found:
            clock.stopped.set()

    measurements = Measurements(clock, scrapes, _rendered, post, weigh=_weigh)
    settled = BEGAN + timedelta(seconds=ACCEPTED + SETTLE + setting.lag)
    measurements.sync((check,), BEGAN, {check.name: settled}, timedelta(seconds=SETTLE), BEGAN)
    await clock.stopped.wait()
    await measurements.stop()
    return found[0]


def told(setting: Setting, chance: Generator) -> float:
    """Seconds until the first scrape that proves it to somebody who was told everything but whether it is so."""
    healthy, bad = setting.stable / 100, min(TEN * setting.stable / 100, 1.0)
    at, evidence, began = float(chance.uniform(0, setting.scrape)), 0.0, 0.0
    while True:
        requests = int(chance.poisson(setting.rps * setting.weight / 100 * (at - began)))
        failed = int(chance.binomial(requests, bad))
        evidence += failed * log(bad / healthy) + (requests - failed) * (log1p(-bad) - log1p(-healthy))
        if evidence >= -log(ALPHA):
            return at
        began, at = at, at + setting.scrape


def simulated(setting: Setting, number: int, seed: int) -> list[Json]:
    """A row for each case: medians and 95th percentiles over so many trials, in seconds, and the limit."""
    rows = []
    for case in CASES:
        chance = default_rng(
            [seed, setting.scrape, setting.stable, setting.weight, int(setting.rps), CASES.index(case)]
        )
        random.seed(int(chance.integers(2**32)))  # pauses between looks vary
        trials = asyncio.run(_several(setting, case, number, chance))
        limits = sorted(told(setting, chance) for _ in range(number))
        stages = {stage: sorted(getattr(one, stage) for one in trials) for stage in ("seen", "gone")}
        rows.append(
            {
                "scrape_seconds": setting.scrape,
                "stable_percent": setting.stable,
                "weight": setting.weight,
                "requests_per_second": setting.rps,
                "case": case,
                "trials": number,
                "seed": seed,
                "seen": round(median(stages["seen"]), 2),
                "gone": round(median(stages["gone"]), 2),
                "p95": round(stages["gone"][ceil(0.95 * number) - 1], 2),
                "limit": round(median(limits), 2),
            }
        )
    return rows


async def _several(setting: Setting, case: Case, number: int, chance: Generator) -> list[Trial]:
    """One that is not found counts as found when it was given up."""
    never = Trial(setting.patience, setting.patience, setting.patience)
    return [await trial(setting, case, chance) or never for _ in range(number)]


def _check(setting: Setting) -> ResolvedCheck:
    spec = RolloutSpec.model_validate(setting.rollout()["spec"])
    return resolve(spec.checks[0], None, "spec.checks[0]")


def _rendered(_: ResolvedCheck, backend: Backend | None) -> Source:
    return Counters(f"requests {backend}", f"failures {backend}")


async def _weigh(_expression: object, _sample: Sample) -> Sample:
    raise NotImplementedError
