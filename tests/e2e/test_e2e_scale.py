"""Replicas that are processes: they follow the share of the canary on a real Envoy, and nobody who asks notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cluster_kit import sandbox

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import DEPLOYMENTS, ROLLOUTS
from canary_sandbox.cluster import Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.load import LoadGenerator
from canary_sandbox.replicas import OwnProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE


async def until(what: str, look: Callable[[], Awaitable[Json]], condition: Callable[[Json], bool]) -> Json:
    last: Json = {}
    try:
        async with asyncio.timeout(80):
            while True:
                last = await look()
                if condition(last):
                    return last
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{what}: never; last seen: {json.dumps(last, indent=1)}")


def alive(cluster: Sandbox, name: str) -> int:
    """The processes that serve for a Deployment."""
    found = [replica.server for replica in cluster.workloads.replicas(NAMESPACE, name) if replica.ready]
    pids = {server.pid for server in found if isinstance(server, OwnProcess)}
    return sum(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_processes_come_before_their_share_and_go_after_the_run() -> None:
    """From none to one for 10 %, two for 50 %, and none again after an abort; no request fails on the way."""
    async with sandbox(processes=True) as cluster:
        documents = manifests.world(cluster.gateway.listener_port)
        for document in documents:
            if document["kind"] == "Deployment":
                document["spec"]["replicas"] = 4 if document["metadata"]["name"] == "shop-stable" else 0
        await cluster.apply(documents)
        url = await cluster.gateway_url(NAMESPACE, "public")
        await until("stable", lambda: _ready(cluster), lambda status: status.get("readyReplicas") == 4)
        document = manifests.rollout()
        document["spec"] |= {
            "steps": [{"weight": 10, "approval": {}}, {"weight": 50, "approval": {}}],
            "checks": [],
            "scale": {"canary": "MatchShare", "drain": "2s"},
        }
        document["spec"].pop("traffic")
        token, stop = cluster.api.add_token("canary-controller"), asyncio.Event()
        settings = Settings(metrics_address="127.0.0.1:0")
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))

        async def status() -> Json:
            return (await cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}

        async def ask(verb: str) -> None:
            annotation = {"metadata": {"annotations": {"canary.dev/request": verb}}}
            await cluster.kube.merge_patch(ROLLOUTS, "shop", NAMESPACE, annotation)

        async def processes() -> Json:
            return {"alive": alive(cluster, "shop-canary")}

        def reached(index: int) -> Callable[[Json], bool]:
            return lambda found: found.get("phase") == "Paused" and found["step"]["index"] == index

        try:
            await cluster.apply([document])
            await until("the first look", status, lambda found: found.get("phase") == "Idle")
            assert alive(cluster, "shop-canary") == 0
            template = manifests.deployment("shop-canary", "v2")["spec"]["template"]
            await cluster.kube.merge_patch(DEPLOYMENTS, "shop-canary", NAMESPACE, {"spec": {"template": template}})
            async with LoadGenerator(url, manifests.HOST, 50, max_seconds=150) as load:
                await until("10 %", status, reached(1))
                assert alive(cluster, "shop-canary") == 1
                await ask("promote")
                await until("50 %", status, reached(2))
                assert alive(cluster, "shop-canary") == 2
                await asyncio.sleep(2)
                assert load.counts().by_version["v2"] > 0
                await ask("abort")
                await until("the rollback", status, lambda found: found.get("phase") == "RolledBack")
                assert alive(cluster, "shop-canary") == 2, "streams that are open have their time"
                await until("no replicas", status, lambda found: "scale" not in found)
                await until("no processes", processes, lambda found: not found["alive"])
                assert load.counts().failed == 0
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)
        assert alive(cluster, "shop-stable") == 4


async def _ready(cluster: Sandbox) -> Json:
    return (await cluster.kube.get(DEPLOYMENTS, "shop-stable", NAMESPACE)).get("status") or {}
