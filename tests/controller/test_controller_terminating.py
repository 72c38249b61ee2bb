"""A controller of named namespaces that starts while one of them is being deleted: what a run's finalizer keeps there is looked after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from controller_kit import Clients, World, rollout_document
from process_kit import Controllers, Metrics, until

from canary.errors import AlreadyExists, CanaryError
from canary.kube import CRDS, NAMESPACES, ROLLOUTS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

HELD = "example.org/held"
BLOCKED = [
    {
        "type": "NamespaceFinalizersRemaining",
        "status": "True",
        "reason": "SomeFinalizersRemain",
        "message": "Some content in the namespace has finalizers remaining: canary.dev/restore-routes in 1 resource instances",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
]


@asynccontextmanager
async def terminating(world: World) -> AsyncIterator[None]:
    """Somebody deletes a namespace, and its conditions say what keeps it."""
    name = world.namespace
    await world.admin.merge_patch(NAMESPACES, name, None, {"metadata": {"finalizers": [HELD]}})
    await world.admin.delete(NAMESPACES, name)
    await world.admin.merge_patch(NAMESPACES, name, None, {"status": {"conditions": BLOCKED}}, subresource="status")
    try:
        yield
    finally:
        await world.admin.merge_patch(NAMESPACES, name, None, {"metadata": {"finalizers": None}})


@pytest.mark.sandbox_only("a definition that everybody goes by is taken away")
async def test_rollouts_are_watched_again_when_their_definition_is_back(world: World, tmp_path: Path) -> None:
    """Somebody takes the definition away, and with it every Rollout, and puts it there again."""
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "1h"}])
    async with Metrics().serve() as metrics:
        controllers = Controllers(world, tmp_path, metrics)
        try:
            process = await controllers.start()
            await controllers.ready(process, 60)
            await until(lambda: world.phase() == "Idle", "the first look")
            definition = await world.admin.get(CRDS, ROLLOUTS.definition)
            await world.admin.delete(CRDS, ROLLOUTS.definition)
            await until(lambda: world.find(ROLLOUTS, "shop") is None, "its end", 20)
            fresh = {"metadata": {"name": ROLLOUTS.definition}, "spec": definition["spec"]}
            await asyncio.sleep(3)  # the controller looks for it meanwhile
            await world.admin.create(CRDS, {"apiVersion": CRDS.api_version, "kind": CRDS.kind, **fresh})
            await declared(world)
            await looked_at(world)
            assert process.returncode is None, controllers.log(process)
        finally:
            await controllers.end()


async def looked_at(world: World) -> None:
    """The watch of the one who looks for it has ended with the definition, so it is read."""
    for _ in range(300):
        rollout = await world.admin.get(ROLLOUTS, "shop", world.namespace)
        if rollout.get("status", {}).get("phase") == "Idle":
            return
        await asyncio.sleep(0.2)
    raise AssertionError("nobody looks at the new one")


async def declared(world: World) -> None:
    """An API server may take a moment to go by a definition."""
    document = rollout_document(steps=[{"weight": 10, "hold": "1h"}])
    async with asyncio.timeout(20):
        while True:
            try:
                await world.admin.create(ROLLOUTS, document, world.namespace)
            except AlreadyExists:
                return
            except CanaryError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_a_namespace_that_is_being_deleted_is_left(world: World, clients: Clients, tmp_path: Path) -> None:
    """The run of before is ended there and its Rollout goes; and a run elsewhere waits for none of that."""
    going = World(clients)
    async with going, Metrics().serve() as metrics:
        for each in (world, going):
            await each.furnish()
            await each.declare(steps=[{"weight": 10, "hold": "1h"}])
        namespaces = (world.namespace, going.namespace)
        controllers = Controllers(world, tmp_path, metrics, namespaces=namespaces)
        try:
            first = await controllers.start()
            await controllers.ready(first, 60)
            await until(lambda: (world.phase(), going.phase()) == ("Idle", "Idle"), "the first look")
            await going.deploy(2)
            await until(lambda: going.weights() == (90, 10), "a run")
            first.kill()
            await first.wait()
            async with terminating(going):
                if not (going.find(ROLLOUTS, "shop") or {})["metadata"].get("deletionTimestamp"):
                    await going.admin.delete(ROLLOUTS, "shop", going.namespace)
                second = await controllers.start()
                await controllers.ready(second, 20)
                began = time.monotonic()
                await world.deploy(2)
                await until(lambda: world.weights() == (90, 10), "a run elsewhere", 20)
                assert time.monotonic() - began < 20
                await until(lambda: going.find(ROLLOUTS, "shop") is None, "its end", 20)
        finally:
            await controllers.end()
