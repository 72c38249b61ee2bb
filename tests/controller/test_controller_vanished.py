"""A Rollout that vanishes in the middle of a run, without anybody waiting for its finalizer: its routes do not stay as the run has them."""

from __future__ import annotations

from typing import Any

import pytest
from controller_kit import CONTROLLER, ControllerInstance, World, check

from canary.kube import ROLLOUTS
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEN = [{"weight": 10, "hold": "30m"}, {"weight": 100, "hold": "5m"}]


class Late:
    """A watch whose news stay away for a while, as under a process that is frozen."""

    def __init__(self, instance: ControllerInstance) -> None:
        self._manager = instance.manager
        self._kept: list[tuple[str, dict[str, Any]]] = []
        self.held = False

    def __call__(self, kind: str, document: dict[str, Any]) -> None:
        if self.held:
            self._kept.append((kind, document))
        else:
            self._manager.rollout(kind, document)

    @property
    def gone(self) -> bool:
        """Whether the last news is that the Rollout is gone."""
        return bool(self._kept) and self._kept[-1][0] == "DELETED"

    def let_go(self) -> None:
        """All at once."""
        self.held = False
        for kind, document in self._kept:
            self._manager.rollout(kind, document)


async def at_ten(world: World) -> tuple[ControllerInstance, Late]:
    await world.furnish()
    await world.declare(steps=TEN, checks=[check()])
    instance = await world.start_controller(rollouts=False)
    late = Late(instance)
    await instance.follow_rollouts(world.namespace, late)
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.settle()
    late.held = True
    return instance, late


async def vanish(world: World, late: Late) -> None:
    """Somebody takes the finalizer away and deletes the Rollout, before the controller hears of the one or the other."""
    await world.admin.merge_patch(ROLLOUTS, "shop", world.namespace, {"metadata": {"finalizers": None}})
    await world.admin.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: late.gone, within=60)
    await world.settle()
    assert world.weights() == (90, 10)


async def test_a_rollout_that_is_gone_at_once(world: World) -> None:
    """The route goes back to what it was before the run, with no annotation left; an Event says so, and nobody goes on with the run."""
    instance, late = await at_ten(world)
    await vanish(world, late)
    late.let_go()
    await world.until(lambda: world.intent() is None, within=60)
    await world.settle()
    assert world.weights() == (1, 0)
    assert "LeftoverRestored" in await world.reasons()
    assert not instance.manager.reconciling


async def test_a_route_that_cannot_be_written_at_first(world: World) -> None:
    """It is tried again, for as long as that may help."""
    instance, late = await at_ten(world)
    await vanish(world, late)
    world.api.faults.add(Fault("patch", "httproutes", status=503, times=3, user=CONTROLLER))
    late.let_go()
    await world.until(lambda: world.intent() is None, within=60)
    assert world.weights() == (1, 0)
    await world.until(lambda: not instance.manager.reconciling, within=60)


async def test_one_of_the_same_name_that_comes_at_once(world: World) -> None:
    """It finds what the other one has left, puts it back, and rests."""
    _, late = await at_ten(world)
    await vanish(world, late)
    await world.declare(steps=TEN, checks=[check()])
    late.let_go()
    await world.until(lambda: world.phase() == "Idle" and world.intent() is None, within=60)
    assert world.weights() == (1, 0)
