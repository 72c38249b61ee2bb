"""Binomial counts are binomial, however many trials there are."""

from __future__ import annotations

from itertools import accumulate
from math import comb, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.rehearse.draws import FEW, binomial


@given(st.integers(0, 10**12), st.floats(0, 1), st.integers(0, 2**32))
def test_no_more_succeed_than_there_were(trials: int, chance: float, seed: int) -> None:
    """None at a chance of 0, all at 1, and whole numbers in between."""
    found = binomial(Random(seed), trials, chance)
    assert isinstance(found, int)
    assert 0 <= found <= trials
    assert binomial(Random(seed), trials, 0.0) == 0
    assert binomial(Random(seed), trials, 1.0) == trials


@pytest.mark.parametrize(("trials", "chance"), [(FEW, 0.3), (60, 0.02), (61, 0.5), (400, 0.01), (400, 0.97)])
def test_they_have_the_distribution_that_they_should(trials: int, chance: float) -> None:
    """No part of 20,000 draws is further from the exact one than Kolmogorov's bound, at one in 10,000."""
    random, draws = Random(7), 20_000
    seen = [0] * (trials + 1)
    for _ in range(draws):
        seen[binomial(random, trials, chance)] += 1
    exact = (comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1))
    apart = max(abs(a / draws - b) for a, b in zip(accumulate(seen), accumulate(exact), strict=True))
    assert apart < 2.23 / sqrt(draws)
