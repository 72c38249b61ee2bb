"""Rollouts on Contour, out of cluster; the program is the one that CONTOUR names."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import contour
import pytest
import scenarios
from contour import Contour
from definitions import definition
from gateways_kit import (
    GATEWAY,
    NAMESPACE,
    OFTEN,
    OK,
    PORT,
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
from canary_sandbox.cluster import GATEWAY_CLASS
from canary_sandbox.prometheus import Prometheus

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.sandbox_only("a real API server refuses the loopback addresses that a foreign gateway has to call"),
]

Json = dict[str, Any]


@asynccontextmanager
async def behind_contour(speech: Speech = "http", *, measured: bool = False, **settings: Any) -> AsyncGenerator[Shop]:
    """`measured`: a Prometheus scrapes its Envoy, and the cluster has the templates that we ship."""
    # It asks for the TCPRoutes of the experimental channel, where they have two versions.
    definitions = [definition("TCPRoute", "v1alpha2", "v1")] if speech == "tcp" else []
    async with bare_cluster(contour.OTHERS, *definitions) as cluster:
        gateway = Contour(cluster.kube, cluster.kubeconfig, NAMESPACE, GATEWAY)
        await cluster.apply(world(contour.CONTROLLER_NAME, gateway.listener_port, speech))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(gateway)
            if measured:
                prometheus = await stack.enter_async_context(Prometheus([gateway.stats_url], "500ms"))
                await prometheus.scraping()
                await cluster.apply(shipped("contour"))
                settings["prometheus_url"] = prometheus.url
            yield await stack.enter_async_context(Shop(cluster, gateway, speech, **settings))


@pytest.fixture
async def shop() -> AsyncGenerator[Shop]:
    async with behind_contour() as shop:
        yield shop


async def test_weights_are_the_shares_that_users_get(shop: Shop) -> None:
    """As promised to every team."""
    await scenarios.weights(shop)


@pytest.mark.parametrize("speech", ["http", "grpc"])
async def test_an_added_rule_serves_who_opts_in_and_harms_nobody_else(speech: Speech) -> None:
    """As our writes add it: last. Of an HTTPRoute and of a GRPCRoute."""
    async with behind_contour(speech) as shop:
        await scenarios.added_rule(shop)


@pytest.mark.parametrize("speech", ["http", "grpc"])
async def test_several_rules_are_copied_and_moved_as_one(speech: Speech) -> None:
    """A copy for each rule that lists the pair; also under load."""
    async with behind_contour(speech) as shop:
        await scenarios.several_rules(shop)


async def test_a_mirror_step_copies_every_request_and_serves_no_user(tmp_path: Path) -> None:
    """Once the platform declares that it can."""
    features = declared(tmp_path, Feature.REQUEST_MIRROR)
    async with behind_contour(gateway_features=features) as shop:
        await scenarios.mirror_step(shop)


async def test_a_mirror_step_needs_somebody_who_says_that_it_can(shop: Shop) -> None:
    """Its class publishes no features: where nobody declares them, nothing is written."""
    before = (await shop.route())["spec"]
    await shop.declare([{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "1s"}])
    reason, message = await shop.refusal()
    assert reason == "UnsupportedFeature"
    assert Feature.REQUEST_MIRROR in message
    assert (await shop.route())["spec"] == before


async def test_the_percentage_of_a_mirror_is_ignored_and_accepted(shop: Shop) -> None:
    """A fifth is asked for, all requests are copied, and the status has nothing against it: why a class has to publish the feature."""
    await shop.change_rules(lambda rules: rules[0].update(filters=[mirror("shop-canary", percent=20)]))
    assert await shop.accepted() == {"Accepted": "True", "ResolvedRefs": "True"}
    counted = await shop.settled_copies()
    assert await shop.ask() == {(OK, "v1"): REQUESTS}
    assert await shop.settled_copies() - counted == REQUESTS


async def test_a_mirror_to_a_service_that_does_not_exist_harms_no_user(shop: Shop) -> None:
    """ResolvedRefs says that it is missing."""
    await shop.change_rules(lambda rules: rules[0].update(filters=[mirror("nowhere")]))
    assert (await shop.accepted())["ResolvedRefs"] == "False"
    assert await shop.ask() == {(OK, "v1"): REQUESTS}


async def test_a_rule_that_was_prepared_is_moved_apart_from_the_other(shop: Shop) -> None:
    """Also under load."""
    await scenarios.prepared_rule(shop)


@pytest.mark.parametrize("speech", ["grpc", "tcp"])
async def test_calls_and_connections_are_divided_alike(speech: Speech) -> None:
    """GRPCRoute and TCPRoute: half of them, then all, then back."""
    async with behind_contour(speech) as shop:
        await scenarios.calls(shop)


async def test_its_envoy_counts_each_backend_and_copies_apart(shop: Shop) -> None:
    """A cluster per Service, named NAMESPACE_SERVICE_PORT; `internal` are copies, `external` what users asked for."""

    async def counted(whose: str, service: str) -> int:
        labels = {"envoy_cluster_name": f"{NAMESPACE}_{service}_{PORT}"}
        return await shop.counter(f"envoy_cluster_{whose}upstream_rq_completed", **labels)

    await shop.change_rules(lambda rules: rules[0]["backendRefs"][1].update(weight=1))
    before = {service: await counted("external_", service) for service in ("shop-stable", "shop-canary")}
    answers = await shop.ask()
    assert answers == {(OK, "v1"): REQUESTS}
    for service, already in before.items():
        assert await counted("external_", service) > already
        assert await counted("internal_", service) == 0
    users = [await counted("external_", service) for service in before]
    assert sum(users) - sum(before.values()) == REQUESTS
    await shop.change_rules(only_mirrored)
    assert await shop.ask() == {(OK, "v1"): REQUESTS}
    await shop.settled_copies()
    assert await counted("external_", "shop-canary") == users[1]
    assert await counted("internal_", "shop-canary") == REQUESTS
    assert await counted("", "shop-canary") == users[1] + REQUESTS


async def test_the_templates_that_are_shipped_tell_share_latency_and_errors() -> None:
    """Of its Envoy: at 50 % the canary gets half, as OBSERVED says; when it fails, the release is rolled back."""
    async with behind_contour(measured=True) as shop, shop.load():
        checks = [by_template("contour-error-rate"), by_template("contour-latency", args={"max": "30s"})]
        await shop.begin(
            [{"weight": 50, "hold": "10m"}],
            checks=[{**check, "interval": "2s", "window": "5s"} for check in checks],
            traffic=by_template("contour-traffic", **OFTEN),
        )
        status = await shop.until("good verdicts", lambda status: status.get("checksSummary") == "2/2 pass")
        failing, latency = (check["value"] for check in status["checks"])
        assert failing == 0
        assert 0 < latency < 30
        status = await shop.until("the share that it got", lambda status: "observed" in status["split"])
        assert status["split"]["observed"] == pytest.approx(50, abs=5)
        await shop.cluster.workloads.set_fault(NAMESPACE, "shop-canary", errors=0.3)
        status = await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        assert "contour-error-rate" in status["message"]


async def test_the_template_that_is_shipped_counts_connections() -> None:
    """Of a TCPRoute: half of them."""
    async with behind_contour("tcp", measured=True) as shop, shop.load():
        await shop.begin([{"weight": 50, "hold": "10m"}], traffic=by_template("contour-connections", **OFTEN))
        status = await shop.until("the share that it got", lambda status: "observed" in status.get("split", {}))
        assert status["split"]["observed"] == pytest.approx(50, abs=5)


async def test_a_mirror_that_copies_too_much_is_found_out_by_what_is_shipped(tmp_path: Path) -> None:
    """Where the platform wrongly declares that percentages are kept: proven by its own Envoy, taken away, and the run failed."""
    features = declared(tmp_path, Feature.REQUEST_MIRROR, Feature.REQUEST_PERCENTAGE_MIRROR)
    async with behind_contour(measured=True, gateway_features=features) as shop, shop.load():
        await shop.begin(
            [{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "10m"}],
            traffic=by_template("contour-traffic", **OFTEN),
        )
        status = await shop.until("the end of it", lambda status: status.get("phase") == "RolledBack")
        assert status["run"]["reason"] == "MirrorMismatch"
        assert "filters" not in (await shop.route())["spec"]["rules"][0]


async def test_its_class_says_nothing(shop: Shop) -> None:
    """Neither that it is accepted nor what it can do; its routes work all the same."""
    status = (await shop.cluster.kube.get(GATEWAYCLASSES, GATEWAY_CLASS))["status"]
    assert {one["type"]: one["status"] for one in status["conditions"]} == {"Accepted": "Unknown"}
    assert "supportedFeatures" not in status


def only_mirrored(rules: list[Json]) -> None:
    rules[0]["backendRefs"][1]["weight"] = 0
    rules[0]["filters"] = [mirror("shop-canary")]
