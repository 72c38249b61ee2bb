"""Between runs: what starts one, what does not, and what waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import Fault, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.decide.engine import decide
from canary.decide.facts import WorkloadView
from canary.model.status import Phase
from canary.model.workload_status import MOST_FAILED


def ended() -> World:
    """A world whose first run, of revision b, was rolled back."""
    world = begun()
    world.measure(1.0)
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    return world


def test_on_first_sight_nothing_runs() -> None:
    """A Rollout is created next to workloads that differ: what runs now is taken as settled."""
    world = World()
    world.canary.revision = "b"
    world.run()
    assert (world.phase, world.status.revisions.settled, world.wrote[0][0]) == (Phase.IDLE, "b", "status")
    assert world.status.message == "waiting for a new revision (b is settled)"


def test_a_new_revision_starts_a_run() -> None:
    """Neither the settled one nor stable's."""
    world = begun()
    assert world.status.run is not None
    assert (world.phase, world.status.run.number, world.status.run.revision) == (Phase.PROGRESSING, 1, "b")
    assert world.status.run.trigger.by == "revision"


def test_stables_revision_is_settled() -> None:
    """The canary is put back to what stable runs, and that is nothing to roll out, now or later."""
    world = World()
    world.canary.revision = "b"
    world.run()
    world.revise("a")
    world.run()
    assert (world.phase, world.status.revisions.settled) == (Phase.IDLE, "a")


def test_a_rolled_back_revision_is_not_tried_again() -> None:
    """However long one waits, and however often the controller restarts."""
    world = ended()
    for _ in range(3):
        world.wait(3600)
        world.crash()
        world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.number) == (Phase.ROLLED_BACK, 1)


def test_until_it_changes() -> None:
    """The next revision is a new try."""
    world = ended()
    world.revise("c")
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.number, world.status.run.revision) == (Phase.PROGRESSING, 2, "c")


def finished(world: World) -> None:
    """What the canary runs now goes through a run that succeeds."""
    world.run()
    for _ in range(4):
        world.pass_step()
        world.stable.rolled_out = True
    world.run()
    assert world.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("away", ["a", "c"], ids=["to what stable runs", "to another that fails, too"])
@pytest.mark.parametrize("crash", [False, True])
def test_nor_when_it_comes_back(away: str, crash: bool) -> None:
    """Put back to something else and deployed anew it still is what failed: somebody has to ask, or another one to succeed."""
    world = ended()
    world.revise(away)
    world.run()
    runs = 1
    if away == "c":
        runs = 2
        world.measure(1.0)
        world.run()
    if crash:
        world.crash()
    world.revise("b")
    world.wait(3600)
    assert world.status.run is not None
    assert (world.phase, world.status.run.number, world.status.revisions.settled) == (Phase.ROLLED_BACK, runs, "b")
    if away == "c":
        assert world.status.message == "revision b was rolled back before; `canary retry` tries it again"
    world.ask("start", id_="one")
    world.run()
    assert world.status.last_request is not None
    assert "`retry` tries it again" in world.status.last_request.message
    world.ask("retry", id_="two")
    world.run()
    assert (world.phase, world.status.run.number) == (Phase.PROGRESSING, runs + 1)
    finished(world)
    assert world.status.revisions.failed == ()


def test_what_failed_before_another_succeeded_is_a_new_try() -> None:
    """Whatever it failed of may be gone."""
    world = ended()
    world.revise("c")
    finished(world)
    assert world.status.revisions.failed == ()
    world.revise("b")
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.number, world.status.run.revision) == (Phase.PROGRESSING, 3, "b")


def test_a_run_does_not_give_way_to_what_failed() -> None:
    """It ends, as where the canary is put back to what stable runs; and what it was about has not failed."""
    world = ended()
    world.revise("c")
    world.run()
    world.pass_step()
    assert world.share() == 50
    world.revise("b")
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)
    assert (world.status.run.number, world.status.run.reason) == (2, reasons.SUPERSEDED)
    assert world.status.revisions.failed == ("b",)
    world.wait(600)
    world.revise("c")
    world.run()
    assert (world.phase, world.status.run.number, world.status.run.revision) == (Phase.PROGRESSING, 3, "c")


def test_so_many_that_failed_are_remembered() -> None:
    """A status is bounded: of those the oldest is forgotten, and tried again."""
    world = World()
    world.run()
    names = [f"r{number}" for number in range(MOST_FAILED + 1)]
    for name in names:
        world.revise(name)
        world.run()
        world.measure(1.0)
        world.run()
    for name in names[1:]:
        world.revise(name)
        world.run()
    assert world.status.run is not None
    assert world.status.run.number == len(names)
    world.revise(names[0])
    world.run()
    assert (world.status.run.number, len(world.status.revisions.failed)) == (len(names) + 1, MOST_FAILED)


def test_a_revision_that_comes_during_a_rollback_has_its_turn() -> None:
    """It was never tried."""
    world = begun()
    world.measure(1.0)
    world.tick()
    world.revise("c")
    world.run()
    assert world.status.run is not None
    assert (world.status.run.number, world.status.run.revision) == (2, "c")


def test_spec_paused_starts_nothing_and_forgets_nothing() -> None:
    """The revision waits, and starts when spec.paused is taken back."""
    world = World(spec_of(paused=True))
    world.run()
    world.revise("b")
    decision = world.run()
    assert (world.phase, decision.reason) == (Phase.IDLE, reasons.SPEC_PAUSED)
    assert decision.message == "spec.paused is true: revision b waits"
    world.declare(paused=False)
    world.run()
    assert world.phase is Phase.PROGRESSING


def test_manual_starts_by_request_alone() -> None:
    """A new revision is only learnt."""
    world = World(spec_of(trigger="Manual"))
    world.run()
    world.revise("b")
    decision = world.run()
    assert (world.phase, decision.message) == (Phase.IDLE, "waiting for `canary start`")
    world.ask("start")
    world.run()
    assert world.phase is Phase.PROGRESSING


def test_a_canary_that_does_not_exist_yet_is_waited_for() -> None:
    """And its first revision is settled when it comes."""
    world = World()
    facts = replace(world.facts(), canary=WorkloadView("canary", exists=False))
    decision = decide(world.spec, world.status, facts)
    assert (
        decision.message
        == "waiting for canary workload canary: there is no such Deployment; create it, or correct spec.workloads"
    )
    assert decision.status.revisions.settled is None


def test_no_traffic_before_the_new_revision_is_rolled_out() -> None:
    """The Deployment is still replacing pods."""
    world = World()
    world.run()
    world.revise("b")
    world.canary.rolled_out = False
    decision = world.run()
    assert (world.share(), decision.reason) == (0, reasons.AWAITING_CANARY)
    world.canary.rolled_out = True
    world.run()
    assert world.share() == 10


def test_nothing_begins_while_stable_is_scaled_to_zero() -> None:
    """Whoever a rollback sends back would find nobody. One whose pods are not ready may be what the release is to mend."""
    world = World()
    world.run()
    world.revise("b")
    world.stable.replicas = world.stable.ready = 0
    decision = world.run()
    assert (world.share(), decision.reason) == (0, reasons.STABLE_AT_ZERO)
    assert "scale it up" in decision.message
    world.stable.replicas = 1
    world.run()
    assert world.share() == 10


# -- Invalid ------------------------------------------------------------------------------------------------------


def test_invalid_says_why_and_recovers_by_itself() -> None:
    """The route lacks the pair; when it lists it, life goes on, and what came meanwhile is not lost."""
    world = World()
    world.run()
    world.drop_pair()
    world.run()
    assert world.phase is Phase.INVALID
    assert "add the canary as a backendRef with weight 0" in world.status.message
    assert world.reasons.count(reasons.INVALID) == 1
    world.revise("b")
    world.run()
    assert world.phase is Phase.INVALID
    world.add_pair()
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)


def test_a_share_that_cannot_be_expressed_is_invalid_before_a_run() -> None:
    """Next to a third backend, 10 % of a sum of 1."""
    world = World(routes={"shop": route("shop", rule(stable=1, canary=0, third=5))})
    world.run()
    assert world.phase is Phase.INVALID
    assert "multiply all weights of the rule by 10" in world.status.message


def test_a_problem_during_a_run_holds_it() -> None:
    """A route is added that does not exist: the plan changed, and no traffic comes before it is there."""
    world = begun()
    world.declare(routes=[{"name": "shop"}, {"name": "api"}])
    world.run()
    world.pass_step(60)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 0)
    assert world.decision is not None
    assert world.decision.reason == reasons.INVALID
    world.routes["api"] = route("api")
    world.answer()
    world.run()
    assert (world.share("shop"), world.share("api")) == (10, 10)


# -- a run gives way ----------------------------------------------------------------------------------------------


def test_a_new_revision_takes_the_place_of_the_old() -> None:
    """Traffic back to stable, and from step one, with its own number and no evidence."""
    world = begun()
    world.pass_step()
    assert world.share() == 50
    world.revise("c")
    world.canary.rolled_out = False
    world.run()
    assert world.share() == 0
    assert reasons.SUPERSEDED in world.reasons
    world.canary.rolled_out = True
    world.run()
    status = world.status
    assert status.run is not None
    assert status.step is not None
    assert (status.run.number, status.run.revision, status.step.index, world.share()) == (2, "c", 1, 10)
    assert all(check.measured_at is None for check in status.checks)


def test_another_plan_takes_the_place_of_the_old() -> None:
    """Steps were edited: from step one, by the new ones."""
    world = begun()
    world.pass_step()
    world.declare(steps=[{"weight": 5}, {"weight": 100}])
    world.run()
    assert world.status.run is not None
    assert (world.share(), world.status.run.number) == (5, 2)
    assert reasons.PLAN_CHANGED in world.reasons


def test_other_checks_are_no_other_plan() -> None:
    """Policies may change under way; the new check has to speak in this step."""
    world = begun()
    check = {"prometheus": {"query": "q"}, "threshold": {"max": "1%"}}
    world.declare(checks=[{"name": "errors", **check}, {"name": "latency", **check}], onFailure="Pause")
    world.measure(0.0, "errors")
    world.wait(20)
    assert world.status.run is not None
    assert (world.share(), world.status.run.number) == (10, 1)
    world.measure(0.0, "latency")
    world.run()
    assert world.share() == 50


def test_what_the_first_run_found_is_what_the_second_restores() -> None:
    """The originals are handed on: they are not the weights of the run before."""
    world = begun(routes={"shop": route("shop", rule(stable=None, canary=0))})
    world.pass_step()
    world.revise("c")
    world.run()
    world.ask("abort")
    world.run()
    assert [str(pair.weights) for pair in world.pairs("shop")] == ["-/0"]


@pytest.mark.parametrize("fault", ["REFUSED", "DIES_BEFORE", "CONFLICT", None])
def test_a_route_that_the_plan_drops_is_given_back(fault: str | None) -> None:
    """Also when the first try fails: it is not lost sight of before it is as it was."""
    routes = {"shop": route("shop"), "api": route("api", rule(stable=20))}
    world = World(spec_of(routes=[{"name": "shop"}, {"name": "api"}]), routes)
    world.run()
    world.revise("b")
    world.run()
    world.pass_step()
    assert world.share("api") == 50
    if fault is not None:
        world.faults["api"] = Fault[fault]
    world.declare(routes=[{"name": "shop"}])
    world.run()
    assert world.share("api") == 0
    world.ask("abort")
    world.run()
    assert ([str(pair.weights) for pair in world.pairs("api")], world.annotated("api")) == (["20/0"], False)
