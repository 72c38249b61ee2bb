"""A controller of named namespaces, one of which may not be looked into any more, or not yet: that is this team's trouble."""

from __future__ import annotations

from pathlib import Path

import pytest
from controller_kit import CONTROLLER, Clients, World
from process_kit import Controllers, Metrics, until

from canary_sandbox.apiserver import Fault

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
    pytest.mark.sandbox_only("the server refuses everything in a namespace, as without a RoleBinding"),
]

STEPS = [{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "1h"}]


@pytest.mark.parametrize("when", ["at the start", "in the middle"])
async def test_one_teams_right_is_nobody_elses_trouble(
    world: World, clients: Clients, tmp_path: Path, when: str
) -> None:
    """The other team's run goes on, over a rise, and is rolled back; and theirs is served as soon as it may be."""
    shut = World(clients)
    denied = Fault(namespace=shut.namespace, status=403, times=None, user=CONTROLLER)
    async with shut, Metrics().serve() as metrics:
        for each in (world, shut):
            await each.furnish()
            await each.declare(steps=STEPS)
        controllers = Controllers(world, tmp_path, metrics, namespaces=(world.namespace, shut.namespace))
        try:
            if when == "at the start":
                world.api.faults.add(denied)
            process = await controllers.start()
            await controllers.ready(process, 60)
            await until(lambda: world.phase() == "Idle", "the first look")
            if when == "in the middle":
                await until(lambda: shut.phase() == "Idle", "the first look at the other one")
                world.api.faults.add(denied)
                for connection in ("deployments", "httproutes", "rollouts"):  # which are opened anew, and refused
                    world.api.faults.add(
                        Fault("watch", connection, drop=True, after_events=0, namespace=shut.namespace, user=CONTROLLER)
                    )
            for each in (world, shut):
                await each.deploy(2)
            await until(lambda: world.weights() == (50, 50), "a rise beside one who is shut out", 60)
            assert shut.weights() == (1, 0)
            metrics.value = 0.5
            await until(lambda: world.weights() == (1, 0), "a rollback", 30)
            metrics.value = 0.0
            world.api.faults.clear()
            if when == "at the start":  # what runs on first sight is no release
                await until(lambda: shut.phase() == "Idle", "the first look at the other one", 90)
                await shut.deploy(3)
            await until(lambda: shut.weights()[1] > 0, "a run as soon as it may be", 90)
            assert process.returncode is None
        finally:
            await controllers.end()


async def test_where_none_may_be_looked_into_it_ends_and_says_why(world: World, tmp_path: Path) -> None:
    """That is a matter of the installation."""
    namespaces = (world.namespace, f"{world.namespace}-b")
    for namespace in namespaces:
        world.api.faults.add(Fault(namespace=namespace, status=403, times=None, user=CONTROLLER))
    async with Metrics().serve() as metrics:
        controllers = Controllers(world, tmp_path, metrics, namespaces=namespaces)
        try:
            process = await controllers.start()
            await until(lambda: process.returncode is not None, "its end", 60)
        finally:
            world.api.faults.clear()
            await controllers.end()
    assert process.returncode == 2
    assert "cannot watch" in controllers.log(process)
