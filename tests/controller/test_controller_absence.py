"""A controller that takes a run over credits and charges no time of which it is not sure that it has passed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from controller_kit import World, check

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
HOUR = timedelta(hours=1)


async def at_ten(world: World, **spec: Any) -> Any:
    """A run at 10 %, and the controller that drives it."""
    await world.furnish()
    await world.declare(
        **{"steps": [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "2h"}], "checks": [check()], **spec}
    )
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.pass_(4)
    return instance


@pytest.mark.parametrize("ahead", [timedelta(seconds=90), HOUR, -HOUR], ids=["90 s ahead", "1 h ahead", "1 h behind"])
async def test_an_api_server_whose_clock_is_set_ends_no_hold(world: World, ahead: timedelta) -> None:
    """The successor hears another time than the one by which the status was stamped: of 60 s in hold four are over."""
    instance = await at_ten(world)
    await instance.kill()
    world.traffic.ahead = ahead
    await world.start_controller()
    await world.pass_(45)
    assert world.weights() == (90, 10), world.message()
    await world.pass_(30)
    assert world.weights() == (50, 50), "and it ends all the same"


async def test_nor_does_the_clock_of_the_successors_machine(world: World) -> None:
    """Both clocks are an hour ahead, as where one machine is all there is, and it was set."""
    instance = await at_ten(world)
    await instance.kill()
    world.traffic.ahead = HOUR
    await world.start_controller(skew=HOUR.total_seconds())
    await world.pass_(45)
    assert world.weights() == (90, 10), world.message()
    await world.pass_(30)
    assert world.weights() == (50, 50)


@pytest.mark.parametrize("skew", [0, 3600], ids=["of the API server", "of the machine, too"])
async def test_a_clock_that_is_set_strikes_no_limit(world: World, skew: int) -> None:
    """Neither the deadline nor a holdLimit: each would be said to be over, which is not so."""
    instance = await at_ten(world, deadline="30m", steps=[{"weight": 10, "hold": "20m"}, {"weight": 50}])
    world.provider.answers["errors"] = None
    await world.pass_(3)
    await instance.kill()
    world.traffic.ahead = HOUR
    await world.start_controller(skew=skew)
    await world.pass_(30)
    assert (world.phase(), world.weights()) == ("Progressing", (90, 10)), world.message()


async def test_an_absence_makes_a_hold_longer(world: World) -> None:
    """An hour without a controller may have been an hour, or a clock that was set: what is left of the hold is held by who came back."""
    instance = await at_ten(world)
    await instance.kill()
    await world.pass_(3600, pace=60)
    await world.start_controller()
    await world.pass_(45)
    assert world.weights() == (90, 10)
    await world.pass_(30)
    assert world.weights() == (50, 50)


async def live(world: World, instance: Any, seconds: float) -> Any:
    """So many seconds in the life of a controller, which is killed then; returns its successor."""
    await world.pass_(seconds, pace=5)
    await instance.kill()
    return await world.start_controller()


async def test_a_hold_ends_though_controllers_are_killed_all_the_time(world: World) -> None:
    """What each has seen pass is on record before long."""
    instance = await at_ten(world, steps=[{"weight": 10, "hold": "6m"}, {"weight": 50, "hold": "2h"}])
    lives = 0
    while world.weights() == (90, 10) and lives < 10:
        instance = await live(world, instance, 100)
        lives += 1
    assert world.weights() == (50, 50)
    assert lives >= 3, "which is not before six minutes are over"


async def test_a_deadline_strikes_though_controllers_are_killed_all_the_time(world: World) -> None:
    """Later than it would, and not never."""
    instance = await at_ten(world, deadline="6m", steps=[{"weight": 10, "hold": "1h"}, {"weight": 50}])
    began, lives = world.clock.now(), 0
    while world.phase() == "Progressing" and lives < 10:
        instance = await live(world, instance, 100)
        lives += 1
    assert world.phase() == "RolledBack"
    assert world.status()["run"]["reason"] == "DeadlineExceeded"
    assert world.clock.now() - began >= timedelta(minutes=5, seconds=50)


async def test_a_long_hold_is_put_on_record_every_ten_minutes_and_no_more_often(world: World) -> None:
    """That is a write of a status in ten minutes, where there is nothing else to say."""
    await at_ten(world, checks=[], steps=[{"weight": 10, "hold": "2h"}, {"weight": 50}])
    await world.pass_(30)
    before = len(world.writes())
    await world.pass_(3600, pace=30)
    assert 5 <= len(world.writes()) - before <= 6
