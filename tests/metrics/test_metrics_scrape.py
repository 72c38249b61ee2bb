"""Pods that are scraped without a Prometheus: real servers, and everything that can be wrong with what they tell."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from fake_prometheus import until
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.sources.scrape import Scrape, Scraped, ScrapedCounters, Selector, Where, fits
from canary.controller.counting import Counting
from canary.errors import Unavailable
from canary.metrics import parsing
from canary.metrics.exposition import LARGEST, Unparsed, parsed, wanted_lines
from canary.metrics.hosts import Hosts
from canary.metrics.port import Query
from canary.metrics.scrape import MOST_PODS, Pod, ScrapeProvider
from canary.model.measurement import (
    MAX_SERIES,
    Compared,
    Malformed,
    Measurement,
    NoData,
    Queued,
    Sample,
    Unreachable,
)
from canary.model.scrape import Aggregate

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEAM = "team-shop"
HERE = Hosts.read(["127.0.0.0/8"])
REQUESTS, FAILURES = Selector("requests_total"), Selector("requests_total", (("code", "5*"),))
CANARY, STABLE = (Where("http", "/metrics", service, TEAM) for service in ("shop-canary", "shop-stable"))
RATIO = Scrape(CANARY, (REQUESTS, FAILURES), window=60.0)


def counters(**by_code: float) -> str:
    return "".join(f'requests_total{{code="{code.removeprefix("c")}"}} {count}\n' for code, count in by_code.items())


class Shop:
    """A pod: what it tells, what it was sent, and where it is."""

    def __init__(self, name: str) -> None:
        self.name, self.page = name, ""
        self.status, self.hang = 200, False
        self.requests: list[web.Request] = []
        self.pod = Pod(("127.0.0.1", 0), name)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.hang:
            await asyncio.sleep(60)
        return web.Response(text=self.page, status=self.status, headers={"Location": "/elsewhere"})


class Town:
    """Pods by Service, a clock, and a provider that scrapes them."""

    def __init__(self, shops: dict[str, list[Shop]], hosts: Hosts = HERE, **more: Any) -> None:
        self.shops, self.now, self.trouble = shops, 1000.0, None
        self.finds = 0
        self.provider = ScrapeProvider(self.find, hosts, clock=lambda: self.now, wall=lambda: 5000.0, again=1e9, **more)

    async def find(self, service: str, namespace: str, port: str | int | None) -> Sequence[Pod]:
        assert (namespace, port) == (TEAM, "http")
        self.finds += 1
        if self.trouble is not None:
            raise self.trouble
        return [shop.pod for shop in self.shops.get(service, ())]

    async def ask(self, source: Any, *, seconds: float = 5.0, **more: Any) -> Measurement:
        return await self.provider.measure(Query(source, seconds, tenant=(TEAM, "shop"), **more), NOW)

    async def ratio(self, seconds: float = 0.0) -> Measurement:
        self.now += seconds
        return await self.ask(RATIO)

    @property
    def canary(self) -> list[Shop]:
        return self.shops["shop-canary"]


@asynccontextmanager
async def town(canary: int = 1, stable: int = 0, **more: Any) -> AsyncIterator[Town]:
    runners, shops = [], {"shop-canary": canary, "shop-stable": stable}
    found: dict[str, list[Shop]] = {}
    for service, count in shops.items():
        for number in range(count):
            shop = Shop(f"{service}-{number}")
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", shop.answer)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            shop.pod = Pod(("127.0.0.1", runner.addresses[0][1]), shop.name)
            runners.append(runner)
            found.setdefault(service, []).append(shop)
    made = Town(found, **more)
    try:
        yield made
    finally:
        await made.provider.close()
        for runner in runners:
            await runner.cleanup()


# -- which series ---------------------------------------------------------------------------------------------------


@given(pattern=st.text("ab*", max_size=6), text=st.text("ab", max_size=8))
def test_a_star_is_any_characters(pattern: str, text: str) -> None:
    """As a regular expression would have it, in time that nobody can make long."""
    wanted = ".*".join(map(re.escape, pattern.split("*")))
    assert fits(pattern, text) == (re.fullmatch(wanted, text, re.DOTALL) is not None)


@pytest.mark.cpu_time("how long it takes")
def test_a_pattern_with_many_stars_takes_no_time() -> None:
    """What a regular expression could take for ever with."""
    began = time.process_time()
    assert not fits("*a" * 128 + "b", "a" * 4096)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        (Selector("a"), {}, True),
        (Selector("a", (("code", "5*"),)), {"code": "503"}, True),
        (Selector("a", (("code", "5*"),)), {"code": "200"}, False),
        (Selector("a", (("code", "5*"),)), {}, False),
        (Selector("a", (("code", ""),)), {}, True),
        (Selector("a", (), (("code", ""),)), {}, False),
        (Selector("a", (("path", "/api/*"),), (("code", "4*"),)), {"path": "/api/x", "code": "200"}, True),
        (Selector("a", (("path", "/api/*"),), (("code", "4*"),)), {"path": "/api/x", "code": "404"}, False),
    ],
)
def test_what_a_selector_selects(selector: Selector, labels: dict[str, str], selected: bool) -> None:
    """By labels that are there and labels that are not; one that is missing is empty."""
    assert selector.selects(labels) is selected


def read(page: str, *selectors: Selector) -> list[dict[frozenset[tuple[str, str]], float]]:
    return parsed(wanted_lines(page.encode(), selectors), selectors, frozenset({("pod", "p")}))


def test_a_page_as_clients_write_it() -> None:
    """Comments, other metrics, names that only begin alike, escapes, times, and labels that would pose as the pod's."""
    page = (
        "# HELP requests_total How many.\n# TYPE requests_total counter\n"
        'requests_total{code="200",path="/a\\n\\"b\\\\"} 12 1767322445000\n'
        '  requests_total{code="500",pod="mine"} 1e3\n'
        'requests_total_created{code="200"} 9\nrequests 3\nrequests_total 7\n'
    )
    ((every), (failed)) = read(page, REQUESTS, FAILURES)
    assert every == {
        frozenset({("code", "200"), ("path", '/a\n"b\\'), ("pod", "p")}): 12.0,
        frozenset({("code", "500"), ("exported_pod", "mine"), ("pod", "p")}): 1000.0,
        frozenset({("pod", "p")}): 7.0,
    }
    assert failed == {frozenset({("code", "500"), ("exported_pod", "mine"), ("pod", "p")}): 1000.0}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("requests_total{", "not Prometheus' text format"),
        ("requests_total{code=5} 1", "not Prometheus' text format"),
        ("requests_total x", "not Prometheus' text format"),
        ("requests_total ", ""),
        ("requests_total 1_000", "not Prometheus' text format"),
        (f'requests_total{{a="{"x" * 5000}"}} 1', "KiB of them"),
        ("".join(f'requests_total{{a="{n:0100}"}} 1\n' for n in range(LARGEST // 100)), "KiB of them"),
        ("".join(f'requests_total{{a="{n}"}} 1\n' for n in range(MAX_SERIES + 1)), "series of requests_total"),
        ('requests_total{a="1"} 1\nrequests_total{a="1"} 2', "one series twice"),
    ],
)
def test_a_page_of_which_nothing_can_be_made(page: str, words: str) -> None:
    """Garbage, and more than is read, in words that say what to do."""
    if not words:
        assert read(page, REQUESTS) == [{}]  # a line that has no value is no sample
        return
    with pytest.raises(Unparsed, match=words):
        read(page, REQUESTS)


@given(page=st.binary(max_size=400), tail=st.binary(max_size=80))
def test_whatever_a_pod_tells(page: bytes, tail: bytes) -> None:
    """It is numbers or it is said; nothing else is raised."""
    whole = page + b"\nrequests_total" + tail
    try:
        found = parsed(wanted_lines(whole, (REQUESTS,)), (REQUESTS,), frozenset())
    except Unparsed:
        return
    assert all(isinstance(value, float) for value in found[0].values())


@given(
    lines=st.lists(
        st.sampled_from(["", "# HELP requests_total x", 'requests_total{code="200"} 1', "other 2"]), max_size=30
    )
)
def test_lines_are_found_wherever_a_page_is_cut(lines: list[str]) -> None:
    """A page is looked through in parts; none of its lines is lost, and none is read in two."""
    page = "\n".join([*lines, "x" * 40_000, *lines]).encode()
    assert len(wanted_lines(page, (REQUESTS,))) == 2 * sum(line.startswith("requests") for line in lines)


async def test_a_large_page_is_looked_through_in_turn() -> None:
    """Eight of a megabyte at once, from one team's pods, would keep the processor from everybody else."""
    with parsing._turn:  # somebody else has it
        looking = asyncio.create_task(asyncio.to_thread(wanted_lines, b"\n" * 2**20, (REQUESTS,)))
        done, _ = await asyncio.wait({looking}, timeout=0.3)
        assert not done
    assert await looking == []


# -- what is measured -----------------------------------------------------------------------------------------------


async def test_a_ratio_is_of_what_was_counted_between_two_looks() -> None:
    """The first look only begins to count; a window forgets what is older."""
    async with town(canary=2) as place:
        first, second = place.canary
        first.page, second.page = counters(c200=1000, c500=100), counters(c200=50)
        found = await place.ratio()
        assert isinstance(found, Queued)
        first.page, second.page = counters(c200=1080, c500=110), counters(c200=60)
        assert await place.ratio(10) == Sample(0.1, NOW, RATIO.text, (0.1,))
        first.page = counters(c200=1180, c500=110)
        assert await place.ratio(10) == Sample(0.05, NOW, RATIO.text, (0.05,))
        assert await place.ratio(52) == Sample(0.0, NOW, RATIO.text, (0.0,))  # the 10 failures are out of the window
        found = await place.ratio(59)
        assert isinstance(found, NoData)
        assert "counted no requests in" in found.message


async def test_pods_that_restart_vanish_or_appear() -> None:
    """What a restart counts began at nothing; what vanished is unknown; who is new counts from the next look."""
    async with town(canary=3) as place:
        one, two, three = place.canary
        for shop in (one, two, three):
            shop.page = counters(c200=1000, c500=0)
        place.shops["shop-canary"] = [one, two]
        await place.ratio()
        one.page, two.page = counters(c200=6, c500=4), counters(c200=1010, c500=0)
        assert await place.ratio(5) == Sample(0.2, NOW, RATIO.text, (0.2,))
        place.shops["shop-canary"] = [one, three]
        one.page, three.page = counters(c200=16, c500=14), counters(c200=1500, c500=500)
        found = await place.ratio(5)
        assert isinstance(found, Sample)
        assert found.value == pytest.approx(14 / 40)


async def test_a_pod_that_has_counted_nothing_yet_is_at_nothing() -> None:
    """Its first requests count, and a code that is new as well."""
    async with town(canary=2) as place:
        one, two = place.canary
        one.page, two.page = counters(c200=10), "# nothing yet\n"
        await place.ratio()
        one.page, two.page = counters(c200=10, c503=4), counters(c200=3, c503=3)
        assert await place.ratio(5) == Sample(0.7, NOW, RATIO.text, (0.7,))


async def test_a_first_look_waits_for_requests() -> None:
    """So that a step need not wait for a second measurement; not longer than a measurement may take."""
    async with town() as place:
        (shop,) = place.canary
        provider = ScrapeProvider(place.find, HERE, again=0.01)
        app_answer = counters(c200=9, c500=1)
        pages = iter([counters(c200=0), counters(c200=0), app_answer])

        async def page(request: web.Request) -> web.StreamResponse:
            return web.Response(text=next(pages, app_answer))

        runner = web.AppRunner(_app(page))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        shop.pod = Pod(("127.0.0.1", runner.addresses[0][1]), "fresh")
        try:
            found = await provider.measure(Query(RATIO, 30.0, tenant=(TEAM, "shop")), NOW)
            assert found == Sample(0.1, NOW, RATIO.text, (0.1,))
        finally:
            await provider.close()
            await runner.cleanup()


def _app(handler: Callable[[web.Request], Any]) -> web.Application:
    app = web.Application()
    app.router.add_get("/metrics", handler)
    return app


async def test_a_canary_without_requests_is_no_data_after_an_interval() -> None:
    """Before, nobody can tell it from one that was not looked at; `onNoData` is about the first of the two."""
    async with town() as place:
        place.canary[0].page = counters(c200=10)
        for seconds, kind in ((0, Queued), (4, Queued), (4, Queued), (4, NoData), (30, NoData)):
            found = await place.ratio(seconds)
            assert isinstance(found, kind), found
        assert isinstance(found, NoData)
        assert (found.reason, found.message) == ("NoRequests", "the pods counted no requests in 42 s")


async def test_an_interval_may_be_longer_than_the_window() -> None:
    """Then it is of the interval: nothing is thrown away that nobody has seen."""
    async with town() as place:
        place.canary[0].page = counters(c200=0)
        await place.ask(RATIO, patience=300.0)
        place.canary[0].page, place.now = counters(c200=80, c500=20), place.now + 300
        assert await place.ask(RATIO, patience=300.0) == Sample(0.2, NOW, RATIO.text, (0.2,))


async def test_a_long_window_is_remembered_in_a_bounded_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest looks become one; nothing that they counted is lost."""
    monkeypatch.setattr("canary.metrics.scrape.MOST_LOOKS", 10)
    source = replace(RATIO, window=1e6)
    async with town() as place:
        for number in range(30):
            place.now += 1
            place.canary[0].page = counters(c200=3 * number, c500=number)
            found = await place.ask(source)
        assert found == Sample(0.25, NOW, source.text, (0.25,))
        (kept,) = place.provider._ratios.values()
        assert len(kept.looks) == 10
        assert sum(look[2] for look in kept.looks) == 4 * 29


async def test_what_was_counted_while_nobody_looked_is_of_before() -> None:
    """Another run of an hour later begins anew."""
    async with town() as place:
        place.canary[0].page = counters(c200=10)
        await place.ratio()
        place.canary[0].page = counters(c200=10, c500=10)
        assert isinstance(await place.ratio(3600), Queued)
        place.canary[0].page = counters(c200=20, c500=10)
        assert await place.ratio(5) == Sample(0.0, NOW, RATIO.text, (0.0,))


@pytest.mark.parametrize(
    ("aggregate", "many", "value", "values"),
    [
        (Aggregate.SUM, False, 7.0, (7.0,)),
        (Aggregate.MAX, False, 5.0, (5.0,)),
        (Aggregate.MAX, True, 5.0, (2.0, 5.0)),
    ],
)
async def test_a_value_of_now(aggregate: Aggregate, many: bool, value: float, values: tuple[float, ...]) -> None:
    """Of all pods together, or all of them for a condition."""
    source = Scrape(CANARY, (Selector("depth"),), aggregate, 60.0)
    async with town(canary=2) as place:
        for shop, depth in zip(place.canary, (2, 5), strict=True):
            shop.page = f"# TYPE depth gauge\ndepth {depth}\nother 9\n"
        found = await place.ask(source, many=many)
        assert isinstance(found, Sample)
        assert (found.value, tuple(sorted(found.values)), found.query) == (value, values, source.text)
        place.canary[1].page = "depth NaN\n"
        found = await place.ask(source)
        assert isinstance(found, Malformed)
        assert found.reason == "NotANumber"
        place.canary[1].status = 500
        found = await place.ask(source)  # a sum of some of them would be too small
        assert isinstance(found, Unreachable)
        assert "1 of 2 pods of Service shop-canary could not be scraped: 127.0.0.1:" in found.message
        place.shops["shop-canary"] = place.canary[:1]
        place.canary[0].page = "other 9\n"
        place.now += 60
        found = await place.ask(source)
        assert isinstance(found, NoData)
        assert found.message == "the pods tell no series of depth"


async def test_a_comparison_looks_at_both_at_one_instant() -> None:
    """Requests and failures of a backend are of one scrape, so that no failure is without its request."""
    declared = ScrapedCounters(Where("http", "/metrics"), REQUESTS, FAILURES)
    sources = {"canary": replace(declared, where=CANARY), "stable": replace(declared, where=STABLE)}
    async with town(canary=1, stable=2) as place:
        counting = Counting()

        async def ask(source: Any, instant: float | None) -> Measurement:
            assert isinstance(source, Scraped)
            return await place.ask(source, counters=True, instant=instant)

        async def look(seconds: float) -> Any:
            place.now += seconds
            return await counting.look(sources, ask, NOW + timedelta(seconds=place.now))  # type: ignore[arg-type]

        (canary,), (one, two) = place.canary, place.shops["shop-stable"]
        canary.page, one.page, two.page = counters(c200=5), counters(c200=70), counters(c200=80, c500=2)
        assert await look(1) is None
        canary.page, one.page, two.page = counters(c200=10, c503=5), counters(c200=100), counters(c200=90, c500=4)
        found = await look(1)
        assert isinstance(found, Compared)
        assert (found.canary, found.canary_failed, found.stable, found.stable_failed) == (10, 5, 42, 2)
        assert len(found.pods) == 2
        assert [len(shop.requests) for shop in (canary, one, two)] == [2, 2, 2]
        assert not place.provider._scrapes


# -- what can go wrong ----------------------------------------------------------------------------------------------


async def test_most_pods_have_to_answer() -> None:
    """A few that do not are as if they had vanished; more of them are an answer that is missing."""
    async with town(canary=3) as place:
        for shop in place.canary:
            shop.page = counters(c200=10)
        await place.ratio()
        for shop in place.canary:
            shop.page = counters(c200=20, c500=10)
        place.canary[0].status = 503
        assert await place.ratio(5) == Sample(0.5, NOW, RATIO.text, (0.5,))
        place.canary[1].hang = True
        found = await place.ask(RATIO, seconds=0.3)
        assert isinstance(found, Unreachable)
        assert "2 of 3 pods of Service shop-canary could not be scraped" in found.message
        for shop in place.canary:
            shop.hang, shop.status, shop.page = False, 200, "requests_total{"
        found = await place.ask(RATIO)
        assert isinstance(found, Malformed)
        assert found.reason == "UnexpectedResult"


async def test_what_is_found_of_pods() -> None:
    """None that is ready, a Service that cannot be listed, a port that is not there, and more pods than are scraped."""
    async with town() as place:
        place.shops["shop-canary"] = []
        found = await place.ratio()
        assert isinstance(found, NoData)
        assert found.reason == "NoPods"
        for trouble, kind, reason in (
            (Unavailable("no"), Unreachable, "Unreachable"),
            (ValueError("Service shop-canary has no port http: it has web"), Malformed, "NoSuchPort"),
        ):
            place.trouble = trouble
            found = await place.ratio(10)
            assert isinstance(found, kind)
            assert found.reason == reason
        place.trouble = None
        place.shops["shop-canary"] = [Shop(f"p{n}") for n in range(MOST_PODS + 1)]
        found = await place.ratio(10)
        assert isinstance(found, Malformed)
        assert found.reason == "TooManyPods"


async def test_pods_are_listed_once_in_a_while() -> None:
    """Looks of a second do not cost the API server one request each."""
    async with town() as place:
        for _ in range(5):
            await place.ratio(0.4)
        assert place.finds == 1
        await place.ratio(2)
        assert place.finds == 2


async def test_what_is_no_counter() -> None:
    """It is said, and the next look begins anew."""
    async with town() as place:
        place.canary[0].page = counters(c200=1)
        await place.ratio()
        place.canary[0].page = counters(c200=-5)
        found = await place.ratio(1)
        assert isinstance(found, Malformed)
        assert found.reason == "NotACounter"
        place.canary[0].page = counters(c200=5)
        assert isinstance(await place.ratio(1), Queued)


async def test_nothing_is_sent_but_the_question() -> None:
    """A GET of the path, without credentials, cookies and encodings; a redirect leads nowhere."""
    async with town() as place:
        (shop,) = place.canary
        shop.status = 302
        found = await place.ratio()
        assert isinstance(found, Unreachable)
        (request,) = shop.requests
        assert (request.method, request.path_qs) == ("GET", "/metrics")
        assert request.headers["Accept-Encoding"] == "identity"
        assert not {"Authorization", "Cookie"} & set(request.headers)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "100.100.100.200", "fe80::1%eth0"]
)
async def test_no_address_is_asked_that_is_no_pods(address: str) -> None:
    """Whoever may write EndpointSlices could name the controller's own machine, its link, or a cloud's metadata."""
    async with town(hosts=Hosts.read(["*", ".example.com", "0.0.0.0/0"])) as place:
        (shop,) = place.canary
        shop.pod = Pod((address, shop.pod.address[1]), "forged")
        found = await place.ratio()
        assert isinstance(found, Malformed)
        assert "is no address of a pod: --allow-hosts has to list it" in found.message
        assert shop.requests == []


async def test_an_answer_without_end() -> None:
    """In size and in time."""
    async with town(max_bytes=1000) as place:
        place.canary[0].page = "x" * 5000
        found = await place.ratio()
        assert isinstance(found, Malformed)
        assert "answered more than 1000 bytes" in found.message


async def test_a_team_that_hangs_delays_no_other() -> None:
    """Scrapes take turns; one that waits in vain is Queued, and no verdict on anybody."""
    async with town(places=4) as place:
        (shop,) = place.canary
        shop.hang = True
        provider = place.provider

        async def ask(namespace: str, number: int, patience: float = 20.0) -> Measurement:
            source = replace(RATIO, selectors=(Selector(f"a{number}"), FAILURES))
            return await provider.measure(Query(source, 0.7, tenant=(namespace, f"r{number}"), patience=patience), NOW)

        theirs = [asyncio.create_task(ask("they", number)) for number in range(12)]
        await until(lambda: len(shop.requests) >= 3)
        waiting = await ask("they", 99, patience=0.05)
        assert isinstance(waiting, Queued)
        ours = asyncio.create_task(ask("we", 1))
        await until(lambda: len(shop.requests) >= 4)
        for task in (*theirs, ours):
            task.cancel()
        await asyncio.gather(*theirs, ours, return_exceptions=True)


async def test_a_namespace_with_many_ratios_pushes_out_its_own() -> None:
    """What is remembered is bounded, and nobody's memory is another one's."""
    async with town() as place:
        place.canary[0].page = counters(c200=10)
        await place.ratio()
        for number in range(100):
            source = replace(RATIO, window=float(100 + number))
            await place.provider.measure(Query(source, 5.0, tenant=("greedy", "r")), NOW)
        assert len(place.provider._ratios.values()) <= 17
        place.canary[0].page = counters(c200=10, c500=10)
        assert await place.ratio(5) == Sample(1.0, NOW, RATIO.text, (1.0,))
