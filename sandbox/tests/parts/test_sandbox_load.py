"""The load generator against real HTTP servers: rate, counts, buckets, failures."""

from __future__ import annotations

import asyncio
import time

import pytest
from sandbox_kit import until

from canary.errors import SandboxError
from canary_sandbox.app import AppServer, Behaviour
from canary_sandbox.load import LoadGenerator
from canary_sandbox.process import free_port


def url_of(app: AppServer) -> str:
    return f"http://127.0.0.1:{app.port}/"


async def test_every_request_is_counted_once() -> None:
    """max_requests are sent, each answer counts by version and status, in step with what the server saw."""
    async with (
        AppServer(Behaviour("v1", errors=0.1)) as app,
        LoadGenerator(url_of(app), rps=500, max_requests=200) as load,
    ):
        await load.wait()
        counts = load.counts()
        assert (load.sent, app.served, app.failed) == (200, 200, 20)
        assert counts.by_status == {200: 180, 500: 20}
        assert counts.by_version == {"v1": 200}
        assert (counts.total, counts.good, counts.failed, counts.share("v1")) == (200, 180, 20, 1.0)
        assert len(load.series()) == 200


@pytest.mark.alone("a rate")
async def test_the_rate_is_constant_even_when_the_server_is_slow() -> None:
    """An open loop: 100 requests at 100 a second take one second, although each answer takes 300 ms."""
    async with (
        AppServer(Behaviour("v1", latency=0.3)) as app,
        LoadGenerator(url_of(app), rps=100, max_requests=100) as load,
    ):
        began = time.monotonic()
        await load.wait()
        took = time.monotonic() - began
    assert load.counts().by_status == {200: 100}
    assert 1.2 < took < 2.0
    arrivals = [answer.at - answer.seconds for answer in load.series()]
    assert 0.9 < max(arrivals) - min(arrivals) < 1.2


@pytest.mark.alone("a rate")
async def test_time_is_bounded_too() -> None:
    """max_seconds ends it, wherever the count is."""
    async with AppServer(Behaviour("v1")) as app, LoadGenerator(url_of(app), rps=100, max_seconds=0.5) as load:
        await load.wait()
    assert 40 <= load.sent <= 55


@pytest.mark.alone("when an answer came")
async def test_marks_divide_the_counts_and_the_first_bad_answer_is_timed() -> None:
    """Each mark begins a bucket; the first bad answer has a monotonic and a wall time, in its bucket and in all."""
    async with AppServer(Behaviour("v1")) as app, LoadGenerator(url_of(app), rps=300) as load:

        async def some() -> bool:
            return load.current().total >= 20

        await until(some)
        load.mark("failing")
        began, began_wall = time.monotonic(), time.time()
        app.faults.errors = 1.0
        await until(some)
    first, failing = load.buckets()
    assert (first.label, first.failed, first.first_bad_at) == ("start", 0, None)
    assert failing.failed > 0
    assert failing.first_bad_at is not None
    assert failing.first_bad_wall is not None
    assert 0 <= failing.first_bad_at - began < 1
    assert 0 <= failing.first_bad_wall - began_wall < 1
    assert load.counts().first_bad_at == failing.first_bad_at
    assert load.counts().total == first.total + failing.total == app.served
    last = load.last_answer("v1")
    assert last is not None
    assert last.at == max(answer.at for answer in load.series())


async def test_no_answer_is_a_failure_with_status_zero() -> None:
    """Nobody listens: every request counts as failed."""
    async with LoadGenerator(f"http://127.0.0.1:{free_port()}/", rps=200, max_requests=10) as load:
        await load.wait()
    assert load.counts().by_status == {0: 10}
    assert load.counts().failed == 10


async def test_requests_in_flight_are_bounded() -> None:
    """A server that hangs cannot pile up requests without end: the surplus counts as failed."""
    async with (
        AppServer(Behaviour("v1", latency=0.5), grace=0) as app,
        LoadGenerator(url_of(app), rps=400, max_requests=100, max_in_flight=10) as load,
    ):
        await load.wait()
    assert load.counts().by_status == {200: 10, 0: 90}


async def test_history_is_bounded_and_counts_are_not() -> None:
    """Only the newest answers are kept one by one; all are counted."""
    async with (
        AppServer(Behaviour("v1")) as app,
        LoadGenerator(url_of(app), rps=500, max_requests=60, history=10) as load,
    ):
        await load.wait()
    assert (len(load.series()), load.counts().total) == (10, 60)


async def test_connections_are_reused() -> None:
    """One request after the other goes over one connection."""
    peers: set[int] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername")[1])
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nx-version: v1\r\ncontent-length: 0\r\n\r\n")

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with LoadGenerator(f"http://127.0.0.1:{port}/", rps=50, max_requests=20) as load:
            await load.wait()
    assert load.counts().by_status == {200: 20}
    assert len(peers) <= 2


async def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    """Two servers cannot share a port."""
    async with AppServer(Behaviour("v1")) as app:
        with pytest.raises(SandboxError, match=f"port {app.port}"):
            async with AppServer(Behaviour("v2"), port=app.port):
                pass
