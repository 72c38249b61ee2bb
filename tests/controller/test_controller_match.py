"""Match steps with a real API server: Strict writes, its defaults, rules of others, GitOps, and deaths between any two requests."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from controller_kit import Clients, World, backend, clean, route_document, rule
from story_kit import survives_every_death

from canary.kube import HTTPROUTES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

Json = dict[str, Any]
Hand = Callable[[Json], None]

MATCH: Json = {"match": [{"headers": [{"name": "x-opt-in", "value": "yes"}]}], "hold": "2s"}
STEPS = [MATCH, {"weight": 10, "hold": "2s"}, {"weight": 100, "hold": "2s"}]


def header() -> Json:
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-team", "value": "shop"}]}}


def path(value: str) -> list[Json]:
    return [{"path": {"type": "PathPrefix", "value": value}}]


def shop() -> Json:
    """Two rules with the pair, of which one has no matches of its own, and one of somebody else."""
    return route_document(
        "shop",
        rule(filters=[header()], timeouts={"request": "5s"}),
        rule(backend("canary", 0), backend("stable", 3), matches=path("/pay")),
        {"name": "static", "matches": path("/static"), "backendRefs": [{"name": "assets", "port": 80}]},
    )


def opted(route: Json) -> list[Json]:
    """The rules of a route that are for requests that opt in."""
    return [
        each
        for each in route["spec"]["rules"]
        if any(field["name"] == "x-opt-in" for match in each.get("matches", []) for field in match.get("headers", []))
    ]


async def test_a_run_adds_its_rules_last_and_leaves_the_route_as_it_was(world: World) -> None:
    """In one patch with the annotation; what the server fills in is no edit of anybody's."""
    instance = await world.begin(shop(), steps=STEPS)
    before = copy.deepcopy(world.route()["spec"])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    there = world.route()["spec"]["rules"]
    assert there[:3] == before["rules"]
    assert there[3:] == opted(world.route())
    assert [each["matches"][0]["path"]["value"] for each in there[3:]] == ["/", "/pay"]
    assert there[3]["filters"] == [header()]
    assert there[3]["timeouts"] == {"request": "5s"}
    assert all([ref["name"] for ref in each["backendRefs"]] == ["canary"] for each in there[3:])
    assert world.weights() == (1, 0)
    assert "opted-in requests" in world.message()
    await world.settle()
    patches = [sent for sent in instance.line.sent if sent.resource == "httproutes"]
    assert len(patches) == 1
    await world.until(lambda: world.phase() == "Succeeded")
    await world.settle()
    assert world.route()["spec"] == before
    assert list(clean(world)) == []


async def test_a_check_that_fails_for_those_who_opt_in_rolls_back(world: World) -> None:
    """It is asked with the kind of the step, and the rules go at once."""
    asked: list[str] = []

    def errors(query: Any, _now: Any) -> float:
        asked.append(query.text)
        return 0.5

    world.provider.answers["errors"] = errors
    check = {
        "name": "errors",
        "prometheus": {"query": 'errors{service="{{ canary.service }}",step="{{ step.kind }}"}'},
        "interval": "1s",
        "threshold": {"max": "1%"},
    }
    await world.begin(shop(), steps=STEPS, checks=[check])
    await world.deploy(2)
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    assert opted(world.route()) == []
    assert 'errors{service="canary",step="match"}' in asked
    assert list(clean(world)) == []


async def test_a_rule_that_is_put_behind_ours_stays_and_is_named(world: World) -> None:
    """With the pair in it and no name, so that it moves up while its weights are written: nothing is mistaken."""
    await world.begin(shop(), steps=[{**MATCH, "hold": "1h"}, {"weight": 50, "hold": "1h"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(opted(world.route())))
    await world.settle()
    late = rule(matches=path("/late"))
    await world.set_rules(world.gitops, *copy.deepcopy(world.route()["spec"]["rules"]), late)
    await world.until(lambda: len(opted(world.route())) == 3)
    await world.ask("promote")
    await world.pass_(1)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    rules = world.route()["spec"]["rules"]
    assert [each["matches"][0]["path"]["value"] for each in rules] == ["/", "/pay", "/static", "/late"]
    assert list(clean(world)) == []
    messages = [event["message"] for event in await world.events()]
    assert any("stands behind a rule that the run added" in message for message in messages)
    assert not [message for message in messages if "the API server keeps" in message]


async def test_argo_puts_the_route_back_and_the_run_waits_for_a_person(world: World) -> None:
    """A sync without our rules is a hand that takes traffic away: nobody puts them back against it but `resume`."""
    await world.begin(shop(), steps=[{**MATCH, "hold": "1h"}, {"weight": 10}])
    before = copy.deepcopy(world.route()["spec"]["rules"])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(opted(world.route())))
    await world.settle()
    await world.set_rules(world.gitops, *before)
    await world.until(lambda: world.phase() == "Paused")
    assert world.status()["paused"]["reason"] == "LoweredByHand"
    assert "gitops took away the rule for requests that opt in" in world.message()
    await world.pass_(60)
    assert opted(world.route()) == []
    await world.ask("resume")
    await world.until(lambda: len(opted(world.route())) == 2)


def weightless(ours: Json) -> None:
    ours["backendRefs"][0]["weight"] = 0


def divided(ours: Json) -> None:
    ours["backendRefs"] = [backend("stable", 90), backend("canary", 10)]


def narrowed(ours: Json) -> None:
    ours["matches"][0]["headers"].append({"type": "Exact", "name": "x-tenant", "value": "acme"})


@pytest.mark.parametrize("end", ["abort", "resume"])
@pytest.mark.parametrize("hand", [weightless, divided, narrowed], ids=lambda hand: hand.__name__)
async def test_a_rule_that_a_person_edits_stays_the_runs(world: World, hand: Hand, end: str) -> None:
    """They lower what it gives the canary, so the run pauses and names them; then it goes with the run, or is as it was."""
    await world.begin(shop(), steps=[{**MATCH, "hold": "1h"}, {"weight": 10}])
    before = copy.deepcopy(world.route()["spec"]["rules"])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and len(opted(world.route())) == 2)
    await world.settle()
    there = copy.deepcopy(world.route()["spec"]["rules"])
    hand(edited := copy.deepcopy(there[-1]))
    await world.set_rules(world.gitops, *there[:-1], edited)
    await world.until(lambda: world.phase() == "Paused")
    assert "gitops" in world.message()
    assert "the rule for requests that opt in" in world.message()
    await world.ask(end)
    if end == "abort":
        await world.until(lambda: world.phase() == "RolledBack")
        await world.settle()
        assert world.route()["spec"]["rules"] == before
        assert list(clean(world)) == []
        assert any(event["reason"] == "RuleEdited" for event in await world.events())
    else:
        await world.until(lambda: world.route()["spec"]["rules"] == there)


async def test_two_runs_on_one_route_have_rules_of_their_own(world: World) -> None:
    """Each takes away what it has added, whoever ends first."""
    document = route_document(
        "shop",
        rule(matches=path("/a")),
        rule(backend("stable-b", 1), backend("canary-b", 0), matches=path("/b")),
    )
    await world.begin(document, steps=[{**MATCH, "hold": "1h"}, {"weight": 10}])
    before = copy.deepcopy(world.route()["spec"])
    await world.declare(
        "other",
        stable={"service": "stable-b", "port": 80},
        canary={"service": "canary-b", "port": 80},
        workloads=None,
        promotion="Await",
        steps=[{**MATCH, "hold": "1h"}, {"weight": 10}],
    )
    await world.deploy(2)
    await world.until(lambda: len(opted(world.route())) == 1)
    await world.ask("start", name="other")
    await world.until(lambda: len(opted(world.route())) == 2)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    assert [each["backendRefs"][0]["name"] for each in opted(world.route())] == ["canary-b"]
    await world.ask("abort", name="other")
    await world.until(lambda: world.phase("other") == "RolledBack")
    await world.settle()
    fresh = await world.admin.get(HTTPROUTES, "shop", world.namespace)
    assert fresh["spec"] == before


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
async def test_a_controller_may_be_killed_at_any_write_of_a_run_with_a_match(clients: Clients, good: bool) -> None:
    """Right before it leaves, or right after it took effect: the next one ends the run as if nothing had been."""
    await survives_every_death(clients, shop(), MATCH, good=good)
