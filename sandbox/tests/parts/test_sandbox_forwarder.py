"""The sandbox's kube-proxy: what is forwarded, where to, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from cluster_kit import POD_NETWORK, api_server, sandbox
from sandbox_kit import (
    Shop,
    backend,
    deployment,
    endpoint_slice,
    gateway,
    manifest,
    namespace,
    route,
    rule,
    service,
    until,
)

from canary.errors import SandboxError
from canary.kube import ENDPOINTSLICES, NAMESPACES, PODS, SERVICES, Kube, KubeClient
from canary_sandbox.addresses import PodNetwork
from canary_sandbox.forwarder import ServiceForwarder, wanted_listeners
from canary_sandbox.process import free_port

Json = dict[str, Any]


def at(address: str | None, document: Json, **spec: Any) -> Json:
    place = {} if address is None else {"clusterIP": address}
    return {**document, "spec": {**document["spec"], **place, **spec}}


def wanted(services: list[Json], slices: list[Json], **more: Any) -> Any:
    def keyed(documents: list[Json]) -> Any:
        return {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in documents}

    return wanted_listeners(keyed(services), keyed(slices), **more)


@pytest.mark.parametrize(
    ("address", "spec", "ready", "listens"),
    [
        ("127.96.1.2", {}, {"ready": True}, True),
        ("127.96.1.2", {}, {}, True),
        ("127.96.1.2", {}, {"ready": False}, False),
        ("127.96.1.2", {}, {"ready": True, "terminating": True}, False),
        ("127.96.1.2", {"ports": [{"name": "http", "port": 8080, "protocol": "UDP"}]}, {"ready": True}, False),
        ("10.96.1.2", {}, {"ready": True}, False),
        ("None", {}, {"ready": True}, False),
        (None, {}, {"ready": True}, False),
    ],
)
def test_what_is_listened_on(address: str | None, spec: Json, ready: dict[str, bool], listens: bool) -> None:
    """TCP ports of loopback ClusterIPs that have a ready endpoint; nothing else."""
    piece = endpoint_slice("app", 4001)
    piece["endpoints"][0]["conditions"] = ready
    found = wanted([at(address, service("app"), **spec)], [piece])
    assert found == ({("127.96.1.2", 8080): (("127.0.0.1", 4001),)} if listens else {})


def test_pod_addresses_are_looked_up() -> None:
    """An address of the pod network leads to the loopback port of that pod; any other one is used as it is."""
    network = PodNetwork("10.244.0.0/16")
    inside, outside = endpoint_slice("app", 4001), endpoint_slice("app", 4002)
    inside["endpoints"][0]["addresses"] = [network.allocate()]
    assert inside["endpoints"][0]["addresses"] == ["10.244.0.1"]
    outside["endpoints"][0]["addresses"] = ["192.0.2.7"]
    found = wanted([at("127.96.1.2", service("app"))], [inside, outside], locate=network.locate)
    assert found == {("127.96.1.2", 8080): (("127.0.0.1", 4001), ("192.0.2.7", 4002))}


def test_a_pod_network_hands_out_its_addresses_in_turn() -> None:
    """Neither the network's own address nor the broadcast address; the first one follows the last."""
    network = PodNetwork("10.0.0.0/29")
    assert [network.allocate() for _ in range(7)] == [f"10.0.0.{number}" for number in (1, 2, 3, 4, 5, 6, 1)]
    for wrong in ("127.0.0.0/16", "10.0.0.0/31", "10.0.0.1/16", "fd00::/64", "pods"):
        with pytest.raises(SandboxError, match="pod_network"):
            PodNetwork(wrong)


POD = "10.244.0.1"
"""An address that no interface has: no API server refuses it, and the forwarder looks it up."""


# --- through real sockets --------------------------------------------------------------------------------------------


@asynccontextmanager
async def forwarding(**more: Any) -> AsyncGenerator[tuple[Kube, ServiceForwarder]]:
    """An API server with a namespace, and the forwarder."""
    async with (
        api_server() as api,
        await KubeClient.connect(server=api.url, token=api.token, field_manager="test") as kube,
        ServiceForwarder(kube, locate=PodNetwork(POD_NETWORK).locate, **more) as forwarder,
    ):
        await kube.create(NAMESPACES, manifest(namespace("team-shop")))
        yield kube, forwarder


async def expose(kube: Kube, *ports: int, name: str = "app") -> tuple[str, int]:
    """A Service whose endpoints are these loopback ports; returns where it is to be found."""
    made = await kube.create(SERVICES, manifest(service(name)), "team-shop")
    for port in ports:
        await kube.create(ENDPOINTSLICES, manifest(endpoint_slice(name, port, address=POD)), "team-shop")
    return made["spec"]["clusterIP"], 8080


async def listens(address: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def server(answer: Any) -> AsyncGenerator[int]:
    """A TCP server on a loopback port that handles each connection with `answer(reader, writer)`."""
    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def greet(name: bytes) -> Any:
    """The server speaks first, says its name, and waits for the other side to end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        await reader.read()
        writer.close()

    return answer


async def greeting(address: tuple[str, int]) -> bytes:
    """What the server says first; nothing when the connection is cut, be it while it is made or later."""
    try:
        reader, writer = await asyncio.open_connection(*address)
        try:
            return await reader.read(16)
        finally:
            writer.close()
    except ConnectionResetError:
        return b""


async def test_connections_take_turns() -> None:
    """Three endpoints, thirty connections: ten each. What a server says first arrives too."""
    async with (
        server(greet(b"a")) as a,
        server(greet(b"b")) as b,
        server(greet(b"c")) as c,
        forwarding() as (kube, _),
    ):
        address = await expose(kube, a, b, c)

        async def all_three() -> bool:
            return await listens(address) and {await greeting(address) for _ in range(3)} == {b"a", b"b", b"c"}

        await until(all_three, what="every endpoint")
        assert Counter([await greeting(address) for _ in range(30)]) == {b"a": 10, b"b": 10, b"c": 10}


async def test_bytes_and_half_closes_pass_unharmed() -> None:
    """Ten megabytes, then a half-close: the server sees the end, digests, and its answer still arrives."""

    async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = hashlib.sha256()
        while chunk := await reader.read(65536):
            said.update(chunk)
        writer.write(said.hexdigest().encode())
        writer.close()

    payload = random.Random(7).randbytes(10_000_000)
    async with server(digest) as port, forwarding() as (kube, forwarder):
        address = await expose(kube, port)
        await until(lambda: listens(address), what="the listener")
        reader, writer = await asyncio.open_connection(*address)
        writer.write(payload)
        await writer.drain()
        writer.write_eof()
        assert (await reader.read()).decode() == hashlib.sha256(payload).hexdigest()
        writer.close()

        async def nobody() -> bool:
            return not forwarder.connections

        await until(nobody, what="both halves to be closed")


async def test_an_endpoint_that_is_dead_is_passed_over() -> None:
    """A port where nobody listens any more costs no connection: the next endpoint takes it."""
    async with server(greet(b"a")) as alive, forwarding() as (kube, _):
        address = await expose(kube, free_port(), alive)
        await until(lambda: listens(address), what="the listener")

        async def both_known() -> bool:
            return await greeting(address) == b"a"

        await until(both_known, what="the live endpoint")
        assert [await greeting(address) for _ in range(6)] == [b"a"] * 6


async def test_a_service_whose_endpoints_are_all_dead_cuts_connections() -> None:
    """Ready on paper only: the connection is reset, not left hanging."""
    async with forwarding() as (kube, _):
        address = await expose(kube, free_port())
        await until(lambda: listens(address), what="the listener")
        assert await asyncio.wait_for(greeting(address), 5) == b""


async def test_connections_are_bounded() -> None:
    """What goes beyond `max_connections` is cut off as it comes; when one ends, there is room again."""
    async with server(greet(b"a")) as port, forwarding(max_connections=2) as (kube, forwarder):
        address = await expose(kube, port)
        await until(lambda: listens(address), what="the listener")

        async def nobody() -> bool:
            return not forwarder.connections

        await until(nobody, what="the probe's end")
        held = [await asyncio.open_connection(*address) for _ in range(2)]
        assert [await reader.read(1) for reader, _ in held] == [b"a", b"a"]
        assert await greeting(address) == b""
        held[0][1].close()

        async def room() -> bool:
            return await greeting(address) == b"a"

        await until(room, what="room for another connection")
        held[1][1].close()


async def test_a_port_that_cannot_be_bound_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else listens there: one warning with the address, and other Services are served."""
    async with server(greet(b"a")) as port, forwarding() as (kube, _):
        made = await kube.create(SERVICES, manifest(service("taken")), "team-shop")
        with socket.socket() as other, caplog.at_level(logging.WARNING, "canary_sandbox.forwarder"):
            other.bind((made["spec"]["clusterIP"], 8080))
            other.listen()
            await kube.create(ENDPOINTSLICES, manifest(endpoint_slice("taken", port, address=POD)), "team-shop")
            address = await expose(kube, port)
            await until(lambda: listens(address), what="the other Service's listener")
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1
        assert made["spec"]["clusterIP"] in told[0]


# --- with workloads --------------------------------------------------------------------------------------------------


async def get(http: aiohttp.ClientSession, url: str) -> str:
    """The pod that answered; "refused" when nobody listens, "cut" when the listener closed while we were in its queue."""
    try:
        async with http.get(url) as response:
            assert response.status == 200
            return response.headers["x-pod"]
    except aiohttp.ClientConnectorError as error:
        return "refused" if isinstance(error.os_error, ConnectionRefusedError) else repr(error)
    except aiohttp.ClientOSError:
        return "cut"


async def test_a_cluster_ip_follows_readiness() -> None:
    """All replicas answer on the ClusterIP; unready, it refuses; ready, it answers; deleted, it refuses."""
    async with sandbox(gateway=None, crds=(), drain=0.05) as cluster:
        await cluster.apply(
            [manifest(namespace("team-shop")), manifest(service("app")), deployment("app", {}, replicas=3)]
        )
        await Shop(cluster).rolled_out("app")
        url = f"http://{(await cluster.kube.get(SERVICES, 'app', 'team-shop'))['spec']['clusterIP']}:8080"
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5)) as http:

            async def pods() -> set[str]:
                return {await get(http, url) for _ in range(6)}

            async def three() -> bool:
                return len(await pods() - {"refused"}) == 3

            async def refused() -> bool:
                return await pods() == {"refused"}

            await until(three, what="all three replicas")
            await cluster.workloads.set_fault("team-shop", "app", ready=False)
            await until(refused, what="a refusal")
            await cluster.workloads.set_fault("team-shop", "app", ready=True)
            await until(three, what="all three replicas again")
            await cluster.kube.delete(SERVICES, "app", "team-shop")
            await until(refused, what="a refusal after the deletion")


async def test_a_pod_network_serves_through_cluster_ips_and_envoy() -> None:
    """Pods have addresses that no interface has; the forwarder and our gateway still find them."""
    async with sandbox(crds=(), drain=0.05, pod_network=POD_NETWORK) as cluster:
        await cluster.apply(
            [manifest(namespace("team-shop")), manifest(service("app")), deployment("app", {}, replicas=2)]
        )
        await cluster.apply(map(manifest, [gateway(), route(rule(backend("app")))]))
        await Shop(cluster).rolled_out("app")
        slices = (await cluster.kube.list(ENDPOINTSLICES, "team-shop"))["items"]
        pods = (await cluster.kube.list(PODS, "team-shop"))["items"]
        said = sorted(piece["endpoints"][0]["addresses"][0] for piece in slices)
        assert said == sorted(pod["status"]["podIP"] for pod in pods) == ["10.244.0.1", "10.244.0.2"]
        cluster_ip = (await cluster.kube.get(SERVICES, "app", "team-shop"))["spec"]["clusterIP"]
        headers = {"Host": "shop.example.com"}
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=5)) as http:
            for url in (f"http://{cluster_ip}:8080", await cluster.gateway_url("team-shop", "shop")):

                async def answered(url: str = url) -> bool:
                    try:
                        async with http.get(url) as response:
                            return response.status == 200
                    except aiohttp.ClientError:
                        return False

                await until(answered, what=url)


@pytest.mark.timeout(60)
async def test_keep_alive_requests_cost_little() -> None:
    """A thousand requests over 16 kept connections through a ClusterIP: forwarding costs less than a millisecond each."""
    async with sandbox(gateway=None, crds=(), processes=True) as cluster:
        await cluster.apply([manifest(namespace("team-shop")), manifest(service("app")), deployment("app", {})])
        await Shop(cluster).rolled_out("app")
        address = (await cluster.kube.get(SERVICES, "app", "team-shop"))["spec"]["clusterIP"], 8080
        await until(lambda: listens(address), what="the listener")
        request = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n"

        async def client(count: int) -> None:
            reader, writer = await asyncio.open_connection(*address)
            for _ in range(count):
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
            writer.close()

        before = os.times()
        await asyncio.gather(*(client(63) for _ in range(16)))
        after = os.times()
        # This process also is the clients; the replica is a process of its own.
        assert (after.user + after.system - before.user - before.system) / 1008 < 0.001
