"""Mirror steps with a real API server: Strict writes, its defaults, the canary's Service, and deaths between any two requests."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from controller_kit import Clients, World, backend, clean, route_document, rule
from story_kit import survives_every_death

from canary.kube import ENDPOINTSLICES, HTTPROUTES, SERVICES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

Json = dict[str, Any]

MIRROR: Json = {"mirror": {"percent": 20}, "hold": "2s"}
STEPS = [MIRROR, {"weight": 10, "hold": "2s"}, {"weight": 100, "hold": "2s"}]
GET = [{"path": {"type": "PathPrefix", "value": "/"}, "method": "GET"}]


def header() -> Json:
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-team", "value": "shop"}]}}


def mirror_to(name: str, **more: Any) -> Json:
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}, **more}}


def shop() -> Json:
    """One rule with filters, one without any, and one that takes POST."""
    return route_document(
        "shop",
        rule(matches=GET, filters=[header(), mirror_to("stable", percent=1)]),
        rule(backend("canary", 0), backend("stable", 3), name="bare", matches=[{"method": "HEAD"}]),
        rule(name="pay", matches=[{"method": "POST"}], filters=[header()]),
    )


def copies(world: World) -> dict[str, Any]:
    """What percentage each rule copies to the canary; of those that do."""
    found = {}
    for index, rule_ in enumerate(world.route()["spec"]["rules"]):
        for item in rule_.get("filters", []):
            if item["type"] == "RequestMirror" and item["requestMirror"]["backendRef"]["name"] == "canary":
                found[rule_.get("name") or f"#{index}"] = item["requestMirror"].get("percent", 100)
    return found


async def test_a_run_mirrors_and_leaves_the_route_as_it_was(world: World) -> None:
    """In one patch with the annotation; the rule that takes POST is named in the message."""
    instance = await world.begin(shop(), steps=STEPS)
    before = copy.deepcopy(world.route()["spec"])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    assert copies(world) == {"#0": 20, "bare": 20}
    assert world.weights() == (1, 0)
    assert "mirroring 20 %" in world.message()
    assert "not mirrored: rule pay of HTTPRoute shop" in world.message()
    patch = next(sent for sent in instance.line.sent if sent.resource == "httproutes")
    assert {op["path"] for op in patch.body if op["op"] != "test"} >= {
        "/spec/rules/0/filters/-",
        "/metadata/annotations",
    } or "/metadata/annotations/run.canary.dev~1shop" in {op["path"] for op in patch.body}
    await world.until(lambda: world.phase() == "Succeeded")
    await world.settle()
    assert world.route()["spec"] == before
    assert list(clean(world)) == []


async def test_a_check_that_fails_under_a_mirror_rolls_back(world: World) -> None:
    """It is measured while no user is served, asked with the kind of the step, and its filter goes at once."""
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
    assert copies(world) == {}
    assert "no user was served by it" in world.message()
    assert 'errors{service="canary",step="mirror"}' in asked
    assert list(clean(world)) == []


@pytest.mark.parametrize("missing", ["Service", "port"])
async def test_nothing_is_mirrored_to_what_is_not_there(world: World, missing: str) -> None:
    """Some gateways answer every user with 500 then: it is looked up right before the write, and the run says what is missing."""
    await world.begin(shop(), steps=STEPS, acceptTimeout="20s")
    if missing == "Service":
        await world.gitops.delete(SERVICES, "canary", world.namespace)
    else:
        ports = [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]
        await world.gitops.json_patch(SERVICES, "canary", world.namespace, ports)
    await world.deploy(2)
    await world.until(lambda: "cannot be mirrored" in world.message())
    assert copies(world) == {}
    words = "there is no such Service" if missing == "Service" else "has no port 80; its ports: 81"
    assert words in world.message()
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.status()["run"]["reason"] == "NotAccepted"
    assert all(not copied(version) for version in world.records.versions["httproutes"])


def copied(route: Json) -> bool:
    """Whether a version of a route sends copies to the canary."""
    return any(
        item["type"] == "RequestMirror" and item["requestMirror"]["backendRef"]["name"] == "canary"
        for rule_ in route["spec"]["rules"]
        for item in rule_.get("filters", [])
    )


async def test_a_service_that_appears_in_time_is_mirrored_to(world: World) -> None:
    """The write is tried again."""
    await world.begin(shop(), steps=STEPS)
    service = await world.admin.get(SERVICES, "canary", world.namespace)
    await world.gitops.delete(SERVICES, "canary", world.namespace)
    await world.deploy(2)
    await world.until(lambda: "cannot be mirrored" in world.message())
    metadata = {"name": "canary"}
    await world.create(SERVICES, {**service, "metadata": metadata, "spec": {"ports": [{"port": 80}]}})
    await world.until(lambda: copies(world) == {"#0": 20, "bare": 20})


COMPARER: Json = {"percent": 20, "comparer": {"service": "compare", "port": 80}}


def endpoints(name: str, *, ready: bool) -> Json:
    """What the cluster says of the one replica of a Service."""
    return {
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.9"], "conditions": {"ready": ready}}],
        "ports": [{"port": 80}],
    }


@pytest.mark.parametrize("ready", [True, False], ids=["a replica that is not ready", "no replica"])
async def test_nothing_is_mirrored_to_a_comparer_that_is_not_ready(world: World, ready: bool) -> None:
    """Its copies would be lost without a word; once it is ready the write is tried again."""
    await world.begin(shop(), steps=[{**MIRROR, "mirror": COMPARER}, *STEPS[1:]], checks=[])
    await world.create(SERVICES, {"metadata": {"name": "compare"}, "spec": {"ports": [{"port": 80}]}})
    if ready:
        await world.create(ENDPOINTSLICES, endpoints("compare", ready=False))
    await world.deploy(2)
    await world.until(lambda: "no endpoint of the Service is ready" in world.message())
    assert all("compare" not in str(version["spec"]) for version in world.records.versions["httproutes"])
    if ready:
        await world.admin.delete(ENDPOINTSLICES, "compare-1", world.namespace)
    await world.create(ENDPOINTSLICES, endpoints("compare", ready=True))
    await world.until(lambda: "compare" in str(world.route()["spec"]))
    await world.until(lambda: world.phase() == "Succeeded")
    assert "compare" not in str(world.route()["spec"])


async def test_argo_puts_the_route_back_and_the_run_waits_for_a_person(world: World) -> None:
    """A sync without our filter is a hand that takes copies away: nobody puts them back against it."""
    await world.begin(shop(), steps=[{**MIRROR, "hold": "1h"}, {"weight": 10}])
    before = copy.deepcopy(world.route()["spec"]["rules"])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(copies(world)))
    await world.settle()
    await world.set_rules(world.gitops, *before)
    await world.until(lambda: world.phase() == "Paused")
    assert world.status()["paused"]["reason"] == "LoweredByHand"
    assert "gitops changed the share of requests that is mirrored" in world.message()
    await world.pass_(60)
    assert copies(world) == {}


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
async def test_a_controller_may_be_killed_at_any_write_of_a_run_that_mirrors(clients: Clients, good: bool) -> None:
    """Right before it leaves, or right after it took effect: the next one ends the run as if nothing had been."""
    await survives_every_death(clients, shop(), MIRROR, good=good)


async def test_a_filter_of_another_team_in_the_same_route_stays(world: World) -> None:
    """Two rules of one route, one of them ours: the other may mirror to whom it likes, to our canary too."""
    document = route_document(
        "shop", rule(name="mine", matches=GET), rule(name="theirs", matches=GET, filters=[mirror_to("canary")])
    )
    await world.begin(document, steps=STEPS, routes=[{"name": "shop", "rules": ["mine"]}])
    before = copy.deepcopy(world.route()["spec"])
    await world.deploy(2)
    await world.until(lambda: copies(world) == {"mine": 20, "theirs": 100})
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    fresh = await world.admin.get(HTTPROUTES, "shop", world.namespace)
    assert fresh["spec"] == before
