"""The arithmetic of a split."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.errors import ShareError
from canary.model.values import Share
from canary.routes.pair import MAX_WEIGHT, Weights
from canary.routes.weights import divide

TABLE = [
    ("1/0", "10", 0, "90/10", "a small sum is raised to 100"),
    ("-/0", "10", 0, "90/10", "an absent weight is 1"),
    ("90/10", "50", 0, "50/50", "the sum is kept"),
    ("200/0", "10", 0, "180/20", "a larger sum is kept, too"),
    ("1/0", "0.5%", 0, "199/1", "a fraction raises the sum to what it needs"),
    ("1/0", "0.0001%", 0, "999999/1", "down to a ten-thousandth of a percent"),
    ("150/0", "33.3333%", 0, "666667/333333", "four decimals are exact"),
    ("1/0", "100", 0, "0/100", "everything"),
    ("1/0", "0", 0, "100/0", "nothing"),
    ("90/0", "10", 20, "81/9", "next to a third backend the sum stays as it is"),
    ("1/0", "100", 7, "0/1", "even where it is 1"),
    ("1000000/1000000", "50", 0, "500000/500000", "a sum beyond the bound is brought back within it"),
    ("600000/600000", "50", 3, "600000/600000", "unless another backend would notice"),
]


@pytest.mark.parametrize(("weights", "share", "others", "expected", "why"), TABLE, ids=[row[-1] for row in TABLE])
def test_dividing(weights: str, share: str, others: int, expected: str, why: str) -> None:
    """Weights before, share of the pair, weight of other backends, weights after."""
    assert str(divide(Weights.parse(weights), Share.parse(share).percent, others)) == expected


@pytest.mark.parametrize(
    ("weights", "share", "others", "message"),
    [
        ("0/0", "10", 0, "both weights of the pair are 0"),
        ("0/0", "0", 0, "both weights of the pair are 0"),
        ("1/0", "10", 5, "multiply all weights of the rule by 10"),
        ("90/0", "0.5%", 5, "multiply all weights of the rule by 20"),
        ("1000000/1000000", "100", 5, "needs a weight beyond 1000000"),
    ],
)
def test_what_cannot_be_divided_is_refused_with_a_way_out(weights: str, share: str, others: int, message: str) -> None:
    """Never rounded, never at the cost of another backend."""
    with pytest.raises(ShareError) as caught:
        divide(Weights.parse(weights), Share.parse(share).percent, others)
    assert message in str(caught.value)


weights = st.builds(
    Weights, st.one_of(st.none(), st.integers(0, MAX_WEIGHT)), st.one_of(st.none(), st.integers(0, MAX_WEIGHT))
)
shares = st.one_of(
    st.integers(0, 100).map(Fraction),
    st.integers(0, 1_000_000).map(lambda ten_thousandths: Fraction(ten_thousandths, 10_000)),
)


@given(weights, shares)
def test_alone_the_pair_is_divided_exactly(before: Weights, share: Fraction) -> None:
    """The share is exact, both weights keep within the bound, the sum is at least 100 and never smaller without need."""
    if before.total == 0:
        return
    after = divide(before, share, 0)
    assert after.share == share
    assert after.stable is not None
    assert after.canary is not None
    assert min(after.stable, after.canary) >= 0
    assert max(after.stable, after.canary) <= MAX_WEIGHT
    assert after.total >= min(max(before.total, 100), MAX_WEIGHT - (share / 100).denominator)


@given(weights, shares, st.integers(1, MAX_WEIGHT))
def test_next_to_others_the_sum_is_kept_or_it_is_refused(before: Weights, share: Fraction, others: int) -> None:
    """A third backend neither loses nor wins."""
    try:
        after = divide(before, share, others)
    except ShareError:
        part = before.total * share / 100
        beyond = max(part, before.total - part) > MAX_WEIGHT
        assert before.total == 0 or part.denominator != 1 or beyond
        return
    assert (after.total, after.share) == (before.total, share)
    assert max(after.stable or 0, after.canary or 0) <= MAX_WEIGHT


@given(weights, shares, st.integers(0, 9))
def test_dividing_again_changes_nothing(before: Weights, share: Fraction, others: int) -> None:
    """The result of a division is its own division."""
    try:
        after = divide(before, share, others)
    except ShareError:
        return
    assert divide(after, share, others) == after
