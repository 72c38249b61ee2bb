"""Whether an answer is of now."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest

from canary.metrics.freshness import APART, FROZEN, Freshness

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = NOW.timestamp()


class Passing:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (AT, ""),
        (AT - APART + 1, ""),
        (AT + APART - 1, ""),
        (AT - 3600, "it is of 2026-01-02T02:04:05+00:00, and was sent at 2026-01-02T03:04:05+00:00"),
        (AT + 86400, "it is of 2026-01-03T03:04:05+00:00, and was sent at 2026-01-02T03:04:05+00:00"),
        (0.0, "it is of 1970-01-01T00:00:00+00:00, and was sent at 2026-01-02T03:04:05+00:00"),
    ],
)
def test_an_answer_is_of_when_it_is_sent(moment: float, words: str) -> None:
    """As far as two clocks may be apart; whose clock is right makes no difference."""
    assert Freshness(Passing()).stale("up", moment, NOW) == words


def test_without_a_date_any_moment_may_be_now() -> None:
    """There is nothing to compare it with."""
    assert Freshness(Passing()).stale("up", 0.0, None) == ""


def test_a_moment_that_does_not_move_is_that_of_a_cache() -> None:
    """Whatever clock there is. Who asks at the same time as another one shares its answer, so at first it may come twice."""
    passing = Passing()
    fresh = Freshness(passing)
    assert fresh.stale("up", AT, NOW) == ""
    passing.seconds = FROZEN
    assert fresh.stale("up", AT, NOW) == ""
    assert fresh.stale("down", AT, NOW) == ""
    passing.seconds = FROZEN + 1
    assert fresh.stale("up", AT, NOW) == "it is of 2026-01-02T03:04:05+00:00, as it was 11 s ago"
    assert fresh.stale("up", AT + 1, NOW) == ""
    passing.seconds = FROZEN + 2
    assert fresh.stale("up", AT + 1, NOW) == ""


def test_who_asks_for_a_moment_gets_it() -> None:
    """However long ago it was, and again and again."""
    passing = Passing()
    fresh = Freshness(passing)
    for passing.seconds in range(0, 100, 10):
        assert fresh.stale("up", AT - 86400, NOW, AT - 86400) == ""
    assert fresh.stale("up", AT, NOW, AT - 86400) == (
        "it is of 2026-01-02T03:04:05+00:00, and was asked for 2026-01-01T03:04:05+00:00"
    )


def test_what_is_kept_of_questions_is_bounded() -> None:
    passing = Passing()
    fresh = Freshness(passing)
    for number in count():
        fresh.stale(f"up == {number}", AT, NOW)
        if number > 20_000:
            break
    assert len(fresh._first) <= 5_000
