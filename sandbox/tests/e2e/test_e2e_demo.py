"""The demo, run as a newcomer runs it: the whole story on real Envoy, real Prometheus and real HTTP."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(360),
    pytest.mark.sandbox_only("the demo is a program that starts a sandbox of its own"),
]


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "canary", "demo", "--plain", "--no-color"]
    return subprocess.run(command, capture_output=True, text=True, timeout=330, check=False)


def test_the_story_is_true(demo: subprocess.CompletedProcess[str]) -> None:
    """The exit status says that reality was as told: one promoted, two rolled back, nothing served after weight 0."""
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "The story is true" in demo.stdout
    assert demo.stderr == ""


@pytest.mark.parametrize("weight", [10, 50, 100])
def test_counted_splits_are_the_weights(demo: subprocess.CompletedProcess[str], weight: int) -> None:
    """Each step of the good release got its share within 5 points, by the load generator's count."""
    found = re.search(rf"v2 at {weight} %\s*│\s*(\d+)\s*│\s*{weight} %\s*│\s*([\d.]+) %", demo.stdout)
    assert found, demo.stdout
    assert int(found[1]) > 1000
    assert abs(float(found[2]) - weight) <= 5


def test_the_rollback_patch_follows_the_failing_sample_at_once(demo: subprocess.CompletedProcess[str]) -> None:
    """Inside the controller, sample returned to patch sent takes milliseconds: it is one tick."""
    found = re.search(r"of that inside the controller\s+([\d.]+) ms", demo.stdout)
    assert found, demo.stdout
    assert float(found[1]) < 250


def test_copies_are_counted_and_serve_nobody(demo: subprocess.CompletedProcess[str]) -> None:
    """Of a fifth of the requests, as the comparer counted them; of three versions, and none met a user by it."""
    rows = re.findall(r"(v\d) mirrored\s*│\s*(\d+)\s*│\s*20 % = (\d+)\s*│\s*(\d+)\s*│\s*(\d+)\s*│ ok", demo.stdout)
    assert [row[0] for row in rows] == ["v2", "v3", "v4"], demo.stdout
    assert [row[4] for row in rows] == ["0", "0", "0"]
    _, requests, asked, copies, _ = rows[0]
    assert int(requests) > 1000
    assert abs(int(copies) - int(asked)) <= int(requests) / 20


def test_wrong_prices_with_status_200_are_found_in_copies(demo: subprocess.CompletedProcess[str]) -> None:
    """The check of errors saw none, the comparison names the field, and the run ended at its first step, before any weight."""
    found = re.search(r"v3, all answers with status 200\s+0 % errors; wrong prices in 100 %", demo.stdout)
    assert found, demo.stdout
    said = re.findall(r"event +CheckFailed: step (\d)/4: check ([a-z-]+) failed: (.*)", demo.stdout)
    assert [(step, check) for step, check, _ in said] == [("1", "same-answers"), ("2", "error-rate")]
    assert said[0][2].startswith("`$.items[].price` differs in ")
    assert "no user was served by it" in said[0][2]


def test_users_of_the_good_release_saw_no_error(demo: subprocess.CompletedProcess[str]) -> None:
    """Not one request failed while the good version went from 10 to 100 % and was promoted."""
    assert "(0 during the good release)" in demo.stdout
