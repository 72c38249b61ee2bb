"""A test that measures time fails when it does so three times; every other one at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
import measuring


def pytest_configure(config):
    for name in measuring.MARKERS:
        config.addinivalue_line("markers", f"{name}(why): measures time")
    config.pluginmanager.register(measuring)
"""
TEST = """
from pathlib import Path

import pytest


{mark}
def test_it():
    runs = Path("runs")
    runs.write_text((runs.read_text() if runs.exists() else "") + "x")
    {fails}
"""
SLOW = "assert len(runs.read_text()) > {times}"
BROKEN = "raise OSError"


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["one process", "workers"])
@pytest.mark.parametrize(
    ("mark", "fails", "runs", "said"),
    [
        ("@pytest.mark.alone('why')", SLOW.format(times=0), 1, "1 passed"),
        ("@pytest.mark.alone('why')", SLOW.format(times=1), 2, "1 passed, 1 rerun"),
        ("@pytest.mark.cpu_time('why')", SLOW.format(times=2), 3, "1 passed, 2 rerun"),
        ("@pytest.mark.cpu_time('why')", SLOW.format(times=3), 3, "1 failed, 2 rerun"),
        ("@pytest.mark.cpu_time('why')", BROKEN, 1, "1 failed"),
        ("", SLOW.format(times=1), 1, "1 failed"),
    ],
)
def test_what_took_too_long_is_measured_again(
    tmp_path: Path, workers: tuple[str, ...], mark: str, fails: str, runs: int, said: str
) -> None:
    """Twice at most, and the summary says how often."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(TEST.format(mark=mark, fails=fails))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_rerunfailures", "-p", "no:warnings", *workers],
        cwd=tmp_path,
        env=clean | {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "runs").read_text() == "x" * runs
