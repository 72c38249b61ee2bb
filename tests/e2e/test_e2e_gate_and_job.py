"""A smoke test that runs as a process, and another system that says when: on a real Envoy, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cluster_kit import sandbox

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import DEPLOYMENTS, JOBS, ROLLOUTS, SERVICES
from canary_sandbox.demo import manifests

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE

SMOKE = """
import sys, urllib.request
version = urllib.request.urlopen(sys.argv[1], timeout=10).headers["x-version"]
print("asked", sys.argv[1], "and met", version)
sys.exit(0 if version == sys.argv[2] else 9)
"""


@pytest.mark.parametrize("good", [True, False])
async def test_a_release_that_a_job_tests_and_a_gate_lets_on(good: bool) -> None:
    """The Job meets the canary's own Service; the gate says no, then yes; a version that the Job does not expect is rolled back."""
    says = {"allowed": False, "reason": "freeze until Monday"}

    async def may_i(_request: web.Request) -> web.Response:
        return web.json_response(says)

    application = web.Application()
    application.router.add_get("/may-i", may_i)
    async with TestServer(application, host="127.0.0.1") as server, sandbox() as cluster:
        await cluster.apply(manifests.world(cluster.gateway.listener_port))
        service = await cluster.kube.get(SERVICES, "shop-canary", NAMESPACE)
        target = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}/"
        gate = {
            "http": {
                "url": f"http://127.0.0.1:{server.port}/may-i",
                "expect": {"jsonPath": "$.allowed", "equals": "true"},
                "message": "$.reason",
            },
            "interval": "1s",
        }
        document = manifests.rollout()
        job = {"image": "none", "command": ["python", "-c", SMOKE, target, "v2" if good else "v3"]}
        document["spec"] |= {
            "steps": [{"weight": 10, "gate": gate}, {"weight": 50, "approval": {}}],
            "checks": [{"name": "smoke", "job": job, "interval": "1h"}],
        }
        document["spec"].pop("traffic")
        token, stop = cluster.api.add_token("canary-controller"), asyncio.Event()
        settings = Settings(metrics_address="127.0.0.1:0", allow_hosts=("127.0.0.0/8",))
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))

        async def until(what: str, condition: Callable[[Json], bool]) -> Json:
            found: Json = {}
            try:
                async with asyncio.timeout(80):
                    while not condition(found):
                        found = (await cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}
                        await asyncio.sleep(0.05)
            except TimeoutError:
                pytest.fail(f"{what}: never; last seen: {json.dumps(found, indent=1)}")
            return found

        try:
            await cluster.apply([document])
            await until("the first look", lambda found: found.get("phase") == "Idle")
            template = manifests.deployment("shop-canary", "v2")["spec"]["template"]
            await cluster.kube.merge_patch(DEPLOYMENTS, "shop-canary", NAMESPACE, {"spec": {"template": template}})
            if good:
                found = await until("a no", lambda found: "freeze until Monday" in found.get("message", ""))
                assert (found["split"]["written"], found["checks"][0]["reason"]) == (10, "JobSucceeded")
                says |= {"allowed": True, "reason": "go on"}
                await until("half of it", lambda found: found.get("phase") == "Paused")
            else:
                found = await until("the rollback", lambda found: found.get("phase") == "RolledBack")
                assert f"failed with exit code 9: asked {target} and met v2" in found["run"]["message"]
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)
        left = [one["metadata"]["name"] for one in (await cluster.kube.list(JOBS, NAMESPACE))["items"]]
        assert bool(left) is good, "what runs goes on without a controller; what is over is gone"
