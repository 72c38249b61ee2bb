"""What a gateway is asked for is what was written: a neighbour who edits another rule of the route makes nobody wait."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import Any

import pytest
from controller_kit import World, backend, check, route_document, rule

from canary.kube import HTTPROUTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
STEPS = [{"weight": 10, "hold": "10s"}, {"weight": 50, "hold": "1h"}]


class Street:
    """A route with a rule of ours and one of a neighbour's, behind a gateway that answers each generation `lag` seconds later."""

    def __init__(self, world: World, lag: float) -> None:
        self.world = world
        self.lag = timedelta(seconds=lag)
        self._due: deque[tuple[Any, int]] = deque()
        self._known = 0
        self._edits = 0
        self.failing: set[int] = set()
        """Generations that it says no to."""

    async def furnish(self, **spec: Any) -> None:
        world = self.world
        mine = rule(backend("stable", 1), backend("canary", 0), name="mine")
        theirs = rule(backend("others", 1), backend("theirs", 0), name="other")
        await world.furnish(route_document("shop", mine, theirs))
        routes = [{"name": "shop", "rules": ["mine"]}]
        await world.declare(**{"steps": STEPS, "checks": [check()], "routes": routes, "promotion": "Await", **spec})
        self.first = await world.start_controller()
        await world.until(lambda: world.phase() == "Idle")
        await world.gateway.wait("shop")
        self._known = self.generation

    @property
    def generation(self) -> int:
        found = self.world.find(HTTPROUTES, "shop")
        assert found is not None
        return int(found["metadata"]["generation"])

    async def edit(self) -> None:
        """The neighbour's edit."""
        self._edits += 1
        path = "/spec/rules/1/backendRefs/1/weight"
        patch = [{"op": "replace", "path": path, "value": self._edits % 2 + 1}]
        await self.world.admin.json_patch(HTTPROUTES, "shop", self.world.namespace, patch)

    async def live(self, seconds: float, every: float | None, until: Any = lambda: False) -> None:
        """Time passes; the neighbour edits `every` so many seconds (None: never)."""
        world = self.world
        end, next_edit = world.clock.now() + timedelta(seconds=seconds), world.clock.now()
        while world.clock.now() < end and not until():
            if every is not None and world.clock.now() >= next_edit:
                next_edit += timedelta(seconds=every)
                await self.edit()
            await world.pass_(0.5, pace=0.5)
            now, generation = world.clock.now(), self.generation
            if generation != self._known:
                self._due += [(now, each) for each in range(self._known + 1, generation + 1)]
                self._known = generation
            while self._due and self._due[0][0] + self.lag <= now:
                await self._answer(self._due.popleft()[1])
            await world.settle()

    async def _answer(self, generation: int) -> None:
        world = self.world
        document = world.find(HTTPROUTES, "shop")
        assert document is not None
        refusal = "no" if generation in self.failing else None
        parents = [world.gateway._report(parent, generation, refusal) for parent in document["spec"]["parentRefs"]]
        await world.admin.merge_patch(
            HTTPROUTES, "shop", world.namespace, {"status": {"parents": parents}}, subresource="status"
        )


async def test_a_neighbour_who_edits_each_second_fails_no_run(world: World) -> None:
    """The gateway accepts each generation in its turn, our share among them, and is never at the latest one."""
    street = Street(world, lag=1.5)
    await street.furnish(acceptTimeout="20s")
    await world.deploy(2)
    await street.live(60, every=1, until=lambda: world.step() == 2)
    assert (world.phase(), world.step()) == ("Progressing", 2), world.message()
    assert world.weights() == (50, 50)
    await street.live(40, every=1)
    assert "holding 50 %" in world.message()
    assert world.condition("RoutesAccepted")["status"] == "True"
    [route] = world.status()["routes"]
    assert 0 < route["aboutSince"] < route["generation"]


async def test_nor_does_one_who_edits_now_and_then_make_its_hold_longer(world: World) -> None:
    """What was accepted stays so while our rules say the same: neither hold nor settle time begin anew."""
    street = Street(world, lag=1)
    await street.furnish(steps=[{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "1h"}])
    await world.deploy(2)
    await street.live(20, every=2, until=lambda: world.step() == 1 and "reachedAt" in world.status()["step"])
    began = world.clock.now()
    await street.live(100, every=2, until=lambda: world.step() == 2)
    assert world.step() == 2
    assert world.clock.now() - began < timedelta(seconds=25)


async def test_a_no_to_a_neighbours_edit_is_one_to_the_route(world: World) -> None:
    """Whoever's fault it is: a gateway that does not take the route any more serves our rules by nobody knows what."""
    street = Street(world, lag=1)
    await street.furnish(acceptTimeout="20s")
    await world.deploy(2)
    await street.live(20, every=None, until=lambda: world.step() == 1 and "reachedAt" in world.status()["step"])
    street.failing = {street.generation + 1}
    await street.edit()
    await street.live(60, every=None, until=lambda: world.phase() == "RolledBack")
    assert world.status()["run"]["reason"] == "NotAccepted"
    assert "says Accepted=False" in world.message()


async def test_a_successor_knows_what_was_written(world: World) -> None:
    """It is on record: whoever takes over asks for that, and not for what the neighbour has edited last."""
    street = Street(world, lag=1.5)
    await street.furnish(acceptTimeout="20s", steps=[{"weight": 10, "hold": "1h"}, {"weight": 50}])
    await world.deploy(2)
    await street.live(20, every=1, until=lambda: world.step() == 1 and "reachedAt" in world.status()["step"])
    await street.live(3, every=1)
    written = world.status()["routes"][0]["aboutSince"]
    await street.first.kill()
    await world.start_controller()
    await street.live(40, every=1)
    assert world.phase() == "Progressing", world.message()
    assert "holding 10 %" in world.message()
    assert world.status()["routes"][0]["aboutSince"] == written < street.generation


async def test_sixteen_rollouts_on_one_route_begin_in_one_moment(world: World) -> None:
    """What one writes to its rule is no reason to refuse another's request."""
    count = 16
    rules = [rule(backend("stable", 100), backend("canary", 0), name=f"k{number}") for number in range(count)]
    await world.furnish(route_document("shop", *rules))
    names = [f"r{number}" for number in range(count)]
    for number, name in enumerate(names):
        await world.declare(
            name,
            steps=[{"weight": 10, "hold": "1h"}],
            checks=[check()],
            routes=[{"name": "shop", "rules": [f"k{number}"]}],
            workloads=None,
            promotion="Await",
        )
    await world.start_controller()
    await world.until(lambda: all(world.phase(name) == "Idle" for name in names))
    await world.settle()
    for name in names:
        await world.ask("start", name=name)

    def done() -> bool:
        return all("lastRequest" in world.status(name) for name in names)

    await world.until(done, within=60)
    assert {world.request(name)["outcome"] for name in names} == {"Done"}
    await world.until(lambda: all("holding 10 %" in world.message(name) for name in names), within=60)
