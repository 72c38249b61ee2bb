"""A check whose queries wait for their turn: nobody was asked, so nobody is to blame, and nothing is known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_checks import check, verdict, world_with
from world import World

from canary.decide import reasons
from canary.model.check_status import VerdictKind
from canary.model.measurement import Queued
from canary.model.status import Phase


def queued(world: World, seconds: float) -> None:
    """A query waited so long, and was never sent."""
    asked = world.now + timedelta(milliseconds=1)  # no measurement is asked for before the one before it has ended
    world.wait(seconds)
    world.news.append(("errors", Queued(asked, seconds, "waited for its turn")))
    world.run()


@pytest.mark.parametrize("more", [{}, {"onError": "Fail"}, {"onError": "Pass"}, {"onNoData": "Fail"}], ids=str)
def test_no_turn_is_unknown_and_never_runs_out(more: dict[str, Any]) -> None:
    """For an hour no query is sent: the weight stays, under its own name, and no policy for bad providers applies."""
    world = world_with(check(**more))
    for _ in range(360):
        queued(world, 10)
    assert verdict(world) == (VerdictKind.UNKNOWN, "Queued")
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    assert world.decision is not None
    assert world.decision.reason in {reasons.CHECKS_UNKNOWN, reasons.AWAITING_VERDICTS}


def test_a_pass_of_before_is_no_evidence_any_more() -> None:
    """A check that passed and then got no turn holds the weight; its next pass lets it go on."""
    world = world_with(check())
    world.measure(0.0)
    world.run()
    queued(world, 5)
    world.wait(60)
    assert world.share() == 10
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def test_failures_are_neither_forgotten_nor_counted_on() -> None:
    """Between two failures of a row it makes no difference."""
    world = world_with(check(failureLimit=1))
    world.measure(1.0)
    world.run()
    for _ in range(5):
        queued(world, 10)
    assert world.share() == 10
    world.measure(1.0)
    world.run()
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=20))
def test_the_clock_of_the_hold_limit_stands_still(script: list[tuple[bool, int]]) -> None:
    """A provider that is down counts against holdLimit for as long as it is asked, and not for as long as nobody asks it."""
    world = world_with(check(holdLimit="3m"))
    world.measure("Unreachable")
    world.run()
    counted = 0
    for asked, seconds in script:
        if asked:
            world.wait(seconds)
            world.measure("Unreachable")
            world.run()
            counted += seconds
        else:
            # While it waits nobody knows yet that it waits in vain: that may only matter at the very end.
            if counted + seconds >= 180:
                continue
            queued(world, seconds)
        assert world.share() == (0 if counted >= 180 else 10)
        if counted >= 180:
            break


def test_time_that_is_waited_before_the_first_trouble_is_forgotten() -> None:
    """The hold limit begins with the first answer that is none."""
    world = world_with(check(holdLimit="1m"))
    for _ in range(20):
        queued(world, 10)
    world.measure("Unreachable")
    world.wait(50)
    assert world.share() == 10
    world.wait(15)
    assert world.phase is Phase.ROLLED_BACK
