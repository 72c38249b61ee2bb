"""After a run the canary's replicas go when nobody gives it users any more: neither this Rollout's rules, nor anybody else's."""

from __future__ import annotations

from typing import Any

import pytest
from controller_kit import World, backend, check, deployment_document, route_document, rule

from canary.kube import DEPLOYMENTS, HTTPROUTES, ROLLOUTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
STEPS = [{"weight": 50, "hold": "1h"}]
SCALE = {"canary": "MatchShare", "drain": "6s"}
BETA = [{"path": {"type": "PathPrefix", "value": "/beta"}}]


def replicas(world: World) -> int:
    found = world.find(DEPLOYMENTS, "canary")
    assert found is not None
    return int(found["spec"]["replicas"])


def shop() -> Json:
    return route_document("shop", rule(backend("stable", 100), backend("canary", 0), name="main"))


async def failed(world: World, *routes: Json, others: tuple[str, ...] = (), **spec: Any) -> None:
    """A run has failed, and its canary drains."""
    await world.furnish(*routes)
    for other in others:
        await world.declare(other, steps=STEPS, workloads=None, routes=[{"name": other}])
    await world.declare("shop", scale=SCALE, steps=STEPS, checks=[check(interval="1s")], **spec)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    template = deployment_document("canary", 2)["spec"]["template"]
    await world.gitops.merge_patch(DEPLOYMENTS, "canary", world.namespace, {"spec": {"template": template}})
    await world.until(lambda: world.weights("shop")[1] == 50)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack", within=60)
    world.provider.answers["errors"] = 0.0


async def weigh(world: World, name: str, place: int, ref: int, weight: int) -> None:
    """Somebody edits one weight of a route."""
    where = f"/spec/rules/{place}/backendRefs/{ref}/weight"
    await world.alice.json_patch(HTTPROUTES, name, world.namespace, [{"op": "add", "path": where, "value": weight}])
    await world.settle()


async def goes(world: World) -> None:
    """With its last user the canary drains, and is scaled to none."""
    await world.pass_(4)
    assert replicas(world) > 0
    await world.pass_(4)
    assert replicas(world) == 0
    assert "scale" not in world.status()


async def test_a_rule_that_the_rollout_does_not_drive(world: World) -> None:
    beta = rule(backend("stable", 0), backend("canary", 100), name="beta", matches=BETA)
    await failed(
        world,
        route_document("shop", *shop()["spec"]["rules"], beta),
        routes=[{"name": "shop", "rules": ["main"]}],
    )
    await world.pass_(60)
    assert replicas(world) > 0
    assert (await world.reasons()).count("CanaryInUse") == 1
    await weigh(world, "shop", 1, 0, 100)
    await weigh(world, "shop", 1, 1, 0)
    await goes(world)


@pytest.mark.parametrize("ends", ["weight", "deleted"])
async def test_a_route_that_the_rollout_does_not_name(world: World, ends: str) -> None:
    await failed(world, shop(), route_document("beta", rule(backend("canary", 1), matches=BETA)))
    await world.pass_(60)
    assert replicas(world) > 0
    assert [
        event["message"]
        for event in await world.events()
        if event["reason"] == "CanaryInUse" and "HTTPRoute beta" in event["message"]
    ]
    if ends == "weight":
        await weigh(world, "beta", 0, 0, 0)
    else:
        await world.alice.delete(HTTPROUTES, "beta", world.namespace)
    await goes(world)


async def test_another_rollouts_run(world: World) -> None:
    """Which ends by a write of the controller's own."""
    other = route_document("other", rule(backend("stable", 100), backend("canary", 0), matches=BETA))
    await failed(world, shop(), other, others=("other",))
    await world.ask("start", name="other")
    await world.until(lambda: world.weights("other")[1] == 50, within=5)
    await world.pass_(60)
    assert replicas(world) > 0
    await world.ask("abort", name="other")
    await world.until(lambda: world.weights("other")[1] == 0, within=5)
    await goes(world)


async def test_a_copy_of_a_request_is_no_user(world: World) -> None:
    copied = rule(
        backend("stable", 1),
        matches=BETA,
        filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "canary", "port": 80}}}],
    )
    await failed(world, shop(), route_document("beta", copied))
    await goes(world)


async def test_a_deletion_waits_for_no_other_use(world: World) -> None:
    """The Rollout goes, the replicas stay: they are whoever's they serve."""
    await failed(world, shop(), route_document("beta", rule(backend("canary", 1), matches=BETA)))
    before = replicas(world)
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=60)
    assert replicas(world) == before > 0
