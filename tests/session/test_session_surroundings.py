"""Tests see the same whoever starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from surroundings import LOOKS, OF_TESTS, WHERE, forget

ROOT = Path(__file__).parents[2]
MEANT = {**dict.fromkeys([*LOOKS, *WHERE], "7"), "CANARY_LEASE": "theirs", "CANARY_DEBUG": "1"}
KEPT = {"PATH": os.environ["PATH"], **dict.fromkeys(OF_TESTS, "kept")}


def test_nothing_of_a_terminal_a_cluster_or_settings_is_left() -> None:
    """What the process has that runs this, which is what each of its children gets."""
    assert not {name for name in os.environ if name in MEANT}


def test_what_programs_the_tests_run_on_is_theirs_to_say() -> None:
    environment = {**MEANT, **KEPT}
    forget(environment)
    assert environment == KEPT


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_session_forgets_it_before_anything_runs(workers: str) -> None:
    """And so do its workers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    test = f"{Path(__file__).relative_to(ROOT)}::test_nothing_of_a_terminal_a_cluster_or_settings_is_left"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers, test],
        cwd=ROOT,
        env={**inherited, **MEANT},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
