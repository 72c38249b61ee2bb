"""A real controller process that asks a Prometheus behind a cache: no step is passed on what was so before it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from controller_kit import World, check, pair_weights
from process_kit import Controllers, Metrics, until

CHECK = check(prometheus={"query": "errors"})
"""The same question at every step."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


def canary_share(world: World) -> float:
    stable, canary = world.weights()
    return canary / (stable + canary)


async def test_a_step_is_not_passed_on_an_answer_of_before_it(world: World, tmp_path: Path) -> None:
    """Of holds of two seconds one passes: in the next one the same answer comes again, and what the canary does is worse by then."""
    steps = [{"weight": 10, "hold": "2s"}, {"weight": 50, "hold": "2s"}, {"weight": 80, "hold": "1h"}]
    async with Metrics(kept=25.0).serve() as metrics:
        await world.furnish()
        await world.declare(workloads=None, steps=steps, checks=[CHECK])
        controllers = Controllers(world, tmp_path, metrics)
        try:
            await controllers.start()
            await until(lambda: world.phase() == "Idle", "the first look")
            await world.ask("start")
            await until(lambda: canary_share(world) == 0.1, "the first step")
            metrics.value = 0.5
            await until(lambda: canary_share(world) == 0.0, f"a rollback; {world.message()}", 60)
        finally:
            await controllers.end()
    given = [canary / (stable + canary) for stable, canary in seen(world)]
    assert max(given) <= 0.5, given


async def test_a_successor_passes_no_step_on_what_was_kept_before_it(world: World, tmp_path: Path) -> None:
    """It knows no answer of before; the one that it gets is from before the run, and says so itself."""
    steps = [{"weight": 10, "hold": "4s"}, {"weight": 50, "hold": "1h"}]
    async with Metrics().serve() as metrics:
        await world.furnish()
        await world.declare(workloads=None, steps=steps, checks=[CHECK])
        controllers = Controllers(world, tmp_path, metrics)
        try:
            first = await controllers.start()
            await until(lambda: world.phase() == "Idle", "the first look")
            await world.ask("start")
            await until(lambda: canary_share(world) == 0.1, "the first step")
            first.kill()
            await first.wait()
            metrics.kept, metrics.cache = 1000.0, {"errors": (time.time() - 100, 0.0)}
            await controllers.start()
            await until(lambda: "StaleAnswer" in str(world.status()), "it is seen to come from a cache", 60)
            assert canary_share(world) == 0.1
            metrics.kept = 0.0
            await until(lambda: canary_share(world) == 0.5, f"what is of now passes it; {world.message()}", 60)
        finally:
            await controllers.end()


def seen(world: World) -> list[tuple[int, int]]:
    """Every pair of weights that the route had."""
    return [pair_weights(version["spec"]["rules"][0]) for version in world.records.versions["httproutes"]]
