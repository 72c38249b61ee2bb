"""Trials on a clock that costs no time: the controller's looks and its judge, and what nobody can be faster than."""

from __future__ import annotations

import asyncio

import pytest
from numpy.random import default_rng

from bench.detection.simulated import ACCEPTED, SETTLE, simulated, told, trial
from bench.detection.trials import CASES, Setting


@pytest.mark.parametrize("scrape", [1, 5, 15, 30])
def test_trials_take_no_time_and_say_what_is_waited_for(scrape: int) -> None:
    """Never sooner than what is told to somebody who knows it all, nor than settle time and `lag` if it is bad from the start."""
    start, step = simulated(Setting(scrape, 5, 50, 100), 12, 7)
    assert (start["case"], step["case"]) == CASES
    for row in (start, step):
        assert row["limit"] < row["gone"] <= row["p95"]
        assert row["seen"] <= row["gone"]
    assert start["seen"] > ACCEPTED + SETTLE + scrape + 1
    assert step["gone"] < start["gone"]


def test_a_seed_gives_the_same_again() -> None:
    """So a table can be printed anew."""
    setting = Setting(1, 5, 50, 100)
    assert simulated(setting, 5, 3) == simulated(setting, 5, 3) != simulated(setting, 5, 4)


def test_a_canary_that_is_never_found_is_none() -> None:
    """With a request a second of which one in a hundred fails, ten times as many prove nothing in the time that is waited."""
    found = asyncio.run(trial(Setting(30, 1, 1, 1), "from the start", default_rng(2)))
    assert found is None


def test_who_is_told_the_rates_needs_so_many_failures() -> None:
    """At ten times the rate each failure multiplies the evidence by ten, so a second failure is proof, scraped or not."""
    random = default_rng(9)
    often = sorted(told(Setting(1, 1, 50, 100), random) for _ in range(200))
    assert 0 < often[0] < often[100] < 2
    assert sorted(told(Setting(30, 1, 50, 100), random) for _ in range(200))[100] == pytest.approx(15, abs=4)
