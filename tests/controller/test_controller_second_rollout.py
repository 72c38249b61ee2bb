"""A second Rollout on a rule of which a run has hold: it begins nothing there, whether the first can be read, is listed, or is known."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from controller_kit import CONTROLLER, REAL_SECONDS, World, backend, check, pair_weights, route_document, rule

from canary.controller.resync import LATE, Resync
from canary.kube import HTTPROUTES, ROLLOUTS
from canary.routes.intent import run_annotation
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS: list[dict[str, Any]] = [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}]
MIRRORING: list[dict[str, Any]] = [
    {"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "1h"},
    {"weight": 50, "hold": "1h"},
]
NOWHERE = {"window": {"from": "08:00", "to": "17:00", "timezone": "Europe/Berln"}}


def unreadable(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [steps[0], {**steps[1], "gate": NOWHERE}]


def shares(world: World) -> list[int]:
    """What the canary was ever given on the route, in order."""
    return [
        pair_weights(version["spec"]["rules"][0])[1]
        for version in world.records.versions["httproutes"]
        if version["metadata"]["name"] == "shop"
    ]


async def second_is_refused(world: World, *words: str) -> None:
    """Somebody starts the second Rollout, and learns why that does not go."""
    before = world.request("younger").get("id")
    await world.ask({"id": f"start-{len(world.writes())}", "verb": "start", "by": "bob"}, name="younger")
    await world.until(lambda: world.request("younger").get("id", before) != before, within=30)
    last = world.request("younger")
    assert last["outcome"] == "Refused", last
    assert all(word in last["message"] for word in words), last["message"]
    assert world.run_number("younger") == 0


@pytest.mark.sandbox_only("one route refuses to be written")
async def test_while_an_unreadable_run_rolls_back_and_after_it(world: World) -> None:
    """The failed canary gets nothing from anybody: one route is back, the other cannot be written yet; nor once both are."""
    pair = [backend("stable", 1), backend("canary", 0)]
    await world.furnish(route_document("shop", rule(*pair)), route_document("api", rule(*pair)))
    await world.declare(
        routes=[{"name": "shop"}, {"name": "api"}], steps=STEPS, checks=[check(interval="1s")], trigger="Manual"
    )
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.ask("start")
    await world.deploy(2)
    await world.until(lambda: world.weights() == world.weights("api") == (90, 10) and "holding" in world.message())
    await world.declare("younger", steps=[{"weight": 40, "hold": "1h"}], trigger="Manual")
    await world.until(lambda: world.phase("younger") == "Invalid")
    await world.edit(steps=unreadable(STEPS))
    await world.until(lambda: "Berln" in str(world.status()["conditions"]))
    await second_is_refused(world, "Rollout shop drives rule #0")
    refusing = world.api.faults.add(
        Fault(
            verb="patch",
            resource="httproutes",
            name="api",
            namespace=world.namespace,
            user=CONTROLLER,
            status=500,
            times=None,
        )
    )
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.weights() == (1, 0) and world.phase() == "RollingBack", within=60)
    await second_is_refused(world, "Rollout shop drives rule #0")
    world.api.faults.remove(refusing)
    await world.until(lambda: world.weights("api") == (1, 0) and world.phase() in {"RolledBack", "Invalid"}, within=60)
    await world.pass_(10)
    await second_is_refused(world, "Rollout shop drives rule #0")
    assert shares(world)[-1] == 0
    assert max(shares(world)) == 10
    told = [event["message"] for event in await world.events() if event["reason"] == "TrafficAtRest"]
    assert told == []


async def test_beside_an_unreadable_run_that_mirrors(world: World) -> None:
    """At weight 0 the rule looks as if nobody had it."""
    await world.begin(steps=MIRRORING, checks=[check(interval="1s")])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and "mirroring" in world.message())
    await world.declare("younger", steps=[{"weight": 40, "hold": "1h"}], trigger="Manual")
    await world.until(lambda: world.phase("younger") == "Invalid")
    await world.edit(steps=unreadable(MIRRORING))
    await world.until(lambda: "Berln" in world.message())
    await second_is_refused(world, "Rollout shop drives rule #0")
    assert max(shares(world)) == 0


async def test_before_the_first_is_listed(world: World) -> None:
    """The route says whose run is on the rule. It goes on saying so until that run is over."""
    await world.furnish()
    await world.declare(steps=MIRRORING, checks=[check(interval="1s")])
    first = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and "mirroring" in world.message())
    await world.declare("younger", steps=[{"weight": 40, "hold": "1h"}], trigger="Manual")
    await world.until(lambda: world.phase("younger") == "Invalid")
    await first.kill()
    instance = await world.start_controller(rollouts=False)
    following = asyncio.create_task(tell(world, instance.manager, "younger"))
    try:
        await second_is_refused(world, "a run of Rollout shop is on rule #0 of HTTPRoute shop", run_annotation("shop"))
    finally:
        following.cancel()
    await instance.follow_rollouts(world.namespace)
    await world.pass_(5)
    await second_is_refused(world, "Rollout shop drives rule #0")
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=60)
    assert max(shares(world)) == 0


async def tell(world: World, manager: Any, name: str) -> None:
    """A watch that has come to one Rollout and not to the others."""
    known = ""
    while True:
        document = world.rollout(name)
        if document["metadata"]["resourceVersion"] != known:
            known = document["metadata"]["resourceVersion"]
            manager.rollout("MODIFIED", document)
        await asyncio.sleep(0.01)


async def test_a_record_of_nobody_bars_a_rule_until_all_are_listed(world: World) -> None:
    """Whoever forges one, or deletes a Rollout with force, holds others up no longer than that."""
    await world.furnish()
    await world.declare(steps=STEPS, trigger="Manual")
    forged = {
        "rollout": "nobody",
        "uid": "u",
        "run": 1,
        "mode": "step",
        "step": 1,
        "weights": {"#0": "1/0"},
        "baseline": {"#0": "1/0"},
        "pair": f"{world.namespace}/stable:80 {world.namespace}/canary:80",
    }
    annotations = {run_annotation("nobody"): json.dumps(forged), run_annotation("other"): json.dumps(forged)}
    await world.admin.merge_patch(HTTPROUTES, "shop", world.namespace, {"metadata": {"annotations": annotations}})
    instance = await world.start_controller(rollouts=False)
    instance.manager.rollout("ADDED", world.rollout())
    await world.until(lambda: world.phase() == "Invalid")
    assert "a run of Rollout nobody is on rule #0" in world.message()
    counting = Resync(instance.kube, instance.manager, (world.namespace,), world.clock)
    await asyncio.wait_for(counting.listed(), REAL_SECONDS)
    following = asyncio.create_task(tell(world, instance.manager, "shop"))
    try:
        await world.until(lambda: world.phase() == "Idle")
    finally:
        following.cancel()


async def test_a_rollout_that_goes_bars_a_rule_no_more(world: World) -> None:
    """Its finalizer was taken away in mid-run, so its annotation stays; whoever waits for the rule hears that it is gone."""
    await world.furnish()
    await world.declare(steps=MIRRORING, checks=[check(interval="1s")])
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and "mirroring" in world.message())
    await world.declare("younger", steps=[{"weight": 40, "hold": "1h"}], trigger="Manual")
    await world.until(lambda: world.phase("younger") == "Invalid")
    # Both at once: no controller may get between the two.
    world.api.faults.add(
        Fault(
            verb="patch",
            resource="httproutes",
            namespace=world.namespace,
            user=CONTROLLER,
            status=500,
            times=None,
        )
    )
    await world.admin.delete(ROLLOUTS, "shop", world.namespace)
    await world.admin.merge_patch(ROLLOUTS, "shop", world.namespace, {"metadata": {"finalizers": None}})
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None)
    await world.until(lambda: world.phase("younger") == "Idle", within=60)
    assert run_annotation("shop") in world.route()["metadata"]["annotations"]


async def test_those_that_are_late_are_counted_until_they_have_come(world: World) -> None:
    """A start waits for them no longer than patience lasts; that all are known is found out all the same."""
    await world.furnish()
    await world.declare()
    await world.declare("younger", routes=[{"name": "other"}])
    instance = await world.start_controller(rollouts=False)
    counting = Resync(instance.kube, instance.manager, (world.namespace,), world.clock, recount=0.01, patience=0.05)
    running = asyncio.create_task(counting.run())
    try:
        instance.manager.rollout(None, world.rollout())
        await asyncio.wait_for(counting.listed(), REAL_SECONDS)
        await world.pass_(3 * LATE, pace=LATE)
        assert not instance.store.listed
        instance.manager.rollout(None, world.rollout("younger"))
        await world.pass_(2 * LATE, pace=LATE)
        assert instance.store.listed
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
