"""From counters of both backends to looks: one instant, no guess, and nothing that a server which is behind says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from native_kit import Native

from canary.checks.queries import Backend
from canary.checks.sources import Source
from canary.checks.sources.buckets import Buckets
from canary.checks.sources.counters import Counters
from canary.controller.counting import MOST_LOST, QUICK, Counting
from canary.model.measurement import (
    Compared,
    Labels,
    Malformed,
    Measured,
    Measurement,
    NoData,
    Sample,
    Timed,
    Unreachable,
    Vector,
)
from canary.model.native import NativeHistogram

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCES: dict[Backend, Source] = {
    "canary": Counters("requests c", "failures c"),
    "stable": Counters("requests s", "failures s"),
}


def pod(name: str, **more: str) -> Labels:
    return frozenset({"job": "gateway", "instance": "one", "pod": name, **more}.items())


class Server:
    """Answers by the text of the question, at an instant of its own clock, which is an hour behind."""

    def __init__(self) -> None:
        self.now, self.asked_at = 1_000_000.0, START
        self.series: dict[str, dict[Labels, float | NativeHistogram]] = {
            name: {} for name in ("requests c", "failures c", "requests s", "failures s")
        }
        self.asked: list[tuple[str, float | None]] = []
        self.broken: dict[str, Measurement] = {}

    async def ask(self, source: Source, instant: float | None) -> Measurement:
        self.asked.append((source.text, instant))
        if source.text in self.broken:
            return self.broken[source.text]
        series = dict(self.series[source.text])
        vector = Vector(series, self.now if instant is None else instant)
        at = self.asked_at
        return Sample(0.0, at, source.text, vector=vector) if series else NoData(at, source.text)


class Team:
    """Two pods of stable, one of the canary, and who reads their counters."""

    def __init__(self) -> None:
        self.server, self.counting, self.at = Server(), Counting(), START
        self.count(canary=(100, 1), one=(500, 5), two=(400, 4))

    def count(self, **pods: tuple[float, float]) -> None:
        for name, (requests, failures) in pods.items():
            side = "c" if name == "canary" else "s"
            self.server.series[f"requests {side}"][pod(name)] = requests
            self.server.series[f"failures {side}"][pod(name)] = failures

    async def look(self, seconds: float = 10) -> Measured | None:
        self.at += timedelta(seconds=seconds)
        self.server.now += seconds
        self.server.asked_at = self.at
        return await self.counting.look(SOURCES, self.server.ask, self.at)


def counts(found: Any) -> tuple[float, float, float, float]:
    assert isinstance(found, Compared)
    return found.canary, found.canary_failed, found.stable, found.stable_failed


async def test_a_look_lies_between_two_readings() -> None:
    """The first one is only kept. What stable's pods did is told apart."""
    team = Team()
    assert await team.look() is None
    team.count(canary=(160, 3), one=(800, 8), two=(650, 7))
    found = await team.look()
    assert counts(found) == (60, 2, 550, 6)
    assert isinstance(found, Compared)
    assert (found.since, found.at) == (START + timedelta(seconds=10), START + timedelta(seconds=20))
    assert sorted(found.pods.values()) == [(250, 3), (300, 3)]
    assert found.query == "failures c of requests c"


async def test_a_reading_is_of_when_it_was_asked_for() -> None:
    """Also if somebody else had asked: a look begins and ends no later than what it is of."""
    team = Team()
    await team.look()
    team.count(canary=(160, 3), one=(800, 8), two=(650, 7))
    team.at += timedelta(seconds=10)
    team.server.now += 9.5
    team.server.asked_at = team.at - timedelta(seconds=0.5)
    found = await team.counting.look(SOURCES, team.server.ask, team.at)
    assert isinstance(found, Compared)
    assert (found.since, found.at) == (START + timedelta(seconds=10), START + timedelta(seconds=19.5))
    assert team.counting.at == found.at


async def test_all_counters_are_of_one_instant_by_the_clock_of_the_server() -> None:
    """The first answer names it; our own clock, which may be wrong by hours, is not asked."""
    team = Team()
    await team.look()
    assert team.server.asked[0] == ("requests s", None)
    assert [instant for _, instant in team.server.asked[1:]] == [1_000_010.0] * 3
    assert len(team.server.asked) == 4


async def test_a_stable_without_series_lets_the_canary_name_the_instant() -> None:
    """And without either there is no data."""
    team = Team()
    team.server.series |= {"requests s": {}, "failures s": {}}
    await team.look()
    assert team.server.asked[1] == ("requests c", None)
    team.count(canary=(160, 3))
    assert counts(await team.look()) == (60, 2, 0, 0)
    team.server.series["requests c"].clear()
    found = await team.look()
    assert isinstance(found, NoData)
    assert found.message == "there are no requests of either backend"


async def test_a_pod_that_restarts_or_vanishes_costs_what_it_took_along() -> None:
    """A counter that begins anew counts from 0; one that is gone counts no more; one that appeared, from the next look."""
    team = Team()
    await team.look()
    team.count(canary=(20, 0), one=(700, 7))
    for name in ("requests s", "failures s"):
        del team.server.series[name][pod("two")]
    team.count(three=(5000, 50))
    assert counts(await team.look()) == (20, 0, 200, 2)
    team.count(three=(5100, 51))
    assert counts(await team.look()) == (0, 0, 100, 1)


async def test_a_server_that_is_behind_says_nothing() -> None:
    """Another replica of Prometheus has not scraped yet what the first one had: no counter began anew."""
    team = Team()
    await team.look()
    team.count(one=(490, 5))
    assert await team.look() is None
    team.count(one=(600, 6))
    assert counts(await team.look()) == (0, 0, 110, 1)


async def test_servers_that_take_turns_are_named_in_the_end() -> None:
    """Silence for ever would hold a run without a reason."""
    team = Team()
    await team.look()
    found: Measured | None = None
    for behind in range(MOST_LOST):
        assert found is None
        team.count(one=(490 - behind, 5))
        found = await team.look()
    assert isinstance(found, Malformed)
    assert found.reason == "CountersFellBack"


async def test_an_answer_of_an_earlier_instant_is_no_look() -> None:
    """The server's clock was set back."""
    team = Team()
    await team.look()
    team.server.now -= 3600
    team.count(canary=(160, 3))
    assert await team.look() is None
    team.count(canary=(170, 3))
    assert counts(await team.look()) == (10, 0, 0, 0)


async def test_what_is_no_counter_is_told() -> None:
    """A negative number, for one."""
    team = Team()
    await team.look()
    team.count(canary=(-5, 0))
    found = await team.look()
    assert isinstance(found, Malformed)
    assert found.reason == "NotACounter"


@pytest.mark.parametrize("text", ["requests s", "failures c"])
async def test_an_answer_that_is_missing_costs_no_look(text: str) -> None:
    """The next one reaches back to the reading before."""
    team = Team()
    await team.look()
    team.server.broken[text] = Unreachable(START, "Timeout", "no answer")
    team.count(canary=(150, 2))
    found = await team.look()
    assert isinstance(found, Unreachable)
    side, what = ("stable", "requests") if text == "requests s" else ("canary", "failures")
    assert found.message == f"{what} of {side}: no answer"
    team.server.broken.clear()
    team.count(canary=(160, 3), one=(800, 8))
    assert counts(await team.look()) == (60, 2, 300, 3)


async def test_many_series_are_subtracted_elsewhere() -> None:
    """What a thousand series take is nobody else's time; what comes of them is the same."""
    team = Team()
    team.count(**{f"p{number}": (100, 1) for number in range(QUICK)})
    await team.look()
    team.count(**{f"p{number}": (110, 2) for number in range(QUICK)})
    assert counts(await team.look()) == (0, 0, 10 * QUICK, QUICK)


# -- buckets ----------------------------------------------------------------------------------------------------------

BUCKETS: dict[Backend, Source] = {
    "canary": Buckets("buckets c", (0.3,), 0.001),
    "stable": Buckets("buckets s", (0.3,), 0.001),
}


def serves(
    server: Server, side: str, *within: float, les: tuple[str, ...] = ("100", "300", "+Inf"), **more: str
) -> None:
    """What the histogram of a pod says, which counts in milliseconds."""
    found = server.series.setdefault(f"buckets {side}", {})
    found |= {pod("p", le=le, **more): count for le, count in zip(les, within, strict=True)}


class Watched:
    """Histograms of both backends, and who reads them."""

    def __init__(self) -> None:
        self.server, self.counting, self.at = Server(), Counting(), START
        serves(self.server, "c", 10, 20, 30)
        serves(self.server, "s", 100, 200, 300)

    async def look(self, seconds: float = 10) -> Measured | None:
        self.at += timedelta(seconds=seconds)
        self.server.now += seconds
        self.server.asked_at = self.at
        return await self.counting.look(BUCKETS, self.server.ask, self.at)


async def test_a_look_at_buckets_says_how_many_took_how_long() -> None:
    """Two questions at one instant; bounds are in seconds whatever the histogram counts in."""
    team = Watched()
    assert await team.look() is None
    assert team.server.asked == [("buckets s", None), ("buckets c", 1_000_010.0)]
    serves(team.server, "c", 15, 28, 40)
    serves(team.server, "s", 150, 290, 400)
    found = await team.look()
    assert isinstance(found, Timed)
    assert (found.canary, found.canary_within, found.stable, found.stable_within) == (10, {0.3: 8}, 100, {0.3: 90})
    assert (found.since, found.at, found.query) == (START + timedelta(seconds=10), team.at, "buckets c")


async def test_a_histogram_that_restarts_or_is_behind() -> None:
    """All of its buckets begin anew together; what a server that is behind says is no look."""
    team = Watched()
    await team.look()
    serves(team.server, "c", 2, 3, 4)
    found = await team.look()
    assert isinstance(found, Timed)
    assert (found.canary, found.canary_within) == (4, {0.3: 3})
    serves(team.server, "s", 99, 198, 297)
    assert await team.look() is None


async def test_a_bound_that_is_no_bucket_is_named_at_each_look() -> None:
    """With the side, and the nearest that there are."""
    team = Watched()
    team.server.series["buckets s"].clear()
    serves(team.server, "s", 1, 2, 3, les=("250", "500", "+Inf"))
    await team.look()
    for _ in range(2):
        found = await team.look()
        assert isinstance(found, Malformed)
        assert (found.reason, found.message) == (
            "NoSuchBucket",
            "stable: the histogram has no bucket of 300 ms: the nearest are 250 ms and 500 ms",
        )


async def test_many_buckets_are_subtracted_elsewhere() -> None:
    """What comes of them is the same."""
    team = Watched()
    for step in (1, 2):
        for number in range(QUICK):
            serves(team.server, "s", 100 * step, 200 * step, 300 * step, path=str(number))
        found = await team.look()
    assert isinstance(found, Timed)
    assert (found.stable, found.stable_within) == (300 * QUICK, {0.3: 200 * QUICK})


# -- native histograms ------------------------------------------------------------------------------------------------


def tells(server: Server, side: str, counting: Native, name: str = "p") -> None:
    server.series.setdefault(f"buckets {side}", {})[pod(name)] = counting.read()


async def test_native_histograms_are_counted_at_one_edge() -> None:
    """The next one above the bound that all have, in both readings of both backends; the look says which."""
    team, stable, canary = Watched(), Native(2), Native(6)
    team.server.series.clear()
    stable.observe(200, 302)
    for _ in range(2):
        canary.observe(300.5, *[303] * 9, 305)  # of its own edges the next one is 301.1 ms
        tells(team.server, "s", stable)
        tells(team.server, "c", canary)
        found = await team.look()
        stable.observe(*[302] * 50, 400)
    assert isinstance(found, Timed)
    assert (found.canary, found.canary_within, found.stable, found.stable_within) == (11, {0.3: 10}, 51, {0.3: 50})
    assert found.edges == {0.3: 0.304437021}


async def test_a_native_histogram_that_restarts_with_finer_buckets_counts_from_nothing() -> None:
    """At the edge of before, which it has, too: what it has counted since is not lost."""
    team, stable, canary = Watched(), Native(6), Native(2)
    team.server.series.clear()
    stable.observe(200)
    canary.observe(*[302] * 50)
    for _ in range(2):
        tells(team.server, "s", stable)
        tells(team.server, "c", canary)
        found = await team.look()
        canary.restart(schema=6)
        canary.observe(200, 303, 305)
        stable.observe(300.5, 303)
    assert isinstance(found, Timed)
    assert (found.canary, found.canary_within, found.stable, found.stable_within) == (3, {0.3: 2}, 2, {0.3: 2})
    assert found.edges == {0.3: 0.304437021}


async def test_a_bound_that_native_histograms_cannot_count_at_is_named_with_the_side() -> None:
    """As a bucket that is missing is."""
    team, coarse = Watched(), Native(0)
    coarse.observe(300)
    for side in "sc":
        team.server.series[f"buckets {side}"].clear()
    tells(team.server, "s", coarse)
    await team.look()
    found = await team.look()
    assert isinstance(found, Malformed)
    assert found.reason == "NoSuchBucket"
    assert found.message.startswith("stable: the native histogram has no edge at 300 ms")
    assert found.message.endswith("the nearest are 256 ms and 512 ms")
    serves(team.server, "s", 1, 2, 3, other="label")
    found = await team.look()
    assert isinstance(found, Malformed)
    assert found.reason == "TwoKindsOfHistogram"


async def test_native_histograms_are_no_counters() -> None:
    """Who asks for requests or failures is told what makes counters of them."""
    team, counting = Team(), Native()
    await team.look()
    team.server.series["requests s"] = {pod("one"): counting.read()}
    found = await team.look()
    assert isinstance(found, Malformed)
    assert (found.reason, found.message) == (
        "NotACounter",
        "a native histogram is no counter: histogram_count() makes one of it",
    )
