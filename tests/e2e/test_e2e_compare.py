"""Canary against stable on a real Envoy and a real Prometheus: what is worse comes back, what is as good goes through."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from cluster_kit import sandbox

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import HTTPROUTES, ROLLOUTS
from canary_sandbox.cluster import Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.load import LoadGenerator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE
USUAL = 2
"""Percent of stable's answers that are errors: no limit that a team would dare to set tells five times as many apart."""

OF_BACKEND = 'namespace="{{ backend.namespace }}",service="{{ backend.service }}"'
ERRORS: Json = {
    "name": "errors",
    "interval": "2s",
    "compare": {
        "prometheus": {
            "requests": f"envoy_cluster_upstream_rq_completed{{{OF_BACKEND}}}",
            "failures": f'envoy_cluster_upstream_rq_xx{{{OF_BACKEND},envoy_response_code_class="5"}}',
        },
        "lag": "2s",
        "alpha": "0.1%",
    },
}
LATENCY: Json = {
    "name": "latency",
    "interval": "2s",
    "initialDelay": "3s",
    "compare": {
        "prometheus": {"buckets": f"envoy_cluster_upstream_rq_time_bucket{{{OF_BACKEND}}}", "unit": "ms"},
        "slowerThan": ["100ms", "300ms"],
        "tolerance": 1.5,
        "lag": "2s",
        "alpha": "0.1%",
    },
}


class Team:
    """A sandbox with the demo's world in it, whose stable version has errors, and a controller."""

    def __init__(self, cluster: Sandbox, url: str) -> None:
        self.cluster = cluster
        self.url = url

    async def until(self, what: str, condition: Callable[[Json], bool], within: float = 60) -> Json:
        """The Rollout's status once it is so."""
        status: Json = {}
        try:
            async with asyncio.timeout(within):
                while True:
                    status = (await self.cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}
                    if condition(status):
                        return status
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{what}: never; the status says {json.dumps(status, indent=1)}")

    async def release(self, errors: int, *steps: Json, check: Json = ERRORS, milliseconds: int = 0) -> None:
        """Declare the Rollout with its comparison, and deploy v2, which takes so long to answer, once it is seen."""
        document = manifests.rollout()
        document["spec"] |= {"steps": list(steps), "checks": [check]}
        document["spec"].pop("traffic")
        await self.cluster.apply([document])
        await self.until("the first look", lambda status: status.get("phase") == "Idle")
        deployment = manifests.deployment("shop-canary", "v2", errors=errors)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        container["env"].append({"name": "FAULT_LATENCY_MS", "value": str(milliseconds)})
        await self.cluster.apply([deployment])

    async def weights(self) -> list[int]:
        route = await self.cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)
        return [ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]]


@pytest.fixture
async def team() -> AsyncGenerator[Team]:
    async with sandbox(prometheus=True) as cluster:
        world = manifests.world(cluster.gateway.listener_port)
        await cluster.apply([*world, manifests.deployment("shop-stable", "v1", errors=USUAL)])
        await cluster.prometheus.scraping()
        stop = asyncio.Event()
        token = cluster.api.add_token("canary-controller")
        settings = Settings(metrics_address="127.0.0.1:0", prometheus_url=cluster.prometheus.url)
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))
        try:
            url = await cluster.gateway_url(NAMESPACE, "public")
            async with LoadGenerator(url, manifests.HOST, rps=200, max_seconds=110):
                yield Team(cluster, url)
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)


async def test_ten_times_the_errors_are_found_and_rolled_back(team: Team) -> None:
    """Within a few looks, though stable has errors too; the message has both rates and the evidence."""
    await team.release(10 * USUAL, {"weight": 20, "hold": "5m"})
    status = await team.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    assert status["run"]["reason"] == "CheckFailed"
    assert await team.weights() == [1, 0]
    (check,) = status["checks"]
    assert (check["verdict"], check["reason"]) == ("Fail", "WorseThanStable")
    assert check["message"].startswith("errors ")
    assert check["message"].endswith(" of 1,000 needed")
    assert 4 < check["value"] < 25


async def test_a_canary_with_stables_errors_goes_through(team: Team) -> None:
    """The same two percent: nothing is proved against it, and at 100 % nothing is compared."""
    await team.release(USUAL, *({"weight": weight, "hold": "8s"} for weight in (20, 50, 100)))
    status = await team.until("the second step", lambda status: (status.get("step") or {}).get("index") == 2)
    status = await team.until(
        "a look at it", lambda status: (status["checks"][0].get("evidence") or {}).get("looks", 0) >= 2
    )
    assert (status["checks"][0]["verdict"], status["checks"][0]["reason"]) == ("Pass", "NotProved")
    status = await team.until("the third step", lambda status: (status.get("step") or {}).get("index") == 3)
    status = await team.until("the end", lambda status: status.get("phase") == "Succeeded")
    (check,) = status["checks"]
    assert check["reason"] == "NotApplicable"


async def test_a_canary_that_is_slow_is_found_and_rolled_back(team: Team) -> None:
    """By Envoy's own histogram, whose bounds are in milliseconds; the message says beyond what, and from what to what."""
    await team.release(USUAL, {"weight": 20, "hold": "5m"}, check=LATENCY, milliseconds=150)
    status = await team.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    assert status["run"]["reason"] == "CheckFailed"
    assert await team.weights() == [1, 0]
    (check,) = status["checks"]
    assert (check["verdict"], check["reason"]) == ("Fail", "SlowerThanStable")
    assert re.match(r"slower than 100 ms: \S+ % → (9\d|100) %, evidence .+ of 1,000 needed", check["message"])
    assert len(check["evidence"]["state"]) <= 1024


async def test_a_canary_that_is_as_fast_goes_through(team: Team) -> None:
    """Nothing is proved against it at any weight."""
    await team.release(USUAL, *({"weight": weight, "hold": "8s"} for weight in (20, 50, 100)), check=LATENCY)
    status = await team.until("the second step", lambda status: (status.get("step") or {}).get("index") == 2)
    status = await team.until(
        "a look at it", lambda status: (status["checks"][0].get("evidence") or {}).get("looks", 0) >= 2
    )
    assert (status["checks"][0]["verdict"], status["checks"][0]["reason"]) == ("Pass", "NotProved")
    await team.until("the end", lambda status: status.get("phase") == "Succeeded")


async def test_a_bound_that_envoy_does_not_have_is_named(team: Team) -> None:
    """The run holds, and the words say which there are."""
    compare = {**LATENCY["compare"], "slowerThan": ["120ms"]}
    await team.release(USUAL, {"weight": 20, "hold": "2s"}, {"weight": 50}, check={**LATENCY, "compare": compare})

    def unknown(status: Json) -> bool:
        return any(check.get("reason") == "NoSuchBucket" for check in status.get("checks", ()))

    status = await team.until("a look", unknown)
    (check,) = status["checks"]
    assert check["verdict"] == "Unknown"
    assert check["message"].endswith("has no bucket of 120 ms: the nearest are 100 ms and 150 ms")
    assert await team.weights() == [80, 20]
