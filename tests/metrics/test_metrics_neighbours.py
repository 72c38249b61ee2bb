"""Promise 8: Rollouts share a Prometheus, and what one does, or its slow or broken queries, delays no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiohttp import web
from fake_prometheus import FakePrometheus, failure, until, vector

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.port import Query, Refusal
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, Measurement, Queued, Sample

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHECKS = 16

OURS = ("we", "shop")
AT_MOST = 1.0
"""Seconds that a measurement of ours may take among others: the server answers in a millisecond, and two cores are all there
is for it, for them and for us."""


async def slow(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1.6)
    return vector(({}, 1))


async def late(_: web.Request) -> web.StreamResponse:
    """Just not slow enough to be called slow."""
    await asyncio.sleep(0.8)
    return vector(({}, 1))


async def hanging(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return vector(({}, 1))


async def hanging_up(request: web.Request) -> web.StreamResponse:
    request.transport.abort()
    raise ConnectionResetError


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b" " * 65536)
    return response


MANY = vector(*(({"pod": f"shop-canary-{number:06}", "namespace": "team-shop"}, number) for number in range(9000))).body
assert 800_000 < len(MANY) < 1024 * 1024  # type: ignore[arg-type] # as large as may be


async def huge(_: web.Request) -> web.StreamResponse:
    return web.Response(body=MANY, content_type="application/json")


TROUBLES: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
    one.__name__: one for one in (slow, late, hanging, hanging_up, dripping, endless, huge)
}


def measures(trouble: str) -> pytest.MarkDecorator:
    """What answers slowly, or never, leaves the processor to others."""
    waits = trouble in {"slow", "late", "hanging", "dripping"}
    return pytest.mark.alone("how long a measurement takes beside others", waits=waits)


@dataclass
class Neighbours:
    """Others who measure all the time, and how late the event loop was meanwhile."""

    provider: PrometheusProvider
    answers: dict[str, list[Measurement]] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def move_in(self, namespace: str, name: str, query: str, address: str | None = None) -> None:
        """A Rollout with sixteen checks, each with a question of its own, which they ask again and again."""
        for number in range(CHECKS):
            own = Prometheus(f"{query} # {number} of {namespace}/{name}", address)
            question = Query(own, timeout=2.0, many=query == "huge", tenant=(namespace, name), patience=2.0)
            self.tasks.append(asyncio.create_task(self._measure(question)))

    async def _measure(self, query: Query) -> None:
        while True:
            asked = query.text.partition(" #")[0]
            self.answers.setdefault(asked, []).append(await self.provider.measure(query, NOW))
            await asyncio.sleep(0.1)

    async def ours(self, times: int, tenant: tuple[str, str] = OURS, pause: float = 0.05) -> list[float]:
        """How long each of our measurements took. Each has an answer."""
        took = []
        for _ in range(times):
            started = time.perf_counter()
            own = Prometheus(f"ours # {tenant}")
            answer = await self.provider.measure(Query(own, timeout=2.0, tenant=tenant, patience=10), NOW)
            took.append(time.perf_counter() - started)
            assert isinstance(answer, Sample), answer
            await asyncio.sleep(pause)
        return took


@asynccontextmanager
async def neighbourhood(prometheus: FakePrometheus) -> AsyncIterator[Neighbours]:
    prometheus.answers |= TROUBLES
    prometheus.answers["broken"] = lambda: failure(500, "internal", "out of memory")
    prometheus.answers["bad("] = lambda: failure(400, "bad_data", "parse error")
    prometheus.answers["ours"] = lambda: vector(({}, 0))
    neighbours = Neighbours(PrometheusProvider(prometheus.url, ["*", "127.0.0.0/8"]))
    try:
        yield neighbours
    finally:
        for task in neighbours.tasks:
            task.cancel()
        await asyncio.gather(*neighbours.tasks, return_exceptions=True)
        await neighbours.provider.close()


@pytest.mark.parametrize("trouble", [pytest.param(one, marks=measures(one)) for one in (*TROUBLES, "broken", "bad(")])
async def test_one_teams_trouble_is_its_own(prometheus, trouble: str) -> None:
    """A team with three Rollouts of sixteen checks, all of them in this trouble, does not delay another team's check."""
    async with neighbourhood(prometheus) as neighbours:
        assert max(await neighbours.ours(2)) < AT_MOST
        for number in range(3):
            neighbours.move_in("they", f"rollout-{number}", trouble)
        await asyncio.sleep(0.3)
        took = await neighbours.ours(30)
        assert max(took) < AT_MOST, took
        assert neighbours.answers.get(trouble) or trouble in {"slow", "hanging", "dripping"}


@pytest.mark.alone("how long a measurement takes beside others")
async def test_all_troubles_at_once_and_a_new_neighbour(prometheus) -> None:
    """Every trouble, in teams of their own: who is known to be quick is not delayed; who is new is, by one time-out."""
    async with neighbourhood(prometheus) as neighbours:
        await neighbours.ours(2)
        for trouble in (*TROUBLES, "broken", "bad("):
            if trouble != "huge":
                neighbours.move_in(f"team-{trouble}", "rollout", trouble)
        await asyncio.sleep(0.5)
        took, newcomer = await asyncio.gather(neighbours.ours(60), neighbours.ours(20, ("new", "shop")))
        assert max(took) < AT_MOST, took
        assert newcomer[0] < 2.0 + AT_MOST, newcomer
        assert max(newcomer[1:]) < AT_MOST, newcomer


@pytest.mark.alone("how long a measurement takes beside others", waits=True)
async def test_the_other_rollouts_of_a_team_with_trouble(prometheus) -> None:
    """One Rollout whose queries hang does not delay another one of its own namespace."""
    async with neighbourhood(prometheus) as neighbours:
        await neighbours.ours(2, ("they", "good"))
        neighbours.move_in("they", "bad", "hanging")
        await asyncio.sleep(0.3)
        assert max(await neighbours.ours(30, ("they", "good"))) < AT_MOST


@pytest.mark.alone("how long a measurement takes beside others", waits=True)
async def test_another_address_that_hangs(prometheus) -> None:
    """An address that answers nobody, named by fifty Rollouts, has workers of its own."""
    async with neighbourhood(prometheus) as neighbours:
        for number in range(50):
            neighbours.move_in("they", f"rollout-{number}", "hanging", f"{prometheus.url}/other")
        await asyncio.sleep(0.3)
        assert max(await neighbours.ours(30)) < AT_MOST


async def test_a_turn_comes_for_everybody(prometheus) -> None:
    """More slow queries than there are workers for: each is answered in its turn, and none is told that the provider failed."""
    async with neighbourhood(prometheus) as neighbours:
        for number in range(12):
            prometheus.answers[f"slow {number}"] = slow
            query = Query(Prometheus(f"slow {number}"), timeout=5.0, tenant=(f"team-{number}", "rollout"), patience=1.0)
            neighbours.tasks.append(asyncio.create_task(neighbours._measure(query)))

        def answered(number: int) -> bool:
            return any(isinstance(answer, Sample) for answer in neighbours.answers.get(f"slow {number}", []))

        await until(lambda: all(answered(number) for number in range(12)), seconds=25)
        kinds = {type(answer) for answers in neighbours.answers.values() for answer in answers}
        assert kinds == {Sample, Queued}


@pytest.mark.alone("how long a measurement takes beside others", waits=True)
async def test_a_hundred_bad_queries_of_one_team_are_vetted_beside_another_one(prometheus) -> None:
    """Validation takes turns as measuring does."""
    async with neighbourhood(prometheus) as neighbours:
        theirs = [
            asyncio.create_task(
                neighbours.provider.validate(
                    Query(Prometheus(f"hanging # {number}"), timeout=2.0, tenant=("they", f"r{number}"), patience=30)
                )
            )
            for number in range(100)
        ]
        neighbours.tasks += theirs  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        started = time.perf_counter()
        said = await neighbours.provider.validate(Query(Prometheus("bad("), tenant=OURS))
        assert said == Refusal("parse error")
        assert time.perf_counter() - started < AT_MOST
        assert isinstance(await neighbours.provider.measure(Query(Prometheus("bad("), tenant=OURS), NOW), Malformed)
