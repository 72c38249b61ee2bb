"""How a run that passed all steps ends: Copy, Await, Swap."""

from __future__ import annotations

from datetime import timedelta

import pytest
from world import Fault, Gateways, World, begun, route, spec_of

from canary.decide import reasons
from canary.decide.facts import Problem
from canary.model.run_status import Outcome
from canary.model.status import Phase


def promoting(promotion: str, **more: object) -> World:
    """A world at the end of its only step, 100 %."""
    world = begun(spec=spec_of(**{"promotion": promotion, "steps": [{"weight": 100}], "checks": None, **more}))
    assert world.status.step is not None
    return world


def test_copy() -> None:
    """The pod spec is copied, stable rolls out, traffic returns, and nothing is left behind."""
    world = promoting("Copy")
    assert (world.phase, world.share()) == (Phase.PROMOTING, 100)
    assert (world.stable.revision, world.stable.kept) == ("b", "a")
    assert world.decision is not None
    assert world.decision.message == "waiting for stable to roll out revision b (promoting)"
    world.stable.rolled_out = True
    world.run()
    assert (world.phase, world.share(), world.annotated(), world.finalizer) == (Phase.SUCCEEDED, 0, False, False)
    assert (world.stable.revision, world.stable.kept) == ("b", None)
    assert world.status.revisions.settled == "b"
    assert [pair.weights.stable for pair in world.pairs("shop")] == [1]


@pytest.mark.parametrize("when", ["while it is copied", "while it rolls out"])
def test_abort_during_copy_restores_the_pod_spec(when: str) -> None:
    """Stable runs again what it ran before; traffic does not wait for that."""
    world = promoting("Copy")
    if when == "while it is copied":
        world.stable.revision, world.stable.record = "a", None
    world.ask("abort")
    world.run()
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)
    assert (world.stable.revision, world.stable.kept) == ("a", None)


def test_a_canary_that_goes_down_during_copy_rolls_back() -> None:
    """Its traffic goes at once; when its grace is over, stable gets its own pod spec back."""
    world = promoting("Copy")
    world.canary.ready = 0
    world.tick()
    assert (world.share(), world.stable.revision) == (0, "b")
    world.run()
    world.wait(31)
    assert (world.phase, world.share(), world.stable.revision) == (Phase.ROLLED_BACK, 0, "a")


def test_restoring_is_tried_until_it_works() -> None:
    """The run is not over before stable is what it was."""
    world = promoting("Copy")
    for _ in range(3):
        world.faults["workload"] = Fault.REFUSED
        world.ask("abort", id_="once")
        world.tick()
        assert (world.share(), world.stable.revision) == (0 if world.status.run else 100, "b") or world.share() == 0
    world.run()
    assert (world.phase, world.stable.revision, world.stable.kept) == (Phase.ROLLED_BACK, "a", None)


def test_a_copy_of_what_is_no_longer_there_is_not_made() -> None:
    """The canary changed in the moment of the copy: that is another run, and stable keeps what it has."""
    world = promoting("Copy")
    world.stable.revision, world.stable.record = "a", None
    world.canary.revision = "c"
    world.run()
    assert world.status.run is not None
    assert (world.status.run.number, world.status.run.revision) == (2, "c")


def test_a_new_revision_during_copy_keeps_what_was_copied() -> None:
    """Revision b passed every step: it stays on stable, and the next run does not undo it."""
    world = promoting("Copy", steps=[{"weight": 100, "hold": "10s"}])
    world.wait(10)
    assert world.stable.kept == "a"
    world.faults["workload"] = Fault.REFUSED  # forgetting it fails at first
    world.revise("c")
    world.run()
    assert (world.stable.revision, world.stable.kept) == ("b", None)
    world.ask("abort")
    world.run()
    assert (world.phase, world.stable.revision) == (Phase.ROLLED_BACK, "b")


def test_await_by_revision() -> None:
    """All traffic on the canary until Git or CI has brought stable up to date."""
    world = promoting("Await")
    world.wait(3600)
    assert (world.phase, world.share()) == (Phase.PROMOTING, 100)
    assert world.decision is not None
    assert world.decision.message == "waiting for stable to run revision b (promoting)"
    world.stable.revision, world.stable.rolled_out = "b", False
    world.run()
    assert world.share() == 100
    world.stable.rolled_out = True
    world.run()
    assert (world.phase, world.share()) == (Phase.SUCCEEDED, 0)


def test_await_by_promote() -> None:
    """A person says that stable is up to date; without workloads nobody else can."""
    world = World(spec_of(workloads=None, promotion=None, checks=None, steps=[{"weight": 100}]))
    world.run()
    world.ask("start")
    world.run()
    world.wait(60)
    assert (world.phase, world.share()) == (Phase.PROMOTING, 100)
    world.ask("promote")
    world.run()
    assert (world.phase, world.share(), world.annotated()) == (Phase.SUCCEEDED, 0, False)


@pytest.mark.parametrize("crash", [False, True])
def test_an_approval_of_the_last_step_does_not_say_that_stable_is_up_to_date(crash: bool) -> None:
    """It lets the promotion begin; traffic comes back when stable runs the revision, or when a person says so then."""
    world = promoting("Await", steps=[{"weight": 100, "approval": {}}])
    world.wait(10)
    assert world.phase is Phase.PAUSED
    world.ask("promote")
    world.run()
    if crash:
        world.crash()
        world.run()
    world.wait(3600)
    assert (world.phase, world.share(), world.stable.revision) == (Phase.PROMOTING, 100, "a")
    world.ask("promote")
    world.run()
    assert (world.phase, world.share()) == (Phase.SUCCEEDED, 0)


def test_swap_and_back() -> None:
    """The two change roles: the next run goes in the other direction."""
    world = promoting("Swap")
    assert (world.phase, world.status.swapped) == (Phase.SUCCEEDED, True)
    assert [str(pair.weights) for pair in world.pairs("shop")] == ["1/0"]  # by the roles of today
    refs = {ref["name"]: ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]}
    assert refs == {"s": 0, "c": 1}
    assert (world.stable.revision, world.canary.revision) == ("a", "b")

    world.wait(600)
    assert world.phase is Phase.SUCCEEDED
    world.revise("c")  # of the canary of today: the workload that spec.workloads.stable names
    world.run()
    assert (world.phase, world.status.swapped, world.stable.revision) == (Phase.SUCCEEDED, False, "c")
    refs = {ref["name"]: ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]}
    assert refs == {"s": 1, "c": 0}


def test_a_swap_that_fails_changes_no_roles() -> None:
    """And the next run goes in the same direction."""
    world = begun(spec=spec_of(promotion="Swap"))
    world.measure(1.0)
    world.run()
    assert (world.phase, world.status.swapped, world.share()) == (Phase.ROLLED_BACK, False, 0)
    world.revise("c")
    world.run()
    assert world.share() == 10


def test_a_swap_raises_the_rest_by_itself_and_waits_for_the_gateways() -> None:
    """The last step gave 50 %: the promotion writes 100 %, and is over when it is accepted."""
    world = promoting("Swap", steps=[{"weight": 50, "hold": "10s"}])
    assert world.share() == 50
    world.answer()
    world.gateways = Gateways.LATE
    world.wait(11)
    assert (world.share(), world.phase) == (100, Phase.PROMOTING)
    world.answer(Gateways.PROMPT)
    world.run()
    assert (world.phase, world.status.swapped) == (Phase.SUCCEEDED, True)


def test_on_first_sight_a_swapped_pair_is_seen_as_what_it_is() -> None:
    """A Rollout is created again after a Swap: all traffic is on spec.canary, so the roles are changed."""
    world = World(spec_of(promotion="Swap"))
    world.canary.revision = "b"
    world.weigh(0, 100)
    world.run()
    assert (world.status.swapped, world.phase, world.share()) == (True, Phase.IDLE, 0)
    assert world.status.revisions.settled == "a"


@pytest.mark.parametrize("later", ["the route", "the spec"])
def test_a_swapped_pair_is_seen_as_what_it_is_as_soon_as_its_routes_can_be_read(later: str) -> None:
    """A backup brings the Rollout back before its route, or its spec could not be read at first: the roles are learnt all the same."""
    world = World(spec_of(promotion="Swap"))
    world.canary.revision = "b"
    world.weigh(0, 100)
    shop = world.routes["shop"]
    if later == "the route":
        del world.routes["shop"]
        world.run()
    else:
        world.recorded = {"phase": "Invalid", "message": "spec.steps[1].gate: no such time zone"}
    assert (world.phase, world.status.swapped) == (Phase.INVALID, False)
    world.routes["shop"] = shop
    world.run()
    assert (world.status.swapped, world.phase, world.share()) == (True, Phase.IDLE, 0)
    assert (world.status.revisions.settled, world.status.run) == ("a", None)
    assert reasons.TRAFFIC_AT_REST not in world.reasons, "nobody gives anything to what is not stable"
    world.stable.revision = "c"  # whose turn it is by the roles that were learnt
    world.run()
    assert world.status.run is not None
    assert world.status.run.revision == "c"


def test_roles_are_not_learnt_while_one_of_the_routes_cannot_be_read() -> None:
    """What one route says is not said of the other."""
    world = World(
        spec_of(promotion="Swap", routes=[{"name": "shop"}, {"name": "api"}]),
        {"shop": route("shop"), "api": route("api")},
    )
    world.weigh(0, 100, "shop")
    api = world.routes.pop("api")
    world.run()
    assert (world.phase, world.status.swapped) == (Phase.INVALID, False)
    world.routes["api"] = api
    world.run()
    assert not world.status.swapped, "of api all traffic is on spec.stable"


def test_roles_that_are_on_record_are_not_learnt_again() -> None:
    """At rest the weights are whose the route is: what they give the canary by hand later is shown, and changes no roles."""
    world = World(spec_of(promotion="Swap"))
    world.run()
    world.trouble = (Problem("spec.checks[0]", "there is no CheckTemplate latency"),)
    world.run()
    assert world.phase is Phase.INVALID
    world.weigh(0, 100)
    world.trouble = ()
    world.run()
    world.crash()
    world.run()
    assert (world.status.swapped, world.phase) == (False, Phase.IDLE)
    assert "gives the canary 100 %" in world.status.message


def test_returning_traffic_waits_for_the_gateways_and_for_no_longer_than_their_time() -> None:
    """A won run does not fail any more; what is late is said."""
    world = promoting("Await")
    world.answer()
    world.gateways = Gateways.LATE
    world.ask("promote")
    world.run()
    assert (world.phase, world.share()) == (Phase.PROMOTING, 0)
    world.wait(61)
    assert world.status.run is not None
    assert (world.phase, world.status.run.outcome) == (Phase.SUCCEEDED, Outcome.SUCCEEDED)
    assert "still not accepted: HTTPRoute shop" in world.status.message


def test_a_check_that_fails_during_the_promotion_rolls_back() -> None:
    """The canary has all the traffic: its checks go on counting until the outcome is decided."""
    world = promoting("Await", checks=[{"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": 1}}])
    world.measure(0.0)
    world.run()
    assert world.phase is Phase.PROMOTING
    world.wait(10)
    world.measure(5.0)
    world.tick()
    assert world.share() == 0
    world.run()
    assert world.status.run is not None
    assert world.status.run.reason == reasons.CHECK_FAILED


# -- a stable workload that cannot be seen, or is not there, while a copy is on record on it -----------------------------


def lost_while_unseen(how: str) -> World:
    """A run that has copied b to stable and is aborted while nobody can see stable; the canary has another revision by then."""
    world = promoting("Copy", steps=[{"weight": 100, "hold": "10s"}])
    world.wait(11)
    assert (world.stable.revision, world.stable.kept) == ("b", "a")
    world.stable.unseen, world.stable.there = how == "unseen", how == "unseen"
    world.ask("abort", id_="away")
    world.run()
    assert (world.share(), world.status.run.outcome if world.status.run else None) == (0, Outcome.ROLLED_BACK)
    world.wait(600)
    assert (world.stable.revision, world.stable.kept) == ("b", "a"), "nobody has touched what nobody sees"
    return world


@pytest.mark.parametrize("asked", ["by the revision", "start", "retry"])
@pytest.mark.parametrize("how", ["unseen", "404"])
@pytest.mark.parametrize("fault", [None, *Fault])
def test_what_a_lost_run_has_copied_is_put_back_before_another_begins(
    how: str, fault: Fault | None, asked: str
) -> None:
    """Its record is neither forgotten nor taken for what stable runs: the next run begins with stable as it was."""
    world = lost_while_unseen(how)
    if asked != "by the revision":
        world.declare(trigger="Manual")
        world.run()
    world.revise("c")
    world.run()
    world.stable.unseen, world.stable.there = False, True
    if fault is not None:
        world.faults["workload"] = fault
    if asked != "by the revision":
        world.ask(asked, id_="once")
    world.run()
    assert (world.stable.revision, world.stable.kept) == ("a", None)
    if asked != "by the revision" and world.status.last_request is not None and world.status.last_request.refused:
        assert "is being put back" in world.status.last_request.message
        world.ask(asked, id_="again")
    world.stable.rolled_out = True
    world.run()
    assert world.stable.revision == "a"
    run = world.status.run
    assert run is not None
    assert (run.number, run.revision, run.replaces) == (2, "c", "a")
    for _ in range(3):
        world.pass_step()
        world.stable.rolled_out = True
    world.run()
    assert (world.phase, world.stable.revision) == (Phase.SUCCEEDED, "c")


def test_a_run_that_begins_while_stable_is_unseen_replaces_what_is_there_when_it_is_seen() -> None:
    """And nothing that somebody puts there later."""
    world = begun(spec=spec_of(promotion="Copy", steps=[{"weight": 50, "hold": "10s"}], checks=None))
    world.stable.unseen = True
    world.revise("c")
    world.run()
    assert world.status.run is not None
    assert (world.status.run.number, world.status.run.replaces, world.share()) == (2, "", 0)
    world.stable.unseen, world.stable.revision = False, "d"
    world.run()
    assert (world.status.run.replaces, world.share()) == ("d", 50)
    world.stable.revision, world.stable.writer = "hotfix", "bob"
    world.wait(12)
    assert (world.phase, world.stable.revision) == (Phase.PAUSED, "hotfix")
    assert "bob changed stable during the run" in world.status.message


def test_to_resume_replaces_nothing_that_nobody_sees() -> None:
    """Whoever resumes has seen the hotfix that was there then, if they have, and not what comes while it is out of sight."""
    world = begun(spec=spec_of(promotion="Copy", steps=[{"weight": 50, "hold": "10s"}], checks=None))
    world.stable.revision = "hotfix"
    world.wait(12)
    assert world.phase is Phase.PAUSED
    world.stable.unseen = True
    world.ask("resume", id_="blind")
    world.run()
    world.stable.revision, world.stable.unseen = "another", False
    world.wait(12)
    assert (world.phase, world.stable.revision) == (Phase.PAUSED, "another")


def test_a_deletion_that_cannot_put_a_copy_back_says_so() -> None:
    """It waits for nobody who cannot be seen; what is left there, and where, is said."""
    world = promoting("Copy")
    world.stable.unseen = True
    world.delete()
    world.run()
    assert (world.gone, world.share(), world.stable.kept) == (True, 0, "a")
    (told,) = {tell.message for tell in world.told if tell.reason == reasons.LEFTOVER}
    assert "stable cannot be seen" in told
    assert "copy.canary.dev/shop" in told


# -- a Swap that is won, and a hand that lowers ---------------------------------------------------------------------------


def ticks(world: World) -> None:
    """A few: it does not come to rest as long as a write is refused."""
    for _ in range(8):
        world.tick()


def won_on_one(**changes: object) -> World:
    """A Swap over two routes that is won; nothing of its end can be written to the second one yet."""
    spec = spec_of(
        promotion="Swap",
        routes=[{"name": "shop"}, {"name": "api"}],
        steps=[{"weight": 100, "hold": "10s"}],
        checks=None,
        **changes,
    )
    world = begun(spec=spec, routes={"shop": route("shop"), "api": route("api")})
    world.denied = frozenset({"api"})
    world.now += timedelta(seconds=11)
    ticks(world)
    assert (world.phase, world.share("shop"), world.share("api")) == (Phase.PROMOTING, 100, 100)
    assert world.status.run is not None
    assert world.status.run.swap
    return world


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("left", [0, 40])
def test_a_won_swap_never_raises_against_a_hand(left: int, stripped: bool, crash: bool) -> None:
    """What somebody has lowered stays where they put it, who it was is said once, and the run ends as it was won."""
    world = won_on_one()
    if stripped:
        world.strip("shop")
    world.weigh(100 - left, left, "shop", by="bob")
    if crash:
        world.crash()
    for _ in range(5):
        ticks(world)
        world.now += timedelta(minutes=1)
    world.weigh(100 - left, left, "shop", by="bob")
    ticks(world)
    assert (world.phase, world.share("shop"), world.share("api")) == (Phase.PROMOTING, left, 100)
    assert world.memory is not None
    assert f"bob changed the canary's share on HTTPRoute shop from 100 % to {left} %" in world.memory.message
    assert {tell.message for tell in world.told if tell.reason == reasons.LOWERED_BY_HAND} == {
        f"bob changed the canary's share on HTTPRoute shop from 100 % to {left} %; the run is won, and leaves that"
    }
    world.denied = frozenset()
    world.run()
    assert (world.phase, world.status.swapped) == (Phase.SUCCEEDED, True)
    assert "bob changed the canary's share on HTTPRoute shop" in world.status.message
    weights = {ref["name"]: ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]}
    assert weights == {"s": 100 - left, "c": left}
    assert not world.annotated("shop")
    world.wait(3600)
    assert {ref["name"]: ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]} == weights


def test_a_won_swap_that_is_deleted_does_not_raise_against_a_hand_either() -> None:
    """What the Rollout leaves is what somebody has put there."""
    world = won_on_one()
    world.weigh(100, 0, "shop", by="bob")
    world.denied = frozenset()
    world.delete()
    world.run()
    assert world.gone
    weights = {ref["name"]: ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]}
    assert weights == {"s": 100, "c": 0}
