"""What is on record of a Copy: nothing that anybody else wrote on the workload is executed, and what a run has done there it knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import Fault, Gateways, World, begun, spec_of

from canary.decide import reasons
from canary.decide.facts import CopyView
from canary.model.run_status import Outcome
from canary.model.status import Phase

STEPS = [{"weight": 10, "hold": "10s"}, {"weight": 100, "hold": "10s"}]
STEPS_HOLD = timedelta(seconds=11)


def at_ten() -> World:
    """A run at its first step of two."""
    world = begun(spec=spec_of(promotion="Copy", steps=STEPS))
    world.wait(1)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    return world


def passed(world: World) -> World:
    """All steps are passed, and whatever that leads to by itself."""
    for _ in STEPS:
        world.pass_step()
    return world


def promoting() -> World:
    """A run that has copied b over a, which does not roll out yet."""
    world = passed(at_ten())
    assert (world.phase, world.stable.revision, world.stable.kept) == (Phase.PROMOTING, "b", "a")
    return world


def about_to_copy() -> World:
    """A run that is about to copy: the API server refuses that for now."""
    world = at_ten()
    world.script = lambda _number, target: Fault.REFUSED if target == "workload" else None
    world.pass_step()
    world.wait(1)
    world.measure(0.0)
    world.run()
    world.now += STEPS_HOLD
    world.measure(0.0)
    for _ in range(8):
        world.tick()
    assert (world.phase, world.stable.revision, world.stable.record) == (Phase.PROMOTING, "a", None)
    return world


def copied(world: World) -> list[str]:
    return [kind for kind, _ in world.wrote if kind in {"copy", "restore"}]


def end(world: World) -> None:
    """Stable rolls out, and time passes."""
    for _ in range(3):
        world.stable.rolled_out = True
        world.run()
        world.wait(70)


# -- what somebody else writes on the workload ------------------------------------------------------------------------


FORGED = {
    "what stable runs, over something else": CopyView("uid-1", 1, "a", "evil"),
    "what stable runs, over itself": CopyView("uid-1", 1, "a", "a"),
    "what is under test, over what stable runs": CopyView("uid-1", 1, "b", "a"),
    "of an earlier version": CopyView("", 0, "", "evil"),
    "of the run before": CopyView("uid-1", 0, "a", "evil"),
    "of the run after": CopyView("uid-1", 2, "a", "evil"),
}


@pytest.mark.parametrize("record", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("crash", [False, True])
def test_a_forged_record_of_a_run_that_has_copied_nothing_puts_nothing_back(record: CopyView, crash: bool) -> None:
    """The run fails at its first step: stable runs what it ran, then and at rest."""
    world = at_ten()
    world.stable.record = record
    world.run()
    world.measure(0.5)
    for _ in range(2):
        world.run()
        if crash:
            world.crash()
        end(world)
        assert (world.phase, world.stable.revision, world.stable.record) == (Phase.ROLLED_BACK, "a", None)
        world.stable.record = record
    assert copied(world) == []
    assert not any("put the pod spec" in tell.message for tell in world.told)


@pytest.mark.parametrize("record", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("when", ["at step one", "while it is about to copy"])
def test_a_forged_record_counts_as_no_copy(record: CopyView, when: str) -> None:
    """A run is won when stable runs what was under test, and not when an annotation says so."""
    world = at_ten() if when == "at step one" else about_to_copy()
    world.stable.record = record
    if when == "at step one":
        passed(world)
    world.script = None
    world.run()
    assert (world.phase, world.stable.revision) == (Phase.PROMOTING, "b")
    assert world.stable.record == CopyView("uid-1", 1, "b", "a")
    end(world)
    assert (world.phase, world.stable.revision, copied(world)) == (Phase.SUCCEEDED, "b", ["copy"])
    assert reasons.COPY_ALTERED not in world.reasons


def test_a_record_that_says_something_else_is_named() -> None:
    """It counts as absent, and people learn which annotation that is."""
    world = at_ten()
    world.stable.record = FORGED["what stable runs, over something else"]
    world.run()
    told = {tell.message for tell in world.told if tell.reason == reasons.UNREADABLE_RECORD}
    assert told == {
        "the annotation copy.canary.dev/shop of stable says of run 1 what is not on record; it counts as absent"
    }


def test_a_record_whose_pod_spec_is_another_one_is_not_put_back() -> None:
    """After the copy somebody edits what the record says was replaced: what is put back is what the status says."""
    world = promoting()
    world.stable.record = CopyView("uid-1", 1, "b", "evil")
    world.ask("abort", id_="x")
    end(world)
    assert (world.phase, world.stable.revision, world.stable.record) == (Phase.ROLLED_BACK, "a", None)


@settings(max_examples=60, deadline=None)
@given(
    record=st.builds(
        CopyView,
        uid=st.sampled_from(("uid-1", "uid-0", "")),
        run=st.sampled_from((0, 1, 2)),
        copied=st.sampled_from(("a", "b", "x", "")),
        replaced=st.sampled_from(("a", "b", "evil")),
    ),
    promoted=st.booleans(),
    fails=st.booleans(),
    crash=st.booleans(),
)
def test_no_record_puts_on_stable_what_nobody_has_released(
    record: CopyView, promoted: bool, fails: bool, crash: bool
) -> None:
    """Whatever the annotation says: stable runs what it ran where the run fails, and what was under test where it is won."""
    world = promoting() if promoted else at_ten()
    world.stable.record = record
    world.run()
    if crash:
        world.crash()
    if fails:
        world.ask("abort", id_="x")
        world.run()
    elif not promoted:
        passed(world)
    end(world)
    assert (world.phase, world.stable.revision) == ((Phase.ROLLED_BACK, "a") if fails else (Phase.SUCCEEDED, "b"))
    assert world.stable.record is None


# -- somebody puts stable back ---------------------------------------------------------------------------------------


def undo(world: World, revision: str = "a") -> None:
    """As `kubectl rollout undo` does: the template of before, and the annotations of before."""
    world.stable.revision, world.stable.record, world.stable.rolled_out = revision, None, True
    world.stable.writer = "kubectl-rollout"


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("revision", ["a", "hotfix"])
def test_an_undo_during_a_copy_is_not_copied_over(revision: str, crash: bool) -> None:
    """It pauses and names who, for as long as it takes; `abort` keeps what they did."""
    world = promoting()
    for _ in range(4):
        undo(world, revision)
        if crash:
            world.crash()
        world.measure(0.0)
        world.run()
        world.wait(20)
        assert (world.phase, world.stable.revision, copied(world)) == (Phase.PAUSED, revision, ["copy"])
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.STABLE_CHANGED
    assert "kubectl-rollout changed stable after it was copied" in world.status.paused.message
    world.ask("abort", id_="x")
    end(world)
    assert (world.phase, world.stable.revision, copied(world)) == (Phase.ROLLED_BACK, revision, ["copy"])


def test_whoever_resumes_after_an_undo_has_seen_it() -> None:
    """Then it is copied once more, and what is put back is what was there then."""
    world = promoting()
    undo(world, "hotfix")
    world.run()
    world.ask("resume", id_="x")
    world.pass_step()
    assert (world.phase, world.stable.revision, world.stable.kept) == (Phase.PROMOTING, "b", "hotfix")
    world.ask("abort", id_="y")
    end(world)
    assert (world.phase, world.stable.revision) == (Phase.ROLLED_BACK, "hotfix")


def test_an_undo_that_is_undone_leaves_the_copy_on_record() -> None:
    """Whoever resumes finds what the run copied in its place: what stable ran before is what a failure puts back."""
    world = promoting()
    record = world.stable.record
    undo(world, "a")
    world.run()
    assert world.phase is Phase.PAUSED
    world.stable.revision, world.stable.record = "b", record
    world.run()
    world.ask("resume", id_="x")
    world.run()
    assert world.status.run is not None
    assert world.status.run.copied is not None
    assert (world.status.run.copied.replaced, world.status.run.replaces) == ("a", "a")
    world.measure(0.5)
    end(world)
    assert (world.phase, world.stable.revision) == (Phase.ROLLED_BACK, "a")


def checked(world: World) -> None:
    """A check fails while stable rolls out; the policy is to pause."""
    world.measure(0.5)
    world.run()
    assert (world.phase, world.stable.revision) == (Phase.PAUSED, "b")


def emptied(world: World) -> None:
    """The canary loses its last ready replica."""
    world.canary.ready = 0
    world.run()
    assert (world.share(), world.stable.revision) == (0, "b")


@pytest.mark.parametrize("trouble", [checked, emptied])
@pytest.mark.parametrize("crash", [False, True])
def test_a_new_revision_puts_back_what_was_copied_of_one_that_failed(
    trouble: Callable[[World], None], crash: bool
) -> None:
    """Users are back on stable: that is what it ran before, and not the revision that they were taken away from."""
    world = begun(spec=spec_of(promotion="Copy", steps=STEPS, onFailure="Pause"))
    world.wait(1)
    passed(world)
    trouble(world)
    world.revise("c")
    world.canary.ready = 1
    if crash:
        world.crash()
    for _ in range(3):
        world.run()
        world.stable.rolled_out = True
        world.wait(1)
    assert (world.stable.revision, world.stable.record) == ("a", None)
    run = world.status.run
    assert run is not None
    assert (run.number, run.revision, run.replaces, run.copied) == (2, "c", "a", None)
    world.ask("abort", id_="x")
    end(world)
    assert (world.phase, world.stable.revision) == (Phase.ROLLED_BACK, "a")


def test_an_undo_while_the_run_is_paused_is_seen_when_it_goes_on() -> None:
    """Nothing is copied over it then either."""
    world = promoting()
    world.declare(paused=True)
    world.run()
    assert world.phase is Phase.PAUSED
    undo(world)
    world.run()
    world.declare(paused=False)
    world.pass_step()
    assert (world.phase, world.stable.revision, copied(world)) == (Phase.PAUSED, "a", ["copy"])
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.STABLE_CHANGED


# -- the record is lost -----------------------------------------------------------------------------------------------


def fail(world: World, how: str) -> None:
    match how:
        case "abort":
            world.ask("abort", id_="x")
        case "a check":
            world.measure(0.5)
        case "deletion":
            world.delete()


@pytest.mark.parametrize("how", ["abort", "a check", "deletion"])
@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("noticed", [False, True])
def test_a_copy_whose_record_is_gone_is_put_back_from_the_history(how: str, crash: bool, noticed: bool) -> None:
    """Somebody strips the annotation: the workload's own history has what was replaced, and the status says which that is."""
    world = promoting()
    world.stable.record = None
    if noticed:
        world.run()
        assert any("is looked for in the history" in tell.message for tell in world.told)
    if crash:
        world.crash()
    fail(world, how)
    world.run()
    assert (world.share(), world.stable.revision) == (0, "a")
    end(world)
    assert (world.phase is Phase.ROLLED_BACK or world.gone, world.stable.revision) == (True, "a")
    assert copied(world) == ["copy", "restore"]


@pytest.mark.parametrize("how", ["abort", "a check", "deletion"])
@pytest.mark.parametrize("crash", [False, True])
def test_where_nothing_is_left_that_is_said(how: str, crash: bool) -> None:
    """The run ends all the same, its traffic is back, and who reads the status learns what stable runs and what to do."""
    world = promoting()
    world.stable.record = None
    world.stable.history.clear()
    if crash:
        world.crash()
    fail(world, how)
    world.run()
    assert (world.share(), world.stable.revision) == (0, "b")
    told = {tell.message for tell in world.told if tell.reason == reasons.STABLE_NOT_RESTORED}
    assert told == {"stable still runs revision b, which was copied there: revision a is nowhere to be found"}
    if how == "deletion":
        assert world.gone
        return
    end(world)
    words = "stable itself runs revision b: put what it ran before (revision a) back there by hand"
    assert world.phase is Phase.ROLLED_BACK
    assert words in world.status.message
    said = {condition.type: (condition.status, condition.reason) for condition in world.status.conditions}
    assert said["Stalled"] == ("True", reasons.STABLE_NOT_RESTORED)
    world.crash()
    before = world.attempts
    world.wait(3600)
    assert world.attempts == before, "it is not tried for ever"
    world.stable.revision = "a"
    world.run()
    said = {condition.type: (condition.status, condition.reason) for condition in world.status.conditions}
    assert said["Stalled"][1] != reasons.STABLE_NOT_RESTORED


def test_a_copy_whose_record_is_not_kept_is_not_made() -> None:
    """Admission takes the annotation away: the workload stays as it is, why is said, and it is made when that is over."""
    world = at_ten()
    world.strips = True
    world.script = None
    for _ in STEPS:
        world.now += STEPS_HOLD
        world.measure(0.0)
        for _ in range(8):
            world.tick()
    assert (world.phase, world.stable.revision, copied(world)) == (Phase.PROMOTING, "a", [])
    assert world.memory is not None
    assert "the API server does not keep the annotation" in world.memory.message
    world.strips = False
    world.run()
    assert (world.stable.revision, world.stable.kept) == ("b", "a")


@pytest.mark.parametrize("how", ["unseen", "404"])
def test_a_copy_that_cannot_be_put_back_yet_is_put_back_later(how: str) -> None:
    """Stable cannot be seen when the run fails, and by the time that it can its record is gone as well."""
    world = promoting()
    world.stable.unseen, world.stable.there = how == "unseen", how == "unseen"
    world.ask("abort", id_="x")
    end(world)
    assert (world.phase is not Phase.ROLLING_BACK, world.stable.revision) == (True, "b")
    assert world.status.run is not None
    assert "what was copied to stable is put back when that can be seen" in world.status.run.message
    world.stable.unseen, world.stable.there, world.stable.record = False, True, None
    world.crash()
    end(world)
    assert (world.stable.revision, copied(world)) == ("a", ["copy", "restore"])
    undo(world, "b")
    end(world)
    assert world.stable.revision == "b", "what somebody puts there afterwards is theirs"


# -- crashes, and versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.LOST, Fault.REFUSED])
@pytest.mark.parametrize("fails", [False, True])
def test_whatever_happens_at_any_write_of_a_promotion(fault: Fault, fails: bool) -> None:
    """One copy, which is put back where the run fails; nothing is copied twice, and nothing is left."""
    for at in range(1, 30):
        world = at_ten()
        world.pass_step()
        first = world.attempts
        world.script = lambda number, _target, at=at, first=first: fault if number == first + at else None
        world.pass_step()
        if fails:
            world.ask("abort", id_="x")
            world.run()
        else:
            passed(world)
        end(world)
        assert (world.phase, world.stable.revision) == (
            (Phase.ROLLED_BACK, "a") if fails else (Phase.SUCCEEDED, "b")
        ), at
        assert (world.stable.record, world.status.run and world.status.run.copied) == (None, None), at
        assert copied(world).count("copy") <= 1, at
        if world.attempts < first + at:
            return
    raise AssertionError("a promotion has fewer writes than that")


def test_the_copy_is_on_record_before_the_workload_is_written() -> None:
    """A crash in between does no harm: nothing was written, and it is known what was to be."""
    world = about_to_copy()
    assert world.status.run is not None
    assert world.status.run.copied is not None
    assert (world.status.run.copied.replaced, world.status.run.copied.kept) == ("a", "")
    world.crash()
    world.script = None
    world.run()
    assert (world.stable.revision, world.stable.kept) == ("b", "a")


def forget_books(world: World) -> None:
    """The status as an earlier version wrote it."""
    world.recorded["run"].pop("copied", None)
    world.crash()


@pytest.mark.parametrize("legacy", [False, True], ids=["its last version", "the one before"])
@pytest.mark.parametrize("when", ["before it goes on", "while it is lost"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_promotion_that_an_earlier_version_has_begun(when: str, legacy: bool, fails: bool) -> None:
    """It kept nothing in the status: its record on the workload is as good as what the run has on record besides."""
    world = promoting()
    assert world.stable.record is not None
    if legacy:
        world.stable.record = CopyView("", 0, "", "a")
    if fails and when == "while it is lost":
        world.stable.unseen = True
        world.ask("abort", id_="x")
        end(world)
        assert world.stable.revision == "b"
    forget_books(world)
    world.stable.unseen = False
    world.run()
    if fails and when == "before it goes on":
        world.ask("abort", id_="x")
    end(world)
    assert world.stable.revision == ("a" if fails else "b")
    assert world.stable.record is None


def test_a_promotion_of_an_earlier_version_knows_an_undo_from_then_on() -> None:
    """As soon as this version has seen the record, it is on record in the status."""
    world = promoting()
    forget_books(world)
    world.run()
    undo(world)
    world.run()
    assert (world.phase, world.stable.revision) == (Phase.PAUSED, "a")


@pytest.mark.parametrize("evil", ["evil", "b"])
def test_what_an_earlier_version_has_not_replaced_is_not_put_back(evil: str) -> None:
    """Its status says what the run was to replace, and that is all that can be."""
    world = promoting()
    world.stable.record = CopyView("uid-1", 1, "b", evil)
    world.stable.history.clear()
    forget_books(world)
    world.ask("abort", id_="x")
    end(world)
    assert (world.phase, world.stable.revision) == (Phase.ROLLED_BACK, "b")
    assert "stable itself runs revision b" in world.status.message


# -- spec.paused while promoting -------------------------------------------------------------------------------------


def test_a_pause_by_the_spec_before_the_copy() -> None:
    """Nothing is copied, traffic stays where it is, and the promotion goes on when the owner says so."""
    world = about_to_copy()
    world.declare(paused=True)
    world.script = None
    world.run()
    world.wait(3600)
    assert (world.phase, world.share(), world.stable.revision, copied(world)) == (Phase.PAUSED, 100, "a", [])
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.PAUSED_BY_SPEC
    world.declare(paused=False)
    world.pass_step()
    assert (world.phase, world.stable.revision) == (Phase.PROMOTING, "b")


@pytest.mark.parametrize("crash", [False, True])
def test_a_pause_by_the_spec_after_the_copy(crash: bool) -> None:
    """Stable goes on rolling out what it has, and no traffic moves before the owner says so."""
    world = promoting()
    world.declare(paused=True)
    world.run()
    if crash:
        world.crash()
    world.stable.rolled_out = True
    world.wait(60)
    assert (world.phase, world.share(), world.stable.revision) == (Phase.PAUSED, 100, "b")
    assert world.status.run is not None
    assert world.status.run.outcome is None
    world.declare(paused=False)
    world.pass_step()
    assert (world.phase, world.share(), copied(world)) == (Phase.SUCCEEDED, 0, ["copy"])


def test_a_pause_by_the_spec_while_stable_is_awaited() -> None:
    """The run is not over before the owner says so, whatever stable runs."""
    world = begun(spec=spec_of(promotion="Await", steps=[{"weight": 50, "hold": "10s"}], checks=None))
    world.wait(11)
    assert world.phase is Phase.PROMOTING
    world.declare(paused=True)
    world.stable.revision = "b"
    world.wait(60)
    assert (world.phase, world.share()) == (Phase.PAUSED, 50)
    world.declare(paused=False)
    world.wait(11)
    assert (world.phase, world.share()) == (Phase.SUCCEEDED, 0)


def test_a_pause_by_the_spec_while_a_swap_is_accepted() -> None:
    """The roles do not change before the owner says so."""
    world = begun(spec=spec_of(promotion="Swap", steps=[{"weight": 50, "hold": "10s"}], checks=None))
    world.wait(1)
    world.gateways = Gateways.LATE
    world.wait(11)
    assert (world.phase, world.share()) == (Phase.PROMOTING, 100)
    world.declare(paused=True)
    world.answer(Gateways.PROMPT)
    world.wait(60)
    assert (world.phase, world.status.swapped) == (Phase.PAUSED, False)
    world.declare(paused=False)
    world.wait(11)
    assert (world.phase, world.status.swapped) == (Phase.SUCCEEDED, True)


@pytest.mark.parametrize("how", ["abort", "a check"])
def test_a_paused_promotion_that_fails_puts_stable_back(how: str) -> None:
    """As one that is not paused."""
    world = promoting()
    world.declare(paused=True)
    world.run()
    fail(world, how)
    world.run()
    end(world)
    assert world.status.run is not None
    assert (world.phase, world.status.run.outcome, world.stable.revision) == (
        Phase.ROLLED_BACK,
        Outcome.ROLLED_BACK,
        "a",
    )


# -- what becomes of a copy when its run would give way ----------------------------------------------------------------


HALF = [{"weight": 50, "hold": "10s"}]
EDITS = {
    "a hold": {"steps": [{"weight": 50, "hold": "20s"}]},
    "a larger step": {"steps": [{"weight": 90, "hold": "10s"}]},
    "all of it": {"steps": [{"weight": 100, "hold": "10s"}]},
}


def promoting_half() -> World:
    """A run that has copied b over a beside half of the traffic; that does not roll out yet."""
    world = begun(spec=spec_of(promotion="Copy", steps=HALF))
    world.pass_step()
    assert (world.phase, world.stable.revision, world.stable.kept, world.share()) == (Phase.PROMOTING, "b", "a", 50)
    return world


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("crash", [False, True])
def test_a_plan_that_is_edited_while_a_copy_rolls_out_puts_back_what_was_copied(
    edit: dict[str, object], crash: bool
) -> None:
    """The run was not planned so, and what stable ran is known: all goes back, and a run begins by what is declared now."""
    world = promoting_half()
    world.declare(**edit)
    seen = []
    for _ in range(12):
        world.tick()
        seen.append(world.share())
        run = world.status.run
        if run is not None and run.number == 2:
            break
    if crash:
        world.crash()
    assert max(seen) <= 50, "nothing is given by a plan that nobody has passed"
    world.stable.rolled_out = True
    world.run()
    run = world.status.run
    assert run is not None
    assert (run.number, run.revision, world.stable.revision, world.stable.record) == (2, "b", "a", None)
    assert "PlanChanged" in {tell.reason for tell in world.told}
    world.measure(0.5)
    world.run()
    end(world)
    assert (world.phase, world.stable.revision, world.share()) == (Phase.ROLLED_BACK, "a", 0)
    assert world.status.run is not None
    assert world.status.run.number == 2, "what has failed is not tried again"


def test_a_plan_edited_while_a_copy_rolls_out_loses_no_way_back() -> None:
    """An abort with the edit puts back what stable ran before the copy, and nothing begins by itself."""
    world = promoting()
    world.declare(steps=[{"weight": 50, "hold": "20s"}])
    world.ask("abort", id_="one")
    world.run()
    end(world)
    assert (world.phase, world.stable.revision, world.share()) == (Phase.ROLLED_BACK, "a", 0)
    assert world.status.run is not None
    assert world.status.run.number == 1


@pytest.mark.parametrize("promotion", ["Swap", "Await"])
def test_a_copy_under_way_is_finished_as_one(promotion: str) -> None:
    """Whatever is declared for the runs after it: nothing more is given, and no roles are exchanged."""
    world = promoting_half()
    world.declare(promotion=promotion, steps=HALF)
    for _ in range(4):
        world.tick()
        assert world.share() <= 50
    end(world)
    assert (world.phase, world.stable.revision, world.share()) == (Phase.SUCCEEDED, "b", 0)
    assert not world.status.swapped
