"""How long we were blind: every moment counts once, whoever reports it, and whenever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.controller.clock import ManualClock
from canary.controller.sight import Sight

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def sight(clock: ManualClock) -> Sight:
    return Sight(clock)


def seconds(sight: Sight) -> float:
    return sight.total.total_seconds()


def ago(clock: ManualClock, seconds: float) -> datetime:
    return clock.now() - timedelta(seconds=seconds)


def test_time_counts_while_something_is_lost(clock: ManualClock, sight: Sight) -> None:
    """From the loss to the return, running episodes included; afterwards it stands still."""
    assert (sight.blind, sight.since, seconds(sight)) == (False, None, 0)
    sight.lost("httproutes")
    clock.advance(5)
    assert (sight.blind, sight.missing, sight.since, seconds(sight)) == (True, ("httproutes",), START, 5)
    clock.advance(5)
    sight.found("httproutes")
    clock.advance(100)
    assert (sight.blind, seconds(sight)) == (False, 10)


def test_overlapping_losses_count_once(clock: ManualClock, sight: Sight) -> None:
    """Three watches that break in one outage are one outage, over when the last is back."""
    sight.lost("rollouts")
    clock.advance(2)
    sight.lost("httproutes")
    clock.advance(2)
    sight.found("rollouts")
    assert sight.blind
    clock.advance(2)
    sight.found("httproutes")
    assert seconds(sight) == 6


def test_a_silent_connection_was_lost_when_it_was_last_heard(clock: ManualClock, sight: Sight) -> None:
    """Reported afterwards, it counts from the moment that is named, but not what is counted already."""
    clock.advance(100)
    sight.lost("rollouts", ago(clock, 8))
    assert seconds(sight) == 8
    sight.found("rollouts")
    sight.lost("httproutes", ago(clock, 10))  # two seconds of its ten are news
    sight.found("httproutes")
    assert seconds(sight) == 10
    sight.lost("httproutes", ago(clock, 3))
    sight.found("httproutes")
    assert seconds(sight) == 10


def test_sleep_is_blindness_and_wakes_those_who_ask_for_it(clock: ManualClock, sight: Sight) -> None:
    """A process that was stopped saw nothing, whether or not a watch noticed as well."""
    woken: list[float] = []
    sight.on_wake(woken.append)
    clock.advance(20)
    sight.slept(20)
    assert (sight.blind, seconds(sight), woken) == (False, 20, [20])
    sight.lost("rollouts", ago(clock, 21))
    sight.found("rollouts")
    assert seconds(sight) == 21


def test_the_return_of_everything_is_told(clock: ManualClock, sight: Sight) -> None:
    """Not of a part of it, and not of what was never lost."""
    told: list[int] = []
    sight.on_found(lambda: told.append(1))
    sight.found("rollouts")
    sight.lost("rollouts")
    sight.lost("httproutes")
    sight.found("rollouts")
    assert not told
    sight.found("httproutes")
    assert told == [1]


def test_a_clock_that_is_set_back_takes_nothing_back(clock: ManualClock, sight: Sight) -> None:
    """What was blind stays counted."""
    sight.lost("rollouts")
    clock.advance(30)
    assert seconds(sight) == 30
    clock.advance(-3600)
    assert seconds(sight) == 30
    sight.found("rollouts")
    assert seconds(sight) == 30


STEP = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 9)),
    st.tuples(st.just("lost"), st.integers(0, 2), st.integers(0, 12)),
    st.tuples(st.just("found"), st.integers(0, 2)),
    st.tuples(st.just("slept"), st.integers(0, 12)),
)


@given(st.lists(STEP, max_size=300))
def test_total_is_the_length_of_the_union(steps: list[tuple[object, ...]]) -> None:
    """Against a model that ticks off every second by itself; and it never shrinks."""
    clock = ManualClock(START)
    sight = Sight(clock)
    now, blind, lost, before = 0, set[int](), dict[object, int](), 0.0
    for verb, *arguments in steps:
        match verb, arguments:
            case "advance", [int(by)]:
                clock.advance(by)
                now += by
            case "lost", [name, int(back)]:
                sight.lost(str(name), ago(clock, back))
                lost[name] = min(now - back, lost.get(name, now - back))
            case "found", [name]:
                sight.found(str(name))
                lost.pop(name, None)
            case "slept", [int(length)]:
                sight.slept(length)
                blind |= set(range(now - length, now))
        for since in lost.values():
            blind |= set(range(since, now))
        assert sight.blind is bool(lost)
        assert seconds(sight) == len(blind) >= before
        before = seconds(sight)


def test_many_episodes_are_a_sum(clock: ManualClock, sight: Sight) -> None:
    """A controller that runs for a year remembers no more of them than it needs."""
    for _ in range(1000):
        sight.lost("rollouts")
        clock.advance(1)
        sight.found("rollouts")
        clock.advance(1)
    assert seconds(sight) == 1000
    sight.lost("rollouts", START)  # everything since the episodes that are remembered
    assert 1000 <= seconds(sight) <= 1000 + 65
    sight.found("rollouts")
    assert 1000 <= seconds(sight) <= 1000 + 65
