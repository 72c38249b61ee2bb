"""The benchmark itself, at a size that says nothing about cost: it runs through, and its figures make sense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.figures import COMPARED, GOALS, distribution, median, table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one small run: everything that a large one does, with measurements every second."""
    path = tmp_path_factory.mktemp("bench") / "figures.json"
    command = [sys.executable, "-m", "bench", "8:4", "--interval", "1", "--window", "1.5"]
    done = subprocess.run([*command, "--output", str(path)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == json.loads(path.read_text())
    return path


def test_a_run_measures_what_it_is_about(run: Path) -> None:
    """Requests are the promised ones, one run fails by itself and the rest together, and runs go on after each stop."""
    result: dict[str, Any] = json.loads(run.read_text())["results"][0]
    assert (result["declared"], result["active"]) == (8, 4)
    assert result["idle_requests_per_minute"] == 0
    assert result["active_requests_per_minute"] == 0
    assert result["requests_per_step"]["patch httproutes"] == 1
    assert result["requests_per_step"]["patch rollouts/status"] <= 2
    assert set(result["requests_per_step"]) <= {"patch httproutes", "patch rollouts/status", "create events"}
    assert (result["failures"]["count"], result["mass_failure"]["count"]) == (1, 3)
    for name in ("failures", "mass_failure"):
        assert 0 < result[name]["sent_ms"]["50"] <= result[name]["sent_ms"]["100"]
        assert result[name]["written_ms"]["100"] > 0
    assert 0 < result["start_first_decision_seconds"] <= result["start_all_decisions_seconds"]
    assert 0 < result["stopped_goes_on_seconds"] < result["killed_goes_on_seconds"] < 10
    assert result["stop_seconds"] > 0
    assert result["lease_requests_per_minute"] <= 120  # one or two, in a second and a half
    assert 0 < result["idle_mib"] <= result["peak_mib"]
    assert result["measurements_per_second"] > 1


def test_a_run_with_comparisons_stands_beside_it(run: Path) -> None:
    """The counters grow, so looks are judged and cost something; who gets worse than stable is rolled back, and who holds asks nothing."""
    result: dict[str, Any] = json.loads(run.read_text())["results"][0]["compare"]
    assert (result["declared"], result["active"]) == (8, 4)
    assert (
        result["active_requests_per_minute"] <= 240
    )  # a state is put on record by number, and four runs have one each
    assert 2 < result["looks_per_second"] < 8
    assert result["queries_per_second"] == pytest.approx(4 * result["looks_per_second"], rel=0.5)
    assert 0 < result["judging_ms"] < 50
    assert 100 < result["status_bytes"] < 4096
    assert (result["failures"]["count"], result["mass_failure"]["count"]) == (1, 3)
    for name in ("failures", "mass_failure"):
        assert 0 < result[name]["sent_ms"]["50"] <= result[name]["sent_ms"]["100"]


def test_the_figures_of_a_play_become_a_table_and_a_plot(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier run can be read again: a row per goal, and a drawing that is the same each time."""
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    for path in (first, second):
        main(["--read", str(run), "--table", "--plot", str(path)])
    goals = (*GOALS, *COMPARED)
    rows = capsys.readouterr().out.splitlines()[: len(goals) + 2]
    assert rows[0] == "| what | goal | 8 : 4 |"
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]] == [goal.what for goal in goals]
    assert first.read_text().startswith("<?xml")
    assert first.read_bytes() == second.read_bytes()


def test_the_documented_figures_are_those_of_a_play() -> None:
    """The table in docs/performance.md is the one of docs/performance.json."""
    document = json.loads((ROOT / "docs" / "performance.json").read_text())
    assert table(document) in (ROOT / "docs" / "performance.md").read_text()
    assert str(Path.home()) not in json.dumps(document)


def test_figures_of_before_there_were_comparisons_are_read_as_they_were() -> None:
    """A table of theirs has the rows that it had."""
    document = json.loads((ROOT / "docs" / "performance.json").read_text())
    for result in document["results"]:
        result.pop("compare", None)
    assert len(table(document).splitlines()) == len(GOALS) + 2


def test_percentiles_are_measured_values() -> None:
    """Nearest rank: of two hundred values, the 99th percentile is the second largest but one."""
    values = distribution([float(number) for number in range(200)])
    assert (values["0"], values["50"], values["99"], values["100"]) == (0, 100, 198, 199)
    assert distribution([7.0])["99"] == 7


def test_a_median_is_taken_of_every_number() -> None:
    """Of several runs each figure is the median of its own; what is no number is that of the first."""
    runs = [
        {"a": 1, "b": {"c": 5.0}, "d": "x"},
        {"a": 9, "b": {"c": 1.0}, "d": "y"},
        {"a": 2, "b": {"c": 3.0}, "d": "z"},
    ]
    assert median(runs) == {"a": 2, "b": {"c": 3.0}, "d": "x"}
