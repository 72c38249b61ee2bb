"""Windows and replicas that a run waits for, as a terminal shows them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cli_kit import NOW, ago, rollout

from canary.model.route_status import SplitStatus
from canary.model.run_status import RunStatus, StepStatus
from canary.model.status import Condition, Phase, RolloutStatus
from canary.model.workload_status import ScaleStatus
from canary.view.explanation import explain
from canary.view.rollout import asks, steps, view

OFFICE = {"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "14:00", "to": "17:00", "timezone": "Europe/Berlin"}
"""It is a Wednesday, 12:40 in Berlin."""


def running(reason: str = "GateClosed", **more: Any) -> dict[str, Any]:
    """A run at its first step, of which the hold is over, and a window that opens this afternoon."""
    step = StepStatus(index=1, total=2, display="1/2", started_at=ago(600), reached_at=ago(590), hold_until=ago(290))
    waits = Condition(type="Reconciling", status="True", last_transition_time=ago(290), reason=reason)
    found = RolloutStatus(
        phase=Phase.PROGRESSING,
        observed_generation=3,
        run=RunStatus(number=1, started_at=ago(600), **more),
        step=step,
        split=SplitStatus(desired=10, written=10, accepted=10),
        conditions=(waits,),
        scale=ScaleStatus(workload="shop-canary", stable=10, reached=1, needed=5, short_since=ago(60)),
    )
    document = rollout(found)
    document["spec"] |= {
        "steps": [{"weight": 10, "hold": "5m", "gate": {"window": OFFICE}}, {"weight": 50}],
        "scale": {"canary": "MatchShare"},
        "checks": [],
    }
    return document


def told(document: dict[str, Any], now: Any = NOW) -> str:
    sections = explain(view(document), {}, now)
    return "\n".join(line for section in sections for line in section.paragraphs)


def test_a_step_says_what_its_gate_is() -> None:
    """In the table of steps, and in plans; of a gate that a later version knows, that there is one."""
    assert asks({"weight": 10, "gate": {"window": OFFICE}}) == "10 % + window Mon-Fri 14:00-17:00 Europe/Berlin"
    assert asks({"gate": {"moon": {"phase": "full"}}}) == "gate"
    assert asks({"gate": {"window": {"from": "nine"}}}) == "gate"


def test_a_closed_window_says_when_it_opens() -> None:
    """Next to the step, in the explanation, and among what comes next."""
    first = steps(view(running()), NOW)[0]
    assert first.note == "waiting for its window, which opens Wed 2024-05-01 14:00 CEST"
    words = told(running())
    assert "which opens Wed 2024-05-01 14:00 CEST, by the API server's clock" in words
    assert "`canary promote shop -n team-shop --full` skips it with all that is left" in words
    assert "its window (Mon-Fri 14:00-17:00 Europe/Berlin) is open" in words


def test_an_open_window_is_nothing_to_wait_for() -> None:
    """Within its hours nobody reads of it, nor where promote-full has skipped it."""
    later = NOW + timedelta(hours=2)
    assert "window, which" not in steps(view(running("Holding")), later)[0].note
    assert "which opens" not in told(running("Holding"), later)
    hurried = running("Holding", full=True, full_at=1)
    assert "which opens" not in told(hurried)
    assert "holds, gates and approvals were cut short" in told(hurried)


def waiting(answer: str = "No", message: str = "freeze until Monday", **more: Any) -> dict[str, Any]:
    """At a step that asks another system, which has said something half a minute ago."""
    document = running()
    document["spec"]["steps"][0]["gate"] = {
        "http": {"url": "https://deploys.example.com/may-i?a=b"},
        "timeout": "1h",
        **more,
    }
    said = {"since": ago(290).isoformat(), "answer": answer, "message": message, "askedAt": ago(30).isoformat()}
    document["status"]["step"]["gate"] = said | ({"reason": "Timeout"} if answer == "Unknown" else {})
    return document


def test_what_another_system_says_is_shown() -> None:
    """Next to the step, in the explanation with its time, and among what comes next."""
    assert steps(view(waiting()), NOW)[0].asks == "10 % + gate deploys.example.com"
    assert steps(view(waiting()), NOW)[0].note == (
        "waiting for its gate, deploys.example.com, which says no: freeze until Monday"
    )
    words = told(waiting())
    assert "Waiting for its gate, deploys.example.com, which says no: freeze until Monday." in words
    assert "It is asked every 30s. It was asked last at 10:39:32 UTC." in words
    assert "If it says nothing else until 11:35:12 UTC, the run is rolled back." in words
    assert "`canary promote shop -n team-shop --full` skips it with all that is left." in words
    assert "its gate (deploys.example.com) says yes" in words
    assert "until 11:35:12 UTC, the run pauses." in told(waiting(onTimeout="Pause"))
    unknown = steps(view(waiting("Unknown", "no answer within 10 s")), NOW)[0].note
    assert (
        unknown
        == "waiting for its gate, deploys.example.com, which could not be asked (Timeout: no answer within 10 s)"
    )
    assert "says no" not in steps(view(waiting("Yes")), NOW)[0].note
    assert "\x1b" not in steps(view(waiting(message="\x1b[31mred")), NOW)[0].note


def test_replicas_that_are_missing_are_named() -> None:
    """How many the next share needs."""
    later = NOW + timedelta(hours=2)
    for reason in ("AwaitingReplicas", "CannotScale"):
        note = steps(view(running(reason)), later)[0].note
        assert note == "waiting for 5 ready replicas of the canary, which its next share needs"
        assert "Waiting for 5 ready replicas of the canary" in told(running(reason), later)
    assert "the canary has the replicas that the next share needs" in told(running())
