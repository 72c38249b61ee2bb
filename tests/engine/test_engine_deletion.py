"""Deleting a Rollout: the routes first, whatever is going on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from world import RUN_ANNOTATION, Fault, Gateways, World, begun, in_preflight, route, rule, spec_of

from canary.decide.scope import Scope
from canary.decide.writes import left_behind
from canary.model.run_status import Outcome
from canary.model.status import Phase
from canary.routes.intent import parse_intent


def at_half() -> World:
    world = begun()
    world.pass_step()
    return world


def paused() -> World:
    world = at_half()
    world.ask("pause")
    world.run()
    return world


def lowered() -> World:
    world = at_half()
    world.weigh(95, 5)
    world.run()
    return world


def stripped() -> World:
    """Somebody took the annotation, and the controller has not looked since."""
    world = at_half()
    world.strip()
    return world


def copying() -> World:
    return begun(spec=spec_of(steps=[{"weight": 100}], checks=None))


def rolling_back() -> World:
    world = at_half()
    world.gateways = Gateways.LATE
    world.measure(1.0)
    world.run()
    assert world.phase is Phase.ROLLING_BACK
    return world


MAKES = [in_preflight, at_half, paused, lowered, stripped, copying, rolling_back]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("crash", [False, True], ids=["", "and a restart"])
def test_during_a_run_everything_is_as_it_was(make: Callable[[], World], crash: bool) -> None:
    """Weights, annotation, pod spec; then the finalizer goes, and with it the Rollout."""
    world = make()
    assert world.finalizer
    world.delete()
    if crash:
        world.crash()
    world.run()
    assert world.gone
    assert (world.share(), world.annotated()) == (0, False)
    assert (world.stable.revision, world.stable.kept) == ("a", None)
    if make is not lowered:
        assert [str(pair.weights) for pair in world.pairs("shop")] == ["1/0"]


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("target", ["shop", "api", "workload", "rollout"])
def test_it_is_not_gone_before_it_is_done(target: str, fault: Fault) -> None:
    """Trouble at any write delays it, and nothing else."""
    routes = {"shop": route("shop"), "api": route("api", rule(stable=20))}
    spec = spec_of(routes=[{"name": "shop"}, {"name": "api"}], steps=[{"weight": 100}], checks=None)
    world = World(spec, routes)
    world.run()
    world.revise("b")
    world.run()
    assert world.phase is Phase.PROMOTING
    world.delete()
    world.faults[target] = fault
    world.run()
    assert world.gone
    assert (world.share("shop"), world.share("api"), world.stable.revision) == (0, 0, "a")


def test_at_rest_it_goes_at_once() -> None:
    """There is no finalizer outside of runs, so nothing of ours is even asked."""
    world = World()
    world.run()
    assert not world.finalizer
    world.delete()
    assert world.gone


def test_a_won_run_stays_won() -> None:
    """Deleted while traffic returns to stable: stable keeps the pod spec that it was given."""
    world = copying()
    world.gateways = Gateways.LATE
    world.stable.rolled_out = True
    world.run()
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.SUCCEEDED
    world.delete()
    world.run()
    assert (world.gone, world.stable.revision, world.share()) == (True, "b", 0)


@pytest.mark.parametrize("dies", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
def test_a_run_is_won_when_that_is_on_record(dies: Fault) -> None:
    """Crash at the write that puts it there, and then it is deleted: what was copied stays if it is there, and else goes back, as of any run."""
    world = copying()
    world.stable.rolled_out = True
    world.faults["status"] = dies
    lives = world.lives
    world.tick()
    assert world.lives == lives + 1
    assert world.status.run is not None
    on_record = world.status.run.outcome is not None
    assert on_record is (dies is Fault.DIES_AFTER)
    world.delete()
    world.run()
    assert (world.gone, world.stable.revision, world.share()) == (True, "b" if on_record else "a", 0)


def test_a_won_swap_is_not_undone() -> None:
    """Deleted in the moment of success: all traffic stays where it was released to."""
    world = begun(spec=spec_of(promotion="Swap", steps=[{"weight": 100, "hold": "10s"}], checks=None))
    world.wait(9)
    world.now = world.now.replace(second=world.now.second + 2)
    for _ in range(5):
        world.tick()
        assert world.memory is not None
        assert world.memory.run is not None
        if world.memory.run.outcome is Outcome.SUCCEEDED:
            break
    assert world.memory.run.outcome is Outcome.SUCCEEDED
    world.delete()
    world.run()
    assert world.gone
    refs = {ref["name"]: ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]}
    assert (refs, world.annotated()) == ({"s": 0, "c": 1}, False)


def test_a_route_that_is_gone_holds_up_nothing() -> None:
    """There is nothing to restore on it."""
    world = at_half()
    world.routes.pop("shop")
    world.delete()
    world.run()
    assert world.gone


def test_a_route_without_the_pair_loses_the_annotation() -> None:
    """There are no weights to restore on it, but the annotation is ours."""
    world = at_half()
    world.drop_pair()
    world.delete()
    world.run()
    assert (world.gone, world.annotated()) == (True, False)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, {"#0": "1/0"}),
        ({"uid": "of another Rollout"}, None),
        ({"run": 2}, None),
    ],
    ids=["its own", "of another Rollout of this name", "of another run"],
)
def test_what_a_run_leaves_whose_rollout_is_gone(change: dict[str, object], left: dict[str, str] | None) -> None:
    """A route that still names that run of that Rollout goes back to what it was; what names another one is not touched."""
    world = at_half()

    def forge(document: dict[str, Any]) -> None:
        annotations = document["metadata"]["annotations"]
        intent = parse_intent(annotations[RUN_ANNOTATION])
        assert intent is not None
        annotations[RUN_ANNOTATION] = replace(intent, **change).dump()

    world.edit_route("shop", forge)
    assert world.memory is not None
    writes = left_behind(Scope(world.spec, world.memory, world.facts()))
    found = [{key: str(weights) for key, weights in write.plan.weights.items()} for write in writes]
    assert found == ([left] if left is not None else [])
    assert all(write.intent is None for write in writes)


def test_a_route_that_names_no_run_is_nobodys() -> None:
    """Once the Rollout is gone, only the annotation tells that weights are of its run."""
    world = stripped()
    assert world.memory is not None
    assert left_behind(Scope(world.spec, world.memory, world.facts())) == ()
