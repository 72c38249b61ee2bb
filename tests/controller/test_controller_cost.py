"""What a Rollout costs the API server, counted from its audit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from controller_kit import World, check, rollout_document

from canary.kube import DEPLOYMENTS, ROLLOUTS

pytestmark = pytest.mark.asyncio(loop_scope="module")


def kind(entry: object) -> str:
    """A write in a word: route, status, event, or what it is."""
    resource, subresource = entry.resource, entry.subresource  # type: ignore[attr-defined]
    return {"httproutes": "route", "events": "event"}.get(resource) or ("status" if subresource else resource)


@pytest.mark.parametrize("acceptance", ["at once", "late"])
async def test_requests_of_a_weight_step(world: World, acceptance: str) -> None:
    """A weight step costs one patch per route, at most two status patches and at most one Event."""
    weights = [10, 20, 50, 80]
    steps = [{"weight": weight, "hold": "30s"} for weight in weights]
    await world.begin(
        steps=[*steps, {"weight": 100}], checks=[check(interval="5s"), check(name="other", interval="7s")]
    )
    values = iter(range(1, 10_000))
    world.provider.answers["errors"] = lambda _query, _now: next(values) / 1e7  # a value that moves is no news
    if acceptance == "late":
        await world.gateway.wait("shop")
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10))
    for weight, following in pairwise(weights):
        if acceptance == "late":
            await world.pass_(10)
            await world.gateway.accept("shop")
            world.gateway.waiting.add("shop")
        start = len(world.writes())
        # From the patch that writes one weight to the one that writes the next, everything counts.
        await world.until(lambda following=following: world.weights()[1] == following)  # type: ignore[misc]
        spent = [kind(entry) for entry in world.writes()[start:]]
        assert spent.count("route") == 1, weight
        assert spent.count("status") <= 2, (weight, spent)
        assert spent.count("event") <= 1, (weight, spent)
        assert len(spent) <= 4, (weight, spent)
    reads = [(entry.resource, entry.name) for entry in world.audited() if entry.verb == "get"]
    assert reads == [], "what the first status write proves is not asked again"


async def test_an_idle_rollout_costs_nothing(world: World) -> None:
    """An hour at rest: no request, no task, no reconciler, in any resting phase."""
    instance = await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    await world.settle()
    for phase in ("Succeeded", "RolledBack"):
        assert world.phase() == phase
        before = len(world.audited())
        await world.pass_(3600, pace=60)
        assert len(world.audited()) == before
        assert instance.manager.reconciling == frozenset()
        assert world.clock.next_wake is None
        world.provider.answers["errors"] = 0.5
        if phase == "Succeeded":
            await world.deploy(3)
            await world.until(lambda: world.phase() == "RolledBack")
            await world.settle()


async def test_fifty_idle_rollouts_at_a_start(world: World) -> None:
    """A controller that starts among settled Rollouts writes nothing and reads nothing but its lists."""
    await world.furnish()
    names = [f"shop-{number}" for number in range(50)]
    for name in names:
        document = rollout_document(
            name, routes=[{"name": f"missing-{name}"}] if name == "shop-7" else [{"name": "shop"}]
        )
        document["spec"].pop("workloads")
        document["spec"].pop("checks")
        if name not in {"shop-0", "shop-7"}:
            document["spec"]["canary"]["service"] = f"canary-{name}"
        await world.create(ROLLOUTS, document)
    instance = await world.start_controller()
    await world.until(lambda: all(world.phase(name) in {"Idle", "Invalid"} for name in names))
    await world.settle()
    await instance.stop()
    before = len(world.audited())
    second = await world.start_controller()
    await world.pass_(3600, pace=60)
    asked = world.audited()[before:]
    assert {entry.verb for entry in asked} <= {"list", "watch"}
    assert len([entry for entry in asked if entry.verb == "list"]) <= 5
    assert second.manager.reconciling == frozenset()


async def test_replicas_that_come_and_go_at_rest_cost_nothing(world: World) -> None:
    """They are in the status for people, and are not kept up to date at rest; the images of a release are in it."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    await world.settle()
    said = world.status()["workloads"]
    assert [said[role]["images"] for role in ("stable", "canary")] == ["shop:2", "shop:2"]
    assert said["stable"]["ready"] == 1
    before = len(world.audited())
    for count in (0, 3, 1):
        for name in ("stable", "canary") if count else ("canary",):
            await world.gitops.merge_patch(DEPLOYMENTS, name, world.namespace, {"spec": {"replicas": count}})
        await world.settle()
    assert len(world.audited()) == before
    assert world.status()["workloads"] == said
    # Nothing could begin while stable is scaled to 0, so that is on record.
    for count, ready in ((0, "False"), (1, "True")):
        await world.gitops.merge_patch(DEPLOYMENTS, "stable", world.namespace, {"spec": {"replicas": count}})
        await world.until(lambda ready=ready: world.condition("Ready")["status"] == ready, within=5)  # type: ignore[misc]
    await world.settle()
    assert len(world.audited()) == before + 2


async def test_a_status_that_says_the_same_is_not_written(world: World) -> None:
    """Events about what a Rollout refers to wake it, and cost no request when they change nothing for it."""
    await world.begin()
    await world.settle()
    before = len(world.audited())
    for number in range(5):
        await world.gitops.merge_patch(
            ROLLOUTS, "shop", world.namespace, {"metadata": {"labels": {"number": str(number)}}}
        )
        await world.gateway.refuse("shop", f"no {number}")
        await world.gateway.accept("shop")
        await world.settle()
    assert len(world.audited()) == before
    await world.gateway.refuse("shop", "no longer")
    await world.until(lambda: world.condition("Ready")["status"] == "False", within=5)
    assert "no longer" in world.condition("Ready")["message"]
    await world.gateway.accept("shop")
    await world.until(lambda: world.condition("Ready")["status"] == "True", within=5)
