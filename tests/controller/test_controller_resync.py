"""A Rollout whose deletion nobody told us of is found missing, at the price of one small request every few minutes."""

from __future__ import annotations

import asyncio

import pytest
from controller_kit import CONTROLLER, REAL_SECONDS, World, really, rollout_document

from canary.controller.resync import INTERVAL, Resync
from canary.errors import ServerSetBack
from canary.kube import ROLLOUTS
from canary.observe.objects import Packed

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_ghost_at_rest_is_dropped(world: World) -> None:
    """Deleted while nobody watched, it writes nothing and bars its rule, until it is missed."""
    await world.furnish()
    await world.declare("ghost")
    instance = await world.start_controller()
    await world.until(lambda: world.phase("ghost") == "Idle")
    await world.settle()
    ghost = world.rollout("ghost")
    await world.admin.delete(ROLLOUTS, "ghost", world.namespace)
    await world.settle()
    instance.manager.rollout(None, ghost)  # as if its deletion had not been told
    await world.declare()
    await world.until(lambda: world.phase() == "Invalid")
    assert "ghost" in world.message()
    call = Resync(instance.kube, instance.manager, (world.namespace,), world.clock)
    assert await call.count(world.namespace) == [(world.namespace, "ghost")]
    await world.until(lambda: world.phase() == "Idle")
    assert await call.count(world.namespace) == []


async def test_a_ghost_that_writes_is_found_out_at_once(world: World) -> None:
    """The first 404 says that it is gone; it is not written to again and again."""
    instance = await world.begin()
    ghost = rollout_document("ghost", routes=[{"name": "other"}])
    ghost["metadata"] |= {"namespace": world.namespace, "uid": "gone", "generation": 1}
    before = len(world.writes())
    instance.manager.rollout(None, ghost)
    await world.settle()
    written = [(entry.name, entry.code) for entry in world.writes()[before:] if entry.resource == "rollouts"]
    assert written == [("ghost", 404)]
    assert (world.namespace, "ghost") not in instance.store.rollouts


async def test_one_of_the_same_name_is_another(world: World) -> None:
    """Deleted and created again unnoticed: the old uid goes, the new one stays."""
    instance = await world.begin()
    old = {**world.rollout(), "metadata": {**world.rollout()["metadata"], "uid": "old"}}
    extra = rollout_document("extra")
    extra["metadata"] |= {"namespace": world.namespace, "uid": "gone", "generation": 1}
    instance.store.put_rollout(extra)
    instance.store.rollouts[world.namespace, "shop"] = Packed.of(old)
    call = Resync(instance.kube, instance.manager, (), world.clock)
    assert sorted(await call.count(world.namespace)) == [(world.namespace, "extra"), (world.namespace, "shop")]


async def test_what_is_all_there_costs_one_request(world: World) -> None:
    """As long as nothing is missing, one list of one item per interval."""
    instance = await world.begin()
    await world.declare("second", routes=[{"name": "other"}])
    await world.settle()
    before = len(world.audited())
    running = asyncio.create_task(Resync(instance.kube, instance.manager, (world.namespace,), world.clock).run())
    try:
        await world.pass_(3 * INTERVAL + 1, pace=INTERVAL)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    asked = [(entry.verb, entry.resource) for entry in world.audited(CONTROLLER)[before:]]
    assert asked == [("list", ROLLOUTS.plural)] * 3


async def test_a_start_waits_for_as_many_as_exist(world: World) -> None:
    """And no longer for one that is deleted before it was seen."""
    await world.furnish()
    await world.declare()
    await world.declare("second", routes=[{"name": "other"}])
    instance = await world.start_controller(rollouts=False)
    call = Resync(instance.kube, instance.manager, (world.namespace,), world.clock, recount=0.01)
    waiting = asyncio.create_task(call.listed())
    instance.manager.rollout(None, world.rollout())
    before = len(world.audited())
    await really(lambda: len(world.audited()) > before + 2)
    assert not waiting.done()
    await world.admin.delete(ROLLOUTS, "second", world.namespace)
    await asyncio.wait_for(waiting, REAL_SECONDS)


def ahead(world: World, by: int = 10**6) -> Packed:
    """The Rollout as a process knows it that has seen it later than the server's store is."""
    document = world.rollout()
    version = str(int(document["metadata"]["resourceVersion"]) + by)
    return Packed.of({**document, "metadata": {**document["metadata"], "resourceVersion": version}})


async def test_a_store_that_was_set_back_ends_the_process(world: World) -> None:
    """The server is in sight again, and its list is older than what is known: nothing known need be so, and a restart reads all anew."""
    instance = await world.begin()
    await world.settle()
    call = Resync(instance.kube, instance.manager, (world.namespace,), world.clock)
    running = asyncio.create_task(call.run())
    call.soon()
    await world.settle()
    assert not running.done()
    instance.store.rollouts[world.namespace, "shop"] = ahead(world)
    call.soon()
    with pytest.raises(ServerSetBack, match="set back"):
        await asyncio.wait_for(running, REAL_SECONDS)


async def test_a_read_that_is_older_than_what_was_known_says_so(world: World) -> None:
    """The list is past that by now, but a status write is refused, and what is read then is older than what was known."""
    instance = await world.begin(steps=[{"weight": 10, "hold": "1h"}])
    await world.settle()
    told: list[bool] = []
    instance.store.on_set_back = lambda: told.append(True)
    instance.store.rollouts[world.namespace, "shop"] = ahead(world)
    await world.deploy(2)
    await world.pass_(5)
    assert told


async def test_somebody_elses_write_is_no_store_that_was_set_back(world: World) -> None:
    """Conflicts in the middle of a run, and counts all the while."""
    instance = await world.begin(steps=[{"weight": 10, "hold": "20s"}])
    call = Resync(instance.kube, instance.manager, (world.namespace,), world.clock)
    instance.store.on_set_back = call.set_back
    running = asyncio.create_task(call.run())
    await world.deploy(2)
    for number in range(20):
        body = {"metadata": {"annotations": {"somebody": str(number)}}}
        await world.gitops.merge_patch(ROLLOUTS, "shop", world.namespace, body)
        call.soon()
        await world.pass_(1)
    await world.until(lambda: world.phase() == "Succeeded")
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
