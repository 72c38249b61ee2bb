"""A team with nothing but kubectl: watching, describing, steering and deleting a Rollout on real traffic."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp
import pytest
from cluster_kit import sandbox

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import HTTPROUTES, ROLLOUTS
from canary_sandbox.cluster import Sandbox
from canary_sandbox.demo import manifests

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE


class Team:
    """A sandbox with the demo's world in it, a controller, and kubectl."""

    def __init__(self, cluster: Sandbox) -> None:
        self.cluster = cluster

    async def kubectl(self, *words: str, stdin: str = "") -> str:
        command = ["kubectl", "--kubeconfig", str(self.cluster.kubeconfig), "-n", NAMESPACE, *words]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        text = output.decode()
        assert process.returncode == 0, f"{' '.join(words)}: {text}"
        return text

    async def rollout(self) -> Json:
        return await self.cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)

    async def weights(self) -> list[int]:
        route = await self.cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)
        return [ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]]

    async def until(self, what: str, condition: Callable[[Json], bool], within: float = 60) -> Json:
        last: Json = {}
        try:
            async with asyncio.timeout(within):
                while True:
                    last = (await self.rollout()).get("status") or {}
                    if condition(last):
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{what}: never; the status says {json.dumps(last, indent=1)}")

    async def served(self, requests: int) -> dict[str, int]:
        url = await self.cluster.gateway_url(NAMESPACE, "public")
        counts: dict[str, int] = {}
        async with aiohttp.ClientSession(headers={"Host": manifests.HOST}) as http:
            for _ in range(requests):
                async with http.get(url) as response:
                    version = response.headers.get("x-version", "")
                    counts[version] = counts.get(version, 0) + 1
        return counts


def rollout(*steps: Json, **more: Any) -> Json:
    document = manifests.rollout()
    document["spec"]["steps"] = list(steps)
    document["spec"]["checks"] = []
    document["spec"].pop("traffic")
    document["spec"].update(more)
    return document


@pytest.fixture
async def team() -> AsyncGenerator[Team]:
    async with sandbox() as cluster:
        await cluster.apply(manifests.world())
        stop = asyncio.Event()
        controller = asyncio.create_task(
            serve(
                Settings(metrics_address="127.0.0.1:0"),
                stop=stop,
                server=cluster.api.url,
                token=cluster.api.add_token("canary-controller"),
            )
        )
        try:
            yield Team(cluster)
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)


async def test_a_release_by_kubectl_alone(team: Team) -> None:
    """apply, wait, get with our columns, annotate to approve, describe with Events, and Ready again at the end."""
    await team.kubectl("apply", "-f", "-", stdin=json.dumps(rollout({"weight": 20}, {"approval": {}}, {"weight": 100})))
    await team.kubectl("wait", "rollout/shop", "--for=condition=Ready", "--timeout=30s")
    await team.kubectl("set", "env", "deployment/shop-canary", "VERSION=v2")

    await team.until("waiting for approval", lambda status: "waiting for `canary promote`" in status.get("message", ""))
    header, line = (await team.kubectl("get", "rollouts")).strip().splitlines()
    assert header.split() == ["NAME", "PHASE", "STEP", "WEIGHT", "OBSERVED", "CHECKS", "AGE", "MESSAGE"]
    assert line.split()[:4] == ["shop", "Paused", "2/3", "20"]
    assert header.index("MESSAGE") == line.index("waiting for `canary promote`") < 80, (
        "a narrow terminal breaks the sentence, nothing else"
    )
    assert "STABLE" in await team.kubectl("get", "cro", "-o", "wide")
    assert await team.kubectl("get", "rollouts.canary.dev", "-o", "name") == await team.kubectl(
        "get", "ro", "-o", "name"
    )
    assert await team.weights() == [80, 20]
    counts = await team.served(400)
    assert abs(counts["v2"] / 400 - 0.2) < 0.1

    await team.kubectl("annotate", "rollout", "shop", "canary.dev/request=promote")
    await team.until("success", lambda status: status.get("phase") == "Succeeded")
    await team.kubectl("wait", "rollout/shop", "--for=condition=Ready", "--timeout=30s")
    assert await team.weights() == [1, 0]
    assert await team.served(50) == {"v2": 50}
    description = await team.kubectl("describe", "rollout", "shop")
    for reason in ("RunStarted", "StepStarted", "Promoting", "Succeeded"):
        assert reason in description
    assert "run.canary.dev" not in await team.kubectl("get", "httproute", "shop", "-o", "yaml")


async def test_watching_with_kubectl(team: Team) -> None:
    """`kubectl get rollouts -w` prints a line as the phase changes."""
    await team.kubectl("apply", "-f", "-", stdin=json.dumps(rollout({"weight": 20}, {"approval": {}})))
    await team.kubectl("wait", "rollout/shop", "--for=condition=Ready", "--timeout=30s")
    command = ["kubectl", "--kubeconfig", str(team.cluster.kubeconfig), "-n", NAMESPACE, "get", "rollouts", "-w"]
    watching = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert watching.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert b"NAME" in await watching.stdout.readline()
            assert b"Idle" in await watching.stdout.readline()
            await team.kubectl("set", "env", "deployment/shop-canary", "VERSION=v2")
            while b"Progressing" not in await watching.stdout.readline():
                pass
    finally:
        watching.kill()
        await watching.wait()


async def test_a_hand_that_lowers_is_respected_and_named(team: Team) -> None:
    """Somebody takes weight away with kubectl: the run pauses, says who, and stays there until it is resumed."""
    await team.kubectl("apply", "-f", "-", stdin=json.dumps(rollout({"weight": 50}, {"approval": {}})))
    await team.kubectl("wait", "rollout/shop", "--for=condition=Ready", "--timeout=30s")
    await team.kubectl("set", "env", "deployment/shop-canary", "VERSION=v2")
    await team.until("50 %", lambda status: status.get("split", {}).get("accepted") == 50)
    patch = [
        {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 95},
        {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 5},
    ]
    await team.kubectl("patch", "httproute", "shop", "--type=json", "-p", json.dumps(patch))
    status = await team.until("pause", lambda status: (status.get("paused") or {}).get("reason") == "LoweredByHand")
    assert "kubectl-patch" in status["message"]
    assert "from 50 % to 5 %" in status["message"]
    assert await team.weights() == [95, 5]
    await team.kubectl("annotate", "rollout", "shop", "canary.dev/request=abort")
    await team.until("rollback", lambda status: status.get("phase") == "RolledBack")
    assert await team.weights() == [1, 0]


async def test_deleting_a_rollout_in_the_middle_of_a_run(team: Team) -> None:
    """`kubectl delete` returns once the route is as it was before."""
    await team.kubectl("apply", "-f", "-", stdin=json.dumps(rollout({"weight": 50}, {"approval": {}})))
    await team.kubectl("wait", "rollout/shop", "--for=condition=Ready", "--timeout=30s")
    await team.kubectl("set", "env", "deployment/shop-canary", "VERSION=v2")
    await team.until("50 %", lambda status: status.get("split", {}).get("accepted") == 50)
    await team.kubectl("delete", "rollout", "shop", "--timeout=30s")
    assert await team.weights() == [1, 0]
    assert "run.canary.dev" not in await team.kubectl("get", "httproute", "shop", "-o", "yaml")
