"""Steps that mirror: copies of requests to the canary, judged like traffic, and gone whenever anything ends."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from test_engine_mixed_kinds import EVERY, GRPC, NAMED, TCP, of_kind
from world import NAMESPACE, RUN_ANNOTATION, Fault, Gateways, World, begun, mirror_to, route, rule, spec_of

from canary.decide import reasons
from canary.decide.actions import WriteRoute
from canary.model.rollout import RouteKind
from canary.model.run_status import Outcome
from canary.model.status import Phase
from canary.preflight.surroundings import POLICY, Documents

Json = dict[str, Any]

MIRROR: Json = {"mirror": {"percent": 20}, "hold": "10s"}
STEPS = [MIRROR, {"weight": 10, "hold": "10s"}, {"weight": 100, "hold": "10s"}]


def getting(**more: Any) -> Json:
    """A rule that may be mirrored: it takes GET alone."""
    return rule(method="GET", **more)


def mirroring(*rules: Json, **changes: Any) -> World:
    """A world whose run is at its first step, which mirrors."""
    routes = {"shop": route("shop", *(rules or (getting(),)))}
    return begun(spec=spec_of(**{"steps": STEPS, **changes}), routes=routes)


def filters(world: World, index: int = 0, name: str = "shop") -> list[Json]:
    found: list[Json] = world.routes[name]["spec"]["rules"][index].get("filters", [])
    return found


def writes(world: World) -> list[WriteRoute]:
    return [what for kind, what in world.wrote if kind == "route"]


def message(world: World) -> str:
    assert world.decision is not None
    return world.decision.message


# -- the course of a step -------------------------------------------------------------------------------------------


def test_a_mirror_step_copies_and_serves_nobody() -> None:
    """One filter behind those that were there, no weight; and it says so."""
    before = getting()
    world = mirroring(copy.deepcopy(before))
    assert filters(world) == [*before["filters"], mirror_to("c", percent=20)]
    assert world.share() == 0
    assert message(world).startswith("mirroring 20 % until 12:00:1")
    assert "(step 1/3)" in message(world)
    assert world.status.split.desired == world.status.split.written == 0
    assert world.status.routes[0].mirrors == {"#0": "20"}
    assert "step 1/3: mirroring 20 % of the requests to the canary, hold 10s" in [tell.message for tell in world.told]


def test_the_next_step_takes_the_mirror_away_and_gives_weight_in_one_patch() -> None:
    """A mirror lasts for its own step; what it needed to pass is what any step needs."""
    world = mirroring()
    before = len(writes(world))
    world.pass_step()
    assert (world.copied(), world.share()) == ({}, 10)
    assert len(writes(world)) == before + 1
    assert filters(world) == getting()["filters"]


def test_a_weight_of_before_stays_while_a_step_mirrors() -> None:
    """10 % of the users, and copies of a fifth of all requests."""
    world = mirroring(steps=[{"weight": 10, "hold": "10s"}, MIRROR, {"weight": 50}])
    world.pass_step()
    assert (world.share(), world.copied()) == (10, {"#0": 20})
    assert message(world).startswith("holding 10 % and mirroring 20 %")
    world.pass_step()
    assert (world.share(), world.copied()) == (50, {})


def test_a_run_with_a_mirror_ends_as_if_there_had_been_none() -> None:
    """Promoted, with the route byte for byte what it was."""
    world = mirroring()
    before = route("shop", getting())["spec"]
    for _ in range(3):
        world.pass_step()
    world.stable.rolled_out = True
    world.run()
    assert world.phase is Phase.SUCCEEDED
    assert world.routes["shop"]["spec"] == before


@pytest.mark.parametrize("promotion", ["Copy", "Await", "Swap"])
def test_the_mirror_of_the_last_step_is_gone_before_anything_is_promoted(promotion: str) -> None:
    """The step is over; what comes after it copies nothing."""
    world = mirroring(steps=[{"weight": 100, "hold": "10s"}, MIRROR], promotion=promotion)
    world.pass_step()
    assert world.copied() == {"#0": 20}
    world.pass_step()
    assert world.phase in {Phase.PROMOTING, Phase.SUCCEEDED}
    assert world.copied() == {}


def test_checks_are_evidence_for_what_comes_after_a_mirror() -> None:
    """Its time is over, and nobody has measured anything: no user is given to the canary."""
    world = mirroring()
    world.wait(30)
    assert (world.share(), world.copied()) == (0, {"#0": 20})
    assert "waiting for check errors to be measured; mirroring 20 %" in message(world)
    world.measure("NoData")
    world.run()
    assert "held at mirroring 20 %" in message(world)
    world.wait(1)
    world.measure(0.0)
    world.run()
    assert world.share() == 10


def test_a_step_that_mirrors_waits_for_a_ready_canary_and_for_the_record() -> None:
    """Copies are traffic: they are given on what more weight would need."""
    world = World(spec=spec_of(steps=STEPS), routes={"shop": route("shop", getting())})
    world.run()
    world.canary.ready = 0
    world.revise("b")
    world.canary.ready = 0
    world.run()
    assert world.copied() == {}
    world.canary.ready = 1
    world.run()
    assert world.copied() == {"#0": 20}


def test_a_mirror_step_costs_one_patch_and_two_status_writes() -> None:
    """As a step with a weight does."""
    world = mirroring()
    world.wrote.clear()
    world.pass_step()
    world.pass_step()
    patches = [kind for kind, _ in world.wrote]
    assert patches.count("route") == 2
    assert patches.count("status") <= 4


# -- what ends it ---------------------------------------------------------------------------------------------------


def test_a_canary_that_fails_under_a_mirror_is_rolled_back_at_once() -> None:
    """In the tick of the verdict; and it says that no user was served by it."""
    world = mirroring()
    world.wait(1)
    world.measure(0.5)
    world.tick()
    assert world.copied() == {}
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    run = world.memory.run if world.memory else None
    assert run is not None
    assert run.reason == reasons.CHECK_FAILED
    assert "the canary got copies only, no user was served by it" in run.message


def test_nobody_claims_that_no_user_was_served_when_some_were() -> None:
    """A weight of before the mirror, also one that is back to 0: those users were the canary's."""
    world = mirroring(steps=[{"weight": 10, "hold": "10s"}, {**MIRROR, "weight": 0}, {"weight": 50}])
    world.pass_step()
    assert (world.share(), world.copied()) == (0, {"#0": 20})
    world.measure(0.5)
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
    ("a gateway that does not accept it, and a policy that pauses", {"onFailure": "Pause"}, refused_by_gateway),
    ("no ready replica", {}, lambda world: setattr(world.canary, "ready", 0)),
    ("no ready replica for too long", {}, unavailable_for_too_long),
    ("a deletion", {}, lambda world: world.delete()),
    ("an edit of the steps", {}, lambda world: world.declare(steps=[{"approval": {}}, {"weight": 5}])),
    ("a status that is lost", {}, lambda world: (world.crash(), world.recorded.clear())),
    ("a route that is named no more", {}, lambda world: world.declare(routes=[{"name": "other"}])),
    ("another canary", {}, lambda world: world.declare(canary={"service": "d", "port": 80})),
]


@pytest.mark.parametrize(("what", "changes", "happens"), ENDS, ids=[row[0] for row in ENDS])
def test_whatever_ends_a_step_takes_its_mirror_away(what: str, changes: Json, happens: Callable[[World], Any]) -> None:
    """And nobody else's filter."""
    world = mirroring(getting(filters=[mirror_to("audit")]), **changes)
    assert len(filters(world)) == 2
    happens(world)
    for _ in range(6):
        world.tick()
    first_canary = [item for item in filters(world) if item["requestMirror"]["backendRef"]["name"] == "c"]
    superseded = what == "another revision"  # the run that begins may mirror again
    assert filters(world)[:1] == [mirror_to("audit")]
    assert first_canary == ([mirror_to("c", percent=20)] if superseded else []), what
    if superseded:
        gone = [write for write in writes(world) if write.intent is not None and write.intent.run == 2]
        assert gone[0].plan.mirrors["#0"].share == 0


def test_a_reference_that_no_gateway_resolves_takes_the_mirror_away_at_once() -> None:
    """Some answer every user of the rule with 500: neither acceptTimeout nor onFailure has a say."""
    world = World(spec=spec_of(steps=STEPS, onFailure="Pause"), routes={"shop": route("shop", getting())})
    world.run()
    world.revise("b")
    while not world.copied():
        world.tick()
        world.gateways = Gateways.REFUSING if world.memory and world.memory.step else world.gateways
    began = world.now
    world.run()
    assert world.copied() == {}
    assert world.now == began
    run = world.memory.run if world.memory else None
    assert run is not None
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, reasons.MIRROR_UNRESOLVED)
    assert "ResolvedRefs=False" in run.message


def test_a_canary_that_comes_back_is_mirrored_to_again() -> None:
    """Its step begins anew, as with a weight."""
    world = mirroring()
    world.canary.ready = 0
    world.run()
    assert world.copied() == {}
    assert "no traffic and no copies" in message(world)
    world.wait(5)
    world.canary.ready = 1
    world.run()
    assert world.copied() == {"#0": 20}
    assert world.status.run is not None
    assert world.status.run.outages == 1


def test_a_mirror_goes_although_our_annotation_was_taken_away() -> None:
    """The status remembers which rules the run mirrors."""
    world = mirroring()
    world.wait(2)
    world.strip()
    world.ask("abort")
    world.run()
    assert (world.phase, world.copied()) == (Phase.ROLLED_BACK, {})


@pytest.mark.parametrize("edited", [False, True])
def test_a_mirror_goes_although_the_pair_was_taken_out(edited: bool) -> None:
    """Somebody removed the canary's backendRef and left the filter, or what they had made of it."""
    world = mirroring()
    world.wait(2)
    if edited:
        world.edit_filters(lambda found: found[-1]["requestMirror"].update(percent=3))
    world.drop_pair()
    world.run()
    assert world.phase is Phase.PAUSED
    world.ask("abort")
    world.run()
    assert not [item for item in filters(world) if item["type"] == "RequestMirror"]
    assert not world.annotated()


def test_a_mirror_is_found_where_its_rule_has_gone() -> None:
    """Somebody put a rule in front: that one is not touched."""
    world = mirroring()
    other = {**getting(filters=[mirror_to("audit")]), "matches": [{"path": {"type": "Exact", "value": "/new"}}]}
    world.edit_route("shop", lambda document: document["spec"]["rules"].insert(0, copy.deepcopy(other)))
    world.run()
    assert world.copied() == {"#1": 20}
    world.ask("abort")
    world.run()
    assert world.copied() == {}
    assert filters(world, 0) == [mirror_to("audit")]


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.CONFLICT, Fault.LOST])
@pytest.mark.parametrize("at", range(14))
@pytest.mark.parametrize("end", ["well", "badly"])
def test_a_controller_may_die_at_any_write(fault: Fault, at: int, end: str) -> None:
    """Between a filter and the status of it, too: another one goes on, and in the end nothing of the run is left."""
    world = World(spec=spec_of(steps=STEPS), routes={"shop": route("shop", getting(), getting(filters=[]))})
    before = theirs(world)
    world.script = lambda number, _target: fault if number == at else None
    world.run()
    world.revise("b")
    world.run()
    for _ in range(5):
        world.wait(1)
        world.measure(0.5 if end == "badly" and world.copied() else 0.0)
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
def test_a_person_who_takes_the_mirror_away_wins(crash: bool) -> None:
    """The run pauses and says who; nobody puts it back but their `resume`."""
    world = mirroring()
    world.wait(2)
    if crash:
        world.crash()
    world.unmirror(by="alice")
    world.run()
    assert world.phase is Phase.PAUSED
    assert "alice changed the share of requests that is mirrored on HTTPRoute shop from 20 % to 0 %" in message(world)
    world.wait(60)
    assert world.copied() == {}
    world.ask("resume")
    world.run()
    assert world.copied() == {"#0": 20}


def test_less_than_was_written_is_a_hand_as_well_and_more_is_put_back() -> None:
    """As with weights; after three fights in ten minutes the run stops and keeps the smaller share."""
    world = mirroring()
    world.edit_filters(lambda found: found[-1]["requestMirror"].update(percent=5))
    world.run()
    assert (world.phase, world.copied()) == (Phase.PAUSED, {"#0": 5})
    world.ask("resume")
    world.run()
    for fight in range(3):
        world.edit_filters(lambda found: found[-1]["requestMirror"].update(percent=90), by="argocd")
        world.run()
        assert world.copied() == {"#0": 20}, fight
        assert filters(world)[-1] == mirror_to("c", percent=20)
    assert world.memory is not None
    assert world.memory.paused is not None
    assert world.memory.paused.reason == reasons.CONTESTED
    assert "argocd changed the share of requests that is mirrored" in message(world)


def test_a_filter_of_ours_that_somebody_turned_down_to_nothing_is_gone_in_the_end() -> None:
    """It sends no copies any more, and is ours all the same."""
    world = mirroring()
    world.edit_filters(lambda found: found[-1]["requestMirror"].update(percent=0))
    world.run()
    assert world.phase is Phase.PAUSED
    world.ask("abort")
    world.run()
    assert (world.phase, filters(world)) == (Phase.ROLLED_BACK, getting()["filters"])


def test_the_same_share_in_other_words_is_the_same() -> None:
    """A fifth is 20 %; defaults that an API server fills in are nobody's edit."""
    world = mirroring()

    def change(found: list[Json]) -> None:
        found[-1] = mirror_to("c", fraction={"numerator": 1, "denominator": 5})
        found[-1]["requestMirror"]["backendRef"] |= {"group": "", "kind": "Service"}

    world.edit_filters(change)
    before = len(writes(world))
    world.run()
    assert (world.phase, len(writes(world))) == (Phase.PROGRESSING, before)


def test_filters_that_somebody_adds_meanwhile_stay() -> None:
    """Behind ours, too."""
    world = mirroring()
    world.edit_filters(lambda found: found.append(mirror_to("audit")))
    world.pass_step()
    assert (world.copied(), filters(world)[-1]) == ({}, mirror_to("audit"))


def test_a_forged_record_takes_no_filter_of_a_team() -> None:
    """Somebody writes into our annotation that the run mirrors what it does not."""
    theirs = [rule()["filters"][0], mirror_to("audit", percent=20)]
    world = mirroring(getting(), rule(name="pay", filters=copy.deepcopy(theirs)))

    def forge(document: Json) -> None:
        said = json.loads(document["metadata"]["annotations"][RUN_ANNOTATION])
        said["mirrors"] = {"pay": "20", "#7": "100 []"}
        document["metadata"]["annotations"][RUN_ANNOTATION] = json.dumps(said)

    world.edit_route("shop", forge)
    world.wait(2)
    world.ask("abort")
    world.run()
    assert world.copied() == {}
    assert filters(world, 1) == theirs


# -- which rules ----------------------------------------------------------------------------------------------------


def test_a_rule_that_may_change_something_is_left_out_and_named() -> None:
    """A request that is mirrored happens twice."""
    world = mirroring(getting(), rule(name="pay"))
    assert world.copied() == {"#0": 20}
    assert "not mirrored: rule pay of HTTPRoute shop (mirror.allowUnsafeMethods is false)" in message(world)


def test_the_option_mirrors_every_rule() -> None:
    """Whoever knows that it does no harm says so."""
    unsafe = {"mirror": {"percent": 20, "allowUnsafeMethods": True}}
    world = mirroring(getting(), rule(name="pay"), steps=[unsafe, {"weight": 10}])
    assert world.copied() == {"#0": 20, "pay": 20}
    assert "not mirrored" not in message(world)


def test_a_step_that_would_mirror_nothing_is_invalid() -> None:
    """Before anything is written, with the option that would change that."""
    world = mirroring(rule())
    assert world.phase is Phase.INVALID
    assert "spec.steps[0].mirror: no rule of HTTPRoute shop is limited to the methods GET, HEAD and OPTIONS" in message(
        world
    )
    assert "set mirror.allowUnsafeMethods to true" in message(world)
    assert not writes(world)


@pytest.mark.parametrize(("more", "share"), [({}, 100), ({"percent": 5}, 5), ({"percent": 0}, 0)])
def test_where_requests_are_mirrored_already_nothing_begins(more: Json, share: int) -> None:
    """A filter of the team's own to the very canary could not be told from ours, not even one that is prepared and says 0."""
    theirs = [mirror_to("c", **more)]
    world = mirroring(getting(filters=copy.deepcopy(theirs)))
    assert world.phase is Phase.INVALID
    assert f"rule #0 of HTTPRoute shop mirrors {share} % of its requests to the canary already" in message(world)
    assert (filters(world), writes(world)) == (theirs, [])


def test_where_somebody_mirrors_meanwhile_the_step_is_not_written() -> None:
    """It holds, says so, and their filter stays when the run ends."""
    world = mirroring(steps=[{"weight": 10, "hold": "10s"}, MIRROR, {"weight": 50}])
    world.edit_filters(lambda found: found.append(mirror_to("c", percent=1)))
    world.pass_step()
    assert world.copied() == {"#0": 1}
    assert "mirrors 1 % of its requests to the canary already" in message(world)
    world.ask("abort")
    world.run()
    assert world.status.run is not None
    assert (world.status.run.outcome, world.copied()) == (Outcome.ROLLED_BACK, {"#0": 1})


def test_a_rule_with_all_the_filters_that_it_may_have_is_not_mirrored() -> None:
    """The API server would refuse the route."""
    world = mirroring(getting(filters=[mirror_to(f"audit-{number}") for number in range(16)]))
    assert world.phase is Phase.INVALID
    assert "has 16 filters" in message(world)


def test_several_routes_mirror_as_one_and_go_each_on_its_own() -> None:
    """A route that cannot be written delays no other's way back."""
    routes = {name: route(name, getting()) for name in ("shop", "api")}
    world = begun(spec=spec_of(steps=STEPS, routes=[{"name": name} for name in routes]), routes=routes)
    assert [world.copied(name) for name in routes] == [{"#0": 20}, {"#0": 20}]
    world.faults["shop"] = Fault.REFUSED
    world.ask("abort", id_="now")
    world.tick()
    assert (world.copied("api"), world.copied("shop")) == ({}, {"#0": 20})
    world.run()
    assert world.copied("shop") == {}


# -- kinds of route -------------------------------------------------------------------------------------------------


def kinds(step: Json) -> World:
    """A run over an HTTPRoute, a GRPCRoute and a TCPRoute, all named shop, at a step that mirrors."""
    routes = {
        "shop": route("shop", getting()),
        GRPC: of_kind(RouteKind.GRPC, route("shop", rule(name="call"))),
        TCP: of_kind(RouteKind.TCP, route("shop", tcp_rule())),
    }
    return begun(spec=spec_of(routes=NAMED, steps=[step, {"weight": 10}]), routes=routes)


def tcp_rule() -> Json:
    return {"backendRefs": [{"name": "s", "port": 80, "weight": 1}, {"name": "c", "port": 80, "weight": 0}]}


def test_grpc_needs_the_option_and_connections_cannot_be_mirrored() -> None:
    """A gRPC method may do anything; a TCPRoute has no filters. Both are left out and named, and the run goes on."""
    world = kinds(MIRROR)
    assert [world.copied(name) for name in EVERY] == [{"#0": 20}, {}, {}]
    assert "not mirrored: rule call of GRPCRoute shop (mirror.allowUnsafeMethods is false)" in message(world)
    assert "rule #0 of TCPRoute shop (a TCPRoute has no filters)" in message(world)


def test_calls_are_mirrored_where_the_step_says_so() -> None:
    """The filter of a GRPCRoute is the same; it goes with the step."""
    world = kinds({"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "10s"})
    assert [world.copied(name) for name in EVERY] == [{"#0": 20}, {"call": 20}, {}]
    world.ask("abort")
    world.run()
    assert [world.copied(name) for name in EVERY] == [{}, {}, {}]


def test_a_run_over_connections_alone_mirrors_nothing() -> None:
    """And says that they have no filters."""
    world = begun(
        spec=spec_of(routes=[NAMED[2]], steps=STEPS), routes={TCP: of_kind(RouteKind.TCP, route("shop", tcp_rule()))}
    )
    assert world.phase is Phase.INVALID
    assert "no TCPRoute has filters, so nothing can be mirrored" in message(world)


def test_rules_that_were_all_edited_at_once_send_no_copies_afterwards() -> None:
    """One looks like another did then, so two cannot be told by content: what copies in them is the run's all the same."""
    audit = mirror_to("audit")
    world = mirroring(getting(), getting(filters=[audit]), getting(filters=[]))
    assert world.copied() == {"#0": 20, "#1": 20, "#2": 20}
    world.edit_filters(lambda there: there.append(audit))
    world.run()
    world.ask("abort")
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    assert world.copied() == {}
    assert [filters(world, index) for index in (1, 2)] == [[audit, audit], [audit]]
    assert not world.annotated()


def gateway_class(name: str, *features: str) -> Json:
    return {
        "kind": "GatewayClass",
        "metadata": {"name": name},
        "spec": {"controllerName": "example.org/gateways"},
        "status": {"supportedFeatures": [{"name": feature} for feature in features]},
    }


def gateway(name: str, of: str) -> Json:
    return {"kind": "Gateway", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"gatewayClassName": of}}


def test_a_parent_that_cannot_mirror_and_comes_in_the_middle_of_a_mirror_ends_it() -> None:
    """By what its class publishes. The run waits, says why, and mirrors again when the parent is gone; the step is held anew."""
    able = gateway_class("able", "HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror")
    documents = [
        able,
        gateway_class("poor", "HTTPRouteNamedRouteRule"),
        gateway("gw-0", "able"),
        gateway("poor", "poor"),
    ]
    known = [(POLICY, ""), ("Gateway", ""), ("GatewayClass", "")]
    world = begun(
        spec=spec_of(steps=STEPS), routes={"shop": route("shop", getting())}, around=Documents(documents, known=known)
    )
    assert world.copied() == {"#0": 20}
    parents = copy.deepcopy(world.routes["shop"]["spec"]["parentRefs"])
    world.edit_route("shop", lambda document: document["spec"]["parentRefs"].append({"name": "poor"}))
    decision = world.run()
    assert world.copied() == {}
    assert "GatewayClass poor publishes what its gateways can" in decision.message
    assert reasons.ROUTE_UNWRITABLE in world.reasons
    world.measure(0.0)
    world.wait(60)
    assert world.share() == 0
    assert world.phase is Phase.PROGRESSING
    assert reasons.LOWERED_BY_HAND not in world.reasons
    world.edit_route("shop", lambda document: document["spec"].update(parentRefs=parents))
    world.run()
    assert world.copied() == {"#0": 20}
    world.wait(5)
    assert world.share() == 0, "it is held anew"
    world.pass_step()
    assert world.share() == 10


def test_a_class_that_is_out_of_sight_ends_no_mirror() -> None:
    """That nobody says what it can is another thing than that it cannot."""
    world = mirroring()
    world.around = Documents(known=[(POLICY, "")])
    world.run()
    assert world.copied() == {"#0": 20}
