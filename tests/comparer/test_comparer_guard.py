"""A comparer lets stable rest when it suffers, by stable's own measure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.comparer.guard import FEWEST, LEAST, MEMORY, StableGuard, TokenBucket


class Play:
    """Answers of stable at a steady pace, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.guard = StableGuard(self.now)

    def goes(self, seconds: float, *, takes: float = 0.02, failed: float = 0.0, rate: int = 50) -> None:
        """So many seconds of `rate` answers each, a part `failed` of them failures."""
        for number in range(int(seconds * rate)):
            self.now += 1 / rate
            bad = int((number + 1) * failed) > int(number * failed)
            self.guard.saw(takes, failed=bad, now=self.now)


@pytest.fixture
def play() -> Play:
    return Play()


def test_a_stable_that_is_well_gets_everything(play: Play) -> None:
    """Nothing is held back at first, nor later."""
    assert play.guard.share == 1
    play.goes(60)
    assert play.guard.share == 1
    assert play.guard.lets_through(0.999)


@pytest.mark.parametrize(
    "trouble", [{"takes": 0.2}, {"failed": 0.2}, {"failed": 1.0}], ids=["slower", "some fail", "all fail"]
)
def test_a_stable_that_suffers_gets_half_as_much_each_second(play: Play, trouble: dict[str, float]) -> None:
    """And in the end one in a hundred, to see when it is well again."""
    play.goes(10)
    play.goes(1.5, **trouble)
    before = play.guard.share
    assert before <= 0.5
    assert play.guard.why
    play.goes(1.1, **trouble)
    assert play.guard.share == before / 2
    play.goes(20, **trouble)
    assert play.guard.share == LEAST
    assert not play.guard.lets_through(0.5)
    assert play.guard.lets_through(0)


def test_it_comes_back_slowly(play: Play) -> None:
    """Once stable is well the share rises by five points a second."""
    play.goes(10)
    play.goes(3.5, takes=0.5)
    low = play.guard.share
    play.goes(2, takes=0.02)
    assert low < play.guard.share < low + 0.2
    play.goes(25)
    assert play.guard.share == 1
    assert play.guard.why == ""


def test_a_little_slower_is_no_suffering(play: Play) -> None:
    """Neither is a failure now and then."""
    play.goes(10, takes=0.02)
    play.goes(30, takes=0.035, failed=0.04)
    assert play.guard.share == 1


def test_failures_that_are_quick_are_no_baseline(play: Play) -> None:
    """A stable that said 500 at once is not slow afterwards, when it works."""
    play.goes(10, takes=0.0005, failed=1.0)
    play.goes(60, takes=0.02)
    assert play.guard.share == 1


def test_who_is_slow_for_long_is_slow_by_nature(play: Play) -> None:
    """After twice the memory what counts is what stable is like now."""
    play.goes(10, takes=0.02, rate=25)
    play.goes(MEMORY, takes=0.2, rate=25)
    assert play.guard.share == LEAST
    play.goes(MEMORY + 30, takes=0.2, rate=25)
    assert play.guard.share == 1


def test_one_slow_answer_is_not_judged_alone(play: Play) -> None:
    """A second with few answers is judged together with the next ones."""
    play.goes(10)
    play.goes(2, takes=3.0, rate=4)
    assert play.guard.share == 1
    play.goes(10, takes=3.0, rate=4)
    assert play.guard.share < 1


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans(), st.floats(0, 5)), max_size=300))
def test_the_share_stays_a_share(seen: list[tuple[float, bool, float]]) -> None:
    """Whatever stable does, it is between the least and all, and what stands against more is said."""
    play = Play()
    for seconds, failed, pause in seen:
        play.now += pause
        play.guard.saw(seconds, failed=failed, now=play.now)
        assert LEAST <= play.guard.share <= 1
    if len(seen) < FEWEST and play.now < 1010:
        assert play.guard.share == 1


@given(st.floats(1, 500), st.lists(st.floats(0, 3), max_size=200))
def test_no_more_than_the_rate_is_taken(rate: float, pauses: list[float]) -> None:
    """Over any time: what the rate allows, and one second's worth of it at once."""
    now, bucket, taken, began = 0.0, TokenBucket(rate, 0.0), 0, 0.0
    for pause in pauses:
        now += pause
        while bucket.take(now):
            taken += 1
            assert taken <= rate * (now - began) + max(1.0, rate) + 1e-6


def test_slow_rates_let_one_through_at_a_time() -> None:
    """With one in ten seconds the second one waits for ten."""
    bucket = TokenBucket(0.1, 0.0)
    assert [bucket.take(at) for at in (0.0, 5.0, 9.9, 10.1, 10.2)] == [True, False, False, True, False]


def test_no_rate_is_no_limit() -> None:
    """0 lets everything through, and a clock that stands still does no harm."""
    assert all(TokenBucket(0, 0.0).take(0.0) for _ in range(1000))
