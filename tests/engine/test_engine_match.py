"""Steps with a `match`: a rule for requests that opt in, behind all others, judged like traffic, and gone whenever anything ends."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from promises import OPT_IN, opted, without_opted
from test_engine_mixed_kinds import GRPC, three
from test_engine_traffic import counting, look, reason
from world import AROUND, RUN_ANNOTATION, Fault, Gateways, World, begun, mirror_to, route, rule, spec_of, stranger

from canary.decide import reasons
from canary.decide.actions import WriteRoute
from canary.model.run_status import Outcome
from canary.model.status import Phase
from canary.preflight.offers import Platform
from canary.preflight.surroundings import POLICY, Documents
from canary.routes.added import Added
from canary.routes.features import Feature
from canary.routes.identity import rule_digest
from canary.routes.intent import Intent, Mode, run_annotation
from canary.routes.pair import Backend, Pair

Json = dict[str, Any]

HEADER: Json = {"name": OPT_IN, "value": "yes"}
MATCH: Json = {"match": [{"headers": [HEADER]}], "hold": "10s"}
STEPS = [MATCH, {"weight": 10, "hold": "10s"}, {"weight": 100, "hold": "10s"}]


def matching(*rules: Json, **changes: Any) -> World:
    """A world whose run is at its first step, which lets requests opt in."""
    return begun(spec=spec_of(**{"steps": STEPS, **changes}), routes={"shop": route("shop", *(rules or (rule(),)))})


def last(world: World, name: str = "shop") -> Json:
    found: Json = world.routes[name]["spec"]["rules"][-1]
    return found


def added(world: World, name: str = "shop") -> list[Json]:
    return opted(world.routes[name])


def take_away(world: World, by: str = "alice") -> None:
    """Somebody removes the rules that a run added."""

    def change(document: Json) -> None:
        document["spec"]["rules"] = without_opted(document)["spec"]["rules"]

    world.edit_route("shop", change, by)


def writes(world: World) -> list[WriteRoute]:
    return [what for kind, what in world.wrote if kind == "route"]


def message(world: World) -> str:
    assert world.decision is not None
    return world.decision.message


# -- the course of a step -------------------------------------------------------------------------------------------


def test_a_match_step_adds_a_rule_and_moves_no_weight() -> None:
    """A copy of the rule, for opted-in requests and the canary alone, behind all others; and it says so."""
    before = rule()
    world = matching(copy.deepcopy(before), stranger())
    expected = {
        **before,
        "matches": [{**before["matches"][0], "headers": [{"type": "Exact", **HEADER}]}],
        "backendRefs": [{"name": "c", "port": 80, "weight": 1}],
    }
    assert world.routes["shop"]["spec"]["rules"] == [before, stranger(), expected]
    assert world.share() == 0
    assert message(world).startswith("holding opted-in requests until 12:00:1")
    assert "(step 1/3)" in message(world)
    assert world.status.split.desired == world.status.split.written == 0
    assert [text[0] for text in world.status.routes[0].added.values()] == ["+"]
    assert "step 1/3: requests that opt in to the canary, hold 10s" in [tell.message for tell in world.told]


def test_the_next_step_takes_the_rule_away_and_gives_weight_in_one_patch() -> None:
    """A match lasts for its own step; what it needed to pass is what any step needs."""
    world = matching()
    before = len(writes(world))
    world.pass_step()
    assert (added(world), world.share()) == ([], 10)
    assert len(writes(world)) == before + 1


def test_a_match_may_stand_with_a_weight_and_a_mirror() -> None:
    """All of it in one patch; the copy of the rule does not mirror."""
    both = {**MATCH, "weight": 10, "mirror": {"percent": 20, "allowUnsafeMethods": True}}
    world = matching(steps=[both, {"weight": 50}])
    assert (world.share(), world.copied(), len(added(world)), len(writes(world))) == (10, {"#0": 20}, 1, 1)
    assert mirror_to("c", percent=20) not in last(world)["filters"]
    assert message(world).startswith("holding 10 % and mirroring 20 % and opted-in requests")
    world.pass_step()
    assert (world.share(), world.copied(), added(world)) == (50, {}, [])


def test_a_match_leaves_a_weight_as_it_was() -> None:
    """10 % of the users, and those who opt in."""
    world = matching(steps=[{"weight": 10, "hold": "10s"}, MATCH, {"weight": 50}])
    world.pass_step()
    assert (world.share(), len(added(world))) == (10, 1)
    world.pass_step()
    assert (world.share(), added(world)) == (50, [])


def test_one_match_after_another_leaves_no_gap() -> None:
    """The rule of the one goes in the patch in which the other's comes; the same one stays as it is."""
    other = {"match": [{"headers": [{"name": OPT_IN, "value": "no"}]}], "hold": "10s"}
    world = matching(steps=[MATCH, MATCH, other, {"weight": 10}])
    first = len(writes(world))
    world.pass_step()
    assert world.status.step is not None
    assert (world.status.step.index, len(added(world)), len(writes(world))) == (2, 1, first)
    world.pass_step()
    assert [each["matches"][0]["headers"][0]["value"] for each in added(world)] == ["no"]
    assert len(writes(world)) == first + 1
    assert sorted(text for text in world.status.routes[0].added.values()) == ["+", "-"]


def test_a_run_with_a_match_ends_as_if_there_had_been_none() -> None:
    """Promoted, with the route byte for byte what it was."""
    world = matching()
    before = route("shop", rule())["spec"]
    for _ in range(3):
        world.pass_step()
    world.stable.rolled_out = True
    world.run()
    assert world.phase is Phase.SUCCEEDED
    assert world.routes["shop"]["spec"] == before


@pytest.mark.parametrize("promotion", ["Copy", "Await", "Swap"])
def test_the_rule_of_the_last_step_is_gone_before_anything_is_promoted(promotion: str) -> None:
    """The step is over."""
    world = matching(steps=[{"weight": 100, "hold": "10s"}, MATCH], promotion=promotion)
    world.pass_step()
    assert len(added(world)) == 1
    world.pass_step()
    assert world.phase in {Phase.PROMOTING, Phase.SUCCEEDED}
    assert added(world) == []


def test_checks_are_evidence_for_what_comes_after_a_match() -> None:
    """Those who opt in are traffic: what they meet is measured before anybody else is given to the canary."""
    world = matching()
    world.wait(30)
    assert (world.share(), len(added(world))) == (0, 1)
    assert "waiting for check errors to be measured; holding opted-in requests" in message(world)
    world.measure("NoData")
    world.run()
    assert "held at opted-in requests" in message(world)
    world.wait(1)
    world.measure(0.0)
    world.run()
    assert world.share() == 10


def test_a_match_waits_for_a_ready_canary_and_for_the_record() -> None:
    """It is given on what more weight would need."""
    world = World(spec=spec_of(steps=STEPS))
    world.run()
    world.revise("b")
    world.canary.ready = 0
    world.run()
    assert added(world) == []
    world.canary.ready = 1
    world.run()
    assert len(added(world)) == 1


def test_a_match_step_costs_one_patch_and_two_status_writes() -> None:
    """As a step with a weight does."""
    world = matching()
    world.wrote.clear()
    world.pass_step()
    world.pass_step()
    patches = [kind for kind, _ in world.wrote]
    assert patches.count("route") == 2
    assert patches.count("status") <= 4


# -- what ends it ---------------------------------------------------------------------------------------------------


def test_a_canary_that_fails_those_who_opt_in_is_rolled_back_at_once() -> None:
    """In the tick of the verdict; and nobody claims that no user was served by it."""
    world = matching()
    world.wait(1)
    world.measure(0.5)
    world.tick()
    assert added(world) == []
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    assert "no user" not in message(world)


def refused_by_gateway(world: World) -> None:
    world.refuse()
    world.wait(61)


def unavailable_for_too_long(world: World) -> None:
    world.canary.ready = 0
    world.wait(31)


ENDS: list[tuple[str, Json, Callable[[World], Any]]] = [
    ("an abort", {}, lambda world: world.ask("abort")),
    ("another revision", {}, lambda world: world.revise("c")),
    ("the deadline", {"deadline": "30s"}, lambda world: world.wait(31)),
    ("a gateway that does not accept it", {}, refused_by_gateway),
    ("no ready replica", {}, lambda world: setattr(world.canary, "ready", 0)),
    ("no ready replica for too long", {}, unavailable_for_too_long),
    ("a deletion", {}, lambda world: world.delete()),
    ("an edit of the steps", {}, lambda world: world.declare(steps=[{"approval": {}}, {"weight": 5}])),
    ("a status that is lost", {}, lambda world: (world.crash(), world.recorded.clear())),
    ("a route that is named no more", {}, lambda world: world.declare(routes=[{"name": "other"}])),
    ("another canary", {}, lambda world: world.declare(canary={"service": "d", "port": 80})),
]


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(("what", "changes", "happens"), ENDS, ids=[row[0] for row in ENDS])
def test_whatever_ends_a_step_takes_its_rule_away(
    what: str, changes: Json, happens: Callable[[World], Any], behind: bool
) -> None:
    """Also from under a rule that somebody has put behind it, who is told."""
    world = matching(rule(), stranger(), **changes)
    others = [rule(), stranger()]
    if behind:
        others.append({**rule(name="late"), "matches": [{"path": {"type": "Exact", "value": "/late"}}]})
        others[-1]["backendRefs"] = [{"name": "elsewhere", "port": 80}]
        world.edit_route("shop", lambda document: document["spec"]["rules"].append(copy.deepcopy(others[-1])))
    assert len(added(world)) == 1
    happens(world)
    for _ in range(6):
        world.tick()
    superseded = what == "another revision"  # the run that begins may add it again
    assert without_opted(world.routes["shop"])["spec"]["rules"] == others
    assert len(added(world)) == (1 if superseded else 0), what
    told = [tell for tell in world.told if tell.reason == reasons.RULES_MOVED]
    assert [tell.type for tell in told] == (["Warning"] if behind else [])
    if behind:
        assert "rule late of HTTPRoute shop stands behind a rule that the run added" in told[0].message


def test_a_canary_that_comes_back_gets_its_opted_in_requests_again() -> None:
    """Its step begins anew, as with a weight."""
    world = matching()
    world.canary.ready = 0
    world.run()
    assert added(world) == []
    assert "no traffic and no copies" in message(world)
    world.wait(5)
    world.canary.ready = 1
    world.run()
    assert len(added(world)) == 1


def test_a_rule_goes_although_our_annotation_was_taken_away() -> None:
    """The status remembers it, and the annotation is set again."""
    world = matching()
    world.wait(2)
    world.strip()
    world.wait(2)
    assert world.annotated()
    world.strip()
    world.ask("abort")
    world.run()
    assert (world.phase, added(world)) == (Phase.ROLLED_BACK, [])


def test_a_rule_goes_although_the_pair_was_taken_out() -> None:
    """Somebody removed the canary's backendRef of the rule that it is a copy of."""
    world = matching()
    world.wait(2)

    def change(document: Json) -> None:
        document["spec"]["rules"][0]["backendRefs"].pop()

    world.edit_route("shop", change)
    world.run()
    assert world.phase is Phase.PAUSED
    world.ask("abort")
    world.run()
    assert added(world) == []
    assert not world.annotated()


def test_a_rolled_back_run_never_has_its_rule_again() -> None:
    """Somebody writes the route back as it was while the gateway has not accepted the rollback yet."""
    world = matching()
    there = copy.deepcopy(last(world))
    world.gateways = Gateways.LATE
    world.ask("abort")
    world.run()
    assert (world.phase, added(world)) == (Phase.ROLLING_BACK, [])
    for _ in range(5):
        world.edit_route("shop", lambda document: document["spec"]["rules"].append(copy.deepcopy(there)))
        world.run()
        assert added(world) == []


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.CONFLICT, Fault.LOST])
@pytest.mark.parametrize("at", range(14))
@pytest.mark.parametrize("end", ["well", "badly"])
def test_a_controller_may_die_at_any_write(fault: Fault, at: int, end: str) -> None:
    """Between a rule and the status of it, too: another one goes on, and in the end nothing of the run is left."""
    world = World(spec=spec_of(steps=STEPS), routes={"shop": route("shop", rule(), stranger(), rule(method="GET"))})
    before = theirs(world)
    world.script = lambda number, _target: fault if number == at else None
    world.run()
    world.revise("b")
    world.run()
    for _ in range(5):
        world.wait(1)
        world.measure(0.5 if end == "badly" and added(world) else 0.0)
        world.run()
        world.wait(11)
        world.stable.rolled_out = True
    world.run()
    assert world.phase is (Phase.SUCCEEDED if end == "well" else Phase.ROLLED_BACK)
    assert theirs(world) == before


def theirs(world: World) -> Json:
    """The route but for what the somebody changes who writes first."""
    spec: Json = copy.deepcopy(world.routes["shop"]["spec"])
    for rule_ in spec["rules"]:
        for backend in rule_["backendRefs"]:
            backend.pop("x-zone", None)
    return spec


# -- hands of others ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
def test_a_person_who_takes_the_rule_away_wins(crash: bool) -> None:
    """The run pauses and says who; nobody puts it back but their `resume`."""
    world = matching()
    world.wait(2)
    if crash:
        world.crash()
    take_away(world)
    world.run()
    assert world.phase is Phase.PAUSED
    assert "alice took away the rule for requests that opt in, which this run added to HTTPRoute shop" in message(world)
    world.wait(60)
    assert added(world) == []
    world.ask("resume")
    world.run()
    assert len(added(world)) == 1


def test_a_rule_that_comes_back_after_its_step_goes_again() -> None:
    """As more weight would; after three fights in ten minutes the run stops, without the rule."""
    world = matching()
    there = copy.deepcopy(last(world))
    world.pass_step()
    for _ in range(3):
        world.edit_route("shop", lambda document: document["spec"]["rules"].append(copy.deepcopy(there)), "argocd")
        world.run()
        assert added(world) == []
    assert "argocd put back the rule for requests that opt in" in message(world)
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.CONTESTED


def test_what_somebody_edits_of_the_rule_is_as_it_was() -> None:
    """A timeout of it is the run's; and so is what it matches, where the canary would be given others than those who opt in."""
    world = matching()
    there = copy.deepcopy(last(world))
    world.edit_route("shop", lambda document: document["spec"]["rules"][-1].update(timeouts={"request": "9s"}))
    world.run()
    assert last(world) == there
    world.edit_route(
        "shop", lambda document: document["spec"]["rules"][-1]["matches"][0]["headers"][0].update(value="no")
    )
    world.run()
    assert last(world) == there
    world.ask("abort")
    world.run()
    assert len(world.routes["shop"]["spec"]["rules"]) == 1


def test_an_edit_of_its_rule_is_followed() -> None:
    """Whoever edits what a rule matches has the same done for those who opt in."""
    world = matching()

    def change(document: Json) -> None:
        document["spec"]["rules"][0]["matches"][0]["path"]["value"] = "/shop"

    world.edit_route("shop", change)
    world.run()
    assert [each["matches"][0]["path"]["value"] for each in added(world)] == ["/shop"]


def moved(world: World) -> None:
    """Somebody gives a rule another path as well."""
    path = {"path": {"type": "Exact", "value": "/basket"}}
    world.edit_route("shop", lambda document: document["spec"]["rules"][0]["matches"].append(path))


@pytest.mark.parametrize("names", [(None,), ("one",), (None, None), ("one", "two")])
def test_a_rule_that_is_computed_anew_is_on_record_as_soon_as_it_stands(names: tuple[str | None, ...]) -> None:
    """Once: the step has been on record for long, and nothing else of it has changed."""
    world = matching(*(rule(name=name, method=method) for name, method in zip(names, ("GET", "PUT"), strict=False)))
    world.wait(1)
    before = world.recorded["routes"][0]
    world.wrote.clear()
    moved(world)
    world.run()
    record = world.recorded["routes"][0]
    (gone,) = (mark for mark, said in record["added"].items() if said.startswith("-"))
    there = {mark for mark, said in record["added"].items() if said.startswith("+")}
    assert gone in before["added"]
    assert len(there) == len(added(world)) == len(names)
    assert set(record.get("places", {})) == (there if names[0] is None else set())
    world.wait(5)
    assert [kind for kind, _ in world.wrote] == ["route", "status"]


@pytest.mark.parametrize("end", ["abort", "delete", "revise"])
@pytest.mark.parametrize("name", [None, "one"])
def test_it_goes_with_the_run_that_comes_after_a_crash_and_an_edit_of_the_plan(name: str | None, end: str) -> None:
    """What the declared steps would add does not tell by then that it is ours."""
    world = matching(rule(name=name))
    world.wait(1)
    moved(world)
    world.run()
    world.crash()
    world.declare(steps=[{"weight": 20, "hold": "10s"}])
    world.run()
    if end == "delete":
        world.delete()
    elif end == "abort":
        world.ask("abort", id_="enough")
    else:
        world.revise("c")
    world.run()
    assert added(world) == []


@pytest.mark.parametrize(
    "filters", [None, [], [mirror_to("audit")]], ids=["no filters", "none of them", "one of its own"]
)
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
@pytest.mark.parametrize("end", ["abort", "delete", "win"])
def test_what_the_first_step_added_is_known_to_who_comes_after(
    filters: list[Json] | None, mirror: bool, fault: Fault, end: str
) -> None:
    """The controller dies around the write of that step, which is on record nowhere else: not even a list that the copies have left empty tells it from another."""
    plain = rule()
    del plain["filters"]
    if filters is not None:
        plain["filters"] = filters
    first = {**MATCH, "mirror": {"percent": 20, "allowUnsafeMethods": True}} if mirror else MATCH
    world = World(spec=spec_of(steps=[first, *STEPS[1:]]), routes={"shop": route("shop", plain)})
    world.run()
    world.faults["shop"] = fault
    world.revise("b")
    world.run()
    world.run()
    assert (world.phase, world.attempts > 0, len(added(world))) == (Phase.PROGRESSING, True, 1)
    if end == "win":
        world.pass_step()
        assert world.status.step is not None
        assert world.status.step.index == 2
        return
    if end == "abort":
        world.ask("abort", id_="enough")
    else:
        world.delete()
    world.run()
    assert added(world) == []
    (left,) = world.routes["shop"]["spec"]["rules"]
    assert (left.get("filters") or []) == (filters or [])


def test_a_forged_record_takes_no_rule_of_a_team() -> None:
    """Somebody writes into our annotation that the run has added what it has not."""
    world = matching(rule(), stranger())

    def forge(document: Json) -> None:
        said = json.loads(document["metadata"]["annotations"][RUN_ANNOTATION])
        said["added"] = {**said["added"], "0123456789": "-static", "": "+"}
        document["metadata"]["annotations"][RUN_ANNOTATION] = json.dumps(said)

    world.edit_route("shop", forge)
    world.wait(2)
    world.ask("abort")
    world.run()
    assert world.routes["shop"]["spec"]["rules"] == [rule(), stranger()]


# -- what is refused ------------------------------------------------------------------------------------------------


def of_headers(name: str, value: str) -> Json:
    return {"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": name, "value": value}]}


def taking(*matches: Json, name: str = "other") -> Json:
    """A rule of somebody else."""
    return {**stranger(), "name": name, "matches": list(matches)}


REGEX = {"path": {"type": "RegularExpression", "value": "/a+"}}
TWO = {"match": [{"headers": [HEADER, {"name": "x-two", "value": "2"}]}]}
REFUSED: list[tuple[str, tuple[Json, ...], Json, str]] = [
    ("a rule would lose requests", (rule(), taking(of_headers("h", "1"))), TWO, "would take requests from rule other"),
    ("a header twice", ({**rule(), "matches": [of_headers(OPT_IN.upper(), "no")]},), MATCH, f"header {OPT_IN} twice"),
    ("a regular expression", ({**rule(), "matches": [REGEX]},), MATCH, "say `allowRegexPaths: true`"),
    ("sixteen rules", (rule(), *(taking({"method": "PUT"}, name=f"r{n}") for n in range(15))), MATCH, "17 rules"),
    ("the same rule already", (rule(), {**rule(), "matches": [of_headers(OPT_IN, "yes")]}), MATCH, "twice"),
    (
        "a rule that gets them all",
        (
            rule(),
            taking({"path": {"type": "PathPrefix", "value": "/"}, "headers": [HEADER, {"name": "z", "value": "1"}]}),
        ),
        {"match": [{"headers": [HEADER, {"name": "z", "value": "1"}]}]},
        "gets every request that `match` is for",
    ),
]


@pytest.mark.parametrize(("what", "rules", "step", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_may_not_be_added_is_invalid(what: str, rules: tuple[Json, ...], step: Json, words: str) -> None:
    """Before anything is written, with a sentence that names the rule."""
    world = matching(*rules, steps=[{"weight": 5}, step, {"weight": 10}])
    assert world.phase is Phase.INVALID, what
    assert message(world).startswith("spec.steps[1].match: ")
    assert words in message(world)
    assert not writes(world)


def test_who_knows_the_gateway_allows_regular_expressions() -> None:
    """By an option of the step."""
    world = matching({**rule(), "matches": [REGEX]}, steps=[{**MATCH, "allowRegexPaths": True}])
    assert len(added(world)) == 1


def test_connections_cannot_opt_in_and_calls_only_by_headers() -> None:
    """A kind of route that has no matches, and one that has no query parameters."""
    tcp = {"kind": "TCPRoute", "name": "shop"}
    world = begun(spec=spec_of(steps=STEPS, routes=[{"name": "shop"}, tcp]), routes=three())
    assert world.phase is Phase.INVALID
    assert "TCPRoute shop has no matches: it takes weights only" in message(world)
    grpc = {"kind": "GRPCRoute", "name": "shop"}
    calls = three()
    calls[GRPC]["spec"]["rules"][0]["matches"] = [{"method": {"service": "shop"}}]
    world = begun(spec=spec_of(steps=STEPS, routes=[{"name": "shop"}, grpc]), routes=calls)
    assert added(world, GRPC)[0]["matches"][0]["method"] == {"service": "shop"}
    assert len(added(world)) == 1
    by_query = {"match": [{"queryParams": [{"name": "beta", "value": "1"}]}]}
    world = begun(spec=spec_of(steps=[by_query], routes=[{"name": "shop"}, grpc]), routes=calls)
    assert "route shop is a GRPCRoute, which has no query parameters" in message(world)


def test_where_a_rule_comes_to_stand_in_the_way_the_run_ends() -> None:
    """Somebody adds one that would lose requests to the canary: ours goes at once."""
    world = matching(steps=[{**MATCH, **TWO}, {"weight": 10}])
    assert len(added(world)) == 1
    world.edit_route("shop", lambda document: document["spec"]["rules"].append(taking(of_headers("h", "1"))))
    world.run()
    run = world.memory.run if world.memory else None
    assert run is not None
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, reasons.MATCH_REFUSED)
    assert "would take requests from rule other" in run.message
    assert added(world) == []


def test_what_another_run_adds_for_now_makes_nothing_invalid() -> None:
    """A neighbour's rule is in the way for as long as it is there: the step waits, and is judged from when it can be written."""
    world = World(spec=spec_of(steps=[{**TWO, "hold": "10s"}, {"weight": 10}]))
    theirs = taking(of_headers("h", "1"))
    theirs["backendRefs"] = [{"name": "their-canary", "port": 80, "weight": 1}]
    lend(world, theirs)
    world.run()
    world.revise("b")
    world.run()
    assert world.phase is Phase.PROGRESSING
    assert "would take requests from rule other" in message(world)
    world.wait(600)
    assert world.phase is Phase.PROGRESSING
    world.edit_route("shop", lambda document: document["spec"]["rules"].pop())
    world.run()
    assert len(added(world)) == 1
    world.measure(0.0)
    world.run()
    assert world.share() == 0
    assert "until" in message(world)


def test_the_rule_of_a_step_goes_though_that_of_the_next_may_not_come() -> None:
    """The next one waits, for a neighbour's rule or because nobody can tell of policies any more; this one's time is over."""
    for neighbour in (True, False):
        steps = [MATCH, {**TWO, "hold": "10s"}, {"weight": 10}]
        world = begun(spec=spec_of(steps=steps), routes={"shop": route("shop", rule(name="pay"))})
        assert len(added(world)) == 1
        if neighbour:
            theirs = taking(of_headers("h", "1"))
            theirs["backendRefs"] = [{"name": "their-canary", "port": 80, "weight": 1}]
            lend(world, theirs)
        else:
            world.around = Documents(platform=ABLE)
        world.pass_step()
        assert world.status.step is not None
        assert (world.phase, world.status.step.index, added(world)) == (Phase.PROGRESSING, 2, [])
        world.wait(100)
        assert (world.phase, added(world), world.share()) == (Phase.PROGRESSING, [], 0)
        world.around = AROUND
        if neighbour:
            world.edit_route("shop", lambda document: document["spec"]["rules"].pop())
        world.run()
        assert [len(each["matches"][0]["headers"]) for each in added(world)] == [2]


def test_records_that_were_forged_without_end_stop_nothing() -> None:
    """In the annotation and in the status, of other rules each: both are cut to what may be kept."""
    world = matching()
    world.wait(2)

    def forge(document: Json) -> None:
        said = json.loads(document["metadata"]["annotations"][RUN_ANNOTATION])
        said["added"] = {f"a{number}": "+" for number in range(32)}
        document["metadata"]["annotations"][RUN_ANNOTATION] = json.dumps(said)

    world.crash()
    world.recorded["routes"][0]["added"] |= {f"b{number}": "+" for number in range(31)}
    world.edit_route("shop", forge)
    world.run()
    world.ask("abort")
    world.run()
    assert (world.phase, added(world)) == (Phase.ROLLED_BACK, [])


def lend(world: World, theirs: Json) -> None:
    """Another Rollout has a run on the route, and has added a rule."""
    pair = Pair(Backend("their-stable", "team", 80), Backend("their-canary", "team", 80))
    record = {rule_digest(theirs, "team"): Added(there=True, name=theirs["name"])}
    intent = Intent("api", "uid-2", 1, Mode.STEP, 1, pair=pair, added=record)

    def change(document: Json) -> None:
        document["spec"]["rules"].append(theirs)
        document["metadata"]["annotations"][run_annotation("api")] = intent.dump()

    world.edit_route("shop", change)


# -- what guards a rule ----------------------------------------------------------------------------------------------


def policy(rule_name: str, kind: str = "SecurityPolicy", **more: Any) -> Json:
    """A policy about one rule of the route."""
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "shop", "sectionName": rule_name}
    spec = {"targetRefs": [target | more]}
    return {"kind": kind, "metadata": {"name": "login", "namespace": "team"}, "spec": spec}


ABLE = Platform({"*": frozenset(Feature)})


def test_a_rule_that_a_policy_knows_by_its_name_is_not_copied() -> None:
    """The copy, by another name, would answer whoever sends a header without a login."""
    around = Documents([policy("pay")], known=[(POLICY, "")], platform=ABLE)
    world = begun(spec=spec_of(steps=STEPS), routes={"shop": route("shop", rule(name="pay"))}, around=around)
    assert world.phase is Phase.IDLE
    assert "would copy rule pay of HTTPRoute shop, which SecurityPolicy login targets by its name" in message(world)
    assert not writes(world)
    world.around = Documents([policy("other"), policy("pay", name="api")], known=[(POLICY, "")], platform=ABLE)
    world.run()
    assert len(added(world)) == 1


def test_where_nobody_can_tell_no_rule_with_a_name_is_copied() -> None:
    """A rule without one cannot be targeted."""
    nobody = Documents(platform=ABLE)
    world = begun(spec=spec_of(steps=STEPS), routes={"shop": route("shop", rule(name="pay"))}, around=nobody)
    assert "whether a policy targets that rule by its name cannot be seen" in message(world)
    assert not writes(world)
    world = begun(spec=spec_of(steps=STEPS), around=nobody)
    assert len(added(world)) == 1


def test_a_policy_that_comes_during_the_step_ends_it() -> None:
    """At once, also while a person is waited for; not being able to look any more takes nothing away."""
    world = begun(
        spec=spec_of(steps=[{**MATCH, "approval": {}}, {"weight": 10}]),
        routes={"shop": route("shop", rule(name="pay"))},
    )
    world.pass_step()
    assert world.phase is Phase.PAUSED
    world.around = Documents(platform=ABLE)
    world.run()
    assert (world.phase, len(added(world))) == (Phase.PAUSED, 1)
    world.around = Documents([policy("pay")], known=[(POLICY, "")], platform=ABLE)
    world.run()
    assert added(world) == []
    assert world.status.run is not None
    assert world.status.run.reason == reasons.MATCH_REFUSED


# -- what is counted -------------------------------------------------------------------------------------------------


def test_those_who_opt_in_are_no_mismatch_of_the_split() -> None:
    """Their requests are counted at the canary, and nobody knows how many they are; less than the weight is one all the same."""
    for opting_in, canary, mismatch in ((True, 9000, False), (False, 9000, True), (True, 0, True)):
        extra = MATCH if opting_in else {}
        world = counting([{**extra, "weight": 10, "hold": "10m"}, {"weight": 50}])
        look(world, 0, 0, after=10)
        look(world, canary, 9000, after=60)
        assert (reason(world) == reasons.SPLIT_MISMATCH) is mismatch, (opting_in, canary)


def test_nothing_is_known_that_no_gateway_can() -> None:
    """A copy asks for the method that its rule asks for, and query parameters are a feature as well."""
    query = {"match": [{"queryParams": [{"name": "beta", "value": "1"}]}]}
    for steps, rules in (([query], (rule(),)), (STEPS, (rule(method="GET"),))):
        nobody = Documents(known=[(POLICY, "")])
        world = begun(spec=spec_of(steps=steps), routes={"shop": route("shop", *rules)}, around=nobody)
        assert world.phase is Phase.IDLE
        assert "HTTPRouteQueryParamMatching" in message(world) or "HTTPRouteMethodMatching" in message(world)
        assert not writes(world)
