"""Whole runs: controller, API server, scripted metrics, a clock that the test moves."""

from __future__ import annotations

import pytest
from controller_kit import World, clean

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_copy_runs_to_the_end(world: World) -> None:
    """A good version goes through every step, is copied to stable, and leaves nothing behind."""
    await world.begin()
    before = world.route()["spec"]
    await world.deploy(2)
    seen = []
    await world.until(lambda: seen.append(world.weights()) or world.phase() == "Succeeded")
    await world.settle()
    shares = [canary for index, (_, canary) in enumerate(seen) if index == 0 or seen[index - 1][1] != canary]
    assert shares == [0, 10, 50, 100, 0]
    assert world.image("stable") == "shop:2"
    assert list(clean(world)) == []
    refs = world.route()["spec"]["rules"][0]["backendRefs"]
    assert [ref["weight"] for ref in refs] == [1, 0]
    assert world.route()["spec"] == before
    assert world.condition("Ready")["status"] == "True"


async def test_a_failing_version_is_rolled_back(world: World) -> None:
    """A failing check puts all traffic back on stable; the revision is not tried again by itself."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    assert world.weights() == (1, 0)
    assert list(clean(world)) == []
    assert world.status()["run"]["reason"] == "CheckFailed"
    assert world.image("stable") == "shop:1"
    await world.pass_(60)
    assert world.phase() == "RolledBack"
