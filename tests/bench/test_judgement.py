from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.judgement import methods
from bench.judgement.markdown import markdown
from bench.judgement.plot import draw
from bench.judgement.report import document, everything, judged, lines, run, wilson
from bench.judgement.scenarios import CONTRASTS, HEALTHY_ONES, SCENARIOS
from bench.judgement.sieve import worth
from bench.judgement.traffic import Errors, always, part
from bench.judgement.tuning import SEEDS, TUNING
from bench.judgement.unseen import least
from canary.checks.judges.compare import Compare, Look

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


def test_what_was_tuned_on_is_marked():
    """A scenario of the report is marked exactly if the settings of the judges were chosen on its parameters."""
    chosen = {repr(one.draw) for one in TUNING}
    assert {one.name for one in SCENARIOS if one.tuned} == {one.name for one in SCENARIOS if repr(one.draw) in chosen}
    assert sum(one.tuned for one in HEALTHY_ONES) * 4 < len(HEALTHY_ONES)


@pytest.mark.parametrize("scenario", TUNING, ids=lambda scenario: scenario.name)
def test_every_scenario_for_choosing_runs(scenario):
    """What the settings were chosen on can be drawn again."""
    assert len(run(scenario, 1, 1)) == len(scenario.methods)


def test_report(tmp_path):
    """The report has a row for each result, the bars of ours, and two figures; its document is read back from its text."""
    results = [one for name in DRAWN for one in run(BY_NAME[name], 5, 7)]
    found = document(results, 5, 7)
    text = markdown(found)
    for one in results:
        mark = " \\*" if one["method"] == "compare" else ""
        assert f"| {one['scenario']}{mark} | {one['method']} |" in text
    assert "seed 7" in text
    draw(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"alarms.svg", "caught.svg"}
    for path in tmp_path.iterdir():
        ET.parse(path)
    assert json.loads("\n".join(lines(found))) == found


def test_processes_change_nothing():
    """Drawn in other processes a scenario gives the same, in its order, and each is told when it is done."""
    chosen = [BY_NAME["healthy"], BY_NAME["10 times the errors"]]
    told = []
    found = everything(chosen, 3, 9, 2, told.append)
    assert found["results"] == [one for scenario in chosen for one in run(scenario, 3, 9)]
    assert [one.split(":")[0] for one in told] == ["1 of 2", "2 of 2"]


def test_every_healthy_scenario_counts():
    """The headline counts all healthy canaries, those that are failed too often by name; contrasts stand apart, with their reason."""
    results = [run(one, 1, 1)[0] for one in (*HEALTHY_ONES, *CONTRASTS)]
    for one in results:
        one["failed"] = [0.06, 0.04, 0.08]
        one["bars"] = dict.fromkeys(one["bars"], False)
    text = markdown(document(results, 1, 1))
    apart = {one["scenario"] for one in results if one.get("floor", 0) > methods.ALPHA}
    assert apart == {f"one canary pod, pods differ by {spread}, one series" for spread in (0.4, 0.6)}
    counted = len(HEALTHY_ONES) - len(apart)
    assert f"in 0 of {counted} healthy scenarios, and 2 that no judge can meet are counted apart" in text
    assert f"Bars met: 0 of {counted}, and 2 that no judge can meet are counted apart." in text
    for one in HEALTHY_ONES:
        said = "Cannot be met" if one.name in apart else "Not met"
        assert f"**{said}**: {one.name}: 6.0 % (4.0 to 8.0)" in text
    headline, apart = text.split("## Contrasts")
    for one in CONTRASTS:
        assert one.name in apart
        assert one.name not in headline


def test_what_is_committed_is_small():
    """The report, its document and its figures are below 150 KiB together, and of a seed that nothing was chosen on."""
    folder = Path(__file__).parents[2] / "docs" / "judgement"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 150 * 1024
    found = json.loads((folder / "report.json").read_text())
    assert found["seed"] >= SEEDS
    assert found["runs"] >= 2000
    assert {one["scenario"] for one in found["results"]} == set(BY_NAME)
    assert (folder / "report.md").read_text() == markdown(found)


def test_bad_canaries_fail_and_good_ones_do_not():
    """Ten times the errors fail at once; of thirty healthy canaries next to none does, where a count of bad looks fails most."""
    (bad, *_) = run(BY_NAME["10 times the errors"], 30, 3)
    assert bad["failed"][0] == 1
    assert bad["median"] <= 2
    ours, *others = run(BY_NAME["healthy"], 30, 3)
    assert ours["failed"][0] <= 0.1
    assert max(one["failed"][0] for one in others) > 0.7


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


@pytest.mark.parametrize(
    "draw",
    [
        Errors(),
        Errors(always(1.5)),
        Errors(always(3.0), share=part(0.5)),
        Errors(noise=0.5, requests=3000),
        Errors(counted=(1, 1, 1, 5)),
        Errors(pods=9, spread=0.6),
        Errors(always(4.0), requests=1, base=0.2, looks=400),
        Errors(always(4.0), requests=2, base=0.2, share=part(0.02), looks=400),
    ],
    ids=["healthy", "1.5 times", "3 times, half", "noise", "clusters", "pods", "one request", "two, few of the canary"],
)
def test_what_is_not_judged_is_what_the_judge_would_not_say(draw):
    """Runs that are left out end as the judge says of them: neither failed nor held back."""
    from numpy.random import default_rng

    random = default_rng(11)
    runs = [list(draw(random)) for _ in range(40)]
    ends = [methods.compare(looks) for looks in runs]
    assert list(judged(methods.compare, runs)) == ends


def test_hardly_a_healthy_run_is_judged():
    """That is what the sieve is for."""
    from numpy.random import default_rng

    random = default_rng(12)
    assert sum(worth(Compare(methods.ALPHA), [list(Errors()(random)) for _ in range(60)])) < 10


def test_a_run_without_looks_is_not_worth_judging():
    """Nor is one at which nothing fails, or that has one side only; the longest run says how long the table is."""
    quiet = [Look(10, 90, 0, 0)] * 50
    bad = [Look(100, 900, 60, 9)] * 2
    assert worth(Compare(methods.ALPHA), [[], quiet, bad, [Look(10, 0, 10, 0)] * 40]) == [False, False, True, False]


def test_what_no_judge_can_tell_apart():
    """The more pods differ, the more healthy canaries are failed with the bad ones, and the more, the more bad ones are to be caught."""
    assert least(0.001) < 0.001
    assert least(0.2) < methods.ALPHA < least(0.4)
    assert least(0.4, caught=0.5) < least(0.4, caught=0.9) < least(0.4, caught=0.99)
    assert least(0.4, ratio=4.0) < least(0.4, ratio=2.0)


def test_no_judge_of_ours_is_below_that():
    """Else either is wrong."""
    ours, *_ = run(BY_NAME["one canary pod, pods differ by 0.6, one series"], 400, 5)
    assert ours["failed"][2] > ours["floor"]
