"""When checks look, and how old what they are told may be: no later for sharing it with others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import cast

import pytest

from canary.checks.judges.against import Against
from canary.checks.queries import Backend
from canary.checks.resolve import ResolvedCheck, resolve
from canary.checks.sources import Source
from canary.checks.sources.job import Job
from canary.controller.clock import ManualClock
from canary.controller.job_documents import RunOf
from canary.controller.jobs import Jobs
from canary.controller.measure import EARLY_LOOKS, JITTER, MAX_AGE, Measurements, Pace
from canary.metrics.port import Query
from canary.model.checks import Check
from canary.model.measurement import Compared, Counts, Measured, Measurement, Reading, Sample, Unreachable, Vector

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = START - timedelta(hours=1)


def check(interval: str = "10s", **compare: str) -> ResolvedCheck:
    """A limit; or with anything of a comparison one of those."""
    what: dict[str, object] = {"prometheus": {"query": "errors"}, "threshold": {"max": 1}}
    if compare:
        what = {"compare": {"prometheus": {"requests": "sent", "failures": "failed"}, **compare}}
    return resolve(Check.model_validate({"name": "errors", "interval": interval, **what}), None, "checks[0]")


@dataclass
class Team:
    """A check that is measured, and a provider of whose answers every other one is as old as it may be."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    told: list[Measured | Reading] = field(default_factory=list)
    asked: list[tuple[datetime, float]] = field(default_factory=list)
    """When the first question of a look was asked, and how old its answer might be."""
    fresh: int = 2
    """Of so many answers one is fresh."""
    kept: timedelta = timedelta(0)
    """A cache before the provider keeps answers for so long."""

    def __post_init__(self) -> None:
        self.measurements = Measurements(
            self.clock, self, self.render, lambda _, found: self.told.append(found), weigh=self.weigh
        )

    @staticmethod
    def render(check: ResolvedCheck, backend: Backend | None) -> Source:
        return check.source

    async def weigh(self, condition: str, sample: Sample) -> Sample:
        return sample

    async def measure(self, query: Query, now: datetime) -> Measurement:
        at = now - timedelta(seconds=query.max_age if len(self.asked) % self.fresh else 0)
        if self.kept:
            at = START + (now - START) // self.kept * self.kept
        instant = at.timestamp() if query.instant is None else query.instant
        if query.instant is None:
            self.asked.append((now, query.max_age))
        vector = Vector({frozenset({("job", "x")}): (instant - OLD.timestamp()) * 10}, instant)
        return Sample(0.0, at, query.text, vector=vector if query.counters else None)

    async def validate(self, query: Query) -> str | None:
        return None

    async def close(self) -> None:
        return None

    async def pass_(self, seconds: float, step: float = 0.05) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for _ in range(12):
                await asyncio.sleep(0)


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    made = Team()
    yield made
    await made.measurements.stop()


def longest(moments: list[datetime]) -> float:
    return max((after - before).total_seconds() for before, after in pairwise(moments))


@pytest.mark.parametrize("interval", [1, 4, 30])
async def test_what_is_seen_is_never_further_apart_than_alone(team: Team, interval: int) -> None:
    """Pauses count from the moment of which an answer is: what lasts for an interval and its jitter is seen, and in time."""
    team.measurements.sync((check(f"{interval}s"),), OLD, evidence_since=OLD)
    await team.pass_(20 * interval)
    assert len(team.told) >= 18
    assert longest([found.at for found in team.told]) <= interval * (1 + JITTER) + 0.06
    assert all(age <= min(MAX_AGE, JITTER * interval) for _, age in team.asked)
    assert team.asked[-1][1] == min(MAX_AGE, JITTER * interval)


@pytest.mark.parametrize("compared", [False, True], ids=["a limit", "a comparison"])
@pytest.mark.parametrize("kept", [25, 1000])
async def test_a_cache_is_asked_for_more_at_most_twice_as_often(team: Team, kept: int, compared: bool) -> None:
    """What it kept is asked for again soon, once, to see whether it is a cache; more often would only be more load."""
    team.kept = timedelta(seconds=kept)
    checks = (check("10s", lag="20s") if compared else check("10s"),)
    team.measurements.sync(checks, OLD, {"errors": START} if compared else {}, evidence_since=OLD)
    await team.pass_(200, step=0.1)
    pauses = [(after - before).total_seconds() for before, after in pairwise(at for at, _ in team.asked)]
    late = pauses[8:]  # a comparison begins with quick looks
    assert all(10 * (1 - JITTER) - 0.2 <= sum(two) <= 20 * (1 + JITTER) + 0.2 for two in pairwise(late))
    assert min(late) < 2, "asked again soon"


async def test_what_is_counted_is_of_when_both_were(team: Team) -> None:
    """Of two answers the older one says it: a look at a share may not span a write that it knows nothing of."""
    team.kept = timedelta(seconds=1000)
    counters = replace(check(), per_backend=True)
    team.measurements.sync((counters,), OLD, evidence_since=OLD)
    await team.pass_(15)
    assert [found.at for found in team.told if isinstance(found, Counts)] == [START] * len(team.told)
    assert team.told


async def test_looks_of_a_comparison_are_never_further_apart_than_alone(team: Team) -> None:
    """Also where the answers were somebody else's, and each look begins where the last one ended."""
    team.measurements.sync((check("4s", lag="9s"),), OLD, {"errors": START}, evidence_since=OLD)
    await team.pass_(60)
    looks = [found for found in team.told if isinstance(found, Compared)]
    assert len(looks) >= 14
    assert longest([found.at for found in looks]) <= 4 * (1 + JITTER) + 0.06
    assert all(before.at == after.since for before, after in pairwise(looks))


def test_comparisons_look_as_often_as_there_is_news_and_as_few_as_many_can_afford() -> None:
    """Few of them twice in a lag, a thousand each on its interval, and none less often than that."""
    judges = [check(lag=f"{lag}s").judge for lag in (0, 2, 6, 16, 31, 90)]
    assert [judge.pause(30) for judge in judges if isinstance(judge, Against)] == [1, 1, 3, 8, 15.5, 30]
    pace = Pace()
    with pace.comparing():
        assert (pace.between_looks(3, 30), pace.between_looks(8, 5)) == (3, 5)
    with ExitStack() as stack:
        for number in range(1, 1001):
            stack.enter_context(pace.comparing())
            pause = pace.between_looks(1, 30)
            assert pause <= 30
            assert number / pause <= max(EARLY_LOOKS, number / 30) + 1e-9
    assert pace.between_looks(1, 30) == 1


async def test_who_ends_leaves_its_looks_to_others(team: Team) -> None:
    """What is measured no more costs nobody's pace."""
    team.measurements.sync((check("4s", lag="9s"),), OLD, {"errors": START})
    await team.pass_(1)
    assert team.measurements._pace._comparing == 1
    team.measurements.sync((), None)
    await team.pass_(1)
    assert team.measurements._pace._comparing == 0


@pytest.mark.parametrize("compared", [False, True])
async def test_the_first_look_is_its_own(team: Team, compared: bool) -> None:
    """What was so before a check began to look, or before its counters were settled, says nothing to it."""
    settled = {"errors": START + timedelta(seconds=3)} if compared else {}
    team.measurements.sync((check(lag="9s") if compared else check(),), START, settled, evidence_since=START)
    await team.pass_(12)
    assert team.asked[0][1] == 0.0
    assert all(at - timedelta(seconds=age) >= team.asked[0][0] for at, age in team.asked)


async def test_no_answer_is_of_before_the_step(team: Team) -> None:
    """It would be no evidence for it, and the hold would last for another interval."""
    one = (check(),)
    team.measurements.sync(one, OLD, evidence_since=OLD)
    await team.pass_(35)
    begun = team.clock.now()
    team.measurements.sync(one, OLD, evidence_since=begun + timedelta(seconds=2))
    looked = len(team.asked)
    await team.pass_(60)
    since = begun + timedelta(seconds=2)
    later = [(at, age) for at, age in team.asked[looked:] if at >= since]
    assert all(at - timedelta(seconds=age) >= since for at, age in later)
    assert later[-1][1] == MAX_AGE


@pytest.mark.parametrize("early", [timedelta(seconds=0.2), timedelta(seconds=0.9)])
async def test_a_look_right_after_the_step_began_is_of_it(team: Team, early: timedelta) -> None:
    """However soon it comes, what it is told is not older than the step."""
    one, team.fresh = (check(),), 1000
    team.measurements.sync(one, OLD, evidence_since=OLD)
    await team.pass_(15)
    while (woken := team.clock.next_wake) is None or woken - team.clock.now() > early:
        await team.pass_(0.05)
    since = team.clock.now()
    team.measurements.sync(one, OLD, evidence_since=since)
    looked = len(team.told)
    await team.pass_(1.5)
    assert len(team.told) == looked + 1
    assert team.told[-1].at >= since


@dataclass
class Refusing:
    """Runs Jobs, of which the API server refuses the first ones."""

    clock: ManualClock
    refused: int
    begun: list[float] = field(default_factory=list)

    async def run(self, job: Job, _for: RunOf) -> Measurement:
        self.begun.append((self.clock.now() - START).total_seconds())
        if len(self.begun) <= self.refused:
            return Unreachable(self.clock.now(), "JobRefused", "a quota", job.text)
        return Sample(1.0, self.clock.now(), job.text, (1.0,))


async def test_a_job_that_could_not_be_run_is_tried_again_soon() -> None:
    """After 5, 10, 20 s, and not after an hour: a quota that was used up, or a server that was away, would end the release."""
    clock = ManualClock(START)
    jobs, told = Refusing(clock, 3), list[object]()
    smoke = resolve(Check.model_validate({"name": "smoke", "job": {"image": "x"}, "interval": "1h"}), None, "checks[0]")
    measurements = Measurements(
        clock,
        Team(),
        lambda check, _: check.source,
        lambda _, found: told.append(found),
        ("team", "shop"),
        weigh=Team().weigh,
        jobs=cast("Jobs", jobs),
    )
    measurements.sync((smoke,), OLD, {"smoke": START}, timedelta(0), START, RunOf("team", "shop", "u", 1, START))
    for _ in range(120):
        clock.advance(1)
        for _ in range(12):
            await asyncio.sleep(0)
    await measurements.stop()
    assert [type(one) for one in told] == [Unreachable] * 3 + [Sample]
    assert len(jobs.begun) == 4
    assert jobs.begun[-1] <= 5 + 10 + 20 + 5
