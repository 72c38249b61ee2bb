"""A share is written when what let its step be entered still holds: a write may fail, or wait for replicas, for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import START, Fault, World, begun, route, rule, spec_of

from canary.model.measurement import Unreachable
from canary.model.status import Phase

STEPS = [{"weight": 10, "hold": "40s"}, {"weight": 50, "hold": "1h"}]
CHECK = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "holdLimit": "1h"}
SCALE = {"canary": "MatchShare", "timeout": "20m"}


def crowd(**more: Any) -> World:
    """Stable has ten replicas, and the canary as many as half of the traffic needs."""
    world = World(spec_of(steps=STEPS, acceptTimeout="1h", checks=[CHECK], **more))
    world.stable.replicas = world.stable.ready = 10
    world.canary.replicas = world.canary.ready = 5
    world.run()
    world.canary.revision = "b"
    world.run()
    return world


def second(world: World, *, good: bool) -> None:
    """A second passes; the provider says that all is well, or says nothing."""
    world.now += timedelta(seconds=1)
    if good:
        world.measure(0.0)
    else:
        world.news = [*world.news, (world.checks[0].name, Unreachable(world.now, "Unreachable", "it is down"))]
    for _ in range(8):
        if not world.tick():
            break


def at(world: World) -> float:
    return (world.now - START).total_seconds()


def test_a_write_that_failed_is_not_tried_again_when_nobody_knows_any_more() -> None:
    """The step is entered, its write is refused for a minute, and the provider goes meanwhile."""
    world = crowd()
    while at(world) < 100:
        refused = 35 <= at(world) < 95
        world.script = (lambda _n, target: Fault.REFUSED if target == "shop" else None) if refused else None
        second(world, good=at(world) < 45)
    for _ in range(60):
        second(world, good=False)
    assert (world.share(), world.phase) == (10, Phase.PROGRESSING)
    assert world.decision is not None
    assert "check errors is unknown (Unreachable: it is down); 50 % waits for that" in world.decision.message
    second(world, good=True)
    assert world.share() == 50


def test_replicas_that_come_late_bring_no_weight_when_nobody_knows_any_more() -> None:
    """No write fails: four of five replicas are ready, for long."""
    world = crowd(scale=SCALE)
    while at(world) < 500:
        refused = 35 <= at(world) < 50
        world.script = (lambda _n, target: Fault.REFUSED if target == "shop" else None) if refused else None
        if at(world) == 50:
            world.canary.ready, world.canary.slow = 4, True
        second(world, good=at(world) < 45)
    assert world.share() == 10
    world.canary.ready = 5
    for _ in range(20):
        second(world, good=False)
    assert world.share() == 10
    second(world, good=True)
    assert world.share() == 50


def test_a_canary_that_is_back_gets_its_share_when_somebody_can_tell_how_it_does() -> None:
    """It was away, so it has none; that a ratio of nothing is no number is no reason, that the provider is down is one."""
    world = crowd()
    while at(world) < 60:
        second(world, good=True)
    assert world.share() == 50
    world.canary.ready = 0
    for _ in range(5):
        second(world, good=False)
    assert world.share() == 0
    world.canary.ready = 5
    for _ in range(60):
        second(world, good=False)
    assert world.share() == 0
    second(world, good=True)
    assert world.share() == 50


@pytest.mark.parametrize("shut", ["12:01", "13:00"])
def test_a_window_that_is_over_lets_nothing_through_that_is_late(shut: str) -> None:
    """The step was left while it was open; the write of the next one is refused until it is not."""
    gate = {"window": {"days": ["Sun"], "from": "12:00", "to": shut, "timezone": "UTC"}}
    steps = [{**STEPS[0], "gate": gate}, STEPS[1]]
    world = begun(spec=spec_of(steps=steps, checks=None, acceptTimeout="1h"))
    while at(world) < 200:
        refused = 35 <= at(world) < 90
        world.script = (lambda _n, target: Fault.REFUSED if target == "shop" else None) if refused else None
        second(world, good=True)
    assert world.share() == (10 if shut == "12:01" else 50)


def test_what_is_put_back_while_a_share_waits_is_not_given_that_share() -> None:
    """Somebody raises one of two routes above the step that waits: it gets what the run had written there, and no more."""
    pair = {"shop": route("shop"), "api": route("api")}
    spec = spec_of(steps=STEPS, acceptTimeout="1h", checks=[CHECK], routes=[{"name": name} for name in pair])
    world = begun(spec=spec, routes=pair)
    while at(world) < 100:
        refused = 35 <= at(world) < 95
        world.script = (lambda _n, target: Fault.REFUSED if target in pair else None) if refused else None
        second(world, good=at(world) < 45)
    assert (world.share("shop"), world.share("api")) == (10, 10)
    world.weigh(10, 90, "api")
    second(world, good=False)
    assert (world.share("shop"), world.share("api")) == (10, 10)


def test_what_is_put_back_beside_a_rule_that_cannot_be_divided_is_put_back_once() -> None:
    """The rule that keeps what it has keeps what it was put back to."""
    steps = [{"weight": 10, "hold": "10s"}, {"weight": 50}]
    rules = rule(method="GET"), rule()
    world = begun(spec=spec_of(steps=steps), routes={"shop": route("shop", *rules)})
    third = {"name": "third", "port": 80, "weight": 7}
    world.edit_route("shop", lambda document: document["spec"]["rules"][0]["backendRefs"].append(third))
    world.run()
    world.weigh(60, 40)
    world.run()
    assert [float(pair.weights.share) for pair in world.pairs("shop")] == [10, 10]
