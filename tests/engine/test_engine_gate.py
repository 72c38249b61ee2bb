"""A step whose gate is a window is left within its hours only; nothing that takes traffic away asks for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import START, World, begun, spec_of

from canary.decide.gates import LOOK_AGAIN
from canary.model.status import Phase

OFFICE = {"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "09:00", "to": "17:00", "timezone": "Europe/Berlin"}
"""The world begins on a Sunday at noon."""


def world(**more: Any) -> World:
    steps = [{"weight": 10, "hold": "10s", "gate": {"window": OFFICE}}, {"weight": 50, "hold": "10s"}]
    return begun(spec=spec_of(checks=None, steps=steps), **more)


def test_a_run_stays_where_it_is_until_the_window_opens() -> None:
    """It says when that is, and goes on then by itself."""
    made = world()
    made.wait(60)
    assert made.decision is not None
    assert made.decision.reason == "GateClosed"
    assert made.decision.message == (
        "outside of its window (Mon-Fri 09:00-17:00 Europe/Berlin), which opens Mon 2026-03-02 09:00 CET; held at 10 % (step 1/2)"
    )
    until = timedelta(hours=20)  # 9:00 in Berlin is 8:00 UTC
    made.wait((START + until - made.now).total_seconds() - 1)
    assert made.share() == 10
    made.wait(1)
    assert made.share() == 50


def test_waiting_costs_one_write_of_the_status() -> None:
    """However long it lasts."""
    made = world()
    made.wait(60)
    wrote, told = len(made.wrote), len(made.told)
    made.wait(3600 * 12)
    assert (len(made.wrote), len(made.told)) == (wrote, told)
    assert "opens Mon 2026-03-02 09:00 CET" in made.status.message


@pytest.mark.parametrize("how", ["abort", "check", "deadline"])
def test_taking_traffic_away_waits_for_no_window(how: str) -> None:
    """In the middle of the night, too."""
    steps = [{"weight": 10, "gate": {"window": OFFICE}}, {"weight": 50}]
    made = begun(spec=spec_of(steps=steps, deadline="5m"))
    made.measure(0.0)
    made.wait(20)
    assert made.share() == 10
    if how == "abort":
        made.ask("abort", id_="a1")
    elif how == "check":
        made.measure(0.5)
    made.wait(300 if how == "deadline" else 0)
    assert (made.share(), made.phase) == (0, Phase.ROLLED_BACK)


def test_a_controllers_own_clock_opens_no_window() -> None:
    """The time of day is the API server's: one that is set forward here changes nothing, and one that is right there does."""
    made = world()
    made.wait(60)
    made.now += timedelta(days=1)
    made.wall = -timedelta(days=1)
    made.run()
    assert made.share() == 10
    made.wall = timedelta(0)
    made.wait(1)
    assert made.share() == 50


def test_a_clock_that_is_set_while_a_run_waits_is_noticed() -> None:
    """The window is looked at again every few minutes, whenever it was to open."""
    made = world()
    made.wait(60)
    assert made.decision is not None
    assert made.decision.wake_at is not None
    assert made.decision.wake_at <= made.now + LOOK_AGAIN
    made.wall = timedelta(hours=21)
    made.wait(LOOK_AGAIN.total_seconds())
    assert made.share() == 50


def test_a_step_of_a_gate_alone_waits_before_the_next_one() -> None:
    """And in its hours nobody notices it."""
    steps = [{"weight": 10}, {"gate": {"window": OFFICE}}, {"weight": 50}]
    made = begun(spec=spec_of(checks=None, steps=steps))
    made.wait(60)
    assert (made.share(), made.status.step.index if made.status.step else 0) == (10, 2)
    early = World(spec_of(checks=None, steps=steps), now=START + timedelta(hours=21))
    early.run()
    early.revise("b")
    early.wait(5)
    assert early.share() == 50


def test_promote_full_skips_the_gate_and_says_so() -> None:
    """`promote` does not: it says what is waited for, and what skips it."""
    made = world()
    made.wait(60)
    made.ask("promote", id_="p1")
    made.run()
    assert made.status.last_request is not None
    assert "outside of its window" in made.status.last_request.message
    assert "`promote --full` skips the rest" in made.status.last_request.message
    assert made.share() == 10
    made.ask("promote-full", id_="p2")
    made.wait(1)
    assert made.share() == 50
    assert made.status.last_request.message.startswith("the remaining holds, gates and approvals are skipped")


def test_nobody_is_asked_to_approve_outside_of_the_window() -> None:
    """First the hours, then the person."""
    steps = [{"weight": 10, "gate": {"window": OFFICE}, "approval": {}}, {"weight": 50}]
    made = begun(spec=spec_of(checks=None, steps=steps))
    made.wait(60)
    assert made.phase is Phase.PROGRESSING
    made.wait(3600 * 21)
    assert made.phase is Phase.PAUSED
    assert made.status.paused is not None
    assert made.status.paused.reason == "AwaitingApproval"
    made.ask("promote", id_="p1")
    made.wait(1)
    assert made.share() == 50
