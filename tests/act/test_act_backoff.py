from __future__ import annotations

from datetime import timedelta

import pytest
from act_kit import NOW

from canary.act.backoff import Backoffs
from canary.backoff import Backoff
from canary.errors import Throttled, Unavailable

PAUSES = Backoff(1.0, 8.0)


def test_pauses_double_up_to_the_longest_and_never_end() -> None:
    """The nth pause is in the upper half of first * 2**(n-1), capped; there is always another try."""
    backoffs = Backoffs(PAUSES)
    for number in range(1, 30):
        assert backoffs.failed("a", NOW, Unavailable("x")) == number
        most = min(8.0, 2.0 ** (number - 1))
        due = backoffs.next_try(NOW)
        assert due is not None
        assert most / 2 <= (due - NOW).total_seconds() <= most
        assert backoffs.resting("a", NOW)
        assert not backoffs.resting("a", NOW + timedelta(seconds=most))


def test_each_name_on_its_own() -> None:
    """What fails in one place holds up nothing elsewhere; a success forgets the failures."""
    backoffs = Backoffs(PAUSES)
    backoffs.failed("a", NOW, Unavailable("x"))
    assert not backoffs.resting("b", NOW)
    backoffs.succeeded("a")
    assert not backoffs.resting("a", NOW)
    assert backoffs.next_try(NOW) is None
    assert backoffs.failed("a", NOW, Unavailable("x")) == 1


def test_retry_after_is_obeyed() -> None:
    """When the server says how long to wait, we wait at least that."""
    backoffs = Backoffs(PAUSES)
    backoffs.failed("a", NOW, Throttled("slow down", status=429, retry_after=30.0))
    assert backoffs.next_try(NOW) == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_the_next_try_is_the_earliest(seconds: float) -> None:
    """Only pauses that are not over count."""
    backoffs = Backoffs(PAUSES)
    backoffs.failed("a", NOW, Unavailable("x"))
    backoffs.failed("b", NOW + timedelta(seconds=50), Unavailable("x"))
    later = NOW + timedelta(seconds=seconds)
    due = backoffs.next_try(later)
    assert due is None if seconds else due is not None and due <= NOW + timedelta(seconds=1)
