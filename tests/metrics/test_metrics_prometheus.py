from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_prometheus import failure, success, until, vector

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.address import normalise
from canary.metrics.credentials import Credentials
from canary.metrics.hosts import Hosts
from canary.metrics.native import weight
from canary.metrics.port import Query, Refusal
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, NoData, Queued, Sample, Unreachable, Vector
from canary.model.native import NativeHistogram

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def provider(prometheus) -> AsyncIterator[PrometheusProvider]:
    provider = PrometheusProvider(prometheus.url, max_workers=2)
    yield provider
    await provider.close()


async def test_scalar(prometheus, provider) -> None:
    """A scalar is a number like any other."""
    prometheus.answers["scalar(x)"] = lambda: success("scalar", [1700000000, "4.5"])
    assert await provider.measure(Query(Prometheus("scalar(x)")), NOW) == Sample(4.5, NOW, "scalar(x)", (4.5,))


@pytest.mark.parametrize(
    ("kind", "result", "words"),
    [
        ("matrix", [{"metric": {}, "values": [[1, "1"]]}], "a matrix"),
        ("matrix", [], "a matrix"),
        ("string", [1700000000, "5"], "a string"),
        ("vector", [{"metric": {}, "histogram": [1, {"count": "0"}]}], "histogram_quantile() or histogram_count()"),
        ("vector", [{"metric": {}, "histogram": [1]}], "without a plain number"),
        ("vector", [{"metric": {}, "value": [1, "five"]}], "without a plain number"),
        ("vector", 5, "without a plain number"),
        ("vector", [{"metric": {}, "value": [1, 10**400]}], "without a plain number"),
        ("scalar", [1, 10**400], "without a plain number"),
        ("vector", [{"metric": {}, "value": [1, False]}], "without a plain number"),
        ("vector", [{"metric": {}, "value": [1, "0_0"]}], "without a plain number"),
        ("vector", [{"metric": {}, "value": ["NaN", "0"]}], "without a plain number"),
        ("vector", [{"metric": {}, "value": [-1e18, "0"]}], "without a plain number"),
        ("scalar", [False, "0"], "without a plain number"),
    ],
)
async def test_results_that_are_no_measurement(prometheus, provider, kind: str, result: Any, words: str) -> None:
    """A range, a string or a histogram has no value, even when it looks like one; the message says what came."""
    prometheus.answers["x"] = lambda: success(kind, result)
    answer = await provider.measure(Query(Prometheus("x")), NOW)
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
    answer = await provider.measure(Query(Prometheus("x")), NOW)
    assert isinstance(answer, Malformed)
    assert answer.reason == "UnexpectedResult"
    assert "no Prometheus result" in answer.message


async def test_series_are_named_in_a_stable_order(prometheus, provider) -> None:
    """Which labels tell the series apart is shown, a few of them, always in the same order."""
    pods = [({"pod": name}, 1) for name in "dbca"]
    prometheus.answers["x"] = lambda: vector(*pods)
    answer = await provider.measure(Query(Prometheus("x")), NOW)
    assert isinstance(answer, Malformed)
    assert '4 series ({pod="a"}, {pod="b"}, {pod="c"}, …)' in answer.message
    prometheus.answers["y"] = lambda: vector(({"pod": "b"}, "NaN"), ({"pod": "a"}, 1))
    answer = await provider.measure(Query(Prometheus("y"), many=True), NOW)
    assert answer == Malformed(NOW, "NotANumber", 'the query returned NaN for {pod="b"}', "y")


@pytest.mark.parametrize(
    ("code", "kind", "expected", "reason"),
    [
        (400, "bad_data", Malformed, "BadQuery"),
        (422, "execution", Malformed, "BadQuery"),
        (401, "", Unreachable, "NotAuthorized"),
        (403, "", Unreachable, "NotAuthorized"),
        (404, "", Unreachable, "HTTPError"),
        (429, "", Unreachable, "HTTPError"),
        (500, "internal", Unreachable, "HTTPError"),
        (503, "timeout", Unreachable, "HTTPError"),
    ],
)
async def test_refusals(prometheus, provider, code: int, kind: str, expected: type, reason: str) -> None:
    """A bad query is the query's fault; every other refusal is the provider's, and is asked only once."""
    prometheus.answers["x"] = lambda: failure(code, kind, "in its\nown words")
    answer = await provider.measure(Query(Prometheus("x")), NOW)
    assert (type(answer), answer.reason) == (expected, reason)
    assert "in its own words" in answer.message
    assert len(prometheus.queries) == 1
    if expected is Unreachable:
        assert str(code) in answer.message


async def test_400_from_something_else_is_not_the_querys_fault(prometheus, provider) -> None:
    """A proxy's 400 without Prometheus' error body does not blame the query."""
    prometheus.answers["x"] = lambda: web.Response(status=400, text="plain HTTP sent to HTTPS port")
    answer = await provider.measure(Query(Prometheus("x")), NOW)
    assert isinstance(answer, Unreachable)
    assert await provider.validate(Query(Prometheus("x"))) is None


async def test_redirects_are_not_followed(prometheus, provider) -> None:
    """A Prometheus that redirects is not a way to other hosts."""
    prometheus.answers["x"] = lambda: web.Response(status=302, headers={"Location": prometheus.url + "/elsewhere"})
    answer = await provider.measure(Query(Prometheus("x")), NOW)
    assert isinstance(answer, Unreachable)
    assert answer.reason == "HTTPError"
    assert "redirects are not followed" in answer.message
    assert len(prometheus.queries) == 1


async def test_nobody_there() -> None:
    """Connection refused is Unreachable, quickly, in few words."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = PrometheusProvider(f"http://127.0.0.1:{unused.getsockname()[1]}")
        answer = await provider.measure(Query(Prometheus("x")), NOW)
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
    assert isinstance(await provider.measure(Query(Prometheus("once")), NOW), Sample)
    assert len(prometheus.queries) == 2
    prometheus.answers["always"] = hang_up
    answer = await provider.measure(Query(Prometheus("always")), NOW)
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
    answers = await asyncio.gather(*(provider.measure(Query(Prometheus("drip"), timeout=0.2), NOW) for _ in range(2)))
    assert {answer.reason for answer in answers} == {"Timeout"}
    after = await provider.measure(Query(Prometheus("x"), timeout=2), NOW)
    assert isinstance(after, Sample)  # both workers are free again


async def test_large_answers_are_cut_off(prometheus) -> None:
    """An answer beyond the bound is refused with advice, not read to its end."""
    provider = PrometheusProvider(prometheus.url, max_bytes=10_000)
    prometheus.answers["x"] = lambda: vector(*(({"pod": f"p{n}"}, n) for n in range(1000)))
    answer = await provider.measure(Query(Prometheus("x"), many=True), NOW)
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
        assert isinstance(await provider.measure(Query(Prometheus("x")), NOW), Sample)
    assert len(prometheus.connections) == 1


def workers() -> int:
    """Threads that ask a Prometheus; the event loop has some of its own."""
    return sum(thread.name.startswith("prometheus") for thread in threading.enumerate())


@pytest.mark.alone("how long it takes to give up", waits=True)
async def test_saturation_times_out_instead_of_piling_up(prometheus) -> None:
    """While a server hangs, its workers are all there is of it: who waits gives up, is told why, and never gets there."""
    provider = PrometheusProvider(prometheus.url, max_workers=4)
    prometheus.answers["hang"] = prometheus.hang
    prometheus.answers["x"] = lambda: vector(({}, 1))
    before = workers()
    hanging = [
        asyncio.create_task(
            provider.measure(Query(Prometheus(f"hang # {number}"), timeout=1, tenant=(f"team-{number}", "shop")), NOW)
        )
        for number in range(10)
    ]

    async def wait() -> set[tuple[type, str]]:
        queries = [
            Query(Prometheus(f"x # {number}"), patience=0.3, tenant=("we", f"r{number}")) for number in range(50)
        ]
        started = time.monotonic()
        answers = await asyncio.gather(*(provider.measure(query, NOW) for query in queries))
        assert time.monotonic() - started < 1.0
        return {(type(answer), answer.reason) for answer in answers}

    await until(lambda: prometheus.running == 3)
    assert await wait() == {(Queued, "Queued")}  # they may be slow, and get their answer
    await until(lambda: any(task.done() for task in hanging))
    assert await wait() == {(Unreachable, "Timeout")}  # by now it is known that nobody gets one
    assert {query["query"].partition(" #")[0] for query in prometheus.queries} == {"hang"}
    assert (
        workers() <= before + 4
    )  # three at a time; a fourth is begun when one is not idle yet that just had its answer
    assert {answer.reason for answer in await asyncio.gather(*hanging)} == {"Timeout"}
    assert prometheus.most_running == 3
    assert isinstance(await provider.measure(Query(Prometheus("x")), NOW), Sample)
    await provider.close()


async def test_waiting_for_a_worker_is_not_the_time_out(prometheus) -> None:
    """A query's time begins when it is sent: one that waits longer than its time-out for its turn is answered all the same."""
    provider = PrometheusProvider(prometheus.url, max_workers=1)
    prometheus.answers["hang"] = prometheus.hang
    prometheus.answers["x"] = lambda: vector(({}, 1))
    hanging = asyncio.create_task(provider.measure(Query(Prometheus("hang"), timeout=5, tenant=("they", "slow")), NOW))
    await until(lambda: prometheus.running == 1)
    waiting = asyncio.create_task(
        provider.measure(Query(Prometheus("x"), timeout=0.2, patience=5, tenant=("we", "shop")), NOW)
    )
    await asyncio.sleep(0.5)
    assert not waiting.done()
    prometheus.release.set()
    assert isinstance(await waiting, Sample)
    await hanging
    await provider.close()


@pytest.mark.alone("how long it waited for its turn", waits=True)
async def test_who_gets_no_turn_is_queued_and_the_provider_is_not_blamed(prometheus) -> None:
    """Behind queries of others, at a server that does answer: the measurement is Queued, and says how long it waited."""
    provider = PrometheusProvider(prometheus.url, max_workers=1)
    prometheus.answers["hang"] = prometheus.hang
    waiting = Query(Prometheus("x"), timeout=0.2, patience=0.6, tenant=("we", "shop"))

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return vector(({}, 1))

    prometheus.answers["slow"] = slow
    first = asyncio.create_task(provider.measure(Query(Prometheus("slow"), tenant=("they", "a")), NOW))
    await until(lambda: prometheus.running == 1)
    second = asyncio.create_task(provider.measure(Query(Prometheus("hang"), timeout=5, tenant=("they", "b")), NOW))
    await asyncio.sleep(0)
    answer = await provider.measure(waiting, NOW)
    assert isinstance(answer, Queued)
    assert answer.reason == "Queued"
    assert 0.5 < answer.waited < 2
    assert "for its turn" in answer.message
    assert isinstance(await first, Sample)
    assert await provider.validate(waiting) is None
    prometheus.release.set()
    await second
    assert {query["query"] for query in prometheus.queries} == {"slow", "hang"}
    await provider.close()


async def test_prometheus_is_told_to_stop_in_time(prometheus, provider) -> None:
    """The query's time-out goes along, so that the server does not compute what nobody waits for."""
    prometheus.answers["x"] = lambda: vector(({}, 1))
    await provider.measure(Query(Prometheus("x"), timeout=3), NOW)
    assert 2.5 < float(prometheus.queries[0]["timeout"]) <= 3


@pytest.mark.parametrize("hosts", [(), ("prometheus.monitoring",), ("127.0.0.1:1",)])
async def test_addresses_must_be_allowed(prometheus, hosts: tuple[str, ...]) -> None:
    """An inline address outside the list is refused without any request."""
    provider = PrometheusProvider(None, hosts)
    answer = await provider.measure(Query(Prometheus("x", prometheus.url)), NOW)
    assert isinstance(answer, Malformed)
    assert answer.reason == "AddressNotAllowed"
    assert await provider.validate(Query(Prometheus("x", prometheus.url))) == Refusal(
        answer.message, asked=False, field="address"
    )
    assert prometheus.queries == []


def secret(folder: Path) -> Credentials:
    (folder / "token").write_text("secret\n")
    return Credentials(token_file=str(folder / "token"))


@pytest.mark.parametrize("by", ["host", "host:port", "network"])
async def test_allowed_addresses_are_asked_without_our_credentials(prometheus, tmp_path: Path, by: str) -> None:
    """An allowed inline address is asked, but what is meant for the default one stays at home."""
    hosts = {"host": "127.0.0.1", "host:port": prometheus.url.removeprefix("http://"), "network": "127.0.0.0/8"}
    provider = PrometheusProvider("http://127.0.0.1:1", [hosts[by]], credentials=secret(tmp_path))
    prometheus.answers["x"] = vector
    for address in (prometheus.url, f"{prometheus.url}/../", prometheus.url.replace("127.0.0.1", "LOCALHOST")):
        await provider.measure(Query(Prometheus("x", address)), NOW)
    assert isinstance(await provider.measure(Query(Prometheus("x", prometheus.url)), NOW), NoData)
    await provider.close()
    assert [headers for headers in prometheus.headers if "Authorization" in headers] == []


async def test_the_default_address_gets_our_credentials(prometheus, tmp_path: Path, monkeypatch) -> None:
    """They go to the default address, named or not; a proxy in the environment is not asked to carry them."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    provider = PrometheusProvider(prometheus.url + "/", credentials=secret(tmp_path))
    prometheus.answers["x"] = vector
    assert isinstance(await provider.measure(Query(Prometheus("x")), NOW), NoData)
    assert isinstance(await provider.measure(Query(Prometheus("x", prometheus.url)), NOW), NoData)
    await provider.close()
    assert [headers["Authorization"] for headers in prometheus.headers] == ["Bearer secret"] * 2


async def test_only_so_many_addresses_are_kept(prometheus) -> None:
    """Rollouts that name ever new addresses cost no ever more threads: those used longest ago go."""
    provider = PrometheusProvider(None, ["*", "127.0.0.0/8"], max_workers=1, max_addresses=3)
    prometheus.answers["x"] = vector
    before = threading.active_count()
    port = prometheus.url.rpartition(":")[2]
    for n in range(1, 12):
        await provider.measure(Query(Prometheus("x", f"http://127.0.0.{n}:{port}"), timeout=1), NOW)
    await until(lambda: threading.active_count() <= before + 3)
    again = await provider.measure(Query(Prometheus("x", prometheus.url)), NOW)
    assert isinstance(again, NoData)  # evicted, and back again
    await provider.close()


async def test_nobody_is_pushed_out_by_another_teams_addresses(prometheus) -> None:
    """A team whose checks name ever new paths of an allowed host costs another team's query, and the default's, nothing."""
    provider = PrometheusProvider(prometheus.url, ["*", "127.0.0.0/8"], max_addresses=4)
    prometheus.answers["hang"] = prometheus.hang
    prometheus.answers["x"] = lambda: vector(({}, 1))
    ours = Query(Prometheus("hang", f"{prometheus.url}/other"), timeout=9, tenant=("we", "shop"))
    waiting = [
        asyncio.create_task(provider.measure(query, NOW)) for query in (ours, replace(ours, source=Prometheus("hang")))
    ]
    await until(lambda: prometheus.running == 2)
    for number in range(40):
        query = Query(Prometheus("x", f"{prometheus.url}/{number}"), timeout=1, tenant=("they", f"rollout-{number}"))
        assert isinstance(await provider.measure(query, NOW), Unreachable)  # 404
    prometheus.release.set()
    assert [type(answer) for answer in await asyncio.gather(*waiting)] == [Sample, Sample]
    await provider.close()


async def test_no_address_at_all() -> None:
    """No default and none in the check: said in one sentence."""
    answer = await PrometheusProvider().measure(Query(Prometheus("x")), NOW)
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
    assert Hosts.read(hosts).names_it(normalise(address)) is expected


async def test_counters_come_with_their_labels_and_their_instant(prometheus, provider) -> None:
    """All series of an answer, and when they are of by the server's clock; a question may name that instant."""
    labels = [{"pod": "a", "code": "200"}, {"pod": "b"}]
    result = [{"metric": one, "value": [1700000000.1, value]} for one, value in zip(labels, (5, "7"), strict=True)]
    prometheus.answers["n"] = lambda: success("vector", result)
    found = await provider.measure(Query(Prometheus("n"), many=True, counters=True), NOW)
    assert isinstance(found, Sample)
    series = {frozenset(one.items()): value for one, value in zip(labels, (5.0, 7.0), strict=True)}
    assert found.vector == Vector(series, 1700000000.1)
    assert "time" not in prometheus.queries[-1]
    await provider.measure(Query(Prometheus("n"), many=True, counters=True, instant=1700000000.125), NOW)
    assert prometheus.queries[-1]["time"] == "1700000000.125"


async def test_too_many_counters_are_refused(prometheus, provider) -> None:
    """Nobody looks at what they are."""
    prometheus.answers["n"] = lambda: vector(*(({"pod": str(number)}, 1) for number in range(1001)))
    found = await provider.measure(Query(Prometheus("n"), many=True, counters=True), NOW)
    assert isinstance(found, Malformed)
    assert (found.reason, "a comparison sees at most 1000" in found.message) == ("TooManySeries", True)


async def test_counters_that_are_there_twice_are_refused(prometheus, provider) -> None:
    """A proxy that merges servers may send one series of each: nobody knows which of them counts."""
    prometheus.answers["n"] = lambda: vector(({"pod": "a"}, 5), ({"pod": "b"}, 1), ({"pod": "a"}, 7))
    found = await provider.measure(Query(Prometheus("n"), many=True, counters=True), NOW)
    assert isinstance(found, Malformed)
    assert (found.reason, 'two series with the labels {pod="a"}' in found.message) == ("UnexpectedResult", True)


async def test_counters_of_a_part_of_the_stores_are_refused(prometheus, provider) -> None:
    """What is missing would look as if nothing had failed, and as all of its history when it comes back."""
    answer = {"status": "success", "warnings": ["store-1: no answer"], "data": {"resultType": "vector", "result": []}}
    prometheus.answers["n"] = lambda: web.json_response(answer)
    found = await provider.measure(Query(Prometheus("n"), many=True, counters=True), NOW)
    assert isinstance(found, Malformed)
    assert (found.reason, "store-1: no answer" in found.message) == ("PartialAnswer", True)
    one = await provider.measure(Query(Prometheus("n")), NOW)
    assert isinstance(one, Malformed), "nor is it known of a number what a part of them would have made of it"
    assert one.reason == "PartialAnswer"


@pytest.mark.parametrize("status", ["error", None], ids=["an error", "nothing"])
async def test_an_answer_that_does_not_say_success_is_none(prometheus, provider, status: str | None) -> None:
    """Whatever comes with it."""
    said = {} if status is None else {"status": status, "error": "shard 3 is down"}
    result = [{"metric": {}, "value": [time.time(), "0"]}]
    prometheus.answers["n"] = lambda: web.json_response({**said, "data": {"resultType": "vector", "result": result}})
    found = await provider.measure(Query(Prometheus("n")), NOW)
    assert isinstance(found, Malformed)
    assert found.reason == "UnexpectedResult"
    assert status is None or "shard 3 is down" in found.message


@pytest.mark.parametrize("kind", ["vector", "scalar"])
async def test_an_answer_of_an_hour_ago_is_no_news(prometheus, provider, kind: str) -> None:
    """As a cache before the server may give it, for as long as it likes."""
    old = [time.time() - 3600, "0"]
    result = [{"metric": {}, "value": old}] if kind == "vector" else old
    answer = {"status": "success", "data": {"resultType": kind, "result": result}}
    prometheus.answers["n"] = lambda: web.json_response(answer)
    found = await provider.measure(Query(Prometheus("n")), NOW)
    assert isinstance(found, Malformed)
    assert found.reason == "StaleAnswer"
    assert "answers from a cache" in found.message


def told(*buckets: Any, count: Any = "9") -> Any:
    return {"metric": {"pod": "a"}, "histogram": [1700000000.1, {"count": count, "sum": "1", "buckets": list(buckets)}]}


async def test_native_histograms_come_with_their_buckets(prometheus, provider) -> None:
    """Those that are not empty; what was counted and was no number is no request. Beside counters, if somebody mixes them."""
    buckets = [3, "-0.001", "0.001", "2"], [0, "0.25", "0.5", "0"], [0, "0.5", "1", "4"], [0, "1", "+Inf", "1.5"]
    counter = {"metric": {"pod": "b"}, "value": [1700000000.1, "5"]}
    prometheus.answers["x"] = lambda: success("vector", [told(*buckets), counter])
    found = await provider.measure(Query(Prometheus("x"), many=True, counters=True), NOW)
    assert isinstance(found, Sample)
    assert found.vector is not None
    assert found.vector.instant == 1700000000.1
    one, other = (found.vector.series[frozenset({("pod", name)})] for name in "ab")
    assert isinstance(one, NativeHistogram)
    assert (list(one.lower), list(one.upper), list(one.within)) == ([-0.001, 0.5, 1], [0.001, 1, inf], [2, 6, 7.5])
    assert (one.total, other) == (7.5, 5)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (told([0, "1", "2"]), "has no count, or buckets that are none"),
        (told([0, "1", "2", "three"]), "has no count, or buckets that are none"),
        (told(5), "has no count, or buckets that are none"),
        (told(count=None), "has no count, or buckets that are none"),
        (told(count="NaN"), "counts nan"),
        (told(count=10**400), "has no count, or buckets that are none"),
        (told([0, "1", "2", 10**400]), "has no count, or buckets that are none"),
        (told([4, "1", "2", "3"]), "has a bucket from 1 to 2"),
        (told(["x", "1", "2", "3"]), "has a bucket from 1 to 2"),
        (told([[], "1", "2", "3"]), "has a bucket from 1 to 2"),
        (told([0, "2", "1", "3"]), "has a bucket from 2 to 1"),
        (told([0, "NaN", "1", "3"]), "has a bucket from nan to 1"),
        (told([0, "1", "2", "-3"]), "has a bucket that holds -3"),
        (told([0, "1", "2", "NaN"]), "has a bucket that holds nan"),
        (told([0, "1", "2", "+Inf"]), "has a bucket that holds inf"),
        (told([0, "1", "4", "1"], [0, "2", "8", "1"]), "has buckets that overlap below 8"),
        (told([0, "1", "2", "10"]), "counts 9, and its buckets hold 10"),
        (told([0, "1", "2", "1e308"], [0, "2", "4", "1e308"], count="1e308"), "counts 1e+308, and its buckets hold inf"),
        ({"metric": {}, "histogram": [1, []]}, "has no count, or buckets that are none"),
        ({"metric": {}, "histogram": [1, {"count": "1", "buckets": {"a": 1}}]}, "has no count, or buckets that are none"),
        ({**told(), "value": [1, "1"]}, "is a number, too"),
    ],
)  # fmt: skip
async def test_native_histograms_that_are_none(prometheus, provider, one: Any, words: str) -> None:
    """Each kind of garbage has its words, and none becomes a count."""
    prometheus.answers["x"] = lambda: success("vector", [one])
    found = await provider.measure(Query(Prometheus("x"), many=True, counters=True), NOW)
    assert isinstance(found, Malformed)
    assert found.reason == "UnexpectedResult"
    assert f"a native histogram that {words}" in found.message


async def test_an_answer_has_so_many_buckets_at_most(prometheus, provider) -> None:
    """They are counted before anybody parses them."""
    buckets = [[0, str(number), str(number + 1), "1"] for number in range(9_000)]
    prometheus.answers["x"] = lambda: success("vector", [told(*buckets, count="9000")])
    found = await provider.measure(Query(Prometheus("x"), many=True, counters=True), NOW)
    assert isinstance(found, Malformed)
    assert "consists of more than 40000 values" in found.message


def test_what_a_series_weighs() -> None:
    """As many as it has buckets, so that answers with many are worked on one at a time; whatever it is."""
    assert weight(told(*[[0, "1", "2", "0"]] * 70)) == 70
    for one in (told(), 5, None, {"value": [1, "1"]}, {"histogram": {}}, {"histogram": [1, {"buckets": 5}]}):
        assert weight(one) == 1
