"""Revisions that are not known, or are reckoned by more than before: no run begins, ends or is won by that alone."""

from __future__ import annotations

import pytest
from world import World, begun, spec_of

from canary.decide import reasons
from canary.decide.facts import Problem
from canary.model.run_status import Outcome
from canary.model.status import Phase

WHY = "there is no ConfigMap shop"
SPEC = {"revision": {"includes": ["configs"]}, "promotion": "Await"}


def settled() -> World:
    """A world at rest in which revision a is settled."""
    world = World(spec=spec_of(**SPEC))
    world.run()
    assert (world.phase, world.status.revisions.settled) == (Phase.IDLE, "a")
    return world


def test_what_is_not_known_starts_no_run_and_settles_nothing() -> None:
    """It is said, Ready is not claimed, and what was known stays on record. When it is known again all is as it was."""
    world = settled()
    world.canary.unknown = WHY
    world.run()
    assert (world.phase, world.status.run) == (Phase.IDLE, None)
    assert world.status.message == f"the revision of canary workload canary is not known: {WHY}"
    ready = next(one for one in world.status.conditions if one.type == "Ready")
    assert (ready.status, ready.reason) == ("False", reasons.REVISION_UNKNOWN)
    assert (world.status.revisions.canary, world.status.revisions.settled) == ("a", "a")
    world.canary.unknown = ""
    world.run()
    assert (world.phase, world.status.run) == (Phase.IDLE, None)
    world.revise("b")
    world.run()
    assert world.status.run is not None
    assert world.status.run.revision == "b"


def test_on_first_sight_what_is_not_known_is_settled_when_it_is() -> None:
    """Nothing runs because somebody granted a right."""
    world = World(spec=spec_of(**SPEC))
    world.canary.revision, world.canary.unknown = "b", WHY
    world.run()
    assert (world.phase, world.status.revisions.settled, world.status.revisions.canary) == (Phase.IDLE, None, None)
    world.canary.unknown = ""
    world.run()
    assert (world.phase, world.status.revisions.settled, world.status.run) == (Phase.IDLE, "b", None)


def test_a_stable_that_is_not_known_settles_no_canary() -> None:
    """That it had the canary's revision when it was last known is not enough."""
    world = settled()
    world.revise("b")
    world.stable.unknown = WHY
    world.run()
    assert (world.phase, world.status.run, world.status.revisions.settled) == (Phase.IDLE, None, "a")
    world.revise("a")
    world.run()
    world.stable.unknown, world.stable.revision = "", "b"
    world.revise("b")
    world.run()
    assert (world.status.run, world.status.revisions.settled) == (None, "b"), "stable has it already"


def test_a_run_goes_no_further_while_it_is_not_known_and_is_not_started_anew() -> None:
    """Its weight stays as it is: nobody knows of anything bad."""
    world = begun(spec=spec_of(**SPEC))
    world.pass_step()
    assert world.status.step is not None
    at = world.status.step.index
    world.canary.unknown = WHY
    world.wait(60)
    world.measure(0.0)
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.number, world.status.step.index <= at + 1) == (Phase.PROGRESSING, 1, True)
    share = world.status.split.written
    world.wait(60)
    world.measure(0.0)
    world.run()
    assert world.status.split.written == share
    assert WHY in world.status.message
    world.canary.unknown = ""
    world.run()
    assert world.status.run.number == 1
    assert world.status.split.written > share or world.status.step.index > at


def under_way() -> World:
    """A run of pod spec p2 at a step that gives its canary traffic; nobody knows the revision of what the canary is now."""
    world = World(spec=spec_of(**SPEC))
    world.canary.pod_spec = "p1"
    world.run()
    world.revise("b")
    world.canary.pod_spec = "p2"
    world.run()
    world.pass_step()
    assert world.status.run is not None
    assert (world.status.run.number, world.status.run.pod_spec, world.share() > 0) == (1, "p2", True)
    world.canary.unknown = WHY
    return world


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("paused", [False, True])
def test_another_pod_spec_is_another_revision_though_nobody_knows_which(restarted: bool, paused: bool) -> None:
    """What the one before has earned is not for it: traffic goes back to stable at once, and a run begins when it is known."""
    world = under_way()
    if paused:
        world.ask("pause")
        world.run()
    share = world.share()
    if restarted:
        world.crash()
    world.run()
    world.wait(30)
    assert world.status.run is not None
    assert (world.share(), world.status.run.number) == (share, 1), "of the same pod spec nothing is taken away"
    world.canary.pod_spec = "p3"
    if restarted:
        world.crash()
    world.tick()
    assert world.share() == 0
    world.run()
    world.wait(300)
    assert (world.share(), world.status.run.outcome, world.status.run.pod_spec) == (0, None, "p3")
    assert f"its revision is not known: {WHY}" in world.told[-1].message
    assert paused or WHY in world.status.message
    world.canary.unknown, world.canary.revision = "", "c"
    if paused:
        world.ask("resume")
    world.run()
    world.wait(5)
    assert world.status.run is not None
    assert (world.status.run.revision, world.status.run.pod_spec) == ("c", "p3")
    assert world.share() > 0


def test_a_pod_spec_that_is_put_back_while_nobody_knows_goes_on_from_step_one() -> None:
    """It is what the run is about after all."""
    world = under_way()
    world.canary.pod_spec = "p3"
    world.run()
    world.canary.pod_spec, world.canary.unknown = "p2", ""
    world.run()
    assert world.status.run is not None
    assert (world.status.run.revision, world.status.run.pod_spec) == ("b", "p2")
    number = world.status.run.number
    world.pass_step()
    assert (world.share() > 0, world.status.run.number) == (True, number)


def test_a_run_of_an_earlier_version_learns_its_pod_spec() -> None:
    """The record of an earlier version has none; it is seen while the revision is known."""
    world = under_way()
    world.canary.unknown = ""
    del world.recorded["run"]["podSpec"]
    world.crash()
    world.run()
    world.canary.unknown, world.canary.pod_spec = WHY, "p3"
    world.tick()
    assert world.share() == 0


@pytest.mark.parametrize("outcome", [Outcome.ROLLED_BACK, None])
def test_what_is_reckoned_by_more_is_no_new_revision(outcome: Outcome | None) -> None:
    """`revision.includes` is declared at rest, or in a run: of the same pod spec nothing begins, and nothing is tried again."""
    world = begun(spec=spec_of(promotion="Await"))
    if outcome is not None:
        world.measure(1.0)
        world.run()
        assert world.phase is Phase.ROLLED_BACK
    world.declare(**SPEC)
    world.canary.bare, world.canary.revision = "b", "b-with-configs"
    world.stable.bare, world.stable.revision = "a", "a-with-configs"
    world.run()
    assert world.status.run is not None
    assert (world.status.run.number, world.status.run.revision) == (1, "b-with-configs")
    if outcome is not None:
        assert (world.phase, world.status.revisions.settled) == (Phase.ROLLED_BACK, "b-with-configs")
    world.canary.revision = "b-with-others"
    world.run()
    assert world.status.run.number == 2


def test_stable_is_awaited_until_its_revision_is_known() -> None:
    """It may run what the run is about, or not."""
    world = begun(spec=spec_of(steps=[{"weight": 100}], checks=None, **SPEC))
    world.stable.revision, world.stable.unknown = "b", WHY
    world.wait(60)
    assert world.phase is Phase.PROMOTING
    assert f"its revision is not known: {WHY}" in world.status.message
    world.stable.unknown = ""
    world.run()
    assert world.phase is Phase.SUCCEEDED


def test_what_keeps_pods_from_following_is_said() -> None:
    """The run waits in its preflight, and whoever reads it knows what to do."""
    world = World()
    world.run()
    world.revise("b")
    world.canary.rolled_out, world.canary.stuck = False, "delete them"
    world.run()
    assert world.status.message == "waiting for canary to roll out revision b; delete them (preflight)"
    assert world.status.split.written == 0


def test_a_workload_that_cannot_be_seen_holds_a_run_and_ends_none() -> None:
    """Its kind is out of sight: nobody says that it has no replica."""
    world = begun()
    world.pass_step()
    share = world.status.split.written
    world.trouble = (Problem("spec.workloads.canary", "out of sight"),)
    world.canary.unseen = True
    world.wait(3600)
    world.run()
    assert (world.phase, world.status.split.written) == (Phase.PROGRESSING, share)
    assert "out of sight" in world.status.message
    world.canary.unseen, world.trouble = False, ()
    world.run()
    assert world.status.run is not None
    assert (world.status.run.number, world.status.run.outcome) == (1, None)
