"""gRPC calls, connections, mirrors and lies through a real Envoy: what backends counted is what was asked for."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cluster_kit import sandbox
from sandbox_kit import (
    API,
    Json,
    Shop,
    backend,
    client,
    condition,
    deployment,
    gateway,
    listener,
    manifest,
    mirror,
    namespace,
    parent_condition,
    route,
    rule,
    service,
    until,
)

from canary.kube import ENDPOINTSLICES, GATEWAYCLASSES, GATEWAYS
from canary_sandbox.cluster import Sandbox
from canary_sandbox.gateway import FEATURES, LIES_ANNOTATION, Lie
from canary_sandbox.grpc_client import Called, GrpcClient

pytestmark = pytest.mark.e2e

GRPC_HOST = "grpc.example.com"
BUY = "/shop.v1.Shop/Buy"
COUNTER = re.compile(r'^(envoy_cluster_\w+)\{.*envoy_cluster_name="([^"]+)"[^}]*\} (\d+)$', re.MULTILINE)
LISTENERS = [
    listener(),
    listener("tcp", protocol="TCP", port=5000),
    listener("tls", protocol="TLS", port=443, tls={"mode": "Passthrough"}),
    listener("udp", protocol="UDP", port=5000),
]


class Traffic:
    """A namespace with three listeners and a pair of Deployments that speak gRPC, or plain connections."""

    def __init__(self, cluster: Sandbox) -> None:
        self.cluster = cluster
        self.workloads = cluster.workloads

    async def open(self, protocol: str) -> None:
        await self.cluster.apply([manifest(namespace("team-shop")), manifest(gateway(listeners=LISTENERS))])
        for name, version in (("shop-stable", "v1"), ("shop-canary", "v2")):
            made = deployment(name, {"VERSION": version, "PROTOCOL": protocol})
            more = {"protocol": "UDP"} if protocol == "udp" else {}
            await self.cluster.apply([manifest(service(name, **more)), made])
        for name in ("shop-stable", "shop-canary"):
            await until(lambda name=name: self.ready(name), what=f"{name} ready")

    async def ready(self, name: str) -> bool:
        """Whether whoever routes to a Service may know of a replica that serves; a replica knows it earlier."""
        labels = {"kubernetes.io/service-name": name}
        slices = [
            one
            for one in (await self.cluster.kube.list(ENDPOINTSLICES, "team-shop"))["items"]
            if labels.items() <= (one["metadata"].get("labels") or {}).items()
        ]
        return any(endpoint["conditions"]["ready"] for one in slices for endpoint in one["endpoints"])

    async def apply(self, document: Json) -> Json:
        """Apply a route, and return its status once the gateway has said something about this generation."""
        (stored,) = await self.cluster.apply([manifest(document)])
        generation = stored["metadata"]["generation"]
        resource = await self.cluster.kube.resolve(API, stored["kind"])
        assert resource is not None

        async def told() -> Json:
            found = await self.cluster.kube.get(resource, stored["metadata"]["name"], "team-shop")
            return found if parent_condition(found, "Accepted").get("observedGeneration", 0) >= generation else {}

        found: Json = await until(told, what=f"a status of {stored['kind']}")
        return found

    async def accepted(self, document: Json) -> None:
        assert parent_condition(await self.apply(document), "Accepted")["status"] == "True"

    @asynccontextmanager
    async def calls(self, host: str = GRPC_HOST) -> AsyncGenerator[Callable[..., Awaitable[Called]]]:
        address = await self.cluster.gateway.address("team-shop", "shop", "http")
        async with GrpcClient(*address, host) as calling:
            yield calling.call

    async def count(self, calls: int) -> Counter[tuple[int, str]]:
        """(status, version) of calls, 16 at a time."""
        answers: Counter[tuple[int, str]] = Counter()
        left = iter(range(calls))
        async with self.calls() as call:

            async def worker() -> None:
                for _ in left:
                    answer = await call(BUY)
                    answers[answer.status, answer.version] += 1

            await asyncio.gather(*(worker() for _ in range(16)))
        return answers

    async def connect(
        self, name: str = "tcp", says: bytes = b""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """A connection to a listener, and the version that greets it; "" for one that is closed without a word."""
        reader, writer = await asyncio.open_connection(*await self.cluster.gateway.address("team-shop", "shop", name))
        writer.write(says)
        line = b""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                line = await reader.readline()
        return reader, writer, json.loads(line)["version"] if line else ""

    async def greetings(self, count: int, name: str = "tcp", says: bytes = b"") -> Counter[str]:
        seen: Counter[str] = Counter()
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                _, writer, version = await self.connect(name, says)
                writer.close()
                seen[version] += 1

        await asyncio.gather(*(worker() for _ in range(16)))
        return seen

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Callable[[], Awaitable[str]]]:
        """A client of the UDP listener, with a port of its own: who answers each time, "" for nobody within half a second."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.setblocking(False)
            own.connect(await self.cluster.gateway.address("team-shop", "shop", "udp"))

            async def ask() -> str:
                own.send(b"who?")
                try:
                    async with asyncio.timeout(0.5):
                        return str(json.loads(await loop.sock_recv(own, 1000))["version"])
                except TimeoutError:
                    return ""

            yield ask

    async def answered(self, count: int) -> Counter[str]:
        """Who answers so many clients, sixteen at a time."""
        seen: Counter[str] = Counter()
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                async with self.client() as ask:
                    seen[await ask()] += 1

        await asyncio.gather(*(worker() for _ in range(16)))
        return seen


@pytest_asyncio.fixture
async def grpc() -> AsyncGenerator[Traffic]:
    async with sandbox(crds=()) as cluster:
        traffic = Traffic(cluster)
        await traffic.open("grpc")
        yield traffic


@pytest_asyncio.fixture
async def connections() -> AsyncGenerator[Traffic]:
    async with sandbox(crds=()) as cluster:
        traffic = Traffic(cluster)
        await traffic.open("tcp")
        yield traffic


@pytest_asyncio.fixture
async def datagrams() -> AsyncGenerator[Traffic]:
    async with sandbox(crds=()) as cluster:
        traffic = Traffic(cluster)
        await traffic.open("udp")
        yield traffic


def pair(stable: int, canary: int) -> tuple[Json, Json]:
    return backend("shop-stable", stable), backend("shop-canary", canary)


def grpc_route(*rules: Json) -> Json:
    return route(*rules, kind="GRPCRoute", hostnames=(GRPC_HOST,))


def tcp_route(*backends: Json) -> Json:
    return route(rule(*backends), kind="TCPRoute", hostnames=())


# --- gRPC ------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
async def test_calls_are_split_as_the_weights_say(grpc: Traffic) -> None:
    """90/10, 50/50, 0/100 of 500 calls each, within four standard deviations; the very first ones follow a change."""
    await grpc.accepted(grpc_route(rule(*pair(50, 50))))

    async def both() -> bool:  # endpoints have a watch of their own, which may be behind that of routes
        return set(await grpc.count(20)) == {(0, "v1"), (0, "v2")}

    await until(both, what="calls to both versions")
    for stable, canary, slack in ((90, 10, 27), (50, 50, 45), (0, 100, 0)):
        await grpc.accepted(grpc_route(rule(*pair(stable, canary))))
        answers = await grpc.count(500)
        assert {status for status, _ in answers} == {0}
        assert abs(answers[0, "v2"] - canary * 5) <= slack, (stable, canary, answers)


async def test_calls_find_their_rule_by_service_method_and_header(grpc: Traffic) -> None:
    """Each match picks the canary for exactly the calls that it describes; a call that none describes is UNIMPLEMENTED."""
    matches = [
        {"method": {"service": "shop.v1.Shop", "method": "Buy"}},
        {"method": {"service": "pay.v1.Pay"}},
        {"method": {"method": "Ping"}},
        {"headers": [{"name": "x-canary", "value": "true"}]},
    ]
    stable = rule(backend("shop-stable"), matches=[{"method": {"service": "shop.v1.Shop"}}])
    lost = rule(backend("nowhere"), matches=[{"method": {"service": "lost.v1.Lost"}}])
    status = await grpc.apply(grpc_route(rule(backend("shop-canary"), matches=matches), stable, lost))
    assert parent_condition(status, "ResolvedRefs")["reason"] == "BackendNotFound"
    table: list[tuple[str, dict[str, str], tuple[int, str]]] = [
        (BUY, {}, (0, "v2")),
        ("/shop.v1.Shop/Buyer", {}, (0, "v1")),
        ("/pay.v1.Pay/Pay", {}, (0, "v2")),
        ("/pay.v1.Payer/Pay", {}, (12, "")),
        ("/other.v1.Other/Ping", {}, (0, "v2")),
        ("/shop.v1.Shop/Look", {"x-canary": "true"}, (0, "v1")),  # a service outranks headers
        ("/other.v1.Other/Look", {"x-canary": "true"}, (0, "v2")),
        ("/other.v1.Other/Look", {}, (12, "")),
        ("/lost.v1.Lost/Get", {}, (14, "")),
    ]
    async with grpc.calls() as call:
        for method, headers, expected in table:
            answer = await call(method, headers)
            assert (answer.status, answer.version) == expected, (method, headers)


@pytest.mark.timeout(60)
async def test_copies_of_calls_are_counted_at_each_mirror(grpc: Traffic) -> None:
    """Two mirrors of one rule, 20 % and three quarters of 500 calls: users have stable alone, and see no failure of copies."""
    made = deployment("shop-shadow", {"VERSION": "v3", "PROTOCOL": "grpc"})
    await grpc.cluster.apply([manifest(service("shop-shadow")), made])
    await until(lambda: grpc.ready("shop-shadow"), what="the third Deployment")
    await grpc.workloads.set_fault("team-shop", "shop-canary", errors=1)
    filters = [mirror("shop-canary", percent=20), mirror("shop-shadow", fraction={"numerator": 3, "denominator": 4})]
    await grpc.accepted(grpc_route(rule(*pair(1, 0), filters=filters)))
    assert await grpc.count(500) == {(0, "v1"): 500}
    for name, expected, slack in (("shop-canary", 100, 36), ("shop-shadow", 375, 39)):
        await copies_of(grpc.workloads, name, expected, slack)
        assert await grpc.workloads.served("team-shop", name) == await grpc.workloads.copies("team-shop", name)
    assert await grpc.workloads.copies("team-shop", "shop-stable") == 0


async def test_statistics_tell_copies_from_users_and_failed_calls_from_others(grpc: Traffic) -> None:
    """Envoy counts copies as internal requests, and calls of users by their gRPC status, per backend."""
    await grpc.workloads.set_fault("team-shop", "shop-stable", errors=0.25)
    await grpc.accepted(grpc_route(rule(*pair(1, 0), filters=[mirror("shop-canary")])))
    assert await grpc.count(100) == {(0, "v1"): 75, (13, "v1"): 25}
    await copies_of(grpc.workloads, "shop-canary", 100, 0)
    stable, canary = ("team-shop/shop-stable/8080", "team-shop/shop-canary/8080")
    expected = {
        ("envoy_cluster_external_upstream_rq", stable): 100,
        ("envoy_cluster_internal_upstream_rq", canary): 100,
        ("envoy_cluster_grpc_success", stable): 75,
        ("envoy_cluster_grpc_failure", stable): 25,
    }

    async def counted() -> bool:
        async with aiohttp.ClientSession() as http, http.get(grpc.cluster.gateway.stats_url) as response:
            lines = COUNTER.findall(await response.text())
        found = {(name, where): int(value) for name, where, value in lines}
        return {key: found.get(key) for key in expected} == expected

    await until(counted, what="Envoy's counters")


async def test_an_httproute_speaks_http2_to_a_service_that_says_so(grpc: Traffic) -> None:
    """appProtocol kubernetes.io/h2c: a user's HTTP/1.1 request arrives as HTTP/2, without one it is refused by the backend."""
    await grpc.cluster.apply([manifest(service("shop-stable", appProtocol="kubernetes.io/h2c"))])
    rules = [
        rule(backend("shop-stable"), matches=[{"path": {"value": "/h2c"}}]),
        rule(backend("shop-canary")),
    ]
    await grpc.accepted(route(*rules))
    host, port = await grpc.cluster.gateway.address("team-shop", "shop", "http")
    async with client(f"http://{host}:{port}") as get:
        assert (await get("/h2c")).headers["x-version"] == "v1"
        assert (await get("/")).status >= 500


# --- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
async def test_connections_are_split_as_the_weights_say_and_open_ones_stay(connections: Traffic) -> None:
    """90/10, 50/50, 0/100 of 500 connections; one that was open before all of that still echoes."""
    await connections.accepted(tcp_route(*pair(1, 0)))
    reader, writer, version = await connections.connect()
    assert version == "v1"
    for stable, canary, slack in ((90, 10, 27), (50, 50, 45), (0, 100, 0)):
        await connections.accepted(tcp_route(*pair(stable, canary)))
        seen = await connections.greetings(500)
        assert sum(seen.values()) == 500
        assert set(seen) <= {"v1", "v2"}
        assert abs(seen["v2"] - canary * 5) <= slack, (stable, canary, seen)
    writer.write(b"still here\n")
    async with asyncio.timeout(5):
        assert await reader.readline() == b"still here\n"
    writer.close()


@pytest.mark.timeout(60)
async def test_accepted_means_that_connections_have_moved(connections: Traffic) -> None:
    """Twenty flips: whenever a generation is Accepted, the very next connections follow it."""
    for turn in range(20):
        canary = turn % 2
        await connections.accepted(tcp_route(*pair(1 - canary, canary)))
        assert set(await connections.greetings(20)) == {"v2" if canary else "v1"}


async def test_a_share_that_leads_nowhere_is_closed(connections: Traffic) -> None:
    """A missing Service keeps its weight; without any route the listener closes everything."""
    assert await connections.greetings(3) == {"": 3}
    status = await connections.apply(tcp_route(backend("shop-stable", 0), backend("nowhere", 1)))
    assert parent_condition(status, "ResolvedRefs")["reason"] == "BackendNotFound"
    assert await connections.greetings(10) == {"": 10}

    async def attached() -> Any:
        found = (await connections.cluster.kube.get(GATEWAYS, "shop", "team-shop")).get("status") or {}
        return {item["name"]: item for item in found.get("listeners") or [] if item["attachedRoutes"]}

    listeners = await until(attached, what="the attached route")
    assert set(listeners) == {"tcp"}
    assert [item["kind"] for item in listeners["tcp"]["supportedKinds"]] == ["TCPRoute"]
    _, port = await connections.cluster.gateway.address("team-shop", "shop", "tcp")
    assert condition(listeners["tcp"]["conditions"], "Programmed")["message"].endswith(f":{port}")


# --- datagrams -------------------------------------------------------------------------------------------------------


def udp_route(*backends: Json) -> Json:
    return route(rule(*backends), kind="UDPRoute", hostnames=())


@pytest.mark.timeout(60)
async def test_clients_of_udp_are_split_as_the_weights_say(datagrams: Traffic) -> None:
    """90/10, 50/50, 0/100 of 500 clients; whenever a generation is Accepted, the very next ones follow it."""
    for stable, canary, slack in ((100, 0, 0), (90, 10, 27), (50, 50, 45), (0, 100, 0), (1, 0, 0)):
        await datagrams.accepted(udp_route(*pair(stable, canary)))
        seen = await datagrams.answered(500)
        assert sum(seen.values()) == 500
        assert set(seen) <= {"v1", "v2"}, seen
        assert abs(seen["v2"] - canary * 5) <= slack, (stable, canary, seen)


@pytest.mark.timeout(60)
async def test_a_client_of_udp_stays_where_it_is_until_the_weights_change(datagrams: Traffic) -> None:
    """Half and half: all its datagrams go to one backend. Then it goes where the new weights send it, at once."""
    await datagrams.accepted(udp_route(*pair(1, 1)))
    async with datagrams.client() as ask:
        assert len({await ask() for _ in range(20)}) == 1
        for stable, canary, version in ((1, 0, "v1"), (0, 1, "v2"), (1, 0, "v1")):
            await datagrams.accepted(udp_route(*pair(stable, canary)))
            assert {await ask() for _ in range(3)} == {version}


async def test_datagrams_that_nobody_serves_are_dropped(datagrams: Traffic) -> None:
    """A missing Service keeps its weight; the listener says which kind it serves, and where."""
    status = await datagrams.apply(udp_route(backend("shop-stable", 0), backend("nowhere", 1)))
    assert parent_condition(status, "ResolvedRefs")["reason"] == "BackendNotFound"
    assert set(await datagrams.answered(5)) == {""}
    found = (await datagrams.cluster.kube.get(GATEWAYS, "shop", "team-shop"))["status"]["listeners"]
    (own,) = [item for item in found if item["name"] == "udp"]
    assert ([item["kind"] for item in own["supportedKinds"]], own["attachedRoutes"]) == (["UDPRoute"], 1)


async def test_tls_connections_go_by_the_name_that_they_ask_for(connections: Traffic) -> None:
    """SNI chooses the route, the bytes are passed on as they are, and a name that nobody has is closed."""
    for name, host in (("shop-stable", "a.example.com"), ("shop-canary", "*.example.org")):
        own = route(rule(backend(name)), kind="TLSRoute", name=name, hostnames=(host,))
        await connections.accepted(own)
    for host, version in (("a.example.com", "v1"), ("b.example.org", "v2"), ("b.example.com", "")):
        hello = client_hello(host)
        reader, writer, greeted = await connections.connect("tls", hello)
        assert greeted == version, host
        if version:
            async with asyncio.timeout(5):
                assert await reader.readexactly(len(hello)) == hello
        writer.close()


def client_hello(host: str) -> bytes:
    """The first bytes of a TLS client that asks for a host."""
    outgoing = ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


# --- mirrors and lies ------------------------------------------------------------------------------------------------


async def copies_of(workloads: Any, name: str, expected: int, slack: int) -> None:
    """Wait until copies have come in, and none is on its way: as many as asked for, within `slack`."""
    seen = -1

    async def settled() -> bool:
        nonlocal seen
        before, seen = seen, await workloads.copies("team-shop", name)
        return seen == before and seen >= expected - slack

    await until(settled, what=f"{expected} copies at {name}")
    assert abs(seen - expected) <= slack, (name, seen)


async def mirrored(shop: Shop, *filters: Json) -> Json:
    """Give the shop's only rule these filters and stable all users; returns the route's conditions."""
    await shop.weigh(1, 0)
    generation = await shop.patch({"op": "add", "path": "/spec/rules/0/filters", "value": list(filters)})
    return {name: await shop.verdict(name, generation) for name in ("Accepted", "ResolvedRefs")}


async def lie(shop: Shop, *lies: Lie) -> None:
    """Tell the GatewayClass to lie, and wait until it does not publish its features, or does again."""
    wanted = (*lies, Lie.FEATURES_NOT_PUBLISHED) if lies else ()
    body = {"metadata": {"annotations": {LIES_ANNOTATION: ",".join(wanted)}}}
    await shop.cluster.kube.merge_patch(GATEWAYCLASSES, "sandbox", None, body)

    async def told() -> bool:
        status = (await shop.cluster.kube.get(GATEWAYCLASSES, "sandbox"))["status"]
        return ("supportedFeatures" not in status) is bool(lies)

    await until(told, what="the lie")


async def test_a_mirror_of_a_fraction_is_counted_apart_from_users(shop: Shop) -> None:
    """One in eight of 800 requests, while the canary also serves half the users: copies and users are told apart."""
    before = await shop.cluster.workloads.served("team-shop", "shop-canary")
    await mirrored(shop, mirror("shop-canary", fraction={"numerator": 1, "denominator": 8}))
    await shop.accepted(await shop.weigh(1, 1))
    users = (await shop.fire(800))[200, "v2"]
    await copies_of(shop.cluster.workloads, "shop-canary", 100, 37)
    copies = await shop.cluster.workloads.copies("team-shop", "shop-canary")
    assert await shop.cluster.workloads.served("team-shop", "shop-canary") == before + users + copies
    assert await shop.cluster.workloads.copies("team-shop", "shop-stable") == 0


async def test_a_mirror_to_a_missing_service_is_said_and_harms_nobody(shop: Shop) -> None:
    """ResolvedRefs=False, BackendNotFound, Accepted stays True, and users are served."""
    said = await mirrored(shop, mirror("nowhere", percent=50))
    assert (said["Accepted"]["status"], said["ResolvedRefs"]["reason"]) == ("True", "BackendNotFound")
    assert await shop.fire(50) == {(200, "v1"): 50}


async def test_told_to_answer_mirrored_rules_with_500_it_does_and_says_accepted(shop: Shop) -> None:
    """As Traefik 3.7; told no more, it serves again."""
    await lie(shop, Lie.MIRROR_ANSWERS_500)
    said = await mirrored(shop, mirror("shop-canary"))
    assert {item["status"] for item in said.values()} == {"True"}
    assert await shop.fire(50) == {(500, ""): 50}
    await lie(shop)
    assert await shop.fire(50) == {(200, "v1"): 50}
    status = (await shop.cluster.kube.get(GATEWAYCLASSES, "sandbox"))["status"]
    assert {item["name"] for item in status["supportedFeatures"]} == FEATURES


async def test_told_to_ignore_percent_it_copies_every_request(shop: Shop) -> None:
    """As Contour: 20 % are asked for, all of 200 come, and the status is that of one that obeys."""
    await lie(shop, Lie.MIRROR_IGNORES_PERCENT)
    said = await mirrored(shop, mirror("shop-canary", percent=20))
    assert {item["status"] for item in said.values()} == {"True"}
    assert await shop.fire(200) == {(200, "v1"): 200}
    await copies_of(shop.cluster.workloads, "shop-canary", 200, 0)


async def test_told_to_fail_for_a_missing_mirror_it_answers_every_user_with_500(shop: Shop) -> None:
    """As Envoy Gateway: Accepted=True, ResolvedRefs=False, 500; a mirror that exists is fine."""
    await lie(shop, Lie.MISSING_MIRROR_ANSWERS_500)
    said = await mirrored(shop, mirror("nowhere"))
    assert (said["Accepted"]["status"], said["ResolvedRefs"]["reason"]) == ("True", "BackendNotFound")
    assert await shop.fire(50) == {(500, ""): 50}
    await mirrored(shop, mirror("shop-canary"))
    assert await shop.fire(50) == {(200, "v1"): 50}
