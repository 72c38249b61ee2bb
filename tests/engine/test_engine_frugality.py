"""What a run costs the API server, and that at rest it costs nothing."""

from __future__ import annotations

import sys
from types import FrameType

import pytest
from world import World, begun, route, rule, spec_of

from canary.decide.actions import WriteRoute
from canary.decide.engine import decide
from canary.model.status import Phase
from canary.status.project import project


def counts(world: World, since: int) -> dict[str, int]:
    kinds = [kind for kind, _ in world.wrote[since:]]
    return {kind: kinds.count(kind) for kind in set(kinds)}


@pytest.mark.parametrize("routes", [1, 3])
def test_a_weight_step_costs_one_patch_per_route_two_status_writes_and_one_event(routes: int) -> None:
    """With prompt gateways, however many measurements come in."""
    names = [f"r{number}" for number in range(routes)]
    spec = spec_of(
        routes=[{"name": name} for name in names],
        steps=[{"weight": weight, "hold": "60s"} for weight in (1, 5, 25, 50, 100)],
    )
    world = World(spec, {name: route(name, rule(stable=7), rule(name="b")) for name in names})
    world.run()
    world.revise("b")
    world.run()
    for expected in (5, 25, 50, 100):
        wrote, told = len(world.wrote), len(world.told)
        assert world.memory is not None
        assert world.memory.step is not None
        index = world.memory.step.index
        for _ in range(6):  # measured every ten seconds, each time another value
            world.wait(9)
            world.measure(0.001 * (world.now.second % 7))
            world.wait(1)
        assert world.memory.step.index == index + 1
        assert world.share("r0") == expected
        spent = counts(world, wrote)
        assert spent == {"route": routes, "status": spent["status"]}
        assert spent["status"] <= 2
        assert len(world.told) - told == 1


def test_a_long_hold_costs_nothing() -> None:
    """An hour at one step, a measurement every ten seconds: nothing but the two writes of the step."""
    world = begun(spec=spec_of(steps=[{"weight": 10, "hold": "2h"}]))
    world.measure(0.0)
    world.wait(10)
    wrote, told = len(world.wrote), len(world.told)
    for second in range(360):
        world.measure(0.0001 * (second % 9))
        world.wait(10)
    assert counts(world, wrote) == {}
    assert len(world.told) == told


@pytest.mark.parametrize("end", ["idle", "succeeded", "rolled back", "invalid"])
def test_at_rest_nothing_is_written(end: str) -> None:
    """Neither with time, nor with restarts, nor when replicas come and go."""
    world = World() if end in {"idle", "invalid"} else begun(spec=spec_of(steps=[{"weight": 100}], checks=None))
    if end == "invalid":
        world.drop_pair()
    if end == "succeeded":
        world.stable.rolled_out = True
    if end == "rolled back":
        world.ask("abort")
    world.run()
    assert world.phase in {Phase.IDLE, Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.INVALID}
    world.wait(5)
    wrote, told = len(world.wrote), len(world.told)
    for ready in (0, 1, 0, 1):
        world.canary.ready = ready
        decision = world.wait(3600)
        assert decision.wake_at is None
        world.crash()
        world.run()
    assert counts(world, wrote) == {}
    assert len(world.told) == told


def test_one_write_per_route_and_decision() -> None:
    """Also where a repair and a step meet: never two patches for one route in one tick."""
    world = begun(routes={"shop": route("shop", rule(), rule(name="b"))})
    for weights in ((20, 80), (0, 100), (50, 50)):
        world.weigh(*weights, rule_=0)
        while world.tick():
            assert world.decision is not None
            names = [action.name for action in world.decision.actions if isinstance(action, WriteRoute)]
            assert len(names) == len(set(names))


def test_a_whole_run_in_figures() -> None:
    """Three steps, Copy: what is sent from the new revision to the end."""
    world = World()
    world.run()
    start = len(world.wrote)
    world.revise("b")
    world.run()
    for _ in range(3):
        world.pass_step()
        world.stable.rolled_out = True
    world.run()
    assert world.phase is Phase.SUCCEEDED
    spent = counts(world, start)
    # three weights, the way back, and the annotation taken off
    assert (spent["route"], spent["copy"], spent["forget"], spent["finalizer"]) == (5, 1, 1, 2)
    assert spent["status"] <= 2 * 3 + 5


def test_a_look_at_a_run_that_holds_asks_little_twice() -> None:
    """Such looks are nearly all that a controller does: their cost is that of a sample, and of everybody who waits behind one.

    Counted are calls of our own functions, which say the same on any machine.
    """
    world = begun(spec=spec_of(steps=[{"weight": 10, "hold": "2h"}]))
    world.measure(0.0)
    world.wait(10)
    world.measure(0.0)
    status, facts, calls = world.memory, world.facts(), 0
    assert status is not None
    assert facts.measurements

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and "/canary/" in frame.f_code.co_filename

    for _ in range(2):  # the first one fills what is kept for all looks
        calls = 0
        sys.setprofile(count)
        try:
            project(world.spec, decide(world.spec, status, facts), facts)
        finally:
            sys.setprofile(None)
    assert 100 < calls < 600, calls
