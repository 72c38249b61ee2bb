"""Two Rollouts on two rules of one route: neither notices the other, and neither is forgotten for the other's sake."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from controller_kit import (
    World,
    backend,
    check,
    deployment_document,
    pair_weights,
    route_document,
    rule,
    service_document,
)

from canary.kube import DEPLOYMENTS, HTTPROUTES, SERVICES
from canary.routes.intent import LEGACY_ANNOTATION, run_annotation

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
NAMES = ("shop", "second")
STEPS = [{"weight": 10, "hold": "5s"}, {"weight": 100, "hold": "5s"}]


async def both(world: World, **spec: Any) -> Any:
    """A route with a rule for each of two Rollouts, and a controller that has found both settled."""
    rules = (
        rule(
            backend("stable", 100),
            backend("canary", 0),
            name="shop",
            matches=[{"path": {"type": "Exact", "value": "/a"}}],
        ),
        rule(
            backend("stable-2", 100),
            backend("canary-2", 0),
            name="second",
            matches=[{"path": {"type": "Exact", "value": "/b"}}],
        ),
    )
    for name in ("stable-2", "canary-2"):
        await world.create(SERVICES, service_document(name))
        await world.create(DEPLOYMENTS, deployment_document(name))
    await world.furnish(route_document("shop", *rules))
    common: Json = {"steps": STEPS, **spec}
    await world.declare("shop", routes=[{"name": "shop", "rules": ["shop"]}], **common)
    await world.declare(
        "second",
        routes=[{"name": "shop", "rules": ["second"]}],
        stable={"service": "stable-2", "port": 80},
        canary={"service": "canary-2", "port": 80},
        workloads={"stable": {"name": "stable-2"}, "canary": {"name": "canary-2"}},
        checks=[check(prometheus={"query": 'second{weight="{{ weight }}"}'})],
        **common,
    )
    world.provider.answers["second"] = 0.0
    instance = await world.start_controller()
    await world.until(lambda: all(world.phase(name) == "Idle" for name in NAMES))
    return instance


def shares(world: World) -> tuple[int, int]:
    found = []
    for item in world.route()["spec"]["rules"]:
        refs = {ref["name"].removesuffix("-2"): ref.get("weight", 1) for ref in item["backendRefs"]}
        found.append(refs["canary"])
    return found[0], found[1]


async def test_each_writes_what_belongs_to_it_and_no_more(world: World) -> None:
    """Two runs at once: a patch a step and one each for end and release, as if each were alone."""
    await both(world)
    before = len(world.writes())
    await asyncio.gather(world.deploy(2), world.deploy(2, "canary-2"))
    await world.until(lambda: all(world.phase(name) == "Succeeded" for name in NAMES))
    patches = [entry for entry in world.writes()[before:] if entry.resource == "httproutes" and entry.code == 200]
    assert len(patches) == 2 * (len(STEPS) + 2)
    annotations = world.route()["metadata"].get("annotations") or {}
    assert not {run_annotation(name) for name in NAMES} & annotations.keys()
    assert shares(world) == (0, 0)


async def test_one_fails_and_the_other_goes_on(world: World) -> None:
    """A rollback on one rule touches nothing of the other's."""
    await both(world)
    await asyncio.gather(world.deploy(2), world.deploy(2, "canary-2"))
    await world.until(lambda: shares(world) == (10, 10))
    world.provider.answers["second"] = 0.5
    await world.until(lambda: world.phase("second") == "RolledBack")
    assert shares(world)[1] == 0
    await world.until(lambda: world.phase() == "Succeeded")
    assert shares(world) == (0, 0)
    assert world.run_number("second") == 1


async def test_a_rollback_is_not_forgotten_over_a_crash(world: World) -> None:
    """The controller dies after one run's rollback was written and before it was recorded, while the other goes on writing."""
    instance = await both(world)
    await asyncio.gather(world.deploy(2), world.deploy(2, "canary-2"))
    await world.until(lambda: shares(world) == (10, 10))
    world.provider.answers["second"] = 0.5

    def dies(_index: int, request: Any) -> str:
        rolled_back = request.resource == "httproutes" and '"mode": "rollback"' in json.dumps(request.body).replace(
            '\\"', '"'
        ).replace('":"', '": "')
        return "after" if rolled_back else ""

    instance.line._cut = dies
    await world.until(lambda: instance.dead)
    await instance.kill()
    world.provider.answers["second"] = 0.0
    await world.start_controller()
    await world.until(lambda: world.phase("second") == "RolledBack")
    await world.ask("resume", name="second")
    await world.until(lambda: world.phase() == "Succeeded")
    await world.pass_(30)
    assert (world.phase("second"), shares(world)) == ("RolledBack", (0, 0))


async def test_an_old_annotation_of_one_is_carried_over(world: World) -> None:
    """The version before kept one annotation for the whole route: whose run it was goes on, the other notices nothing."""
    instance = await both(world, steps=[{"weight": 10, "hold": "60s"}, {"weight": 100}])
    await world.deploy(2)
    await world.until(lambda: shares(world) == (10, 0) and world.step() == 1)
    await world.settle()
    await instance.kill()
    raw = world.route()["metadata"]["annotations"][run_annotation("shop")]
    patch = {"metadata": {"annotations": {LEGACY_ANNOTATION: raw, run_annotation("shop"): None}}}
    await world.admin.merge_patch(HTTPROUTES, "shop", world.namespace, patch)
    await world.start_controller()
    await world.until(lambda: LEGACY_ANNOTATION not in world.route()["metadata"]["annotations"])
    assert shares(world) == (10, 0)
    await world.until(lambda: world.phase() == "Succeeded", within=300)
    assert world.run_number() == 1


async def test_the_owners_apply_is_not_refused_after_a_run(world: World) -> None:
    """`kubectl apply --server-side` of the route's manifest, by the manager that made it: no conflict, no force."""
    for name in ("stable", "canary"):
        await world.create(SERVICES, service_document(name))
        await world.create(DEPLOYMENTS, deployment_document(name))
    applied = route_document("shop")
    applied["spec"]["rules"][0]["backendRefs"] = [backend("stable", 1), backend("canary", 0)]
    owner = await world.person("owner")
    await apply(owner, applied, world.namespace)
    await world.settle()
    await world.declare(steps=[{"weight": 10}])
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    for good in (True, False):
        world.provider.answers["errors"] = 0.0 if good else 0.5
        await world.deploy(2 if good else 3)
        await world.until(lambda good=good: world.phase() == ("Succeeded" if good else "RolledBack"))  # type: ignore[misc]
        await world.settle()
        applied["spec"]["hostnames"] = [f"{'good' if good else 'bad'}.example.org"]
        await apply(owner, applied, world.namespace)
        assert pair_weights((await owner.get(HTTPROUTES, "shop", world.namespace))["spec"]["rules"][0]) == (1, 0)


async def apply(kube: Any, document: Json, namespace: str) -> None:
    """Server-side apply, without force."""
    await kube._patch(
        HTTPROUTES,
        document["metadata"]["name"],
        namespace,
        document,
        content_type="application/apply-patch+yaml",
        subresource=None,
    )
