"""The gateway with a real Envoy and real requests: what the statuses say is what the traffic does."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sandbox_kit import Shop, backend, client, grant, manifest, namespace, parent_condition, route, rule, service, until

from canary.errors import SandboxError
from canary.kube import GATEWAYCLASSES, GATEWAYS, HTTPROUTES
from canary_sandbox.apiserver import Fault
from canary_sandbox.gateway import FEATURES

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(60)
async def test_traffic_is_split_as_the_weights_say(shop: Shop) -> None:
    """90/10, 50/50, 0/100: measured over 1,000 requests each, within four standard deviations."""
    for stable, canary, slack in ((90, 10, 38), (50, 50, 64), (0, 100, 0)):
        await shop.accepted(await shop.weigh(stable, canary))
        answers = await shop.fire(1000)
        assert {status for status, _ in answers} == {200}
        assert abs(answers[200, "v2"] - canary * 10) <= slack, (stable, canary, answers)


@pytest.mark.alone("how fast a route is accepted")
async def test_accepted_means_that_the_traffic_has_moved(shop: Shop) -> None:
    """Whenever generation N is Accepted, the very next requests follow N; and it takes well under a second."""
    took = []
    for turn in range(20):
        stable, canary = ((0, 7), (7, 0))[turn % 2]
        began = time.monotonic()
        await shop.accepted(await shop.weigh(stable, canary))
        took.append(time.monotonic() - began)
        assert set(await shop.fire(20)) == {(200, "v2" if canary else "v1")}
    assert sorted(took)[-2] < 0.5, took


async def test_a_gateway_that_is_late_says_nothing_and_serves_the_old_weights(shop: Shop) -> None:
    """With acceptance withheld, status and traffic both stay with the old generation, until it is given."""
    before = await shop.weigh(1, 0)
    await shop.accepted(before)
    shop.cluster.gateway.accept_when(lambda item: item["metadata"]["name"] != "shop")
    wanted = await shop.weigh(0, 1)
    # A second route that is accepted later proves that the gateway has seen the first one's change by now.
    await shop.cluster.apply(
        [manifest(route(rule(backend("shop-stable")), name="fence", hostnames=("fence.example.com",)))]
    )
    await shop.verdict("Accepted", 1, "fence")
    assert parent_condition(await shop.route(), "Accepted")["observedGeneration"] == before
    assert set(await shop.fire(50)) == {(200, "v1")}
    shop.cluster.gateway.resume()
    await shop.accepted(wanted)
    assert set(await shop.fire(50)) == {(200, "v2")}


async def test_a_mirror_copies_its_percentage_and_users_do_not_notice(shop: Shop) -> None:
    """30 % of 500 requests reach the canary as copies; users get stable's answers even while the canary fails."""
    await shop.cluster.workloads.set_fault("team-shop", "shop-canary", errors=1.0)
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("shop-canary"), "percent": 30}}
    await shop.weigh(100, 0)
    generation = await shop.patch({"op": "add", "path": "/spec/rules/0/filters", "value": [mirror]})
    await shop.accepted(generation)
    before = await shop.cluster.workloads.served("team-shop", "shop-canary")
    assert await shop.fire(500) == {(200, "v1"): 500}

    async def copies() -> int:
        return await shop.cluster.workloads.served("team-shop", "shop-canary") - before

    async def enough() -> bool:
        return await copies() > 105

    await until(enough, what="copies at the canary")
    assert 105 < await copies() < 195  # 150 expected, four standard deviations are 41


async def test_no_ready_endpoint_answers_503(shop: Shop) -> None:
    """A canary without endpoints gets no traffic but its share: 503 from the gateway."""
    await shop.accepted(await shop.weigh(0, 1))
    await shop.cluster.workloads.set_fault("team-shop", "shop-canary", ready=False)

    async def unavailable() -> bool:
        return set(await shop.fire(5)) == {(503, "")}

    await until(unavailable, what="503s")
    await shop.cluster.workloads.set_fault("team-shop", "shop-canary", ready=True)

    async def back() -> bool:
        return set(await shop.fire(5)) == {(200, "v2")}

    await until(back, what="traffic again")


async def test_a_crashed_canary_answers_503_until_it_recovers(shop: Shop) -> None:
    """Killed replicas leave their endpoints; new ones take their place after recover()."""
    await shop.accepted(await shop.weigh(0, 1))
    await shop.cluster.workloads.crash("team-shop", "shop-canary")
    assert {status for status, _ in await shop.fire(20)} == {503}
    await shop.cluster.workloads.recover("team-shop", "shop-canary")

    async def back() -> bool:
        return set(await shop.fire(5)) == {(200, "v2")}

    await until(back, what="traffic again")


async def test_another_namespace_needs_a_grant(shop: Shop) -> None:
    """Without a ReferenceGrant: RefNotPermitted and 500 for that share; with it, traffic flows."""
    await shop.cluster.apply([manifest(namespace("payments")), manifest(service("pay", "payments"))])
    foreign = {**backend("pay", 1, namespace="payments")}
    generation = await shop.patch({"op": "replace", "path": "/spec/rules/0/backendRefs", "value": [foreign]})
    refused = await shop.verdict("ResolvedRefs", generation)
    assert (refused["status"], refused["reason"]) == ("False", "RefNotPermitted")
    assert set(await shop.fire(10)) == {(500, "")}
    await shop.cluster.apply([manifest(grant("payments", "team-shop"))])

    async def resolved() -> bool:
        return parent_condition(await shop.route(), "ResolvedRefs")["status"] == "True"

    await until(resolved, what="ResolvedRefs")
    assert set(await shop.fire(10)) == {(503, "")}  # permitted now, but nothing runs behind that Service


async def test_a_missing_service_costs_exactly_its_share(shop: Shop) -> None:
    """BackendNotFound: its share of requests gets 500s, the rest is served."""
    value = [backend("shop-stable", 1), backend("nowhere", 1)]
    generation = await shop.patch({"op": "replace", "path": "/spec/rules/0/backendRefs", "value": value})
    assert (await shop.verdict("ResolvedRefs", generation))["reason"] == "BackendNotFound"
    answers = await shop.fire(400)
    assert set(answers) == {(200, "v1"), (500, "")}
    assert abs(answers[500, ""] - 200) <= 40


async def test_an_unsupported_filter_is_refused_never_ignored(shop: Shop) -> None:
    """URLRewrite: Accepted=False, UnsupportedValue, and 500s instead of requests with the filter left out."""
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "elsewhere.example.com"}}
    generation = await shop.patch({"op": "add", "path": "/spec/rules/0/filters", "value": [rewrite]})
    refused = await shop.verdict("Accepted", generation)
    assert (refused["status"], refused["reason"]) == ("False", "UnsupportedValue")
    assert set(await shop.fire(10)) == {(500, "")}


async def test_what_envoy_refuses_harms_only_its_own_route(shop: Shop) -> None:
    """A regular expression that Envoy cannot compile: that route says so, all others go on and can still change."""
    bad = {"path": {"type": "RegularExpression", "value": "/(unclosed"}}
    document = route(rule(backend("shop-stable"), matches=[bad]), name="bad", hostnames=("bad.example.com",))
    await shop.cluster.apply([manifest(document)])
    refused = await shop.verdict("Accepted", 1, "bad")
    assert (refused["status"], refused["reason"]) == ("False", "UnsupportedValue")
    assert "missing )" in refused["message"]
    await shop.accepted(await shop.weigh(0, 1))
    assert set(await shop.fire(10)) == {(200, "v2")}
    fixed = [{"op": "replace", "path": "/spec/rules/0/matches/0/path/value", "value": "/(closed)"}]
    await shop.cluster.kube.json_patch(HTTPROUTES, "bad", "team-shop", fixed)
    assert (await shop.verdict("Accepted", 2, "bad"))["status"] == "True"
    async with client(shop.url, "bad.example.com") as get:
        assert (await get("/closed")).status == 200


async def test_other_controllers_statuses_stay(shop: Shop) -> None:
    """A foreign parents[] entry survives our writes, byte for byte."""
    foreign = {
        "parentRef": {"name": "mesh"},
        "controllerName": "example.com/other",
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "reason": "Accepted",
                "message": "",
                "observedGeneration": 1,
                "lastTransitionTime": "2024-01-01T00:00:00Z",
            }
        ],
    }
    ours = (await shop.route())["status"]["parents"]
    body = {"status": {"parents": [*ours, foreign]}}
    stored = await shop.cluster.kube.merge_patch(HTTPROUTES, "shop", "team-shop", body, subresource="status")
    foreign = stored["status"]["parents"][-1]  # with what the API server fills in by default
    await shop.accepted(await shop.weigh(3, 4))
    parents = (await shop.route())["status"]["parents"]
    assert foreign in parents
    assert len(parents) == 2


async def test_requests_are_matched_by_path_method_header_and_query(shop: Shop) -> None:
    """Each kind of match picks the canary for exactly the requests that it describes."""
    matches = [
        {"path": {"type": "Exact", "value": "/exact"}},
        {"path": {"type": "PathPrefix", "value": "/prefix"}},
        {"path": {"type": "RegularExpression", "value": "/r[0-9]+"}},
        {"headers": [{"name": "x-canary", "value": "true"}]},
        {"queryParams": [{"name": "canary", "value": "1"}]},
        {"method": "POST"},
    ]
    rules = [rule(backend("shop-canary"), matches=matches), rule(backend("shop-stable"))]
    await shop.accepted(await shop.patch({"op": "replace", "path": "/spec/rules", "value": rules}))
    table: list[tuple[str, dict[str, Any], str]] = [
        ("/exact", {}, "v2"),
        ("/exact/more", {}, "v1"),
        ("/prefix", {}, "v2"),
        ("/prefix/more", {}, "v2"),
        ("/prefixed", {}, "v1"),
        ("/r12", {}, "v2"),
        ("/r12x", {}, "v1"),
        ("/", {"headers": {"x-canary": "true"}}, "v2"),
        ("/", {"headers": {"x-canary": "truely"}}, "v1"),
        ("/?canary=1", {}, "v2"),
        ("/?canary=2", {}, "v1"),
        ("/", {"method": "POST"}, "v2"),
        ("/", {}, "v1"),
    ]
    async with client(shop.url) as get:
        assert [(await get(path, **more)).headers["x-version"] for path, more, _ in table] == [row[2] for row in table]


async def test_response_headers_are_set(shop: Shop) -> None:
    """A ResponseHeaderModifier reaches the user."""
    item = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-step", "value": "50%"}]}}
    await shop.accepted(await shop.patch({"op": "add", "path": "/spec/rules/0/filters", "value": [item]}))
    async with client(shop.url) as get:
        assert (await get()).headers["x-step"] == "50%"


async def test_class_and_gateway_say_what_they_are(shop: Shop) -> None:
    """GatewayClass: Accepted with features; Gateway: Accepted, Programmed, the listener's true address, its routes."""
    described = (await shop.cluster.kube.get(GATEWAYCLASSES, "sandbox"))["status"]
    assert {item["name"] for item in described["supportedFeatures"]} == FEATURES
    await shop.accepted(1)

    async def attached() -> Any:
        status = (await shop.cluster.kube.get(GATEWAYS, "shop", "team-shop"))["status"]
        return status if status["listeners"][0]["attachedRoutes"] == 1 else None

    status = await until(attached, what="the attached route")
    (http,) = status["listeners"]
    assert {item["type"]: item["status"] for item in status["conditions"]} == {"Accepted": "True", "Programmed": "True"}
    host, port = await shop.cluster.gateway.address("team-shop", "shop", "http")
    programmed = next(item for item in http["conditions"] if item["type"] == "Programmed")
    assert (programmed["status"], programmed["message"]) == ("True", f"served at {host}:{port}")


async def test_a_gateway_that_is_deleted_stops_listening(shop: Shop) -> None:
    """Its port closes, and asking for its address says so."""
    await shop.cluster.kube.delete(GATEWAYS, "shop", "team-shop")

    async def gone() -> bool:
        try:
            await shop.cluster.gateway.address("team-shop", "shop", wait=0.01)
        except SandboxError:
            return True
        return False

    await until(gone, what="the listener's end")

    async def unattached() -> bool:
        return (await shop.route())["status"]["parents"] == []

    await until(unattached, what="the end of our entry in the route's status")


async def test_an_api_server_that_fails_delays_the_gateway_and_does_not_end_it(shop: Shop) -> None:
    """500s and conflicts on status writes, dropped watches: the verdict comes late, and it is true."""
    faults = shop.cluster.api.faults
    faults.add(Fault(verb="patch", resource="httproutes", subresource="status", status=500, times=2))
    faults.add(Fault(verb="patch", resource="httproutes", subresource="status", status=409, times=2))
    faults.add(Fault(verb="watch", resource="httproutes", drop=True, times=2))
    await shop.accepted(await shop.weigh(0, 1))
    assert set(await shop.fire(20)) == {(200, "v2")}
