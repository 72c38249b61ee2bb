"""A canary that is large enough before its share rises, and gone after the run; nobody's replicas are fought over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import Fault, Gateways, Workload, World, begun, spec_of

from canary.decide import reasons
from canary.decide.facts import Problem, ScalingView
from canary.decide.pausing import paused_for
from canary.decide.scope import Scope
from canary.model.scaling import MOST_REPLICAS, Scale
from canary.model.status import Phase

HPA = ScalingView(known=True, autoscaler="HorizontalPodAutoscaler canary")


def spec(*, promotion: str | None = None, on_failure: str | None = None, **scale: Any) -> Any:
    return spec_of(
        scale={"canary": "MatchShare", **scale},
        checks=None,
        steps=[{"weight": 10, "hold": "10s"}, {"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "10s"}],
        promotion=promotion,
        onFailure=on_failure,
    )


def world(*, found: int = 0, stable: int = 10, slow: bool = False, **more: Any) -> World:
    """A world whose canary has so many replicas, and a new revision, of which a run has begun."""
    made = World(spec(**more))
    made.stable.replicas = made.stable.ready = stable
    made.canary.replicas = made.canary.ready = found
    made.canary.slow = slow
    made.run()
    made.canary.revision = "b"
    made.run()
    return made


def given_replicas(made: World) -> list[int]:
    """What the canary was scaled to, in order."""
    return [action.replicas for kind, action in made.wrote if kind == "scale"]


def test_it_is_made_large_enough_before_each_share_and_goes_after_the_run() -> None:
    """1 of 10 for 10 %, 5 for 50 %, 10 for 100 %; none once streams had their time."""
    made = world()
    seen = []
    for _ in range(3):
        seen.append((made.share(), made.canary.ready))
        made.wait(11)
    assert seen == [(10, 1), (50, 5), (100, 10)]
    made.stable.rolled_out = True
    made.run()
    assert made.phase is Phase.SUCCEEDED
    assert (made.canary.replicas, made.finalizer) == (10, True), "streams that are open go on for a while"
    made.wait(29)
    assert made.canary.replicas == 10
    made.wait(2)
    assert given_replicas(made) == [1, 5, 10, 0]
    assert (made.canary.scaled, made.finalizer, made.status.scale) == (False, False, None)
    assert made.wrote[-1][0] in {"release", "status", "finalizer"}


def test_no_share_rises_before_the_replicas_are_ready() -> None:
    """The weight of the step before stays, and it is said what is waited for."""
    made = world(found=1, slow=True)
    made.wait(60)
    assert (made.share(), made.canary.replicas, made.canary.ready) == (10, 5, 1)
    assert made.decision is not None
    assert made.decision.reason == "AwaitingReplicas"
    assert "canary has 1 ready of the 5 replicas that it needs; waiting for them (step 1/3)" in made.decision.message
    made.canary.ready = 4
    made.run()
    assert made.share() == 10
    made.canary.ready = 5
    made.run()
    assert made.share() == 50


def test_a_canary_that_never_becomes_large_enough_fails_the_run() -> None:
    """After the time that the owner gave, by the policy for failures."""
    made = world(found=1, slow=True, timeout="5m")
    made.wait(10 + 299)
    assert made.phase is Phase.PROGRESSING
    made.wait(2)
    assert made.phase is Phase.ROLLED_BACK
    assert made.status.run is not None
    assert made.status.run.reason == "CanaryTooSmall"
    assert "1 of the 5 replicas" in made.status.run.message


def test_by_policy_it_pauses_and_a_person_may_go_on() -> None:
    """Resumed, the replicas have their time anew."""
    made = world(found=1, slow=True, timeout="5m", on_failure="Pause")
    made.wait(320)
    assert made.phase is Phase.PAUSED
    assert paused_for(Scope(made.spec, made.status, made.facts())) == "CanaryTooSmall"
    made.ask("resume", id_="r1")
    made.wait(100)
    assert made.phase is Phase.PROGRESSING
    made.canary.ready = 5
    made.wait(20)
    assert made.share() == 50


def test_an_autoscaler_is_waited_for_and_never_written_against() -> None:
    """Neither up in the run nor down after it; and it is said who scales."""
    made = World(spec(), scaling=HPA)
    made.stable.replicas = made.stable.ready = 10
    made.run()
    made.canary.revision = "b"
    made.wait(60)
    assert made.share() == 10
    assert made.decision is not None
    assert "HorizontalPodAutoscaler canary scales it, so we do not: raise its minimum" in made.decision.message
    made.canary.give(5, by="hpa")
    made.wait(1)
    assert made.share() == 50
    made.ask("abort", id_="a1")
    made.wait(100)
    assert (made.phase, made.canary.replicas) == (Phase.ROLLED_BACK, 5)
    assert given_replicas(made) == []


def test_before_the_autoscalers_are_known_nothing_is_scaled() -> None:
    """Nor does a run begin where they may not be read: the Rollout says which right is missing."""
    made = World(spec(), scaling=ScalingView(known=False))
    made.canary.give(0, by="team")
    made.run()
    made.canary.revision = "b"
    made.wait(5)
    assert (given_replicas(made), made.phase) == ([], Phase.PROGRESSING)
    assert made.decision is not None
    assert "not known yet whether an autoscaler targets it" in made.decision.message
    denied = World(
        spec(), scaling=ScalingView(unread="horizontalpodautoscalers cannot be listed; grant list and watch")
    )
    denied.run()
    denied.canary.revision = "b"
    denied.wait(5)
    assert denied.phase is Phase.IDLE
    ready = next(item for item in denied.status.conditions if item.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "AutoscalersUnknown")
    assert "grant list and watch" in ready.message


def test_whoever_takes_replicas_away_has_the_last_word() -> None:
    """A GitOps tool that puts its own number back is named, waited for, and not fought."""
    made = world()
    made.wait(11)
    assert (made.share(), made.canary.replicas) == (50, 5)
    made.canary.give(1, by="argocd")
    made.wait(5)
    assert made.share() == 50, "what it has is not taken away: somebody made it smaller on purpose"
    made.wait(10)
    assert made.canary.replicas == 10, "the next share needs more than it ever had"


def test_it_is_said_who_made_it_smaller() -> None:
    """Twice the same number is a fight."""
    made = world(slow=True)
    assert made.canary.replicas == 1
    made.canary.give(0, by="argocd")
    made.wait(30)
    assert given_replicas(made) == [1]
    assert made.decision is not None
    assert "argocd gave it 0 again, which is not fought" in made.decision.message
    made.ask("pause", id_="p1")
    made.run()
    made.ask("resume", id_="r1")
    made.run()
    assert given_replicas(made) == [1, 1], "somebody said to go on, so it may have them once more"


def test_what_stable_had_counts_though_it_was_made_smaller_since() -> None:
    """An autoscaler that shrinks stable while the canary takes half of its work shrinks no canary."""
    made = world()
    made.wait(11)
    made.stable.replicas = made.stable.ready = 5
    made.wait(11)
    assert (made.share(), made.canary.replicas) == (100, 10)
    assert all(action.target == "canary" for kind, action in made.wrote if kind == "scale")


@pytest.mark.parametrize("at", ["preflight", "step"])
def test_an_abort_waits_for_no_replicas(at: str) -> None:
    """All traffic is back in the same decision; then the canary drains and goes."""
    made = world(found=0 if at == "preflight" else 1, slow=True)
    if at == "step":
        made.wait(12)
    assert made.decision is not None
    assert made.decision.reason == "AwaitingReplicas"
    made.ask("abort", id_="a1")
    made.run()
    assert made.share() == 0
    assert made.phase is Phase.ROLLED_BACK
    made.wait(31)
    assert made.canary.replicas == 0
    assert made.status.scale is None


def test_after_keep_it_stays_and_its_owner_has_it_back() -> None:
    """Nothing is scaled down; the fields are its owner's again."""
    made = world(after="Keep")
    made.wait(11)
    made.ask("abort", id_="a1")
    made.wait(100)
    assert (made.canary.replicas, made.canary.scaled, made.finalizer) == (5, False, False)
    assert given_replicas(made) == [1, 5]


def test_while_somebody_gives_it_traffic_it_keeps_its_replicas() -> None:
    """At rest a route is its owner's: the canary goes when that is over, and has its time to drain once more."""
    made = world()
    made.ask("abort", id_="a1")
    made.run()
    made.weigh(90, 10)
    made.wait(100)
    assert made.canary.replicas == 1
    made.weigh(100, 0)
    made.wait(29)
    assert made.canary.replicas == 1
    made.wait(2)
    assert made.canary.replicas == 0


def test_a_gateway_that_has_not_answered_keeps_it() -> None:
    """Nobody knows then what the canary still gets."""
    made = world()
    made.gateways = Gateways.LATE
    made.ask("abort", id_="a1")
    made.wait(200)
    assert (made.phase, made.canary.replicas) == (Phase.ROLLED_BACK, 1)
    made.answer(Gateways.PROMPT)
    made.wait(31)
    assert made.canary.replicas == 0


def test_a_controller_that_was_away_for_longer_than_the_drain_ends_it_at_once() -> None:
    """What is on record counts, however long nobody was there."""
    made = world()
    made.ask("abort", id_="a1")
    made.run()
    assert made.status.scale is not None
    made.crash()
    made.now += timedelta(minutes=10)
    made.run()
    assert made.canary.replicas == 0
    assert made.status.scale is None
    assert not made.finalizer


def test_a_new_run_begins_while_the_canary_drains() -> None:
    """It is not taken away from under it."""
    made = world()
    made.ask("abort", id_="a1")
    made.run()
    made.wait(20)
    made.canary.revision = "c"
    made.wait(5)
    assert made.share() == 10
    made.wait(40)
    assert 0 not in given_replicas(made)
    assert made.share() > 0


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.LOST, Fault.REFUSED, Fault.CONFLICT])
def test_whatever_happens_to_the_write_the_run_goes_on(fault: Fault) -> None:
    """A crash between the write and its record costs time, and no replica too many."""
    made = world(found=1)
    made.faults["replicas"] = fault
    made.wait(30)
    made.run()
    made.wait(30)
    assert made.share() in {50, 100}
    assert max(given_replicas(made)) <= 10


def test_a_deleted_rollout_puts_its_routes_back_and_takes_its_replicas_along() -> None:
    """In the middle of a run: the route at once, the replicas after their time, and then it is let go."""
    made = world()
    made.wait(11)
    made.delete()
    made.run()
    assert (made.share(), made.annotated(), made.gone, made.canary.replicas) == (0, False, False, 5)
    made.wait(31)
    assert (made.canary.replicas, made.canary.scaled, made.gone) == (0, False, True)


def test_a_deletion_does_not_wait_for_replicas_that_cannot_be_written() -> None:
    """Longer than the drain and acceptTimeout nobody waits."""
    made = world()
    made.wait(11)
    made.script = lambda _number, target: Fault.REFUSED if target == "replicas" else None
    made.delete()
    made.tick()
    made.tick()
    for _ in range(8):
        made.now += timedelta(seconds=11)
        made.tick()
        assert not made.gone, "it still tries"
    made.now += timedelta(seconds=11)
    for _ in range(3):
        made.tick()
    assert made.gone


@pytest.mark.parametrize("when", ["at the end of the run", "while it drains"])
@pytest.mark.parametrize("what", ["autoscalers cannot be listed", "the write is refused"])
def test_what_cannot_be_done_for_a_moment_is_not_forgotten(what: str, when: str) -> None:
    """A replica that nobody uses costs money until somebody sees it."""
    made = world()
    for _ in range(3):
        made.wait(11)
    if what == "the write is refused":
        trouble = replace(made.scaling, failed="denied by a webhook", denied=True)
    else:
        trouble = replace(made.scaling, known=False, unread="horizontalpodautoscalers cannot be listed (503)")
    calm = made.scaling
    made.stable.rolled_out = True
    if when == "at the end of the run":
        made.scaling = trouble
    made.run()
    assert made.phase is Phase.SUCCEEDED
    if when == "while it drains":
        made.wait(10)
        made.scaling = trouble
    made.run()
    made.wait(60)
    assert (made.canary.replicas, made.finalizer) == (10, True)
    made.scaling = calm
    made.wait(600)
    assert given_replicas(made) == [1, 5, 10, 0]
    assert (made.finalizer, made.status.scale) == (False, None)


def test_without_scale_nothing_of_this_is_there() -> None:
    """Neither a write, nor a word in the status."""
    made = begun()
    made.canary.replicas = made.canary.ready = 1
    for _ in range(3):
        made.pass_step()
        made.stable.rolled_out = True
    made.run()
    assert made.phase is Phase.SUCCEEDED
    assert "scale" not in made.recorded
    assert not [kind for kind, _ in made.wrote if kind in {"scale", "release"}]


def test_a_blind_controller_scales_nobody() -> None:
    """What it knows may be old, and that time does not count against the canary."""
    made = world(found=1)
    made.blind = True
    made.wait(30)
    assert given_replicas(made) == []
    assert made.status.run is not None
    assert made.status.run.outcome is None


@given(
    percent=st.integers(0, 1000),
    stable=st.integers(0, 5000),
    least=st.integers(1, 50),
)
def test_a_share_of_stables_replicas_is_never_too_few(percent: int, stable: int, least: int) -> None:
    """As many as serve the share, rounded up, and no more than one too many; bounded by what anybody is given."""
    share = Fraction(percent, 10)
    needed = Scale.model_validate({"canary": "MatchShare", "min": least}).replicas(share, stable)
    if needed < MOST_REPLICAS:
        assert needed * 100 >= share * stable
        assert needed == least or (needed - 1) * 100 < share * stable
    assert needed >= least
    assert needed <= MOST_REPLICAS
    assert Scale.model_validate({"canary": 3}).replicas(share, stable) == 3


def test_without_the_right_it_is_said_which_is_missing() -> None:
    """The run waits with the API server's words, and fails when its time is over; then nobody tries for ever."""
    made = World(spec(timeout="1m"))
    made.canary.give(0, by="team")
    made.run()
    made.denied = frozenset({"replicas"})
    made.canary.revision = "b"
    for _ in range(8):
        made.tick()
    assert made.decision is not None
    assert "cannot be scaled: you may not" in made.decision.message
    for _ in range(40):
        made.now += timedelta(seconds=5)
        made.tick()
    assert made.phase is Phase.ROLLED_BACK
    assert made.status.run is not None
    assert (made.status.run.reason, "you may not" in made.status.run.message) == ("CanaryTooSmall", True)
    assert made.status.scale is None
    assert not made.finalizer


def test_a_deployment_that_another_rollout_uses_is_not_taken_away() -> None:
    """It came while the canary drained: what is ours to scale no more is left as it is, until that is mended."""
    made = world()
    made.ask("abort", id_="a1")
    made.run()
    made.trouble = (Problem("spec.scale", "Rollout neighbour names workload canary too", reasons.CONFLICTING_ROLLOUT),)
    made.wait(100)
    assert (made.phase, made.canary.replicas) == (Phase.INVALID, 1)
    made.trouble = ()
    made.wait(31)
    assert made.canary.replicas == 0


def test_nor_when_its_rollout_is_deleted() -> None:
    """Then it stays, and the deletion waits for nothing."""
    made = world()
    made.trouble = (Problem("spec.scale", "Rollout neighbour names workload canary too", reasons.CONFLICTING_ROLLOUT),)
    made.delete()
    made.run()
    assert (made.gone, made.canary.replicas, made.canary.scaled, made.share()) == (True, 1, False, 0)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_canary_that_is_out_of_sight_while_it_drains_goes_when_it_is_seen_again(deleted: bool) -> None:
    """Nobody forgets what is left to do; a deletion waits for nobody who cannot be seen."""
    made = world()
    for _ in range(3):
        made.wait(11)
    made.stable.rolled_out = True
    made.run()
    assert made.phase is Phase.SUCCEEDED
    made.canary.unseen, made.trouble = True, (Problem("spec.workloads.canary", "out of sight"),)
    if deleted:
        made.delete()
        made.wait(1)
        assert made.gone
        return
    made.wait(120)
    assert (made.canary.replicas, made.status.scale is not None) == (10, True)
    made.canary.unseen, made.trouble = False, ()
    made.wait(60)
    assert (made.canary.replicas, made.status.scale, made.finalizer) == (0, None, False)


# -- the canary is another workload by now ---------------------------------------------------------------------------------


def edited(**more: Any) -> World:
    """A run at 50 % that has given its canary 5 replicas; then somebody names another workload."""
    made = world(**more)
    made.wait(11)
    assert (made.share(), made.canary.replicas, made.canary.scaled) == (50, 5, True)
    made.employ("next", "c")
    made.canary.give(1, by="team")
    return made


def test_what_was_added_to_a_former_canary_goes_after_its_traffic() -> None:
    """Its books name kind and name; the run about the next one goes on meanwhile."""
    made = edited()
    made.run()
    former = made.former["canary"]
    assert made.status.run is not None
    assert (made.status.run.number, former.replicas) == (2, 5)
    assert [(each.kind, each.name) for each in made.status.former_canaries] == [("Deployment", "canary")]
    made.wait(29)
    assert former.replicas == 5
    made.wait(2)
    assert (former.replicas, former.scaled, made.status.former_canaries) == (0, False, ())
    assert made.share() > 0


def test_books_of_an_earlier_version_name_no_kind() -> None:
    """They are about the canary of that name, whatever it is; where that is another one by now, about a Deployment."""
    made = world()
    made.wait(11)
    made.recorded["scale"].pop("kind")
    made.crash()
    made.run()
    assert made.status.former_canaries == ()
    assert made.status.scale is not None
    made.recorded["scale"].pop("kind", None)
    made.crash()
    made.employ("next", "c")
    made.run()
    assert [(each.kind, each.name) for each in made.status.former_canaries] == [("Deployment", "canary")]
    made.wait(40)
    assert (made.former["canary"].replicas, made.former["canary"].scaled) == (0, False)


@pytest.mark.parametrize(("found", "left"), [(5, 0), (4, 4), (6, 6)])
def test_where_no_server_says_whose_replicas_they_are_their_number_does(found: int, left: int) -> None:
    """Of a workload that was scaled to none before, API servers keep no record of who gives it replicas. As many as we gave it are ours."""
    made = edited()
    made.run()
    made.former["canary"].replicas = found
    made.former["canary"].scaled = False
    made.wait(60)
    assert (made.former["canary"].replicas, made.status.former_canaries) == (left, ())


@pytest.mark.parametrize("asked", ["abort", "delete"])
def test_the_rollout_stays_until_that_is_done(asked: str) -> None:
    """With its finalizer, at rest as well as in a deletion."""
    made = edited()
    made.run()
    if asked == "delete":
        made.delete()
    else:
        made.ask("abort", id_="a")
        made.declare(paused=True)
    made.run()
    assert (made.gone, made.finalizer, made.share()) == (False, True, 0)
    made.wait(100)
    former = made.former["canary"]
    assert (former.replicas, former.scaled, made.canary.scaled, made.finalizer) == (0, False, False, False)
    assert made.gone is (asked == "delete")


def test_a_request_in_the_very_moment_of_the_edit_loses_nothing() -> None:
    """The canary drains, somebody edits and starts at once: what is on record of the one before is not written over."""
    made = world()
    made.ask("abort", id_="a")
    made.run()
    assert made.status.scale is not None
    made.employ("next", "c")
    made.ask("retry", id_="r")
    made.wait(60)
    assert (made.former["canary"].replicas, made.former["canary"].scaled) == (0, False)


@pytest.mark.parametrize("given", [0, 3])
def test_a_record_that_somebody_forged_scales_nobody(given: int) -> None:
    """Nothing on it says that we have scaled it, be the number on record its own; of a kind that nobody scales nothing is kept."""
    made = world()
    made.former["other"] = Workload("other", "x", replicas=3, scaler="kubectl-create")
    kinds = ("Deployment", "DaemonSet", "Foo.x")
    made.recorded["formerCanaries"] = [{"kind": kind, "name": "other", "given": given} for kind in kinds]
    made.crash()
    made.wait(100)
    assert (made.former["other"].replicas, made.status.former_canaries) == (3, ())


def test_nor_do_books_of_a_canary_that_never_was_one() -> None:
    """The same by `status.scale`: the workload that it names is the canary no more at once, and nothing of it is ours."""
    made = world()
    made.former["other"] = Workload("other", "x", replicas=3, scaler="kubectl-create")
    made.recorded["scale"] = {"kind": "Deployment", "workload": "other", "given": 3}
    made.crash()
    made.wait(100)
    assert (made.former["other"].replicas, made.status.former_canaries) == (3, ())


def anonymous() -> World:
    """A canary that began with no replicas, on an API server that keeps no record of who gives it some: only our own tells."""
    made = World(spec())
    made.stable.replicas = made.stable.ready = 10
    made.canary.replicas = made.canary.ready = 0
    made.canary.anonymous = True
    made.run()
    made.canary.revision = "b"
    return made


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
def test_what_is_given_is_on_record_before_it_is_given(nth: int, fault: Fault) -> None:
    """The controller dies at the write of replicas, and the canary is another workload when the next one begins: it finds what to take back."""
    made = anonymous()
    if nth == 2:
        made.run()
    made.faults["replicas"] = fault
    for _ in range(40):
        if made.memory is None:
            break
        made.tick()
        made.now += timedelta(seconds=1)
    assert made.memory is None, "the controller has died there"
    assert made.canary.replicas == {(1, Fault.DIES_BEFORE): 0, (2, Fault.DIES_AFTER): 5}.get((nth, fault), 1)
    made.employ("next", "c")
    made.wait(60)
    assert (made.former["canary"].replicas, made.status.former_canaries) == (0, ())


def test_the_next_run_knows_what_the_one_before_has_given() -> None:
    """It begins while the canary drains, and has nothing to add; then somebody names another workload."""
    made = anonymous()
    made.run()
    made.ask("abort", id_="a")
    made.run()
    made.wait(5)
    made.request, made.canary.revision = None, "d"
    made.run()
    assert (made.status.run is not None and made.status.run.number, made.canary.replicas, made.phase) == (
        2,
        1,
        Phase.PROGRESSING,
    )
    made.employ("next", "c")
    made.wait(60)
    assert (made.former["canary"].replicas, made.status.former_canaries) == (0, ())


@pytest.mark.parametrize("resting", [False, True])
def test_a_canary_that_was_another_for_a_while_is_still_known_to_be_ours(resting: bool) -> None:
    """Somebody names another workload, and the first again: what it was given goes after the run, or with the next edit."""
    made = anonymous()
    made.run()
    made.wait(11)
    assert (made.canary.replicas, made.share()) == (5, 50)
    made.employ("next", "c")
    made.run()
    if resting:
        made.declare(paused=True)
        made.ask("abort", id_="a")
        made.run()
        made.request = None
    made.employ("canary")
    made.run()
    if resting:
        assert made.phase is Phase.ROLLED_BACK
        made.wait(60)
        assert (made.canary.replicas, made.status.scale) == (0, None)
        return
    assert made.canary.replicas == 5
    made.employ("third", "e")
    made.wait(60)
    assert (made.former["canary"].replicas, made.status.former_canaries) == (0, ())
