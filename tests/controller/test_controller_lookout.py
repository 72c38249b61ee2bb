"""What the watches of a controller share: how brisk they are, who is blind, what is said, and that sleep is noticed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from controller_kit import CONTROLLER, START, World
from wire import Wire

from canary.controller.clock import ManualClock, SystemClock
from canary.controller.informers import Informers
from canary.controller.lookout import Lookout
from canary.controller.sight import Sights
from canary.kube import HTTPROUTES, KubeClient
from canary.kube.pace import Vigil
from canary.observe.store import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def lookout(clock: ManualClock) -> Lookout:
    return Lookout(Sights(clock, ("red", "blue")), clock, ("red", "blue"))


async def test_only_where_something_goes_on_watches_are_brisk(lookout: Lookout) -> None:
    """By namespace, if it is watched by namespace; all together, if any namespace has a run."""
    red = Vigil(lookout.pace("red"))
    blue = Vigil(lookout.pace("blue"))
    calm = Vigil(lookout.calm)
    for vigil in (red, blue, calm):
        vigil.opened()
    lookout.depend({"red", "green"})
    assert (red.renewed, blue.renewed, calm.renewed) == (True, False, False)
    assert (lookout.pace("red").brisk, lookout.pace("blue").brisk) == (True, False)
    lookout.depend({"blue"})
    assert (lookout.pace("red").brisk, lookout.pace("blue").brisk) == (False, True)
    everywhere = Lookout(Sights(ManualClock(START)), ManualClock(START), ())
    everywhere.depend({"green"})
    assert everywhere.pace(None).brisk
    everywhere.depend(())
    assert not everywhere.pace(None).brisk


async def test_one_silent_death_makes_all_watches_be_opened_anew(lookout: Lookout) -> None:
    """What happened to one connection has probably happened to the others, and a renewal costs a request."""
    vigils = [Vigil(pace) for pace in (lookout.pace("red"), lookout.pace("blue"), lookout.calm)]
    for vigil in vigils:
        vigil.opened()
    lookout.eyes("rollouts").suspect()
    assert all(vigil.renewed for vigil in vigils)


async def test_what_no_run_depends_on_is_said_but_blinds_nobody(
    lookout: Lookout, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A watch of check templates that is broken holds up nothing."""
    templates, routes = lookout.eyes("checktemplates", counts=False), lookout.eyes("httproutes")
    sight = lookout.sights.of("red")
    with caplog.at_level(logging.INFO):
        templates.lost(0, "no route to host")
        clock.advance(5)
        assert (sight.blind, sight.total) == (False, timedelta())
        routes.lost(3, "no route to host")
        clock.advance(2)
        assert (sight.blind, sight.total) == (True, timedelta(seconds=5))
        routes.found()
        assert (sight.blind, sight.total) == (False, timedelta(seconds=5))
        templates.found()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == (
        "the API server cannot be watched (checktemplates): no route to host; trying again until it works"
    )
    assert len(said) == 2


# -- with connections that die ----------------------------------------------------------------------------------------


async def test_a_watch_that_nobody_needs_stays_calm(lookout: Lookout) -> None:
    """Of a kind of route that no Rollout names, nothing depends on how soon its watch is found dead."""
    needed: set[str] = set()
    pace = lookout.pace_of("tcproutes of red", "red", lambda: "tcproutes" in needed)
    assert lookout.pace_of("tcproutes of red", "red", lambda: False) is pace, "one for each watch"
    lookout.depend({"red"})
    assert (lookout.pace("red").brisk, pace.brisk) == (True, False)
    needed.add("tcproutes")
    lookout.depend({"red"})
    assert pace.brisk
    lookout.depend({"blue"})
    assert not pace.brisk


@pytest_asyncio.fixture(loop_scope="module")
async def wire(world: World) -> AsyncIterator[Wire]:
    async with Wire(world.api.url) as wire:
        yield wire


@pytest.mark.alone("for how long nothing was seen", waits=True)
async def test_blindness_is_counted_from_the_last_word_to_the_first(world: World, wire: Wire) -> None:
    """A frozen connection is found by its own watch; the time before that was blind, too, and the reconcilers are woken."""
    sights = Sights(SystemClock(), (world.namespace,))  # by the machine's clock, as connections die in real time
    sight = sights.of(world.namespace)
    woken = asyncio.Event()
    sight.on_found(woken.set)
    lookout = Lookout(sights, SystemClock(), (world.namespace,))
    seen: list[str] = []
    store = Store()
    store.put_rollout(await world.declare())  # without anybody who names it, nobody is blind for a route
    manager: Any = SimpleNamespace(
        deps=SimpleNamespace(store=store, clock=SystemClock()),
        wake=lambda _keys: None,
        route=lambda kind, document: seen.append(f"{kind} {document['metadata']['name']}"),
        workload=lambda _kind, _document: None,
        template=lambda _resource, _kind, _document: None,
        awaits=store.lists.awaited,
        arrived=store.lists.arrived,
    )
    await world.furnish()
    async with await KubeClient.connect(server=wire.url, token=world.clients.token(CONTROLLER)) as kube:
        following = Informers(kube, manager, (world.namespace,), lookout)
        task = asyncio.create_task(following.run())
        try:
            await asyncio.wait_for(following.synced.wait(), 10)
            lookout.pace(world.namespace).seconds = 1.0
            lookout.depend({world.namespace})
            await asyncio.sleep(0.5)
            assert (sight.blind, sight.total) == (False, timedelta())
            frozen = time.monotonic()
            wire.freeze(only_open=True)
            await world.gitops.merge_patch(HTTPROUTES, "shop", world.namespace, {"metadata": {"labels": {"a": "b"}}})
            await asyncio.wait_for(woken.wait(), 10)
            took = time.monotonic() - frozen
            assert not sight.blind
            assert took - 1.0 <= sight.total.total_seconds() <= took + 1.0
            await asyncio.sleep(0.3)
            assert seen.count("MODIFIED shop") == 1
            before = sight.total
            await asyncio.sleep(2.5)  # watches that end and are opened again, twice
            assert sight.total == before
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_is_lost_of_one_namespace_is_the_trouble_of_that_one(lookout: Lookout, clock: ManualClock) -> None:
    """A team's RoleBinding goes, and nothing of theirs can be watched: the others' runs go on. What is watched of no namespace blinds all."""
    theirs, everybodys = lookout.eyes("httproutes of red", "red"), lookout.eyes("httproutes")
    red, blue = lookout.sights.of("red"), lookout.sights.of("blue")
    theirs.lost(0, "forbidden")
    clock.advance(5)
    assert (red.blind, blue.blind, blue.total) == (True, False, timedelta())
    everybodys.lost(0, "no route to host")
    clock.advance(1)
    assert (red.blind, blue.blind, blue.total) == (True, True, timedelta(seconds=1))
    everybodys.found()
    assert (red.blind, blue.blind) == (True, False)
    theirs.found()
    assert (red.blind, red.total, blue.total) == (False, timedelta(seconds=6), timedelta(seconds=1))


STOPPED = """
import asyncio, types
from canary.controller.clock import SystemClock
from canary.controller.fence import Fence
from canary.controller.lookout import Lookout
from canary.controller.sight import Sights

async def main():
    sights, woken = Sights(), []
    sight = sights.of("x")
    deps = types.SimpleNamespace(fence=Fence())
    manager = types.SimpleNamespace(deps=deps, busy_namespaces=(), reconciling=("x",), wake=lambda keys: woken.extend(keys))
    slept = asyncio.Event()
    sight.on_wake(lambda seconds: slept.set())
    beat = asyncio.create_task(Lookout(sights, SystemClock(), ()).beat(manager))
    print("up", flush=True)
    await slept.wait()
    await asyncio.sleep(1)
    print(sight.total.total_seconds(), sight.blind, woken, flush=True)

asyncio.run(main())
"""


async def test_a_process_that_was_stopped_knows_for_how_long() -> None:
    """SIGSTOP for three seconds: they count as blind, once, and everything is looked at anew."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOPPED, stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"up"
        await asyncio.sleep(1)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3)
        process.send_signal(signal.SIGCONT)
        total, blind, woken = (await asyncio.wait_for(process.stdout.readline(), 10)).split()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert 2.5 <= float(total) <= 4.5
    assert (blind, woken) == (b"False", b"['x']")
