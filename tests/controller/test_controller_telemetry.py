"""What /metrics says of a run while it is under way."""

from __future__ import annotations

import pytest
from controller_kit import ControllerInstance, World, check

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_rollback_is_an_increase(world: World) -> None:
    """Before the first run ends, and again in a controller that takes over in the middle of it, its endings are counted at 0."""

    def ended(result: str) -> float | None:
        labels = {"namespace": world.namespace, "rollout": "shop", "result": result}
        return instance.telemetry.registry.get_sample_value("canary_runs_finished_total", labels)

    await world.furnish()
    await world.declare(checks=[check()])
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    assert ended("RolledBack") is None
    world.provider.answers["errors"] = 0.0
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    assert (ended("RolledBack"), ended("Succeeded")) == (0, 0)
    await instance.kill()
    instance = await world.start_controller()
    await world.settle()
    assert ended("RolledBack") == 0
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    assert (ended("RolledBack"), ended("Succeeded")) == (1, 0)


def waiting(instance: ControllerInstance, world: World, reason: str) -> float | None:
    labels = {"namespace": world.namespace, "rollout": "shop", "for": reason}
    return instance.telemetry.registry.get_sample_value("canary_rollout_waits", labels)


async def test_who_waits_for_a_person_has_a_series(world: World) -> None:
    """As long as that is so, and no longer; of an invalid Rollout at rest after a restart, too."""
    instance = await world.begin(steps=[{"weight": 10, "approval": {}}])
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Paused")
    await world.settle()
    assert waiting(instance, world, "AwaitingApproval") == 1
    await world.ask("promote")
    await world.until(lambda: world.phase() == "Succeeded")
    assert waiting(instance, world, "AwaitingApproval") is None
    await world.edit(checks=[check(prometheus={"query": "{{ nobody }}"})])
    await world.until(lambda: world.phase() == "Invalid")
    await world.settle()
    assert waiting(instance, world, "Invalid") == 1
    await instance.kill()
    another = await world.start_controller()
    await world.settle()
    assert waiting(another, world, "Invalid") == 1
    await world.edit(checks=[check()])
    await world.until(lambda: world.phase() == "Succeeded")
    await world.settle()
    assert waiting(another, world, "Invalid") is None
