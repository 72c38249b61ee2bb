"""What a run has written belongs to that run: an edit of the pair, of the rules or of the promotion strands nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from world import Fault, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.model.run_status import Outcome
from canary.model.status import Phase

Edit = Callable[[World], None]


def wide(**names: int | None) -> dict[str, Any]:
    """A rule with stable s, canary c and a spare backend d of weight 0."""
    document = rule(**names)  # type: ignore[arg-type]
    document["backendRefs"].append({"name": "d", "port": 80, "weight": 0})
    return document


def shop(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"shop": route("shop", *(rules or (wide(),)))}


def weights(world: World, index: int = 0) -> dict[str, int]:
    refs = world.routes["shop"]["spec"]["rules"][index]["backendRefs"]
    return {ref["name"]: ref.get("weight", 1) for ref in refs}


def at_half(**changes: Any) -> World:
    """A run that has half the traffic on the canary."""
    world = begun(**changes)
    world.pass_step()
    assert world.share() == 50
    return world


def canary_is(service: str) -> Edit:
    return lambda world: world.declare(canary={"service": service, "port": 80})


def stable_is(service: str) -> Edit:
    return lambda world: world.declare(stable={"service": service, "port": 80})


@pytest.mark.parametrize("edit", [canary_is("d"), stable_is("d")], ids=["canary", "stable"])
def test_another_pair_in_the_middle_of_a_run(edit: Edit) -> None:
    """The traffic goes back by the pair that it was moved by; only then a run of the new pair begins."""
    world = at_half(routes=shop())
    before = len(world.wrote)
    edit(world)
    world.run()
    first = next(action for kind, action in world.wrote[before:] if kind == "route")
    assert str(first.plan.pair) == "team/s:80 team/c:80"
    assert first.intent is None
    assert {key: str(written) for key, written in first.plan.weights.items()} == {"#0": "1/0"}
    assert weights(world)["c"] == 0
    assert reasons.PLAN_CHANGED in world.reasons
    assert world.status.run is not None
    assert world.status.run.number == 2


def test_the_new_pair_is_moved_then() -> None:
    """The run of the new pair goes through its steps and leaves the former canary alone."""
    world = at_half(routes=shop())
    world.declare(canary={"service": "d", "port": 80})
    world.wait(1)
    seen = []
    for _ in range(3):
        world.pass_step()
        seen.append(weights(world))
    assert all(found["c"] == 0 for found in seen)
    assert max(found["d"] for found in seen) >= 50


@pytest.mark.parametrize("edit", [canary_is("d"), stable_is("d"), canary_is("unheard-of")])
@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.REFUSED, Fault.LOST, Fault.CONFLICT])
@pytest.mark.parametrize("nth", range(4))
def test_nothing_is_stranded_by_trouble(edit: Edit, fault: Fault, nth: int) -> None:
    """Whichever write goes wrong after the edit, the former canary ends without traffic."""
    world = at_half(routes=shop())
    first = world.attempts
    world.script = lambda count, _target: fault if count == first + nth else None
    edit(world)
    world.run()
    world.wait(30)
    assert weights(world)["c"] == 0


@pytest.mark.parametrize("edit", [canary_is("d"), stable_is("d"), canary_is("unheard-of")])
def test_an_edit_while_the_controller_is_dead(edit: Edit) -> None:
    """Nothing but the cluster knows the pair of the run, and that is enough."""
    world = at_half(routes=shop())
    world.crash()
    edit(world)
    world.run()
    assert weights(world)["c"] == 0


def test_the_status_remembers_where_the_annotation_is_gone() -> None:
    """Somebody took our annotation away before the edit: the status still says which pair the run moved."""
    world = at_half(routes=shop())
    world.crash()
    world.strip()
    world.declare(canary={"service": "d", "port": 80})
    world.run()
    world.wait(5)
    assert weights(world)["c"] == 0


def test_deleted_right_after_the_edit() -> None:
    """A Rollout whose pair was edited and that is deleted before anybody saw the edit puts the old pair back."""
    world = at_half(routes=shop())
    world.declare(canary={"service": "d", "port": 80})
    world.delete()
    world.run()
    assert world.gone
    assert weights(world) == {"s": 1, "c": 0, "d": 0}
    assert not world.annotated()


def test_a_verdict_and_an_edit_at_once() -> None:
    """The check fails in the tick that sees the new pair: the run is rolled back, by the pair it moved."""
    world = at_half(routes=shop())
    world.declare(canary={"service": "d", "port": 80})
    world.measure(1.0)
    world.run()
    world.wait(5)
    assert weights(world)["c"] == 0
    assert world.phase is Phase.ROLLED_BACK


def test_an_edit_while_rolling_back() -> None:
    """The gateways are late with the rollback when the pair is edited: it still ends clean, by the old pair."""
    world = at_half(routes=shop())
    world.faults["shop"] = Fault.REFUSED
    world.measure(1.0)
    world.tick()
    world.declare(canary={"service": "d", "port": 80})
    world.run()
    world.wait(5)
    assert weights(world)["c"] == 0
    assert not world.annotated()


ROLES_EXCHANGED = {"stable": {"service": "c", "port": 80}, "canary": {"service": "s", "port": 80}}


@pytest.mark.parametrize("crash", [False, True], ids=["alive", "restarted"])
@pytest.mark.parametrize("strip", [False, True], ids=["annotated", "stripped"])
def test_the_roles_exchanged_in_the_middle_of_a_run(crash: bool, strip: bool) -> None:
    """The version under test is never given more than its step by an edit: the run ends, and none begins against all traffic."""
    world = at_half(routes=shop())
    if crash:
        world.crash()
    if strip:
        world.strip()
    world.declare(**ROLES_EXCHANGED)
    seen = []
    for _ in range(20):
        world.tick()
        seen.append(weights(world)["c"])
        world.now += timedelta(seconds=1)
    assert max(seen[1:]) == 0
    assert weights(world) == {"s": 1, "c": 0, "d": 0}
    assert world.status.run is not None
    assert (world.status.run.number, world.status.run.outcome) == (1, Outcome.ROLLED_BACK)
    assert "gives the canary 100 % at rest" in world.status.message
    assert not world.annotated()


def test_the_roles_exchanged_before_a_run_has_written_anything() -> None:
    """A run in its preflight ends too, and what it has not moved stays where it is."""
    world = World(routes=shop())
    world.run()
    world.canary.slow = True
    world.revise("b")
    world.canary.rolled_out = False
    world.run()
    assert (world.phase, world.status.step and world.status.step.index) == (Phase.PROGRESSING, 0)
    world.declare(**ROLES_EXCHANGED)
    world.run()
    world.wait(70)
    assert weights(world) == {"s": 1, "c": 0, "d": 0}
    assert world.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("third", [1, 40])
def test_a_canary_that_has_traffic_of_its_own(third: int) -> None:
    """The spec names a backend that somebody else has given weight: no run takes that away."""
    document = wide(stable=100)
    document["backendRefs"][-1]["weight"] = third
    world = at_half(routes=shop(document))
    world.declare(canary={"service": "d", "port": 80})
    world.run()
    world.wait(30)
    assert weights(world) == {"s": 100, "c": 0, "d": third}
    assert world.phase is Phase.ROLLED_BACK
    assert world.status.run is not None
    assert world.status.run.number == 1


def test_a_route_that_comes_into_the_plan_with_the_roles_exchanged() -> None:
    """A second route, which the run knows nothing of, stays as its owner has it."""
    world = at_half(routes={**shop(), "more": route("more", wide())})
    world.declare(**ROLES_EXCHANGED, routes=[{"name": "shop"}, {"name": "more"}])
    world.run()
    world.wait(70)
    assert weights(world) == {"s": 1, "c": 0, "d": 0}
    assert world.routes["more"]["spec"]["rules"] == [wide()]
    assert world.phase is Phase.ROLLED_BACK


def test_the_roles_put_back_again() -> None:
    """What was an error in the spec is mended there: the version has not failed, and is tried again when somebody asks."""
    world = at_half(routes=shop())
    before = world.spec
    world.declare(**ROLES_EXCHANGED)
    world.run()
    world.wait(5)
    world.spec, world.generation = before, world.generation + 1
    world.run()
    world.ask("start", id_="again")
    world.run()
    world.wait(1)
    assert world.status.last_request is not None
    assert not world.status.last_request.refused
    assert weights(world)["c"] == 10


@pytest.mark.parametrize("rules", [["pay"], ["pay", "no-such-rule"]], ids=["fewer", "a name that is nowhere"])
def test_other_rules_in_the_middle_of_a_run(rules: list[str]) -> None:
    """A rule that is not named any more gets its traffic back, even if what is named now does not exist."""
    both = (rule(name="pay"), rule(name="search"))
    world = at_half(spec=spec_of(routes=[{"name": "shop", "rules": ["pay", "search"]}]), routes=shop(*both))
    assert weights(world, 1)["c"] == 50
    world.declare(routes=[{"name": "shop", "rules": rules}])
    world.run()
    assert weights(world, 1) == {"s": 1, "c": 0}
    assert weights(world, 0)["c"] <= 10
    world.wait(5)
    assert (world.phase, world.status.step and world.status.step.index) == (
        Phase.PROGRESSING,
        1 if rules == ["pay"] else 0,
    )


@pytest.mark.parametrize("crash", [False, True])
def test_another_promotion_once_the_run_is_won(crash: bool) -> None:
    """The two have changed roles when somebody edits Swap to Copy: the end stays what it was."""
    world = begun(spec=spec_of(promotion="Swap"))
    for _ in range(2):
        world.pass_step()
    assert world.share() == 100
    world.wait(1)
    world.measure(0.0)
    world.now += timedelta(seconds=30)
    for _ in range(50):
        world.tick()
        if world.memory is not None and world.memory.run is not None and world.memory.run.outcome is not None:
            break
    assert world.memory is not None
    assert (world.memory.active, world.memory.run and world.memory.run.outcome) == (True, Outcome.SUCCEEDED)
    if crash:
        world.crash()
    world.declare(promotion="Copy")
    world.run()
    world.wait(10)
    assert world.status.swapped
    assert weights(world)["c"] > 0
    assert weights(world)["s"] == 0
