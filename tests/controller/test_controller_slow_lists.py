"""A list that is slow in coming at the start of a controller: only those wait for it who refer to something of that kind."""

from __future__ import annotations

import asyncio

import pytest
from controller_kit import (
    CONTROLLER,
    REAL_SECONDS,
    World,
    check,
    deployment_document,
    route_document,
    template_document,
)
from test_controller_whole import Served, served

from canary.kube import CHECKTEMPLATES, CLUSTERCHECKTEMPLATES, DEPLOYMENTS, GRPCROUTES, HTTPROUTES, Resource
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = [{"weight": 10, "hold": "1h"}]


async def _beside(world: World, name: str, **spec: object) -> None:
    """A second Rollout, on a route and workloads of its own."""
    for workload in (f"{name}-stable", f"{name}-canary"):
        await world.create(DEPLOYMENTS, deployment_document(workload))
    await world.create(HTTPROUTES, route_document(name))
    workloads = {"stable": {"name": f"{name}-stable"}, "canary": {"name": f"{name}-canary"}}
    await world.declare(name, routes=[{"name": name}], workloads=workloads, steps=STEPS, **spec)


async def _everything_listed(controller: Served) -> None:
    """A list that failed is tried again on the wall clock."""
    async with asyncio.timeout(REAL_SECONDS):
        while (await controller.get("/readyz"))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", [CHECKTEMPLATES, CLUSTERCHECKTEMPLATES], ids=lambda kind: kind.kind)
async def test_a_slow_list_of_templates_holds_up_those_who_name_one(world: World, kind: Resource) -> None:
    """The run of another one goes on and is rolled back meanwhile. Who waits says nothing, least of all that there is no such template."""
    name = f"latency-{world.namespace}"
    await world.furnish()
    await world.declare(steps=STEPS, checks=[check()])
    await world.create(kind, template_document(name, kind.kind))
    await _beside(
        world, "other", checks=[{"name": "t", "template": {"name": name, "kind": kind.kind}, "args": {"limit": "0.1"}}]
    )
    world.provider.answers["latency"] = 0.0
    async with served(world):
        await world.until(lambda: world.phase() == "Idle" and world.phase("other") == "Idle")
        await world.deploy(2)
        await world.deploy(2, "other-canary")
        await world.until(lambda: world.step() == 1 and world.step("other") == 1)
    slow = world.api.faults.add(Fault("list", kind.plural, status=503, times=None, user=CONTROLLER))
    world.provider.answers["errors"] = world.provider.answers["latency"] = 0.5
    before = len(world.records.versions["rollouts"])
    async with served(world) as controller:
        await world.until(lambda: world.phase() == "RolledBack")
        assert (await controller.get("/readyz"))[0] == 503
        assert kind.plural in (await controller.get("/readyz"))[1]
        seen = [each for each in world.records.versions["rollouts"][before:] if each["metadata"]["name"] == "other"]
        assert not seen
        world.api.faults.remove(slow)
        await _everything_listed(controller)
        await world.until(lambda: world.phase("other") == "RolledBack")
    assert all(
        "there is no" not in each["status"].get("message", "")
        for each in world.records.versions["rollouts"]
        if each.get("status")
    )


async def test_a_slow_list_of_another_kind_of_route_does_as_well(world: World) -> None:
    """GRPCRoutes do not come; nobody who moves an HTTPRoute waits for them."""
    await world.furnish()
    await world.declare(steps=STEPS, checks=[check()])
    world.api.faults.add(Fault("list", GRPCROUTES.plural, status=503, times=None, user=CONTROLLER))
    async with served(world) as controller:
        await world.until(lambda: world.phase() == "Idle")
        await world.deploy(2)
        await world.until(lambda: world.step() == 1)
        assert GRPCROUTES.plural in (await controller.get("/readyz"))[1]


async def test_who_names_a_template_before_they_are_listed_is_told_that(world: World) -> None:
    """An edit in the middle of a run, while they are not known: nobody can tell whether there is such a one."""
    await world.furnish()
    await world.declare(steps=STEPS, checks=[check()])
    await world.create(CLUSTERCHECKTEMPLATES, template_document(f"late-{world.namespace}", "ClusterCheckTemplate"))
    slow = world.api.faults.add(Fault("list", CLUSTERCHECKTEMPLATES.plural, status=503, times=None, user=CONTROLLER))
    world.provider.answers["latency"] = 0.0
    async with served(world) as controller:
        await world.until(lambda: world.phase() == "Idle")
        await world.deploy(2)
        await world.until(lambda: world.step() == 1)
        named = {
            "name": "t",
            "template": {"name": f"late-{world.namespace}", "kind": "ClusterCheckTemplate"},
            "args": {"limit": "0.1"},
        }
        await world.edit(checks=[check(), named])
        await world.until(
            lambda: "not known yet which ClusterCheckTemplates there are" in world.status().get("message", "")
        )
        (lost,) = [each for each in world.status()["checks"] if each["name"] == "t"]
        assert (lost["verdict"], lost["reason"]) == ("Unknown", "TemplatesNotListed")
        world.api.faults.remove(slow)
        await _everything_listed(controller)
        world.provider.answers["latency"] = 0.5
        await world.until(lambda: world.phase() == "RolledBack")
        assert "check t failed" in world.status()["message"]
