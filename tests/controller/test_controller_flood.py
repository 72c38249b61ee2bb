"""Three hundred Rollouts on one route of one team: what they cost, and that nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from controller_kit import CONTROLLER, Clients, ControllerInstance, World, check, route_document, rule

from canary.act.events import AT_ONCE
from canary.controller import workqueue
from canary.controller.clock import ManualClock
from canary.controller.deps import OTHER_WRITES, Deps
from canary.controller.manager import Manager
from canary.kube import HTTPROUTES, ROLLOUTS
from canary.observe.objects import Key
from canary.observe.rollout import Rollout
from canary.observe.store import Store
from canary.telemetry import Telemetry
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = 300
RULES = 16
FLAPS = 60
PATIENCE = 60.0
"""Seconds of the wall clock: three hundred of everything, on a server that shares the loop with everybody else here."""
SOON = 0.25
"""Seconds of this thread's work, from a failing sample to its rollback patch. The controller's part of it are milliseconds;
the API server and everybody else here share the thread, but how busy the machine is with others does not count."""


async def until(condition: Callable[[], bool], clock: ManualClock | None = None) -> None:
    """Wait, on the wall clock; let time go on meanwhile, for whoever tries again what a busy server has refused."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)
            if clock is not None:
                clock.advance(0.02)


async def at_once(work: Iterable[Any], most: int = 8) -> None:
    """Do all of it, so many at a time."""
    places = asyncio.Semaphore(most)

    async def one(each: Any) -> None:
        async with places:
            await each

    await asyncio.gather(*map(one, work))


@dataclass
class Outgoing:
    """Writes of the controller as they leave: when (by the thread's own clock), and what."""

    writes: list[tuple[float, str, str]] = field(default_factory=list)

    def __call__(self, _index: int, request: Any) -> str:
        self.writes.append((time.thread_time(), request.resource, request.path))
        return ""

    def kinds(self, resource: str) -> list[str]:
        """Paths of what has been written of a kind."""
        return [path for _, kind, path in self.writes if kind.startswith(resource)]

    def of(self, namespace: str, resource: str, since: int = 0) -> list[str]:
        """Paths of what has been written in a namespace."""
        mine = f"/namespaces/{namespace}/"
        return [path for _, kind, path in self.writes[since:] if kind.startswith(resource) and mine in path]


async def rounds(number: int = 1000) -> None:
    """Let everybody who has something to do go on, so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


def names() -> list[str]:
    """In blocks, one for each rule: whoever is in a late one comes after many with whom it has nothing to do."""
    return [f"r{number:03}" for number in range(NUMBER)]


def rule_of(name: str) -> str:
    return f"rule-{int(name[1:]) * RULES // NUMBER:02}"


def owners(flood: World) -> dict[str, str]:
    """By rule, the eldest; of those created in one second, the first by name."""
    age = {name: (flood.rollout(name)["metadata"]["creationTimestamp"], name) for name in names()}
    eldest: dict[str, str] = {}
    for name in sorted(names(), key=lambda name: age[name]):
        eldest.setdefault(rule_of(name), name)
    return eldest


def flood_spec(name: str) -> dict[str, Any]:
    return {"routes": [{"name": "shop", "rules": [rule_of(name)]}], "workloads": None, "checks": []}


def flood_route() -> dict[str, Any]:
    return route_document("shop", *(rule(name=f"rule-{number:02}") for number in range(RULES)))


async def flap(flood: World) -> None:
    """A gateway that changes its mind twenty times a second."""
    while True:
        await flood.gateway.refuse("shop", "no")
        await asyncio.sleep(0.05)
        await flood.gateway.accept("shop")
        await asyncio.sleep(0.05)


async def neighbour(world: World, clients: Clients) -> AsyncIterator[World]:
    """Another team next to that of `world`."""
    other = World(clients)
    other.clock, other.traffic = world.clock, world.traffic
    async with other:
        yield other


team = pytest_asyncio.fixture(neighbour, loop_scope="module", name="team")


@pytest_asyncio.fixture(loop_scope="module")
async def flood(world: World, clients: Clients) -> AsyncIterator[World]:
    """Another team, with one route of many rules."""
    async for other in neighbour(world, clients):
        await other.create(HTTPROUTES, flood_route())
        await other.settle()
        yield other


async def runs(world: World, *rollouts: str, cut: Callable[[int, Any], str]) -> ControllerInstance:
    """A team whose Rollouts all stand at their first step, with a check that has not spoken yet."""
    await world.furnish(*(route_document(name) for name in rollouts))
    query = {"query": 'errors{rollout="{{ rollout }}"}'}
    for name in rollouts:
        await world.declare(
            name,
            routes=[{"name": name}],
            steps=[{"weight": 10, "hold": "1h"}],
            checks=[check(prometheus=query, interval="10s")],
        )
    instance = await world.start_controller(cut)
    await world.until(lambda: all(world.phase(name) == "Idle" for name in rollouts))
    await world.deploy(2)
    await world.until(lambda: all(world.weights(name) == (90, 10) for name in rollouts))
    return instance


@pytest.mark.cpu_time("how long a rollback takes")
async def test_a_flood_delays_nobodys_rollback(world: World, flood: World) -> None:
    """Three hundred created at once, their route's status flapping, three hundred deleted: each time a sample of another
    team fails, and its rollback leaves as if nothing were. And a status is written when it changes, not time and again."""
    outgoing = Outgoing()
    instance = await runs(world, "one", "two", "three", cut=outgoing)
    await instance.look_after(flood.namespace)

    async def fails(name: str) -> float:
        """From a failing sample of a Rollout to the patch of its route."""
        world.provider.answers[f'rollout="{name}"'] = 0.5
        began, known = time.thread_time(), len(outgoing.writes)
        world.clock.advance(15)
        await until(lambda: bool(outgoing.of(world.namespace, "httproutes", since=known)))
        sent = next(at for at, kind, _ in outgoing.writes[known:] if kind == "httproutes")
        await until(lambda: world.phase(name) == "RolledBack", world.clock)
        return sent - began

    creating = asyncio.create_task(at_once(flood.declare(name, **flood_spec(name)) for name in reversed(names())))
    await until(lambda: len(flood.records.present) > NUMBER / 3)
    assert await fails("one") < SOON
    await creating
    await until(lambda: all(flood.find(ROLLOUTS, name) for name in names()))
    have = owners(flood)
    await until(lambda: {name for name in names() if flood.phase(name) == "Idle"} == {*have.values()}, world.clock)
    for name in {*names()} - {*have.values()}:
        words = f"Rollout {have[rule_of(name)]} drives rule {rule_of(name)} of HTTPRoute shop already"
        await until(lambda name=name, words=words: words in flood.message(name), world.clock)  # type: ignore[misc]
        assert flood.phase(name) == "Invalid"

    known = len(outgoing.writes)
    flapping = asyncio.create_task(flap(flood))
    await asyncio.sleep(0.5)
    assert await fails("two") < SOON
    flapping.cancel()
    told = {path.split("/")[-2] for path in outgoing.of(flood.namespace, "rollouts", since=known)}
    assert told <= {*have.values()}, "whether the route is served is nothing to those who have no rule of it"

    deleting = asyncio.create_task(
        at_once(flood.gitops.delete(ROLLOUTS, name, flood.namespace) for name in names()[:-1])
    )
    await until(lambda: len(flood.records.present) < NUMBER)
    assert await fails("three") < SOON
    await deleting
    await until(lambda: flood.phase(names()[-1]) == "Idle", world.clock)
    spent = Counter(outgoing.of(flood.namespace, "rollouts"))
    assert sum(spent.values()) < 3 * NUMBER, "each was told of every other one that came or went"


@pytest.mark.parametrize("moment", ["before anything is looked at", "when everything waits to be written"])
async def test_words_about_a_flood_hold_up_nobody_elses(world: World, flood: World, team: World, moment: str) -> None:
    """Three hundred that have something to say at once, and one of another team that comes last: its status and its Event
    are the next to leave."""
    await at_once(flood.declare(name, **{**flood_spec(name), "routes": [{"name": "missing"}]}) for name in names())
    await team.declare(routes=[{"name": "missing"}], workloads=None, checks=[])
    await world.settle()
    # Long beside what the processor needs for a look, so that what leaves next is a matter of turns, and not of how fast that is.
    for resource, latency in (("rollouts", 3.0), ("events", 1.0)):
        slow = Fault(user=CONTROLLER, namespace=flood.namespace, resource=resource, latency=latency, times=None)
        world.api.faults.add(slow)
    outgoing = Outgoing()
    instance = await world.start_controller(outgoing)
    for name in names():
        instance.manager.rollout(None, flood.rollout(name))
    if "written" in moment:
        await until(lambda: len(instance.manager.reconciling) > NUMBER / 2)
        await rounds(NUMBER)
    statuses, events = len(outgoing.kinds("rollouts")), len(outgoing.kinds("events"))
    assert statuses < NUMBER / 2
    instance.manager.rollout(None, team.rollout())
    theirs = f"/namespaces/{team.namespace}/"
    await until(lambda: all(outgoing.of(team.namespace, resource) for resource in ("rollouts", "events")))
    world.api.faults.clear()  # what leaves after them may be quick
    await until(lambda: all(flood.phase(name) == "Invalid" for name in names()) and team.phase() == "Invalid")
    await until(lambda: len(outgoing.kinds("events")) > NUMBER)
    assert next(at for at, path in enumerate(outgoing.kinds("rollouts")) if theirs in path) < statuses + OTHER_WRITES
    assert next(at for at, path in enumerate(outgoing.kinds("events")) if theirs in path) < events + 4 * AT_ONCE


async def test_a_flapping_route_is_paced(world: World, flood: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once looks at a crowd have taken their share of the processor, the crowd waits, and nobody else does."""
    await at_once(flood.declare(name, **flood_spec(name)) for name in names())
    instance = await world.start_controller()
    await instance.look_after(flood.namespace)
    await until(lambda: all(flood.phase(name) for name in names()), world.clock)
    await world.settle()
    await instance.kill()
    monkeypatch.setattr(workqueue, "SHARE", 1e-6)  # what is used up stays used up
    looked: Counter[str] = Counter()

    class Watched(Store):
        def rollout(self, key: Key) -> Rollout | None:
            looked[key[1]] += 1
            return super().rollout(key)

    deps = Deps(instance.kube, Watched(), instance._recorder, world.provider, Telemetry(), world.clock)
    async with Manager(deps, held=True) as manager:
        route = flood.route()
        manager.route(None, route)
        for name in names():
            manager.rollout(None, flood.rollout(name))
        await manager.begin()
        assert looked.keys() == {*names()}
        looked.clear()
        for number in range(FLAPS):
            metadata = {
                **route["metadata"],
                "resourceVersion": str(int(route["metadata"]["resourceVersion"]) + number + 1),
            }
            manager.route(None, {**route, "metadata": metadata, "status": {"parents": []}})
            await rounds(NUMBER + 20)
        assert NUMBER <= looked.total() < FLAPS * NUMBER / 2
        looked.clear()
        changed = flood.rollout(names()[-1])
        version = str(int(changed["metadata"]["resourceVersion"]) + 1)
        manager.rollout(None, {**changed, "metadata": {**changed["metadata"], "resourceVersion": version}})
        elsewhere = {**changed["metadata"], "namespace": "elsewhere", "name": "one", "uid": "one"}
        manager.rollout(None, {**changed, "metadata": elsewhere})
        await rounds()
        assert looked.keys() == {names()[-1], "one"}
