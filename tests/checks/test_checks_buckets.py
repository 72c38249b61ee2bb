"""From buckets to what happened between two looks, whatever restarted, vanished or appeared meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.judges.buckets import NoBucket, between, same
from canary.checks.judges.counters import Series
from canary.checks.judges.latency import Histogram

BOUNDS = (0.1, 0.3, 1.0)
PODS = ("instance", "pod")


def series(*histograms: tuple[dict[str, str], dict[str, float]]) -> Series:
    """Labels, and counts by `le` as it is written."""
    return {
        frozenset({**labels, "le": le}.items()): count for labels, counts in histograms for le, count in counts.items()
    }


def one(fast: float, medium: float, slow: float, every: float, **labels: str) -> Series:
    return series(({"instance": "gateway", **labels}, {"0.1": fast, "0.3": medium, "1.0": slow, "+Inf": every}))


@dataclass
class Process:
    """Counts requests, and may die; what it counted then is gone."""

    name: str
    counts: dict[float, int] = field(default_factory=lambda: dict.fromkeys((*BOUNDS, inf), 0))
    since: dict[float, int] = field(default_factory=lambda: dict.fromkeys((*BOUNDS, inf), 0))
    """What it did since the last look and still knows of."""

    def serve(self, took: float) -> None:
        for counted in (self.counts, self.since):
            for bound in counted:
                counted[bound] += took <= bound

    def die(self) -> None:
        for counted in (self.counts, self.since):
            counted.update(dict.fromkeys(counted, 0))

    def scraped(self) -> Series:
        return series(
            ({"instance": self.name}, {f"{le:g}" if le < inf else "+Inf": n for le, n in self.counts.items()})
        )


def scraped(team: list[Process]) -> Series:
    return {labels: value for process in team for labels, value in process.scraped().items()}


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["die", *([0.05, 0.2, 0.7, 3.0] * 3)])), min_size=1, max_size=60
)


@given(EVENTS, st.lists(st.integers(0, 60), max_size=6))
def test_what_is_counted_is_what_happened(events: list[tuple[int, str | float]], looks: list[int]) -> None:
    """All of it where nobody died; else never more than what the living know of, and never more slow ones. Or it says nothing."""
    team, died = [Process(name) for name in "abc"], False
    before = scraped(team)
    for number, (which, what) in enumerate(events):
        if what == "die":
            team[which].die()
            died = True
        else:
            team[which].serve(float(what))
        if number not in looks:
            continue
        after = scraped(team)
        found = between(before, after, BOUNDS)
        true = {bound: sum(process.since[bound] for process in team) for bound in (*BOUNDS, inf)}
        if found is None:
            assert died
        elif not died:
            assert found == Histogram(true[inf], {bound: true[bound] for bound in BOUNDS})
        else:
            assert found.requests <= true[inf]
            assert all(found.requests - found.within[bound] <= true[inf] - true[bound] for bound in BOUNDS)
        before, died = after, False
        for process in team:
            process.since.update(dict.fromkeys(process.since, 0))


def test_buckets_that_go_up_are_subtracted() -> None:
    """Over all histograms of a backend, whatever their other labels are."""
    before = {**one(5, 8, 9, 10, code="200"), **one(0, 0, 0, 0, code="500")}
    after = {**one(15, 28, 39, 40, code="200"), **one(1, 2, 2, 3, code="500")}
    assert between(before, after, (0.1, 0.3)) == Histogram(33, {0.1: 11, 0.3: 22})


def test_one_bucket_that_fell_is_a_restart_of_all() -> None:
    """A narrow bucket that is as full as before was counted anew, or slow requests would seem to be many."""
    assert between(one(50, 80, 90, 100), one(6, 7, 7, 8), (0.1, 0.3)) == Histogram(8, {0.1: 6, 0.3: 7})
    # More than before in all, fewer fast ones: it cannot be the same life.
    assert between(one(9, 9, 9, 10), one(3, 11, 11, 12), (0.1,)) == Histogram(12, {0.1: 3})


def test_a_server_that_is_behind_says_nothing() -> None:
    """A histogram that lost a little did not begin anew."""
    assert between(one(50, 80, 90, 100), one(49, 79, 88, 98), (0.1,)) is None


def test_a_histogram_that_appears_counts_from_0_if_its_target_was_there() -> None:
    """A new label does; a new pod may have counted for hours."""
    assert between(
        one(5, 8, 9, 10, code="200"), {**one(5, 8, 9, 10, code="200"), **one(0, 0, 0, 7, code="500")}, (0.1,)
    ) == (Histogram(7, {0.1: 0}))
    newborn = {**one(5, 8, 9, 10, pod="a"), **one(100, 100, 100, 100, pod="b")}
    assert between(one(5, 8, 9, 10, pod="a"), newborn, (0.1,), by=PODS) == Histogram(0, {0.1: 0})
    assert between({}, one(5, 8, 9, 10), (0.1,)) == Histogram(0, {0.1: 0})
    assert between(one(5, 8, 9, 10), {}, (0.1,)) == Histogram(0, {0.1: 0})


def test_a_histogram_that_has_other_buckets_than_before_counts_from_the_next_look() -> None:
    """Nobody knows how many of its requests took so long before."""
    before = series(({"instance": "gateway"}, {"0.1": 5, "+Inf": 10}))
    assert between(before, one(50, 80, 90, 100), (0.1, 0.3)) == Histogram(0, {0.1: 0, 0.3: 0})


def test_buckets_that_were_read_while_they_were_counted() -> None:
    """A narrow one that is ahead of a wider one is no more than that."""
    assert between(one(0, 0, 0, 0), one(7, 6, 6, 6), BOUNDS) == Histogram(6, {0.1: 6, 0.3: 6, 1.0: 6})


@pytest.mark.parametrize("le", ["0.3", "0.30", "3e-1", ".3"])
def test_a_bound_is_a_number(le: str) -> None:
    """However it is written."""
    before, after = (series(({"instance": "x"}, {le: count, "+Inf": count})) for count in (1, 3))
    assert between(before, after, (0.3,)) == Histogram(2, {0.3: 2})


@given(st.integers(1, 10_000_000))
def test_milliseconds_are_the_same_bound(milliseconds: int) -> None:
    """Whatever a float makes of it: `300ms`, and le="300" of Envoy."""
    assert same(milliseconds * 0.001) == same(milliseconds / 1000) == same(float(f"{milliseconds}e-3"))


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (0.25, "has no bucket of 250 ms: the nearest are 100 ms and 300 ms"),
        (0.05, "has no bucket of 50 ms: the nearest is 100 ms"),
        (2.5, "has no bucket of 2.5 s: the nearest is 1 s"),
    ],
)
def test_a_bucket_that_is_missing_is_named_with_the_nearest(bound: float, words: str) -> None:
    """Whoever wrote the bound can choose one that is there."""
    with pytest.raises(NoBucket, match=words):
        between(one(1, 1, 1, 1), one(1, 1, 1, 1), (bound,))


def test_what_is_no_histogram_is_named() -> None:
    """Without le, with a le that is no number, or without the bucket of all."""
    with pytest.raises(NoBucket, match="no label le"):
        between({}, {frozenset({("instance", "x")}): 1.0}, (0.1,))
    with pytest.raises(NoBucket, match="the label le is 'fast'"):
        between({}, series(({}, {"fast": 1})), (0.1,))
    with pytest.raises(NoBucket, match=r'le="\+Inf" is missing'):
        between({}, series(({}, {"0.1": 1})), (0.1,))
    with pytest.raises(ValueError, match="a counter stands at -1"):
        between({}, one(-1, 0, 0, 0), (0.1,))


def test_one_bucket_that_lost_a_little_is_of_a_server_that_is_behind() -> None:
    """Where series are stored or deduplicated one by one, one is a scrape older than the others: that is no second life of hours."""
    assert between(one(50, 80, 90, 100), one(49, 90, 99, 110), (0.1,)) is None
    assert between(one(50, 80, 90, 100), one(49, 80, 90, 100), (0.1,)) is None
    # A bound that nobody asks for says nothing.
    assert between(one(50, 80, 90, 100), one(49, 90, 99, 110), (0.3,)) == Histogram(10, {0.3: 10})


@pytest.mark.parametrize("twice", [("0.3", "0.30"), ("0.300", "0.3"), ("+Inf", "1e400")])
def test_a_bucket_that_is_there_twice_is_not_chosen_from(twice: tuple[str, str]) -> None:
    """Two series of one bound, as when a server begins to write them otherwise: one of them is of another time, and nobody knows which."""
    counts = {"0.3": 8.0, "+Inf": 10.0, twice[0]: 9.0, twice[1]: 3.0}
    with pytest.raises(NoBucket, match=r"counted by two series"):
        between(one(5, 8, 9, 10), series(({"instance": "gateway"}, counts)), (0.3,))
