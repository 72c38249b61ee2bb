"""A comparer between real backends: what it sends on, what it finds, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import logging
import math
import os
import random
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from certificates import Authority
from comparer_kit import Backend, Got, comparer, documents, fine, hangs

from canary.comparer.admin import admin
from canary.comparer.backend import Memory, Room
from canary.comparer.copies import LOOP
from canary.comparer.mirror import BODIES, Mirror
from canary.comparer.run import REREAD, Rereading
from canary.comparer.settings import Settings
from canary.comparer.tally import Tally
from canary.errors import ConfigError


async def test_each_request_goes_to_stable_twice_and_to_the_canary_once() -> None:
    """With method, path, query, host and headers as the user sent them."""
    async with comparer() as bench:
        target = "/a%2Fb/%C3%BC?q=1&q=%26"
        assert await bench.mirror(target, Host="shop.example.com-shadow", X_Request_Id="7") == 202
        results = await bench.settled()
        assert (results.received, results.compared, results.different, results.paths) == (1, 1, 0, ())
        assert (len(bench.stable.got), len(bench.canary.got)) == (2, 1)
        for got in (*bench.stable.got, *bench.canary.got):
            assert (got.method, got.target) == ("GET", target)
            assert got.header("host") == ["shop.example.com"]
            assert got.header("x-request-id") == ["7"]
            assert got.header("accept-encoding") == ["identity"]
            assert got.header(LOOP) == ["1"]


async def test_a_changed_field_is_found_that_no_error_rate_shows() -> None:
    """Status 200 everywhere, noise in two fields, and a price that has become a text."""
    numbers = itertools.count()

    def shop(price: object) -> object:
        async def answer(_: Got) -> web.StreamResponse:
            return web.json_response({"id": f"r{next(numbers)}", "now": time.time(), "items": [{"price": price}] * 3})

        return answer

    async with comparer(shop(9.5), shop("9.5")) as bench:  # type: ignore[arg-type]
        for _ in range(30):
            await bench.mirror("/items")
        results = await bench.settled()
        counts = {found.path: (found.canary_only, found.stable_only, found.both) for found in results.paths}
        assert counts == {"$.id": (0, 0, 30), "$.now": (0, 0, 30), "$.items[].price": (30, 0, 0)}
        assert results.different == 30
        (price,) = [found for found in results.paths if found.path == "$.items[].price"]
        assert [(one.stable, one.canary) for one in price.examples] == [("number", "string")]
        assert results.failures.stable == results.failures.canary == 0
        assert results.latency is not None
        assert sum(results.latency.stable) == sum(results.latency.canary) == 30


async def test_long_documents_are_compared_like_short_ones() -> None:
    """They are beside the event loop, and what is found is the same."""
    items = [{"id": number, "price": 1.5} for number in range(2000)]
    async with comparer(documents(items), documents([*items[:-1], {"id": 1999, "price": "1.5"}])) as bench:
        for _ in range(3):
            await bench.mirror("/items")
        results = await bench.settled()
        assert [(found.path, found.canary_only) for found in results.paths] == [("$[].price", 3)]


async def test_a_canary_that_is_as_good_as_stable_differs_as_often() -> None:
    """Whatever is by chance, a status, a field, an answer that never comes, is counted for the canary as often as for stable."""
    chance = random.Random(7)

    async def moody(got: Got) -> web.StreamResponse:
        if chance.random() < 0.02:
            return await hangs(got)
        fields = {name: 1 for name in ("a", "b", "c") if chance.random() < 0.6}
        return web.json_response(fields, status=404 if chance.random() < 0.3 else 200)

    async with comparer(moody, moody, timeout=0.2) as bench:
        while (results := await bench.settled()).compared < 400:
            await asyncio.gather(*(bench.mirror("/") for _ in range(20)))
        counts = {found.path: (found.canary_only, found.stable_only) for found in results.paths}
        assert counts.keys() == {"status", "$.a", "$.b", "$.c"}
        for path, (canary, stable) in counts.items():
            assert min(canary, stable) > 20, path
            assert abs(canary - stable) <= 5 * math.sqrt(canary + stable), path


async def test_room_comes_back() -> None:
    """More bytes than there is room for at one time go through, one request after the other."""
    async with comparer(max_body=100, methods=("PUT",)) as bench:
        for _ in range(BODIES + 20):
            await bench.mirror("/", "PUT", body=b"x" * 100)
            await bench.settled()
        assert (await bench.results()).compared == BODIES + 20


async def test_long_headers_arrive() -> None:
    """Cookies, targets and what is answered may be as long as gateways let them be."""

    async def answers(got: Got) -> web.StreamResponse:
        return web.Response(headers={"X-Long": "y" * 30_000, "X-Cookie": str(len(got.header("cookie")[0]))})

    async with comparer(answers, answers, headers=("x-long", "x-cookie")) as bench:
        assert await bench.mirror(f"/{'p' * 7000}", Cookie="c" * 7000) == 202
        results = await bench.settled()
        assert (results.compared, results.paths) == (1, ())
        head = b"GET /" + b"p" * 20_000 + b" HTTP/1.1\r\nHost: shop\r\nCookie: " + b"c" * 30_000 + b"\r\n\r\n"
        assert (await bench.raw(head)).startswith(b"HTTP/1.1 202")
        results = await bench.settled()
        assert (results.compared, results.dropped) == (2, {})
        assert {len(got.header("cookie")[0]) for got in bench.canary.got} == {7000, 30_000}


async def test_nobody_waits_for_backends_that_hang() -> None:
    """Each copy is answered at once, whether it is taken or there is no room for it, and before any backend has answered."""
    async with comparer(hangs, hangs, concurrency=4, timeout=60) as bench:
        for _ in range(100):
            assert await bench.mirror("/") == 202
        results = await bench.results()
        assert (results.received, results.compared, results.dropped) == (100, 0, {"busy": 96})
        assert len(bench.stable.got) <= 8
        bench.stable.answer = bench.canary.answer = fine


async def test_a_stop_ends_comparisons_that_hang() -> None:
    """Those that do not end within the grace are given up, and nothing stays behind."""
    async with comparer(hangs, hangs, timeout=1) as bench:
        await bench.mirror("/")
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_stable_that_does_not_answer_is_no_comparison() -> None:
    """There is nothing to compare with; it is dropped, and counted."""
    async with comparer(hangs, fine, timeout=0.05) as bench:
        await bench.mirror("/")
        results = await bench.settled()
        assert (results.compared, results.dropped) == (0, {"stable": 1})


async def test_a_canary_that_does_not_answer_is_one() -> None:
    """It differs in its status, and has failed."""
    async with comparer(fine, hangs, timeout=0.05) as bench:
        await bench.mirror("/")
        results = await bench.settled()
        assert (results.compared, results.failures.canary, results.failures.stable) == (1, 1, 0)
        (found,) = results.paths
        assert (found.path, found.canary_only) == ("status", 1)
        assert [(one.stable, one.canary) for one in found.examples] == [("200", "no answer in time")]


async def test_streams_are_not_compared_and_are_nobody_s_fault() -> None:
    """One that is announced is dropped at once; one that is not, when its time is over, and stable is not blamed for it."""

    async def endless(_: Got) -> web.StreamResponse:
        return web.Response(body=itself(), content_type="text/event-stream")

    async def itself() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await over.wait()

    over = asyncio.Event()

    async with comparer(endless, endless, timeout=0.05) as bench:
        await bench.mirror("/", Accept="text/event-stream")
        await bench.mirror("/", Connection="Upgrade", Upgrade="websocket")
        assert (await bench.settled()).dropped == {"stream": 2}
        for _ in range(30):
            await bench.mirror("/")
        results = await bench.settled()
        assert (results.compared, results.dropped) == (0, {"stream": 2, "stable": 30})
        assert "canary_comparer_share 1.0" in (await bench.page("/metrics"))[1]
        over.set()
    over.clear()
    async with comparer(fine, endless, timeout=0.05) as bench:
        await bench.mirror("/")
        (found,) = (await bench.settled()).paths
        assert [(one.stable, one.canary) for one in found.examples] == [("200", "unfinished answer")]
        over.set()


@pytest.mark.parametrize(
    ("answer", "why"), [(b"", "broken answer"), (b"SSH-2.0-OpenSSH\r\n\r\n", "broken answer"), (None, "no connection")]
)
async def test_a_canary_that_is_no_http_server_differs(answer: bytes | None, why: str) -> None:
    """Nobody there, somebody who hangs up, somebody who speaks something else."""

    async def rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if answer is None:
        server.close()
    async with server, comparer(at_canary=f"http://127.0.0.1:{port}") as bench:
        await bench.mirror("/")
        results = await bench.settled()
        assert [(one.stable, one.canary) for one in results.paths[0].examples] == [("200", why)]


async def test_two_answers_of_stable_are_asked_for_in_no_fixed_order() -> None:
    """Neither the canary nor stable is always asked first."""
    firsts: set[str] = set()
    order: list[str] = []

    def named(name: str) -> object:
        async def answer(_: Got) -> web.StreamResponse:
            order.append(name)
            return web.json_response({})

        return answer

    async with comparer(named("stable"), named("canary")) as bench:  # type: ignore[arg-type]
        for _ in range(60):
            order.clear()
            await bench.mirror("/")
            await bench.settled()
            firsts.add(order[0])
    assert firsts == {"stable", "canary"}


@pytest.mark.parametrize(
    ("of_stable", "of_canary", "compared", "dropped", "paths"),
    [
        (3000, 3000, 0, {"tooLarge": 1}, []),
        (30, 3000, 1, {}, ["body"]),
        (3000, 30, 0, {"tooLarge": 1}, []),
        (1024, 1024, 1, {}, []),
    ],
)
async def test_long_answers_are_not_read_to_their_end(
    of_stable: int, of_canary: int, compared: int, dropped: dict[str, int], paths: list[str]
) -> None:
    """Beyond the limit stable's is no reference; the canary's, beside one of stable that is within it, differs."""

    def sends(size: int) -> object:
        async def answer(_: Got) -> web.StreamResponse:
            return web.Response(body=b"x" * size)

        return answer

    async with comparer(sends(of_stable), sends(of_canary), max_body=1024) as bench:  # type: ignore[arg-type]
        await bench.mirror("/")
        results = await bench.settled()
        assert (results.compared, results.dropped, [found.path for found in results.paths]) == (
            compared,
            dropped,
            paths,
        )


async def test_writes_are_left_out_unless_they_are_asked_for() -> None:
    """By default no backend sees a POST; with it among the methods it arrives three times, body and all."""
    body = gzip.compress(b'{"order": 1}')
    async with comparer() as bench:
        assert await bench.mirror("/", "POST", body=body) == 202
        assert (await bench.settled()).dropped == {"method": 1}
        assert bench.stable.got == bench.canary.got == []
    async with comparer(methods=("POST",)) as bench:
        await bench.mirror("/orders", "POST", body=body, Content_Encoding="gzip", Content_Type="application/json")
        assert (await bench.settled()).compared == 1
        for got in (*bench.stable.got, *bench.canary.got):
            assert (got.method, got.body, got.header("content-encoding")) == ("POST", body, ["gzip"])
        assert (len(bench.stable.got), len(bench.canary.got)) == (2, 1)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_methods_that_change_nothing_are_compared(method: str) -> None:
    """HEAD has no body to compare, and is one all the same."""
    async with comparer() as bench:
        await bench.mirror("/", method)
        assert (await bench.settled()).compared == 1
        assert {got.method for got in (*bench.stable.got, *bench.canary.got)} == {method}


async def test_long_requests_and_slow_ones_are_dropped() -> None:
    """A body beyond the limit, one that does not come in time, and one of which the rest never comes."""
    async with comparer(max_body=100, timeout=0.05) as bench:
        assert await bench.mirror("/", body=b"x" * 101) == 202
        head = b"GET / HTTP/1.1\r\nHost: shop\r\nContent-Length: 50\r\n\r\nhalf"
        assert (await bench.raw(head)).startswith(b"HTTP/1.1 202")
        assert (await bench.settled()).dropped == {"tooLarge": 1, "timeout": 1}
    async with comparer() as bench:
        host, port = bench.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        await writer.drain()
        await bench.until(lambda results: results.received == 1)
        writer.close()
        assert (await bench.settled()).dropped == {"aborted": 1}
        assert bench.stable.got == []


async def test_what_a_comparer_sent_is_not_sent_again() -> None:
    """One whose backend is itself does not run away: the copy of a copy is refused."""
    async with comparer() as bench:
        assert await bench.mirror("/", **{LOOP: "1"}) == 508
        assert (await bench.settled()).dropped == {"loop": 1}
        assert bench.stable.got == bench.canary.got == []


async def test_a_comparer_of_a_comparer_ends() -> None:
    """Two that have each other as backends: three requests come of one, and no more."""
    async with comparer() as inner, comparer(at_stable=inner.url, at_canary=inner.url) as outer:
        await outer.mirror("/")
        await outer.settled()
        results = await inner.settled()
        assert (results.received, results.dropped) == (3, {"loop": 3})


async def test_redirects_are_compared_and_not_followed() -> None:
    """Where they lead is none of our business; that they lead elsewhere is."""

    def to(place: str) -> object:
        async def answer(_: Got) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": place})

        return answer

    async with comparer(to("/a"), to("/b")) as bench:  # type: ignore[arg-type]
        await bench.mirror("/")
        results = await bench.settled()
        assert [found.path for found in results.paths] == ["header:location"]
        assert len(bench.stable.got) == 2


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (b"//evil.example.com/x", "//evil.example.com/x"),
        (b"/@evil.example.com/", "/@evil.example.com/"),
        (b"http://evil.example.com/x?y=1", "/x?y=1"),
        (b"/../../etc/passwd", "/../../etc/passwd"),
    ],
)
async def test_no_path_leads_to_somebody_else(target: bytes, sent: str) -> None:
    """Whatever stands in a request line, it is a path at the two backends."""
    async with comparer() as bench:
        assert (await bench.raw(b"GET " + target + b" HTTP/1.1\r\nHost: shop\r\n\r\n")).startswith(b"HTTP/1.1 202")
        assert (await bench.settled()).compared == 1
        assert {got.target for got in (*bench.stable.got, *bench.canary.got)} == {sent}


@pytest.mark.parametrize(
    "garbage",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie hunter2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: \x00hunter2\r\n\r\n",
        b"GET /\xc3\xbc?\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd: \xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    ],
)
async def test_garbage_harms_nobody(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """HTTP/2 with prior knowledge (gRPC), TLS, half headers, endless lines: the next request is compared as ever, no log is full."""
    async with comparer() as bench:
        first = await bench.raw(garbage)
        assert first.startswith(b"HTTP/1") or not first
        await bench.mirror("/")
        results = await bench.settled()
        assert results.compared >= 1
        assert results.dropped.get("error") is None
        assert results.dropped.get("stable") is None
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert "hunter2" not in caplog.text


async def test_connections_are_counted_and_the_rest_refused() -> None:
    """Who opens one after the other gets so many; when one is closed, the next one is served."""
    async with comparer(connections=3) as bench:
        host, port = bench.url.removeprefix("http://").split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        request = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
        assert {await bench.raw(request) for _ in range(20)} == {b""}
        idle[0][1].close()
        for _ in range(200):
            if served := await bench.raw(request):
                break
        assert served.startswith(b"HTTP/1.1 202")
        for _, writer in idle:
            writer.close()


async def test_any_path_can_be_mirrored_for_pages_have_a_port_of_their_own() -> None:
    """An application may well have a /results, /metrics and /healthz."""
    async with comparer() as bench:
        for path in ("/results", "/metrics", "/healthz"):
            assert await bench.mirror(path) == 202
        await bench.settled()
        assert {got.target for got in bench.canary.got} == {"/results", "/metrics", "/healthz"}
        assert await bench.page("/healthz") == (200, "ok\n")
        assert (await bench.page("/anything"))[0] == 404
        assert (await bench.results()).received == 3


async def test_results_that_are_long_are_not_made_for_each_who_asks() -> None:
    """They may be as old as nine times what it took to make them, by a clock that goes forward; a new one says all there is."""
    seconds = iter([0.0, 1.0, 1.0, 5.0, 9.9, 10.1, 10.1, 10.1])

    def clock() -> float:
        return next(seconds)

    tally = Tally("i", datetime(2026, 11, 29, tzinfo=UTC))
    async with Mirror(Settings("http://a", "http://b"), tally) as mirror:
        pages = TestServer(admin(tally, mirror, clock=clock))
        async with TestClient(pages) as client:
            told = []
            for received in (1, 2, 3, 4):
                tally.received = received
                told.append((await (await client.get("/results")).json())["received"])
    assert told == [1, 1, 1, 4]


async def test_metrics_say_what_results_say() -> None:
    """Counters, the share that stable bears, and times; no field path is among them."""
    async with comparer(documents({"a": 1}), documents({"a": 2})) as bench:
        await bench.mirror("/")
        await bench.mirror("/", "DELETE")
        await bench.settled()
        _, text = await bench.page("/metrics")
        lines = set(text.splitlines())
        for line in (
            "canary_comparer_received_total 2.0",
            "canary_comparer_compared_total 1.0",
            'canary_comparer_dropped_total{reason="method"} 1.0',
            "canary_comparer_different_total 1.0",
            'canary_comparer_failures_total{version="canary"} 0.0',
            "canary_comparer_share 1.0",
            'canary_comparer_latency_seconds_count{version="stable"} 1.0',
        ):
            assert line in lines, line
        assert "$." not in text


async def test_credentials_and_bodies_stay_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Both backends get them; logs, results and metrics have nothing of them, even when all goes wrong."""
    caplog.set_level(logging.DEBUG)
    secrets = {"Authorization": "Bearer hunter2-token", "Cookie": "session=hunter2-cookie"}
    async with comparer(documents({"name": "hunter2-old"}), documents({"name": "hunter2-new"}), timeout=0.1) as bench:
        for target in ("/hunter2-path?q=hunter2-query", "/hunter2-path"):
            await bench.mirror(target, **secrets)
            await bench.settled()
            bench.canary.answer = hangs
        for got in (*bench.stable.got, *bench.canary.got):
            assert (got.header("authorization"), got.header("cookie")) == (
                [secrets["Authorization"]],
                [secrets["Cookie"]],
            )
        said = [(await bench.page(path))[1] for path in ("/results", "/metrics")]
    told = "\n".join(
        [*said, *(record.getMessage() for record in caplog.records if not record.name.startswith("aiohttp.client"))]
    )
    assert "hunter2" not in told


async def test_a_rate_is_kept() -> None:
    """What is beyond it is dropped, and answered like all else."""
    async with comparer(max_rps=1) as bench:
        statuses = {await bench.mirror("/") for _ in range(20)}
        results = await bench.settled()
        assert statuses == {202}
        assert results.compared < 10
        assert results.dropped == {"rate": 20 - results.compared}


async def test_a_stable_that_fails_is_left_alone() -> None:
    """Fewer and fewer are sent on, and what is left out is counted."""

    async def fails(_: Got) -> web.StreamResponse:
        return web.Response(status=503)

    async with comparer(fails, fails, sparing=True) as bench:
        for _ in range(2000):
            await bench.mirror("/")
            results = await bench.results()
            if results.dropped.get("backoff"):
                break
        assert results.dropped["backoff"]
        _, text = await bench.page("/metrics")
        assert "canary_comparer_share 1.0" not in text


async def test_bodies_have_one_limit_together() -> None:
    """However many are under way: so many bytes are held, and what has no room is dropped and counted."""
    async with comparer(hangs, hangs, concurrency=BODIES + 9, max_body=1000, timeout=3, methods=("PUT",)) as bench:
        for _ in range(BODIES + 9):
            await bench.mirror("/", "PUT", body=b"x" * 1000)
        results = await bench.results()
        assert results.dropped == {"memory": 9}
        bench.stable.answer = bench.canary.answer = fine


def test_room_is_given_back_once() -> None:
    """Whoever is late gets none, so that nothing is held by nobody."""
    memory = Memory(10)
    one, other = Room(memory), Room(memory)
    assert one.take(6)
    assert not other.take(5)
    assert other.take(4)
    one.close()
    one.close()
    assert memory.held == 4
    assert not one.take(1)
    assert other.take(6)
    other.close()
    assert memory.held == 0


def identity(authority: Authority, folder: Path) -> ssl.SSLContext:
    """What a server on 127.0.0.1 shows, signed by an authority."""
    (folder / "server.pem").write_text(authority.server())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@pytest.mark.parametrize("known", [True, False])
async def test_https_backends_are_verified_by_the_authorities_that_are_named(tmp_path: Path, known: bool) -> None:
    """An authority of the cluster's own, in a file; by any other none is believed, and nothing is sent to it."""
    signing = Authority()
    (tmp_path / "ca.pem").write_text((signing if known else Authority()).pem)
    backends = Backend(), Backend()
    shown = identity(signing, tmp_path)
    async with (
        backends[0].serving(shown),
        backends[1].serving(shown),
        comparer(at_stable=backends[0].url, at_canary=backends[1].url, ca_file=str(tmp_path / "ca.pem")) as bench,
    ):
        await bench.mirror("/")
        results = await bench.settled()
    assert (results.compared, dict(results.dropped)) == ((1, {}) if known else (0, {"stable": 1}))
    assert [len(backend.got) for backend in backends] == ([2, 1] if known else [0, 0])


def test_authorities_are_read_again_when_they_change(tmp_path: Path) -> None:
    """As a Secret does that is renewed: looked for once in a while, and not for each request; what makes no sense changes nothing."""
    file, now = tmp_path / "ca.pem", [0.0]
    file.write_text(Authority().pem)
    trust = Rereading(str(file), clock=lambda: now[0])
    first = trust()
    file.write_text(Authority().pem + Authority().pem)
    assert trust() is first
    now[0] += REREAD
    second = trust()
    assert second is not None
    assert second is not first
    assert len(second.get_ca_certs()) == 2
    file.write_text("nothing")
    now[0] += REREAD
    assert trust() is second


async def test_a_file_of_authorities_that_is_not_there_is_said() -> None:
    """Before anything is listened at: which option, and what to do."""
    with pytest.raises(
        ConfigError, match=r"cannot use /nowhere/ca.pem \(--ca-file\): .*; mount it or correct the path"
    ):
        async with comparer(ca_file="/nowhere/ca.pem"):
            pass


async def test_an_address_that_is_taken_is_said() -> None:
    """Which option, which address, and what may be the reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"--listen: cannot listen on {address}.*another program"):
            async with comparer(listen=address):
                pass


async def test_sigterm_ends_it_in_order() -> None:
    """The program finishes what is under way, says that it stops, and ends with 0."""
    slow = asyncio.Event()

    async def late(_: Got) -> web.StreamResponse:
        await slow.wait()
        return web.json_response({})

    stable, canary = Backend(late), Backend(late)
    async with stable.serving(), canary.serving():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "canary", "comparer", "run", "--stable", stable.url, "--canary", canary.url),
            *(
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--methods",
                "GET,POST",
                "--log-format",
                "json",
            ),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": "/nonexistent"},
        )
        try:
            assert process.stderr is not None
            async with asyncio.timeout(30):
                hello = json.loads(await process.stderr.readline())["message"]
                warning = json.loads(await process.stderr.readline())
                url = next(word for word in hello.split() if word.startswith("http://127"))
                async with aiohttp.ClientSession() as session, session.get(url) as answer:
                    assert answer.status == 202
                await stable.got_so_many(2)
                process.send_signal(signal.SIGTERM)
                stopping = json.loads(await process.stderr.readline())["message"]
                slow.set()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert "HAPPENS THREE TIMES MORE" in warning["message"]
    assert warning["message"].startswith("POST:")
    assert stopping.startswith("stopping: 1 comparison")
