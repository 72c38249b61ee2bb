"""What a canary would have counted, made of what stable counted: nothing is lost, and worse is so many times worse."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.judges.counters import Side
from canary.checks.judges.latency import Histogram
from canary.checks.judges.slower import Slower
from canary.model.checks import OnUnknown
from canary.model.values import Duration
from canary.rehearse.drawing import odds_times
from canary.rehearse.thinning import OTHERS, PODS, Divided, failed, kept, timed


def side(**pods: tuple[int, int]) -> Side:
    """Requests and failures by pod."""
    requests, failures = (sum(counts[place] for counts in pods.values()) for place in (0, 1))
    return Side(float(requests), float(failures), {name: (float(n), float(k)) for name, (n, k) in pods.items()})


COUNTS = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda pair: (max(pair), min(pair)))
SIDES = st.dictionaries(st.sampled_from("abcdef"), COUNTS, max_size=4).map(lambda pods: side(**pods))
SEEDS = st.integers(0, 2**32)


@given(SIDES, st.floats(0, 1), SEEDS)
def test_each_request_is_one_s_or_the_other_s(found: Side, share: float, seed: int) -> None:
    """Divided, not invented: all requests and all failures are there, pod by pod no more than there were."""
    seen = failed(Random(seed), found, Divided(share), 1.0)
    assert seen.canary + seen.stable == found.requests
    assert seen.canary_failed + seen.stable_failed == found.failures
    for name, (requests, failures) in seen.pods.items():
        assert requests <= found.pods[name][0]
        assert failures <= found.pods[name][1]


@given(SIDES, st.floats(0, 1), SEEDS)
def test_copies_take_nothing_from_stable(found: Side, part: float, seed: int) -> None:
    """Mirrored, stable serves what it served, and the canary fails no more than stable did."""
    seen = failed(Random(seed), found, Divided(0.0, part), 1.0)
    assert (seen.stable, seen.stable_failed) == (found.requests, found.failures)
    assert seen.canary <= found.requests
    assert seen.canary_failed <= found.failures


@given(SIDES, st.floats(0, 1), st.floats(0, 1), st.floats(1, 1000), SEEDS)
def test_whatever_was_counted_gives_a_look(found: Side, share: float, mirror: float, worse: float, seed: int) -> None:
    """No more failures than requests, however much worse."""
    seen = failed(Random(seed), found, Divided(share, mirror), worse)
    assert 0 <= seen.canary_failed <= seen.canary


@pytest.mark.parametrize(("worse", "share"), [(1.0, 0.1), (2.0, 0.1), (3.0, 0.5), (10.0, 0.01)])
def test_a_worse_canary_is_so_many_times_worse(worse: float, share: float) -> None:
    """On average, and stable stays as it is."""
    random, found = Random(3), side(a=(60_000, 600), b=(40_000, 400))
    looks = [failed(random, found, Divided(share), worse) for _ in range(200)]
    rate = sum(one.canary_failed for one in looks) / sum(one.canary for one in looks)
    stable = sum(one.stable_failed for one in looks) / sum(one.stable for one in looks)
    assert rate == pytest.approx(worse * 0.01, rel=0.05)
    assert stable == pytest.approx(0.01, rel=0.02)


def test_where_nothing_failed_nothing_fails_more_often() -> None:
    """Ten times nothing is nothing; and where all failed all fail."""
    assert failed(Random(1), side(a=(1000, 0)), Divided(0.5), 10).canary_failed == 0
    all_of_them = failed(Random(1), side(a=(1000, 1000)), Divided(0.5), 10)
    assert all_of_them.canary_failed == all_of_them.canary


@given(st.integers(0, 40))
def test_pods_beyond_a_few_are_one(count: int) -> None:
    """So that a week fits into memory; no request is lost."""
    whole = side(**{f"pod-{number:02}": (100, number) for number in range(count)})
    few = kept(whole)
    assert len(few.pods) <= PODS + 1
    assert sum(requests for requests, _ in few.pods.values()) == whole.requests
    assert sum(failures for _, failures in few.pods.values()) == whole.failures
    assert (OTHERS in few.pods) == (count > PODS)


RULE = Slower(1.2, 100, Duration.parse("5s"), OnUnknown.HOLD, bounds=(0.1, 0.3))
TIMES = st.lists(st.integers(0, 10**6), min_size=3, max_size=3).map(sorted)


def histogram(narrow: int, wide: int, all_of_them: int) -> Histogram:
    return Histogram(all_of_them, {0.1: narrow, 0.3: wide})


@given(TIMES, st.floats(0, 1), SEEDS)
def test_each_request_takes_as_long_as_it_took(counts: list[int], share: float, seed: int) -> None:
    """Divided between the two, bucket by bucket nothing is lost."""
    whole = histogram(*counts)
    seen = timed(RULE, Random(seed), whole, Divided(share), 1.0)
    assert seen.canary + seen.stable == whole.requests
    for bound, count in whole.within.items():
        assert seen.canary_within[bound] + seen.stable_within[bound] == count


@given(TIMES, st.floats(0, 1), st.floats(0, 1), st.floats(1, 1000), SEEDS)
def test_whatever_was_timed_gives_a_look(
    counts: list[int], share: float, mirror: float, worse: float, seed: int
) -> None:
    """Histograms that can be, however much worse, which the judge takes."""
    seen = timed(RULE, Random(seed), histogram(*counts), Divided(share, mirror), worse)
    RULE.folded(RULE.begin(), seen)


@pytest.mark.parametrize("worse", [1.0, 2.0, 5.0])
def test_a_slower_canary_has_so_many_times_the_odds(worse: float) -> None:
    """At each bound, on average."""
    random, whole = Random(3), histogram(92_000, 99_000, 100_000)
    looks = [timed(RULE, random, whole, Divided(0.1), worse) for _ in range(200)]
    for bound, part in ((0.1, 0.08), (0.3, 0.01)):
        slow = 1 - sum(one.canary_within[bound] for one in looks) / sum(one.canary for one in looks)
        assert slow == pytest.approx(odds_times(part, worse), rel=0.05)
