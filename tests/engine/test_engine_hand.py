"""Promise 5: a human's hand wins downward, is put back upward, and is never overridden for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import Fault, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.model.run_status import Outcome
from canary.model.status import Phase
from canary.routes.intent import parse_intent, run_annotation

Json = dict[str, Any]
RUN_ANNOTATION = run_annotation("shop")


def at(share: int, **changes: object) -> World:
    """A world whose run is at the step with this share."""
    world = begun(**changes)
    while world.share() < share:
        world.pass_step()
    assert world.share() == share
    return world


def paused_for(world: World) -> str | None:
    assert world.memory is not None
    return world.memory.paused.reason if world.memory.paused else None


def test_lowered_pauses_and_says_who() -> None:
    """Somebody lowers the canary's share: the run pauses, names them, and writes nothing."""
    world = at(50)
    world.weigh(95, 5, by="kubectl-alice")
    decision = world.run()
    assert (decision.phase, paused_for(world)) == (Phase.PAUSED, reasons.LOWERED_BY_HAND)
    assert "kubectl-alice changed the canary's share on HTTPRoute shop from 50 % to 5 %" in decision.message
    world.pass_step(60)
    assert world.share() == 5


def test_lowered_goes_on_by_resume_alone() -> None:
    """`resume` enters the same step again: its weight, its acceptance, its whole hold."""
    world = at(50)
    world.weigh(95, 5)
    world.run()
    world.ask("resume")
    world.run()
    assert world.share() == 50
    assert world.memory is not None
    assert world.memory.step is not None
    assert (world.memory.step.index, world.memory.step.reached_at) == (2, world.now)


LONG = [{"weight": 10, "hold": "10s"}, {"weight": 50, "hold": "1h"}]
SILENCE = ["Unreachable", "NoData"]


def resumed(*rules: Json, says: str = "Unreachable") -> World:
    """Alice has lowered 50 % to 10 %, and somebody resumes the run while nobody can tell how the canary does."""
    world = at(50, spec=spec_of(steps=LONG), routes={"shop": route("shop", *rules)})
    world.wait(10)
    world.weigh(90, 10)
    world.run()
    world.measure(says)
    world.run()
    world.told.clear()
    world.ask("resume", id_="go on")
    world.run()
    assert_waits(world)
    return world


def assert_waits(world: World, share: float = 10) -> None:
    """The run goes on, and what it was resumed for waits."""
    assert world.decision is not None
    assert (world.phase, world.share()) == (Phase.PROGRESSING, share), world.decision.message
    assert "50 % waits for that" in world.decision.message
    assert reasons.LOWERED_BY_HAND not in world.reasons


def passes(world: World) -> None:
    world.wait(1)
    world.measure(0.0)
    world.run()


@pytest.mark.parametrize("trouble", [World.strip, World.crash, None])
@pytest.mark.parametrize("says", SILENCE)
def test_what_was_resumed_over_is_no_new_hand_while_the_share_waits(says: str, trouble: Any) -> None:
    """Until somebody can tell how the canary does, and whoever looks at it meanwhile."""
    world = resumed(says=says)
    if trouble is not None:
        trouble(world)
    world.run()
    world.wait(20)
    assert_waits(world)
    passes(world)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 50)
    assert reasons.LOWERED_BY_HAND not in world.reasons


@pytest.mark.parametrize("crash", [True, False])
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.LOST])
def test_nor_while_the_write_fails_that_gives_it_back(fault: Fault, crash: bool) -> None:
    """A server that is busy for a second undoes nobody's word."""
    world = at(50, spec=spec_of(steps=LONG))
    world.wait(10)
    world.weigh(90, 10)
    world.run()
    world.measure(0.0)
    world.ask("resume", id_="go on")
    world.faults["shop"] = fault
    world.tick()
    if crash:
        world.crash()
    for _ in range(4):
        world.measure(0.0)
        world.run()
        world.wait(1)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 50)


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
@pytest.mark.parametrize("nth", range(5))
def test_nor_whenever_the_controller_dies_in_between(nth: int, fault: Fault) -> None:
    """At any write from the request on."""
    world = at(50, spec=spec_of(steps=LONG))
    world.wait(10)
    world.weigh(90, 10)
    world.run()
    world.measure("Unreachable")
    world.run()
    world.told.clear()
    world.ask("resume", id_="go on")
    first = world.attempts
    world.script = lambda number, _: fault if number == first + nth else None
    world.run()
    world.wait(20)
    assert_waits(world)
    assert world.request is None
    passes(world)
    passes(world)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 50)


def test_a_status_that_says_so_without_anybody_having_asked_is_not_believed() -> None:
    """Whoever writes statuses resumes nothing by that."""
    world = at(50, spec=spec_of(steps=LONG))
    world.wait(10)
    world.weigh(90, 10)
    world.recorded["routes"][0]["resumed"] = {"#0": 0}
    world.crash()
    world.run()
    assert (paused_for(world), world.share()) == (reasons.LOWERED_BY_HAND, 10)


@pytest.mark.parametrize("crash", [True, False])
def test_what_others_do_to_the_route_meanwhile_lowers_nothing(crash: bool) -> None:
    """They edit another rule, or a timeout of ours, or what it is called."""
    world = resumed(rule(name="shop"), {"name": "theirs", "backendRefs": [{"name": "assets", "port": 80}]})
    for change in ({"timeouts": {"request": "9s"}}, {"name": "basket"}):
        for index in (1, 0):
            world.edit_route("shop", lambda route, n=index, more=change: route["spec"]["rules"][n].update(more))
            if crash:
                world.crash()
            world.run()
            assert_waits(world)
    passes(world)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 50)


@pytest.mark.parametrize("crash", [True, False])
def test_less_than_was_resumed_over_is_a_hand(crash: bool) -> None:
    """And what is told of it is what they did."""
    world = resumed()
    if crash:
        world.crash()
    world.weigh(95, 5, by="bob")
    decision = world.run()
    assert (paused_for(world), world.share()) == (reasons.LOWERED_BY_HAND, 5)
    assert "bob changed the canary's share on HTTPRoute shop from 10 % to 5 %" in decision.message
    passes(world)
    assert world.share() == 5


@pytest.mark.parametrize("crash", [True, False])
def test_more_than_was_resumed_over_waits_as_the_share_does(crash: bool) -> None:
    """Nobody can tell how the canary does: what somebody else gives it is put back to what was there."""
    world = resumed()
    if crash:
        world.crash()
    world.weigh(70, 30, by="bob")
    world.run()
    assert_waits(world)
    (told,) = (tell.message for tell in world.told if tell.reason == reasons.RAISED_BY_OTHER)
    assert told == "bob changed the canary's share on HTTPRoute shop from 10 % to 30 %; putting it back to 10 %"
    passes(world)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 50)


@pytest.mark.parametrize("how", ["pause", "spec"])
def test_a_pause_while_it_waits_is_no_hand_that_lowered_either(how: str) -> None:
    """It ends as it began, and the share waits again."""
    world = resumed()
    if how == "pause":
        world.ask("pause", id_="stop")
    else:
        world.declare(paused=True)
    world.run()
    assert paused_for(world) == (reasons.PAUSED_BY_REQUEST if how == "pause" else reasons.PAUSED_BY_SPEC)
    world.crash()
    world.run()
    if how == "pause":
        world.ask("resume", id_="go on again")
    else:
        world.declare(paused=False)
    world.run()
    assert_waits(world)
    passes(world)
    assert world.share() == 50


@pytest.mark.parametrize("crash", [True, False])
@pytest.mark.parametrize("seen", [True, False])
def test_once_it_has_the_share_the_same_hand_is_one_again(seen: bool, crash: bool) -> None:
    """Also where it comes before anybody has looked at the write that gave it."""
    world = resumed()
    world.wait(1)
    world.measure(0.0)
    world.tick()
    assert world.share() == 50
    if seen:
        world.run()
    if seen and crash:
        world.wait(5)
        world.crash()
    world.weigh(90, 10)
    world.run()
    assert (paused_for(world), world.share()) == (reasons.LOWERED_BY_HAND, 10)


def test_copies_that_somebody_has_taken_away_wait_as_well() -> None:
    """What is resumed is the step, with all that it gives."""
    steps = [{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "1h"}, {"weight": 50}]
    world = begun(spec=spec_of(steps=steps))
    world.wait(1)
    passes(world)
    world.unmirror()
    world.run()
    assert paused_for(world) == reasons.LOWERED_BY_HAND
    world.wait(1)
    world.measure("Unreachable")
    world.run()
    world.ask("resume", id_="go on")
    world.run()
    world.wait(5)
    assert (world.phase, world.copied()) == (Phase.PROGRESSING, {})
    passes(world)
    assert (world.phase, world.copied()) == (Phase.PROGRESSING, {"#0": 20})


@pytest.mark.parametrize("where", [0, 1])
def test_a_lowered_rule_is_not_raised_by_putting_another_back(where: int) -> None:
    """One rule lowered, another of the same route raised: only the raised one is put back, also after a crash."""
    rules = [rule(name="one"), rule(name="two")]
    world = at(50, routes={"shop": route("shop", *rules)})

    world.weigh(95, 5, rule_=where)
    world.weigh(10, 90, rule_=1 - where)
    for _ in range(2):
        world.run()
        shares = [float(pair.weights.share) for pair in world.pairs("shop")]
        assert shares[where] == 5
        assert shares[1 - where] == 50
        world.crash()
    world.run()
    assert paused_for(world) == reasons.LOWERED_BY_HAND


def test_unpausing_the_spec_does_not_raise_what_a_person_lowered() -> None:
    """spec.paused, then somebody lowers, then spec.paused is taken back: only `resume` goes on."""
    world = at(50)
    world.declare(paused=True)
    world.run()
    assert paused_for(world) == reasons.PAUSED_BY_SPEC
    world.weigh(95, 5)
    world.run()
    world.declare(paused=False)
    world.run()
    assert (world.share(), paused_for(world)) == (5, reasons.LOWERED_BY_HAND)


def test_unpausing_the_spec_resumes_when_nobody_lowered() -> None:
    """spec.paused taken back is enough when it was all there was."""
    world = at(50)
    world.declare(paused=True)
    world.wait(100)
    world.declare(paused=False)
    assert world.run().phase is Phase.PROGRESSING


@pytest.mark.parametrize("verb", ["pause", None])
def test_a_new_revision_does_not_end_a_persons_pause(verb: str | None) -> None:
    """Paused by hand, then a new revision: traffic goes back to stable, and the new run waits for `resume`."""
    world = at(50)
    if verb is None:
        world.weigh(95, 5)
    else:
        world.ask(verb)
    world.run()
    world.revise("c")
    decision = world.run()
    assert world.memory is not None
    assert world.memory.run is not None
    assert (world.memory.run.number, world.share(), decision.phase) == (2, 0, Phase.PAUSED)
    world.crash()
    world.wait(600)
    assert world.share() == 0
    world.ask("resume")
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)


def test_lowered_and_revised_at_once_is_lowered_all_the_same() -> None:
    """The new revision comes before we have seen that somebody lowered: their hand still counts."""
    world = at(50)
    world.weigh(95, 5, by="bob")
    world.revise("c")
    decision = world.run()
    assert (world.share(), paused_for(world)) == (0, reasons.LOWERED_BY_HAND)
    assert "bob" in decision.message


def test_traffic_goes_back_although_the_new_run_is_paused_and_its_first_write_fails() -> None:
    """The write that takes traffic off the new revision is tried again during the pause."""
    world = at(50)
    world.ask("pause")
    world.run()
    world.revise("c")
    world.faults["shop"] = Fault.REFUSED
    world.run()
    assert (world.share(), world.phase) == (0, Phase.PAUSED)


def test_raised_is_put_back_in_the_same_tick_and_told() -> None:
    """Somebody raises the share: it is put back at once, with their name in an Event."""
    world = at(10)
    world.weigh(20, 80, by="argocd")
    world.tick()
    assert world.share() == 10
    (tell,) = [tell for tell in world.told if tell.reason == reasons.RAISED_BY_OTHER]
    assert tell.type == "Warning"
    assert (
        tell.message == "argocd changed the canary's share on HTTPRoute shop from 10 % to 80 %; putting it back to 10 %"
    )


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("crash", [False, True])
def test_a_share_that_was_not_there_was_not_held(crash: bool, strip: bool) -> None:
    """Somebody raises it while nobody looks: once it is put back, the step is held from then on, and its gateways settle anew."""
    world = at(10)
    world.measure(0.0)
    world.run()
    if crash:
        world.crash()
    world.weigh(50, 50, by="argocd")
    if strip:
        world.strip()
    world.now += timedelta(seconds=20)
    back = world.now
    for _ in range(6):
        world.measure(0.0)
        world.tick()
    assert world.share() == 10
    step = world.status.step
    assert step is not None
    assert step.reached_at == back
    assert step.hold_until == back + timedelta(seconds=10)
    world.pass_step()
    assert world.share() == 50


def test_three_fights_in_ten_minutes_are_contested() -> None:
    """The third time we put it back and stop: Paused, Contested, the safer weight, Stalled."""
    world = at(10)
    for _ in range(3):
        world.weigh(20, 80, by="argocd")
        world.run()
        world.wait(30)
    assert (world.share(), world.phase, paused_for(world)) == (10, Phase.PAUSED, reasons.CONTESTED)
    conditions = {condition.type: condition.status for condition in world.status.conditions}
    assert (conditions["Contested"], conditions["Stalled"]) == ("True", "True")


def test_fights_more_than_ten_minutes_apart_are_not_contested() -> None:
    """Three raises, five and a half minutes apart: each is put back and the run goes on."""
    world = at(10, spec=spec_of(checks=None, steps=[{"weight": 10, "hold": "1h"}]))
    for _ in range(4):
        world.weigh(20, 80)
        world.run()
        world.wait(330)
        assert (world.share(), world.phase) == (10, Phase.PROGRESSING)


def test_fights_survive_a_restart() -> None:
    """The count of overrides is in the status, not in the controller."""
    world = at(10)
    for _ in range(3):
        world.weigh(20, 80)
        world.run()
        world.crash()
    world.run()
    assert paused_for(world) == reasons.CONTESTED


def test_one_raise_seen_several_times_is_one_fight() -> None:
    """Until our write lands, the same raise is seen in every tick."""
    world = at(10)
    world.weigh(20, 80)
    for _ in range(4):
        world.faults["shop"] = Fault.REFUSED
        world.tick()
    world.run()
    assert world.memory is not None
    assert (world.share(), len(world.memory.overrides), world.phase) == (10, 1, Phase.PROGRESSING)


def test_replacing_the_route_is_lowering_it() -> None:
    """`kubectl replace` of the manifest takes weights and annotation: the status still knows what we wrote."""
    world = at(50)

    def manifest(document: dict[str, object]) -> None:
        document["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1  # type: ignore[index]
        document["spec"]["rules"][0]["backendRefs"][1]["weight"] = 0  # type: ignore[index]
        document["metadata"]["annotations"].pop(RUN_ANNOTATION)  # type: ignore[index]

    world.edit_route("shop", manifest)
    world.run()
    assert (world.share(), paused_for(world)) == (0, reasons.LOWERED_BY_HAND)


def test_the_annotation_alone_comes_back() -> None:
    """Somebody strips only the annotation: it is written again, with what was there before the run."""
    world = at(50)
    world.strip()
    world.run()
    intent = parse_intent(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION])
    assert intent is not None
    assert {key: str(weights) for key, weights in intent.baseline.items()} == {"#0": "1/0"}
    assert world.phase is Phase.PROGRESSING


def test_taking_the_pair_out_pauses() -> None:
    """Somebody removes the canary's backendRef: that is lowering, too."""
    world = at(50)
    world.drop_pair()
    decision = world.run()
    assert paused_for(world) == reasons.LOWERED_BY_HAND
    assert "took the pair out of HTTPRoute shop" in decision.message


def test_a_pair_that_is_gone_leaves_no_annotation_behind() -> None:
    """The pair was taken out, the run is aborted: the annotation goes all the same."""
    world = at(50)
    world.drop_pair()
    world.run()
    world.ask("abort")
    world.run()
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK
    assert world.phase is Phase.INVALID  # at rest, a route without the pair is a mistake in the spec
    assert not world.annotated()


def test_the_same_share_in_other_numbers_is_no_drift() -> None:
    """9/1 instead of 90/10 is the same thing."""
    world = at(10)
    world.weigh(9, 1)
    world.run()
    assert world.phase is Phase.PROGRESSING
    assert [str(pair.weights) for pair in world.pairs("shop")] == ["9/1"]


def test_nobody_watches_weights_outside_of_runs() -> None:
    """At rest the weights are people's own business."""
    world = World()
    world.run()
    world.weigh(70, 30)
    world.run()
    assert (world.share(), world.phase) == (30, Phase.IDLE)


@pytest.mark.parametrize("dies", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
@pytest.mark.parametrize("paused", [True, False])
def test_a_hand_outlives_the_crash_of_the_run_that_gives_way(dies: Fault, paused: bool) -> None:
    """A share was lowered, the pause has another reason by now, and the next run's first write is all that is left of its decision."""
    both = [{"name": "shop"}, {"name": "api"}]
    spec = spec_of(routes=both, onFailure="Pause")
    world = at(50, spec=spec, routes={name: route(name) for name in ("shop", "api")})
    if paused:
        world.weigh(100, 0, "api")
        world.run()
        world.measure("0.5")
        world.run()
        assert paused_for(world) == reasons.CHECK_FAILED
    else:
        world.weigh(100, 0, "api")
    world.faults["shop"] = dies
    world.declare(routes=both[::-1])
    world.run()
    world.pass_step(60)
    assert world.share("api") == 0
    assert paused_for(world) == reasons.LOWERED_BY_HAND


TEN = {"weight": 10, "hold": "10s"}
COPIES = {"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "10s"}
OPTING = {"match": [{"headers": [{"name": "x-opt-in", "value": "yes"}]}], "hold": "10s"}


def fewer(world: World) -> None:
    """Somebody turns the canary down, whatever the step gives it."""
    world.weigh(97, 3)
    world.unmirror()
    world.edit_route("shop", lambda document: document["spec"]["rules"].__delitem__(slice(1, None)))


@pytest.mark.parametrize("fault", [Fault.DIES_AFTER, Fault.DIES_BEFORE, Fault.LOST])
@pytest.mark.parametrize("another", ["plan", "revision"])
@pytest.mark.parametrize("first", [TEN, COPIES, OPTING], ids=["weight", "mirror", "match"])
def test_a_hand_that_comes_with_what_begins_the_next_run_is_not_lost_with_its_first_write(
    first: Json, another: str, fault: Fault
) -> None:
    """That write goes over what showed the hand, and it may be all that is left of the decision: so it says so itself."""
    world = begun(spec=spec_of(steps=[first, {"weight": 50, "hold": "10s"}], checks=[]))
    world.wait(2)
    fewer(world)
    if another == "plan":
        world.declare(steps=[first, {"weight": 60, "hold": "10s"}])
    else:
        world.revise("c")
    world.faults["shop"] = fault
    world.run()
    for _ in range(3):
        world.pass_step(60)
    assert world.status.run is not None
    assert (world.status.run.number, world.phase) == (2, Phase.PAUSED)
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.LOWERED_BY_HAND
    assert (world.share(), world.copied(), len(world.routes["shop"]["spec"]["rules"])) == (0, {}, 1)
    world.ask("resume", id_="on")
    world.wait(5)
    assert world.share() == (10 if first is TEN else 0)
    assert bool(world.copied()) == (first is COPIES)
    assert len(world.routes["shop"]["spec"]["rules"]) == (2 if first is OPTING else 1)
    world.crash()
    world.wait(5)
    assert world.phase is Phase.PROGRESSING, "what somebody has resumed stays resumed"


@pytest.mark.parametrize("weights", [(0, 0), (20, 0), (7, 0)])
def test_what_an_owner_makes_of_a_route_before_its_first_write_is_theirs(weights: tuple[int, int]) -> None:
    """A run that waits at 0 % has written nothing: what it found when it began is old by the time it ends."""
    world = begun(spec=spec_of(steps=[{"approval": {}}, {"weight": 50}], promotion="Await"))
    world.weigh(*weights)
    world.run()
    world.ask("abort")
    world.run()
    world.wait(70)
    assert [ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]] == [*weights]


def test_a_share_that_somebody_gives_before_the_first_write_is_taken_back() -> None:
    """It is no baseline."""
    world = begun(spec=spec_of(steps=[{"approval": {}}, {"weight": 50}], promotion="Await"))
    world.weigh(60, 40)
    world.run()
    world.ask("abort")
    world.run()
    world.wait(70)
    assert world.share() == 0
