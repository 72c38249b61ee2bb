"""A Prometheus behind a cache: a sample is of the moment that it says to be of, and not of when it was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import pytest
from aiohttp import web

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, Measurement, NoData, Sample

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When a test begins, by the clock of who asks; the server has another one."""

SLACK = 0.5
"""Seconds that a look may take here."""


@dataclass
class Behind:
    """A Prometheus, a cache before it that keeps answers for `kept` seconds, and who asks; all of a time that a test moves on.

    `off` is how far the server's clock is ahead of the cache's. A cache that is `honest` sends the Date of the server on, and an Age.
    """

    kept: float = 0.0
    off: float = 0.0
    honest: bool = False
    values: tuple[str, ...] = ("0",)
    age: str | None = None
    url: str = ""
    passed: float = 0.0
    asked: int = 0
    cache: dict[str, tuple[float, list[object]]] = field(default_factory=dict)

    def seconds(self) -> float:
        return time.monotonic() + self.passed

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        query, now = request.query["query"], self.seconds()
        if query not in self.cache or now - self.cache[query][0] > self.kept:
            moment = time.time() + self.passed + self.off
            self.cache[query] = now, [{"metric": {}, "value": [round(moment, 3), value]} for value in self.values]
        made, result = self.cache[query]
        date = time.time() + self.passed - (now - made - self.off if self.honest else 0)
        age = self.age if self.age is not None else f"{now - made:.0f}" if self.honest else None
        headers = {"Date": formatdate(date, usegmt=True)} | ({} if age is None else {"Age": age})
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return web.json_response(body, headers=headers)

    def provider(self) -> PrometheusProvider:
        return PrometheusProvider(self.url, clock=self.seconds)

    async def look(self, provider: PrometheusProvider) -> tuple[Measurement, float]:
        """What comes back, and how many seconds before now that is of."""
        now = START + timedelta(seconds=self.seconds())
        found = await provider.measure(Query(Prometheus("errors")), now)
        return found, (now - found.at).total_seconds()


@pytest.fixture
async def behind() -> AsyncIterator[Behind]:
    made = Behind()
    app = web.Application()
    app.router.add_get("/api/v1/query", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def provider(behind: Behind) -> AsyncIterator[PrometheusProvider]:
    made = behind.provider()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("off", "honest"), [(0.0, False), (-100.0, False), (0.0, True), (-100.0, True), (3600.0, True)]
)
async def test_what_comes_again_is_of_when_it_came_first(
    behind: Behind, provider: PrometheusProvider, off: float, honest: bool
) -> None:
    """From the next look on, whatever clocks there are; and after ten seconds it is no answer at all."""
    behind.kept, behind.off, behind.honest = 1000.0, off, honest
    _, first = await behind.look(provider)
    for behind.passed in (3.0, 6.0, 9.0):
        found, old = await behind.look(provider)
        assert isinstance(found, Sample)
        assert behind.passed - SLACK <= old - first <= behind.passed + 1
    behind.passed = 12.0
    stale, _ = await behind.look(provider)
    assert isinstance(stale, Malformed)
    assert stale.reason == "StaleAnswer"
    behind.kept = 0.0
    behind.passed = 24.0
    again, old = await behind.look(provider)
    assert isinstance(again, Sample)
    assert old <= (0 if honest or off == 0 else 101), "another moment of a clock that is apart: one look more will tell"


async def test_who_begins_to_ask_takes_nothing_that_was_kept_for_news(behind: Behind) -> None:
    """As a controller that was just started: it knows no answer of before, and has the Date that comes with it."""
    behind.kept = 1000.0
    before = behind.provider()
    await behind.look(before)
    await before.close()
    behind.passed = 100.0
    after = behind.provider()
    found, old = await behind.look(after)
    assert isinstance(found, Sample)
    assert old == pytest.approx(100, abs=1.5)
    behind.passed = 103.0
    _, old = await behind.look(after)
    assert old == pytest.approx(103, abs=1.5)
    await after.close()


async def test_a_proxy_with_a_clock_of_its_own_costs_one_look(behind: Behind, provider: PrometheusProvider) -> None:
    """A minute apart: what moves is no cache's. Nothing is ever stale, and no Rollout is held for longer than that."""
    behind.off = -60.0
    ages = []
    for behind.passed in (0.0, 5.0, 15.0, 25.0):
        found, old = await behind.look(provider)
        assert isinstance(found, Sample)
        ages.append(old)
    assert ages == [pytest.approx(60, abs=1.5), 0, 0, 0]


async def test_a_clock_that_is_set_back_holds_nobody(behind: Behind, provider: PrometheusProvider) -> None:
    """Nor one that is set ahead, by hours."""
    behind.honest = True
    for behind.passed, behind.off in ((0.0, 0.0), (10.0, -7200.0), (20.0, -7200.0), (30.0, 86400.0)):
        found, old = await behind.look(provider)
        assert isinstance(found, Sample)
        assert old == 0


async def test_who_shares_an_answer_is_told_of_when_it_is(behind: Behind, provider: PrometheusProvider) -> None:
    """Two Rollouts that ask the same at one instant, and one that asks a moment later."""
    behind.kept = 1000.0
    await behind.look(provider)
    behind.passed = 4.0
    now = START + timedelta(seconds=behind.seconds())
    query = Query(Prometheus("errors"), max_age=1.0)
    later = timedelta(seconds=0.5)
    shared = list(await asyncio.gather(*(provider.measure(query, now) for _ in range(2))))
    behind.passed = 4.5
    shared.append(await provider.measure(query, now + later))
    assert behind.asked == 2
    assert all(isinstance(one, Sample) for one in shared)
    for one in shared:
        assert 4 - SLACK <= (now - one.at).total_seconds() <= 4 + SLACK


async def test_two_looks_in_one_second_are_two_looks(behind: Behind, provider: PrometheusProvider) -> None:
    """Of a server that is asked directly each is of now, as far as it tells milliseconds apart."""
    for _ in range(5):
        found, old = await behind.look(provider)
        assert isinstance(found, Sample)
        assert old < 0.01


async def test_nothing_is_as_old_as_its_cache_says(behind: Behind, provider: PrometheusProvider) -> None:
    """An answer without series is of no moment, but a cache says for how long it has had it."""
    behind.kept, behind.honest, behind.values = 1000.0, True, ()
    found, old = await behind.look(provider)
    assert isinstance(found, NoData)
    assert old == 0
    behind.passed = 8.0
    found, old = await behind.look(provider)
    assert isinstance(found, NoData)
    assert old == pytest.approx(8, abs=1)
    behind.passed = 100.0
    found, _ = await behind.look(provider)
    assert found == Malformed(found.at, "StaleAnswer", getattr(found, "message", ""), "errors")
    assert "says to have had it for 100 s" in getattr(found, "message", "")


@pytest.mark.parametrize("age", ["-1", "soon", "\u00b2", "1.5", ""])
async def test_an_age_that_is_none_is_none(behind: Behind, provider: PrometheusProvider, age: str) -> None:
    """Garbage says nothing of how old an answer is."""
    behind.age = age
    found, old = await behind.look(provider)
    assert isinstance(found, Sample)
    assert old == 0
