"""One formula for every pause before something is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.backoff import Backoff
from canary.errors import Throttled, Unavailable
from canary.kube.outage import WATCH
from canary.kube.retry import EVENT_WRITE, READ, ROUTE_WRITE, STATUS_WRITE


def longest(low: float, high: float) -> float:
    return high


def shortest(low: float, high: float) -> float:
    return low


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        pytest.param(ROUTE_WRITE.backoff, (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0), id="traffic"),
        pytest.param(STATUS_WRITE.backoff, (0.2, 0.4, 0.8, 1.6, 2.0, 2.0), id="status"),
        pytest.param(EVENT_WRITE.backoff, (0.5, 1.0, 1.0), id="events"),
        pytest.param(READ.backoff, (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0), id="reads"),
        pytest.param(WATCH, (0.2, 0.4, 0.8, 1.5, 1.5), id="watches"),
    ],
)
def test_pauses_double_up_to_the_longest(backoff: Backoff, pauses: tuple[float, ...]) -> None:
    """What each kind of request waits at most after its first failure, its second, and so on; at least it is half of that."""
    most, least = (
        [Backoff(backoff.first, backoff.longest, draw=draw).pause(n) for n in range(1, len(pauses) + 1)]
        for draw in (longest, shortest)
    )
    assert most == pytest.approx(pauses)
    assert least == pytest.approx([pause / 2 for pause in pauses])
    for number, pause in enumerate(pauses, 1):
        assert pause / 2 <= backoff.pause(number) <= pause


@given(st.integers(min_value=1), st.floats(min_value=0.001, max_value=10), st.floats(min_value=1, max_value=100))
def test_what_fails_for_ever_is_tried_for_ever(failures: int, first: float, factor: float) -> None:
    """However often it has failed, the pause is the longest at most, and a number."""
    assert 0 < Backoff(first, 60.0, factor).pause(failures) <= 60.0


def test_the_server_says_how_long() -> None:
    """Retry-After is the least pause, however long; where there is none, or a shorter one, it changes nothing."""
    backoff = Backoff(1.0, 8.0, draw=longest)
    assert backoff.pause(1, Throttled("slow down", retry_after=30.0)) == 30.0
    assert backoff.pause(1, Throttled("slow down", retry_after=0.5)) == 1.0
    assert backoff.pause(1, Throttled("slow down")) == backoff.pause(1, Unavailable("gone")) == 1.0


def test_a_backoff_may_have_no_jitter_and_another_factor() -> None:
    """Pauses that are to be told in advance, three times as long each time."""
    backoff = Backoff(1.0, 20.0, factor=3.0, jitter=0.0)
    assert [backoff.pause(n) for n in range(1, 5)] == [1.0, 3.0, 9.0, 20.0]


@pytest.mark.parametrize(
    ("backoff", "most"),
    [(ROUTE_WRITE.backoff, 2.0), (STATUS_WRITE.backoff, 10.0), (WATCH, 10.0)],
    ids=["traffic", "status", "watches"],
)
def test_nobody_else_says_how_long_a_rollback_waits(backoff: Backoff, most: float) -> None:
    """A webhook of somebody's may refuse one patch for an hour. What it says is obeyed up to a bound, and the next try is ours."""
    assert backoff.pause(1, Throttled("come back later", status=429, retry_after=3600.0)) == most
    assert backoff.pause(1, Throttled("come back later", status=429, retry_after=1.5)) >= 1.5
