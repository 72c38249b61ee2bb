"""Routes of several kinds move as one: raised only together, lowered each on its own, and never taken for each other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from world import Fault, Gateways, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.model.rollout import RouteKind
from canary.model.run_status import Outcome
from canary.model.status import Phase

Json = dict[str, Any]

GRPC, TCP = "GRPCRoute/shop", "TCPRoute/shop"
NAMED = [{"name": "shop"}, {"kind": "GRPCRoute", "name": "shop"}, {"kind": "TCPRoute", "name": "shop"}]
EVERY = ("shop", GRPC, TCP)


def of_kind(kind: RouteKind, document: Json) -> Json:
    """The same route as one of another kind; without matches and filters where the kind has none."""
    document = copy.deepcopy(document) | {"kind": kind.value}
    if kind in {RouteKind.TLS, RouteKind.TCP, RouteKind.UDP}:
        for item in document["spec"]["rules"]:
            for member in ("matches", "filters", "timeouts"):
                item.pop(member, None)
    return document


def three(**rules: Json) -> dict[str, Json]:
    """An HTTPRoute, a GRPCRoute and a TCPRoute, all named shop, each with weights of its own."""
    return {
        "shop": route("shop", rules.get("http") or rule()),
        GRPC: of_kind(RouteKind.GRPC, route("shop", rules.get("grpc") or rule(stable=20))),
        TCP: of_kind(RouteKind.TCP, route("shop", rules.get("tcp") or rule(stable=1000))),
    }


def shares(world: World) -> tuple[float, ...]:
    return tuple(world.share(name) for name in EVERY)


def mixed(**changes: Any) -> World:
    return begun(spec=spec_of(routes=NAMED, checks=None, **changes), routes=three())


def test_routes_of_one_name_and_several_kinds_are_several_routes() -> None:
    """Each is written, remembered and put back by itself; the status names each by kind and name."""
    world = mixed()
    assert shares(world) == (10, 10, 10)
    assert [(kept.kind.value, kept.name, kept.owned) for kept in world.status.routes] == [
        ("HTTPRoute", "shop", True),
        ("GRPCRoute", "shop", True),
        ("TCPRoute", "shop", True),
    ]
    assert [kept.baseline for kept in world.status.routes] == [{"#0": "1/0"}, {"#0": "20/0"}, {"#0": "1000/0"}]
    for _ in range(3):
        world.pass_step()
    world.stable.rolled_out = True
    assert world.run().phase is Phase.SUCCEEDED
    assert shares(world) == (0, 0, 0)
    weights = [world.pairs(name)[0].weights for name in EVERY]
    assert [(found.stable, found.canary) for found in weights] == [(1, 0), (20, 0), (1000, 0)]


@pytest.mark.parametrize("late", EVERY)
def test_the_hold_begins_when_every_kind_is_accepted(late: str) -> None:
    """One that is not accepted keeps all of them at their share, and is named by its kind."""
    world = World(spec_of(routes=NAMED, checks=None), three())
    world.run()
    world.gateways = Gateways.LATE
    world.revise("b")
    world.run()
    for name in EVERY:
        if name != late:
            accept(world, name)
    decision = world.wait(20)
    assert shares(world) == (10, 10, 10), "raised together, and no further"
    assert world.status.step is not None
    assert world.status.step.reached_at is None
    kind = "HTTPRoute" if late == "shop" else late.partition("/")[0]
    assert decision.reason == reasons.AWAITING_ACCEPTANCE
    assert f"waiting for {kind} shop:" in decision.message
    accept(world, late)
    world.run()
    assert world.status.step.reached_at is not None


@pytest.mark.parametrize("late", EVERY)
def test_all_go_back_when_one_is_not_accepted_in_time(late: str) -> None:
    """After acceptTimeout; those that were accepted too."""
    world = World(spec_of(routes=NAMED, checks=None, acceptTimeout="30s"), three())
    world.run()
    world.gateways = Gateways.LATE
    world.revise("b")
    world.run()
    for name in EVERY:
        if name != late:
            accept(world, name)
    world.wait(31)
    assert shares(world) == (0, 0, 0)
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK
    assert world.status.run.reason == reasons.NOT_ACCEPTED


@pytest.mark.parametrize("stuck", EVERY)
def test_a_route_that_cannot_be_written_delays_no_other_of_its_name(stuck: str) -> None:
    """A rollback goes to each on its own; the one that is stuck follows when it can be written."""
    world = mixed()
    world.pass_step()
    assert shares(world) == (50, 50, 50)
    world.faults[stuck] = Fault.REFUSED
    world.ask("abort")
    world.tick()  # the request gets its id
    world.tick()
    assert dict(zip(EVERY, shares(world), strict=True)) == {name: 50 if name == stuck else 0 for name in EVERY}
    world.run()
    assert shares(world) == (0, 0, 0)


@pytest.mark.parametrize("name", EVERY)
def test_a_hand_on_one_of_them_is_seen_as_that(name: str) -> None:
    """Somebody lowers the share on one: the run pauses, says on which, and raises none."""
    world = mixed()
    world.pass_step()
    world.weigh(99, 1, name)
    decision = world.run()
    kind = "HTTPRoute" if name == "shop" else name.partition("/")[0]
    assert (decision.phase, world.status.paused.reason if world.status.paused else "") == (
        Phase.PAUSED,
        reasons.LOWERED_BY_HAND,
    )
    assert f"on {kind} shop from" in decision.message
    assert world.share(name) == 1


@pytest.mark.parametrize("name", EVERY)
def test_a_raised_share_is_put_back_on_the_one_that_was_raised(name: str) -> None:
    """The generation in which somebody raised it is remembered of that route, and of none that has its name."""
    world = mixed()
    world.pass_step()
    world.weigh(1, 99, name)
    world.run()
    assert shares(world) == (50, 50, 50)
    assert len(world.status.overrides) == 1
    overridden = [kept.overridden > 0 for kept in world.status.routes]
    assert overridden == [spot == name for spot in EVERY]


def test_a_crash_between_two_kinds_leaves_them_together() -> None:
    """The one that was written first comes back to what the others have."""
    world = mixed()
    world.faults[GRPC] = Fault.DIES_BEFORE
    world.pass_step()
    world.run()
    assert len({*shares(world)}) == 1


def test_the_route_of_a_kind_that_is_gone_ends_the_run() -> None:
    """What is said is why it cannot be seen; nobody saw that it was deleted."""
    world = mixed()
    del world.routes[TCP]
    world.unserved = {RouteKind.TCP: "this cluster serves no TCPRoute"}
    world.run()
    assert (world.share("shop"), world.share(GRPC)) == (0, 0)
    assert world.status.run is not None
    assert world.status.run.message == "TCPRoute shop cannot be seen any more: this cluster serves no TCPRoute"


def test_session_persistence_is_told_once_and_by_rule() -> None:
    """Weights are not the whole truth there; a run goes on all the same."""
    http = rule(name="cart") | {"sessionPersistence": {"sessionName": "s"}}
    world = begun(spec=spec_of(routes=NAMED, checks=None), routes=three(http=http))
    for _ in range(3):
        world.pass_step()
    world.stable.rolled_out = True
    assert world.run().phase is Phase.SUCCEEDED
    told = {event.message for event in world.told if event.reason == reasons.SESSION_PERSISTENCE}
    assert len(told) == 1
    assert told.pop().startswith("rule cart of HTTPRoute shop has sessionPersistence, which overrides weights")
    assert all(event.once for event in world.told if event.reason == reasons.SESSION_PERSISTENCE)


def accept(world: World, name: str) -> None:
    """The gateways look at this route alone."""
    world.gateways = Gateways.PROMPT
    world._answer(name)
    world.gateways = Gateways.LATE
