from __future__ import annotations

import itertools
import json
from math import comb, exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from work_kit import MOST, calls

from canary.checks.judges.finding import Standing
from canary.checks.judges.latency import Histogram, Latency, odds_factors
from canary.checks.judges.memory import MOST_TEXT, dump_latency, load_latency


def latency(**changes):
    return Latency(**{"alpha": 0.05, "bounds": (0.1, 0.3), "effect": 1.5, "least_requests": 50, **changes})


def histogram(requests, slow, very_slow=0):
    return Histogram(requests, {0.1: requests - slow, 0.3: requests - very_slow, 1.0: requests})


def folded(judge, seen):
    progress = judge.begin()
    for canary, stable in seen:
        progress = judge.fold(progress, canary, stable)
    return progress


def exact(canary, stable, both, odds):
    """The sum over all ways in which so many of both are slow."""
    ways = range(max(0, both - stable), min(canary, both) + 1)
    return sum(comb(canary, slow) * comb(stable, both - slow) * odds**slow for slow in ways)


@given(
    st.integers(1, 40),
    st.integers(1, 200),
    st.integers(0, 60),
    st.sampled_from([1.1, 1.5, 2.0]),
    st.sampled_from([2.5, 5, 10]),
)
def test_never_more_than_the_exact_ratio(canary, stable, both, claimed, ratio):
    """The bound takes the place of a sum over all tables, and errs to the careful side, by little."""
    both = min(both, canary + stable)
    slow = min(canary, both)
    (found,) = odds_factors(canary, stable, slow, both - slow, (ratio,), claimed)
    true = (
        slow * log(ratio / claimed)
        + log(exact(canary, stable, both, claimed))
        - log(exact(canary, stable, both, ratio))
    )
    assert found <= true + 1e-9
    assert found >= true - 0.75


@given(st.integers(1, 6), st.integers(1, 8), st.floats(0.02, 0.95), st.floats(1.0, 1.5))
def test_nobody_wins_against_a_true_claim(canary, stable, rate, odds_ratio):
    """E is expected to stay at most 1 while the odds of the canary are at most the effect that is no matter, enumerated."""
    judge = latency(bounds=(0.1,))
    odds = rate / (1 - rate) * odds_ratio
    chance = odds / (1 + odds)
    total = 0.0
    for k, j in itertools.product(range(canary + 1), range(stable + 1)):
        weight = comb(canary, k) * chance**k * (1 - chance) ** (canary - k)
        weight *= comb(stable, j) * rate**j * (1 - rate) ** (stable - j)
        total += weight * exp(judge.evidence(folded(judge, [(histogram(canary, k), histogram(stable, j))])))
    assert total <= 1 + 1e-9


def test_slower_and_not():
    """Three times as many slow requests fail in a few looks and are told; as many do not."""
    judge = latency()
    found = judge.judge(folded(judge, [(histogram(100, 30, 3), histogram(900, 90, 9))] * 5))
    assert found.standing is Standing.FAIL
    assert found.message.startswith("slower than 100 ms: 10 % → 30 %, evidence ")
    assert (
        judge.judge(folded(judge, [(histogram(100, 10, 1), histogram(900, 90, 9))] * 50)).standing
        is Standing.INCONCLUSIVE
    )


def test_a_small_effect_is_no_matter():
    """A canary that is a little slower, for good and all, never fails: that is what the effect is for."""
    judge = latency(effect=2.0)
    assert judge.judge(folded(judge, [(histogram(1000, 170), histogram(9000, 900))] * 100)).reason == "NotProved"


def test_all_and_none_are_slow():
    """Where all or none of the requests are slow there is nothing to compare, and nothing breaks."""
    judge = latency()
    for one in ((10, 10), (10, 0)):
        for other in ((90, 90), (90, 0)):
            assert judge.judge(folded(judge, [(histogram(*one), histogram(*other))])).standing is Standing.INCONCLUSIVE
    assert judge.judge(folded(judge, [(histogram(10, 10), histogram(0, 0))])).standing is Standing.NOT_APPLICABLE


def test_too_few_requests():
    """Nothing is said before the canary had its least number of requests."""
    judge = latency()
    assert judge.judge(folded(judge, [(histogram(49, 49), histogram(900, 1))])).reason == "TooFewRequests"
    assert judge.judge(folded(judge, [(histogram(50, 50), histogram(900, 1))])).standing is Standing.FAIL


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 90), st.integers(0, 90)), max_size=10))
def test_a_restart_changes_nothing(counts):
    """What a status holds gives back exactly what was known, in at most 1 KiB."""
    judge = latency()
    progress = folded(
        judge, [(histogram(50, max(a, b), min(a, b)), histogram(90, max(c, d), min(c, d))) for a, b, c, d in counts]
    )
    text = dump_latency(judge, progress)
    assert len(text) <= MOST_TEXT
    assert load_latency(judge, text) == progress


def test_a_status_of_years():
    """With three buckets and counts of years it is still at most 1 KiB."""
    judge = latency(bounds=(0.1, 0.3, 1.0))
    seen = []
    for number in range(40):
        requests = 1.23456789e12 + number
        buckets = {0.1: requests * 0.777, 0.3: requests * 0.888, 1.0: requests * 0.999}
        seen.append((Histogram(requests, buckets), Histogram(requests * 3.3, {k: v * 3.2 for k, v in buckets.items()})))
    progress = folded(judge, seen)
    assert len(dump_latency(judge, progress)) <= MOST_TEXT
    assert load_latency(judge, dump_latency(judge, progress)) == progress


def test_forged():
    """Evidence that the counts cannot give, other buckets and other shapes are refused."""
    judge = latency()
    text = dump_latency(judge, folded(judge, [(histogram(50, 5), histogram(90, 9))]))
    found = json.loads(text)
    high = [[bucket[0], [1, *[99] * len(judge.effects)], *bucket[2:]] for bucket in found["buckets"]]
    for changed in (
        {"buckets": high},
        {"buckets": found["buckets"][:1]},
        {"effect": 2},
        {"requests": [1, 1]},
        {"requests": [50, 0]},
        {"requests": [0, 90]},
        {"buckets": [1, 2]},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            load_latency(judge, json.dumps({**found, **changed}))


@pytest.mark.parametrize(
    "changes",
    [
        {"effect": 1.0},
        {"effect": 10},
        {"bounds": ()},
        {"bounds": (1, 2, 3, 4)},
        {"bounds": (1, 1)},
        {"bounds": (float("inf"),)},
        {"least_requests": 0},
        {"alpha": 1},
    ],
)
def test_settings_that_can_be_no_such_thing(changes):
    """A least effect, a least number of requests and one to three finite buckets are needed."""
    with pytest.raises(ValueError, match=r"\w"):
        latency(**changes)


def test_histograms_that_cannot_be():
    """Buckets that do not rise, hold more than all, or are not the same on both sides are refused."""
    with pytest.raises(ValueError, match="wider"):
        Histogram(10, {0.1: 5, 0.3: 4})
    with pytest.raises(ValueError, match="more than all"):
        Histogram(10, {0.1: 11})
    judge = latency()
    with pytest.raises(ValueError, match="both histograms need"):
        judge.fold(judge.begin(), Histogram(10, {0.1: 5}), histogram(10, 5))


@pytest.mark.parametrize("times", [1, 10**8])
def test_a_look_takes_no_time(times):
    """Folding, judging, writing and reading three buckets is as little work at the four hundredth look as at the hundredth, and with
    however many requests.
    """
    judge = latency(bounds=(0.1, 0.3, 1.0))
    texts = [dump_latency(judge, judge.begin())]
    look = histogram(600 * times, 66 * times, 5 * times), histogram(5400 * times, 540 * times, 50 * times)

    def one() -> None:
        progress = judge.fold(load_latency(judge, texts[-1]), *look)
        judge.judge(progress)
        texts.append(dump_latency(judge, progress))

    work = [calls(one) for _ in range(400)]
    assert max(work[-100:]) <= 1.05 * max(work[100:200])
    assert max(work) <= MOST
    assert max(len(text) for text in texts) <= MOST_TEXT


@pytest.mark.parametrize("tiny", [5e-324, 3e-309, 1e-200, 1e-13])
def test_what_is_smaller_than_any_count_is_none(tiny: float) -> None:
    """A counter may say whatever a float can: a part of a request that nobody can have sent is none, and fails no canary."""
    judge = latency()
    progress = folded(judge, [(histogram(50, 5), histogram(90, 9))])
    assert (
        judge.fold(progress, Histogram(tiny, dict.fromkeys(judge.bounds, 0.0)), histogram(90, 9)).buckets
        == progress.buckets
    )
    odd = Histogram(50, dict.fromkeys(judge.bounds, 50.0)), Histogram(90 + tiny, dict.fromkeys(judge.bounds, 90.0))
    for _ in range(8):
        progress = judge.fold(progress, *odd)
    assert judge.judge(progress).standing is Standing.INCONCLUSIVE
    assert load_latency(judge, dump_latency(judge, progress)) == progress


@pytest.mark.parametrize("tiny", [5e-324, 1e-320, 1e-200])
def test_a_status_with_numbers_that_no_arithmetic_survives_is_refused(tiny: float) -> None:
    """What is read from a status can be gone on from: nothing is 0 by its square alone."""
    judge = latency()
    text = dump_latency(judge, folded(judge, [(histogram(50, 5), histogram(90, 9))] * 3))
    found = json.loads(text)
    for place in range(len(found["buckets"][0][3])):
        forged = json.loads(text)
        forged["buckets"][0][3][place] = tiny
        with pytest.raises(ValueError, match=r"\w"):
            load_latency(judge, json.dumps(forged))
