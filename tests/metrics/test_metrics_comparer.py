"""Comparers are asked replica by replica: each is a failure of its own, and none can hold up or bring down anybody else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from canary.checks.sources.comparer import Comparer
from canary.errors import Unavailable
from canary.metrics.comparer import MOST_TOGETHER, ComparerProvider
from canary.metrics.pods import AT_A_TIME, Address, Metered
from canary.metrics.port import Query
from canary.model.comparer_results import MAX_PATHS, MAX_RESULTS_BYTES, ComparerResults, PathResult
from canary.model.measurement import Malformed, Measurement, NoData, Queued, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Comparer("compare", "team")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def results(instance: str = "a", compared: int = 10, **more: object) -> str:
    found = ComparerResults(
        instance=instance,
        started_at=NOW - timedelta(seconds=60),
        now=NOW,
        received=compared,
        compared=compared,
        paths=(PathResult(path="$.price", canary_only=3, stable_only=1, both=0),),
    )
    return found.model_copy(update=more).text()


def serving(text: str | bytes, status: int = 200) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        body = text.encode() if isinstance(text, str) else text
        return web.Response(body=body, status=status, content_type="application/json")

    return answer


async def hanging(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def redirecting(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://127.0.0.1:1/results")


async def hanging_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


@asynccontextmanager
async def comparers(*handlers: Handler) -> AsyncIterator[list[Address]]:
    """A replica for each of these, on a port of its own."""
    runners, found = [], []
    for handler in handlers:
        app = web.Application()
        app.router.add_get("/results", handler)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        found.append(("127.0.0.1", runner.addresses[0][1]))
    try:
        yield found
    finally:
        for runner in runners:
            await runner.cleanup()


@asynccontextmanager
async def asking(found: list[Address], places: int = 8) -> AsyncIterator[ComparerProvider]:
    async def find(service: str, namespace: str) -> list[Address]:
        assert (service, namespace) == ("compare", "team")
        return found

    provider = ComparerProvider(find, places=places)
    try:
        yield provider
    finally:
        await provider.close()


async def measured(*handlers: Handler, seconds: float = 5.0) -> Measurement:
    async with comparers(*handlers) as found, asking(found) as provider:
        return await provider.measure(Query(SOURCE, seconds), NOW)


async def test_all_replicas_are_read() -> None:
    """What each has counted, and how long it has been up by its own clock."""
    found = await measured(serving(results("a")), serving(results("b", 25)))
    assert isinstance(found, Sample)
    assert found.replicas is not None
    assert found.replicas.unread == ""
    assert (found.value, found.at, found.query) == (35, NOW, "results of comparer compare")
    assert [(one.instance, one.age, one.compared) for one in found.replicas.read] == [("a", 60, 10), ("b", 60, 25)]
    assert found.replicas.read[0].paths == {"$.price": (3, 1, 0)}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (hanging, "did not answer in time"),
        (dripping, "did not answer in time"),
        (hanging_up, "cannot be reached"),
        (redirecting, "answered 302"),
        (serving("no", 503), "answered 503"),
        (serving("<html>secret"), "answered no results of a comparer"),
        (serving(b"\xff\xfe"), "answered no results of a comparer"),
        (serving("[" * 100_000), "consists of more than"),
        (serving("[" * 30_000), "answered no results of a comparer"),
        (endless, "answered more than 1048576 bytes"),
        (serving(results().replace('"canaryOnly":3', '"canaryOnly":-3')), "answered no results of a comparer"),
        (serving(results().replace('"canaryOnly":3', '"canaryOnly":1e400')), "answered no results of a comparer"),
        (serving(results().replace('"canaryOnly":3', '"canaryOnly":2.5')), "answered no results of a comparer"),
        (serving(results().replace('"version":1', '"version":2')), "answered no results of a comparer"),
    ],
    ids=[
        "hangs", "drips", "hangs up", "redirects", "503", "html", "bytes", "far too deep", "deep", "endless", "fewer than none",
        "infinite", "in fractions", "later version",
    ],
)  # fmt: skip
async def test_a_replica_that_fails_fails_alone(bad: Handler, words: str) -> None:
    """The others are read as ever; who failed is said, and none of what it said."""
    found = await measured(bad, serving(results("b")), seconds=0.6)
    assert isinstance(found, Sample)
    assert found.replicas is not None
    assert [one.instance for one in found.replicas.read] == ["b"]
    assert found.replicas.unread.startswith("1 of 2 replicas of the comparer could not be read: ")
    assert words in found.replicas.unread
    assert "secret" not in found.replicas.unread


async def test_where_none_answers_nothing_is_known() -> None:
    """Nobody there, and nonsense, are two things."""
    found = await measured(serving("", 500), serving("nonsense"))
    assert isinstance(found, Unreachable)
    assert found.message.startswith("2 of 2 replicas of the comparer could not be read: 127.0.0.1:")
    assert isinstance(await measured(serving("nonsense")), Malformed)
    assert isinstance(await measured(hanging, seconds=0.3), Unreachable)


async def test_no_replica_is_no_data() -> None:
    """Its Deployment may be about to start."""
    found = await measured()
    assert isinstance(found, NoData)
    assert found.message == "no replica of Service compare is ready"


async def test_replicas_that_cannot_be_listed_are_a_failure_with_a_name() -> None:
    """The API server is down, or the controller may not look."""

    async def find(service: str, namespace: str) -> list[Address]:
        raise Unavailable("gone away")

    provider = ComparerProvider(find)
    found = await provider.measure(Query(SOURCE), NOW)
    assert isinstance(found, Unreachable)
    assert found.message == "the replicas of Service compare cannot be listed: gone away"
    await provider.close()


async def test_nothing_is_sent_but_the_question() -> None:
    """No credentials, no cookies, nothing that says who asks about what."""
    asked: list[web.Request] = []

    async def curious(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        response = web.Response(text=results(), content_type="application/json")
        response.set_cookie("who", "you")
        return response

    async with comparers(curious) as found, asking(found) as provider:
        for _ in range(2):
            await provider.measure(Query(SOURCE), NOW)
    assert [(request.method, request.path_qs) for request in asked] == [("GET", "/results")] * 2
    assert {name.lower() for name in asked[1].headers} <= {
        "host",
        "accept",
        "accept-encoding",
        "user-agent",
        "connection",
    }
    assert asked[1].headers["Connection"] == "close"  # each connection is metered for one answer


@pytest.mark.alone("how soon others are answered", waits=True)
async def test_comparers_that_hang_delay_nobody_else() -> None:
    """However many teams have one: those whose comparer answers find a place at once."""
    async with comparers(hanging, serving(results())) as (bad, good), asking([bad]) as theirs:

        async def find(service: str, _: str) -> list[Address]:
            return [good if service == "good" else bad]

        provider = ComparerProvider(find)
        quick = Query(Comparer("good", "us"), tenant=("us", "shop"))
        await provider.measure(quick, NOW)
        slow = [
            asyncio.create_task(provider.measure(Query(SOURCE, 3.0, tenant=(f"team-{number % 9}", f"{number}")), NOW))
            for number in range(60)
        ]
        await asyncio.sleep(0.1)
        for _ in range(5):
            began = time.monotonic()
            assert isinstance(await provider.measure(quick, NOW), Sample)
            assert time.monotonic() - began < 1
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        await provider.close()
    assert theirs is not None


async def test_who_waits_too_long_for_a_turn_was_not_asked() -> None:
    """That is nobody's failure but the queue's."""
    async with comparers(hanging) as found, asking(found, places=1) as provider:
        first = asyncio.create_task(provider.measure(Query(SOURCE, 5.0, tenant=("a", "a")), NOW))
        await asyncio.sleep(0.05)
        assert isinstance(await provider.measure(Query(SOURCE, patience=0.1, tenant=("b", "b")), NOW), Queued)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_replicas_that_say_a_lot_take_no_more_memory_than_a_few() -> None:
    """A tenant may have 64 of them with 2,000 paths each, and any number of checks that read them: the first count, and it is said."""
    full = tuple(PathResult(path=f"$.{number}", canary_only=1, stable_only=0, both=0) for number in range(MAX_PATHS))
    found = await measured(*(serving(results(str(number), paths=full)) for number in range(12)))
    assert isinstance(found, Sample)
    assert found.replicas is not None
    assert sum(len(one.paths) for one in found.replicas.read) == MOST_TOGETHER
    assert found.replicas.unread.startswith(
        "4 of 12 replicas of the comparer could not be read: more than 16,000 field paths"
    )


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a=b;"),
    ],
    ids=["interim answers", "tiny chunks", "extensions of a chunk"],
)
async def test_what_is_parsed_and_is_no_content_is_bounded_too(first: bytes, then: bytes) -> None:
    """An answer of nothing but such things costs as little as a long one: after a megabyte nobody listens any more."""
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with suppress(OSError):
            writer.write(first)
            while not writer.is_closing():
                writer.write(then * 500)
                await writer.drain()
                sent += 500 * len(then)
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server, asking([server.sockets[0].getsockname()[:2]]) as provider:
        found = await provider.measure(Query(SOURCE, 30.0), NOW)
    assert isinstance(found, Unreachable)
    assert "cannot be reached" in found.message
    assert sent < 16 * MAX_RESULTS_BYTES  # what buffers of both ends hold is sent and not read


async def test_a_turn_reads_a_little() -> None:
    """However much has arrived: what is parsed in one go keeps everybody else waiting."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Metered(fileno=ours.detach()) as metered:
        theirs.setblocking(False)
        theirs.send(b" " * 65536)
        assert len(metered.recv(262144)) == AT_A_TIME
