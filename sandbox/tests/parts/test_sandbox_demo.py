"""What the demo shows and what it holds against reality, without a cluster."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from canary.model.status import RolloutStatus
from canary_sandbox.demo.report import Catch
from canary_sandbox.demo.screen import LiveScreen

FOUND = "check same-answers failed: `$.items[].price` differs in 100 % of answers (noise 0 %)"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 20)])
def test_the_picture_fits_the_terminal_and_ends_with_what_was_last(size: tuple[int, int]) -> None:
    """However long the sentences are: the act stays, and of the Events the last are there."""
    width, height = size
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    screen = LiveScreen(console)
    screen.say("act two: somebody deploys something")
    for number in range(20):
        screen.event({"type": "Warning", "reason": f"Event{number}", "message": "said at length " * (number % 12)})
    lines = ["".join(part.text for part in line) for line in console.render_lines(screen._picture())]
    assert len(lines) <= height
    assert "act two:" in lines[1]
    assert any("Event19" in line for line in lines)
    assert not any("Event0 " in line for line in lines)


def caught(why: str = FOUND, **values: float | None) -> Catch:
    checks = [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]
    status: dict[str, Any] = {
        "checks": checks,
        "run": {"number": 2, "startedAt": "2026-05-01T10:00:00Z", "message": why},
    }
    return Catch.of("v3", RolloutStatus.load(status))


@pytest.mark.parametrize(
    ("catch", "words"),
    [
        (caught(same_answers=1.0, error_rate=0.0), ""),
        (
            caught("check error-rate failed: 0.3 is above 0.01", same_answers=0.0, error_rate=0.3),
            "not its wrong prices",
        ),
        (caught("", error_rate=0.0), "but: nothing"),
        (caught(same_answers=1.0, error_rate=0.02), "saw 2 % where all answers have status 200"),
        (caught(same_answers=1.0), "saw nothing where"),
    ],
    ids=["as told", "by errors", "not at all", "errors besides", "errors never measured"],
)
def test_what_was_caught_otherwise_is_no_true_story(catch: Catch, words: str) -> None:
    """By its prices, and while the check of errors saw none."""
    faults = " / ".join(catch.faults())
    assert words in faults
    assert bool(faults) == bool(words)
