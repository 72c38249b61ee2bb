"""What stands between a decision and its writes, and a clock that nobody sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from canary.controller import clock as clocks
from canary.controller.clock import SystemClock
from canary.controller.fence import ASLEEP, Fence
from canary.controller.measure import APART, Pace
from canary.errors import StaleDecision


class Time:
    """Seconds by a clock that goes on during sleep."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_decision_from_before_a_sleep_is_stale_and_the_next_one_is_not() -> None:
    """Whoever asks first after waking notices, before any beat has."""
    time = Time()
    fence = Fence(time)
    fence.beat()
    gate = fence.gate()
    gate(True)
    time.now += ASLEEP + 1
    with pytest.raises(StaleDecision, match="slept in between"):
        gate(False)
    fence.gate()(True)
    assert fence.epoch == 1


def test_a_beat_that_comes_first_does_not_hide_the_sleep() -> None:
    """The order in which tasks go on after waking is anybody's guess."""
    time = Time()
    fence = Fence(time)
    fence.beat()
    gate = fence.gate()
    time.now += 20
    assert fence.beat() == 20
    with pytest.raises(StaleDecision):
        gate(True)


def test_without_a_beat_nothing_is_known_of_the_time_between() -> None:
    """A process that has nobody to beat (a test, a command) is not asleep because it was slow."""
    time = Time()
    gate = Fence(time).gate()
    time.now += 3600
    gate(True)


def test_a_lease_that_may_be_anothers_forbids_a_rise_only() -> None:
    """Nothing holds up a rollback."""
    fence = Fence(Time())
    fence.confirmed = lambda: False
    gate = fence.gate()
    gate(False)
    with pytest.raises(StaleDecision, match="Lease"):
        gate(True)


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=-400)])
def test_setting_the_machines_clock_moves_nothing(monkeypatch: pytest.MonkeyPatch, jump: timedelta) -> None:
    """Time goes on as it did."""
    clock = SystemClock()
    before = clock.now()

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + jump

    monkeypatch.setattr(clocks, "datetime", Jumped)
    assert timedelta(0) <= clock.now() - before < timedelta(seconds=5)


def test_first_looks_after_a_start_come_at_once_and_one_after_the_other() -> None:
    """A single run is looked at now; a thousand spread, and none waits for longer than its interval."""
    pace, now = Pace(), datetime.now(UTC)
    turns = [pace.turn(now, 10.0) for _ in range(3000)]
    assert turns[:3] == [0.0, pytest.approx(APART), pytest.approx(2 * APART)]
    assert max(turns) < 10.0
