"""A spec that nobody can read any more, in the middle of a run: by a controller that knew it before, and by its successor."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import reduce
from typing import Any

import pytest
from controller_kit import World, backend, check, route_document, rule

from canary.errors import CanaryError
from canary.kube import CRDS, ROLLOUTS
from canary.routes.intent import run_annotation
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS: list[dict[str, Any]] = [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}]
NOWHERE = {"window": {"from": "08:00", "to": "17:00", "timezone": "Europe/Berln"}}
"""The definitions take it: which time zones there are they do not know."""
UNREADABLE = [STEPS[0], {**STEPS[1], "gate": NOWHERE}]


async def at_ten(world: World, **spec: Any) -> Any:
    instance = await world.begin(steps=STEPS, checks=[check(interval="1s")], **spec)
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10) and "holding" in world.message())
    await world.pass_(5)
    return instance


async def test_who_knew_it_holds_and_judges_by_what_it_was(world: World) -> None:
    """It says what cannot be read, rises no further, and rolls a bad canary back."""
    await at_ten(world)
    await world.edit(steps=UNREADABLE)
    await world.until(lambda: "Berln" in str(world.status()["conditions"]))
    await world.pass_(10)
    assert world.weights() == (90, 10)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.weights() == (1, 0), within=30)


async def test_a_successor_gives_no_traffic_by_a_plan_that_it_cannot_read(world: World) -> None:
    """As for any other plan that was edited: traffic goes back to stable, and nothing begins. A mended one begins at step one."""
    first = await at_ten(world)
    await world.edit(steps=UNREADABLE)
    await first.kill()
    await world.start_controller()
    await world.until(lambda: world.weights()[1] == 0, within=30)
    await world.pass_(60)
    assert world.weights()[1] == 0
    assert "Berln" in str(world.status()["conditions"])
    await world.edit(steps=[{"weight": 20, "hold": "1h"}])
    await world.until(lambda: world.weights() == (80, 20), within=60)


async def test_a_successor_ends_what_is_asked_to_end(world: World) -> None:
    """An abort is heard and answered."""
    first = await at_ten(world)
    await world.edit(steps=UNREADABLE)
    await first.kill()
    await world.ask("abort")
    await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid", within=30)
    assert world.status()["run"]["outcome"] == "RolledBack"
    assert world.weights() == (1, 0)
    assert world.pending_request() is None
    assert world.request()["outcome"] == "Done"


@pytest.mark.sandbox_only("one route refuses to be written")
async def test_a_verdict_is_carried_out_on_every_route(world: World) -> None:
    """One route was written back before the controller died, the other was not."""
    pair = [backend("stable", 1), backend("canary", 0)]
    routes = [route_document("shop", rule(*pair)), route_document("api", rule(*pair))]
    first = await world.begin(
        *routes, routes=[{"name": "shop"}, {"name": "api"}], steps=STEPS, checks=[check(interval="1s")]
    )
    await world.deploy(2)
    await world.until(lambda: world.weights("api") == (90, 10) and world.weights() == (90, 10))
    await world.pass_(5)
    refusing = world.api.faults.add(
        Fault(verb="patch", resource="httproutes", name="api", namespace=world.namespace, status=500, times=None)
    )
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.weights() == (1, 0) and world.status()["run"].get("outcome") == "RolledBack")
    assert world.weights("api") == (90, 10)
    await world.edit(steps=UNREADABLE)
    await first.kill()
    world.api.faults.remove(refusing)
    await world.start_controller()
    await world.until(lambda: world.weights("api") == (1, 0), within=30)
    await world.until(lambda: world.phase() == "Invalid", within=60)
    assert world.status()["run"]["outcome"] == "RolledBack"


CRD = "rollouts.canary.dev"


@asynccontextmanager
async def relaxed(world: World, *path: str) -> AsyncIterator[None]:
    """Definitions of a newer version, by which a field may have values that this one does not take."""
    document = await world.admin.get(CRDS, CRD)
    versions = copy.deepcopy(document["spec"]["versions"])
    for version in versions:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        field = reduce(lambda schema, name: schema["items"] if name == "[]" else schema["properties"][name], path, spec)
        for limit in ("enum", "pattern"):
            field.pop(limit, None)
    await world.admin.merge_patch(CRDS, CRD, None, {"spec": {"versions": versions}})
    try:
        yield
    finally:
        before = {"spec": {"versions": document["spec"]["versions"]}}
        await world.admin.merge_patch(CRDS, CRD, None, before)


async def edit_as_newer(world: World, **spec: Any) -> None:
    """An API server may take a moment to go by a definition."""
    for _ in range(100):
        try:
            await world.edit(**spec)
        except CanaryError:
            await asyncio.sleep(0.05)
        else:
            return
    await world.edit(**spec)


async def test_a_promotion_that_cannot_be_read_is_none_that_was_declared(world: World) -> None:
    """A run that waits for stable goes on waiting, by a controller that has just begun too; stable stays as it is, until somebody ends the run."""
    async with relaxed(world, "promotion"):
        steps = [{"weight": 100, "hold": "2s"}]
        first = await world.begin(steps=steps, checks=[check(interval="1s")], promotion="Await")
        await world.deploy(2)
        await world.until(lambda: world.phase() == "Promoting")
        before = world.image("stable")
        await edit_as_newer(world, promotion="Later")
        await first.kill()
        await world.start_controller()
        await world.pass_(300, pace=5)
        assert (world.phase(), world.image("stable"), world.weights()) == ("Promoting", before, (0, 100))
        assert "nothing is promoted before that can be read" in world.message()
        await world.ask({"id": "one", "verb": "promote", "by": "alice"})
        await world.until(lambda: world.request().get("id") == "one", within=30)
        assert world.request()["outcome"] == "Refused"
        world.provider.answers["errors"] = 0.5
        await world.until(lambda: world.weights() == (1, 0), within=60)
        assert world.image("stable") == before


@pytest.mark.parametrize("how", ["abort", "delete"])
@pytest.mark.parametrize("lost", ["a kind of route", "the pair", "all routes"])
async def test_a_successor_ends_a_run_by_its_record(world: World, lost: str, how: str) -> None:
    """What the run is on cannot be read: the routes and the status say that, too. The traffic goes back at once, nothing is left behind."""
    nonsense: dict[str, Any] = {
        "a kind of route": {"routes": [{"name": "shop"}, {"name": "more", "kind": "QUICRoute"}]},
        "the pair": {"stable": {"service": "stable", "port": 80, "namespace": "Not_A_Name"}},
        "all routes": {"routes": [{"name": "shop", "kind": "QUICRoute"}]},
    }[lost]
    async with relaxed(world, "routes", "[]", "kind"), relaxed(world, "stable", "namespace"):
        first = await at_ten(world)
        await edit_as_newer(world, **nonsense)
        await first.kill()
        await world.start_controller()
        if how == "delete":
            await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
            await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=120)
        else:
            await world.ask({"id": "one", "verb": "abort", "by": "alice"})
            await world.until(lambda: world.request().get("id") == "one", within=30)
            assert world.request()["outcome"] == "Done"
            await world.until(lambda: world.phase() == "Invalid", within=60)
            assert world.status()["run"]["outcome"] == "RolledBack"
        assert world.weights() == (1, 0)
        assert run_annotation("shop") not in (world.route()["metadata"].get("annotations") or {})


VERBS = {
    "abort": "no run is active",
    "pause": "no run is active",
    "resume": "no run is paused",
    "promote": "no run is active",
    "promote-full": "no run is active",
    "start": "the Rollout is invalid: spec.steps[1].gate.window",
    "retry": "the Rollout is invalid: spec.steps[1].gate.window",
    "dance": "there is no verb 'dance'; there are: start, ",
}


@pytest.mark.parametrize("knew", [True, False], ids=["knew it before", "never knew it"])
async def test_whoever_asks_at_rest_is_answered(world: World, knew: bool) -> None:
    """Once each, with an Event and in the status, and the request goes; by a plain word, and by one with an id."""
    if knew:
        await world.begin(steps=STEPS)
        await world.edit(steps=UNREADABLE)
    else:
        await world.furnish()
        await world.declare(steps=UNREADABLE)
        await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid")
    for verb, words in VERBS.items():
        for request in (verb, {"id": f"{verb}-1", "verb": verb, "by": "alice"}):
            before = world.request().get("id")
            await world.ask(request)
            await world.until(
                lambda before=before: world.request().get("id") != before and world.pending_request() is None, within=30
            )
            last = world.request()
            assert (last["verb"], last["outcome"], words in last["message"]) == (verb, "Refused", True), last
    told = [event["message"] for event in await world.events() if event["reason"] == "RequestRefused"]
    assert len(told) == 2 * len(VERBS)
    assert "abort by alice: refused: no run is active" in told
    await world.pass_(60)
    assert (world.phase(), world.untouched(), world.run_number()) == ("Invalid", True, 0)
    assert "Berln" in world.message()


async def test_a_request_is_answered_once_whatever_fails(world: World) -> None:
    """The controller dies between the answer and the taking away; its successor takes it away, and does not answer anew."""

    def cut(_index: int, request: Any) -> str:
        return "after" if request.resource == "rollouts/status" and "lastRequest" in str(request.body) else ""

    await world.furnish()
    await world.declare(steps=UNREADABLE)
    first = await world.start_controller(cut=cut)
    await world.until(lambda: world.phase() == "Invalid")
    await world.ask({"id": "one", "verb": "abort", "by": "alice"})
    await world.until(lambda: world.request().get("id") == "one")
    assert first.dead
    assert world.pending_request() is not None
    await world.start_controller()
    await world.until(lambda: world.pending_request() is None, within=30)
    assert (await world.reasons()).count("RequestRefused") <= 1
