"""`Sandbox` as a whole: applying documents, parts that are left out, kubectl."""

from __future__ import annotations

import asyncio
import json

import pytest
from cluster_kit import sandbox
from sandbox_kit import Shop, deployment, gateway, manifest, namespace, service

from canary.errors import ApiError, SandboxError
from canary.kube import NAMESPACES, SERVICES

TWO = """
apiVersion: v1
kind: Namespace
metadata: {name: team-shop}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: team-shop}
spec: {selector: {app: app}, ports: [{name: http, port: 80}]}
"""


async def test_apply_creates_and_then_patches() -> None:
    """YAML text or documents; a second time changes what differs and keeps the rest."""
    async with sandbox(gateway=None, workloads=False, crds=()) as cluster:
        await cluster.apply(TWO)
        before = await cluster.kube.get(SERVICES, "app", "team-shop")
        (after,) = await cluster.apply([manifest(service("app", port=81))])
        assert after["spec"]["ports"][0]["port"] == 81
        assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
        assert (await cluster.kube.get(NAMESPACES, "team-shop"))["metadata"]["name"] == "team-shop"


async def test_apply_refuses_what_the_server_does_not_serve() -> None:
    """An unknown kind or group is an error, not silence."""
    async with sandbox(gateway=None, workloads=False, crds=()) as cluster:
        with pytest.raises(SandboxError, match="does not serve Nonsense of v1"):
            await cluster.apply([{"apiVersion": "v1", "kind": "Nonsense", "metadata": {"name": "x"}}])
        with pytest.raises(ApiError):
            await cluster.apply([{"apiVersion": "example.com/v1", "kind": "Nonsense", "metadata": {"name": "x"}}])


async def test_parts_that_were_left_out_say_so() -> None:
    """Asking for a part that was not started is an error with its name."""
    async with sandbox(gateway=None, workloads=False, crds=()) as cluster:
        for part in ("gateway", "workloads", "Prometheus"):
            with pytest.raises(SandboxError, match=f"without (a )?{part}"):
                getattr(cluster, part.lower())


@pytest.mark.e2e
async def test_kubectl_works_with_the_kubeconfig() -> None:
    """The file that `kubeconfig` names is all that kubectl needs; Pods and Gateways are there to see."""
    async with sandbox(crds=()) as cluster:
        await cluster.apply([manifest(namespace("team-shop")), manifest(gateway()), deployment("app", {}, replicas=2)])
        await Shop(cluster).rolled_out("app")
        await cluster.gateway_url("team-shop", "shop")
        command = [
            "kubectl",
            "--kubeconfig",
            str(cluster.kubeconfig),
            "-n",
            "team-shop",
            "get",
            "pods,gateways",
            "-o",
            "json",
        ]
        kubectl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(kubectl.communicate(), 30)
        assert kubectl.returncode == 0
        kinds = [item["kind"] for item in json.loads(output)["items"]]
        assert sorted(kinds) == ["Gateway", "Pod", "Pod"]


@pytest.mark.sandbox_only("the definitions of a real server are the whole session's")
async def test_a_gateway_without_its_definitions_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An empty folder of Gateway API definitions is named in the error."""
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("GATEWAY_API_CRDS", str(empty))
    with pytest.raises(SandboxError, match=str(empty)):
        async with sandbox(crds=()):
            pass
