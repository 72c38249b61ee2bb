"""A route is taken out of spec.routes in the middle of a run: it goes back to stable, and is nobody's as soon as the run that follows is on record."""

from __future__ import annotations

from typing import Any

import pytest
from controller_kit import ControllerInstance, World, backend, check, clean, route_document, rule

from canary.routes.intent import run_annotation

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
STEPS = [{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "1h"}]


def named(*names: str) -> list[Json]:
    return [{"name": name} for name in names]


def annotated(world: World, name: str) -> list[str]:
    return sorted(
        key for key in world.route(name)["metadata"].get("annotations") or {} if key.startswith(run_annotation(""))
    )


async def both_at_50(world: World, **spec: Any) -> ControllerInstance:
    """One run on two routes."""
    pair = rule(backend("stable", 100), backend("canary", 0))
    instance = await world.begin(
        route_document("shop", pair), route_document("b", pair), routes=named("shop", "b"), steps=STEPS, **spec
    )
    await world.deploy(2)
    await world.until(lambda: (world.weights(), world.weights("b")) == ((50, 50), (50, 50)))
    return instance


async def test_it_is_let_go_of_while_the_next_run_goes_on(world: World) -> None:
    await both_at_50(world, checks=[check(interval="1s")])
    await world.edit(routes=named("shop"))
    await world.until(lambda: world.run_number() == 2 and world.weights()[1] == 10, within=30)
    assert world.weights("b") == (100, 0)
    assert (annotated(world, "b"), annotated(world, "shop")) == ([], ["run.canary.dev/shop"])
    assert "UnreadableRecord" not in await world.reasons()
    assert [route["name"] for route in world.status()["routes"]] == ["shop"]
    await world.until(lambda: world.weights()[1] == 50)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    await world.settle()
    assert [*clean(world)] == []
    assert world.weights("b") == (100, 0)


@pytest.mark.parametrize("paused", [False, True])
async def test_another_rollout_takes_it_over_at_once(world: World, paused: bool) -> None:
    await both_at_50(world)
    if paused:
        await world.ask("pause")
        await world.until(lambda: world.phase() == "Paused")
    await world.edit(routes=named("shop"))
    await world.declare("second", routes=named("b"), steps=STEPS, workloads=None)
    await world.until(lambda: world.phase("second") == "Idle", within=10)
    await world.ask("start", name="second")
    await world.until(lambda: world.weights("b")[1] == 50, within=60)
    assert annotated(world, "b") == ["run.canary.dev/second"]
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    await world.pass_(5)
    assert (world.weights("b")[1], world.phase("second")) == (50, "Progressing")


async def test_a_controller_that_dies_right_then_leaves_nothing(world: World) -> None:
    """Whether the run that follows was on record by then or not."""
    instance = await both_at_50(world)
    await instance.stop()
    await world.edit(routes=named("shop"))
    for _ in range(4):
        instance = await world.start_controller()
        await world.pass_(0.2)
        await instance.kill()
    await world.start_controller()
    await world.until(lambda: world.weights()[1] == 10, within=60)
    assert (world.weights("b"), annotated(world, "b")) == ((100, 0), [])


async def test_a_route_that_is_named_again_is_driven_again(world: World) -> None:
    await both_at_50(world)
    await world.edit(routes=named("shop"))
    await world.until(lambda: world.run_number() == 2 and annotated(world, "b") == [], within=10)
    await world.edit(routes=named("shop", "b"))
    await world.until(lambda: (world.weights(), world.weights("b")) == ((50, 50), (50, 50)), within=60)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    assert (world.weights("b")[1], annotated(world, "b")) == (0, [])
