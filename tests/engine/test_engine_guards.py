"""Why a run stops, in which order, and what spec.onFailure has to say about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from world import Fault, Gateways, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.decide.guards import STOP
from canary.model.run_status import Outcome
from canary.model.status import Phase

CHECK = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "holdLimit": "2m"}


def outcome(world: World) -> tuple[Outcome | None, str]:
    run = world.status.run
    assert run is not None
    return run.outcome, run.reason


def canary_down(world: World) -> None:
    world.canary.ready = 0
    world.run()
    world.wait(31)


def route_deleted(world: World) -> None:
    world.routes.pop("shop")


def check_fails(world: World) -> None:
    world.measure(0.5)


def unknown_too_long(world: World) -> None:
    world.measure("NoData")
    world.wait(130)


def gateway_silent(world: World) -> None:
    world.gateways = Gateways.LATE
    world.edit_route("shop", lambda document: document["spec"].update(hostnames=["b.example.org"]))
    world.wait(70)


def gateway_refuses(world: World) -> None:
    world.answer(Gateways.REFUSING)
    world.wait(70)


def time_is_up(world: World) -> None:
    world.declare(deadline="5m")
    world.wait(310)


STOPS: list[tuple[Callable[[World], None], str, str, bool]] = [
    (canary_down, reasons.CANARY_UNAVAILABLE, "canary workload canary has had no ready replica for 30s while it was to have traffic", False),
    (route_deleted, reasons.ROUTE_MISSING, "HTTPRoute shop was deleted during the run", False),
    (check_fails, reasons.CHECK_FAILED, "check errors failed: 0.5 is above 0.01", True),
    (unknown_too_long, reasons.HOLD_LIMIT_EXCEEDED, "check errors has been unknown for 2m (NoData: the query returned no series)", True),
    (gateway_silent, reasons.NOT_ACCEPTED, "HTTPRoute shop was not accepted within 60s: Gateway gw-0 (https) has not answered", True),
    (gateway_refuses, reasons.NOT_ACCEPTED, "Gateway gw-0 (https) says ResolvedRefs=False (BackendNotFound: no such Service)", True),
    (time_is_up, reasons.DEADLINE_EXCEEDED, "the run took longer than its deadline of 5m", False),
]  # fmt: skip
NAMES = [row[0].__name__ for row in STOPS]


@pytest.mark.parametrize(("trouble", "reason", "message", "policy"), STOPS, ids=NAMES)
def test_what_stops_a_run(trouble: Callable[[World], None], reason: str, message: str, policy: bool) -> None:
    """All traffic back to stable, an Event, and a reason that alerts can be written against."""
    world = begun(spec=spec_of(checks=[CHECK]))
    trouble(world)
    world.run()
    world.wait(120)  # what gateways do not accept, a rollback does not wait for
    assert outcome(world) == (Outcome.ROLLED_BACK, reason)
    assert world.phase in {Phase.ROLLED_BACK, Phase.INVALID}
    tell = [tell for tell in world.told if tell.reason == reason][-1]
    assert tell.type == "Warning"
    assert message in tell.message
    if "shop" in world.routes:
        assert (world.share(), world.annotated()) == (0, False)


@pytest.mark.parametrize(("trouble", "reason", "message", "policy"), STOPS, ids=NAMES)
def test_what_on_failure_pause_has_a_say_in(
    trouble: Callable[[World], None], reason: str, message: str, policy: bool
) -> None:
    """Judgements pause; an outage, a lost route and the deadline roll back all the same."""
    world = begun(spec=spec_of(checks=[CHECK], onFailure="Pause"))
    trouble(world)
    world.run()
    world.wait(20)
    if policy:
        assert world.memory is not None
        assert world.memory.paused is not None
        assert (world.phase, world.memory.paused.reason, world.share()) == (Phase.PAUSED, reason, 10)
        assert message in world.memory.paused.message
    else:
        assert outcome(world) == (Outcome.ROLLED_BACK, reason)


def test_the_order_is_the_policy() -> None:
    """The first objection wins."""
    assert [guard.__name__ for guard in STOP] == [
        "canary_unavailable",
        "mirror_unresolved",
        "mirror_mismatch",
        "match_overtaken",
        "more_admitted",
        "back_to_stable",
        "back_to_failed",
        "route_missing",
        "check_failed",
        "hold_limit_exceeded",
        "not_accepted",
        "canary_too_small",
        "gate_timed_out",
        "past_deadline",
    ]


def test_the_first_of_two_objections_is_the_reason() -> None:
    """A canary that is gone for too long when the deadline is over as well: the outage is what people should look at."""
    world = begun(spec=spec_of(deadline="20s"))
    world.canary.ready = 0
    world.run()
    world.now += timedelta(seconds=31)
    world.run()
    assert outcome(world)[1] == reasons.CANARY_UNAVAILABLE


def test_an_abort_comes_before_all() -> None:
    """A person's word is the reason, even where a check fails in the same tick."""
    world = begun()
    check_fails(world)
    world.ask("abort", id_="1")
    world.run()
    assert outcome(world)[1] == reasons.ABORTED


@pytest.mark.parametrize(("trouble", "reason"), [(row[0], row[1]) for row in STOPS[:3]], ids=NAMES[:3])
@pytest.mark.parametrize("verb", ["pause", None], ids=["by request", "by spec"])
def test_a_pause_still_stops(trouble: Callable[[World], None], reason: str, verb: str | None) -> None:
    """Paused by a person or by the spec: users still get errors, so a rollback is still a rollback."""
    world = begun(spec=spec_of(checks=[CHECK]))
    if verb is None:
        world.declare(paused=True)
    else:
        world.ask(verb)
    world.run()
    trouble(world)
    world.run()
    assert outcome(world) == (Outcome.ROLLED_BACK, reason)


def test_paused_by_its_policy_a_run_goes_on_by_resume() -> None:
    """The old failures are forgiven, the step is held again, and the check must pass anew."""
    world = begun(spec=spec_of(checks=[CHECK], onFailure="Pause"))
    check_fails(world)
    world.run()
    world.wait(100)
    assert world.phase is Phase.PAUSED
    world.ask("resume")
    world.wait(30)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    assert world.decision is not None
    assert world.decision.reason == reasons.CHECKS_OBJECT
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def test_paused_by_its_policy_a_canary_that_goes_down_rolls_back() -> None:
    """The checks have spoken; an outage has not."""
    world = begun(spec=spec_of(checks=[CHECK], onFailure="Pause"))
    check_fails(world)
    world.run()
    canary_down(world)
    world.run()
    assert outcome(world) == (Outcome.ROLLED_BACK, reasons.CANARY_UNAVAILABLE)


def test_another_plan_gives_a_canary_that_failed_nothing() -> None:
    """The revision is the same that its policy has paused: whoever edits the steps has said nothing of it. Another revision is tested."""
    world = begun(spec=spec_of(checks=[CHECK], onFailure="Pause"))
    check_fails(world)
    world.run()
    world.declare(steps=[{"weight": 20, "hold": "1m"}, {"weight": 50, "hold": "1m"}])
    world.measure(0.0)
    world.wait(600)
    assert world.status.run is not None
    assert (world.status.run.number, world.phase, world.share()) == (2, Phase.PAUSED, 0)
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.CHECK_FAILED
    world.ask("resume")
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 20)
    check_fails(world)
    world.run()
    world.declare(steps=[{"weight": 30, "hold": "1m"}])
    world.run()
    assert (world.phase, world.share()) == (Phase.PAUSED, 0)
    world.canary.revision = "c"
    world.measure(0.0)
    world.wait(5)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 30)


def test_a_canary_that_is_down_without_traffic_harms_nobody() -> None:
    """At step 0 %, the run waits for it."""
    world = begun(spec=spec_of(steps=[{"approval": {}}, {"weight": 50}], checks=None))
    canary_down(world)
    world.ask("promote")
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 0)
    assert world.decision is not None
    assert world.decision.reason == reasons.AWAITING_CANARY
    world.canary.ready = 1
    world.run()
    assert world.share() == 50


def test_the_timeout_of_acceptance_starts_when_the_gateways_fall_behind() -> None:
    """An answer within the time counts, however often the route is written."""
    world = begun(spec=spec_of(checks=None, steps=[{"weight": 10, "hold": "10m"}]))
    for _ in range(4):
        world.gateways = Gateways.LATE
        world.edit_route("shop", lambda document: document["spec"].update(hostnames=[f"{world.now:%M-%S}.example.org"]))
        world.wait(50)
        world.answer()
        world.run()
    assert world.phase is Phase.PROGRESSING


def test_two_routes_are_rolled_back_at_once_and_none_waits_for_another() -> None:
    """One route cannot be written for a while: the other one is written in the tick of the verdict."""
    routes = {"shop": route("shop"), "api": route("api", rule(stable=20))}
    world = World(spec_of(routes=[{"name": "shop"}, {"name": "api"}]), routes)
    world.run()
    world.revise("b")
    world.run()
    world.measure(1.0)
    world.faults["shop"] = Fault.REFUSED
    world.tick()
    assert (world.share("shop"), world.share("api")) == (10, 0)
    world.run()
    assert (world.share("shop"), world.phase) == (0, Phase.ROLLED_BACK)


def test_a_rollback_waits_for_the_gateways_and_for_no_longer_than_their_time() -> None:
    """The writes wait for nothing; that it is over is said when the gateways accept, or when their time is up."""
    world = begun()
    world.gateways = Gateways.LATE
    world.measure(1.0)
    decision = world.run()
    assert (world.share(), world.phase) == (0, Phase.ROLLING_BACK)
    assert "waiting for HTTPRoute shop" in decision.message
    world.wait(61)
    assert world.phase is Phase.ROLLED_BACK
    assert "still not accepted: HTTPRoute shop" in world.status.message
