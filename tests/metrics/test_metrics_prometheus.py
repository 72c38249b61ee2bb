from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from fake_prometheus import failure, success, until, vector

from canary.metrics.address import allowed, normalise
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, NoData, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def provider(prometheus) -> AsyncIterator[PrometheusProvider]:
    provider = PrometheusProvider(prometheus.url, max_workers=2)
    yield provider
    await provider.close()


async def test_scalar(prometheus, provider) -> None:
    """A scalar is a number like any other."""
    prometheus.answers["scalar(x)"] = lambda: success("scalar", [1700000000, "4.5"])
    assert await provider.measure(Query("scalar(x)"), NOW) == Sample(4.5, NOW, "scalar(x)", (4.5,))


@pytest.mark.parametrize(
    ("kind", "result", "words"),
    [
        ("matrix", [{"metric": {}, "values": [[1, "1"]]}], "a matrix"),
        ("matrix", [], "a matrix"),
        ("string", [1700000000, "5"], "a string"),
        ("vector", [{"metric": {}, "histogram": [1, {"count": "1"}]}], "without a plain number"),
        ("vector", [{"metric": {}, "value": [1, "five"]}], "without a plain number"),
        ("vector", 5, "without a plain number"),
    ],
)
async def test_results_that_are_no_measurement(prometheus, provider, kind: str, result: Any, words: str) -> None:
    """A range, a string or a histogram has no value, even when it looks like one; the message says what came."""
    prometheus.answers["x"] = lambda: success(kind, result)
    answer = await provider.measure(Query("x"), NOW)
    assert isinstance(answer, Malformed)
    assert answer.reason == "UnexpectedResult"
    assert words in answer.message


@pytest.mark.parametrize(
    "body",
    [
        "<html>login</html>",
        "[]",
        "{}",
        '{"status":"success"}',
        '{"data": null}',
        "\ud83d".encode("utf-16", "surrogatepass"),
    ],
)
async def test_garbage(prometheus, provider, body: str | bytes) -> None:
    """200 with something else than a Prometheus result (a login page) is no data and no outage: it says so."""
    raw = body if isinstance(body, bytes) else body.encode()
    prometheus.answers["x"] = lambda: web.Response(body=raw)
    answer = await provider.measure(Query("x"), NOW)
    assert isinstance(answer, Malformed)
    assert answer.reason == "UnexpectedResult"
    assert "no Prometheus result" in answer.message


async def test_series_are_named_in_a_stable_order(prometheus, provider) -> None:
    """Which labels tell the series apart is shown, a few of them, always in the same order."""
    pods = [({"pod": name}, 1) for name in "dbca"]
    prometheus.answers["x"] = lambda: vector(*pods)
    answer = await provider.measure(Query("x"), NOW)
    assert isinstance(answer, Malformed)
    assert '4 series ({pod="a"}, {pod="b"}, {pod="c"}, …)' in answer.message
    prometheus.answers["y"] = lambda: vector(({"pod": "b"}, "NaN"), ({"pod": "a"}, 1))
    answer = await provider.measure(Query("y", many=True), NOW)
    assert answer == Malformed(NOW, "NotANumber", 'the query returned NaN for {pod="b"}', "y")


@pytest.mark.parametrize(
    ("code", "kind", "expected", "reason"),
    [
        (400, "bad_data", Malformed, "BadQuery"),
        (422, "execution", Malformed, "BadQuery"),
        (401, "", Unreachable, "HTTPError"),
        (403, "", Unreachable, "HTTPError"),
        (404, "", Unreachable, "HTTPError"),
        (429, "", Unreachable, "HTTPError"),
        (500, "internal", Unreachable, "HTTPError"),
        (503, "timeout", Unreachable, "HTTPError"),
    ],
)
async def test_refusals(prometheus, provider, code: int, kind: str, expected: type, reason: str) -> None:
    """A bad query is the query's fault; every other refusal is the provider's, and is asked only once."""
    prometheus.answers["x"] = lambda: failure(code, kind, "in its\nown words")
    answer = await provider.measure(Query("x"), NOW)
    assert (type(answer), answer.reason) == (expected, reason)
    assert "in its own words" in answer.message
    assert len(prometheus.queries) == 1
    if expected is Unreachable:
        assert str(code) in answer.message


async def test_400_from_something_else_is_not_the_querys_fault(prometheus, provider) -> None:
    """A proxy's 400 without Prometheus' error body does not blame the query."""
    prometheus.answers["x"] = lambda: web.Response(status=400, text="plain HTTP sent to HTTPS port")
    answer = await provider.measure(Query("x"), NOW)
    assert isinstance(answer, Unreachable)
    assert await provider.validate(Query("x")) is None


async def test_redirects_are_not_followed(prometheus, provider) -> None:
    """A Prometheus that redirects is not a way to other hosts."""
    prometheus.answers["x"] = lambda: web.Response(status=302, headers={"Location": prometheus.url + "/elsewhere"})
    answer = await provider.measure(Query("x"), NOW)
    assert isinstance(answer, Unreachable)
    assert answer.reason == "HTTPError"
    assert "redirects are not followed" in answer.message
    assert len(prometheus.queries) == 1


async def test_nobody_there() -> None:
    """Connection refused is Unreachable, quickly, in few words."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = PrometheusProvider(f"http://127.0.0.1:{unused.getsockname()[1]}")
        answer = await provider.measure(Query("x"), NOW)
        await provider.close()
    assert isinstance(answer, Unreachable)
    assert answer.reason == "Unreachable"
    assert "refused" in answer.message
    assert len(answer.message) < 120


async def test_a_connection_that_breaks_is_tried_once_more(prometheus, provider) -> None:
    """One lost connection costs a second try, two are an outage."""

    async def hang_up(request: web.Request) -> web.StreamResponse:
        request.transport.abort()
        raise ConnectionResetError

    async def hang_up_once(request: web.Request) -> web.StreamResponse:
        return vector(({}, 1)) if len(prometheus.queries) > 1 else await hang_up(request)

    prometheus.answers["once"] = hang_up_once
    assert isinstance(await provider.measure(Query("once"), NOW), Sample)
    assert len(prometheus.queries) == 2
    prometheus.answers["always"] = hang_up
    answer = await provider.measure(Query("always"), NOW)
    assert isinstance(answer, Unreachable)
    assert answer.reason == "Unreachable"
    assert len(prometheus.queries) == 4


async def test_a_server_that_drips_is_timed_out_in_the_thread_too(prometheus, provider) -> None:
    """Bytes that keep coming do not keep a worker: its thread ends with the time-out."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not prometheus.release.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    prometheus.answers["drip"] = drip
    prometheus.answers["x"] = lambda: vector(({}, 1))
    answers = await asyncio.gather(*(provider.measure(Query("drip", timeout=0.2), NOW) for _ in range(2)))
    assert {answer.reason for answer in answers} == {"Timeout"}
    assert isinstance(await provider.measure(Query("x", timeout=2), NOW), Sample)  # both workers are free again


async def test_large_answers_are_cut_off(prometheus) -> None:
    """An answer beyond the bound is refused with advice, not read to its end."""
    provider = PrometheusProvider(prometheus.url, max_bytes=10_000)
    prometheus.answers["x"] = lambda: vector(*(({"pod": f"p{n}"}, n) for n in range(1000)))
    answer = await provider.measure(Query("x", many=True), NOW)
    await provider.close()
    assert isinstance(answer, Malformed)
    assert answer.reason == "UnexpectedResult"
    assert "larger than 10000 bytes" in answer.message


async def test_chunked_answers_and_kept_connections(prometheus, provider) -> None:
    """Answers without a length are read to their end, and a connection serves many queries."""

    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        whole = json.dumps({"status": "success", "data": json.loads(vector(({"a": "x" * 200_000}, 7)).body)["data"]})
        for start in range(0, len(whole), 5000):
            await response.write(whole[start : start + 5000].encode())
        return response

    prometheus.answers["x"] = chunked
    for _ in range(5):
        assert isinstance(await provider.measure(Query("x"), NOW), Sample)
    assert len(prometheus.connections) == 1


async def test_saturation_times_out_instead_of_piling_up(prometheus, provider) -> None:
    """While all workers hang, others wait for no longer than their time-out; the loop never blocks; then all is well."""
    prometheus.answers["hang"] = prometheus.hang
    prometheus.answers["x"] = lambda: vector(({}, 1))
    before = threading.active_count()
    hanging = [asyncio.create_task(provider.measure(Query("hang", timeout=5), NOW)) for _ in range(2)]
    await until(lambda: prometheus.running == 2)
    started = time.monotonic()
    waiting = await asyncio.gather(*(provider.measure(Query("x", timeout=0.2), NOW) for _ in range(50)))
    assert time.monotonic() - started < 1.5
    assert {(type(answer), answer.reason) for answer in waiting} == {(Unreachable, "Timeout")}
    assert len(prometheus.queries) == 2  # none of the fifty reached the server, then or later
    assert threading.active_count() <= before + 2
    prometheus.release.set()
    assert all(isinstance(answer, Sample) for answer in await asyncio.gather(*hanging))
    assert isinstance(await provider.measure(Query("x"), NOW), Sample)
    assert prometheus.most_running == 2


async def test_prometheus_is_told_to_stop_in_time(prometheus, provider) -> None:
    """The query's time-out goes along, so that the server does not compute what nobody waits for."""
    prometheus.answers["x"] = lambda: vector(({}, 1))
    await provider.measure(Query("x", timeout=3), NOW)
    assert 2.5 < float(prometheus.queries[0]["timeout"]) <= 3


@pytest.mark.parametrize("hosts", [(), ("prometheus.monitoring",), ("127.0.0.1:1",)])
async def test_addresses_must_be_allowed(prometheus, hosts: tuple[str, ...]) -> None:
    """An inline address outside the list is refused without any request."""
    provider = PrometheusProvider(None, hosts)
    answer = await provider.measure(Query("x", prometheus.url), NOW)
    assert isinstance(answer, Malformed)
    assert answer.reason == "AddressNotAllowed"
    assert await provider.validate(Query("x", prometheus.url)) == answer.message
    assert prometheus.queries == []


@pytest.mark.parametrize("by", ["host", "host:port", "*"])
async def test_allowed_addresses_are_asked_without_our_credentials(prometheus, by: str) -> None:
    """An allowed inline address is asked, but headers meant for the default one stay at home."""
    hosts = {"host": "127.0.0.1", "host:port": prometheus.url.removeprefix("http://"), "*": "*"}
    provider = PrometheusProvider("http://127.0.0.1:1", [hosts[by]], headers={"Authorization": "Bearer secret"})
    prometheus.answers["x"] = vector
    assert isinstance(await provider.measure(Query("x", prometheus.url), NOW), NoData)
    await provider.close()
    assert "Authorization" not in prometheus.headers[0]


async def test_the_default_address_gets_our_credentials(prometheus, monkeypatch) -> None:
    """Headers go to the default address, named or not; a proxy in the environment is not asked to carry them."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    provider = PrometheusProvider(prometheus.url + "/", headers={"Authorization": "Bearer secret"})
    prometheus.answers["x"] = vector
    assert isinstance(await provider.measure(Query("x"), NOW), NoData)
    assert isinstance(await provider.measure(Query("x", prometheus.url), NOW), NoData)
    await provider.close()
    assert [headers["Authorization"] for headers in prometheus.headers] == ["Bearer secret"] * 2


async def test_only_so_many_addresses_are_kept(prometheus) -> None:
    """Rollouts that name ever new addresses cost no ever more threads: the least recently used goes."""
    provider = PrometheusProvider(None, ["*"], max_workers=1, max_addresses=3)
    prometheus.answers["x"] = vector
    before = threading.active_count()
    port = prometheus.url.rpartition(":")[2]
    for n in range(1, 12):
        await provider.measure(Query("x", f"http://127.0.0.{n}:{port}", timeout=1), NOW)
    await until(lambda: threading.active_count() <= before + 3)
    assert isinstance(await provider.measure(Query("x", prometheus.url), NOW), NoData)  # evicted, and back again
    await provider.close()


async def test_no_address_at_all() -> None:
    """No default and none in the check: said in one sentence."""
    answer = await PrometheusProvider().measure(Query("x"), NOW)
    assert isinstance(answer, Malformed)
    assert "no Prometheus address is configured" in answer.message


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://Prom.example", "http://prom.example:80"),
        ("https://prom/prefix/", "https://prom:443/prefix"),
        (" http://[FD00::1]:9090/ ", "http://[fd00::1]:9090"),
    ],
)
def test_addresses_have_one_form(address: str, expected: str) -> None:
    """Differently written addresses of one server share its connections."""
    assert normalise(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "prom:9090",
        "ftp://prom",
        "http://",
        "file:///etc/passwd",
        "http://u:p@prom",
        "http://a@b",
        "http://p:x",
        "http://p/?q",
        "http://p/#f",
        "http://[::1",
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    """Other schemes, credentials, queries and rubbish are refused."""
    with pytest.raises(ValueError):
        normalise(address)


@pytest.mark.parametrize("address", ["bob:secret@prom:9090", "http://bob:secret@[prom", "http://prom/?token=secret"])
def test_what_may_be_a_secret_in_an_address_is_not_repeated(address: str) -> None:
    """The refusal is read by many."""
    with pytest.raises(ValueError, match="address") as caught:
        normalise(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "hosts", "expected"),
    [
        ("http://prom:9090", ["prom"], True),
        ("http://prom:9090", ["PROM:9090"], True),
        ("http://prom:9090", ["prom:9091"], False),
        ("http://prom.evil:9090", ["prom"], False),
        ("http://evil:9090/prom", ["prom"], False),
        ("http://[fd00::1]:9090", ["[fd00::1]"], True),
        ("http://[fd00::1]:9090", ["fd00::1"], True),
        ("http://prom", ["*"], True),
        ("http://prom", [], False),
        ("http://prom", ["prom:80"], True),
    ],
)
def test_hosts_are_compared_whole(address: str, hosts: list[str], expected: bool) -> None:
    """A host is allowed by its exact name, with or without its port; nothing that merely contains it."""
    assert allowed(normalise(address), hosts) is expected
