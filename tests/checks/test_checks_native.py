"""From native histograms to what happened between two looks, whatever their resolution is, and however it changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_kit import Native

from canary.checks.judges.buckets import FURTHEST, NoBucket, Told, TwoKinds, between, edges
from canary.checks.judges.latency import Histogram
from canary.metrics.native import native
from canary.model.native import NativeHistogram

PODS = ("instance", "pod")
BOUND = 0.3


def of(*seconds: float, schema: int = 3, zero: float = 2.0**-128, **labels: str) -> Told:
    counting = Native(schema, zero)
    counting.observe(*seconds)
    return {frozenset({"instance": "gateway", **labels}.items()): counting.read()}


def custom(*buckets: tuple[float, float, float], **labels: str) -> Told:
    """A histogram whose edges are those of a classic one (schema -53), of which nobody says that it is."""
    told = {"count": str(sum(held for *_, held in buckets)), "buckets": [[0, *map(str, one)] for one in buckets]}
    return {frozenset({"instance": "gateway", **labels}.items()): native(told)}


@dataclass
class Process:
    """Serves requests, and knows how long each took since the last look and since it lives."""

    name: str
    counting: Native = field(default_factory=Native)
    since: list[float] = field(default_factory=list)

    def told(self) -> Told:
        return {frozenset({("instance", self.name)}): self.counting.read()}


TIMES = st.sampled_from([0.0, 0.01, 0.2, 0.26, 0.29, 0.299, 0.3, 0.301, 0.31, 0.33, 0.36, 0.49, 2.0])
EVENTS = st.lists(st.tuples(st.integers(0, 3), st.one_of(TIMES, st.just("halve"))), min_size=1, max_size=60)


@given(
    EVENTS,
    st.lists(st.integers(0, 60), max_size=6),
    st.tuples(*[st.integers(2, 8)] * 4),
    st.sampled_from([0.25, 0.26, 0.3, 0.32]),
)
def test_whatever_the_resolution_both_sides_are_counted_alike_and_exactly(
    events: list[tuple[int, float | str]], looks: list[int], schemas: tuple[int, ...], bound: float
) -> None:
    """At an edge that is the bound or up to a fifth longer, in each look the same for both; it never falls to nobody that there was a request."""
    team = [Process(name, Native(schema)) for name, schema in zip("abcd", schemas, strict=True)]
    sides = team[:2], team[2:]  # of stable, of the canary
    before = [{**one.told(), **other.told()} for one, other in sides]
    for number, (which, what) in enumerate(events):
        if what == "halve":
            if team[which].counting.schema > 2:
                team[which].counting.halve()
        else:
            team[which].counting.observe(float(what))
            team[which].since.append(float(what))
        if number not in looks:
            continue
        after = [{**one.told(), **other.told()} for one, other in sides]
        at = edges([*before, *after], [bound])
        assert bound <= at[bound] <= FURTHEST * bound
        for side, old, new in zip(sides, before, after, strict=True):
            served = [took for process in side for took in process.since]
            within = sum(took <= at[bound] * (1 + 1e-9) for took in served)
            assert between(old, new, [bound], counted_at=at) == Histogram(len(served), {bound: within})
        before = after
        for process in team:
            process.since.clear()


@pytest.mark.parametrize("bound", [0.125, 0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("schema", range(9))
def test_powers_of_two_are_edges_at_every_resolution(bound: float, schema: int) -> None:
    """Of seconds, as 250 ms is: they are counted as they are declared."""
    readings = [of(), of(bound, bound * 0.99, bound * 1.01, bound * 1.5, 0.0, schema=schema)]
    assert edges(readings, [bound]) == {bound: bound}
    assert between(of(0.0), readings[1], [bound]) == Histogram(4, {bound: 2})


def test_a_bound_inside_a_bucket_is_counted_at_the_next_edge() -> None:
    """Of the widest bucket around it, whosever that is."""
    stable, canary = of(0.299, 0.31, 0.4), of(0.31, 0.32, 0.34, 0.4, schema=2)
    assert edges([stable], [BOUND]) == {BOUND: 0.324209889}
    both = edges([stable, canary], [BOUND])
    assert both == {BOUND: 0.353553391}
    assert between(of(2.0), of(2.0, 0.299, 0.31, 0.4), [BOUND], counted_at=both) == Histogram(3, {BOUND: 2})
    assert between(of(2.0), of(2.0, 0.31, 0.32, 0.34, 0.4, schema=2), [BOUND], counted_at=both) == Histogram(
        4, {BOUND: 3}
    )


def test_a_resolution_that_falls_makes_nobody_slow() -> None:
    """Not what was counted before in finer buckets, nor what is now."""
    counting = Native(5)
    counting.observe(*[0.29] * 50, *[0.31] * 40, *[1.0] * 10)
    before = {frozenset({("instance", "x")}): counting.read()}
    for _ in range(3):
        counting.halve()
    counting.observe(0.29, 0.31, 0.34, 1.0)
    after = {frozenset({("instance", "x")}): counting.read()}
    assert between(before, after, [BOUND]) == Histogram(4, {BOUND: 3})
    assert edges([before, after], [BOUND]) == {BOUND: 0.353553391}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (of(0.28, 0.31, schema=0), "the native histogram has no edge at 300 ms nor up to a fifth above: the nearest are 250 ms and 500 ms"),
        (of(0.28, schema=-1), "the nearest are 250 ms and 1 s"),
        (of(0.28, 0.5, zero=0.4), "the nearest is 400 ms"),
        (custom((0.1, 0.25, 3), (0.25, 0.5, 2)), "the nearest are 250 ms and 500 ms"),
        (custom((0.25, float("inf"), 2)), "the nearest is 250 ms"),
        (custom((float("-inf"), float("inf"), 2)), "nor up to a fifth above$"),
    ],
)  # fmt: skip
def test_an_edge_that_is_too_far_away_is_none(told: Told, words: str) -> None:
    """Slower than 500 ms is another question than slower than 300 ms; the message names what could be asked."""
    with pytest.raises(NoBucket, match=words):
        between({}, told, [BOUND])


def test_edges_of_ones_own_making_are_as_good() -> None:
    """Those of classic buckets that Prometheus has made native: nothing lies around a bound that is one of them."""
    before = custom((float("-inf"), 0.1, 5), (0.1, 0.3, 2), (1.0, float("inf"), 1))
    after = custom((float("-inf"), 0.1, 8), (0.1, 0.3, 4), (0.3, 1.0, 1), (1.0, float("inf"), 2))
    assert edges([before, after], [BOUND]) == {BOUND: BOUND}
    assert between(before, after, [BOUND]) == Histogram(7, {BOUND: 5})


def test_milliseconds_are_counted_in_milliseconds() -> None:
    """250 ms is no edge there, and 256 ms is."""
    readings = [of(100, schema=2), of(100, 249, 251, 255, 257, 900, schema=2)]
    assert edges(readings, [0.25, 0.5], 0.001) == {0.25: 0.256, 0.5: 0.5}
    assert between(*readings, [0.25], 0.001) == Histogram(5, {0.25: 3})


def test_a_native_histogram_that_restarts_vanishes_or_appears() -> None:
    """As classic ones: it counts from 0; nothing is guessed; of a new pod, from the next look."""
    assert between(of(*[0.1] * 50, *[1.0] * 50), of(0.1, 1.0, 1.0), [BOUND]) == Histogram(3, {BOUND: 1})
    assert between(of(*[0.1] * 50), of(*[0.1] * 49), [BOUND]) is None
    assert between(of(0.1), {}, [BOUND]) == Histogram(0, {BOUND: 0})
    newborn = {**of(0.1, pod="a"), **of(*[1.0] * 100, pod="b")}
    assert between(of(0.1, pod="a"), newborn, [BOUND], by=PODS) == Histogram(0, {BOUND: 0})
    code = {**of(0.1, code="200"), **of(1.0, 1.0, code="500")}
    assert between(of(0.1, code="200"), code, [BOUND]) == Histogram(2, {BOUND: 0})


def test_classic_and_native_are_never_added_up() -> None:
    """One target may tell both, of the same requests; and what has become native has counted nothing anew."""
    classic: Told = {
        frozenset({"instance": "gateway", "le": le}.items()): count for le, count in (("0.3", 5.0), ("+Inf", 9.0))
    }
    with pytest.raises(TwoKinds, match="requests count twice"):
        between({}, {**classic, **of(0.1)}, [BOUND])
    assert between(classic, of(*[1.0] * 50), [BOUND]) is None
    assert between(of(*[1.0] * 50), classic, [BOUND]) is None
    # One side classic and the other native: at a bound that both have.
    assert edges([classic, of(0.301, 0.29)], [BOUND]) == {BOUND: BOUND}


def test_requests_that_nobody_can_count_with() -> None:
    """More than a number can tell apart."""
    told: Told = {frozenset({("instance", "x")}): NativeHistogram([0.1], [0.2], [1e300])}
    with pytest.raises(ValueError, match="a counter stands at 1e"):
        between({}, told, [BOUND])
