"""An edit of one Rollout names rules on which another one's run is: nothing of that run is touched, and nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
from controller_kit import World, backend, pair_weights, route_document, rule

from canary.kube import HTTPROUTES, ROLLOUTS
from canary.routes.intent import run_annotation

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
STEPS = [{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "1h"}]


def two_rules() -> Json:
    return route_document(
        "shop",
        *(
            rule(
                backend("stable", 100),
                backend("canary", 0),
                name=name,
                matches=[{"path": {"type": "Exact", "value": f"/{name}"}}],
            )
            for name in ("a", "b")
        ),
    )


def shares(world: World) -> tuple[int, ...]:
    return tuple(pair_weights(one)[1] for one in world.route()["spec"]["rules"])


def elder(world: World, *names: str) -> str:
    """Who was there first: times of creation are whole seconds, and then the name says it."""
    found = [(world.find(ROLLOUTS, name) or {})["metadata"]["creationTimestamp"] for name in names]
    return min(zip(found, names, strict=True))[1]


async def both_at_50(world: World, one: str, two: str) -> None:
    """Two runs on one route, each on a rule of its own, with the same pair."""
    await world.furnish(two_rules())
    for name, mine in ((one, "a"), (two, "b")):
        await world.declare(name, routes=[{"name": "shop", "rules": [mine]}], workloads=None, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: {world.phase(one), world.phase(two)} == {"Idle"})
    for name in (one, two):
        await world.ask("start", name=name)
    await world.until(lambda: shares(world) == (50, 50) and world.step(one) == world.step(two) == 2)


ROLES = pytest.mark.parametrize(("one", "two"), [("amy", "bob"), ("bob", "amy")])
EDITS = pytest.mark.parametrize("rules", [None, ["a", "b"], ["b"]], ids=["all rules", "both rules", "the other rule"])


@ROLES
@EDITS
async def test_a_rule_of_anothers_run_is_left_as_it_is(
    world: World, one: str, two: str, rules: list[str] | None
) -> None:
    """Whoever was edited ends, says who has the rule, and begins of itself once the other run is over."""
    await both_at_50(world, one, two)
    await world.edit(one, routes=[{"name": "shop", **({"rules": rules} if rules else {})}])
    await world.until(lambda: world.phase(one) == "Invalid")
    await world.pass_(15)
    assert shares(world) == (0, 50)
    assert world.status(one)["run"]["reason"] == ("Superseded" if rules == ["b"] else "PlanChanged")
    assert f"Rollout {two} drives rule b of HTTPRoute shop already" in world.message(one)
    assert (world.phase(two), world.step(two), world.status(two).get("paused")) == ("Progressing", 2, None)
    await world.ask("abort", name=two)
    await world.until(lambda: {world.phase(one), world.phase(two)} == {"RolledBack", "Invalid"}, within=100)
    assert shares(world) == (0, 0)
    if elder(world, one, two) == two:
        assert world.phase(one) == "Invalid", "at rest a rule is of who was there first"
        await world.gitops.delete(ROLLOUTS, two, world.namespace)
        await world.until(lambda: world.phase(one) == "RolledBack", within=100)
    await world.ask("start", name=one)
    rising = (0, 50) if rules == ["b"] else (50, 50)
    await world.until(lambda: shares(world) == rising and world.step(one) == 2, within=100)


@ROLES
@pytest.mark.parametrize("end", ["abort", "delete", "fails"])
async def test_who_waits_hears_of_the_end(world: World, one: str, two: str, end: str) -> None:
    """However the other run ends, and by whomever our watch is told of it."""
    await both_at_50(world, one, two)
    await world.edit(one, routes=[{"name": "shop"}])
    await world.until(lambda: world.phase(one) == "Invalid")
    first = elder(world, one, two)
    if end == "abort":
        await world.ask("abort", name=two)
    elif end == "delete":
        await world.gitops.delete(ROLLOUTS, two, world.namespace)
    else:
        world.provider.answers["errors"] = 0.5
    stands = "Invalid" if end != "delete" and first == two else "RolledBack"
    await world.until(lambda: not world.status(two).get("split", {}).get("written"), within=100)
    await world.until(lambda: world.phase(one) == stands and "by the annotation" not in world.message(one), within=100)
    assert shares(world) == (0, 0)
    assert not any(name.startswith("run.canary.dev/") for name in world.route()["metadata"].get("annotations") or {})


@ROLES
async def test_what_ends_the_edited_run_leaves_it_as_well(world: World, one: str, two: str) -> None:
    """In the same moment somebody aborts it: the rollback is of its own rule."""
    await both_at_50(world, one, two)
    await world.ask("abort", name=one)
    await world.edit(one, routes=[{"name": "shop"}])
    await world.until(lambda: shares(world)[0] == 0)
    await world.pass_(15)
    assert shares(world) == (0, 50)
    assert (world.phase(two), world.step(two)) == ("Progressing", 2)


@ROLES
@pytest.mark.parametrize("step", ["weight", "mirror"])
async def test_a_route_of_anothers_run_is_left_as_it_is(world: World, one: str, two: str, step: str) -> None:
    """Git adds the route on which another run is, and that goes on to its next step."""
    await world.furnish(route_document("shop"), route_document("other"))
    theirs: list[Json] = (
        [{"mirror": {"percent": 50, "allowUnsafeMethods": True}, "hold": "20s"}]
        if step == "mirror"
        else [{"weight": 10, "hold": "20s"}]
    )
    await world.declare(one, routes=[{"name": "shop"}], workloads=None, steps=STEPS)
    await world.declare(two, routes=[{"name": "other"}], workloads=None, steps=[*theirs, {"weight": 50, "hold": "1h"}])
    await world.start_controller()
    await world.until(lambda: {world.phase(one), world.phase(two)} == {"Idle"})
    for name in (one, two):
        await world.ask("start", name=name)
    await world.until(lambda: world.step(one) == world.step(two) == 1)
    await world.edit(one, routes=[{"name": "shop"}, {"name": "other"}])
    await world.until(lambda: world.phase(one) == "Invalid")
    await world.until(lambda: world.weights("other")[1] > 0 and world.step(two) == 2, within=120)
    assert world.weights("shop")[1] == 0
    assert run_annotation(one) not in world.route("other")["metadata"]["annotations"]
    found = await world.admin.get(HTTPROUTES, "other", world.namespace)
    assert pair_weights(found["spec"]["rules"][0])[1] == pair_weights(found["spec"]["rules"][0])[0]
