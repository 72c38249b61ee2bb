"""Promise 6: a crash at any write, or a write that fails, changes nothing but time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from world import Fault, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.model.run_status import Outcome
from canary.model.status import Phase, RequestOutcome
from canary.routes.filters import Copied
from canary.routes.intent import Intent, Mode, parse_intent, run_annotation

RUN_ANNOTATION = run_annotation("shop")

TWO = [{"name": "shop"}, {"name": "api"}]
APPROVALS = [{"weight": 10, "approval": {}}, {"weight": 50, "approval": {}}, {"weight": 100}]


def two_routes() -> dict[str, Any]:
    return {"shop": route("shop"), "api": route("api", rule(name="x", stable=90, canary=0, third=10))}


@dataclass
class Story:
    """A world, what its checks measure at which share, and what people do when they read the status."""

    make: Callable[[], World]
    errors: Callable[[float], float | str] = lambda _share: 0.0
    people: Callable[[World], None] = lambda _world: None


def asks(**by_reason: str) -> Callable[[World], None]:
    """Somebody who asks for something, once each, when the recorded status gives a reason to."""

    def people(world: World) -> None:
        for condition in world.status.conditions:
            verb = by_reason.get(condition.reason)
            index = world.status.step.index if world.status.step else 0
            if condition.type == "Reconciling" and verb and world.request is None:
                last = world.status.last_request
                id_ = f"{verb}-{index}"
                if last is None or last.id != id_:
                    world.ask(verb, id_=id_)

    return people


def at_step(index: int, verb: str) -> Callable[[World], None]:
    """Somebody who asks for something once, as soon as the recorded status shows a step."""

    def people(world: World) -> None:
        asked = world.status.last_request is not None or world.request is not None
        if not asked and world.status.active and world.status.step is not None and world.status.step.index >= index:
            world.ask(verb, id_=verb)

    return people


STORIES: dict[str, Story] = {
    "all steps pass, the pod spec is copied": Story(World),
    "two routes, one with a third backend": Story(lambda: World(spec_of(routes=TWO), two_routes())),
    "fails at half the traffic": Story(lambda: World(spec_of(routes=TWO), two_routes()), lambda s: 1 if s >= 50 else 0),
    "fails at once, with a failure tolerated": Story(
        lambda: World(
            spec_of(
                checks=[
                    {**spec_of().checks[0].model_dump(by_alias=True, mode="json", exclude_none=True), "failureLimit": 1}
                ]
            )
        ),
        lambda _: 1,
    ),
    "unknown for longer than the hold limit": Story(
        lambda: World(
            spec_of(checks=[{"name": "e", "prometheus": {"query": "q"}, "threshold": {"max": 1}, "holdLimit": "1m"}])
        ),
        lambda s: "NoData" if s >= 50 else 0,
    ),
    "the two change roles": Story(lambda: World(spec_of(promotion="Swap"))),
    "every step is approved by a person": Story(
        lambda: World(spec_of(steps=APPROVALS)), people=asks(AwaitingApproval="promote")
    ),
    "awaits the stable workload, ended by promote": Story(
        lambda: World(spec_of(promotion="Await")), people=asks(AwaitingStable="promote")
    ),
    "aborted at step two": Story(World, people=at_step(2, "abort")),
    "promoted in full at step one": Story(World, people=at_step(1, "promote-full")),
    "paused by its policy, then aborted": Story(
        lambda: World(spec_of(onFailure="Pause")), lambda s: 1 if s >= 50 else 0, asks(CheckFailed="abort")
    ),
}


@dataclass
class Chapter:
    """Where a story stands before one of its rounds."""

    world: World
    round: int = 0


def first_chapter(story: Story) -> Chapter:
    """The first sight of the Rollout is on record, and there is something to release."""
    world = story.make()
    world.run()
    world.crash()  # from here on the story is the same, whatever happens
    world.revise("b")
    world.attempts = 0
    return Chapter(world)


def play(
    story: Story,
    script: Callable[[int, str], Fault | None] | None = None,
    begin: Chapter | None = None,
    chapters: list[Chapter] | None = None,
) -> tuple[dict[str, Any], World]:
    """From a chapter (the first one) to the end of the first run; returns what is left in the cluster.

    `chapters` takes in where the story stood before each round, from which it can be played again.
    """
    at = copy.deepcopy(begin) if begin is not None else first_chapter(story)
    world, world.script = at.world, script
    for round_ in range(at.round, 80):
        if chapters is not None:
            chapters.append(Chapter(copy.deepcopy(world), round_))
        world.run()
        story.people(world)
        world.run()
        ended = world.status.run is not None and not world.status.active
        if ended and world.request is None:
            break
        world.wait(4)
        if world.memory is not None and world.memory.active and world.memory.step and world.memory.step.index:
            name = next(iter(world.routes))
            world.measure(story.errors(world.share(name)))
        world.stable.rolled_out = world.canary.rolled_out = True
        world.run()
        world.wait(5)
    else:
        raise AssertionError(f"the story has no end: {world.decision}")
    status = world.status
    assert status.run is not None
    left = {
        "phase": status.phase,
        "run": status.run.number,
        "outcome": status.run.outcome,
        "request": (status.last_request.verb, status.last_request.words) if status.last_request else None,
        "settled": status.revisions.settled,
        "swapped": status.swapped,
        "stable": (world.stable.revision, world.stable.kept),
        "canary": (world.canary.revision, world.canary.kept),
        "routes": {name: (document["spec"], world.annotated(name)) for name, document in world.routes.items()},
        "finalizer": world.finalizer,
    }
    return left, world


CASES = [pytest.param(name, fault, id=f"{name}: {fault.name}") for name in STORIES for fault in Fault]


@cache
def base(name: str) -> tuple[dict[str, Any], int, tuple[Chapter, ...]]:
    """What a story leaves without any trouble, with how many writes, and its chapters."""
    chapters: list[Chapter] = []
    left, world = play(STORIES[name], chapters=chapters)
    return left, world.attempts, tuple(chapters)


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_trouble_at_any_write_changes_nothing_but_time(name: str, fault: Fault) -> None:
    """The story is played once for every write it makes, from the chapter of that write on, with trouble at it."""
    expected, attempts, chapters = base(name)
    assert attempts >= 8
    for trouble in range(attempts):
        struck: list[str] = []

        def script(n: int, target: str, at: int = trouble, struck: list[str] = struck) -> Fault | None:
            if n == at:
                struck.append(target)
            return fault if n == at else None

        begin = max((one for one in chapters if one.world.attempts <= trouble), key=lambda one: one.round)
        left, _ = play(STORIES[name], script, begin)
        assert struck
        seen = {**left, "routes": without_seen(left["routes"])}
        assert seen == expected, f"{fault} at write {trouble}"


def without_seen(routes: dict[str, Any]) -> dict[str, Any]:
    """The routes without what the other writer of a conflict left there."""
    text = json.loads(json.dumps(routes))
    for spec, _ in text.values():
        for rule_ in spec["rules"]:
            for ref in rule_["backendRefs"]:
                if "x-zone" in ref:
                    ref["x-zone"] = "a"
    return {name: (spec, annotated) for name, (spec, annotated) in text.items()}


@pytest.mark.parametrize("name", ["all steps pass, the pod spec is copied", "fails at half the traffic"])
def test_dying_at_every_fifth_write_still_comes_to_the_same_end(name: str) -> None:
    """A controller that dies all the time is slow, and nothing else. (Each life begins with a write a route: its turn.)"""
    expected, attempts, _ = base(name)
    left, world = play(STORIES[name], lambda n, _target: Fault.DIES_AFTER if n % 5 == 4 else None)
    assert left == expected
    assert world.attempts > attempts / 2


# -- what the annotation alone says -------------------------------------------------------------------------------


def annotate(world: World, **changes: Any) -> None:
    """The annotation as another life of the controller left it."""

    def change(document: dict[str, Any]) -> None:
        old = parse_intent(document["metadata"]["annotations"][RUN_ANNOTATION])
        assert isinstance(old, Intent)
        document["metadata"]["annotations"][RUN_ANNOTATION] = replace(old, **changes).dump()

    world.edit_route("shop", change, "canary")


def further(world: World, *, request: str = "") -> None:
    """The controller dies; by then the route has what step two gives, and its annotation says so."""
    world.crash()
    world.weigh(50, 50)
    annotate(world, step=2, weights={"#0": world.pairs("shop")[0].weights}, request=request)


def test_a_route_that_is_further_says_which_step_it_is() -> None:
    """Status: step 1. Route: step 2. The run goes on at step 2, and holds it in full."""
    world = begun()
    further(world)
    world.promises.lowered.clear()
    world.promises.allowed[1] = {"": Fraction(50)}
    decision = world.run()
    assert world.memory is not None
    assert world.memory.step is not None
    assert (world.memory.step.index, world.memory.step.reached_at) == (2, world.now)
    assert decision.reason == reasons.HOLDING


OFFICE = {"days": ["Mon"], "from": "09:00", "to": "17:00", "timezone": "Europe/Berlin"}
UNLEFT: dict[str, dict[str, Any]] = {
    "an approval": {"approval": {}},
    "an approval by one who is named": {"approval": {"by": {"users": ["alice"]}}},
    "the hours of its window": {"gate": {"window": OFFICE}},
    "another system": {"gate": {"http": {"url": "https://gate.example.com/"}}},
}


@pytest.mark.parametrize("waits", UNLEFT)
def test_a_route_that_is_further_leaves_no_step_that_waits(waits: str) -> None:
    """Whoever may write a route, and its annotation, approves nothing and opens no gate, also while no controller is there."""
    world = begun(spec=spec_of(checks=None, steps=[{"weight": 10, **UNLEFT[waits]}, {"weight": 50}, {"weight": 100}]))
    world.wait(60)
    assert (world.status.step.index if world.status.step else 0, world.share()) == (1, 10)
    further(world)
    world.run()
    world.wait(60)
    assert (world.status.step.index if world.status.step else 0, world.share()) == (1, 10)


@pytest.mark.parametrize(
    ("verb", "asked", "vouched", "step"),
    [
        ("promote", "r", True, 2),
        ("promote", "r", False, 1),
        ("promote", "r", None, 1),
        ("promote", "another", True, 2),
        ("pause", "r", True, 1),
    ],
)
def test_a_step_was_left_by_who_may_approve_it(verb: str, asked: str, vouched: bool | None, step: int) -> None:
    """A request that stands, and that the route names, was done right before the controller died, if it is by one of those who may."""
    steps = [{"weight": 10, "approval": {"by": {"users": ["alice"]}}}, {"weight": 50, "hold": "1h"}, {"weight": 100}]
    world = begun(spec=spec_of(checks=None, steps=steps))
    world.wait(60)
    world.ask_as("alice", verb, id_=asked)
    further(world, request="r")
    world.vouched = vouched
    world.promises.lowered.clear()
    world.promises.allowed[1] = {"": Fraction(50 if step == 2 else 10)}
    world.run()
    world.wait(5)
    assert world.status.step is not None
    assert (world.status.step.index, world.share()) == (step, 50 if step == 2 else 10)


EXTRAS: dict[str, dict[str, Any]] = {
    "a mirror": {"mirror": {"percent": 20, "allowUnsafeMethods": True}},
    "a rule for who opts in": {"match": [{"headers": [{"name": "x-opt-in", "value": "yes"}]}]},
}


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("second", ["route", "status", "none"])
def test_what_an_approved_step_added_goes_though_nobody_vouches_for_the_approval_anymore(
    extra: str, second: str
) -> None:
    """The controller dies right after the write of that step, and the next one does at its own first write, or record."""
    by = {"users": ["alice"]}
    steps = [{"weight": 10, "approval": {"by": by}}, {"weight": 25, "hold": "1h", **EXTRAS[extra]}, {"weight": 100}]
    world = begun(spec=spec_of(checks=None, steps=steps))
    world.wait(60)
    before = copy.deepcopy(world.routes["shop"]["spec"]["rules"])
    world.ask_as("alice", "promote", id_="r")
    world.vouched = True
    world.tick()
    assert world.routes["shop"]["spec"]["rules"] != before
    world.crash()
    world.vouched = False
    world.promises.lowered.clear()
    world.tick()
    if second != "none":
        world.faults["shop" if second == "route" else "status"] = (
            Fault.DIES_AFTER if second == "route" else Fault.DIES_BEFORE
        )
        world.tick()
    world.run()
    world.wait(5)
    assert world.share() == 10
    world.ask("abort", id_="enough")
    world.run()
    world.wait(70)
    (left,) = world.routes["shop"]["spec"]["rules"]
    assert left["filters"] == before[0]["filters"]
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_gate_leads_no_further_back_than_to_its_step(extra: str) -> None:
    """Which sent copies, or had a rule of its own, and the next one does not."""
    gated = {"weight": 10, "gate": {"http": {"url": "https://gate.example.com/"}}, **EXTRAS[extra]}
    world = begun(
        spec=spec_of(
            checks=None, steps=[{"weight": 5, "hold": "20s"}, gated, {"weight": 50, "hold": "1h"}, {"weight": 100}]
        )
    )
    for _ in range(70):
        world.wait(1)
        world.hear(True)
        if world.share() == 50:
            break
        world.run()
    assert world.share() == 50
    world.recorded["step"] = {**world.recorded["step"], "index": 2, "display": "2/4"}
    world.crash()
    world.run()
    assert world.status.step is not None
    assert world.status.step.index == 2
    assert world.share() == 10


def test_an_annotation_that_names_any_number_of_rules_stops_nothing() -> None:
    """As many as can be in one, and none of them there: no more is put on record than may be, and a check that fails rolls back."""
    world = begun(
        spec=spec_of(steps=[{"weight": 10, "hold": "1h", "mirror": {"percent": 20, "allowUnsafeMethods": True}}])
    )
    world.wait(1)
    annotate(world, mirrors={f"r{number}": Copied(Fraction(0)) for number in range(64)})
    world.run()
    assert len(world.status.routes[0].mirrors) <= 64
    world.measure(1.0)
    world.run()
    world.wait(70)
    assert (world.phase, world.share(), world.copied()) == (Phase.ROLLED_BACK, 0, {})


@pytest.mark.parametrize("away", [0, 1, 5, 3600])
@pytest.mark.parametrize("after", [0, 4])
def test_an_approval_of_before_an_absence_counts(after: int, away: int) -> None:
    """It was given in the step that is going on, however early, and however long nobody was there since."""
    steps = [{"weight": 10, "hold": "30s", "approval": {}}, {"weight": 50, "hold": "1h"}]
    world = begun(spec=spec_of(checks=None, steps=steps))
    world.reckons = True
    world.wait(after)
    world.ask("promote", id_="early")
    world.run()
    assert world.status.step is not None
    assert world.status.step.approved
    world.now += timedelta(seconds=1)
    world.crash()
    world.now += timedelta(seconds=away)
    world.run()
    world.wait(31)
    assert (world.status.step.index, world.share(), world.phase) == (2, 50, Phase.PROGRESSING)


def test_a_route_that_rolls_back_ends_the_run() -> None:
    """Status: Progressing. Route: rollback. The run is over."""
    world = begun()
    world.crash()
    annotate(world, mode=Mode.ROLLBACK)
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.outcome, world.share()) == (Phase.ROLLED_BACK, Outcome.ROLLED_BACK, 0)


def test_one_rolling_back_route_of_two_is_enough() -> None:
    """The crash came between the two rollback writes: the other one follows at once."""
    world = World(spec_of(routes=TWO), two_routes())
    world.run()
    world.revise("b")
    world.run()
    world.measure(1.0)
    world.faults["api"] = Fault.DIES_BEFORE
    world.tick()
    assert (world.share("shop"), world.share("api")) == (0, 10)
    world.tick()
    assert (world.share("shop"), world.share("api")) == (0, 0)


def test_a_route_that_finishes_means_success() -> None:
    """Status: Promoting. Route: finish. The run is won, and what was copied stays."""
    world = begun(spec=spec_of(steps=[{"weight": 100}], checks=None))
    world.stable.rolled_out = True
    for _ in range(9):
        world.tick()
        if any(kind == "route" and action.intent and action.intent.mode is Mode.FINISH for kind, action in world.wrote):
            break
    world.crash()
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.outcome, world.stable.revision) == (Phase.SUCCEEDED, Outcome.SUCCEEDED, "b")


def test_a_lost_status_puts_the_routes_back_and_settles() -> None:
    """Somebody deletes the whole status during a run: nothing is left on the routes, and nothing runs."""
    world = begun()
    world.crash()
    world.recorded = {}
    world.run()
    assert (world.phase, world.share(), world.annotated(), world.finalizer) == (Phase.IDLE, 0, False, False)
    assert reasons.LEFTOVER in world.reasons


def test_what_another_rollout_of_the_same_name_left_is_put_back() -> None:
    """Deleted with force and created again: the annotation names another uid."""
    world = World()
    other = begun()
    world.routes = other.routes
    annotate(world, uid="uid-0")
    world.run()
    assert (world.phase, world.share(), world.annotated()) == (Phase.IDLE, 0, False)


def test_a_run_number_never_comes_twice() -> None:
    """The status stops at run 6, the routes remember run 7: a run that is asked for at once is run 8."""
    world = begun()
    annotate(world, run=7)
    world.crash()
    world.recorded["phase"] = "RolledBack"
    world.recorded["run"] |= {"number": 6, "outcome": "RolledBack"}
    world.canary.revision = "c"
    world.ask("start", id_="s")
    world.run()
    assert world.status.run is not None
    assert world.status.run.number == 8


def test_a_run_that_gave_way_hands_nothing_to_the_next() -> None:
    """Crash between the route's write of run 2 and its status: what was asked and measured in run 1 does not count."""
    check = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": 1}, "failureLimit": 3}
    world = begun(spec=spec_of(checks=[check]))
    world.measure(5.0)
    world.run()
    world.ask("promote-full", id_="full")
    world.run()  # refused: the check fails
    world.wait(1)
    world.measure(0.0)
    world.run()
    world.ask("promote-full", id_="full-2")
    world.tick()
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.full
    world.run()
    assert world.share() == 100
    world.revise("c")
    world.tick()  # the route says run 2; the status still says run 1, in full
    assert (world.share(), world.status.run and world.status.run.number) == (0, 1)
    world.crash()
    world.run()
    status = world.status
    assert status.run is not None
    assert (status.run.number, status.run.full, world.share()) == (2, False, 10)
    assert all(check.measured_at is None for check in status.checks)


def test_one_approval_approves_one_step() -> None:
    """Crash between the write of the next step and the status: the same `promote` does not approve that one, too."""
    world = World(spec_of(steps=APPROVALS, checks=None))
    world.run()
    world.revise("b")
    world.run()
    assert world.decision is not None
    assert world.decision.reason == reasons.AWAITING_APPROVAL
    world.ask("promote", id_="p1")
    world.faults["status"] = Fault.DIES_BEFORE
    world.run()
    assert world.share() == 50
    assert world.decision.reason == reasons.AWAITING_APPROVAL
    last = world.status.last_request
    assert last is not None
    assert (last.id, last.words, world.request) == ("p1", "done: step 1/3 is approved", None)


@pytest.mark.parametrize("begun_by", ["start", "revision"])
@pytest.mark.parametrize("last", ["none", "pause and resume at the step before"])
def test_a_forged_approval_is_none(begun_by: str, last: str) -> None:
    """Whoever may write statuses writes that a step is approved. The request that began the run is no approval, nor is one of another step."""
    steps = [{"weight": 10, "hold": "10s"}, {"weight": 20, "approval": {}}, {"weight": 50}]
    world = World(spec_of(steps=steps, checks=None, trigger="Manual" if begun_by == "start" else "OnRevision"))
    world.run()
    world.revise("b")
    if begun_by == "start":
        world.ask("start", id_="s1")
    world.run()
    if last != "none":
        for verb in ("pause", "resume"):
            world.ask(verb, id_=verb)
            world.wait(1)
    world.wait(60)
    assert world.decision is not None
    assert (world.decision.reason, world.share()) == (reasons.AWAITING_APPROVAL, 20)
    world.recorded["step"]["approved"] = True
    world.recorded["phase"] = "Progressing"
    world.recorded.pop("paused", None)
    world.crash()
    world.wait(60)
    assert (world.share(), world.decision.reason) == (20, reasons.AWAITING_APPROVAL)
    world.ask("promote", id_="p1")
    world.wait(60)
    assert world.share() == 50


def test_an_abort_that_the_routes_remember_is_done() -> None:
    """Crash between the rollback's write and the status: the abort is recorded as done, and as the reason."""
    world = begun()
    world.ask("abort", id_="x", reason="looks wrong")
    world.faults["shop"] = Fault.DIES_AFTER
    world.run()
    status = world.status
    assert status.run is not None
    assert status.last_request is not None
    assert (status.run.reason, status.last_request.words) == (reasons.ABORTED, "done: rolling back")
    assert "looks wrong" in status.message


@pytest.mark.parametrize("verb", ["abort", "promote"])
def test_a_route_that_names_a_request_without_what_it_leads_to_is_not_believed(verb: str) -> None:
    """Whoever may write a route can put the id of a pending request there; it is done all the same."""
    world = World(spec_of(steps=APPROVALS, checks=None))
    world.run()
    world.revise("b")
    world.run()
    annotations = world.routes["shop"]["metadata"]["annotations"]
    intent = parse_intent(annotations[RUN_ANNOTATION])
    assert intent is not None
    annotations[RUN_ANNOTATION] = replace(intent, request="x").dump()
    world.ask(verb, id_="x")
    world.run()
    last = world.status.last_request
    assert last is not None
    assert (last.id, last.outcome) == ("x", RequestOutcome.DONE)
    assert world.share() == (0 if verb == "abort" else 50)


def test_a_finalizer_that_could_not_be_added_is_added_later() -> None:
    """No traffic before it is there, and it is tried again."""
    world = World()
    world.run()
    world.revise("b")
    world.faults["rollout"] = Fault.REFUSED
    world.tick()
    assert not world.finalizer
    world.run()
    assert (world.finalizer, world.share()) == (True, 10)


def test_a_finalizer_that_somebody_took_away_comes_back() -> None:
    """Without it, a deletion during the run would strand the routes."""
    world = begun()
    world.finalizer = False
    world.run()
    assert world.finalizer
