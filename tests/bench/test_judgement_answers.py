"""Answers that nobody gave: counts that a comparer may have had, of noise that hits both versions alike, and of a field that is changed."""

from __future__ import annotations

from collections import Counter

import pytest
from numpy.random import default_rng

from bench.judgement import methods
from bench.judgement.answers import AT_TIMES, ORDER, SELDOM, TIME, Answers, several
from bench.judgement.traffic import always

NOISY = several(time=(2, TIME), order=(3, ORDER), at_times=(3, AT_TIMES), seldom=(3, SELDOM))
HEALTHY = {
    "alike": Answers(),
    "noisy": Answers(noise=NOISY),
    "waves": Answers(noise=NOISY, wave=True),
    "together": Answers(alike=5),
    "keys": Answers(keys=20),
}


def sums(draw: Answers, runs: int = 6) -> dict[str, Counter[str]]:
    """Of each place how often the canary alone, stable's second answer alone, and both differed."""
    random, found = default_rng(3), {}
    for _ in range(runs):
        for look in draw(random):
            for path, counts in look.paths.items():
                found.setdefault(path, Counter()).update(dict(zip(("b", "c", "both"), counts, strict=True)))
    return found


@pytest.mark.parametrize("name", HEALTHY)
def test_noise_hits_both_alike(name: str) -> None:
    """At no place does the canary differ alone more often than stable does, but by chance."""
    for path, counts in sums(HEALTHY[name]).items():
        alone = counts["b"] + counts["c"]
        assert abs(counts["b"] - counts["c"]) <= 5 * max(alone, 1) ** 0.5, path


def test_a_changed_field_differs_so_often() -> None:
    """Where nothing else does, the canary alone; at a noisy place what was the same before, and what differed in stable alone."""
    asked = 6 * 60 * 120
    counts = sums(Answers(always(0.03)))["$.price"]
    assert counts["b"] == pytest.approx(0.03 * asked, rel=0.1)
    assert counts["c"] == counts["both"] == 0
    noisy = sums(Answers(always(0.5), "$.order0", noise=NOISY))["$.order0"]
    assert noisy["b"] == pytest.approx((0.25 + 0.125) * asked, rel=0.05)
    assert noisy["c"] == pytest.approx(0.125 * asked, rel=0.05)


def test_noise_that_is_unequal_is_so_by_as_much() -> None:
    """Also at a place that always differs, which then differs alone instead of with stable's second answer."""
    asked = 6 * 60 * 120
    for path, counts in sums(Answers(noise=NOISY, more=0.01)).items():
        assert (counts["b"] - counts["c"]) / asked == pytest.approx(0.01, abs=5 * (0.5 / asked) ** 0.5), path


def test_a_map_by_keys_differs_at_two_of_them() -> None:
    """Answers with other keys lack one of the other: every difference of a pair is at two places."""
    for look in Answers(keys=50)(default_rng(5)):
        ours = sum(b + both for b, _, both in look.paths.values())
        theirs = sum(c + both for _, c, both in look.paths.values())
        assert ours % 2 == theirs % 2 == 0
        assert 0 < ours / 2 <= look.compared
        assert 0 < theirs / 2 <= look.compared


def test_the_judge_finds_a_changed_field_and_no_noise() -> None:
    """The very judge: of twenty runs each, all that are bad and hardly one that is not."""
    random = default_rng(8)
    assert all(methods.mirrored(Answers(always(0.05), noise=NOISY)(random)).failed for _ in range(20))
    assert sum(methods.mirrored(Answers(noise=NOISY)(random)).failed is not None for _ in range(20)) <= 3
