"""A step is held only while every gateway accepts it, and while its routes may name what they name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from world import AROUND, Gateways, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.model.run_status import Outcome
from canary.preflight.surroundings import Documents

Json = dict[str, Any]
GRANT: Json = {
    "kind": "ReferenceGrant",
    "metadata": {"name": "shop", "namespace": "other"},
    "spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "team"}],
        "to": [{"group": "", "kind": "Service"}],
    },
}


def around(*grants: Json) -> Documents:
    return Documents(grants, known=[("ReferenceGrant", ""), ("BackendPolicy", "")], platform=AROUND.platform)


def abroad() -> World:
    """At 10 %, the canary's Service in another namespace, whose owners have said that routes may name it."""
    theirs = rule()
    theirs["backendRefs"][1]["namespace"] = "other"
    canary = {"service": "c", "port": 80, "namespace": "other"}
    world = begun(spec=spec_of(canary=canary), routes={"shop": route("shop", theirs)}, around=around(GRANT))
    world.wait(1)
    world.measure(0.0)
    world.run()
    assert world.share() == 10
    return world


def test_a_grant_that_is_withdrawn_lets_the_share_rise_no_further() -> None:
    """Whatever a gateway goes on saying; after acceptTimeout the run ends, as where a gateway refuses the route."""
    world = abroad()
    world.around = around()
    decision = world.wait(15)
    assert world.share() == 10
    assert decision.reason == reasons.AWAITING_ACCEPTANCE
    assert "no ReferenceGrant of namespace other lets HTTPRoute of namespace team name Service c" in decision.message
    world.wait(60)
    run = world.status.run
    assert run is not None
    assert run.outcome is Outcome.ROLLED_BACK
    assert run.reason == reasons.NOT_ACCEPTED
    assert world.share() == 0


def test_a_grant_that_comes_back_lets_the_run_go_on() -> None:
    """The time without it was no hold."""
    world = abroad()
    world.around = around()
    world.wait(8)
    world.around = around(GRANT)
    world.wait(5)
    assert world.share() == 10, "ten seconds are over, of which eight were no hold"
    world.measure(0.0)
    world.wait(6)
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def flap(world: World, times: int) -> None:
    """A gateway says no for a tenth of a second, and yes for a tenth of a second."""
    for _ in range(times):
        for mode in (Gateways.REFUSING, Gateways.PROMPT):
            world.answer(mode)
            world.measure(0.0)
            world.run()
            world.now += timedelta(milliseconds=100)


def test_a_hold_goes_on_only_while_gateways_say_yes() -> None:
    """A gateway that says no every other moment lets half of the hold go by."""
    world = begun()
    flap(world, 60)
    assert world.share() == 10, "twelve seconds, of which six are its hold"
    flap(world, 45)
    assert world.share() == 50


def test_a_gateway_that_says_no_again_and_again_has_not_accepted() -> None:
    """All of that together is what acceptTimeout is about."""
    world = begun(spec=spec_of(acceptTimeout="4s"))
    flap(world, 45)
    run = world.status.run
    assert run is not None
    assert run.outcome is Outcome.ROLLED_BACK
    assert run.reason == reasons.NOT_ACCEPTED


def test_a_gateway_that_has_said_yes_for_long_may_take_its_time_again() -> None:
    """Edits of a route hours apart, each accepted after a moment, end no run."""
    world = begun(spec=spec_of(acceptTimeout="4s", steps=[{"weight": 10, "hold": "10m"}]))
    for _ in range(5):
        world.answer(Gateways.REFUSING)
        world.wait(3)
        world.answer(Gateways.PROMPT)
        world.measure(0.0)
        world.wait(5)
    assert world.memory is not None
    run, step = world.memory.run, world.memory.step
    assert run is not None
    assert run.outcome is None
    assert step is not None
    assert step.hold_until is not None
    assert step.started_at + timedelta(minutes=10, seconds=14) <= step.hold_until
