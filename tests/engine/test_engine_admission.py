"""Admission makes something else of what a run writes to its routes: that is nobody's hand, and never more for the canary for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import World, begun, spec_of

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
