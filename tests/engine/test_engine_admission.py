"""Admission makes something else of what a run writes to its routes: that is nobody's hand, and never more for the canary for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import Fault, World, begun, spec_of

from canary.decide import reasons
from canary.model.rollout import OnFailure
from canary.model.run_status import Outcome
from canary.model.status import Phase

Json = dict[str, Any]


def gives(share: int, world: World) -> None:
    """Any share of the canary becomes this one; none stays none."""

    def change(document: Json) -> None:
        for item in document["spec"]["rules"]:
            for ref in item["backendRefs"]:
                other = next(each for each in item["backendRefs"] if each["name"] == "c")
                if ref["name"] == "s" and other["weight"]:
                    ref["weight"], other["weight"] = 100 - share, share

    world.admission = change


@pytest.mark.parametrize("policy", OnFailure)
def test_more_than_was_written_is_taken_back_at_once(policy: OnFailure) -> None:
    """It does not last for acceptTimeout, whatever a failure is to lead to: a pause would keep it."""
    world = World(spec=spec_of(onFailure=policy.value))
    gives(30, world)
    world.run()
    world.revise("b")
    for _ in range(20):
        world.tick()
    run = world.memory.run if world.memory else None
    assert run is not None
    assert run.outcome is Outcome.ROLLED_BACK
    assert run.reason == reasons.NOT_ACCEPTED
    assert "at 30 %, where 10 % was written" in run.message
    assert "admission webhook or policy" in run.message
    assert world.share() == 0
    assert not {reasons.RAISED_BY_OTHER, reasons.LOWERED_BY_HAND} & {*world.reasons}


def test_less_than_was_written_is_nobodys_hand() -> None:
    """The run waits for acceptance of what it wrote, says why it has none, and ends after acceptTimeout."""
    world = begun()
    gives(5, world)
    world.wait(1)
    world.measure(0.0)
    world.run()
    for _ in range(30):
        world.now += timedelta(seconds=1)
        world.measure(0.0)
        world.tick()
    assert world.phase is Phase.PROGRESSING
    assert world.share() == 5
    assert world.memory is not None
    assert "admission webhook or policy changes our write" in world.memory.message
    assert reasons.LOWERED_BY_HAND not in world.reasons
    for _ in range(60):
        world.now += timedelta(seconds=1)
        world.measure(0.0)
        world.tick()
    run = world.memory.run
    assert run is not None
    assert run.outcome is Outcome.ROLLED_BACK
    assert run.reason == reasons.NOT_ACCEPTED


def _looks(world: World, seconds: int) -> None:
    """So much time, with a look and good numbers in each second."""
    for _ in range(seconds):
        world.now += timedelta(seconds=1)
        world.measure(0.0)
        world.tick()


@pytest.mark.parametrize("every", [3, 20])
def test_a_successor_knows_it_too(every: int) -> None:
    """Controllers come and go every few seconds: nobody is blamed, and the run ends as soon as if there had been one."""
    world = begun()
    gives(5, world)
    while world.share() != 5:
        _looks(world, 1)
    began = world.now
    while world.now - began < timedelta(seconds=100) and world.status.active:
        _looks(world, every)
        world.crash()
    run = world.status.run
    assert run is not None
    assert run.ended_at is not None
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, reasons.NOT_ACCEPTED)
    assert run.ended_at - began <= timedelta(seconds=66), "acceptTimeout, and not once for each controller"
    assert not {reasons.RAISED_BY_OTHER, reasons.LOWERED_BY_HAND} & {*world.reasons}
    assert world.share() == 0


def test_a_hand_after_a_restart_is_still_a_hand() -> None:
    """What admission made of a write says nothing of what a person makes of that."""
    world = begun()
    gives(5, world)
    _looks(world, 5)
    world.crash()
    world.admission = None
    world.weigh(98, 2)
    world.tick()
    assert world.memory is not None
    assert (world.phase, world.memory.paused and world.memory.paused.reason) == (Phase.PAUSED, reasons.LOWERED_BY_HAND)
    assert world.share() == 2


@pytest.mark.parametrize("policy", OnFailure)
@pytest.mark.parametrize("keeps", [80, 5])
def test_a_controller_that_dies_right_at_such_a_write(keeps: int, policy: OnFailure) -> None:
    """Nobody knows that it was admission: with more, one more write tells; with less, a person is asked. It is never a loop."""
    world = begun(spec=spec_of(onFailure=policy.value))
    gives(keeps, world)
    world.faults["shop"] = Fault.DIES_AFTER
    before = len(world.wrote)
    _looks(world, 20)
    writes = [action for kind, action in world.wrote[before:] if kind == "route"]
    assert len(writes) <= 8
    assert world.share() == (0 if keeps == 80 else 5)
    assert (world.phase is Phase.PAUSED) is (keeps == 5)
