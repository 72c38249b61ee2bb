"""Checks replayed: which runs would have failed, when, and what is made of gaps."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rehearse_kit import COMPARE, LIMIT, checks_of, spec_of, steps

from canary.checks.judges.counters import Side
from canary.model.measurement import Measurement, NoData, Sample
from canary.rehearse.backtest import Grid, Replayed, a_week, comparison, limits, starts, together, with_share
from canary.rehearse.draws import binomial
from canary.rehearse.timeline import timeline

Json = dict[str, Any]

SETTLE = 2.0
AT = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN = int(AT.timestamp())
RUN = 301
"""Seconds that a run of one step of five minutes takes."""


def measured(values: list[float | None]) -> list[Measurement]:
    return [NoData(AT) if value is None else Sample(value, AT, values=(value,)) for value in values]


def limited(values: list[float | None], check: Json = LIMIT, plan: list[Json] | None = None) -> Replayed:
    """A check with a limit of 1 over runs of five minutes; there is a value for each ten seconds."""
    spec = spec_of(plan or steps(10), check)
    (resolved,) = checks_of(spec)
    times = timeline(spec, [resolved], SETTLE)
    end = BEGIN + 10 * (len(values) - 1)
    grid = Grid.of(resolved, BEGIN, end)
    assert grid.count == len(values)
    return limits(resolved, times, grid, measured(values), starts(times, BEGIN, end))


def fine(count: int = 62) -> list[float | None]:
    """Two runs at which nothing is wrong."""
    return [0.5] * count


def test_runs_follow_one_another_and_each_fails_by_itself() -> None:
    """One bad value fails the run that it is in, at its time, with what the check would have said."""
    values = fine()
    values[40] = 7.0
    found = limited(values)
    assert [one.at for one in found.outcomes] == [None, 400 - RUN]
    assert "7 is above 1" in found.outcomes[1].why
    assert (found.share, found.within(0.5), found.within(0.95)) == (0.5, 400 - RUN, None)


def test_tolerated_failures_are_tolerated_in_a_row() -> None:
    """With a limit of one, two in a row fail, and two apart do not."""
    twice: Json = {**LIMIT, "failureLimit": 1}
    apart, row = fine(), fine()
    apart[10] = apart[12] = row[10] = row[11] = 7.0
    assert limited(apart, twice).caught == ()
    assert limited(row, twice).caught == (110,)


def test_failures_of_the_last_measurements_are_counted_as_in_a_run() -> None:
    """Two of three, in a row or not."""
    values = fine()
    values[10] = values[12] = values[50] = 7.0
    assert limited(values, {**LIMIT, "failures": "2 of 3"}).caught == (120,)


def test_what_is_not_measured_in_a_run_is_not_judged() -> None:
    """Before data planes have settled, while the canary warms up, and while it has no traffic."""
    early = fine()
    early[0] = 7.0
    assert limited(early).caught == ()
    early[5] = 7.0
    assert limited(early, {**LIMIT, "initialDelay": "1m"}).caught == ()
    assert limited(early).caught == (50,)
    waiting = [{"approval": {}, "hold": "1m"}, *steps(10, hold="4m")]
    assert limited(early, plan=waiting).caught == ()


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({}, (None, True)),
        ({"onNoData": "Pass"}, (None, False)),
        ({"onNoData": "Fail"}, (10, False)),
        ({"holdLimit": "1m"}, (70, False)),
        ({"holdLimit": "1m", "dryRun": True}, (None, False)),
    ],
)
def test_gaps_are_what_the_policy_says(more: Json, outcome: tuple[float | None, bool]) -> None:
    """No data holds, passes or fails, and a hold that lasts too long is a failure; a dry run does nothing."""
    (found,) = limited([None] * 32, {**LIMIT, **more}).outcomes
    assert (found.at, found.held) == outcome
    assert not found.seen


def test_conditions_are_evaluated() -> None:
    """As in a run."""
    condition: Json = {name: value for name, value in LIMIT.items() if name != "threshold"} | {
        "condition": "value < 1.0"
    }
    values = fine()
    values[20] = 1.5
    assert limited(values, condition).caught == (200,)


def sides(count: int, *, failing: float = 0.01, requests: int = 600, seed: int = 5) -> list[Side | None]:
    """What one pod of stable counted in each ten seconds; the first instant has nothing before it."""
    random = Random(seed)
    found: list[Side | None] = [None]
    for _ in range(count - 1):
        failed = float(binomial(random, requests, failing))
        found.append(Side(float(requests), failed, {"job/a": (float(requests), failed)}))
    return found


def compared(
    counted: list[Side | None], worse: float, plan: list[Json] | None = None, share: float | None = None
) -> Replayed:
    spec = spec_of(plan or steps(10), COMPARE)
    (resolved,) = checks_of(spec)
    times = timeline(spec, [resolved], SETTLE)
    times = times if share is None else with_share(times, share)
    end = BEGIN + 10 * (len(counted) - 1)
    told: list[int] = []
    begins = starts(times, BEGIN, end)
    found = comparison(
        resolved, resolved.judge, times, Grid.of(resolved, BEGIN, end), counted, begins, worse, told.append
    )
    assert told == [*range(1, len(begins) + 1)]
    return found


HOURS = 6 * 360


def test_a_canary_that_is_stable_is_failed_no_more_often_than_alpha() -> None:
    """Over six hours, replayed 200 times and more; alpha is 5 %."""
    found = compared(sides(HOURS), 1.0)
    assert len(found.outcomes) >= 200
    assert found.share <= 0.05


def test_bursts_of_stable_s_own_are_no_alarm() -> None:
    """Half of everything fails for a while: the canary that is stable failed alike."""
    counted = sides(HOURS)
    counted[400:500] = sides(101, failing=0.5)[1:]
    assert compared(counted, 1.0).share <= 0.05


def test_a_worse_one_is_found_and_a_much_worse_one_at_once() -> None:
    """Ten times the errors at the first look or so: the counters settle for 23 s, and the grid has ten seconds."""
    ten, thrice = compared(sides(HOURS), 10.0), compared(sides(HOURS), 3.0)
    assert ten.share == 1
    half = ten.within(0.5)
    assert half is not None
    assert half <= 60
    later = thrice.within(0.5)
    assert later is not None
    assert half < later < RUN


def test_a_larger_share_finds_it_sooner() -> None:
    """`--share` is what the canary gets instead."""
    small, large = (compared(sides(HOURS), 3.0, share=share).within(0.5) for share in (0.05, 0.5))
    assert large is not None
    assert small is None or large < small


def test_where_nothing_was_counted_nothing_is_said() -> None:
    """A gap is no look; a history of gaps fails and finds nobody."""
    found = compared([None] * HOURS, 10.0)
    assert found.caught == ()
    assert not any(one.seen for one in found.outcomes)


def test_a_mirror_and_what_follows_are_judged_apart() -> None:
    """Copies show a bad canary before any user is served; at 100 % nothing is compared."""
    plan = [{"mirror": {"percent": 20}, "hold": "5m"}, *steps(10, 100)]
    found = compared(sides(HOURS), 10.0, plan)
    assert found.share == 1
    latest = found.within(1.0)
    assert latest is not None
    assert latest < 300


@given(st.integers(1, 60), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_a_grid_has_the_instants_of_a_time(step: int, length: int, since: int, until: int) -> None:
    """Those inside, both ends included, and none beyond what was read."""
    grid = Grid(BEGIN, step, length // step + 1)
    inside = [index for index in range(grid.count) if BEGIN + since <= BEGIN + index * step <= BEGIN + until]
    assert list(grid.between(BEGIN + since, BEGIN + until)) == inside


def test_all_checks_together_fail_a_run_once() -> None:
    """Alarms of two checks in one run are one; those of a dry run, and worse canaries, are none."""
    first, second = fine(), fine()
    first[10] = second[12] = second[40] = 7.0
    dry = limited([7.0] * 62, {**LIMIT, "dryRun": True})
    healthy, worse = compared(sides(62), 1.0), compared(sides(62), 10.0)
    assert together([limited(first), limited(second), dry, worse], 2) == 1
    assert together([limited(first), dry, worse], 2) == 0.5
    assert together([dry, worse], 2) == 0
    assert together([healthy, worse], 2) == healthy.share
    assert together([limited(first), healthy], 2) >= 0.5
    spec = spec_of(steps(10), LIMIT)
    assert a_week(1, 2, timeline(spec, checks_of(spec), SETTLE)) == pytest.approx(7 * 86_400 / (2 * RUN))
