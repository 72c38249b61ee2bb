from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.judges.counters import Snapshot, between, deltas, settled
from canary.checks.judges.sliding import Sliding


def series(instance, code="200", job="app"):
    return frozenset({("job", job), ("instance", instance), ("code", code)})


A, B, FAILED = series("a"), series("b"), series("a", "500")


@pytest.mark.parametrize(
    ("before", "after", "rises"),
    [
        ({A: 10}, {A: 15}, {A: 5}),
        ({A: 10}, {A: 10}, {A: 0}),
        ({A: 10}, {A: 4}, {A: 4}),
        ({A: 10, B: 7}, {A: 12}, {A: 2}),
        ({A: 10}, {A: 12, B: 1000}, {A: 2, B: 0}),
        ({A: 10}, {A: 12, FAILED: 3}, {A: 2, FAILED: 3}),
        ({}, {A: 12}, {A: 0}),
        ({A: 5}, {}, {}),
    ],
    ids=[
        "rose",
        "stood still",
        "began anew",
        "vanished",
        "target appeared",
        "code appeared",
        "first look",
        "all vanished",
    ],
)
def test_deltas(before, after, rises):
    """A counter that began anew counts from 0, one of a target that appeared from the next look, one of a known target from 0."""
    assert deltas(before, after) == rises


def test_nothing_failed_yet():
    """Requests without any series of failures are requests of which none failed."""
    side = between(Snapshot({A: 10}, {}), Snapshot({A: 30}, {}))
    assert (side.requests, side.failures, dict(side.pods)) == (20, 0, {"app/a": (20, 0)})


def test_the_first_failure_of_all():
    """The first series of failures counts from 0, since its target was up; one of a target that nobody knew does not."""
    side = between(Snapshot({A: 10}, {}), Snapshot({A: 30, B: 500}, {FAILED: 4, series("b", "500"): 90}))
    assert (side.requests, side.failures) == (20, 4)


def test_a_failure_is_a_request():
    """Scrapes that came between two queries give no more failures than requests."""
    side = between(Snapshot({A: 10}, {FAILED: 1}), Snapshot({A: 12}, {FAILED: 5}))
    assert (side.requests, side.failures) == (4, 4)


@pytest.mark.parametrize("value", [-1, nan, inf, 1e16])
def test_a_counter_that_is_none(value):
    """A value that no counter has is no count."""
    with pytest.raises(ValueError, match="counter"):
        deltas({A: 1}, {A: value})
    with pytest.raises(ValueError, match="counter"):
        deltas({A: value}, {A: 1})


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.sampled_from(["count", "count", "restart", "die"])),
        max_size=40,
    )
)
def test_what_is_counted_happened(events):
    """Whatever restarts, dies and comes back, no look counts more than happened since the one before; without that, all of it."""
    counters: dict[str, float] = {"a": 5, "b": 0}
    untouched = True
    for name, count, kind in events:
        before = {series(one): value for one, value in counters.items()}
        if kind == "die":
            counters.pop(name, None)
        elif kind == "restart":
            counters[name] = count
        else:
            counters[name] = counters.get(name, 0) + count
        untouched = kind == "count" and series(name) in before
        counted = sum(deltas(before, {series(one): value for one, value in counters.items()}).values())
        assert counted <= (0 if kind == "die" else count)
        if untouched:
            assert counted == count


@pytest.mark.parametrize(
    ("writes", "covers"),
    [((), True), ((90,), True), ((97,), False), ((100,), False), ((105,), False), ((110,), True), ((90, 105), False)],
)
def test_settled_time(writes, covers):
    """A look from 100 to 110 s with 5 s of settling spans neither a write nor its way to the proxies."""
    assert settled(100, 110, writes, 5) is covers


@given(st.integers(1, 20), st.integers(0, 20), st.lists(st.booleans(), max_size=60))
def test_sliding(most, more, goods):
    """It fails exactly when so many of the last measurements were bad, and a status gives back what it remembers."""
    rule = Sliding(most, most + more)
    remembered = ""
    for number, good in enumerate(goods, 1):
        remembered = rule.load(rule.fold(remembered, good))
        assert rule.failed(remembered) is (goods[max(0, number - rule.of) : number].count(False) >= most)


@pytest.mark.parametrize("text", ["0 of 5", "6 of 5", "3", "3 of 101", "three of 5", "-1 of 5", "", "3 of 5 of 7"])
def test_sliding_that_can_be_no_such_thing(text):
    """N of M has 1 <= N <= M <= 100."""
    with pytest.raises(ValueError, match="N of M"):
        Sliding.parse(text)


@pytest.mark.parametrize("text", [None, 7, "x" * 101, "xx?", "X", ["x"]])
def test_sliding_remembers_nothing_that_was_forged(text):
    """What a status cannot hold is forgotten."""
    assert Sliding.parse("3 of 5").load(text) == ""


def test_sliding_words():
    """People read how many failed, of how many, and how many may."""
    assert Sliding.parse("3 of 5").words(".x.x") == "2 of the last 4 measurements failed; 3 of 5 are too many"
