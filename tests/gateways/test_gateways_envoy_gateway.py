"""Rollouts on Envoy Gateway; the program is the one that ENVOY_GATEWAY names. Its ports are fixed, so one runs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import envoy_gateway
import pytest
import scenarios
from envoy_gateway import EnvoyGateway
from gateways_kit import (
    GATEWAY,
    NAMESPACE,
    OFTEN,
    OK,
    REQUESTS,
    Shop,
    Speech,
    bare_cluster,
    by_template,
    declared,
    mirror,
    shipped,
    world,
)

from canary.kube import GATEWAYCLASSES
from canary.routes.features import Feature
from canary_sandbox.app_metrics import AppMetrics
from canary_sandbox.cluster import GATEWAY_CLASS
from canary_sandbox.prometheus import Prometheus

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.sandbox_only("a real API server refuses the loopback addresses that a foreign gateway has to call"),
]

Json = dict[str, Any]
BOTH = (Feature.REQUEST_MIRROR, Feature.REQUEST_PERCENTAGE_MIRROR)


@asynccontextmanager
async def behind_envoy_gateway(
    speech: Speech = "http", *, measured: bool = False, **settings: Any
) -> AsyncGenerator[Shop]:
    """`measured`: a Prometheus scrapes the applications, and the cluster has the templates that we ship."""
    system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": envoy_gateway.SYSTEM}}
    async with bare_cluster(envoy_gateway.OTHERS) as cluster:
        gateway = EnvoyGateway(cluster.kube, cluster.kubeconfig, NAMESPACE, GATEWAY)
        await cluster.apply([system, *world(envoy_gateway.CONTROLLER_NAME, gateway.listener_port, speech)])
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(gateway)
            if measured:
                metrics = await stack.enter_async_context(AppMetrics(cluster.workloads.selected))
                prometheus = await stack.enter_async_context(Prometheus([metrics.url], "500ms"))
                await prometheus.scraping()
                await cluster.apply(shipped("application"))
                settings["prometheus_url"] = prometheus.url
            yield await stack.enter_async_context(Shop(cluster, gateway, speech, **settings))


@pytest.fixture
async def shop() -> AsyncGenerator[Shop]:
    async with behind_envoy_gateway() as shop:
        yield shop


async def test_weights_are_the_shares_that_users_get(shop: Shop) -> None:
    """As promised to every team."""
    await scenarios.weights(shop)


async def test_a_rule_that_was_prepared_is_moved_apart_from_the_other(shop: Shop) -> None:
    """Also under load."""
    await scenarios.prepared_rule(shop)


@pytest.mark.parametrize("speech", ["http", "grpc"])
async def test_an_added_rule_serves_who_opts_in_and_harms_nobody_else(speech: Speech) -> None:
    """As our writes add it: last. Of an HTTPRoute and of a GRPCRoute."""
    async with behind_envoy_gateway(speech) as shop:
        await scenarios.added_rule(shop)


@pytest.mark.parametrize("speech", ["http", "grpc"])
async def test_several_rules_are_copied_and_moved_as_one(speech: Speech) -> None:
    """A copy for each rule that lists the pair; also under load."""
    async with behind_envoy_gateway(speech) as shop:
        await scenarios.several_rules(shop)


async def test_calls_are_divided() -> None:
    """GRPCRoute: half of them, then all, then back."""
    async with behind_envoy_gateway("grpc") as shop:
        await scenarios.calls(shop)


async def test_a_mirror_step_copies_every_request_and_serves_no_user(tmp_path: Path) -> None:
    """Once the platform declares that it can."""
    async with behind_envoy_gateway(gateway_features=declared(tmp_path, *BOTH)) as shop:
        await scenarios.mirror_step(shop)


async def test_a_mirror_step_copies_the_percentage(tmp_path: Path) -> None:
    """A fifth of the requests, within four standard deviations; no user is served by the canary."""
    async with behind_envoy_gateway(gateway_features=declared(tmp_path, *BOTH)) as shop:
        await shop.begin([{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "approval": {}}, {"weight": 10}])
        await shop.step(1)
        counted = await shop.settled_copies()
        assert await shop.ask() == {(OK, "v1"): REQUESTS}
        assert await shop.settled_copies() - counted == pytest.approx(200, abs=51)


async def test_a_mirror_to_a_service_that_does_not_exist_answers_every_user_with_500(shop: Shop) -> None:
    """Accepted=True; ResolvedRefs says what is missing. Why a run looks for the Service before it writes."""
    await shop.change_rules(lambda rules: rules[0].update(filters=[mirror("nowhere")]))
    said = await shop.accepted()
    assert (said["Accepted"], said["ResolvedRefs"]) == ("True", "False")
    assert await shop.ask() == {(500, ""): REQUESTS}


async def test_its_envoy_counts_a_rule_and_its_copies_but_no_backend(shop: Shop) -> None:
    """A cluster per rule, whichever of its backends is asked, and one for its copies: shares come from elsewhere."""
    rule = f"httproute/{NAMESPACE}/shop/rule/0"

    async def counted(cluster: str) -> int:
        return await shop.counter("envoy_cluster_upstream_rq_completed", envoy_cluster_name=cluster)

    def mirrored(rules: list[Json]) -> None:
        rules[0]["backendRefs"][1]["weight"] = 1
        rules[0]["filters"] = [mirror("shop-canary")]

    await shop.change_rules(mirrored)
    before = await counted(rule), await counted(f"{rule}-mirror-0")
    assert await shop.ask() == {(OK, "v1"): REQUESTS}
    await shop.settled_copies()
    after = await counted(rule), await counted(f"{rule}-mirror-0")
    assert (after[0] - before[0], after[1] - before[1]) == (REQUESTS, REQUESTS)


async def test_the_templates_that_are_shipped_tell_share_and_errors() -> None:
    """Of the applications: at 50 % the canary gets half, as OBSERVED says; when it fails, the release is rolled back."""
    async with behind_envoy_gateway(measured=True) as shop, shop.load():
        metric = {"metric": "app_requests_total"}
        failures = by_template("application-error-rate", args={**metric, "label": "outcome", "failed": "failed"})
        await shop.begin(
            [{"weight": 50, "hold": "10m"}],
            checks=[{**failures, "interval": "2s", "window": "5s"}],
            traffic=by_template("application-traffic", args=metric, **OFTEN),
        )
        await shop.until("a good verdict", lambda status: status.get("checksSummary") == "1/1 pass")
        status = await shop.until("the share that it got", lambda status: "observed" in status["split"])
        assert status["split"]["observed"] == pytest.approx(50, abs=5)
        await shop.cluster.workloads.set_fault(NAMESPACE, "shop-canary", errors=0.3)
        status = await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        assert "application-error-rate" in status["message"]


async def test_its_class_publishes_no_features(shop: Shop) -> None:
    """It says that it is accepted, and nothing of what it can do."""
    # It was seen to leave the class Unknown for half a minute in which nothing changed; a change makes it look again.
    await shop.change_rules(lambda rules: rules[0].update(name="all"))
    async with asyncio.timeout(30):
        while True:
            status = (await shop.cluster.kube.get(GATEWAYCLASSES, GATEWAY_CLASS))["status"]
            if {one["type"]: one["status"] for one in status["conditions"]}["Accepted"] == "True":
                break
            await asyncio.sleep(0.1)
    assert "supportedFeatures" not in status
