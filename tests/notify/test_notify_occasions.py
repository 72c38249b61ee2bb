"""What there is to tell, by the recorded status alone; and that it is the same however often it is read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notify_kit import AT, status_of

from canary.model.status import Phase, RolloutStatus
from canary.notify.occasions import current

Json = dict[str, Any]


def paused(reason: str, since: str = AT) -> Json:
    return {"paused": {"reason": reason, "message": "words", "since": since}}


ENDED = {"outcome": "RolledBack", "reason": "CheckFailed", "message": "no", "endedAt": AT}
WON = {"outcome": "Succeeded", "reason": "Succeeded", "message": "yes", "endedAt": AT}
TABLE: list[tuple[str, Json, list[str]]] = [
    ("nothing was ever run", {"phase": "Idle"}, []),
    ("a run that has just begun", status_of(step=0), ["RunStarted/7"]),
    ("a run at its third step", status_of(), ["RunStarted/7", "StepStarted/7/3"]),
    (
        "one that waits for an approval",
        status_of("Paused", **paused("AwaitingApproval")),
        ["RunStarted/7", "StepStarted/7/3", "AwaitingApproval/7/3/AwaitingApproval"],
    ),
    (
        "one that two fight over: that is its own event, and not a pause besides",
        status_of("Paused", **paused("Contested")),
        ["RunStarted/7", "StepStarted/7/3", "Contested/7/3/Contested"],
    ),
    (
        "one that a person paused",
        status_of("Paused", **paused("PausedByRequest")),
        ["RunStarted/7", "StepStarted/7/3", "Paused/7/3/PausedByRequest"],
    ),
    ("a pause that is over", status_of(**paused("PausedByRequest")), ["RunStarted/7", "StepStarted/7/3"]),
    (
        "a run that failed, before its traffic is back",
        status_of("RollingBack", run=ENDED),
        ["RunStarted/7", "RolledBack/7"],
    ),
    ("the same, afterwards", status_of("RolledBack", run=ENDED), ["RunStarted/7", "RolledBack/7"]),
    ("a run that has won, and is not through", status_of("Promoting", run=WON), ["RunStarted/7"]),
    ("the same, afterwards", status_of("Succeeded", run=WON), ["RunStarted/7", "Succeeded/7"]),
    ("a spec that cannot work", {"phase": "Invalid", "observedGeneration": 4}, ["Invalid/4"]),
    ("the same after a run", status_of("Invalid", run=WON), ["RunStarted/7", "Succeeded/7", "Invalid/4"]),
    ("a status that somebody made up", {"phase": "Paused", "paused": {"reason": 7}, "run": []}, []),
]


@pytest.mark.parametrize(("what", "status", "keys"), TABLE, ids=[what for what, *_ in TABLE])
def test_what_there_is_to_tell(what: str, status: Json, keys: list[str]) -> None:
    """By phase, outcome, step and reason of a pause."""
    assert list(current(RolloutStatus.load(status))) == keys


def test_a_second_pause_is_another_event() -> None:
    """The same step, the same reason, later: one key, since one of them holds at a time, and two ids."""
    first, second = (
        current(RolloutStatus.load(status_of("Paused", **paused("PausedByRequest", since))))[
            "Paused/7/3/PausedByRequest"
        ]
        for since in (AT, "2026-03-02T09:00:01.000Z")
    )
    assert first.number != second.number


def test_what_is_finer_than_a_record_makes_no_other_event() -> None:
    """A status in mind, which knows microseconds, and the same on record: one id."""
    status = RolloutStatus.load(status_of("Paused", **paused("PausedByRequest")))
    assert status.paused is not None
    finer = status.paused.model_copy(update={"since": status.paused.since + timedelta(microseconds=700)})
    in_mind = status.model_copy(update={"paused": finer})
    numbers = [{one.number for one in current(each).values()} for each in (in_mind, RolloutStatus.load(in_mind.dump()))]
    assert numbers[0] == numbers[1]


@given(
    phase=st.sampled_from([phase.value for phase in Phase]),
    number=st.integers(1, 10**6),
    step=st.integers(0, 32),
    run=st.sampled_from([{}, ENDED, WON]),
    pause=st.sampled_from([{}, paused("AwaitingApproval"), paused("Contested"), paused("SpecPaused")]),
)
def test_it_is_the_same_after_a_restart(phase: str, number: int, step: int, run: Json, pause: Json) -> None:
    """What is written and read again says the same, by the same keys and numbers, which have no dots and fit on record."""
    status = RolloutStatus.load(status_of(phase, number=number, step=step, run=run, **pause))
    found = current(status)
    assert current(RolloutStatus.load(status.dump())) == found
    assert len({occasion.number for occasion in found.values()}) == len(found)
    for key, occasion in found.items():
        assert "." not in occasion.number
        assert len(key) <= 160
        assert key.startswith(f"{occasion.kind}/")
