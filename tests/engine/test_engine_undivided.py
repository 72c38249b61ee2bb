"""Rules whose weights cannot be divided as a step asks, in the middle of a run: it goes no further, and takes nobody's traffic."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from world import RUN_ANNOTATION, Fault, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.model.run_status import Outcome
from canary.model.status import Phase
from canary.routes.intent import parse_intent

Json = dict[str, Any]
MIRROR = {"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "10s"}


def weights(world: World, name: str = "shop") -> list[dict[str, int]]:
    """What each rule gives each Service."""
    rules = world.routes[name]["spec"]["rules"]
    return [{ref["name"]: ref.get("weight", 1) for ref in each["backendRefs"]} for each in rules]


def shared(document: Json) -> None:
    """A third backend comes into the first rule, beside which the sum of the pair stays as it is."""
    document["spec"]["rules"][0]["backendRefs"].append({"name": "third", "port": 80, "weight": 20})


def alone(document: Json) -> None:
    """It goes again."""
    refs = document["spec"]["rules"][0]["backendRefs"]
    refs[:] = [ref for ref in refs if ref["name"] != "third"]


def emptied(document: Json, stable: int = 0) -> None:
    """The pair of the first rule gets nothing (or only stable does)."""
    for ref in document["spec"]["rules"][0]["backendRefs"]:
        if ref["name"] in {"s", "c"}:
            ref["weight"] = stable if ref["name"] == "s" else 0


def at_ten(*steps: Json, **changes: Any) -> World:
    """At 10 % in two rules, before other steps."""
    spec = spec_of(steps=[{"weight": 10, "hold": "10s"}, *steps], **changes)
    rules = rule(stable=100), rule(stable=100, method="GET")
    world = begun(spec=spec, routes={"shop": route("shop", *rules)})
    assert weights(world) == [{"s": 90, "c": 10}] * 2
    return world


def good(world: World) -> None:
    """Every check passes for longer than any step lasts."""
    for _ in range(3):
        world.pass_step()


def test_a_step_that_a_rule_cannot_express_is_not_reached() -> None:
    """It waits, with no rule further than before, and says for what: neither its hold nor the time of its gateways begins."""
    world = at_ten({"weight": "33.3%", "hold": "10s"}, {"weight": 50})
    world.edit_route("shop", shared)
    world.run()
    good(world)
    world.wait(300)
    assert [each["c"] for each in weights(world)] == [10, 10]
    assert (world.phase, world.decision and world.decision.reason) == (Phase.PROGRESSING, reasons.ROUTE_UNWRITABLE)
    assert "cannot express 33.3 % without taking traffic from the rule's other backends" in world.status.message
    assert world.status.step is not None
    assert (world.status.step.index, world.status.step.reached_at) == (2, None)
    assert world.status.split.written == 10


def test_it_goes_on_when_the_rule_can() -> None:
    """With a hold of its own."""
    world = at_ten({"weight": "33.3%", "hold": "10s"}, {"weight": 50})
    world.edit_route("shop", shared)
    world.run()
    good(world)
    world.edit_route("shop", alone)
    world.measure(0.0)
    world.run()
    assert weights(world) == [{"s": 667, "c": 333}] * 2
    assert world.status.step is not None
    assert world.status.step.hold_until is not None
    assert world.status.step.hold_until > world.now


def test_less_is_written_where_another_rule_cannot_express_it() -> None:
    """What takes traffic away waits for no rule but its own."""
    world = at_ten({"weight": "3.3%", "hold": "10s"})
    world.edit_route("shop", shared)
    world.run()
    good(world)
    assert [each["c"] / (each["c"] + each["s"]) for each in weights(world)] == [0.1, 0.033]
    assert world.decision is not None
    assert world.decision.reason == reasons.ROUTE_UNWRITABLE


def test_a_failing_check_ends_a_run_that_waits_for_that() -> None:
    """It has traffic, so it is judged."""
    world = at_ten({"weight": "33.3%", "hold": "10s"})
    world.edit_route("shop", shared)
    world.run()
    good(world)
    world.measure(0.5)
    world.wait(70)
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK
    assert weights(world) == [{"s": 100, "c": 0, "third": 20}, {"s": 100, "c": 0}]


@pytest.mark.parametrize("first", [{"weight": 0, "hold": "10s"}, MIRROR], ids=["weight 0", "mirror"])
@pytest.mark.parametrize("third", [20, None], ids=["beside a third", "alone"])
def test_a_pair_that_gets_nothing_is_given_nothing(first: Json, third: int | None) -> None:
    """Whoever sets both weights to 0 has sent the rule's requests elsewhere, or nowhere: no step of a run sends them back."""
    spec = spec_of(steps=[first, {"weight": 50, "hold": "10s"}, {"weight": 100}])
    rules = rule(stable=100, third=third), rule(stable=100, method="GET")
    world = begun(spec=spec, routes={"shop": route("shop", *rules)})
    world.edit_route("shop", emptied)
    world.run()
    good(world)
    assert world.decision is not None
    assert world.decision.reason == reasons.ROUTE_UNWRITABLE
    assert "both weights of the pair are 0, so there is nothing to divide; give stable a weight" in world.status.message
    assert [(each["s"], each["c"]) for each in weights(world)] == [(0, 0), (100, 0)]
    world.edit_route("shop", lambda document: emptied(document, 60))
    world.measure(0.0)
    world.run()
    assert [each["c"] / (each["c"] + each["s"]) for each in weights(world)] == [0.5, 0.5]


def test_a_pair_that_is_given_nothing_is_a_hand_that_lowered_it() -> None:
    """The run pauses, and a resume finds nothing to divide either until stable has a weight."""
    world = at_ten({"weight": 50, "hold": "10s"})
    world.edit_route("shop", lambda document: (shared(document), emptied(document)))
    world.run()
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.LOWERED_BY_HAND
    world.ask("resume", id_="on")
    world.run()
    good(world)
    assert (weights(world)[0]["s"], weights(world)[0]["c"], weights(world)[1]["c"]) == (0, 0, 10)
    assert "give stable a weight" in world.status.message
    world.edit_route("shop", lambda document: emptied(document, 100))
    world.ask("resume", id_="again")
    world.measure(0.0)
    world.run()
    assert [each["c"] for each in weights(world)] == [10, 10]


@pytest.mark.parametrize("how", ["fails", "aborted", "deleted", "another"])
def test_a_rule_whose_pair_has_nothing_beside_another_backend_is_left_so(how: str) -> None:
    """What the run had on record of it is not forced upon whoever has its traffic now."""
    world = at_ten({"weight": 50, "hold": "10s"})
    world.edit_route("shop", lambda document: (shared(document), emptied(document)))
    world.run()
    _ended(world, how)
    assert weights(world) == [{"s": 0, "c": 0, "third": 20}, {"s": 100, "c": 0}]
    assert how == "another" or not world.annotated()


def test_a_won_run_leaves_it_so_too() -> None:
    """As it leaves every other backend what it has."""
    spec = spec_of(steps=[{"weight": 0, "hold": "10s"}], workloads=None, promotion="Await")
    rules = rule(stable=100, third=20), rule(stable=100, method="GET")
    world = World(spec=spec, routes={"shop": route("shop", *rules)})
    world.run()
    world.ask("start", id_="go")
    world.run()
    world.edit_route("shop", emptied)
    world.run()
    good(world)
    world.ask("promote", id_="done")
    world.wait(70)
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.SUCCEEDED
    assert weights(world) == [{"third": 20, "s": 0, "c": 0}, {"s": 100, "c": 0}]
    assert not world.annotated()


def test_a_rule_that_serves_nobody_gets_its_weights_of_before() -> None:
    """Without another backend its users would be answered by nobody."""
    world = at_ten({"weight": 50})
    world.edit_route("shop", emptied)
    world.run()
    _ended(world, "aborted")
    assert weights(world) == [{"s": 100, "c": 0}] * 2


def _ended(world: World, how: str) -> None:
    match how:
        case "fails":
            world.measure(0.5)
        case "another":
            world.revise("c")
        case "aborted":
            world.ask("abort", id_="enough")
        case "deleted":
            world.delete()
    world.run()
    world.wait(70)


def test_what_a_run_writes_of_it_can_be_read_again() -> None:
    """Nothing on record says that a pair had nothing: a record that says so is none that a run could have left."""
    spec = spec_of(steps=[{"weight": 0, "hold": "10s"}, MIRROR, {"weight": 50}])
    world = begun(spec=spec, routes={"shop": route("shop", rule(stable=100, third=20), rule(stable=100, method="GET"))})
    theirs = {**rule(stable=0, third=5), "matches": [{"path": {"type": "PathPrefix", "value": "/new"}}]}
    world.edit_route("shop", lambda document: (emptied(document), document["spec"]["rules"].append(theirs)))
    world.run()
    good(world)
    raw = world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION]
    intent = parse_intent(raw)
    assert intent is not None, json.loads(raw)
    assert reasons.UNREADABLE_RECORD not in world.reasons
    assert len(world.copied()) == 3
    world.crash()
    world.measure(0.5)
    world.run()
    world.wait(70)
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK
    assert weights(world) == [{"third": 20, "s": 0, "c": 0}, {"s": 100, "c": 0}, {"third": 5, "s": 0, "c": 0}]
    assert not world.copied()


def test_a_swap_that_is_won_stays_won_where_somebody_gives_a_rule_away() -> None:
    """Whoever takes the run over sees that the canary has all that the pair has."""
    world = begun(
        spec=spec_of(steps=[{"weight": 100, "hold": "10s"}], promotion="Swap"),
        routes={"shop": route("shop", rule(stable=100, third=20), rule(stable=100, method="GET"))},
    )
    world.script = lambda _n, target: Fault.REFUSED if target == "shop" else None
    world.now += timedelta(seconds=11)
    world.measure(0.0)
    for _ in range(5):
        world.tick()
    assert world.status.run is not None
    assert (world.status.run.outcome, world.status.phase) == (Outcome.SUCCEEDED, Phase.PROMOTING)
    world.edit_route("shop", emptied)
    world.crash()
    world.script = None
    world.wait(70)
    assert world.status.swapped
    assert weights(world) == [{"third": 20, "s": 0, "c": 0}, {"s": 0, "c": 100}]


def test_a_swap_is_not_won_before_every_rule_gives_the_canary_everything() -> None:
    """A rule whose pair gets nothing has nothing to give."""
    world = at_ten(promotion="Swap")
    world.edit_route("shop", lambda document: document["spec"]["rules"].append({**rule(stable=0), "name": "new"}))
    world.run()
    good(world)
    world.wait(100)
    assert world.phase in {Phase.PROMOTING, Phase.PROGRESSING}
    assert not world.status.swapped
    assert "give stable a weight" in world.status.message
    assert world.annotated()
