"""No Prometheus anywhere: the controller scrapes the pods of both Services, on a real Envoy."""

from __future__ import annotations

import asyncio
import json
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

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.sandbox_only("a real API server refuses the loopback addresses at which the pods are scraped"),
]

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE
USUAL = 2
"""Percent of stable's answers that are errors."""

COUNTERS: Json = {
    "requests": {"metric": "app_requests_total", "without": {"outcome": ""}},
    "failures": {"metric": "app_requests_total", "labels": {"outcome": "fail*"}},
}
COMPARED: Json = {
    "name": "errors",
    "interval": "1s",
    "compare": {"scrape": {"port": "http", **COUNTERS}, "lag": "1s", "alpha": "0.1%"},
}
LIMITED: Json = {**manifests.rollout(scraped=True)["spec"]["checks"][0], "threshold": {"max": "90%"}}
"""That of the demo without a Prometheus, with a limit that only a comparison can tell from stable's errors."""


class Team:
    """A sandbox with the demo's world in it, whose stable version has errors, and a controller without a Prometheus."""

    def __init__(self, cluster: Sandbox) -> None:
        self.cluster = cluster

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

    async def declare(self, *checks: Json, steps: list[Json]) -> None:
        document = manifests.rollout()
        document["spec"] |= {"steps": steps, "checks": list(checks)}
        document["spec"].pop("traffic")
        await self.cluster.apply([document])

    async def release(self, version: str, errors: int) -> None:
        await self.cluster.apply([manifests.deployment("shop-canary", version, errors=errors)])

    async def weights(self) -> list[int]:
        route = await self.cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)
        return [ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]]


@pytest.fixture
async def team() -> AsyncGenerator[Team]:
    async with sandbox() as cluster:
        world = manifests.world(cluster.gateway.listener_port)
        await cluster.apply([*world, manifests.deployment("shop-stable", "v1", errors=USUAL)])
        stop = asyncio.Event()
        token = cluster.api.add_token("canary-controller")
        settings = Settings(metrics_address="127.0.0.1:0", allow_hosts=("127.0.0.0/8",))
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))
        try:
            url = await cluster.gateway_url(NAMESPACE, "public")
            async with LoadGenerator(url, manifests.HOST, rps=80, max_seconds=110):
                yield Team(cluster)
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)


async def test_a_bad_release_comes_back_and_a_good_one_goes_through(team: Team) -> None:
    """By the counters of the pods alone: compared with stable's, and against a limit."""
    await team.declare(COMPARED, LIMITED, steps=[{"weight": 20, "hold": "5m"}])
    await team.until("the first look", lambda status: status.get("phase") == "Idle")
    await team.release("v2", 30)
    status = await team.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    assert status["run"]["reason"] == "CheckFailed"
    assert await team.weights() == [1, 0]
    assert [one["reason"] for one in status["checks"] if one["verdict"] == "Fail"] == ["WorseThanStable"]

    await team.declare(COMPARED, LIMITED, steps=[{"weight": 20, "hold": "8s"}, {"weight": 100, "hold": "2s"}])
    await team.release("v3", USUAL)
    # The status has what was counted at a step when the next one begins.
    status = await team.until("the second step", lambda status: (status.get("step") or {}).get("index") == 2)
    compared, limited = status["checks"]
    assert compared["verdict"] == "Pass"
    assert compared["evidence"]["looks"] >= 1
    assert limited["verdict"] == "Pass"
    assert 0 <= limited["value"] <= 0.1
    assert limited["query"] == (
        'app_requests_total{outcome="failed"} of app_requests_total of the pods of shop-canary at /metrics'
    )
    await team.until("the end", lambda status: status.get("phase") == "Succeeded")
