"""Roles that somebody turns in a status: put right where the status is taken in, and by nobody's hand on a route that rests."""

from __future__ import annotations

import pytest
from controller_kit import World, check

from canary.kube import ROLLOUTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEN = [{"weight": 10, "hold": "30m"}, {"weight": 100, "hold": "5m"}]


async def forge(world: World, *, swapped: bool) -> None:
    """Somebody who may write statuses turns the roles."""
    status = {"status": {"swapped": swapped}}
    await world.admin.merge_patch(ROLLOUTS, "shop", world.namespace, status, subresource="status")


async def test_roles_turned_at_rest_under_a_controller_that_is_there(world: World) -> None:
    """They are put back on record, an Event says so, and the version that comes next gets its first step."""
    await world.begin(steps=TEN, checks=[check()])
    await forge(world, swapped=True)
    await world.until(lambda: not world.status().get("swapped"), within=60)
    await world.settle()
    assert "UnreadableRecord" in await world.reasons()
    assert world.untouched()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1)
    assert world.weights() == (90, 10)


async def test_roles_turned_in_a_run_while_no_controller_is_there(world: World) -> None:
    """The next one goes on with the run as it was: the canary's share never leaves its step."""
    instance = await world.begin(steps=TEN, checks=[check()])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await instance.kill()
    await forge(world, swapped=True)
    written = int(world.route()["metadata"]["generation"])
    await world.start_controller()
    await world.until(lambda: not world.status().get("swapped"), within=60)
    await world.pass_(30)
    assert world.weights() == (90, 10)
    assert int(world.route()["metadata"]["generation"]) == written
    assert "UnreadableRecord" in await world.reasons()


async def test_an_owner_who_moves_weights_at_rest_turns_no_roles(world: World) -> None:
    """A run was won by Swap, and Git puts the weights of before it back: who is who stays, and the traffic is named."""
    await world.begin(steps=[{"weight": 100, "hold": "5s"}], checks=[check()], promotion="Swap")
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.status()["swapped"] is True
    await world.set_weights(world.gitops, 1, 0)
    await world.pass_(60)
    assert world.status()["swapped"] is True
    assert world.weights() == (1, 0)
    assert "CanaryHasTraffic" in await world.reasons()
    assert "UnreadableRecord" not in await world.reasons()
