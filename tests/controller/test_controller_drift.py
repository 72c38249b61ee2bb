"""Promise 5: a human's hand wins downward; what others raise is put back, until it is contested."""

from __future__ import annotations

from typing import Any

import pytest
from controller_kit import ControllerInstance, World, backend, check, clean, route_document, rule

from canary.kube import HTTPROUTES, ROLLOUTS
from canary.routes.intent import run_annotation

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "30m"}, {"weight": 100, "hold": "5m"}]


async def at_fifty(world: World, *routes: dict[str, Any]) -> ControllerInstance:
    instance = await world.begin(*routes, steps=LONG, checks=[check(interval="60s")])
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and bool(world.status()["step"].get("reachedAt")), pace=10)
    return instance


async def test_somebody_lowers_the_share(world: World) -> None:
    """A share lowered by hand stays as it is, the run is paused, and the status names who did it."""
    await at_fifty(world)
    await world.set_weights(world.alice, 95, 5)
    await world.until(lambda: world.phase() == "Paused", within=5)
    assert world.status()["paused"]["reason"] == "LoweredByHand"
    assert "alice" in world.message()
    assert "from 50 % to 5 %" in world.message()
    await world.pass_(600, pace=60)
    assert world.weights() == (95, 5)
    assert world.phase() == "Paused"
    assert world.condition("Stalled")["status"] == "True"
    assert "LoweredByHand" in await world.reasons()


async def test_lowered_to_nothing_and_resumed(world: World) -> None:
    """After `resume` the run enters the step again with its own weight, and ends as usual."""
    await at_fifty(world)
    await world.set_weights(world.alice, 100, 0)
    await world.until(lambda: world.phase() == "Paused", within=5)
    await world.ask("resume")
    await world.until(lambda: world.phase() == "Progressing" and world.weights() == (50, 50), within=5)
    assert world.request()["outcome"] == "Done"
    await world.until(lambda: world.phase() == "Succeeded", within=3000, pace=60)


async def test_lowered_by_hand_and_aborted(world: World) -> None:
    """`abort` of a run that was lowered by hand restores the weights of before it."""
    await at_fifty(world)
    await world.set_weights(world.alice, 95, 5)
    await world.until(lambda: world.phase() == "Paused", within=5)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=100)
    assert world.weights() == (1, 0)


async def test_somebody_raises_the_share(world: World) -> None:
    """A share raised by a GitOps sync is put back at once, and an Event names the field manager."""
    await at_fifty(world)
    await world.set_weights(world.gitops, 0, 100)
    await world.until(lambda: world.weights() == (50, 50), within=2)
    assert world.phase() == "Progressing"
    await world.settle()
    raised = [event for event in await world.events() if event["reason"] == "RaisedByOther"]
    assert len(raised) == 1
    assert "gitops" in raised[0]["message"]
    assert "to 100 %" in raised[0]["message"]


async def test_the_third_fight_is_the_last(world: World) -> None:
    """After three raises within ten minutes the run stays where it is, at the lower weight, until `resume`."""
    await at_fifty(world)
    for count in (1, 2, 3):
        await world.set_weights(world.gitops, 0, 100)
        await world.until(
            lambda count=count: len(world.status().get("overrides", [])) == count or world.phase() == "Paused"
        )  # type: ignore[misc]
        await world.until(lambda: world.weights() == (50, 50), within=5)
        await world.pass_(60)
    assert world.phase() == "Paused"
    assert world.condition("Contested")["status"] == "True"
    before = len(world.writes())
    for _ in range(6):
        await world.set_weights(world.gitops, 0, 100)
        await world.pass_(11)
        assert world.weights() == (50, 50)
    spent = [entry for entry in world.writes()[before:] if entry.resource == "httproutes"]
    assert len(spent) == 6, "the lower weight is kept, at a pace that fights nobody to death"
    assert world.phase() == "Paused"
    await world.ask("resume")
    await world.until(lambda: world.phase() == "Progressing", within=10)
    await world.until(lambda: world.phase() == "Succeeded", within=3600, pace=60)


async def test_fights_far_apart_are_no_contest(world: World) -> None:
    """Raises more than ten minutes apart are each put back."""
    await at_fifty(world)
    for _ in range(4):
        await world.set_weights(world.gitops, 0, 100)
        await world.until(lambda: world.weights() == (50, 50), within=5)
        await world.pass_(301, pace=30)
    assert world.phase() == "Progressing"


async def test_the_annotation_alone_is_taken_away(world: World) -> None:
    """A sync that prunes our annotation but keeps the weights does not derail the run."""
    await at_fifty(world)
    patch = {"metadata": {"annotations": {run_annotation("shop"): None}}}
    await world.gitops.merge_patch(HTTPROUTES, "shop", world.namespace, patch)
    await world.until(lambda: world.intent() is not None, within=5)
    assert world.weights() == (50, 50)
    await world.until(lambda: world.phase() == "Succeeded", within=3600, pace=60)


async def test_strangers_may_edit_the_rest_of_the_route(world: World) -> None:
    """Whoever adds a rule during a run finds it there afterwards, untouched, and our named rule as it was before."""
    await at_fifty(world, route_document("shop", rule(name="shop")))
    rules = [
        rule(backend("other", 3), matches=[{"path": {"type": "PathPrefix", "value": "/new"}}]),
        *world.route()["spec"]["rules"],
    ]
    await world.set_rules(world.alice, *rules)
    await world.until(lambda: world.phase() == "Succeeded", within=3600, pace=60)
    first, second = world.route()["spec"]["rules"]
    assert first["backendRefs"][0]["weight"] == 3
    assert [ref["weight"] for ref in second["backendRefs"]] == [1, 0]


async def test_the_pair_is_taken_out_of_the_route(world: World) -> None:
    """Whoever takes our backends out of the route has the last word: paused, named, nothing written."""
    await at_fifty(world)
    before = len(world.writes())
    await world.set_rules(world.alice, rule(backend("stable", 1)))
    await world.until(lambda: world.phase() == "Paused", within=5)
    assert "alice took the pair out" in world.message()
    assert not [entry for entry in world.writes()[before:] if entry.resource == "httproutes"]


async def test_what_stands_in_a_filter_may_be_any_text(world: World) -> None:
    """A run goes through, and back, on a route whose backends carry texts that JSON can spell in several ways."""
    header = {"name": "x-note", "value": "R&D <été> → 日本"}
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [header]}}]
    rules = [rule(backend("stable", 1, filters=filters), backend("canary", 0, filters=filters))]
    await world.begin(route_document("shop", *rules))
    await world.deploy(2)
    await world.until(lambda: world.weights() == (50, 50))
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.weights() == (1, 0)
    assert world.route()["spec"]["rules"][0]["backendRefs"][0]["filters"] == filters
    assert list(clean(world)) == []


@pytest.mark.parametrize("end", ["abort", "delete"])
async def test_a_rule_that_goes_by_another_name_is_put_back_all_the_same(world: World, end: str) -> None:
    """Somebody renames one of two rules in the middle of a run: it holds where it is, and its end takes both back."""
    declared = [{"name": "shop", "rules": ["checkout", "pay"]}]
    rules = [rule(backend("stable", 1), backend("canary", 0), name=name) for name in ("checkout", "pay")]
    await world.begin(route_document("shop", *rules), steps=LONG, checks=[check(interval="60s")], routes=declared)
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and bool(world.status()["step"].get("reachedAt")), pace=10)
    renamed = [
        {**each, "name": name} for each, name in zip(world.route()["spec"]["rules"], ("checkout", "pay2"), strict=True)
    ]
    await world.set_rules(world.alice, *renamed)
    await world.until(lambda: "no rule named 'pay'" in world.message(), within=5)
    assert world.phase() == "Progressing"
    assert "held at 50 %" in world.message()
    assert world.status()["split"]["written"] == 50
    if end == "abort":
        await world.ask("abort")
        await world.until(
            lambda: world.status().get("run", {}).get("outcome") == "RolledBack" and not world.intent(), within=100
        )
    else:
        await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
        await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=5)
    weights = [[ref.get("weight") for ref in each["backendRefs"]] for each in world.route()["spec"]["rules"]]
    assert weights == [[1, 0], [1, 0]]


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "holding"])
async def test_what_was_put_back_and_accepted_is_not_waited_for(world: World, paused: bool) -> None:
    """The record of a rise that was put back is of before the gateway had answered; nothing else may follow it for hours."""
    await world.begin(steps=[{"weight": 10, "hold": "1h"}, {"weight": 50}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["routes"][0].get("accepted")))
    if paused:
        await world.set_weights(world.alice, 100, 0)
        await world.until(lambda: world.phase() == "Paused")
    await world.pass_(3)
    await world.set_weights(world.alice, 50, 50)
    await world.until(lambda: world.weights()[1] == (0 if paused else 10))
    await world.pass_(10)
    found = world.status()["routes"][0]
    assert (found.get("accepted"), found.get("message", "")) == (True, "")
    assert world.condition("RoutesAccepted")["status"] == "True"
    before = len(world.writes())
    await world.pass_(60)
    assert not [entry for entry in world.writes()[before:] if entry.resource != "leases"]
