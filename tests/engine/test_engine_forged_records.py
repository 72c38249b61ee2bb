"""Promises 1, 3 and 9: an annotation alone moves nothing but what is declared, and takes nothing out of the hand of a run that is on record."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from promises import Promises, duplicate
from world import NAMESPACE, RUN_ANNOTATION, Fault, Gateways, World, begun, mirror_to, route, rule, spec_of, stranger

from canary.decide import reasons
from canary.decide.timing import rebased
from canary.model.bounded import MAX_RUNS
from canary.model.run_status import Outcome
from canary.model.status import Phase, RolloutStatus
from canary.routes.added import mark_of

Json = dict[str, Any]

THEIRS: Json = {
    "name": "theirs",
    "matches": [{"path": {"type": "PathPrefix", "value": "/b"}}],
    "backendRefs": [{"name": "ns", "port": 80, "weight": 90}, {"name": "nc", "port": 80, "weight": 10}],
}
BETA: Json = {
    "name": "beta",
    "matches": [{"headers": [{"name": "x-beta", "value": "yes"}]}],
    "backendRefs": [{"name": "c", "port": 80, "weight": 1}],
}
PLAIN: Json = {**BETA, "matches": [{"headers": [{"name": "x-plain", "value": "yes"}]}]}
del PLAIN["name"]
OURS: Json = rule(name="mine", stable=50, third=50, filters=[mirror_to("audit", percent=100)])
OTHER: Json = {**rule(name="other"), "matches": [{"path": {"type": "PathPrefix", "value": "/other"}}]}
RULES = (OURS, THEIRS, BETA, PLAIN, stranger(), OTHER)


def crowded(**spec: Any) -> World:
    """At rest, on a route that others share, and in which the owner has prepared rules for the canary."""
    routes = {"routes": [{"name": "shop", "rules": ["mine"]}], **spec}
    world = World(spec_of(**routes), {"shop": route("shop", *map(duplicate, RULES))})
    world.promises.before_us.clear()
    world.run()
    assert world.phase is Phase.IDLE
    return world


def annotate(world: World, **said: Any) -> None:
    """Somebody writes our annotation, and nothing else."""
    blank = {"rollout": "shop", "uid": "whoever", "run": 1, "mode": "step", "step": 1, "weights": {}, "baseline": {}}

    def change(document: Json) -> None:
        document["metadata"].setdefault("annotations", {})[RUN_ANNOTATION] = json.dumps(blank | said)

    world.edit_route("shop", change, "mallory")


def rules_of(world: World) -> list[Json]:
    return list(duplicate(world.routes["shop"])["spec"]["rules"])


FORGED: dict[str, Json] = {
    "a neighbour's pair, turned": {"pair": "team/nc:80 team/ns:80", "baseline": {"theirs": "100/0"}},
    "our Services exchanged, on ports that nothing has": {
        "pair": "team/c:99 team/s:99",
        "baseline": {"mine": "100/0"},
    },
    "our pair, the canary on another port": {"pair": "team/s:80 team/c:99", "baseline": {"beta": "100/0"}},
    "a Service of a rule that nobody moves": {
        "pair": "team/nothing:80 team/assets:8080",
        "baseline": {"static": "100/0"},
    },
    "that its rule was added": {
        "pair": "team/nothing:80 team/nc:80",
        "added": {mark_of(THEIRS, NAMESPACE): "+theirs"},
    },
    "that a prepared rule was added": {"added": {mark_of(BETA, NAMESPACE): "+beta"}},
    "the same, by a name that we would have given": {
        "added": {mark_of(BETA, NAMESPACE): f"+main-canary-{mark_of(BETA, NAMESPACE)}"}
    },
    "that a prepared rule without a name was added": {"added": {mark_of(PLAIN, NAMESPACE): "+"}},
    "a comparer that is none": {"pair": "team/s:80 team/c:80 team/audit:80", "mirrors": {"mine": "100"}},
    "a canary that is none, and gets copies": {"pair": "team/nothing:80 team/audit:80", "mirrors": {"mine": "100"}},
    "all of the traffic before": {"pair": "team/s:80 team/c:80", "baseline": {"mine": "1000000/0"}},
    "none of the traffic before": {"pair": "team/s:80 team/c:80", "baseline": {"mine": "1/0"}},
    "a rule that is not declared": {"pair": "team/s:80 team/c:80", "baseline": {"other": "1/0"}},
}


@pytest.mark.parametrize("uid", ["whoever", "uid-1"])
@pytest.mark.parametrize("said", FORGED.values(), ids=FORGED.keys())
def test_at_rest_an_annotation_moves_nothing(said: Json, uid: str) -> None:
    """It goes, and the rules of the route are what they were."""
    world = crowded()
    before = rules_of(world)
    annotate(world, uid=uid, **said)
    world.run()
    world.wait(5)
    assert rules_of(world) == before
    assert not world.annotated()


@pytest.mark.parametrize("said", FORGED.values(), ids=FORGED.keys())
def test_nor_before_a_run_has_written_anything(said: Json) -> None:
    """A run that waits for an approval before its first weight has its pair and its rules on record; an abort ends it as it began."""
    steps = [{"approval": {}}, {"weight": 50, "hold": "1h"}]
    world = crowded(steps=steps)
    before = rules_of(world)
    world.revise("b")
    world.run()
    assert world.phase is Phase.PAUSED
    annotate(world, uid="uid-1", **said)
    world.run()
    world.crash()
    world.run()
    assert rules_of(world) == before
    world.ask("abort", id_="stop")
    world.run()
    world.wait(70)
    assert world.phase is Phase.ROLLED_BACK
    assert rules_of(world) == before


def test_rules_that_are_not_the_runs_keep_what_they_give() -> None:
    """In the middle of a run: an annotation that lists a rule of the same pair which the spec does not name takes nothing from it."""
    world = crowded()

    def prepared(document: Json) -> None:
        document["spec"]["rules"][-1]["backendRefs"][1]["weight"] = 7

    world.edit_route("shop", prepared, "somebody")
    world.revise("b")
    world.run()
    world.wait(1)
    before = rules_of(world)[-1]
    said = json.loads(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION])
    baseline = {**said["baseline"], "other": "1/0"}
    annotate(world, **{**said, "baseline": baseline, "rules": {}, "uid": "of-before"})
    world.run()
    world.wait(3)
    assert rules_of(world)[-1] == before
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)


BACKENDS = ("s:80", "c:80", "s:99", "c:99", "ns:80", "nc:80", "assets:8080", "audit:80", "third:80", "nothing:1")
KEYS = ("mine", "theirs", "beta", "#3", "static", "other", "gone")
keyed = st.sampled_from(KEYS)
weights = st.sampled_from(("100/0", "0/100", "1/0", "0/1", "1000000/0", "50/50", "-/-", "9/1"))
ANYTHING = st.fixed_dictionaries(
    {},
    optional={
        "uid": st.sampled_from(("uid-1", "another")),
        "run": st.sampled_from((1, 2, 1_000_000_000)),
        "mode": st.sampled_from(("step", "rollback", "finish")),
        "step": st.integers(0, 64),
        "weights": st.dictionaries(keyed, weights, max_size=3),
        "baseline": st.dictionaries(keyed, weights, max_size=4),
        "rules": st.dictionaries(keyed, st.sampled_from(("", "0123456789")), max_size=3),
        "mirrors": st.dictionaries(keyed, st.sampled_from(("100", "20", "0")), max_size=3),
        "added": st.dictionaries(
            st.sampled_from([mark_of(each, NAMESPACE) for each in RULES]),
            st.sampled_from(("+", "+beta", "-beta", "+static", "+mine")),
            max_size=4,
        ),
        "pair": st.lists(st.sampled_from(BACKENDS), min_size=2, max_size=3).map(
            lambda names: " ".join(f"team/{name}" for name in names)
        ),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said=ANYTHING, named=st.booleans())
@example(said={"pair": "team/nc:80 team/ns:80", "baseline": {"theirs": "100/0"}}, named=True)
def test_whatever_an_annotation_says_at_rest_the_rules_stay(said: Json, named: bool) -> None:
    """With any pair, ports, rules, weights and marks: no rule comes, goes or is edited. The canary has nothing here that it could lose."""
    world = crowded() if named else crowded(routes=[{"name": "shop"}])
    before = rules_of(world)
    annotate(world, **said)
    world.run()
    world.wait(12)
    assert rules_of(world) == before
    assert not world.annotated()


def test_what_was_added_goes_by_the_annotation_alone_where_it_is_provably_ours() -> None:
    """The status was lost in a step with a `match`: its rule goes, by the name that only we give, or because a step adds just that."""
    steps = [{"match": [{"headers": [{"name": "x-opt-in", "value": "yes"}]}], "hold": "1h"}, {"weight": 50}]
    for name in ("main", None):
        world = begun(spec=spec_of(steps=steps), routes={"shop": route("shop", rule(name=name))})
        world.wait(1)
        assert len(rules_of(world)) == 2
        world.crash()
        world.recorded = {}
        world.run()
        assert len(rules_of(world)) == 1
        assert not world.annotated()


# -- what is on record stays in hand --------------------------------------------------------------------------------


def emptied(document: Json) -> None:
    """The annotation tells of no rule any more."""
    said = json.loads(document["metadata"]["annotations"][RUN_ANNOTATION])
    said.update(weights={}, baseline={})
    said.pop("rules", None)
    document["metadata"]["annotations"][RUN_ANNOTATION] = json.dumps(said)


def stable_gone(document: Json) -> None:
    refs = document["spec"]["rules"][0]["backendRefs"]
    refs[:] = [ref for ref in refs if ref["name"] != "s"]


def canary_twice(document: Json) -> None:
    document["spec"]["rules"][0]["backendRefs"].append({"name": "c", "port": 81, "weight": 70})


def renamed(document: Json) -> None:
    document["spec"]["rules"][0]["name"] = "checkout-2"


def given_to_canary(world: World) -> int:
    refs = world.routes["shop"]["spec"]["rules"][0]["backendRefs"]
    return sum(ref.get("weight", 1) for ref in refs if ref["name"] == "c")


@pytest.mark.parametrize("end", ["check", "abort", "deletion", "crash and abort"])
@pytest.mark.parametrize("damage", [stable_gone, canary_twice, renamed], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["checkout", None])
def test_an_annotation_that_was_emptied_takes_no_rule_out_of_hand(
    name: str | None, damage: Callable[[Json], None], end: str
) -> None:
    """In the very write that damages the rule: what the status has on record goes back all the same."""
    rules = [name] if name else []
    spec = spec_of(routes=[{"name": "shop", "rules": rules}] if rules else [{"name": "shop"}])
    world = begun(spec=spec, routes={"shop": route("shop", rule(name=name))})
    world.pass_step()
    world.wait(1)
    assert given_to_canary(world) == 50

    def both(document: Json) -> None:
        emptied(document)
        damage(document)

    world.edit_route("shop", both, "mallory")
    world.run()
    if end == "check":
        world.measure(0.5)
    if end.startswith("crash"):
        world.crash()
    if end.endswith("abort"):
        world.ask("abort", id_="stop")
    if end == "deletion":
        world.delete()
    world.run()
    world.wait(70)
    assert given_to_canary(world) == 0
    assert not world.annotated()


def test_an_edit_of_the_pair_does_not_let_go_of_what_was_written() -> None:
    """The spec names another canary, and an annotation claims that all was written by that: the old canary's share goes back first."""
    world = begun()
    world.pass_step()
    world.wait(1)
    world.declare(canary={"service": "c2", "port": 80})
    said = json.loads(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION])
    annotate(world, **{**said, "pair": "team/s:80 team/c2:80"})
    world.run()
    world.wait(5)
    assert given_to_canary(world) == 0
    assert reasons.RUN_STARTED in world.reasons


def test_a_first_write_of_which_the_status_was_lost_is_found_by_the_pair_on_record() -> None:
    """The controller dies right after its first weight, and the spec names another canary before the next one comes."""
    world = World()
    world.run()
    world.revise("b")
    world.faults["shop"] = Fault.DIES_AFTER
    for _ in range(20):
        if not world.tick() or world.memory is None:
            break
    assert world.share() == 10
    assert not any(record.owned for record in world.status.routes)
    world.declare(canary={"service": "c2", "port": 80})
    world.run()
    world.wait(5)
    assert given_to_canary(world) == 0


# -- that a run is won ----------------------------------------------------------------------------------------------


def finished(document: Json) -> None:
    said = json.loads(document["metadata"]["annotations"][RUN_ANNOTATION])
    document["metadata"]["annotations"][RUN_ANNOTATION] = json.dumps({**said, "mode": "finish"})


PROMOTIONS: tuple[Json, ...] = (
    {"promotion": "Copy"},
    {"promotion": "Await"},
    {"promotion": "Await", "workloads": None, "trigger": "Manual"},
    {"promotion": "Swap"},
)
STEPS = [{"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "1h"}]


@pytest.mark.parametrize("crash", [False, True], ids=["alive", "taken over"])
@pytest.mark.parametrize("at", ["first step", "last step", "paused", "promoting"])
@pytest.mark.parametrize("declared", PROMOTIONS, ids=["Copy", "Await", "Await by request", "Swap"])
def test_no_run_is_won_because_a_route_says_so(declared: Json, at: str, crash: bool) -> None:
    """In every phase and for every promotion: the record has to say it. No roles change, and nothing that was not done is said to be."""
    steps = STEPS[:1] if at == "promoting" else STEPS
    world = World(spec=spec_of(**declared, steps=steps))
    world.run()
    world.revise("b")
    world.stable.rolled_out = False
    if declared.get("trigger"):
        world.ask("start", id_="begin")
    world.run()
    if at in {"last step", "paused"}:
        world.pass_step()
        world.wait(1)
        assert world.share() == 100
    if at == "paused":
        world.ask("pause", id_="wait")
    if at == "promoting":
        world.wait(1)
        world.measure(0.0)
        world.run()
        world.gateways = Gateways.LATE  # Swap waits for its last write to be accepted
        world.wait(10)
        assert world.phase is Phase.PROMOTING
    world.run()
    before, share = world.phase, world.share()
    world.edit_route("shop", finished, "mallory")
    world.run()
    if crash:
        world.crash()
    world.run()
    world.wait(1)
    assert world.phase is before
    assert world.status.run is not None
    assert (world.status.run.outcome, world.status.swapped) == (None, False)
    assert world.share() == share


def test_a_won_run_says_so_on_record_before_its_routes_do() -> None:
    """Whatever write the controller dies at, no route says `finish` of a run of which the record does not say that it is won."""
    for number in range(12):
        world = begun(spec=spec_of(steps=[{"weight": 50, "hold": "10s"}]))
        first = world.attempts
        world.script = lambda count, _, at=first + number: Fault.DIES_AFTER if count == at else None  # type: ignore[misc]
        for _ in range(6):
            world.pass_step()
            said = world.routes["shop"]["metadata"]["annotations"].get(RUN_ANNOTATION)
            won = world.status.run is not None and world.status.run.outcome is Outcome.SUCCEEDED
            assert won or said is None or json.loads(said)["mode"] != "finish"
            world.stable.rolled_out = True
        assert (world.phase, world.share()) == (Phase.SUCCEEDED, 0)


# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["route", "status"])
@pytest.mark.parametrize("number", [MAX_RUNS - 1, MAX_RUNS])
def test_no_number_is_too_large_to_go_on_from(number: int, where: str) -> None:
    """A run begins after it, is judged and rolled back, and so is the one after that."""
    world = begun()
    world.wait(1)
    world.measure(0.5)
    world.run()
    world.wait(70)
    if where == "status":
        world.recorded["run"]["number"] = number
        world.crash()
        world.run()
        world.revise("c")
    else:
        annotate(world, uid="uid-1", run=number)
        world.revise("c")
        world.ask("start", id_="in the same moment")
    for revision in ("c", "d", "e"):
        world.promises.failed.clear()  # after the largest number there is, numbers come again
        world.run()
        world.wait(1)
        assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
        world.measure(0.5)
        world.run()
        world.wait(70)
        assert world.phase is Phase.ROLLED_BACK
        assert world.status.run is not None
        assert world.status.run.revision == revision
        world.revise(chr(ord(revision) + 1))


class Unasked(Promises):
    """Where the record of a step was forged, the books know nothing of how it was come to."""

    def decided(self, *_: Any) -> None:
        pass

    def route_written(self, *_: Any) -> None:
        pass


TIMES = (
    *(f"step.{name}" for name in ("startedAt", "reachedAt", "settledAt", "holdUntil", "unacceptedSince")),
    *(f"run.{name}" for name in ("startedAt", "trafficSince", "endedAt", "unavailableSince")),
    *("checks.measuredAt", "checks.unknownSince", "paused.since", "overrides", "recordedAt"),
)


def write_time(status: Json, path: str, value: str) -> None:
    part, _, name = path.partition(".")
    match part:
        case "overrides":
            status[part] = [value] * 3
        case "checks":
            status[part][0][name] = value
        case "recordedAt":
            status[part] = value
        case _:
            status[part] = {"reason": "x"} | status.get(part, {}) if part == "paused" else status[part]
            status[part][name] = value


@pytest.mark.parametrize("value", ["1970-01-01T00:00:00Z", "4999-12-31T23:59:59Z", "8999-12-31T23:59:59Z"])
@pytest.mark.parametrize("path", [*TIMES, "all"])
def test_no_time_on_record_can_keep_a_run_from_being_decided(path: str, value: str) -> None:
    """Whatever it is in, while gateways accept and refuse: the run is judged, and its failure takes the canary's share."""
    for how in ("at a step", "paused", "without endpoints"):
        world = begun()
        world.wait(1)
        if how == "paused":
            world.ask("pause", id_="x")
        if how == "without endpoints":
            world.canary.ready = 0
        world.run()
        for each in TIMES if path == "all" else (path,):
            write_time(world.recorded, each, value)
        world.crash()
        world.promises = Unasked(world)
        world.run()
        world.refuse()
        world.blind = True
        world.run()
        world.blind, world.now = False, world.now + timedelta(seconds=5)
        world.run()
        world.answer(Gateways.PROMPT)
        world.wait(5)
        world.ask("abort", id_="y")
        world.run()
        world.wait(70)
        assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


@pytest.mark.parametrize("value", ["1970-01-01T00:00:00Z", "4999-12-31T23:59:59Z"])
@pytest.mark.parametrize("path", TIMES)
def test_nor_from_being_taken_over_by_another_clock(path: str, value: str) -> None:
    """All times are moved until the latest of them is now: none leaves what can be written."""
    world = begun()
    world.wait(1)
    write_time(world.recorded, path, value)
    found = rebased(RolloutStatus.load(world.recorded), world.now)
    assert RolloutStatus.read(found.dump())[1] == ()
