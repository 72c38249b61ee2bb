"""Argo CD and Flux beside a run: they apply the route from Git every few seconds, and neither side flaps (promises 2, 3 and 5)."""

from __future__ import annotations

from typing import Any

import pytest
from controller_kit import RUN_ANNOTATION, World, clean, pair_weights, route_document, rule
from gitops_kit import (
    GET,
    SHORT,
    TOOLS,
    GitOpsTool,
    applies_without_force,
    at_ten,
    beside,
    in_git,
    live_rules,
    live_weights,
    seen,
    shares,
    written,
)

from canary.kube import HTTPROUTES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", TOOLS)
async def test_the_weights_of_git_are_a_hand_that_lowers(world: World, name: str) -> None:
    """A tool that was told nothing takes the weight away once; the run waits for a person, and nobody writes any more."""
    tool = GitOpsTool(world, name, in_git())
    await at_ten(world, tool)
    since, writes = seen(world), len(world.writes())
    await tool.beside(30)
    assert world.phase() == "Paused"
    assert world.status()["paused"]["reason"] == "LoweredByHand"
    assert f"{tool.manager} changed the canary's share" in world.message()
    assert shares(world, since) == [0]
    assert written(world, writes) == 0
    await world.ask("resume")
    await world.until(lambda: world.phase() == "Progressing" and world.weights() == (90, 10), within=5)
    since = seen(world)
    await tool.beside(30)
    assert (world.phase(), shares(world, since)) == ("Paused", [0])
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    writes, since = len(world.writes()), seen(world)
    await tool.beside(30)
    assert (written(world, writes), shares(world, since)) == (0, [])
    assert world.weights() == (1, 0)
    assert list(clean(world)) == []
    await applies_without_force(world, tool)


@pytest.mark.parametrize("name", TOOLS)
async def test_a_weight_that_git_leaves_out_is_one(world: World, name: str) -> None:
    """A commit without weights gives the canary half at each sync: put back three times at once, and then the pace slows."""
    tool = GitOpsTool(world, name, in_git())
    await at_ten(world, tool)
    writes = len(world.writes())
    tool.git = in_git(None, None)
    for count in (1, 2, 3):
        since = seen(world)
        await tool.sync()
        await world.settle()
        assert shares(world, since) == [50, 10], "put back in the same moment"
        assert len(world.status()["overrides"]) == count
        await world.pass_(3)
    assert world.phase() == "Paused"
    assert world.condition("Contested")["status"] == "True"
    assert tool.manager in world.message()
    assert written(world, writes) == 3
    writes, since = len(world.writes()), seen(world)
    await tool.beside(60)
    assert written(world, writes) <= 6
    assert set(shares(world, since)) == {10, 50}
    await world.pass_(10)
    assert world.weights() == (90, 10), "the lower of the two stays"
    assert world.phase() == "Paused"


async def test_no_run_begins_beside_a_git_without_weights(world: World) -> None:
    """Half of the users are on the canary at rest: the new revision waits, and the message says for what."""
    tool = GitOpsTool(world, "kustomize-controller", in_git(None, None))
    await beside(world, tool)
    await world.deploy(2)
    await tool.beside(30)
    assert "gives the canary 50 % at rest; no run begins before its weight there is 0" in world.message()
    assert world.untouched()


@pytest.mark.parametrize("name", TOOLS)
async def test_a_rollback_is_not_given_traffic_for_longer_than_a_write(world: World, name: str) -> None:
    """Until the gateway has accepted it, each sync is answered in the same moment; at rest the route is its owner's, and shown."""
    tool = GitOpsTool(world, name, in_git())
    await at_ten(world, tool)
    world.gateway.delay = 20
    await world.ask("abort")
    await world.until(lambda: world.weights() == (1, 0), within=2)
    tool.git = in_git(None, None)
    for _ in range(5):
        assert world.phase() == "RollingBack"
        since, writes = seen(world), len(world.writes())
        await tool.sync()
        await world.settle()
        assert shares(world, since) == [50, 0]
        assert written(world, writes) == 1
        await world.pass_(3)
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    assert list(clean(world)) == []
    writes = len(world.writes())
    await tool.beside(30)
    assert written(world, writes) == 0
    assert world.weights() == (1, 1), "so it is in Git"
    said = [event["message"] for event in await world.events() if event["reason"] == "CanaryHasTraffic"]
    (text,) = said
    assert f"{tool.manager} gives the canary 50 %" in text
    assert "was rolled back" in text
    await applies_without_force(world, tool)


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
@pytest.mark.parametrize("name", TOOLS)
async def test_a_tool_that_leaves_the_rules_alone_is_not_noticed(world: World, name: str, good: bool) -> None:
    """Argo CD as docs/gitops.md has it: a run through mirror and weights, to its end or back, as if nobody synced."""
    tool = GitOpsTool(world, name, in_git(), live_rules)
    await beside(world, tool, steps=SHORT)
    since = seen(world)
    await world.deploy(2)
    await tool.beside(15)
    assert world.weights() == (90, 10)
    world.provider.answers["errors"] = 0.0 if good else 0.5
    await tool.beside(75, every=5)
    assert world.phase() == ("Succeeded" if good else "RolledBack")
    assert shares(world, since) == ([0, 10, 50, 100, 0] if good else [0, 10, 0])
    assert not {"LoweredByHand", "RaisedByOther", "Contested"} & set(await world.reasons())
    assert world.weights() == (1, 0)
    assert "filters" not in world.route()["spec"]["rules"][0]
    await applies_without_force(world, tool)


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
async def test_flux_that_ignores_weights_is_not_noticed(world: World, good: bool) -> None:
    """`spec.ignore` with the places of both weights: what else Git changes arrives in the middle of a step."""
    tool = GitOpsTool(world, "kustomize-controller", in_git(), live_weights)
    await beside(world, tool, steps=SHORT[1:])
    since = seen(world)
    await world.deploy(2)
    await tool.beside(6)
    tool.git["spec"]["hostnames"] = ["other.example.org"]
    world.provider.answers["errors"] = 0.0 if good else 0.5
    await tool.beside(75, every=5)
    assert world.phase() == ("Succeeded" if good else "RolledBack")
    assert shares(world, since) == ([10, 50, 100, 0] if good else [10, 0])
    assert world.route()["spec"]["hostnames"] == ["other.example.org"]
    await applies_without_force(world, tool)


@pytest.mark.parametrize("name", TOOLS)
async def test_a_mirror_that_git_does_not_have_is_taken_away_once(world: World, name: str) -> None:
    """The sync takes our filter along; the run says who did it, and puts nothing back before a person says so."""
    tool = GitOpsTool(world, name, in_git())
    await beside(world, tool, steps=[{"mirror": {"percent": 20}, "hold": "1h"}, {"weight": 10}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    assert "filters" in world.route()["spec"]["rules"][0]
    for answer in ("resume", "abort"):
        writes = len(world.writes())
        await tool.beside(30)
        assert world.status()["paused"]["reason"] == "LoweredByHand"
        assert f"{tool.manager} changed the share of requests that is mirrored" in world.message()
        assert "filters" not in world.route()["spec"]["rules"][0]
        assert written(world, writes) == 0
        await world.ask(answer)
        if answer == "resume":
            await world.until(lambda: "filters" in world.route()["spec"]["rules"][0], within=5)
    await world.until(lambda: world.phase() == "RolledBack")
    await tool.beside(15)
    assert list(clean(world)) == []
    await applies_without_force(world, tool)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
@pytest.mark.parametrize("name", TOOLS)
async def test_a_rule_that_a_step_adds(world: World, name: str, told: bool) -> None:
    """A tool that was told nothing takes it away once, and the run waits for a person; one that leaves rules alone is not noticed."""
    tool = GitOpsTool(world, name, in_git(), live_rules if told else None)
    match = [{"headers": [{"name": "x-beta", "value": "yes"}]}]
    await beside(world, tool, steps=[{"match": match, "hold": "20s"}, {"weight": 10, "hold": "1h"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    assert len(world.route()["spec"]["rules"]) == 2
    writes = len(world.writes())
    await tool.beside(30)
    assert len(world.route()["spec"]["rules"]) == 1
    if told:
        assert (world.phase(), world.step(), world.weights()) == ("Progressing", 2, (90, 10))
    else:
        assert world.status()["paused"]["reason"] == "LoweredByHand"
        assert f"{tool.manager} took away the rule for requests that opt in" in world.message()
        assert written(world, writes) == 0
        await world.ask("resume")
        await world.until(lambda: len(world.route()["spec"]["rules"]) == 2, within=5)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await tool.beside(15)
    assert (len(world.route()["spec"]["rules"]), world.weights()) == (1, (1, 0))
    assert list(clean(world)) == []
    await applies_without_force(world, tool)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
@pytest.mark.parametrize("name", TOOLS)
async def test_a_rule_that_was_prepared_for_a_header_step(world: World, name: str, told: bool) -> None:
    """Its share is taken away once by a tool that was told nothing, and by one that leaves weights alone not at all."""
    beta = [{"headers": [{"name": "x-beta", "value": "yes"}], "method": "GET"}]
    git = route_document("shop", rule(matches=GET, name="all"), rule(matches=beta, name="beta"))
    tool = GitOpsTool(world, name, git, live_weights if told else None)
    await beside(
        world, tool, steps=[{"weight": 0, "rules": {"beta": 100}, "hold": "20s"}, {"weight": 10, "hold": "1h"}]
    )
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    writes = len(world.writes())
    await tool.beside(30)
    all_, prepared = (pair_weights(one) for one in world.route()["spec"]["rules"])
    if told:
        assert (world.phase(), world.step()) == ("Progressing", 2)
        assert (all_, prepared) == ((90, 10), (0, 100))
    else:
        assert world.status()["paused"]["reason"] == "LoweredByHand"
        assert (all_, prepared) == ((1, 0), (1, 0))
        assert written(world, writes) == 0
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await tool.beside(6)
    assert [pair_weights(one) for one in world.route()["spec"]["rules"]] == [(1, 0), (1, 0)]
    await applies_without_force(world, tool)


@pytest.mark.parametrize("name", TOOLS)
async def test_a_sync_that_began_before_a_step_lowers_it(world: World, name: str) -> None:
    """It had read 10 % when the run went to 50 %: what it writes then is less, and nobody raises against it."""
    tool = GitOpsTool(world, name, in_git(), live_rules)
    await at_ten(world, tool, steps=[{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "1h"}])
    old = await tool.live()
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
    await world.settle()
    writes = len(world.writes())
    await tool.sync(old)
    await tool.beside(60)
    assert world.phase() == "Paused"
    assert world.weights() == (90, 10)
    assert written(world, writes) == 0


@pytest.mark.parametrize("name", TOOLS)
async def test_a_sync_that_began_before_a_rollback_is_put_back(world: World, name: str) -> None:
    """It had read 10 % when the run failed: the failed canary has that for one write, as long as the rollback is under way."""
    tool = GitOpsTool(world, name, in_git(), live_rules)
    await at_ten(world, tool)
    old = await tool.live()
    world.gateway.delay = 20
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RollingBack" and world.weights() == (1, 0))
    since = seen(world)
    await world.settle()
    await tool.sync(old)
    await world.settle()
    assert shares(world, since) == [10, 0]
    await tool.beside(60)
    assert world.phase() == "RolledBack"
    assert world.weights() == (1, 0)
    await applies_without_force(world, tool)


async def test_who_lowered_the_share_is_not_the_tool_that_kept_it(world: World) -> None:
    """A person lowers the share beside a tool that leaves it alone: hers is the name, and hers is the weight that stays."""
    tool = GitOpsTool(world, "argocd-controller", in_git(), live_rules)
    await at_ten(world, tool)
    await tool.beside(6)
    await world.set_weights(world.alice, 95, 5)
    await tool.beside(60)
    assert world.phase() == "Paused"
    assert "alice changed the canary's share on HTTPRoute shop from 10 % to 5 %" in world.message()
    assert world.weights() == (95, 5)


async def test_a_sync_that_prunes_the_route_ends_in_words(world: World) -> None:
    """Git has no route any more: the run says so, and what comes back later is what Git says then."""
    tool = GitOpsTool(world, "kustomize-controller", in_git())
    await at_ten(world, tool)
    await world.gitops.delete(HTTPROUTES, "shop", world.namespace)
    await world.until(lambda: world.phase() == "Invalid", pace=10)
    assert "there is no HTTPRoute shop" in world.message()
    await tool.beside(15)
    assert (world.phase(), world.weights()) == ("RolledBack", (1, 0))
    await applies_without_force(world, tool)


def _exported(world: World) -> dict[str, Any]:
    """The route as it is in the middle of a run, as somebody exports it into Git: with canary's annotation."""
    live = world.route()
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": "shop", "annotations": {RUN_ANNOTATION: live["metadata"]["annotations"][RUN_ANNOTATION]}},
        "spec": live["spec"],
    }


@pytest.mark.parametrize("name", TOOLS)
async def test_an_export_with_our_annotation_is_put_back_at_a_pace(world: World, name: str) -> None:
    """At rest: three times at once and with an Event, then every ten seconds at most. Without the annotation it is the owner's."""
    tool = GitOpsTool(world, name, in_git())
    await at_ten(world, tool)
    tool.git = _exported(world)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    writes, since = len(world.writes()), world.clock.now()
    await tool.beside(120)
    assert (world.clock.now() - since).total_seconds() >= 120
    told = [event["message"] for event in await world.events() if event["reason"] == "LeftoverRestored"]
    assert (len(told), "take it out of what is applied" in told[-1]) == (3, True)
    routes = [entry for entry in world.writes()[writes:] if entry.resource == "httproutes"]
    assert 3 <= len(routes) <= 2 * (3 + 12 + 1), "each time the weights, and the ownership by itself"
    await world.pass_(15)
    assert (world.weights()[1], world.intent()) == (0, None)


@pytest.mark.parametrize("name", TOOLS)
async def test_an_export_of_an_earlier_step_is_a_hand_that_lowers(world: World, name: str) -> None:
    """In a run: what it says of the run is not believed, and what it gives the canary is less, so a person is asked."""
    tool = GitOpsTool(world, name, in_git())
    await at_ten(world, tool, steps=[{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "1h"}])
    tool.git = _exported(world)
    await world.until(lambda: world.weights() == (50, 50), within=60)
    since = seen(world)
    await tool.beside(30)
    assert (world.phase(), world.status()["paused"]["reason"]) == ("Paused", "LoweredByHand")
    assert set(shares(world, since)) == {10}
