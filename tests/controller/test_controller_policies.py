"""Which definitions of policies there are: asked while some Rollout copies rules, and not otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from controller_kit import CONTROLLER, ControllerInstance, World, route_document, rule
from definitions import install, policy_definition

from canary.controller.lookout import Lookout
from canary.controller.policies import Policies
from canary.kube import CRDS, Resource
from canary.kube.definitions import resource_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

AGAIN = 300.0
DEFINITION = policy_definition()
MATCH: Json = {"match": [{"headers": [{"name": "x-beta", "value": "yes"}]}], "hold": "1h"}


@asynccontextmanager
async def following(world: World, instance: ControllerInstance) -> AsyncIterator[None]:
    """The controller follows policies, too, and has looked once which there are."""
    seen, places = asyncio.Event(), (world.namespace,)
    lookout = Lookout(instance.manager.deps.sights, world.clock, places)
    policies = Policies(instance.kube, instance.manager, places, lookout, again=AGAIN, seen=seen.set)
    task = asyncio.create_task(policies.run())
    try:
        await asyncio.wait_for(seen.wait(), 30)
        await world.settle()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def defined(world: World) -> AsyncIterator[Resource]:
    """Somebody installs a kind of policies; a test later it is gone."""
    resource = resource_of(DEFINITION)
    assert resource is not None
    await install(world.admin, DEFINITION)
    try:
        yield resource
    finally:
        await world.admin.delete(CRDS, resource.definition)


def asked(world: World) -> int:
    """How often the controller has listed definitions."""
    mine = (entry for entry in world.api.audit if entry.user == CONTROLLER and entry.resource == CRDS.plural)
    return sum(entry.verb == "list" for entry in mine)


def guard() -> Json:
    """A policy about the rule `all` of the route."""
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "shop", "sectionName": "all"}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "SecurityPolicy",
        "metadata": {"name": "login"},
        "spec": {"targetRefs": [target]},
    }


def refused(world: World) -> bool:
    """Whether the rule is not to be copied, because the policy guards it."""
    return "SecurityPolicy login targets by its name" in world.condition("Ready").get("message", "")


NAMED = route_document("shop", rule(name="all", matches=[{"path": {"type": "PathPrefix", "value": "/"}}]))


async def test_nothing_is_asked_while_no_rollout_copies_rules(world: World) -> None:
    """Hours pass without a list; the first Rollout with such a step has what was defined meanwhile looked up at once."""
    instance = await world.begin(NAMED)
    async with following(world, instance), defined(world) as resource:
        at_start = asked(world)
        await world.create(resource, guard())
        await world.pass_(3 * 3600, pace=AGAIN)
        assert asked(world) == at_start
        now = world.clock.now()
        await world.edit(steps=[MATCH])
        while not refused(world):
            await world.settle()
        assert world.clock.now() == now
        assert asked(world) == at_start + 1


async def test_a_definition_that_comes_later_is_seen(world: World) -> None:
    """Within five minutes while some Rollout copies rules; when none does any more, nobody asks again."""
    instance = await world.begin(NAMED, steps=[MATCH])
    async with following(world, instance):
        await world.until(lambda: world.condition("Ready").get("status") == "True")
        async with defined(world) as resource:
            await world.create(resource, guard())
            at_first = asked(world)
            await world.until(lambda: refused(world), within=AGAIN + 1, pace=AGAIN)
            assert asked(world) == at_first + 1
            await world.edit(steps=[{"weight": 10}])
            await world.pass_(3 * 3600, pace=AGAIN)
            assert asked(world) == at_first + 1


async def test_many_rollouts_of_a_namespace_are_one_reason_to_look(world: World) -> None:
    """The second one that copies rules, and a new version of the first, ask for nothing by themselves."""
    instance = await world.begin(NAMED, steps=[MATCH])
    async with following(world, instance):
        at_first = asked(world)
        await world.declare("other", steps=[MATCH])
        await world.edit(steps=[MATCH, {"weight": 10}])
        await world.settle()
        assert asked(world) == at_first
