"""A step with a gate is left within its hours, or with another system's yes; nothing that takes traffic away asks for either."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


# -- another system -----------------------------------------------------------------------------------------------


def asking(hold: str = "10s", **gate: Any) -> World:
    """At a step whose gate asks another system every 30 s, unless it says otherwise; the hold is over."""
    gate = {"http": {"url": "https://deploys.example.com/may-i"}, **gate}
    steps = [{"weight": 10, "hold": hold, "gate": gate}, {"weight": 50, "hold": "10s"}]
    made = begun(spec=spec_of(checks=None, steps=steps))
    made.wait(60)
    return made


def reason(made: World) -> str:
    assert made.decision is not None
    return made.decision.reason


def test_a_run_stays_until_another_system_says_yes() -> None:
    """What it says meanwhile is shown; its yes is told."""
    made = asking()
    assert (made.share(), reason(made)) == (10, "Holding")
    assert made.decision is not None
    assert made.decision.message == "asking its gate, deploys.example.com; held at 10 % (step 1/2)"
    made.hear(False, "freeze until Monday")
    made.run()
    assert (made.share(), reason(made)) == (10, "GateClosed")
    assert made.status.message == (
        "waiting for its gate: deploys.example.com says no: freeze until Monday; held at 10 % (step 1/2)"
    )
    assert made.status.step is not None
    assert made.status.step.gate is not None
    assert (made.status.step.gate.answer, made.status.step.gate.message) == ("No", "freeze until Monday")
    made.wait(30)
    made.hear("Timeout", "no answer within 10 s")
    made.run()
    assert "deploys.example.com could not be asked (Timeout: no answer within 10 s)" in made.status.message
    made.wait(30)
    made.hear(True, "change 4711 is approved")
    made.run()
    assert made.share() == 50
    (told,) = [event.message for event in made.told if event.reason == "GateOpened"]
    assert told == "step 1/2: deploys.example.com says yes: change 4711 is approved"


def test_a_yes_of_before_the_wait_is_none() -> None:
    """Nor one that is older than an interval, nor what is on record of one."""
    made = begun(
        spec=spec_of(
            checks=None,
            steps=[{"weight": 10, "hold": "10s", "gate": {"http": {"url": "https://a.example.com/"}}}, {"weight": 50}],
        )
    )
    made.wait(5)
    made.hear(True)
    made.wait(60)
    assert (made.share(), reason(made)) == (10, "Holding")
    made.now += timedelta(seconds=1)
    made.hear(True)
    made.now += timedelta(seconds=31)
    made.run()
    assert (made.share(), reason(made)) == (10, "Holding")
    assert made.decision is not None
    assert "asking its gate, a.example.com, again" in made.decision.message
    made.hear(False)
    made.run()
    made.recorded["step"]["gate"] |= {"answer": "Yes", "askedAt": made.recorded["step"]["gate"]["since"]}
    made.crash()
    made.run()
    assert made.share() == 10


@pytest.mark.parametrize(
    ("declared", "phase"), [(None, Phase.ROLLED_BACK), ("Rollback", Phase.ROLLED_BACK), ("Pause", Phase.PAUSED)]
)
def test_a_gate_that_does_not_open_in_time(declared: str | None, phase: Phase) -> None:
    """The time begins when the step has held its own. By default all traffic goes back."""
    made = asking(hold="60s", timeout="5m", **({} if declared is None else {"onTimeout": declared}))
    made.hear(False, "not yet")
    made.wait(299)
    assert made.share() == 10
    made.wait(1)
    assert made.phase is phase
    assert made.share() == (10 if phase is Phase.PAUSED else 0)
    assert "the gate of step 1/2 did not open within 5m: deploys.example.com says no: not yet" in made.status.message
    if phase is Phase.PAUSED:
        made.ask("resume", id_="r1")
        made.wait(70)
        made.hear(True)
        made.run()
        assert made.share() == 50


def test_a_restart_gives_a_gate_no_more_time() -> None:
    """Whoever takes over asks once more, and then the time is over that began before."""
    made = asking(hold="10s", timeout="5m")
    made.hear(False, "no")
    made.wait(200)
    made.crash()
    made.now += timedelta(seconds=200)
    made.run()
    assert made.share() == 10
    made.hear("Unreachable", "nobody there")
    made.run()
    assert (made.share(), made.phase) == (0, Phase.ROLLED_BACK)


def test_a_controller_that_dies_before_it_hears_anything() -> None:
    """Then nothing of the gate is on record, and its time began with the end of the hold all the same."""
    made = asking(hold="10s", timeout="5m")
    assert "gate" not in made.recorded["step"]
    made.crash()
    made.now += timedelta(seconds=300)
    made.run()
    assert made.share() == 10
    made.hear(False, "no")
    made.run()
    assert made.phase is Phase.ROLLED_BACK


def test_a_forged_time_changes_nothing_but_itself() -> None:
    """A wait that begins tomorrow begins now."""
    made = asking(hold="10s", timeout="5m")
    made.recorded["step"]["gate"] = {"since": "2999-01-01T00:00:00Z"}
    made.crash()
    made.run()
    made.hear(False, "no")
    made.wait(301)
    assert made.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("how", ["abort", "check", "deadline"])
def test_taking_traffic_away_waits_for_no_yes(how: str) -> None:
    """Whatever the gate says, or does not."""
    gate = {"http": {"url": "https://deploys.example.com/may-i"}}
    made = begun(spec=spec_of(steps=[{"weight": 10, "gate": gate}, {"weight": 50}], deadline="5m"))
    made.measure(0.0)
    made.wait(20)
    assert made.share() == 10
    if how == "abort":
        made.ask("abort", id_="a1")
    elif how == "check":
        made.measure(0.5)
    made.wait(300 if how == "deadline" else 0)
    assert (made.share(), made.phase) == (0, Phase.ROLLED_BACK)


def test_promote_full_skips_another_system_and_says_so() -> None:
    """`promote` does not."""
    made = asking()
    made.hear(False, "no")
    made.ask("promote", id_="p1")
    made.run()
    assert made.status.last_request is not None
    assert "deploys.example.com says no: no" in made.status.last_request.message
    made.ask("promote-full", id_="p2")
    made.wait(1)
    assert made.share() == 50
    assert made.status.last_request.message.startswith("the remaining holds, gates and approvals are skipped")
    assert not [event for event in made.told if event.reason == "GateOpened"]


def test_after_an_approval_the_gate_is_asked_again() -> None:
    """While a person is waited for nobody asks it, and what it said by then may be of yesterday. Its time begins anew."""
    gate = {"http": {"url": "https://deploys.example.com/may-i"}, "timeout": "5m"}
    steps = [{"weight": 10, "gate": gate, "approval": {}}, {"weight": 50}]
    made = begun(spec=spec_of(checks=None, steps=steps))
    made.wait(60)
    assert made.phase is Phase.PROGRESSING
    made.hear(True)
    made.run()
    assert (made.phase, reason(made)) == (Phase.PAUSED, "AwaitingApproval")
    made.wait(3600)
    assert made.phase is Phase.PAUSED
    made.ask("promote", id_="p1")
    made.run()
    assert (made.share(), reason(made)) == (10, "Holding")
    made.hear(False, "no")
    made.wait(120)
    assert made.share() == 10
    made.hear(True)
    made.run()
    assert made.share() == 50


def test_words_that_change_all_the_time_are_written_now_and_then() -> None:
    """An answer with a counter in it is shown, and costs one write of the status a minute at most; another answer is one at once."""
    made = asking(interval="1s")
    made.hear(False, "0")
    made.run()
    wrote = len(made.wrote)
    for number in range(120):
        made.wait(1)
        made.hear(False, str(number))
        made.run()
    assert len(made.wrote) - wrote in {1, 2}
    made.hear("Timeout", "gone")
    made.run()
    assert made.status.step is not None
    assert made.status.step.gate is not None
    assert (made.status.step.gate.answer, made.status.step.gate.reason) == ("Unknown", "Timeout")


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_whatever_a_gate_says_and_whenever_a_controller_dies(data: st.DataObject) -> None:
    """The bystander objects to a rise without a yes of this step, of this life, and of the last interval."""
    made = asking(hold="10s", timeout="5m", interval="5s")
    for _ in range(data.draw(st.integers(1, 6))):
        match data.draw(
            st.sampled_from(["yes", "no", "unknown", "crash", "wait", "unready", "ready", "pause", "resume"])
        ):
            case "yes":
                made.hear(True)
            case "no":
                made.hear(False)
            case "unknown":
                made.hear("Timeout")
            case "crash":
                made.crash()
            case "unready":
                made.canary.ready = 0
            case "ready":
                made.canary.ready = 1
            case "pause" | "resume" as verb:
                made.ask(verb, id_=f"{made.attempts}-{verb}")
        made.now += timedelta(seconds=data.draw(st.sampled_from([0, 1, 4, 6, 20])))
        made.run()
