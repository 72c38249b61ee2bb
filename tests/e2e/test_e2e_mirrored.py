"""Answers to mirrored requests, compared: on a real Envoy, with the comparer itself, an error that no error rate can see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from cluster_kit import sandbox
from test_e2e_mirror import GET, NAMESPACE, Team, load

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary_sandbox.demo import manifests
from canary_sandbox.demo.manifests import catalogue

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.sandbox_only(
        "a real server has no loopback addresses in its slices, and those it has lead to no process"
    ),
]

Json = dict[str, Any]

COMPARER: Json = {"service": "shop-comparer", "port": 8080}
MIRROR: Json = {"mirror": {"percent": 50, "comparer": COMPARER}, "hold": "15s"}
CHECK: Json = {"name": "same-answers", "interval": "2s", "mirrored": {"maxDifferent": "0.1%"}}


@pytest.fixture
async def team() -> AsyncGenerator[Team]:
    async with sandbox() as cluster:
        world = [one for one in manifests.world(cluster.gateway.listener_port) if one["kind"] != "Deployment"]
        for document in world:
            if document["kind"] == "HTTPRoute":
                document["spec"]["rules"][0]["matches"] = [GET]
        await cluster.apply(
            [*world, catalogue("shop-stable", "v1"), catalogue("shop-canary", "v1"), *manifests.comparer(replicas=2)]
        )
        stop = asyncio.Event()
        token = cluster.api.add_token("canary-controller")
        settings = Settings(metrics_address="127.0.0.1:0")
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))
        try:
            yield Team(cluster, await cluster.gateway_url(NAMESPACE, "public"))
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)


async def declare(team: Team, hold: str = "15s") -> None:
    """The Rollout, once everybody who is to answer does."""
    document = manifests.rollout()
    document["spec"] |= {"steps": [{**MIRROR, "hold": hold}, {"weight": 50, "hold": "2s"}], "checks": [CHECK]}
    document["spec"].pop("traffic")
    await team.cluster.apply([document])
    await team.until("the first look", lambda status: status.get("phase") == "Idle")
    names = ("shop-stable", "shop-canary", "shop-comparer")
    await team.until("everybody answers", lambda _: all(serves(team, name) for name in names))


def serves(team: Team, name: str) -> bool:
    replicas = team.cluster.workloads.replicas(NAMESPACE, name)
    return len(replicas) == 2 and all(replica.serving for replica in replicas)


async def test_a_wrong_price_with_status_200_is_caught_before_anybody_is_served(team: Team) -> None:
    """In one of twenty answers. The run ends with the field, its share and its noise; stable alone has served the users."""
    await declare(
        team, hold="2m"
    )  # it ends with the proof; a comparer on a busy machine spares stable, and needs longer for that
    async with load(team) as users:
        await team.cluster.apply([catalogue("shop-canary", "v2", wrong=5)])
        status = await team.until("the rollback", lambda status: status.get("phase") == "RolledBack", 100)
        counts = users.counts()
        assert (dict(counts.by_version), counts.failed) == ({"v1": counts.total}, 0)
    assert status["run"]["reason"] == "CheckFailed"
    said = status["run"]["message"]
    assert said.startswith("check same-answers failed: `$.items[].price` differs in "), said
    assert "(noise 0 %), evidence " in said
    assert "no user was served by it" in said
    assert "servedAt" not in said
    assert "requestId" not in said
    assert await team.filters() == []
    (check,) = status["checks"]
    assert check["reason"] == "DiffersFromStable"
    assert 0.01 < check["value"] < 0.2
    assert "servedAt" not in json.dumps(check["message"])


async def test_a_canary_that_answers_alike_goes_through(team: Team) -> None:
    """Its answers have a time and an id that no two answers share, and nobody had to say so."""
    await declare(team)
    async with load(team) as users:
        await team.cluster.apply([catalogue("shop-canary", "v2")])
        status = await team.until(
            "the end of the mirror", lambda status: (status.get("step") or {}).get("index") == 2, 60
        )
        (check,) = status["checks"]
        compared = json.loads(check["evidence"]["state"])["compared"]
        assert compared >= 50  # of 15 seconds, however busy the machine is
        await team.until("the promotion", lambda status: status.get("phase") == "Succeeded", 40)
        assert users.counts().failed == 0
    assert await team.filters() == []
