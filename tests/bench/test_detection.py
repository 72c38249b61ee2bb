"""The report of how long a bad canary keeps its share: what it says of its trials. The trials themselves take minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.detection.report import markdown, merged, middle
from bench.detection.trials import CASES, Setting, measured
from canary.model.rollout import RolloutSpec

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


def row(*gone: float | None, scrape: int = 1, case: str = "in the step", stable: int = 1) -> Json:
    trials = [None if one is None else {"seen": one / 4, "proved": one / 2, "gone": one} for one in gone]
    setting = {"stable_percent": stable, "weight": 50, "requests_per_second": 100.0, "lag_seconds": scrape + 1}
    return {**setting, "scrape_seconds": scrape, "case": case, "trials": trials}


@pytest.mark.e2e
async def test_a_trial_of_each_case_on_a_real_envoy_and_a_real_prometheus() -> None:
    """A canary that fails half of its requests is found in both, and what was waited for comes in its order."""
    rows = await measured(Setting(1, 5, 50, 100), CASES, 1)
    assert [one["case"] for one in rows] == list(CASES)
    (start,), (step,) = (one["trials"] for one in rows)
    assert start is not None
    assert step is not None
    for trial in (start, step):
        assert 0 < trial["seen"] <= trial["proved"] <= trial["gone"]
    assert start["seen"] > 4  # settle time and lag
    assert step["seen"] < start["seen"]  # when that is proof is chance


def test_new_trials_replace_those_of_the_same_setting_and_no_others() -> None:
    """So that one interval at a time may be measured."""
    before = [row(1.0), row(9.0, scrape=15), row(3.0, stable=5)]
    after = merged(before, [row(2.0), row(7.0, scrape=5)])
    found = {(one["stable_percent"], one["scrape_seconds"]): one["trials"][0]["gone"] for one in after}
    assert found == {(1, 1): 2.0, (1, 5): 7.0, (1, 15): 9.0, (5, 1): 3.0}
    assert [one["scrape_seconds"] for one in after] == [1, 5, 15, 1]


@pytest.mark.parametrize(
    ("trials", "cells"),
    [
        ((1.0, 2.0, 9.0), "3 | 0.5 s | 1.0 s | 2.0 s | 9.0 s |"),
        ((1.0, None, 2.0), "3 | 0.5 s | 1.0 s | 2.0 s | never |"),
        ((None, None, 2.0), "3 | never | never | never | never |"),
    ],
)
def test_who_was_not_found_counts(trials: tuple[float | None, ...], cells: str) -> None:
    """As the longest, and the worst."""
    line = next(line for line in markdown({"results": [row(*trials)]}).splitlines() if line.startswith("| 1 %"))
    assert line.endswith(cells)


def test_the_goal_is_counted_where_it_holds() -> None:
    """A median of two seconds, where counters are scraped every second."""
    rows = [
        row(1.0, 1.9, 5.0),
        row(1.0, 2.1, 5.0, case="from the start"),
        row(1.0, scrape=5),
        row(None, None, 1.0, stable=5),
    ]
    assert "is met in 1 of 3 rows" in markdown({"results": rows})
    assert middle(rows[0], "gone") == 1.9


def test_what_was_drawn_stands_beside_what_was_tried() -> None:
    """A row each, with the limit; the goal counts where counters are scraped every second, and says by how much it is missed."""
    drawn = [
        {**row(scrape=scrape, case=case), "trials": 400, "seed": 3, "seen": 0.5, "gone": gone, "p95": 9.0, "limit": 0.6}
        for scrape, case, gone in ((1, "in the step", 2.6), (1, "from the start", 1.9), (30, "in the step", 50.0))
    ]
    text = markdown({"results": [row(1.0)], "simulated": drawn})
    assert "| 1 % | 50 % | 100 | in the step | 30 s | 400 | 0.5 s | 50.0 s | 9.0 s | 0.6 s |" in text
    assert (
        "is met in 1 of 1 rows in real time and in 1 of 2 drawn ones; it is missed at 1 %, in the step, by 0.6 s."
        in text
    )
    assert "On a clock" not in markdown({"results": [row(1.0)]})


@pytest.mark.parametrize("scrape", [1, 5, 15, 30])
def test_what_is_tried_is_the_default_but_for_its_lag(scrape: int) -> None:
    """Interval and alpha are those of who declares none."""
    spec = RolloutSpec.model_validate(Setting(scrape, 1, 50, 100).rollout()["spec"])
    (check,) = spec.checks
    assert check.compare is not None
    assert check.compare.lag.seconds == scrape + 1
    assert (check.interval, check.compare.alpha, spec.alpha) == (None, None, RolloutSpec.model_fields["alpha"].default)


def test_the_documented_trials_are_those_on_record() -> None:
    """detection.md is printed from detection.json, and has both cases."""
    folder = ROOT / "docs" / "judgement"
    document = json.loads((folder / "detection.json").read_text())
    assert markdown(document) == (folder / "detection.md").read_text()
    assert {one["case"] for one in document["results"]} == set(CASES)
    assert str(Path.home()) not in json.dumps(document)
