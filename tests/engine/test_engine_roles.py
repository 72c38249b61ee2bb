"""Who is stable and who is the canary: what a status says of it is believed as far as runs and routes bear it out (promise 9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from world import RUN_ANNOTATION, Fault, Gateways, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.model.run_status import Outcome
from canary.model.status import Phase


def weights(world: World, name: str = "shop", index: int = 0) -> dict[str, int]:
    refs = world.routes[name]["spec"]["rules"][index]["backendRefs"]
    return {ref["name"]: ref.get("weight", 1) for ref in refs}


def shares(world: World) -> list[int]:
    """What the version under test has, in each rule, by the Services that the spec declares."""
    return [weights(world, name, index)["c"] for name in world.routes for index in range(len(rules(world, name)))]


def rules(world: World, name: str) -> list[Any]:
    return list(world.routes[name]["spec"]["rules"])


def at_rest(**changes: Any) -> World:
    world = World(**changes)
    world.run()
    assert world.phase is Phase.IDLE
    return world


def swapped(**changes: Any) -> World:
    """A Rollout that has been won by Swap: spec.canary is the stable side."""
    world = begun(spec=spec_of(promotion="Swap"), **changes)
    for _ in range(4):
        world.pass_step(15)
    assert world.status.swapped
    assert weights(world)["s"] == 0
    return world


def forge(world: World, *, value: bool) -> None:
    """Somebody who may write statuses turns the roles while the controller is away."""
    world.recorded["swapped"] = value
    world.crash()


# -- in the middle of a run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strip", [False, True], ids=["annotated", "stripped"])
@pytest.mark.parametrize("promotion", ["Copy", "Swap"])
def test_roles_that_are_turned_in_the_middle_of_a_run(promotion: str, strip: bool) -> None:
    """What the run has written says who is who: the share of the version under test stays what its step gave it."""
    world = begun(spec=spec_of(promotion=promotion))
    world.wait(1)
    before = weights(world)
    assert 100 * before["c"] == 10 * sum(before.values())
    if strip:
        world.strip()
    forge(world, value=True)
    for _ in range(4):
        world.run()
        assert weights(world) == before
        world.wait(1)
    assert not world.status.swapped
    assert reasons.UNREADABLE_RECORD in world.reasons
    world.measure(0.5)
    world.run()
    world.wait(60)
    assert weights(world) == {"s": 1, "c": 0}


def test_roles_that_are_turned_back_in_the_middle_of_a_run() -> None:
    """The same where they are exchanged in truth."""
    world = swapped()
    world.stable.revision = "c"
    world.run()
    world.wait(1)
    before = weights(world)
    assert 100 * before["s"] == 10 * sum(before.values())
    forge(world, value=False)
    for _ in range(4):
        world.run()
        assert weights(world) == before
        world.wait(1)
    assert world.status.swapped


def test_roles_that_are_turned_before_the_first_step() -> None:
    """A run that has written nothing yet: the weights that it begins from say who is who."""
    world = at_rest()
    world.revise("b")
    world.canary.rolled_out = False
    world.run()
    assert (world.phase, world.status.step and world.status.step.index) == (Phase.PROGRESSING, 0)
    forge(world, value=True)
    world.run()
    world.wait(5)
    assert max(shares(world)) == 0
    assert not world.status.swapped


# -- at rest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("promotion", ["Copy", "Await", "Swap"])
def test_roles_that_are_turned_at_rest(promotion: str) -> None:
    """All traffic is on spec.stable, so that is stable; a revision that comes then is given its first step and no more."""
    world = at_rest(spec=spec_of(promotion=promotion))
    forge(world, value=True)
    world.run()
    assert weights(world) == {"s": 1, "c": 0}
    assert not world.status.swapped
    assert world.phase is Phase.IDLE
    assert [tell.message for tell in world.told if tell.reason == reasons.UNREADABLE_RECORD] == [
        "status.swapped is not what the routes and the records of runs say; the roles are as declared"
    ]
    world.revise("b")
    world.run()
    world.wait(1)
    assert weights(world)["c"] * 10 == sum(weights(world).values())


def test_roles_that_are_turned_where_both_have_traffic() -> None:
    """Nothing speaks against it then, and nothing is done by it: no run begins against the traffic of what it calls the canary."""
    world = at_rest(routes={"shop": route("shop", rule(stable=60, canary=40))})
    forge(world, value=True)
    world.revise("b")
    world.run()
    world.wait(5)
    assert weights(world) == {"s": 60, "c": 40}
    assert world.status.run is None


@pytest.mark.parametrize("promotion", ["Swap", "Copy", "Await"])
@pytest.mark.parametrize("crash", [False, True], ids=["alive", "restarted"])
def test_roles_that_a_run_has_exchanged_stay_so(promotion: str, crash: bool) -> None:
    """Also where the promotion is edited afterwards: the traffic is on spec.canary."""
    world = swapped()
    world.declare(promotion=promotion)
    if crash:
        world.crash()
    world.run()
    world.wait(5)
    assert world.status.swapped
    assert weights(world)["s"] == 0
    assert reasons.UNREADABLE_RECORD not in world.reasons


def test_an_owner_who_moves_weights_turns_no_roles_of_a_controller_that_is_there() -> None:
    """A route is its owner's at rest. What they give the canary is said; who that is stays as the run has left it."""
    world = swapped()
    world.weigh(0, 1)  # by the present roles: all to what is the canary now
    assert weights(world)["c"] == 0
    world.run()
    world.wait(30)
    assert world.status.swapped
    assert reasons.TRAFFIC_AT_REST in world.reasons
    assert reasons.UNREADABLE_RECORD not in world.reasons


def test_nothing_begins_by_roles_that_are_put_right() -> None:
    """Git has put all traffic back to spec.stable while the controller was away: the roles are as declared, and nothing runs by that."""
    world = swapped()
    world.crash()
    world.weigh(0, 1)
    world.run()
    world.wait(5)
    assert not world.status.swapped
    assert not world.status.active
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.SUCCEEDED
    assert RUN_ANNOTATION not in world.routes["shop"]["metadata"]["annotations"]


# -- where the status and the routes contradict each other ---------------------------------------------------------


def turned(world: World) -> None:
    """The pair on record is the other way round."""
    for record in world.recorded["routes"]:
        record["pair"] = " ".join(reversed(record["pair"].split(" ")))


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("workloads", [True, False], ids=["", "no workloads"])
@pytest.mark.parametrize("swap", [True, False], ids=["swapped", "the pair alone"])
@pytest.mark.parametrize("promotion", ["Swap", "Await"])
def test_a_record_that_is_turned_as_a_whole(promotion: str, swap: bool, workloads: bool, steps: int) -> None:
    """`swapped` and every pair in the status: the routes contradict that, so the roles are as declared, and nothing unjudged gets more."""
    more: dict[str, Any] = {} if workloads else {"workloads": None, "trigger": "Manual"}
    world = World(spec=spec_of(promotion=promotion, **more))
    world.run()
    world.revise("b")
    if not workloads:
        world.ask("start", id_="one")
    world.run()
    world.wait(1)
    if steps == 50:
        world.pass_step()
    before = weights(world)
    assert 100 * before["c"] == steps * sum(before.values())
    turned(world)
    forge(world, value=swap)
    for _ in range(4):
        world.run()
        assert weights(world) == before
        world.wait(1)
    assert not world.status.swapped
    assert reasons.UNREADABLE_RECORD in world.reasons
    world.measure(0.5)
    world.run()
    world.wait(60)
    assert world.phase is Phase.ROLLED_BACK
    assert weights(world) == {"s": 1, "c": 0}


def test_roles_that_are_exchanged_in_truth_survive_an_annotation_that_is_turned() -> None:
    """The workload that runs the version under test tells who is the canary."""
    world = swapped()
    world.stable.revision = "c"
    world.run()
    world.wait(1)
    before = weights(world)
    assert 100 * before["s"] == 10 * sum(before.values())

    def change(document: dict[str, Any]) -> None:
        said = json.loads(document["metadata"]["annotations"][RUN_ANNOTATION])
        said["pair"] = " ".join(reversed(said["pair"].split(" ")))
        document["metadata"]["annotations"][RUN_ANNOTATION] = json.dumps(said)

    world.edit_route("shop", change, "mallory")
    world.crash()
    world.run()
    world.wait(2)
    assert weights(world) == before
    assert world.status.swapped
    world.measure(0.5)
    world.run()
    world.wait(60)
    assert weights(world)["s"] == 0


# -- a Rollout that comes back without its status --------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, Fault.REFUSED, Fault.CONFLICT, Fault.DIES_BEFORE, Fault.DIES_AFTER])
@pytest.mark.parametrize("uid", ["uid-1", "of-before"])
def test_the_share_of_a_version_under_test_makes_nobody_stable(uid: str, fault: Fault | None) -> None:
    """Restored in the middle of a run at 100 %: the route goes back to spec.stable, whatever becomes of the first write."""
    world = begun(spec=spec_of(promotion="Swap", steps=[{"weight": 100, "hold": "1h"}]))
    world.wait(1)
    assert weights(world) == {"s": 0, "c": 100}

    def change(document: dict[str, Any]) -> None:
        said = json.loads(document["metadata"]["annotations"][RUN_ANNOTATION])
        document["metadata"]["annotations"][RUN_ANNOTATION] = json.dumps({**said, "uid": uid})

    world.edit_route("shop", change, "restore")
    world.crash()
    world.recorded, world.finalizer = {}, False
    if fault is not None:
        world.faults["shop"] = fault
    world.run()
    world.wait(60)
    assert weights(world) == {"s": 1, "c": 0}
    assert not world.status.swapped
    assert not world.annotated()
    assert world.phase is Phase.IDLE


# -- what only a person can say --------------------------------------------------------------------------------------


def to_the_approval(world: World) -> None:
    for seconds in (61, 1):
        world.wait(seconds)
        world.measure(0.0)
        world.run()
    assert world.phase is Phase.PAUSED


@pytest.mark.parametrize("member", ["full", "ignoreUnknown", "approved"])
def test_what_nobody_has_asked_for_skips_nothing(member: str) -> None:
    """A member of the status that was edited while the controller was away, without the request that leads to it."""
    steps = [{"weight": 10, "hold": "60s"}, {"approval": {}}, {"weight": 100, "hold": "60s"}]
    world = begun(spec=spec_of(steps=steps))
    world.wait(1)
    if member == "approved":
        world.measure(0.0)
        world.run()
        to_the_approval(world)
    world.recorded["step" if member == "approved" else "run"][member] = True
    world.crash()
    for _ in range(3):
        world.measure(0.0)
        world.run()
        world.wait(2)
    assert weights(world) == {"s": 90, "c": 10}


@pytest.mark.parametrize("verb", ["promote-full", "promote"])
def test_what_somebody_has_asked_for_survives_a_restart(verb: str) -> None:
    """It is on record with the request."""
    steps = [{"weight": 10, "hold": "60s"}, {"approval": {}}, {"weight": 100, "hold": "60s"}]
    world = begun(spec=spec_of(steps=steps))
    world.wait(1)
    if verb == "promote":
        to_the_approval(world)
    world.gateways = Gateways.LATE
    world.refuse()
    world.ask(verb, id_="one")
    world.run()
    world.wait(2)
    assert weights(world) == {"s": 90, "c": 10}
    world.crash()
    world.answer(Gateways.PROMPT)
    for _ in range(3):
        world.run()
        world.wait(1)
        world.measure(0.0)
    world.run()
    assert weights(world) == {"s": 0, "c": 100}
