"""Ranges of a Prometheus that answers, refuses, is too slow or says too much; over real HTTP, in a thread since it blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_prometheus import failure, success
from native_kit import Native

from canary.errors import HistoryError
from canary.metrics.credentials import Credentials
from canary.metrics.history import FEWEST_POINTS, MOST_POINTS, History

BEGIN = 1_700_000_000
A = frozenset({("pod", "a")})

Answer = Callable[[range], web.StreamResponse]


def rising(at: range) -> web.StreamResponse:
    """A counter that stands at the seconds since the beginning; it was not there before second 20."""
    values = [[one, str(one - BEGIN)] for one in at if one >= BEGIN + 20]
    return success("matrix", [{"metric": {"pod": "a"}, "values": values}] if values else [])


@dataclass
class Ranges:
    url: str = ""
    answer: Answer = rising
    pieces: list[range] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hangs: bool = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = {name: int(request.query[name]) for name in ("start", "end", "step")}
        at = range(asked["start"], asked["end"] + 1, asked["step"])
        self.pieces.append(at)
        self.headers.append(dict(request.headers))
        if self.hangs:
            await asyncio.Event().wait()
        return self.answer(at)


@pytest.fixture
async def server() -> AsyncIterator[Ranges]:
    ranges = Ranges()
    app = web.Application()
    app.router.add_get("/api/v1/query_range", ranges.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ranges.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield ranges
    await runner.cleanup()


async def read(server: Ranges, count: int, step: int = 10, **options: Any) -> list[Any]:
    def work() -> list[Any]:
        with History(server.url, **options) as history:
            return list(history.vectors("x", BEGIN, step, count))

    return await asyncio.to_thread(work)


async def test_there_is_a_vector_for_each_instant_gaps_included(server: Ranges) -> None:
    """In order; where there was no series it is empty."""
    assert await read(server, 5) == [{}, {}, {A: 20.0}, {A: 30.0}, {A: 40.0}]


async def test_a_long_time_is_asked_in_pieces_without_seams(server: Ranges) -> None:
    """Each instant once, and no piece longer than what Prometheus answers."""
    count = 2 * MOST_POINTS + 7
    found = await read(server, count)
    assert len(found) == count
    assert found[-1] == {A: 10.0 * (count - 1)}
    assert [at for piece in server.pieces for at in piece] == [*range(BEGIN, BEGIN + 10 * count, 10)]
    assert max(map(len, server.pieces)) == MOST_POINTS


async def test_what_is_too_much_for_it_is_asked_in_halves(server: Ranges) -> None:
    """Prometheus refuses what would load too many samples; smaller pieces it answers."""

    def some(at: range) -> web.StreamResponse:
        words = "query processing would load too many samples into memory in query execution"
        return failure(422, "execution", words) if len(at) > 300 else rising(at)

    server.answer = some
    found = await read(server, 1000)
    assert [one.get(A) for one in found[2:]] == [10.0 * index for index in range(2, 1000)]
    assert max(len(piece) for piece in server.pieces[2:]) <= 250


async def test_what_is_too_much_even_so_is_said(server: Ranges) -> None:
    """In words that say what to do, and not for ever."""
    with pytest.raises(HistoryError, match=r"the answer is larger than 10 bytes: aggregate it.*asked for x"):
        await read(server, 4000, max_bytes=10)
    assert len(server.pieces[-1]) == FEWEST_POINTS
    assert len(server.pieces) < 12


async def test_one_that_says_nothing_is_given_up(server: Ranges) -> None:
    """After a few attempts with less and less, each within its time."""
    server.hangs = True
    with pytest.raises(HistoryError, match=r"did not answer within 0\.1 s"):
        await read(server, 4000, timeout=0.1)
    assert [len(piece) for piece in server.pieces] == [2000, 200, 20, 10]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: failure(400, "bad_data", "parse error: unexpected end"), "parse error: unexpected end .asked for x"),
        (lambda _: failure(500, "internal", "disk"), "disk"),
        (lambda _: web.Response(status=302, headers={"Location": "http://x.invalid"}), "it answered 302"),
        (lambda _: web.Response(text="<html>"), "no Prometheus result"),
        (lambda _: web.json_response({"status": "success", "data": 5}), "no Prometheus result"),
        (lambda _: success("matrix", [{"metric": {}, "histograms": []}]), "plain numbers"),
        (lambda _: success("matrix", [{"metric": {}, "values": [[BEGIN, "5"], "x"]}]), "plain numbers"),
        (lambda _: success("matrix", [{"metric": {}, "values": [[BEGIN + 10**9, "5"]]}]), "plain numbers"),
        (lambda _: success("matrix", [{"metric": {}, "values": [[BEGIN, 10**400]]}]), "plain numbers"),
        (lambda _: success("matrix", [{"metric": {}, "values": [[BEGIN - 10, "5"]]}]), "plain numbers"),
    ],
)
async def test_whatever_it_answers_is_said_in_a_sentence(server: Ranges, answer: Answer, words: str) -> None:
    """No answer of a server is a traceback."""
    server.answer = answer
    with pytest.raises(HistoryError, match=words):
        await read(server, 5)


async def test_nobody_there_is_said(server: Ranges) -> None:
    """With the address."""
    server.url = "http://127.0.0.1:9"
    with pytest.raises(HistoryError, match=r"http://127\.0\.0\.1:9 cannot be reached: .*refused"):
        await read(server, 5)


async def test_it_shows_its_credentials(server: Ranges, tmp_path: Path) -> None:
    """As the controller does."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    await read(server, 5, credentials=Credentials(token_file=str(token)))
    assert server.headers[0]["Authorization"] == "Bearer secret"


async def test_native_histograms_have_a_past_too(server: Ranges) -> None:
    """Also a series that was a number before."""
    counting = Native()
    counting.observe(0.2, 0.9)
    told = [[BEGIN + 20, counting.told()]]
    series = {"metric": {"pod": "a"}, "values": [[BEGIN + 10, "5"]], "histograms": told}
    server.answer = lambda _: success("matrix", [series])
    _, number, found = await read(server, 3)
    assert number == {A: 5.0}
    assert found[A] == counting.read()
    server.answer = lambda _: success("matrix", [{"metric": {"pod": "a"}, "histograms": [[BEGIN, {"count": "x"}]]}])
    with pytest.raises(HistoryError, match="a native histogram that has no count"):
        await read(server, 3)
