"""The confidence sequence holds at every look: what is true is hardly ever called wrong, what is wrong is found soon."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.sequence import (
    Counted,
    copied_above,
    provably_above,
    provably_below,
    tolerance,
)

COUNTS = st.floats(0, 1e9, allow_nan=False)


def split(chance: random.Random, share: float, looks: int) -> Iterator[Counted]:
    """An exact splitter of a share (0 to 1), looked at after every request."""
    canary = 0
    for asked in range(1, looks + 1):
        canary += chance.random() < share
        yield Counted(canary, asked - canary)


def mirrored(chance: random.Random, share: float, copies: float, looks: int) -> Iterator[Counted]:
    """A splitter of a share (0 to 1) that also sends copies of so many of the requests to the canary."""
    canary = stable = 0
    for _ in range(looks):
        to_canary = chance.random() < share
        canary += to_canary + (chance.random() < copies)
        stable += not to_canary
        yield Counted(canary, stable)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_an_exact_splitter_is_hardly_ever_called_wrong_in_thousands_of_looks(share: float) -> None:
    """With no tolerance at all and a chance of 5 %, at most 5 % of runs ever object, though each looks 1,000 times."""
    chance, runs, error = random.Random(7), 200, 0.05
    wrong = sum(
        any(
            provably_above(seen, 100 * share, error) or provably_below(seen, 100 * share, error)
            for seen in split(chance, share, 1000)
        )
        for _ in range(runs)
    )
    assert wrong <= runs * error


@pytest.mark.parametrize(("share", "copies"), [(0.0, 0.2), (0.0, 1.0), (0.3, 0.4)])
def test_copies_at_the_very_bound_are_hardly_ever_called_too_many(share: float, copies: float) -> None:
    """The same for copies: they come on top of what they are copies of, and the bound still holds."""
    chance, runs, error = random.Random(11), 200, 0.05
    wrong = sum(
        any(copied_above(seen, 100 * share, 100 * copies, error) for seen in mirrored(chance, share, copies, 1000))
        for _ in range(runs)
    )
    assert wrong <= runs * error


@pytest.mark.parametrize(
    ("asked", "given_", "most"),
    [(10, 0.5, 100), (10, 0.2, 2000), (10, 0.0, 300), (50, 0.9, 200), (90, 0.1, 50), (1, 0.1, 500)],
)
def test_a_gateway_that_gives_another_share_is_found_soon(asked: float, given_: float, most: int) -> None:
    """Every one of 20 runs is found wrong by more than the tolerance in time."""
    chance, off = random.Random(3), tolerance(asked)
    for _ in range(20):
        assert any(
            provably_above(seen, asked + off) or provably_below(seen, asked - off)
            for seen in split(chance, given_, most)
        )


def test_a_gateway_that_ignores_the_percent_of_a_mirror_is_found_within_some_hundred_requests() -> None:
    """Copies of every request where 20 % are asked for are more than twice as many."""
    chance = random.Random(5)
    for _ in range(20):
        assert any(copied_above(seen, 0, 2 * 20) for seen in mirrored(chance, 0.0, 1.0, 300))


def test_a_mirror_that_copies_what_was_asked_is_never_blamed() -> None:
    """206, 193, 203 and 175 of 1,000 copies, as a real gateway made of 20 %, are what was asked."""
    for copies in (206, 193, 203, 175):
        assert not copied_above(Counted(copies, 1000), 0, 2 * 20)


@given(COUNTS, COUNTS, st.floats(0, 100))
def test_nothing_is_above_and_below_at_once(canary: float, stable: float, share: float) -> None:
    """Whatever was counted, the answers agree with each other, and nothing raises."""
    seen = Counted(canary, stable)
    assert not (provably_above(seen, share) and provably_below(seen, share))


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0, 100), st.floats(0, 100))
def test_what_is_above_a_share_is_above_every_smaller_one(canary: int, stable: int, one: float, other: float) -> None:
    """The sequence is an interval."""
    seen, (small, large) = Counted(canary, stable), sorted((one, other))
    if provably_above(seen, large):
        assert provably_above(seen, small)
    if provably_below(seen, small):
        assert provably_below(seen, large)


@given(st.floats(-10, 110))
def test_without_requests_nothing_is_proven(share: float) -> None:
    """No evidence is no evidence against anybody."""
    nothing = Counted(0, 0)
    assert nothing.share is None
    assert not provably_above(nothing, share)
    assert not provably_below(nothing, share)


def test_the_tolerance_is_a_third_and_never_less_than_two_points() -> None:
    """In points of the share."""
    assert [tolerance(share) for share in (0, 1, 6, 9, 50)] == [2, 2, 2, 3, pytest.approx(50 / 3)]
