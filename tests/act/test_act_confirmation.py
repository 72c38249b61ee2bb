"""The answer to a status write stands for a question, and never for more than was asked: other controllers end runs meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from act_kit import NOW, TEAM, Bench, write

from canary.act.executor import Executor, World
from canary.act.gate import always_open
from canary.act.reading import FRESH
from canary.act.status import StatusWriter
from canary.fair import Limit
from canary.json_patch import annotate, annotation, remove
from canary.kube import HTTPROUTES, ROLLOUTS
from canary.model.route_status import RouteStatus
from canary.model.run_status import RunStatus
from canary.model.status import Phase, RolloutStatus
from canary.routes.intent import run_annotation
from canary.status.write import Urgency

OURS = (TEAM, "shop")
RUN = run_annotation("shop")


@dataclass
class Starting:
    """A controller that is about to give a run its first weight."""

    bench: Bench
    now = NOW

    def __post_init__(self) -> None:
        bench = self.bench
        self.record = StatusWriter(
            OURS, bench.kube, bench.store, Limit(1), lambda: self.now, lambda: None, lambda: None
        )
        self.executor = Executor(
            OURS,
            bench.kube,
            bench.store,
            bench.recorder,
            bench.backoffs,
            bench.rollbacks.append,
            confirms=self.record.confirms,
        )

    async def record_the_run(self) -> None:
        await self.bench.see()
        self.record.read(self.bench.store.rollouts[OURS].document)
        status = RolloutStatus(
            phase=Phase.PROGRESSING,
            run=RunStatus(number=1, revision="2", started_at=NOW),
            routes=(RouteStatus(kind="HTTPRoute", name="shop"),),
        )
        assert await self.record.write(status, Urgency.NOW, always_open, asyncio.Event())

    async def raise_the_canary(self) -> list[str]:
        """Give it half, by what is known of the world. Returns what was performed."""
        store = self.bench.store
        world = World(store.rollouts[OURS], dict(store.routes))
        return (await self.executor.execute([write()], world, self.now)).performed

    def asked(self) -> int:
        """How often the Rollout was read."""
        return sum(
            entry.verb == "get" and entry.resource == "rollouts" and entry.user == "controller"
            for entry in self.bench.api.audit
        )


@pytest.fixture
async def starting(bench: Bench) -> AsyncIterator[Starting]:
    made = Starting(bench)
    yield made
    await made.executor.stop()
    await made.record.stop()


async def ended_by_another(bench: Bench) -> None:
    """Another controller ends the run, as it has to: the route is written before the outcome is on record, and cleared after."""
    route = await bench.other.get(HTTPROUTES, "shop", TEAM)
    await bench.other.json_patch(HTTPROUTES, "shop", TEAM, [annotate(route, RUN, "{}")])
    outcome = {"status": {"phase": "RolledBack", "run": {"outcome": "RolledBack"}}}
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, outcome, subresource="status")
    await bench.other.json_patch(HTTPROUTES, "shop", TEAM, [remove(annotation(RUN))])


async def test_what_the_status_write_proved_is_not_asked(starting: Starting) -> None:
    """Nobody has written the Rollout, and nobody the route since: the first weight costs one request."""
    await starting.record_the_run()
    assert await starting.raise_the_canary() == ["WriteRoute(HTTPRoute shop, step)"]
    assert starting.asked() == 0
    assert await starting.bench.weights() == [50, 50]


async def test_a_run_that_another_ended_since_gets_no_weight(starting: Starting) -> None:
    """We have heard of nothing: the route is another version by now, so the patch is refused."""
    await starting.record_the_run()
    await ended_by_another(starting.bench)
    assert await starting.raise_the_canary() == []
    assert starting.asked() == 0
    assert await starting.bench.weights() == [90, 10]


async def test_a_route_that_was_heard_of_later_is_asked_about(starting: Starting) -> None:
    """Of the end we have heard what it did to the route only: the Rollout is read, and says so."""
    await starting.record_the_run()
    await ended_by_another(starting.bench)
    starting.bench.store.put_route(await starting.bench.kube.get(HTTPROUTES, "shop", TEAM))
    assert await starting.raise_the_canary() == []
    assert starting.asked() == 1
    assert starting.bench.store.rollouts[OURS].document["status"]["phase"] == "RolledBack"
    assert await starting.bench.weights() == [90, 10]


async def test_a_rollout_that_was_heard_of_later_is_asked_about(starting: Starting) -> None:
    """What the decision saw is not what our write was answered."""
    await starting.record_the_run()
    await starting.bench.other.merge_patch(ROLLOUTS, "shop", TEAM, {"spec": {"deadline": "1h"}})
    starting.bench.store.put_rollout(await starting.bench.kube.get(ROLLOUTS, "shop", TEAM))
    before = starting.asked()
    assert await starting.raise_the_canary() == ["WriteRoute(HTTPRoute shop, step)"]
    assert starting.asked() == before + 1


async def test_a_proof_grows_old(starting: Starting) -> None:
    """Ten seconds after the status was sent it proves nothing."""
    await starting.record_the_run()
    starting.now += FRESH
    assert await starting.raise_the_canary() == ["WriteRoute(HTTPRoute shop, step)"]
    assert starting.asked() == 1


async def test_a_write_without_an_answer_proves_nothing(starting: Starting) -> None:
    """It may have been refused, since somebody else had recorded something."""
    await starting.record_the_run()
    starting.bench.fault(resource="rollouts", subresource="status", status=500, times=None)
    status = RolloutStatus(phase=Phase.PAUSED, run=RunStatus(number=1, revision="2", started_at=NOW))
    assert not await starting.record.write(status, Urgency.NOW, always_open, asyncio.Event())
    assert await starting.raise_the_canary() == ["WriteRoute(HTTPRoute shop, step)"]
    assert starting.asked() == 1


async def test_a_route_that_says_something_of_another_run_is_asked_about(starting: Starting) -> None:
    """Its patch tests what is said, and not the version of the whole: the same may be said again after an end."""
    bench = starting.bench
    route = await bench.other.get(HTTPROUTES, "shop", TEAM)
    await bench.other.json_patch(HTTPROUTES, "shop", TEAM, [annotate(route, RUN, "{}")])
    await starting.record_the_run()
    assert await starting.raise_the_canary() == ["WriteRoute(HTTPRoute shop, step)"]
    assert starting.asked() == 1
