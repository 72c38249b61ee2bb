"""Nobody can tell what a workload runs: no share rises, by whatever way, and a won Swap begins no run that takes it back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import Fault, World, begun, spec_of

from canary.decide import reasons
from canary.model.status import Phase

WHY = "there is no ConfigMap shop"
INCLUDES: dict[str, Any] = {"revision": {"includes": ["configs"]}, "checks": None}
HOW = ("unknown", "unseen")


def lose(world: World, how: str, which: str = "canary") -> None:
    workload = getattr(world, which)
    workload.unknown, workload.unseen = WHY if how == "unknown" else "", how == "unseen"


def regain(world: World) -> None:
    for workload in (world.stable, world.canary):
        workload.unknown, workload.unseen = "", False


def swapping(*steps: dict[str, Any], **more: Any) -> World:
    return begun(spec=spec_of(promotion="Swap", steps=list(steps), **INCLUDES, **more))


# -- the end of a Swap ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", ["a", "other"])
@pytest.mark.parametrize("how", [*HOW, "gone"])
def test_a_won_swap_is_not_taken_back_when_the_old_version_is_seen_again(how: str, later: str) -> None:
    """Nobody knew what it was at the end of the run. What it is when that is known needs no run, whatever it is."""
    world = swapping({"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "10s"})
    world.pass_step()
    lose(world, how, "stable")
    world.stable.there = how != "gone"
    for _ in range(3):
        world.pass_step()
    if how == "unseen":
        assert world.phase is Phase.PROGRESSING, "a declared workload that cannot be seen holds the run"
        lose(world, "unknown", "stable")
        world.pass_step(30)
    assert (world.phase, world.status.swapped) == (Phase.SUCCEEDED, True)
    world.crash()
    world.run()
    revisions = world.status.revisions
    assert revisions.settled is None, "it is not guessed"
    assert (revisions.stable, revisions.canary) == ("b", None if how == "gone" else "a"), "by the roles of today"
    regain(world)
    world.stable.there, world.stable.revision = True, later
    for _ in range(3):
        world.pass_step()
    assert world.status.run is not None
    assert (world.status.run.number, world.status.revisions.settled) == (1, later)
    assert [str(pair.weights) for pair in world.pairs("shop")] == ["1/0"], "by the roles of today: all on the new one"
    world.revise("c")
    world.run()
    assert world.status.run is not None
    assert world.status.run.number == 2, "the next one is a release again"


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dies", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
def test_nor_where_a_successor_has_not_seen_it_yet(dies: Fault, how: str) -> None:
    """The controller dies at any write of the run, and the next one is about to read what the workloads are."""
    for at in range(1, 40):
        world = World(spec_of(promotion="Swap", steps=[{"weight": 100, "hold": "5s"}], **INCLUDES))
        world.run()
        died = world.attempts + at
        world.script = lambda number, _target, died=died: dies if number == died else None
        world.revise("b")
        for _ in range(12):
            lives = world.lives
            world.tick()
            world.now += (
                (world.decision.wake_at - world.now) if world.decision and world.decision.wake_at else timedelta(0)
            )
            if world.lives > lives:
                lose(world, how, "stable")
                lose(world, how)
        for _ in range(4):
            world.wait(10)
        regain(world)
        for _ in range(6):
            world.wait(10)
        assert (world.status.swapped, world.phase) == (True, Phase.SUCCEEDED), at
        assert world.status.run is not None
        assert world.status.run.number == 1, at
        if world.lives == 1:
            return
    raise AssertionError("the run has more writes than are tried")


def won(how: str) -> World:
    """A Swap that is won, of which no write to the status comes through; somebody has lowered the share, and nobody knows the new version."""
    world = swapping({"weight": 100, "hold": "5s"})
    world.script = lambda _number, target: Fault.REFUSED if target == "status" else None
    world.now += timedelta(seconds=6)
    for _ in range(6):
        world.tick()
    assert world.memory is not None
    assert (world.phase, world.memory.run.swap if world.memory.run else None) == (Phase.PROMOTING, True)
    world.weigh(60, 40)
    lose(world, how)
    return world


@pytest.mark.parametrize("how", HOW)
def test_a_won_swap_gives_nothing_back_to_what_nobody_knows(how: str) -> None:
    """Somebody lowered its share before its end was on record. It stays there, and is not raised when it is known either: a hand did it."""
    world = won(how)
    for _ in range(3):
        world.tick()
        world.now += timedelta(minutes=10)
    world.script = None
    world.wait(3600)
    for _ in range(2):
        assert (world.status.swapped, world.annotated()) == (True, False)
        assert [str(pair.weights) for pair in world.pairs("shop")] == ["40/60"], "by the roles of today"
        regain(world)
        world.run()
    assert world.status.run is not None
    assert "alice changed the canary's share on HTTPRoute shop from 100 % to 40 %" in world.status.run.message


@pytest.mark.parametrize("how", HOW)
def test_nor_does_its_deletion(how: str) -> None:
    """It waits for nothing: the route keeps the weights that somebody gave it, and nothing of ours is left."""
    world = won(how)
    world.delete()
    world.run()
    assert (world.gone, world.annotated()) == (True, False)
    assert [str(pair.weights) for pair in world.pairs("shop")] == ["60/40"]


# -- more weight ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
def test_a_swap_does_not_give_the_rest_to_what_nobody_knows(how: str) -> None:
    """The last step gave 50 %. It waits and says why, and goes on when it is known again."""
    world = swapping({"weight": 50, "hold": "60s"})
    world.wait(30)
    lose(world, how)
    world.wait(60)
    assert world.share() == 50
    assert ("out of sight" if how == "unseen" else WHY) in world.status.message
    world.wait(3600)
    assert (world.share(), world.status.swapped) == (50, False)
    regain(world)
    world.run()
    assert (world.phase, world.status.swapped) == (Phase.SUCCEEDED, True)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("steps", [[{"weight": 50, "hold": "10s"}], [{"weight": 10, "hold": "10s"}, {"weight": 50}]])
def test_a_write_that_failed_is_not_sent_once_it_is_not_known(steps: list[dict[str, Any]], how: str) -> None:
    """It was decided while it was known; by now it may be something that nobody has judged. Its gateways have their time after that."""
    world = swapping(*steps, acceptTimeout="60s")
    share = world.share()
    world.script = lambda _n, target: Fault.REFUSED if target == "shop" else None
    world.now += timedelta(seconds=11)
    for _ in range(3):
        world.tick()
    assert (world.share(), bool(world.unwritten)) == (share, True)
    lose(world, how)
    world.script = None
    world.crash()
    world.wait(3600)
    assert (world.share(), world.phase in {Phase.PROMOTING, Phase.PROGRESSING}) == (share, True)
    regain(world)
    world.run()
    assert world.share() > share or world.status.swapped
    assert world.status.run is not None
    assert world.status.run.number == 1


@pytest.mark.parametrize("how", HOW)
def test_a_canary_that_was_away_gets_its_weight_back_when_it_is_known(how: str) -> None:
    """Nobody has seen a ready replica of a kind that is out of sight; and what is ready may be something else by now."""
    world = begun(
        spec=spec_of(steps=[{"weight": 50, "hold": "1h"}], promotion="Await", unavailableGrace="10m", **INCLUDES)
    )
    world.canary.ready = 0
    world.run()
    assert world.share() == 0
    lose(world, how)
    world.canary.ready = 1
    world.wait(1200)
    assert (world.share(), world.phase) == (0, Phase.PROGRESSING)
    assert reasons.CANARY_AVAILABLE not in {event.reason for event in world.told}
    assert ("when it was last seen" if how == "unseen" else "its revision is not known") in world.status.message
    regain(world)
    world.run()
    assert world.share() == 50
    assert reasons.CANARY_AVAILABLE in {event.reason for event in world.told}


@pytest.mark.parametrize("how", HOW)
def test_resume_does_not_raise_what_somebody_lowered_while_nobody_knows(how: str) -> None:
    """It is refused, and says why; the pause stays."""
    world = begun(spec=spec_of(steps=[{"weight": 50, "hold": "1h"}], promotion="Await", **INCLUDES))
    world.weigh(90, 10)
    world.run()
    assert world.phase is Phase.PAUSED
    lose(world, how)
    world.ask("resume", id_="one")
    world.run()
    assert (world.share(), world.phase) == (10, Phase.PAUSED)
    assert world.status.last_request is not None
    assert "does not rise" in world.status.last_request.message
    regain(world)
    world.ask("resume", id_="two")
    world.run()
    assert (world.share(), world.phase) == (50, Phase.PROGRESSING)


# -- words ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_seen_is_awaited_by_name_and_stays_on_record() -> None:
    """Await can be ended by `promote`; what is not claimed is that this is all there is to wait for."""
    world = begun(spec=spec_of(steps=[{"weight": 100}], promotion="Await", **INCLUDES))
    assert world.phase is Phase.PROMOTING
    world.stable.unseen = True
    world.wait(60)
    assert world.status.message == (
        "waiting for stable to run revision b, or for `canary promote`, which says that it does; "
        "it cannot be seen: its kind is out of sight (promoting)"
    )
    assert (world.status.revisions.stable, world.status.workloads.stable is not None) == ("a", True)
