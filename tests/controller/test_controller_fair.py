"""Who asks is said with every question, and vetting takes turns by it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from controller_kit import START, World, check, rollout_document

from canary.act.events import EventRecorder
from canary.controller.clock import ManualClock
from canary.controller.deps import Deps
from canary.controller.query_validation import AT_ONCE, QueryValidation
from canary.metrics.port import Query
from canary.metrics.scripted import Scripted
from canary.model.measurement import Queued
from canary.observe.objects import Key
from canary.observe.store import Store
from canary.telemetry import Telemetry

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Vetted(Scripted):
    """Hangs at what says so, and remembers how many do."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging = 0
        self.most = 0
        self.go_on = asyncio.Event()

    async def validate(self, query: Query) -> str | None:
        if "hang" in query.text:
            self.hanging += 1
            self.most = max(self.most, self.hanging)
            await self.go_on.wait()
            self.hanging -= 1
        return await super().validate(query)


class Validated(list[Key]):
    """Those whose queries have been looked at, and whoever waits for the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.another = asyncio.Event()

    def __call__(self, key: Key) -> None:
        self.append(key)
        self.another.set()

    async def reach(self, count: int) -> None:
        """Until `count` are there: however slow the machine is.

        Raises:
            TimeoutError: in half a minute they were not.
        """
        async with asyncio.timeout(30):
            while len(self) < count:
                self.another.clear()
                await self.another.wait()


async def test_every_question_says_who_asks(world: World) -> None:
    """Measuring and vetting name the Rollout; a measurement waits for its turn until the next one is due."""
    await world.begin(
        checks=[check(interval="7s")],
        traffic={"prometheus": {"query": "count {{ backend.service }}"}, "interval": "3s"},
    )
    world.provider.answers["errors"] = 0.0
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    queries = [call.query for call in world.provider.calls]
    assert {query.tenant for query in queries} == {(world.namespace, "shop")}
    assert {(query.text.partition("{")[0], query.patience) for query in queries} == {
        ("errors", 7),
        ("count canary", 3),
        ("count stable", 3),
    }


async def test_a_run_whose_queries_get_no_turn_holds_and_goes_on(world: World) -> None:
    """Far beyond holdLimit, with Fail for errors: the weight stays, `Queued` is said, and a turn is all that is missing."""
    await world.begin(checks=[check(holdLimit="1m", onError="Fail")])
    world.provider.answers["errors"] = lambda _query, now: Queued(now, 1.0, "waited 1 s for its turn")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.pass_(300)
    assert (world.phase(), world.weights()) == ("Progressing", (90, 10))
    assert world.status()["checks"][0]["reason"] == "Queued"
    world.provider.answers["errors"] = 0.0
    await world.until(lambda: world.phase() == "Succeeded")


async def test_vetting_a_hundred_bad_queries_of_one_team_delays_no_other() -> None:
    """Rollouts of a team whose queries hang fill no more than their share of the places."""
    provider, validated = Vetted(), Validated()
    nobody: Any = None
    deps = Deps(nobody, Store(), EventRecorder(nobody), provider, Telemetry(), ManualClock(START))
    vetting = QueryValidation(deps, validated)

    def arrives(namespace: str, name: str, query: str) -> None:
        document = rollout_document(name, checks=[check(prometheus={"query": query})])
        document["metadata"] |= {"namespace": namespace, "uid": name, "generation": 1, "resourceVersion": "1"}
        deps.store.put_rollout(document)
        rollout = deps.store.rollout((namespace, name))
        assert rollout is not None
        vetting.check((namespace, name), rollout)

    try:
        for number in range(100):
            arrives("they", f"rollout-{number}", "hang")
        for number in range(20):
            arrives("we", f"rollout-{number}", "fine")
        await validated.reach(20)
        assert {namespace for namespace, _ in validated} == {"we"}
        assert len(validated) == 20
        assert 0 < provider.most < AT_ONCE
        provider.go_on.set()
        await validated.reach(120)
    finally:
        await vetting.stop()
