"""Somebody edits the rules that a run has written so that they list the pair no more as declared: the run still has them in hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from world import Fault, Gateways, World, begun, mirror_to, route, rule, spec_of

from canary.decide import reasons
from canary.model.run_status import Outcome
from canary.model.status import Phase

Json = dict[str, Any]
Change = Callable[[Json], None]


def on(path: str, **more: Any) -> Json:
    """A rule with our pair for a path of its own."""
    return {**rule(**more), "matches": [{"path": {"type": "PathPrefix", "value": path}}]}


def given(world: World) -> list[int]:
    """What each rule gives the canary's Service, by all that it lists."""
    rules = world.routes["shop"]["spec"]["rules"]
    return [sum(ref.get("weight", 1) for ref in item["backendRefs"] if ref["name"] == "c") for item in rules]


def stable_of(world: World, index: int) -> list[int | None]:
    refs = world.routes["shop"]["spec"]["rules"][index]["backendRefs"]
    return [ref.get("weight") for ref in refs if ref["name"] == "s"]


def named() -> World:
    """At 10 % in two rules that the spec names, beside a third one."""
    rules = [on("/a", name="checkout"), on("/b", name="pay"), on("/c", name="other")]
    spec = spec_of(routes=[{"name": "shop", "rules": ["checkout", "pay"]}])
    world = begun(spec=spec, routes={"shop": route("shop", *rules)})
    world.wait(1)
    assert given(world) == [10, 10, 0]
    return world


def unnamed() -> World:
    """At 10 % in all of two rules."""
    world = begun(routes={"shop": route("shop", on("/a"), on("/b"))})
    world.wait(1)
    assert given(world) == [10, 10]
    return world


def renamed(document: Json) -> None:
    document["spec"]["rules"][1]["name"] = "pay2"


def removed(document: Json) -> None:
    del document["spec"]["rules"][1]


def canary_twice(document: Json) -> None:
    refs = document["spec"]["rules"][1]["backendRefs"]
    refs.append({**next(ref for ref in refs if ref["name"] == "c"), "weight": 900})


def stable_twice(document: Json) -> None:
    document["spec"]["rules"][1]["backendRefs"].append({"name": "s", "port": 80, "weight": 1})


def stable_gone(document: Json) -> None:
    refs = document["spec"]["rules"][1]["backendRefs"]
    refs[:] = [ref for ref in refs if ref["name"] == "c"]


def stable_elsewhere(document: Json) -> None:
    refs = document["spec"]["rules"][1]["backendRefs"]
    next(ref for ref in refs if ref["name"] == "s")["port"] = 9999


def another_for_stable(document: Json) -> None:
    refs = document["spec"]["rules"][1]["backendRefs"]
    next(ref for ref in refs if ref["name"] == "s")["name"] = "s2"


def stable_elsewhere_twice(document: Json) -> None:
    stable_elsewhere(document)
    refs = document["spec"]["rules"][1]["backendRefs"]
    refs.append({**next(ref for ref in refs if ref["name"] == "s"), "weight": 30})


def canary_elsewhere(document: Json) -> None:
    refs = document["spec"]["rules"][1]["backendRefs"]
    next(ref for ref in refs if ref["name"] == "c")["port"] = 9999


def new_rule(document: Json) -> None:
    refs = [{"name": "s", "port": 80}, {"name": "c", "port": 80}, {"name": "c", "port": 80}]
    document["spec"]["rules"].append({**on("/new"), "backendRefs": refs})


NAMED = [
    renamed,
    removed,
    canary_twice,
    stable_twice,
    stable_gone,
    stable_elsewhere,
    stable_elsewhere_twice,
    canary_elsewhere,
]
UNNAMED = [
    canary_twice,
    stable_twice,
    stable_gone,
    stable_elsewhere,
    stable_elsewhere_twice,
    canary_elsewhere,
    new_rule,
]
CASES = [*((named, change) for change in NAMED), *((unnamed, change) for change in UNNAMED)]


def fails(world: World) -> None:
    world.wait(2)
    world.measure(0.5)


def aborted(world: World) -> None:
    world.ask("abort", id_="enough")


def revised(world: World) -> None:
    """The run that follows waits before its first step."""
    world.revise("c")
    world.canary.rolled_out = False


def replanned(world: World) -> None:
    world.canary.rolled_out = False
    world.declare(steps=[{"weight": 20, "hold": "10s"}])


ENDS = [fails, aborted, revised, replanned]


def stripped(world: World) -> None:
    """Nothing but the status is left to tell."""
    world.crash()
    world.strip()


TROUBLES: list[Callable[[World], Any]] = [lambda world: None, World.crash, stripped]


@pytest.mark.parametrize("trouble", TROUBLES, ids=["", "crash", "strip"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("start", "change"), CASES)
def test_whatever_ends_a_run_takes_all_of_it_out_of_rules_that_were_edited(
    start: Callable[[], World], change: Change, end: Callable[[World], None], trouble: Callable[[World], Any]
) -> None:
    """Of each rule by itself: one that cannot be read as declared keeps no other one from being put back, nor itself."""
    world = start()
    trouble(world)
    world.edit_route("shop", change)
    world.run()
    end(world)
    world.run()
    assert not any(given(world)), world.routes["shop"]["spec"]["rules"]
    world.wait(70)
    assert not any(given(world))
    for index in range(len(world.routes["shop"]["spec"]["rules"])):
        assert any(stable_of(world, index)), "and its users are served"


@pytest.mark.parametrize(("start", "change"), CASES)
def test_a_rollout_that_is_deleted_lets_go_of_nothing_that_gives_its_canary_traffic(
    start: Callable[[], World], change: Change
) -> None:
    """The finalizer stays until all rules are back."""
    world = start()
    world.edit_route("shop", change)
    world.run()
    world.delete()
    world.run()
    assert world.gone
    assert not any(given(world))
    assert not world.annotated()


@pytest.mark.parametrize("trouble", TROUBLES, ids=["", "crash", "strip"])
@pytest.mark.parametrize(("start", "change"), CASES)
def test_a_hand_is_seen_before_the_first_step_of_a_run_that_follows_too(
    start: Callable[[], World], change: Change, trouble: Callable[[World], Any]
) -> None:
    """It has put the rules back that the run before it had written, so they are its own while one of them holds it up."""
    world = start()
    world.edit_route("shop", change)
    world.run()
    replanned(world)
    world.run()
    held = world.wait(30).reason == reasons.INVALID
    trouble(world)
    world.told.clear()

    def more(document: Json) -> None:
        refs = document["spec"]["rules"][0]["backendRefs"]
        next(ref for ref in refs if ref["name"] == "c")["weight"] = 90

    world.edit_route("shop", more, "bob")
    world.run()
    assert not any(given(world))
    words = "bob changed the canary's share on HTTPRoute shop from 0 % to 98.9011 %; putting it back to 0 %"
    told = [tell.message for tell in world.told if tell.reason == reasons.RAISED_BY_OTHER]
    assert told == [words] or not held
    aborted(world)
    world.run()
    world.wait(70)
    assert not any(given(world))
    assert not world.annotated()


@pytest.mark.parametrize("fault", Fault)
def test_whatever_becomes_of_its_first_write_a_run_that_follows_waits_before_its_first_step(fault: Fault) -> None:
    """The write says whose it is: it is nobody's hand to whoever comes after a crash, and until it is done the rule is as damaged as after it."""
    world = unnamed()
    world.edit_route("shop", canary_twice)
    world.run()
    world.faults["shop"] = fault
    world.declare(steps=[{"weight": 20, "hold": "10s"}])
    world.run()
    world.wait(20)
    step = world.status.step
    assert step is not None
    assert (world.phase, step.index, given(world)) == (Phase.PROGRESSING, 0, [0, 0])
    assert reasons.LOWERED_BY_HAND not in world.reasons


def test_the_run_that_follows_goes_on_when_the_rule_is_whole_again() -> None:
    """It has all rules in hand from its first step on."""
    world = unnamed()
    world.edit_route("shop", canary_twice)
    world.run()
    world.declare(steps=[{"weight": 20, "hold": "10s"}])
    world.run()
    world.wait(30)
    assert world.status.step is not None
    assert (world.status.step.index, given(world)) == (0, [0, 0])
    world.edit_route("shop", lambda document: document["spec"]["rules"][1]["backendRefs"].pop())
    world.run()
    world.wait(1)
    assert (given(world), [stable_of(world, index) for index in (0, 1)]) == ([20, 20], [[80], [80]])


@pytest.mark.parametrize("change", [renamed, removed])
def test_a_rule_that_goes_by_another_name_holds_the_run_where_it_is(change: Change) -> None:
    """That is nobody's word that the canary is to have less, and what people read is what the route says."""
    world = named()
    world.edit_route("shop", change)
    decision = world.run()
    world.measure(0.0)
    world.wait(1)
    world.measure(0.0)
    decision = world.wait(60)
    assert world.phase is Phase.PROGRESSING
    assert decision.reason == reasons.INVALID
    assert "has no rule named 'pay'" in decision.message
    assert "held at 10 %" in decision.message
    assert given(world)[0] == 10
    assert world.recorded["split"]["written"] == 10
    assert reasons.LOWERED_BY_HAND not in world.reasons


def test_the_run_goes_on_when_the_rule_has_its_name_again() -> None:
    """With what it was given."""
    world = named()
    world.edit_route("shop", renamed)
    world.wait(30)
    world.edit_route("shop", lambda document: document["spec"]["rules"][1].update(name="pay"))
    world.wait(1)
    world.measure(0.0)
    world.run()
    assert given(world) == [50, 50, 0]


@pytest.mark.parametrize("change", [canary_twice, stable_gone])
def test_more_for_the_canary_is_put_back_however_it_was_given(change: Change) -> None:
    """It counts as any other hand that raises its share."""
    world = unnamed()
    world.edit_route("shop", change)
    world.run()
    assert given(world) == [10, 10]
    assert stable_of(world, 1) == [90]
    assert reasons.RAISED_BY_OTHER in world.reasons
    assert reasons.LOWERED_BY_HAND not in world.reasons


def test_less_for_the_canary_is_a_persons_word_however_it_was_taken() -> None:
    """A second backendRef of stable takes from its share."""
    world = unnamed()
    world.edit_route("shop", stable_twice)
    decision = world.run()
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.LOWERED_BY_HAND
    assert "from 10 % to" in decision.message


def test_what_others_have_that_was_stables_is_left_to_them() -> None:
    """Whoever puts another backend into stable's place is not fought: the canary keeps its weight, and loses it with the run."""
    world = unnamed()
    world.edit_route("shop", another_for_stable)
    decision = world.run()
    assert decision.reason == reasons.INVALID
    assert given(world) == [10, 10]
    assert reasons.RAISED_BY_OTHER not in world.reasons
    aborted(world)
    world.run()
    refs = world.routes["shop"]["spec"]["rules"][1]["backendRefs"]
    assert [(ref["name"], ref["port"], ref["weight"]) for ref in refs] == [("s2", 80, 90), ("c", 80, 0)]


def test_two_references_given_during_a_rollback_are_taken_back_too() -> None:
    """While a gateway has not answered yet, the run is not over."""
    world = unnamed()
    world.gateways = Gateways.LATE
    world.measure(0.5)
    world.tick()
    world.edit_route("shop", canary_twice)
    world.run()
    assert not any(given(world))
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK


def test_a_rule_of_somebody_else_that_serves_the_canary_is_named_and_left() -> None:
    """Its owner gave that; the run says that not all traffic is back by its end."""
    world = unnamed()
    theirs = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/beta"}}],
        "backendRefs": [{"name": "c", "port": 80}],
    }
    world.edit_route("shop", lambda document: document["spec"]["rules"].append(theirs))
    world.run()
    fails(world)
    world.wait(70)
    assert given(world) == [0, 0, 1]
    assert world.phase is Phase.ROLLED_BACK
    told = [tell.message for tell in world.told if tell.reason == reasons.ROLLED_BACK]
    assert "spec.rules[2] of HTTPRoute shop gives the canary traffic all the same" in told[-1]


def test_a_status_that_was_lost_leaves_nothing_in_such_rules_either() -> None:
    """What the annotation says is enough."""
    world = unnamed()
    world.crash()
    world.recorded = {}
    world.edit_route("shop", stable_gone)
    world.run()
    assert not any(given(world))


def test_a_won_swap_ends_where_others_have_what_was_stables() -> None:
    """It leaves them what they have, and gives the canary no more than it has there."""
    world = begun(spec=spec_of(promotion="Swap"), routes={"shop": route("shop", on("/a"), on("/b"))})
    for _ in range(2):
        world.pass_step()
    assert given(world) == [100, 100]
    world.gateways = Gateways.LATE
    world.pass_step()
    had = given(world)
    world.edit_route("shop", another_for_stable)
    world.edit_route("shop", lambda document: document["spec"]["rules"][1]["backendRefs"][0].update(weight=300))
    world.answer(Gateways.PROMPT)
    world.wait(100)
    assert given(world) == had
    assert world.routes["shop"]["spec"]["rules"][1]["backendRefs"][0]["weight"] == 300
    assert not world.annotated()
    assert world.status.swapped
    world.delete()
    world.wait(100)
    assert world.gone


def guarded(document: Json) -> None:
    """Somebody puts a filter of their own into every rule."""
    for item in document["spec"]["rules"]:
        item.setdefault("filters", []).append(mirror_to("audit"))


def third(document: Json) -> None:
    """Somebody lists another backend beside what is left of the pair."""
    document["spec"]["rules"][1]["backendRefs"].append({"name": "third", "port": 80, "weight": 7})


@pytest.mark.parametrize("end", [fails, aborted, revised, World.delete])
@pytest.mark.parametrize("edits", [(guarded, stable_elsewhere), (stable_elsewhere, third), (stable_gone, third)])
def test_a_rule_that_is_edited_and_then_edited_again_stays_in_hand(
    edits: tuple[Change, Change], end: Callable[[World], None]
) -> None:
    """By what it was in between, as the run has seen it, or by what one more backend leaves of what it was."""
    world = unnamed()
    for change in edits:
        world.edit_route("shop", change)
        world.run()
    end(world)
    world.run()
    assert not any(given(world)), world.routes["shop"]["spec"]["rules"]


def test_copies_end_in_a_rule_that_is_edited_into_what_another_one_was() -> None:
    """Which rule is which is told wrongly then, and that it is the run's all the same."""
    steps = [{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "10s"}, {"weight": 50}]
    rules = rule(method="GET"), rule(filters=[mirror_to("audit")]), rule(filters=[])
    world = begun(spec=spec_of(steps=steps), routes={"shop": route("shop", *rules)})
    assert len(world.copied()) == 3
    world.edit_route("shop", guarded)
    world.run()
    world.edit_route("shop", stable_elsewhere)
    world.run()
    aborted(world)
    world.run()
    filters = [item["filters"] for item in world.routes["shop"]["spec"]["rules"]]
    assert all(
        item.get("requestMirror", {}).get("backendRef", {}).get("name") != "c" for each in filters for item in each
    )
    assert [item["requestMirror"]["backendRef"]["name"] for item in filters[1]] == ["audit", "audit"]
