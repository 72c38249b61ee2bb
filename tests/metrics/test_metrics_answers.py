"""Promise 8 for answers: whatever a provider sends, and however much of it, the event loop goes on turning."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.parsing import MAX_BYTES, AnswerTooLarge, parsed
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.metrics.values import measurement
from canary.model.measurement import MAX_SERIES, Malformed, Sample

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONGEST = 0.2
"""Seconds that this process may have worked, all its threads, from one turn of the event loop to the next, while sixteen answers
are read by eight threads. How busy the machine is with others does not count."""

PARSED = 0.05
"""CPU seconds in which one answer is parsed and made a measurement: for so long nobody else may run, at the worst."""

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

BODIES = json.loads(sys.stdin.readline())

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name = parse_qs(urlsplit(self.path).query)["query"][0]
        before, repeated, times, after = BODIES[name]
        body = (before + repeated * times + after).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""

MOMENT = 1700000000.1
HEAD = '{"status":"success","data":{"resultType":"vector","result":['


def series(count: int, labels: int) -> tuple[str, str, int, str]:
    """So many series, each with so many labels."""
    metric = json.dumps({f"label_{index}": "x" * 24 for index in range(labels)}, separators=(",", ":"))
    one = f'{{"metric":{metric},"value":[{MOMENT},"0.25"]}}'
    return HEAD + one, "," + one, count - 1, "]}}"


BODIES = {
    "small": series(1, 1),
    "thousand": series(1000, 12),
    "too many": series(1001, 12),
    "three thousand": series(3000, 8),
    "bare": series(6_000, 0),
    "lists": (HEAD, "[],", 300_000, "[]]}}"),
    "numbers": (HEAD, "1,", 500_000, "1]}}"),
    "objects": (HEAD, '{"a":', 20_000, "1" + "}" * 20_000 + "]}}"),
    "huge": (HEAD, "[],", 3_000_000, "[]]}}"),
    "text": (HEAD + '{"metric":{"a":"', "x", 900_000, '"},"value":[' + str(MOMENT) + ',"0.25"]}]}}'),
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server in a process of its own: what it does holds nobody up here."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(json.dumps(BODIES) + "\n")
        run.stdin.flush()
        yield f"http://127.0.0.1:{int(run.stdout.readline())}"
        run.kill()


@pytest.mark.cpu_time("how late the event loop is")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("thousand", "Sample"),
        ("too many", "TooManySeries"),
        ("three thousand", "TooManySeries"),
        ("bare", "TooManySeries"),
        ("lists", "UnexpectedResult"),
        ("numbers", "UnexpectedResult"),
        ("objects", "UnexpectedResult"),
        ("huge", "UnexpectedResult"),
        ("text", "Sample"),
    ],
)
async def test_no_answer_holds_up_the_event_loop(server: str, body: str, expected: str) -> None:
    """Eight workers read, parse and sort answers of a kind at once; the loop turns every few milliseconds all the same."""
    provider = PrometheusProvider(server)
    late: list[float] = []

    async def beat() -> None:
        while True:
            started = time.process_time()
            await asyncio.sleep(0.001)
            late.append(time.process_time() - started)

    await provider.measure(Query(Prometheus("small")), NOW)  # the first question sets up threads and TLS
    gc.collect()
    gc.freeze()  # as a controller does
    beating = asyncio.create_task(beat())
    try:
        query = Query(Prometheus(body), many=True, timeout=20, instant=MOMENT)
        answers: list[Any] = await asyncio.gather(*(provider.measure(query, NOW) for _ in range(16)))
    finally:
        beating.cancel()
        await provider.close()
    for answer in answers:
        assert (answer.reason if isinstance(answer, Malformed) else type(answer).__name__) == expected, answer
    assert max(late) < LONGEST, sorted(late)[-5:]


@pytest.mark.cpu_time("how long parsing takes")
@pytest.mark.parametrize("body", BODIES)
def test_parsing_takes_no_time_worth_mentioning(body: str) -> None:
    """What is parsed is bounded by what it consists of, not only by its size."""
    before, repeated, times, after = BODIES[body]
    content = (before + repeated * times + after).encode()
    gc.disable()
    started = time.thread_time()
    with contextlib.suppress(AnswerTooLarge):
        answer = parsed(content[:MAX_BYTES])
        if isinstance(answer, dict):
            found = [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]
            measurement(found, Query(Prometheus("q"), many=True), NOW)
    spent = time.thread_time() - started
    gc.enable()
    assert spent < PARSED


def test_as_many_series_as_a_condition_sees() -> None:
    """A thousand series are all there; one more, and nobody looks at what they are: the query is to aggregate."""
    labelled = [({"pod": f"{number:06}"}, 0.5) for number in range(MAX_SERIES + 1)]
    most = measurement(labelled[:MAX_SERIES], Query(Prometheus("q"), many=True), NOW)
    assert isinstance(most, Sample)
    assert len(most.values) == MAX_SERIES
    more = measurement(labelled, Query(Prometheus("q"), many=True), NOW)
    assert isinstance(more, Malformed)
    assert more.reason == "TooManySeries"
    assert "1001 series, and a condition sees at most 1000: aggregate" in more.message
    single = measurement(labelled, Query(Prometheus("q")), NOW)
    assert isinstance(single, Malformed)
    assert single.reason == "SeveralSeries"
    assert "1001 series" in single.message
