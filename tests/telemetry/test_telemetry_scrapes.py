"""Promise 8 for /metrics: scrapers, however many, slow or mad, cost a bounded amount of work and hold nobody up."""

from __future__ import annotations

import asyncio
import gzip
import math
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from canary.telemetry import Telemetry, TelemetryServer
from canary.telemetry import server as module
from canary.telemetry.exposition import Exposition, Format
from canary.telemetry.metrics import VERDICTS
from canary.telemetry.series import Family, RolloutSeries


def busy(rollouts: int = 1000, checks: int = 16) -> Telemetry:
    """That of a controller with many active Rollouts."""
    telemetry = Telemetry()
    for number in range(rollouts):
        namespace, rollout = f"team-{number % 50}", f"rollout-{number}"
        telemetry.run_active(namespace, rollout)
        telemetry.weights(namespace, rollout, desired=50, written=50, accepted=50)
        for check in range(checks):
            telemetry.verdict(namespace, rollout, f"check-{check}", VERDICTS[check % 3])
            telemetry.value(namespace, rollout, f"check-{check}", 0.1 * check)
    return telemetry


@pytest.fixture(scope="module")
def large() -> Telemetry:
    return busy()


@pytest.fixture
async def serving(large: Telemetry) -> AsyncIterator[TelemetryServer]:
    async with TelemetryServer(large, beat=time.monotonic, waiting_for=list) as server:
        yield server


class Lateness:
    """How much processor time of this thread passes between two turns of the loop: what a rollback would wait.

    Not the time on the wall: a machine with other things to do is not what is tested.
    """

    def __init__(self) -> None:
        self.stretches: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            since = time.thread_time()
            await asyncio.sleep(0)
            self.stretches.append(time.thread_time() - since)


class Counting(RolloutSeries):
    """Counts how often it is written out."""

    written = 0

    def text(self, *, openmetrics: bool) -> Iterator[str]:
        self.written += 1
        return super().text(openmetrics=openmetrics)


GAUGE = Family("of_rollouts", "A gauge.", "gauge", ("kind",))


def counting(rows: int = 2000) -> tuple[Counting, Exposition]:
    series = Counting(GAUGE)
    for number in range(rows):
        series.set(GAUGE, ("team", f"rollout-{number}"), ("a",), number)
    return series, Exposition(CollectorRegistry(), series)


@pytest.mark.alone("how long the event loop is kept")
async def test_a_large_page_lets_others_in_between(large: Telemetry) -> None:
    """67,000 series are written, and zipped, in stretches of a few milliseconds at most."""
    exposition = Exposition(large.process, large.rollouts)
    async with Lateness() as lateness:
        page = await exposition.page(Format(gzip=True))
    assert gzip.decompress(b"".join(page)).count(b"\n") > 67_000
    assert len(lateness.stretches) > 60
    assert max(lateness.stretches) < 0.01, sorted(lateness.stretches)[-5:]


async def test_fifty_at_once_are_one_page() -> None:
    """Whoever comes while a page is made gets the next one, together with all others who came meanwhile."""
    series, exposition = counting()
    pages = await asyncio.gather(*(exposition.page(Format()) for _ in range(50)))
    assert series.written == 1
    assert len(set(map(id, pages))) == 1
    first = asyncio.create_task(exposition.page(Format()))
    await asyncio.sleep(0)
    while series.written < 2:  # noqa: ASYNC110 - each turn of the loop is one stretch of the page
        await asyncio.sleep(0)
    others = [asyncio.create_task(exposition.page(Format())) for _ in range(50)]
    await asyncio.gather(first, *others)
    assert series.written == 3


@pytest.mark.alone("which part of the time is work")
async def test_scrapers_without_end_cost_a_tenth() -> None:
    """Ten that ask again at once, in both formats, zipped and not: the work is a small part of the time."""
    series, exposition = counting(1_000)

    async def scrape(wanted: Format) -> None:
        while True:
            await exposition.page(wanted)

    formats = [Format(openmetrics, zipped) for openmetrics in (False, True) for zipped in (False, True)]
    tasks = [asyncio.create_task(scrape(formats[number % 4])) for number in range(10)]
    started, worked = time.perf_counter(), time.thread_time()
    while series.written < 6:  # noqa: ASYNC110 - who works and who rests is what is measured
        await asyncio.sleep(0.01)
    worked = time.thread_time() - worked
    assert worked < 0.25 * (time.perf_counter() - started)
    for task in tasks:
        task.cancel()
    await exposition.close()


async def test_a_page_is_never_older_than_the_question() -> None:
    """What was set before somebody asked is in the answer, whatever is being made or kept."""
    series, exposition = counting(10)
    asking: list[asyncio.Task[tuple[bytes, ...]]] = []
    for number in range(30):
        series.set(GAUGE, ("team", "ours"), ("a",), number)
        asking.append(asyncio.create_task(exposition.page(Format())))
        await asyncio.sleep(0)
    for number, task in enumerate(asking):
        (line,) = [line for line in b"".join(await task).decode().splitlines() if '"ours"' in line]
        assert float(line.split()[1]) >= number
    assert series.written < 30


async def test_a_page_that_cannot_be_made() -> None:
    """Whoever waits is told, and the next one is tried anew."""
    series, exposition = counting(10)
    good = series._rows
    series._rows = {}
    with pytest.raises(KeyError):
        await exposition.page(Format())
    series._rows = good
    assert await exposition.page(Format())


@pytest.mark.alone("how fast a probe is answered")
async def test_fifty_scrapers(serving: TelemetryServer) -> None:
    """All of them get all of it, and a probe in between is answered at once."""
    async with httpx.AsyncClient(
        base_url=serving.url, trust_env=False, limits=httpx.Limits(max_connections=60)
    ) as client:
        tasks = [asyncio.create_task(client.get("/metrics")) for _ in range(50)]
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        assert (await client.get("/healthz")).status_code == 200
        assert time.perf_counter() - started < 2
        answers = await asyncio.gather(*tasks)
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.text.count("\n") > 67_000 for answer in answers} == {True}


@pytest.mark.alone("who reads has to be served before others are broken off")
async def test_scrapers_that_never_read(serving: TelemetryServer, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """They keep nothing but a small buffer each, are broken off in time, and one who reads is served beside them."""
    monkeypatch.setattr(module, "SCRAPE_SECONDS", 2.0)
    address = urlsplit(serving.url)
    with ExitStack() as stack:
        mute = []
        for _ in range(module.MOST_SCRAPES + 20):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            await asyncio.get_running_loop().sock_connect(one, (address.hostname, address.port))
            one.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            mute.append(one)
        await asyncio.sleep(1)
        waiting = [scrape.transport for scrape in serving._scrapes.values() if scrape.transport is not None]
        assert 0 < len(waiting) <= module.MOST_SCRAPES
        assert max(transport.get_write_buffer_size() for transport in waiting) <= 256 * 1024
        monkeypatch.setattr(module, "SCRAPE_SECONDS", 60.0)  # who reads may do so on a busy machine
        async with httpx.AsyncClient(base_url=serving.url, trust_env=False, timeout=60) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/metrics")).text.count("\n") > 67_000
        async with asyncio.timeout(10):
            while serving._scrapes:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.name != "httpx"] == []  # which is our own client here


async def test_how_a_page_is_sent(serving: TelemetryServer) -> None:
    """Zipped if one can read that, with its length, and as headers alone."""
    async with httpx.AsyncClient(base_url=serving.url, trust_env=False) as client:
        zipped = await client.get("/metrics", headers={"Accept-Encoding": "br, gzip;q=0.5"})
        plain = await client.get("/metrics", headers={"Accept-Encoding": "gzip;q=0"})
        only = await client.head("/metrics", headers={"Accept-Encoding": "identity"})
        after = await client.get("/healthz")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) < len(zipped.content) / 8
    assert "Content-Encoding" not in plain.headers
    assert int(plain.headers["Content-Length"]) == len(plain.content)
    assert abs(int(only.headers["Content-Length"]) - len(plain.content)) < 200
    assert only.content == b""
    assert after.text == "ok\n"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", False),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", True),
        (
            "application/vnd.google.protobuf;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6",
            True,
        ),
        ("text/plain, application/openmetrics-text", False),
    ],
)
def test_which_format_is_wanted(accept: str, openmetrics: bool) -> None:
    """The first of the two that we speak."""
    wanted = Format.wanted(accept, "")
    assert wanted == Format(openmetrics=openmetrics)
    assert wanted.content_type.startswith(
        "application/openmetrics-text" if openmetrics else "text/plain; version=0.0.4"
    )


LABELS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
NUMBERS = st.floats() | st.integers(-(10**18), 10**18).map(float)
FAMILIES = (
    Family("a_gauge", "With a \\ and so on.", "gauge", ("one", "other")),
    Family("a_counter", "Counts.", "counter", ("how",)),
    Family("a_choice", "One of three.", "gauge", ("check", "verdict"), ("Pass", "Fail", "Unknown")),
    Family("plain", "Without labels of its own.", "gauge", ()),
)


@given(st.lists(st.tuples(st.integers(0, 3), LABELS, LABELS, LABELS, LABELS, NUMBERS), max_size=20), st.booleans())
def test_what_is_written_is_what_is_kept(rows: list[tuple[int, str, str, str, str, float]], openmetrics: bool) -> None:
    """The library's own parser reads back every label and number, in both formats; `collect` says the same."""
    series = RolloutSeries(*FAMILIES)
    expected: dict[tuple[str, ...], float] = {}
    for index, namespace, rollout, one, other, value in rows:
        family = FAMILIES[index]
        labels = {0: (one, other), 1: (one,), 2: (one,), 3: ()}[index]
        kept = {1: abs(value) if math.isfinite(value) else 1.0, 2: float(len(other) % 3)}.get(index, value)
        series.set(family, (namespace, rollout), labels, kept)
        for number, choice in enumerate(family.choices):
            expected[family.sample, namespace, rollout, *labels, choice] = float(number == kept)
        if not family.choices:
            expected[family.sample, namespace, rollout, *labels] = kept
    text = "".join(series.text(openmetrics=openmetrics))
    families = openmetrics_families(f"{text}# EOF\n") if openmetrics else text_families(text)
    for source in (families, series.collect()):
        found = {
            (sample.name, *(sample.labels[name] for name in ("namespace", "rollout", *family.labels))): sample.value
            for metric in source
            for family in FAMILIES
            if metric.name == family.name
            for sample in metric.samples
        }
        assert found.keys() == expected.keys()
        assert all(
            value == expected[key] or (math.isnan(value) and math.isnan(expected[key])) for key, value in found.items()
        )


def test_every_way_to_end_is_there_before_a_run_ends() -> None:
    """At 0 while it is under way, counted once it ends; a Rollout without a run costs no series."""
    telemetry = Telemetry()

    def ended() -> dict[str, float]:
        return {
            sample.labels["result"]: sample.value
            for metric in telemetry.registry.collect()
            if metric.name == "canary_runs_finished"
            for sample in metric.samples
        }

    telemetry.weights("team", "shop", desired=0, written=0, accepted=0)
    assert ended() == {}
    for _ in range(3):
        telemetry.run_active("team", "shop")
    assert ended() == {"Succeeded": 0, "RolledBack": 0}
    telemetry.run_finished("team", "shop", "RolledBack")
    telemetry.run_active("team", "shop")
    assert ended() == {"Succeeded": 0, "RolledBack": 1}
    telemetry.forget("team", "shop")
    assert ended() == {}
