from __future__ import annotations

import pytest

from bench.judgement import methods
from bench.judgement.plot import draw
from bench.judgement.report import document, markdown, run, wilson
from bench.judgement.scenarios import SCENARIOS
from bench.judgement.traffic import Errors, always

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
DRAWN = (
    "healthy",
    "2 times the errors",
    "3 times the errors",
    "10 times the errors",
    "2 times the errors from look 20",
)


def test_names_are_one_each():
    """Each scenario has its own name, since its seed comes from it."""
    assert len(BY_NAME) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_runs(scenario):
    """Each draws looks that its judges take, and the same seed gives the same."""
    once, again = (run(scenario, 2, 1) for _ in range(2))
    assert once == again
    assert [one["method"] for one in once] == list(scenario.methods)


def test_report(tmp_path):
    """The report has a row for each result, the bars of ours, and two figures."""
    results = [one for name in DRAWN for one in run(BY_NAME[name], 5, 7)]
    found = document(results, 5, 7)
    text = markdown(found)
    assert all(f"| {one['scenario']} | {one['method']} |" in text for one in results)
    assert "Bars met" in text
    draw(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"alarms.svg", "caught.svg"}


def test_a_bar_that_is_not_met_is_told():
    """A bar is about what came out: one that asks too much shows as not met."""
    scenario = BY_NAME["2 times the errors"]
    (found, *_) = run(scenario, 5, 7)
    found["bars"] = [{"bar": "caught >= 101%", "met": False}]
    assert "**Not met**: 2 times the errors: caught >= 101%." in markdown(document([found], 5, 7))


def test_bad_canaries_fail_and_good_ones_do_not():
    """Ten times the errors fail at once; of thirty healthy canaries next to none does, where a count of bad looks fails most."""
    (bad, *_) = run(BY_NAME["10 times the errors"], 30, 3)
    assert bad["failed"] == 1
    assert bad["median"] <= 2
    ours, *others = run(BY_NAME["healthy"], 30, 3)
    assert ours["failed"] <= 0.1
    assert max(one["failed"] for one in others) > 0.7


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"), [(0, 100, 0.0, 0.037), (5, 100, 0.0215, 0.1118), (100, 100, 0.963, 1.0)]
)
def test_wilson(hits, runs, low, high):
    """The interval of the textbook."""
    assert wilson(hits, runs) == pytest.approx((low, high), abs=0.001)


def test_limits_are_faster():
    """Who knows the rates is faster than who has to learn them: the limit is one."""
    from numpy.random import default_rng

    random = default_rng(4)
    runs = [list(Errors(always(3.0))(random)) for _ in range(40)]
    ours = sum(methods.compare(looks).failed or 60 for looks in runs)
    assert sum(methods.wald(looks, 3.0).failed or 60 for looks in runs) < ours
