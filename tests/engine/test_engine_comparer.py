"""Steps that mirror to a comparer: copies go to its Service instead of the canary's, and go whenever anything ends."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from test_engine_mirror import ENDS, MIRROR, filters, getting, message, theirs
from world import Fault, World, begun, mirror_to, route, spec_of

from canary.decide import reasons
from canary.model.measurement import Counts
from canary.model.run_status import Outcome
from canary.model.status import Phase

Json = dict[str, Any]

COMPARED: Json = {**MIRROR, "mirror": {"percent": 20, "comparer": {"service": "compare", "port": 80}}}
STEPS = [COMPARED, {"weight": 10, "hold": "10s"}, {"weight": 100, "hold": "10s"}]


def comparing(*rules: Json, **changes: Any) -> World:
    """A world whose run is at its first step, which mirrors to a comparer."""
    routes = {"shop": route("shop", *(rules or (getting(),)))}
    return begun(spec=spec_of(**{"steps": STEPS, **changes}), routes=routes)


def copied_to(world: World) -> list[str]:
    return [item["requestMirror"]["backendRef"]["name"] for item in filters(world) if item["type"] == "RequestMirror"]


def test_copies_go_to_the_comparer_and_not_to_the_canary() -> None:
    """One filter behind those that were there, no weight; who gets them is said when the step begins."""
    before = getting()
    world = comparing(copy.deepcopy(before))
    assert filters(world) == [*before["filters"], mirror_to("compare", percent=20)]
    assert world.share() == 0
    assert message(world).startswith("mirroring 20 % until 12:00:1")
    assert world.status.routes[0].pair == "team/s:80 team/c:80 team/compare:80"
    told = "step 1/3: mirroring 20 % of the requests to comparer compare, hold 10s"
    assert told in [tell.message for tell in world.told]


def test_the_next_step_takes_the_copies_away_and_gives_weight() -> None:
    """A mirror lasts for its own step, whoever gets it; a run that is promoted leaves the route as it was."""
    world = comparing()
    before = route("shop", getting())["spec"]
    world.pass_step()
    assert (copied_to(world), world.share()) == ([], 10)
    for _ in range(2):
        world.pass_step()
    world.stable.rolled_out = True
    world.run()
    assert world.phase is Phase.SUCCEEDED
    assert world.routes["shop"]["spec"] == before


@pytest.mark.parametrize(("what", "changes", "happens"), ENDS, ids=[row[0] for row in ENDS])
def test_whatever_ends_a_step_takes_its_copies_away(what: str, changes: Json, happens: Callable[[World], Any]) -> None:
    """And nobody else's filter, be it a team's own mirror to the canary."""
    world = comparing(getting(filters=[mirror_to("audit"), mirror_to("c", percent=1)]), **changes)
    assert copied_to(world) == ["audit", "c", "compare"]
    happens(world)
    for _ in range(6):
        world.tick()
    again = ["compare"] if what == "another revision" else []  # the run that begins may mirror again
    assert copied_to(world) == ["audit", "c", *again]


@pytest.mark.parametrize(
    "steps",
    [
        [{**MIRROR, "mirror": {"percent": 20, "comparer": {"service": "other", "port": 80}}}, *STEPS[1:]],
        [MIRROR, *STEPS[1:]],
        STEPS[1:],
    ],
    ids=["another comparer", "the canary itself", "no mirror any more"],
)
def test_an_edit_that_names_another_target_takes_back_what_went_to_the_one_before(steps: list[Json]) -> None:
    """What was written is known by what is on record of it, and not by what is declared by now."""
    world = comparing()
    world.declare(steps=steps)
    world.run()
    assert "compare" not in copied_to(world)
    world.ask("abort")
    world.run()
    assert copied_to(world) == []
    assert not world.annotated()


@pytest.mark.parametrize("first", [MIRROR, COMPARED], ids=["the canary before", "another comparer before"])
@pytest.mark.parametrize("weight", [0, 10])
def test_an_edit_of_the_target_is_nobodys_hand_on_the_route(first: Json, weight: int) -> None:
    """What went to the target before was put back by us: the next run begins, and accuses nobody."""
    other = {**MIRROR, "mirror": {"percent": 20, "comparer": {"service": "other", "port": 80}}}
    weights = [{"weight": weight, "hold": "10s"}] if weight else []
    world = comparing(steps=[*weights, first, *STEPS[1:]])
    if weight:
        world.pass_step()
    world.wait(2)
    world.declare(steps=[other, *STEPS[1:]])
    world.run()
    assert (world.phase, copied_to(world)) == (Phase.PROGRESSING, ["other"])
    assert not [tell.message for tell in world.told if "somebody" in tell.message]


@pytest.mark.parametrize("lost", ["status", "annotation"])
def test_copies_are_found_by_either_record_alone(lost: str) -> None:
    """The annotation names the comparer, and so does the status."""
    world = comparing()
    world.wait(2)
    if lost == "status":
        world.crash()
        world.recorded.clear()
    else:
        world.strip()
        world.ask("abort")
    world.run()
    assert copied_to(world) == []


def test_a_canary_that_fails_behind_a_comparer_served_nobody() -> None:
    """Copies are traffic, also those that the comparer sends on: a check that fails ends the run in the same tick."""
    world = comparing()
    world.wait(1)
    world.measure(0.5)
    world.tick()
    assert copied_to(world) == []
    world.run()
    run = world.memory.run if world.memory else None
    assert run is not None
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, reasons.CHECK_FAILED)
    assert "no user was served by it" in run.message


def test_a_rule_that_sends_copies_to_the_comparer_by_itself_is_never_mirrored() -> None:
    """Nobody could tell ours from theirs."""
    world = comparing(getting(filters=[mirror_to("compare", percent=1)]))
    assert world.phase is Phase.INVALID
    assert "mirrors 1 % of its requests to the comparer already" in message(world)


def test_a_person_who_takes_the_copies_away_wins() -> None:
    """Fewer than were written: the run pauses and says who."""
    world = comparing()
    world.wait(2)
    world.edit_filters(lambda found: found.pop(), by="alice")
    world.run()
    assert world.phase is Phase.PAUSED
    assert "alice" in message(world)
    assert copied_to(world) == []


def test_what_a_comparer_sends_on_is_no_share_of_the_gateways() -> None:
    """It asks the canary as often as it likes: counters of the canary tell nothing of what the gateway copies."""
    traffic = {"prometheus": {"query": "sent {{ backend.service }}"}, "lag": "1s"}
    world = comparing(traffic=traffic)
    for count in range(1, 6):
        world.wait(2)
        world.counters = Counts(1000.0 * count, 1000.0 * count, world.now)
        world.run()
    assert world.phase is Phase.PROGRESSING
    assert copied_to(world) == ["compare"]


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.CONFLICT, Fault.LOST])
@pytest.mark.parametrize("at", range(14))
def test_a_controller_may_die_at_any_write(fault: Fault, at: int) -> None:
    """In the end nothing of the run is left."""
    world = World(spec=spec_of(steps=STEPS), routes={"shop": route("shop", getting(), getting(filters=[]))})
    before = theirs(world)
    world.script = lambda number, _target: fault if number == at else None
    world.run()
    world.revise("b")
    world.run()
    for _ in range(5):
        world.wait(1)
        world.measure(0.5 if copied_to(world) else 0.0)
        world.run()
        world.wait(11)
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    assert theirs(world) == before
