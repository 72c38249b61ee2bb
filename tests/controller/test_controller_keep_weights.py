"""The component `keep-weights` beside a run: listed tools apply what Git has, and the weights of the run stay; nobody else is in its way."""

from __future__ import annotations

import copy
import json
import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from controller_kit import World, backend, clean, pair_weights, route_document, rule
from gitops_kit import (
    SHORT,
    TOOLS,
    GitOpsTool,
    applies_without_force,
    at_ten,
    beside,
    in_git,
    seen,
    shares,
    written,
)
from keep_weights_kit import BYPASS, LISTED, ask, dry, install, rendered, stored, tool_of, warnings, weights

from canary.errors import Conflict
from canary.kube import HTTPROUTES, ROUTES
from canary.routes.filters import Copied
from canary.routes.identity import rule_key
from canary.routes.intent import Intent, Mode, run_annotation
from canary.routes.pair import Backend, Pair, Weights

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.real_only("the sandbox's API server has no admission policies", since=36),
]

Json = dict[str, Any]

BUSY = {"LoweredByHand", "RaisedByOther", "Contested"}
TEN = Weights(90, 10)


@pytest_asyncio.fixture(loop_scope="module")
async def kept(world: World, tmp_path: Path) -> World:
    """A world with the component, in which two tools are listed."""
    await install(world, rendered(tmp_path))
    return world


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
@pytest.mark.parametrize("name", TOOLS)
async def test_a_tool_that_was_told_nothing_is_not_noticed(kept: World, name: str, good: bool) -> None:
    """A run through mirror and weights, to its end or back, beside a tool that applies 1/0 and no mirror: as if nobody synced."""
    tool = GitOpsTool(kept, name, in_git())
    await beside(kept, tool, steps=SHORT)
    since = seen(kept)
    await kept.deploy(2)
    await tool.beside(6)
    assert "filters" in kept.route()["spec"]["rules"][0]
    await tool.beside(9)
    assert kept.weights() == (90, 10)
    kept.provider.answers["errors"] = 0.0 if good else 0.5
    await tool.beside(75, every=5)
    assert kept.phase() == ("Succeeded" if good else "RolledBack")
    assert shares(kept, since) == ([0, 10, 50, 100, 0] if good else [0, 10, 0])
    assert not BUSY & set(await kept.reasons())
    assert kept.weights() == (1, 0)
    assert "filters" not in kept.route()["spec"]["rules"][0]
    assert list(clean(kept)) == []
    await applies_without_force(kept, tool)


async def test_what_else_git_changes_arrives(kept: World) -> None:
    """A hostname, a timeout and a rule of somebody else's, in the middle of a step: the weights of the run stay, all else comes."""
    tool = GitOpsTool(kept, LISTED[0], in_git())
    await at_ten(kept, tool)
    writes = len(kept.writes())
    other = rule(backend("other", 3), matches=[{"path": {"type": "PathPrefix", "value": "/other"}}])
    tool.git["spec"]["hostnames"] = ["other.example.org"]
    tool.git["spec"]["rules"][0]["timeouts"] = {"request": "7s"}
    tool.git["spec"]["rules"].insert(0, other)
    await tool.beside(15)
    live = kept.route()["spec"]
    assert live["hostnames"] == ["other.example.org"]
    assert weights(kept.route()) == [3]
    assert live["rules"][1]["timeouts"] == {"request": "7s"}
    assert pair_weights(live["rules"][1]) == (90, 10)
    assert (kept.phase(), written(kept, writes)) == ("Progressing", 0)
    await kept.ask("abort")
    await kept.until(lambda: kept.phase() == "RolledBack")
    assert pair_weights(kept.route()["spec"]["rules"][1]) == (1, 0)


async def test_a_git_without_weights_gives_the_canary_nothing_in_a_run(kept: World) -> None:
    """Half of the traffic, says Git: neither a step nor a rollback gets it, and at rest the route is its owner's again."""
    tool = GitOpsTool(kept, LISTED[0], in_git())
    await at_ten(kept, tool)
    since, writes = seen(kept), len(kept.writes())
    tool.git = in_git(None, None)
    await tool.beside(30)
    assert (shares(kept, since), written(kept, writes)) == ([], 0)
    kept.gateway.delay = 20
    since = seen(kept)
    await kept.ask("abort")
    await kept.until(lambda: kept.weights() == (1, 0), within=2)
    for _ in range(5):
        assert kept.phase() == "RollingBack"
        await tool.sync()
        await kept.pass_(3)
    await kept.until(lambda: kept.phase() == "RolledBack" and kept.intent() is None)
    assert shares(kept, since) == [0]
    await tool.beside(6)
    assert kept.weights() == (1, 1), "so it is in Git"
    assert list(clean(kept)) == []


@pytest.mark.parametrize("who", ["alice", "another-tool", "another-tool, client-side"])
async def test_anybody_else_lowers_the_share_as_before(kept: World, who: str) -> None:
    """A person, tools that are not listed: the run pauses, and it stays lowered."""
    tool = GitOpsTool(kept, LISTED[0], in_git())
    await at_ten(kept, tool)
    await tool.beside(6)
    if who == "alice":
        await kept.set_weights(kept.alice, 95, 5)
    else:
        await (await tool_of(kept, in_git(95, 5), who)).sync()
    await kept.settle()
    assert (kept.phase(), kept.weights()) == ("Paused", (95, 5))
    assert kept.status()["paused"]["reason"] == "LoweredByHand"
    await tool.beside(30)
    assert (kept.phase(), kept.weights()) == ("Paused", (95, 5)), "the tool keeps what she wrote"


async def test_a_bypass_in_git_takes_the_weight_away(kept: World) -> None:
    """An emergency by way of Git: the same commit that has 1/0 has the annotation, and the run pauses with what Git says."""
    tool = GitOpsTool(kept, LISTED[0], in_git())
    await at_ten(kept, tool)
    await tool.beside(6)
    assert kept.weights() == (90, 10)
    tool.git["metadata"]["annotations"] = dict(BYPASS)
    await tool.beside(15)
    assert (kept.phase(), kept.weights()) == ("Paused", (1, 0))
    assert kept.status()["paused"]["reason"] == "LoweredByHand"
    await kept.ask("abort")
    await kept.until(lambda: kept.phase() == "RolledBack")
    assert list(clean(kept)) == []


@pytest.mark.parametrize(("hours", "wanted"), [(23, (90, 10)), (25, (1, 0))])
async def test_what_git_says_counts_a_day_after_the_run_wrote_last(
    kept: World, hours: int, wanted: tuple[int, int]
) -> None:
    """A controller that is gone for good in mid-run does not keep Git out for longer: nobody has to know of the component."""
    tool = GitOpsTool(kept, LISTED[0], in_git())
    await at_ten(kept, tool)
    await tool.beside(6)
    await kept._instances[0].kill()
    await backdate(kept, timedelta(hours=hours))
    await tool.beside(9)
    assert kept.weights() == wanted


async def test_a_controller_that_comes_back_goes_on(kept: World) -> None:
    """Nobody steers the run for a while: the weights stay, and the next controller finds the step as it was left."""
    tool = GitOpsTool(kept, LISTED[0], in_git())
    await at_ten(kept, tool)
    await kept._instances[0].kill()
    await tool.beside(30)
    assert kept.weights() == (90, 10)
    await kept.start_controller()
    await kept.until(lambda: bool(kept.status()["step"].get("reachedAt")))
    assert (kept.phase(), kept.step(), kept.weights()) == ("Progressing", 1, (90, 10))
    assert not BUSY & set(await kept.reasons())


async def test_an_apply_without_force_is_refused_as_before(kept: World) -> None:
    """Ownership is computed before: a tool that would not force its way gets the conflict that it had without the component."""
    tool = GitOpsTool(kept, LISTED[0], in_git())
    await at_ten(kept, tool)
    with pytest.raises(Conflict):
        await tool.apply(tool.git, force=False)
    assert kept.weights() == (90, 10)


async def test_routes_of_every_kind(kept: World) -> None:
    """Weights of all five kinds are kept, with names of rules and without: a route of connections has neither matches nor names."""
    for resource in ROUTES.values():
        for name in (None, "main"):
            one = {"backendRefs": [backend("stable", 90), backend("canary", 10)], **({"name": name} if name else {})}
            document = stored(kept.namespace, f"route-{name or 0}", TEN, one, kind=resource)
            await kept.create(resource, document, kept.admin)
            git = copy.deepcopy(document)
            del git["metadata"]["annotations"]
            git["spec"]["rules"][0]["backendRefs"] = [backend("stable", 1), backend("canary", 0)]
            assert weights(await dry(kept, git, kept.namespace, resource=resource)) == [90, 10], resource
            assert weights(await dry(kept, git, kept.namespace, "another-tool", resource)) == [1, 0], resource


async def test_whoever_is_overridden_is_warned(kept: World) -> None:
    """The answer to a listed apply in a run has a Warning that names the route and the way around; other answers have none."""
    await kept.create(HTTPROUTES, stored(kept.namespace, "shop", TEN), kept.admin)
    await kept.create(HTTPROUTES, route_document("calm"), kept.admin)
    git = {"shop": in_git(), "calm": {**in_git(), "metadata": {"name": "calm"}}}
    warned = await warnings(kept, LISTED[0], git["shop"])
    assert f"a run is under way on HTTPRoute {kept.namespace}/shop" in warned
    assert "canary.dev/keep-weights" in warned
    assert not await warnings(kept, LISTED[0], git["calm"])
    assert not await warnings(kept, "alice", git["shop"])
    bypassed = copy.deepcopy(git["shop"])
    bypassed["metadata"]["annotations"] = dict(BYPASS)
    assert not await warnings(kept, LISTED[0], bypassed)


async def backdate(world: World, ago: timedelta) -> None:
    """Have the controller's last write of the route lie so far back. Times alone are no change, so a label comes along."""
    live = copy.deepcopy(world.route())
    for entry in live["metadata"]["managedFields"]:
        if entry["manager"] == "canary":
            entry["time"] = (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
    live["metadata"]["labels"] = {"backdated": "yes"}
    await ask(world, "admin-person", "PUT", live, world.namespace, "application/json", fieldManager="admin-person")


async def test_nothing_changes_but_what_a_run_has_written(kept: World) -> None:
    """Whatever is applied to whatever is stored: it comes out as applied, but for the pair's weights and mirrors of rules on record."""
    chance, held, mirrored = random.Random(7), 0, 0
    for number in range(80):
        before, record = some_route(chance, kept.namespace, f"route-{number}")
        await kept.create(HTTPROUTES, before, kept.admin)
        git, alone = edited(chance, before)
        plain, came = [
            (await dry(kept, git, kept.namespace, by))["spec"]["rules"] for by in ("another-tool", LISTED[0])
        ]
        assert list(map(without_ours, came)) == list(map(without_ours, plain))
        listed = dict(enumerate(before["spec"]["rules"]))
        for place, (one, other) in enumerate(zip(came, plain, strict=True)):
            same = [index for index, rule_ in listed.items() if index in record and alike(rule_, one)]
            if one != other:
                assert any(pair_of(listed[index]) == pair_of(one) for index in same), (before, git, came)
                assert mirrors_of(one) in (mirrors_of(other), *(mirrors_of(listed[i]) for i in same if record[i]))
            if place in alone and place in record:
                held += pair_of(one) != pair_of(other)
                mirrored += mirrors_of(one) != mirrors_of(other)
                assert pair_of(one) == pair_of(listed[place])
                assert not record[place] or mirrors_of(one)
    assert held > 20
    assert mirrored > 5


MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "canary", "port": 80}, "percent": 20}}
HEADER = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-internal"]}}


def some_route(chance: random.Random, namespace: str, name: str) -> tuple[Json, dict[int, bool]]:
    """A route in a run, and the places of the rules that the run has on record: whether it mirrors them."""
    rules: list[Json] = []
    record: dict[int, bool] = {}
    for index in range(chance.randint(1, 5)):
        refs = [backend("stable", chance.randint(0, 99)), backend("canary", chance.randint(1, 99))]
        refs += [backend("third", 7)] * chance.randint(0, 1)
        chance.shuffle(refs)
        one = rule(
            *refs, matches=[{"path": {"type": "PathPrefix", "value": f"/{chance.randint(0, 3)}"}, "method": "GET"}]
        )
        if chance.random() < 0.4:
            one["name"] = f"rule-{index}"
        if chance.random() < 0.3:
            one["filters"] = [HEADER]
        if chance.random() < 0.2:
            one["backendRefs"] = [backend("third", 1)]
        elif chance.random() < 0.8:
            record[index] = chance.random() < 0.5
            if record[index]:
                one["filters"] = [*one.get("filters", []), MIRROR]
        rules.append(one)
    keys = {index: rule_key(index, rules[index]) for index in record}
    pair = Pair(Backend("stable", namespace, 80), Backend("canary", namespace, 80))
    written = {keys[index]: Weights(*pair_weights(rules[index])) for index in record}
    copies = {keys[index]: Copied(Fraction(20 if there else 0)) for index, there in record.items()}
    intent = Intent(name, "uid", 1, Mode.STEP, 1, written, written, pair, mirrors=copies)
    document = route_document(name, *rules)
    document["metadata"]["annotations"] = {run_annotation(name): intent.dump()}
    return document, record


def edited(chance: random.Random, before: Json) -> tuple[Json, set[int]]:
    """What Git has of it, and the places of rules that are the same there but for weights, mirrors and timeouts."""
    git = copy.deepcopy(before)
    del git["metadata"]["annotations"]
    rules: list[Json] = git["spec"]["rules"]
    for one in rules:
        one["filters"] = [item for item in one.get("filters", []) if item != MIRROR]
        if not one["filters"]:
            del one["filters"]
        for ref in one["backendRefs"]:
            if ref["name"] in {"stable", "canary"}:
                ref["weight"] = 1 if ref["name"] == "stable" else 0
        if chance.random() < 0.3:
            one["timeouts"] = {"request": "9s"}
    matched = [json.dumps(one["matches"]) for one in rules if "name" not in one]
    alone = {i for i, one in enumerate(rules) if "name" in one or matched.count(json.dumps(one["matches"])) == 1}
    victim = chance.randrange(len(rules))
    match chance.choice(["", "", "third", "match", "backend", "name", "reorder", "insert", "remove"]):
        case "third":
            rules[victim]["backendRefs"].append(backend("fourth", 3))
            alone.discard(victim)
        case "match":
            rules[victim]["matches"][0]["method"] = "PUT"
            alone -= set() if "name" in rules[victim] else {victim}
        case "backend":
            rules[victim]["backendRefs"].reverse()
            alone.discard(victim)
        case "name":
            rules[victim]["name"] = "renamed"
            alone.discard(victim)
        case "reorder":
            chance.shuffle(rules)
            alone.clear()
        case "insert":
            rules.insert(victim, rule(matches=[{"path": {"type": "PathPrefix", "value": "/new"}}]))
            alone = {index for index in alone if index < victim}
        case "remove" if len(rules) > 1:
            del rules[victim]
            alone = {index for index in alone if index < victim}
    return git, alone


def without_ours(one: Json) -> Json:
    """A rule without the weights of the pair, and without what mirrors to the canary."""
    refs = [{**ref, "weight": 0} if ref["name"] in {"stable", "canary"} else ref for ref in one["backendRefs"]]
    filters = [item for item in one.get("filters", []) if item["type"] != "RequestMirror"]
    return {**one, "backendRefs": refs, "filters": filters}


def alike(one: Json, other: Json) -> bool:
    """Whether two rules may be one: they have a name, or none and the same paths and methods."""
    name = one.get("name")
    return name == other.get("name") and (name is not None or paths_of(one) == paths_of(other))


def paths_of(one: Json) -> list[tuple[str, str]]:
    return [(match["path"]["value"], match.get("method", "")) for match in one["matches"]]


def pair_of(one: Json) -> dict[str, int]:
    return {ref["name"]: ref["weight"] for ref in one["backendRefs"] if ref["name"] in {"stable", "canary"}}


def mirrors_of(one: Json) -> int:
    return sum(item["type"] == "RequestMirror" for item in one.get("filters", []))
