"""The application beside HTTP/1.1: gRPC calls, plain connections, faults and counts on each."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import pytest

from canary.errors import SandboxError
from canary_sandbox.app import COUNTS_PATH, AppServer, Behaviour
from canary_sandbox.app_endpoints import Who
from canary_sandbox.grpc_client import GrpcClient

BUY = "/shop.v1.Shop/Buy"


def calls(app: AppServer) -> GrpcClient:
    return GrpcClient("127.0.0.1", app.port, "shop.example.com")


async def greeting(port: int, said: bytes = b"") -> tuple[dict[str, Any], bytes]:
    """What a connection is told, and what comes back of what it says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        told = await reader.readline()
        writer.write(said)
        writer.write_eof()
        return json.loads(told or b"{}"), await reader.read()
    finally:
        writer.close()


async def test_calls_side_by_side_are_answered_with_version_and_pod() -> None:
    """gRPC: status 0 in the trailers, who answered in the headers and in the message."""
    async with AppServer(Behaviour("v2", protocol="grpc"), pod="one") as app, calls(app) as client:
        answers = await asyncio.gather(*(client.call(BUY) for _ in range(50)))
        assert {(item.status, item.version, item.headers["x-pod"]) for item in answers} == {(0, "v2", "one")}
        assert {item.message for item in answers} == {b"\0\0\0\0\x09\x0a\x02v2\x12\x03one"}
        assert app.served == 50


async def test_a_call_that_fails_has_a_grpc_status_and_http_200() -> None:
    """As gRPC servers do: the error is not in the HTTP status."""
    async with AppServer(Behaviour("v2", errors=0.5, protocol="grpc")) as app, calls(app) as client:
        answers = [await client.call(BUY) for _ in range(10)]
        assert [item.status for item in answers].count(13) == 5
        assert {item.headers[":status"] for item in answers} == {"200"}
        assert (app.served, app.failed) == (10, 5)


async def test_replicas_fail_each_in_its_own_time() -> None:
    """Of twenty that share requests evenly no more fail at once than chance has it; each still fails as often as it is told."""
    async with AsyncExitStack() as stack:
        apps = [
            await stack.enter_async_context(AppServer(Behaviour("v1", errors=0.05), pod=f"shop-{number}"))
            for number in range(20)
        ]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        rounds = []
        for _ in range(40):
            answers = [await http.get(f"http://127.0.0.1:{app.port}/") for app in apps]
            rounds.append(sum(answer.status == 500 for answer in answers))
        assert {app.failed for app in apps} == {2}
        assert max(rounds) <= 5


async def test_long_names_are_written_as_protocol_buffers_do() -> None:
    """A length beyond 127 takes two bytes."""
    assert Who("v" * 200, "").message == b"\0\0\0\0\xcd\x0a\xc8\x01" + b"v" * 200 + b"\x12\0"


async def test_a_connection_is_greeted_and_echoed() -> None:
    """TCP: the server speaks first, so whoever only listens knows which backend it has."""
    async with AppServer(Behaviour("v1", protocol="tcp"), pod="one") as app:
        assert await greeting(app.port, b"hello") == ({"version": "v1", "pod": "one"}, b"hello")
        app.faults.errors = 1
        assert await greeting(app.port) == ({}, b"")
        assert (app.served, app.failed) == (2, 1)


async def test_a_datagram_is_answered() -> None:
    """UDP: each with who answers, and with nothing where it fails; after the end nobody does."""
    app = AppServer(Behaviour("v1", protocol="udp"), pod="one", grace=0.01)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)

        async def answer() -> bytes:
            client.send(b"hello")
            async with asyncio.timeout(0.2):
                return await loop.sock_recv(client, 1000)

        async with app:
            client.connect(("127.0.0.1", app.port))
            assert json.loads(await answer()) == {"version": "v1", "pod": "one"}
            app.faults.errors = 1
            with pytest.raises(TimeoutError):
                await answer()
            assert (app.served, app.failed) == (2, 1)
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            await answer()


@pytest.mark.parametrize("protocol", ["grpc", "tcp", "udp"])
async def test_health_faults_and_counts_have_a_port_of_their_own(protocol: Any) -> None:
    """What speaks no HTTP/1.1 is asked and told at `control_port`."""
    async with AppServer(Behaviour("v1", protocol=protocol)) as app, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{app.control_port}"
        assert app.control_port != app.port
        async with http.get(url + "/healthz") as response:
            assert response.status == 200
        async with http.get(url + COUNTS_PATH) as response:
            assert await response.json() == {"served": 0, "failed": 0, "copies": 0, "finished": []}


async def test_copies_are_told_by_what_gateways_mark_them_with() -> None:
    """Envoy's mark, or a host that ends in -shadow; a user's request is none."""
    async with AppServer(Behaviour("v1")) as app, aiohttp.ClientSession() as http:
        for headers in ({}, {"Host": "shop.example.com-shadow"}, {"x-envoy-internal": "true"}, {"Host": "shadow"}):
            async with http.get(f"http://127.0.0.1:{app.port}/", headers=headers):
                pass
        assert (app.served, app.copies) == (4, 2)


@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_a_server_that_ends_closes_its_connections(end: str) -> None:
    """Both endpoints: nobody is left on a connection to a replica that is gone, and nobody new gets one."""
    for protocol in ("grpc", "tcp"):
        app = AppServer(Behaviour("v1", protocol=protocol), grace=0.01)  # type: ignore[arg-type]
        await app.__aenter__()
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        if protocol == "tcp":
            await reader.readline()
        await getattr(app, end)()
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):
                await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", app.port)
        writer.close()


def test_an_unknown_protocol_is_refused() -> None:
    """And the words name those that there are."""
    assert Behaviour.from_env({"PROTOCOL": "grpc"}).protocol == "grpc"
    with pytest.raises(SandboxError, match="none of http, grpc, tcp, udp"):
        Behaviour.from_env({"PROTOCOL": "sctp"})
