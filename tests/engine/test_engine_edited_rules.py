"""Promises 1, 3, 4 and 5: a rule that a step with a `match` added stays the run's, whoever has edited it, and goes with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from promises import OPT_IN
from world import World, begun, route, rule, spec_of, stranger

from canary.decide import reasons
from canary.model.status import Phase

Json = dict[str, Any]

MATCH: Json = {"match": [{"headers": [{"name": OPT_IN, "value": "yes"}]}], "hold": "1h"}
STEPS = [MATCH, {"weight": 10, "hold": "10s"}]
TENANT: Json = {"type": "Exact", "name": "x-tenant", "value": "acme"}


def matching(name: str | None, **changes: Any) -> World:
    """A run at its first step, which lets requests opt in; on a route that others share."""
    spec = spec_of(**{"steps": STEPS, "acceptTimeout": "10s", **changes})
    world = begun(spec=spec, routes={"shop": route("shop", rule(name=name), stranger())})
    world.wait(1)
    assert len(rules(world)) == 3
    return world


def rules(world: World) -> list[Json]:
    found: list[Json] = world.routes["shop"]["spec"]["rules"]
    return found


def weightless(ours: Json) -> None:
    """What a person does who lowers the canary's share."""
    ours["backendRefs"][0]["weight"] = 0


def divided(ours: Json) -> None:
    ours["backendRefs"] = [{"name": "s", "port": 80, "weight": 90}, {"name": "c", "port": 80, "weight": 10}]


def emptied(ours: Json) -> None:
    ours["backendRefs"] = []


def given_to_stable(ours: Json) -> None:
    ours["backendRefs"] = [{"name": "s", "port": 80, "weight": 1}]


def narrowed(ours: Json) -> None:
    ours["matches"][0]["headers"].append(copy.deepcopy(TENANT))


def widened(ours: Json) -> None:
    ours["matches"][0]["headers"][0] |= {"type": "RegularExpression", "value": ".*"}


def another_condition(ours: Json) -> None:
    ours["matches"][0]["headers"][0]["value"] = "no"


def mostly_elsewhere(ours: Json) -> None:
    ours["backendRefs"].append({"name": "third", "port": 80, "weight": 9})


LOWER = [weightless, divided, emptied, given_to_stable]
NARROWER = [narrowed]
WIDER = [widened, another_condition]
ENDS = ["abort", "deletion", "revision", "plan", "crash and abort"]

Hand = Callable[[Json], None]


def edit(world: World, hand: Hand, by: str = "alice") -> None:
    world.edit_route("shop", lambda document: hand(document["spec"]["rules"][-1]), by)


def finish(world: World, end: str) -> None:
    if end.startswith("crash"):
        world.crash()
    match end.rsplit(maxsplit=1)[-1]:
        case "abort":
            world.ask("abort", id_="stop")
        case "deletion":
            world.delete()
        case "revision":
            world.revise("d")
            world.canary.ready = 0  # so that the next run stays before its first step
        case "plan":
            world.declare(steps=[{"approval": {}}, {"weight": 50}])
    world.run()
    world.wait(70)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("hand", [*LOWER, *NARROWER, *WIDER], ids=lambda hand: hand.__name__)
@pytest.mark.parametrize("name", ["main", None])
def test_whatever_ends_the_run_takes_the_rule_away_whoever_edited_it(name: str | None, hand: Hand, end: str) -> None:
    """It exists by our hand. Nobody else's rule goes with it, and no one who opts in is answered with 500 for good."""
    world = matching(name)
    before = rules(world)[:2]
    edit(world, hand)
    world.run()
    finish(world, end)
    assert rules(world) == before
    assert world.phase is not Phase.INVALID


@pytest.mark.parametrize("hand", [*LOWER, *NARROWER], ids=lambda hand: hand.__name__)
@pytest.mark.parametrize("name", ["main", None])
def test_whoever_lowers_it_wins_and_is_named(name: str | None, hand: Hand) -> None:
    """As with weights: the run pauses, what they wrote stays, and `resume` gives it back."""
    world = matching(name)
    ours = copy.deepcopy(rules(world)[-1])
    edit(world, hand)
    there = copy.deepcopy(rules(world)[-1])
    world.run()
    assert (world.phase, world.status.paused and world.status.paused.reason) == (Phase.PAUSED, reasons.LOWERED_BY_HAND)
    assert "alice" in world.status.message
    assert "the rule for requests that opt in" in world.status.message
    assert ("took away" in world.status.message) is (hand in {weightless, emptied, given_to_stable})
    world.wait(60)
    assert rules(world)[-1] == there
    world.ask("resume", id_="on")
    world.run()
    assert rules(world)[2:] == [ours]
    assert world.phase is Phase.PROGRESSING


@pytest.mark.parametrize("hand", WIDER, ids=lambda hand: hand.__name__)
@pytest.mark.parametrize("name", ["main", None])
def test_whoever_makes_it_one_for_other_requests_has_given_the_canary_more(name: str | None, hand: Hand) -> None:
    """It is put back, they are named, and the third time in ten minutes the run is contested, without that rule."""
    world = matching(name)
    ours = copy.deepcopy(rules(world)[-1])
    for _ in range(2):
        edit(world, hand)
        world.run()
        assert rules(world)[2:] == [ours]
        assert any("alice edited" in tell.message for tell in world.told)
    edit(world, hand)
    world.run()
    assert rules(world)[2:] in ([], [ours])
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.CONTESTED


@pytest.mark.parametrize("name", ["main", None])
@pytest.mark.parametrize("hand", [divided, *NARROWER], ids=lambda hand: hand.__name__)
def test_a_check_that_fails_is_about_those_whom_an_edited_rule_serves(name: str | None, hand: Hand) -> None:
    """They are users of the canary, so the run is rolled back, and the Event says who had edited what goes."""
    world = matching(name)
    edit(world, hand)
    world.run()
    assert world.phase is Phase.PAUSED
    world.measure(0.5)
    world.run()
    world.wait(3)
    assert world.status.run is not None
    assert world.status.run.reason == reasons.CHECK_FAILED
    assert len(rules(world)) == 2
    (told,) = [tell for tell in world.told if tell.reason == reasons.RULE_EDITED]
    assert "alice has edited the rule for requests that opt in" in told.message
    world.wait(70)
    assert world.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("name", ["main", None])
def test_admission_that_edits_it_ends_the_run_after_accept_timeout_once(name: str | None) -> None:
    """A policy adds a condition to every rule that is written: what was asked for is not served, and nothing of it stays."""
    world = World(
        spec_of(steps=STEPS, acceptTimeout="10s", checks=[]), {"shop": route("shop", rule(name=name), stranger())}
    )
    before = copy.deepcopy(rules(world))
    world.run()

    def admission(document: Json) -> None:
        for each in document["spec"]["rules"][2:]:
            for match in each["matches"]:
                if TENANT not in match.setdefault("headers", []):
                    match["headers"].append(copy.deepcopy(TENANT))

    world.admission = admission
    world.revise("b")
    most = 0
    for second in range(40):
        for _ in range(3):
            world.tick()
        world.now += timedelta(seconds=1)
        most = max(most, len(rules(world)))
        if second == 5:
            assert world.status.phase is Phase.PROGRESSING
            assert "API server keeps another one" in world.status.message
    assert most == 3
    assert rules(world) == before
    assert world.phase is Phase.ROLLED_BACK
    assert world.status.run is not None
    assert world.status.run.reason == reasons.NOT_ACCEPTED


@pytest.mark.parametrize("name", ["main", None])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_rule_of_its_owner_is_never_taken_for_it(name: str | None, *, by_name: bool) -> None:
    """Somebody takes ours away, and has one of their own for such requests, for whom and by whatever weights: that stays."""
    world = matching(name)
    ours = copy.deepcopy(rules(world)[-1])
    theirs = {**copy.deepcopy(ours), "backendRefs": [{"name": "third", "port": 80, "weight": 1}], "owner": "alice"}
    if not by_name:
        theirs.pop("name", None)

    def change(document: Json) -> None:
        document["spec"]["rules"][-1:] = [theirs]

    world.edit_route("shop", change, "alice")
    world.run()
    finish(world, "abort")
    assert rules(world)[2:] == [theirs]


@pytest.mark.parametrize("name", ["main", None])
def test_after_its_step_a_rule_that_its_owner_prepares_is_theirs(name: str | None) -> None:
    """For the same requests, both backends in it, nothing for the canary yet: the run's own is gone by then, and on record as gone."""
    world = matching(name, steps=[{**MATCH, "hold": "10s"}, {"weight": 10, "hold": "1h"}])
    theirs = copy.deepcopy(rules(world)[-1])
    theirs.pop("name", None)
    theirs["owner"] = "alice"
    theirs["backendRefs"] = [{"name": "s", "port": 80, "weight": 1}]
    world.pass_step()
    world.wait(1)
    assert len(rules(world)) == 2
    world.edit_route("shop", lambda document: document["spec"]["rules"].append(theirs), "alice")
    world.run()
    world.wait(2)
    finish(world, "abort")
    assert rules(world)[2:] == [theirs]


@pytest.mark.parametrize("end", ["check", "abort", "deletion"])
@pytest.mark.parametrize("ports", [("c",), ("s", "c")], ids=["the canary's", "both"])
@pytest.mark.parametrize("name", ["main", None])
def test_it_goes_also_where_somebody_has_edited_the_ports_of_all_rules(
    name: str | None, ports: tuple[str, ...], end: str
) -> None:
    """As who replaces a port in a whole file does: a backend is told by its Service, in the rule that was added too."""
    world = matching(name)

    def edited(document: Json) -> None:
        for each in document["spec"]["rules"]:
            for ref in each["backendRefs"]:
                if ref["name"] in ports:
                    ref["port"] = 8080

    world.edit_route("shop", edited, "argocd")
    world.run()
    if end == "check":
        for _ in range(3):
            world.measure(0.5)
            world.run()
            world.wait(40)
    elif end == "abort":
        world.ask("abort", id_="one")
    else:
        world.delete()
    world.run()
    world.wait(70)
    given = [ref["weight"] for each in rules(world) for ref in each["backendRefs"] if ref["name"] == "c"]
    assert len(rules(world)) == 2
    assert not any(given)
