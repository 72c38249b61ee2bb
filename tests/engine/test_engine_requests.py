"""What people ask for, in every phase: done or refused, once, and always with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from world import Fault, Gateways, World, begun, in_preflight, spec_of

from canary.decide import reasons
from canary.decide.actions import ClearRequest, EmitEvent
from canary.decide.facts import Problem, Recorded
from canary.decide.scope import failed_revisions
from canary.decide.unread import unread
from canary.model.measurement import Compared
from canary.model.requests import Verb
from canary.model.run_status import Outcome
from canary.model.status import Phase


def idle() -> World:
    world = World()
    world.run()
    return world


def progressing() -> World:
    return begun()


def approving() -> World:
    world = begun(spec=spec_of(steps=[{"weight": 10, "approval": {}}, {"weight": 100}], checks=None))
    assert world.decision is not None
    assert world.decision.reason == reasons.AWAITING_APPROVAL
    return world


def paused() -> World:
    world = begun()
    world.ask("pause", id_="earlier")
    world.run()
    return world


def promoting() -> World:
    world = begun(spec=spec_of(promotion="Await", checks=None, steps=[{"weight": 100}]))
    assert world.phase is Phase.PROMOTING
    return world


def finishing() -> World:
    """Won; a gateway is slow to take the traffic back."""
    world = promoting()
    world.answer(Gateways.LATE)
    world.ask("promote", id_="earlier")
    world.run()
    assert world.phase is Phase.PROMOTING
    return world


def rolling_back() -> World:
    """Lost; a gateway is slow to take the traffic back."""
    world = begun()
    world.answer(Gateways.LATE)
    world.ask("abort", id_="earlier")
    world.run()
    assert world.phase is Phase.ROLLING_BACK
    return world


def rolled_back() -> World:
    world = begun()
    world.ask("abort", id_="earlier")
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    return world


def succeeded() -> World:
    world = promoting()
    world.stable.revision = "b"
    world.run()
    assert world.phase is Phase.SUCCEEDED
    return world


def invalid() -> World:
    world = World()
    world.drop_pair()
    world.run()
    assert world.phase is Phase.INVALID
    return world


NO_RUN = "refused: no run is active"
ACTIVE = "refused: run 1 is active; abort it first, or wait"
RUNS = "refused: run 1 is active"
NO_APPROVAL = "refused: step 1/3 waits for no approval; `promote --full` skips the rest"
NOT_PAUSED = "refused: no run is paused"
NEVER = "refused: no run was rolled back; `start` begins one"
FULL = (
    "done: the remaining holds and approvals are skipped; gateways and checks are not: errors is unknown (NotMeasured), and "
    "`promote --full --ignore-unknown` goes on without it"
)

TABLE: list[tuple[Callable[[], World], str, str, Phase]] = [
    (idle, "start", "refused: stable runs revision a already; there is nothing to roll out", Phase.IDLE),
    (idle, "promote", NO_RUN, Phase.IDLE),
    (idle, "promote-full", NO_RUN, Phase.IDLE),
    (idle, "pause", NO_RUN, Phase.IDLE),
    (idle, "resume", NOT_PAUSED, Phase.IDLE),
    (idle, "abort", NO_RUN, Phase.IDLE),
    (idle, "retry", NEVER, Phase.IDLE),
    (progressing, "start", ACTIVE, Phase.PROGRESSING),
    (progressing, "promote", NO_APPROVAL, Phase.PROGRESSING),
    (progressing, "promote-full", FULL, Phase.PROGRESSING),
    (progressing, "pause", "done: paused at step 1/3", Phase.PAUSED),
    (progressing, "resume", NOT_PAUSED, Phase.PROGRESSING),
    (progressing, "abort", "done: rolling back", Phase.ROLLED_BACK),
    (progressing, "retry", RUNS, Phase.PROGRESSING),
    (approving, "promote", "done: step 1/2 is approved", Phase.PROMOTING),
    (paused, "start", ACTIVE, Phase.PAUSED),
    (paused, "promote", "refused: the run is paused; `resume` it first", Phase.PAUSED),
    (paused, "promote-full", "refused: the run is paused; `resume` it first", Phase.PAUSED),
    (paused, "pause", "refused: the run is paused already", Phase.PAUSED),
    (paused, "resume", "done: step 1/3 again", Phase.PROGRESSING),
    (paused, "abort", "done: rolling back", Phase.ROLLED_BACK),
    (paused, "retry", RUNS, Phase.PAUSED),
    (promoting, "start", ACTIVE, Phase.PROMOTING),
    (promoting, "promote", "done: returning traffic to stable", Phase.SUCCEEDED),
    (promoting, "promote-full", "done: returning traffic to stable", Phase.SUCCEEDED),
    (promoting, "pause", "refused: the run is Promoting, which cannot be paused; `abort` can stop a promotion", Phase.PROMOTING),
    (promoting, "resume", NOT_PAUSED, Phase.PROMOTING),
    (promoting, "abort", "done: rolling back", Phase.ROLLED_BACK),
    (finishing, "promote", "refused: promotion is under way already", Phase.PROMOTING),
    (finishing, "abort", "refused: the run has succeeded; only traffic is being returned", Phase.PROMOTING),
    (rolling_back, "start", ACTIVE, Phase.ROLLING_BACK),
    (rolling_back, "promote", "refused: the run is rolling back", Phase.ROLLING_BACK),
    (rolling_back, "promote-full", "refused: the run is rolling back", Phase.ROLLING_BACK),
    (rolling_back, "pause", "refused: the run is RollingBack, which cannot be paused; `abort` can stop a promotion", Phase.ROLLING_BACK),
    (rolling_back, "resume", NOT_PAUSED, Phase.ROLLING_BACK),
    (rolling_back, "abort", "refused: the run is rolling back already", Phase.ROLLING_BACK),
    (rolling_back, "retry", RUNS, Phase.ROLLING_BACK),
    (rolled_back, "start", "refused: revision b was rolled back (Aborted); `retry` tries it again", Phase.ROLLED_BACK),
    (rolled_back, "promote", NO_RUN, Phase.ROLLED_BACK),
    (rolled_back, "resume", NOT_PAUSED, Phase.ROLLED_BACK),
    (rolled_back, "abort", NO_RUN, Phase.ROLLED_BACK),
    (rolled_back, "retry", "done: run 2 started", Phase.PROGRESSING),
    (succeeded, "start", "refused: stable runs revision b already; there is nothing to roll out", Phase.SUCCEEDED),
    (succeeded, "retry", NEVER, Phase.SUCCEEDED),
    (invalid, "start", "refused: the Rollout is invalid: spec.routes", Phase.INVALID),
    (invalid, "abort", NO_RUN, Phase.INVALID),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "verb", "outcome", "phase"), TABLE, ids=[f"{row[0].__name__}: {row[1]}" for row in TABLE]
)
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "json"])
def test_every_verb_in_every_phase(
    make: Callable[[], World], verb: str, outcome: str, phase: Phase, plain: bool
) -> None:
    """The outcome is recorded, the annotation is removed, and the phase is what it should be."""
    world = make()
    world.ask(verb, id_="" if plain else "id-1")
    world.run()
    last = world.status.last_request
    assert last is not None
    assert last.verb == verb
    assert last.words.startswith(outcome)
    assert (world.phase, world.request) == (phase, None)


def test_there_is_no_such_verb() -> None:
    """Said, with the verbs that there are, also as an Event."""
    world = progressing()
    world.ask("promte")
    world.run()
    last = world.status.last_request
    assert last is not None
    assert last.words.startswith("refused: there is no verb 'promte'; there are: start, promote, promote-full, pause")
    assert reasons.REQUEST_REFUSED in world.reasons


def test_a_request_is_done_once() -> None:
    """The same id set again (a GitOps sync, say) is taken away and not done again."""
    world = progressing()
    world.ask("pause", id_="1")
    world.run()
    world.ask("resume", id_="2")
    world.run()
    world.ask("resume", id_="2")
    world.run()
    world.ask("pause", id_="3")
    world.run()
    assert (world.phase, world.request) == (Phase.PAUSED, None)


def test_the_same_plain_verb_can_be_asked_again() -> None:
    """Each plain verb gets an id of its own."""
    world = progressing()
    for expected in (Phase.PAUSED, Phase.PROGRESSING, Phase.PAUSED):
        world.ask("pause" if expected is Phase.PAUSED else "resume")
        world.run()
        assert world.phase is expected


def ticks(world: World, number: int = 12) -> None:
    """As many ticks: while somebody refuses our writes there is always something to try again."""
    for _ in range(number):
        world.tick()


@pytest.mark.parametrize("crash", [False, True], ids=["one controller", "a successor"])
def test_an_abort_waits_for_no_id(crash: bool) -> None:
    """Where nobody lets us write annotations a plain abort is done all the same: once, to the run that it was meant for."""
    world = progressing()
    world.denied = frozenset({"rollout"})
    world.ask("abort")
    ticks(world)
    assert (world.phase, world.share(), world.request) == (Phase.ROLLED_BACK, 0, "abort")
    assert world.status.last_request is not None
    assert (world.status.last_request.verb, world.status.last_request.words) == ("abort", "done: rolling back")
    assert world.status.run is not None
    assert world.status.run.reason == reasons.ABORTED
    if crash:
        world.crash()
    world.canary.revision = "c"
    ticks(world)
    decision = world.decision
    assert decision is not None
    assert (world.status.run.number, decision.reason) == (1, reasons.REQUEST_PENDING)
    assert decision.message == (
        "revision c waits: the request 'abort' is not answered yet, since its annotation cannot be changed"
    )
    world.denied = frozenset()
    world.run()
    assert (world.request, world.phase, world.status.run.number) == (None, Phase.PROGRESSING, 2)
    assert world.status.last_request.id
    assert world.status.last_request.words == "done: rolling back"
    world.ask("abort")
    world.run()
    assert (world.phase, world.status.run.number) == (Phase.ROLLED_BACK, 2)


def test_nothing_but_an_abort_is_done_without_an_id() -> None:
    """What could do harm when it is done twice waits until it can be told apart."""
    for verb in set(Verb) - {Verb.ABORT}:
        world = progressing()
        world.denied = frozenset({"rollout"})
        world.ask(verb)
        ticks(world)
        assert (world.phase, world.share()) == (Phase.PROGRESSING, 10), verb
        assert world.status.last_request is None


def test_a_request_that_comes_with_the_rollout_waits_for_the_first_sight() -> None:
    """Created with the annotation: first it is learnt who is who, then it is served."""
    world = World(spec_of(promotion="Swap", trigger="Manual", checks=None))
    world.canary.revision = "b"
    world.weigh(0, 100)
    world.ask("start", id_="early")
    world.run()
    assert (world.status.swapped, world.share()) == (True, 10)
    refs = {ref["name"]: ref["weight"] for ref in world.routes["shop"]["spec"]["rules"][0]["backendRefs"]}
    assert refs == {"s": 10, "c": 90}


def test_who_and_why_are_kept() -> None:
    """In the status of the run and of the request."""
    world = progressing()
    world.ask("abort", id_="1", by="alice", reason="the logs are red")
    world.run()
    assert world.status.run is not None
    assert world.status.run.message == "aborted by alice: the logs are red"
    assert world.status.last_request is not None
    assert (world.status.last_request.by, world.status.last_request.reason) == ("alice", "the logs are red")


def test_start_without_workloads() -> None:
    """Nobody sees revisions, so a person says when."""
    world = World(spec_of(workloads=None, promotion=None, checks=None))
    world.run()
    world.ask("start", id_="1", by="alice", reason="release 7")
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.trigger.by, world.status.run.trigger.reason) == (
        Phase.PROGRESSING,
        "alice",
        "release 7",
    )


def test_start_waits_for_nothing_that_is_not_there() -> None:
    """No canary workload, or spec.paused: refused."""
    world = World(spec_of(trigger="Manual", paused=True))
    world.run()
    world.canary.revision = "b"
    world.ask("start")
    world.run()
    assert world.status.last_request is not None
    assert world.status.last_request.words == "refused: spec.paused is true"


def test_resume_is_refused_while_the_spec_says_paused() -> None:
    """The spec is the word of whoever declared it."""
    world = begun()
    world.declare(paused=True)
    world.run()
    world.ask("resume")
    world.run()
    assert world.status.last_request is not None
    assert world.status.last_request.words == "refused: spec.paused is true; set it to false"
    assert world.phase is Phase.PAUSED


def test_promote_full_does_not_waive_a_failing_check() -> None:
    """A release that fails is not promoted, whoever asks."""
    check = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": 1}, "failureLimit": 3}
    world = begun(spec=spec_of(checks=[check]))
    world.measure(5.0)
    world.run()
    world.ask("promote-full")
    world.run()
    assert world.status.last_request is not None
    assert world.status.last_request.words == "refused: check errors fails; a release that fails is not promoted"
    assert world.share() == 10


def test_promote_full_does_not_waive_acceptance() -> None:
    """The gateways still have to accept every weight."""
    world = begun()
    world.answer(Gateways.LATE)
    world.ask("promote-full")
    world.measure(0.0)
    world.run()
    assert world.share() == 100
    assert world.decision is not None
    assert world.decision.reason == reasons.AWAITING_ACCEPTANCE
    assert world.phase is Phase.PROGRESSING


def test_promote_full_waives_what_is_unknown_only_when_told_to() -> None:
    """The provider is down: what nobody has looked at is not copied to stable, unless a person says that it may be."""
    world = begun()
    world.measure("Unreachable")
    world.run()
    world.ask("promote-full")
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    assert world.status.last_request is not None
    assert "errors is unknown (Unreachable)" in world.status.last_request.words
    world.request = json.dumps({"id": "x", "verb": "promote-full", "ignoreUnknown": True})
    world.run()
    assert (world.phase, world.share()) == (Phase.PROMOTING, 100)
    assert world.status.run is not None
    assert world.status.run.full_at == 1
    assert any("the rest after step" in tell.message for tell in world.told)


def test_promote_full_skips_holds_and_approvals_and_not_the_checks() -> None:
    """Each step that is entered has to be measured; nobody waits for a hold."""
    world = begun(spec=spec_of(steps=[{"weight": 10, "hold": "1h"}, {"approval": {}}, {"weight": 100, "hold": "1h"}]))
    world.ask("promote-full")
    world.run()
    assert world.share() == 10
    world.wait(1)
    world.measure(0.0)
    world.now += timedelta(milliseconds=5)
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 100)
    assert world.status.message == "waiting for check errors to be measured; holding 100 % (step 3/3)"
    assert world.told[-1].message == "step 3/3: 100 % of the pair to the canary"
    world.wait(1)
    world.measure(0.0)
    world.run()
    assert world.phase is Phase.PROMOTING


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("ignoring", [True, False])
def test_promote_full_before_the_first_step_jumps_from_where_something_is_measured(
    checks: bool, ignoring: bool
) -> None:
    """In the preflight nothing was: the first step is entered, and all after it are skipped. Without checks, or who says so, jumps at once."""
    more = {} if checks else {"checks": []}
    world = in_preflight(spec=spec_of(**more))
    assert (world.status.run is not None, world.status.step and world.status.step.index) == (True, 0)
    world.request = json.dumps({"id": "x", "verb": "promote-full", "ignoreUnknown": ignoring})
    world.run()
    world.canary.rolled_out = True
    world.run()
    assert world.status.run is not None
    if ignoring or not checks:
        assert world.share() == 100
        return
    assert (world.share(), world.status.run.full_at) == (10, 1)
    assert world.told[-1].message == "step 1/3: 10 % of the pair to the canary"
    world.wait(1)
    world.measure(0.0)
    world.run()
    assert world.share() == 100


def test_promote_full_before_the_first_step_of_a_bad_canary_gives_no_more_than_that_step() -> None:
    world = in_preflight()
    world.ask("promote-full", id_="x")
    world.run()
    world.canary.rolled_out = True
    world.run()
    world.wait(1)
    world.measure(0.5)
    world.run()
    assert (world.share(), world.status.run and world.status.run.reason) == (0, reasons.CHECK_FAILED)


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
@pytest.mark.parametrize("says", [True, False])
def test_what_was_asked_of_a_run_is_not_done_to_the_next(verb: str, says: bool) -> None:
    """It says which run it is about; or it was written while that one was on record, and is heard when the next one has begun and is not yet."""
    world = begun(spec=spec_of(steps=[{"weight": 10, "approval": {}}, {"weight": 50, "hold": "1h"}, {"weight": 100}]))
    world.faults["status"] = Fault.CONFLICT
    world.revise("c")
    world.tick()
    if says:
        world.run()
    said = {"run": 1} if says else {}
    world.request = json.dumps({"id": "x", "verb": verb, **said})
    world.run()
    assert world.status.run is not None
    assert world.status.run.number == 2
    last = world.status.last_request
    assert last is not None
    assert last.words == "refused: it was asked of run 1, and run 2 is under way now; look at that, and ask again"
    world.pass_step(60)
    assert (world.share(), world.status.run.full) == (10, False)
    world.measure(0.0)
    world.request = json.dumps({"id": "y", "verb": "promote", "run": 2})
    world.run()
    assert world.share() == 50


def test_no_hold_is_said_to_be_waited_for_that_promote_full_skips() -> None:
    """At the step where it is asked for, too: a check is what the run waits for."""
    world = begun(spec=spec_of(steps=[{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1h"}]))
    assert "holding 10 % until" in world.status.message
    world.ask("promote-full")
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    assert world.status.message == "waiting for check errors to be measured; holding 10 % (step 1/2)"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_verdict_does_not_wait_because_somebody_asks(verb: str) -> None:
    """A failing measurement and a request in one tick: the rollback is written in that tick."""
    world = paused() if verb == "resume" else progressing()
    world.measure(1.0)
    world.ask(verb, id_="now")
    world.tick()
    assert world.share() == 0
    world.run()
    assert world.status.run is not None
    assert world.status.last_request is not None
    assert (world.status.run.outcome, world.status.run.reason) == (Outcome.ROLLED_BACK, reasons.CHECK_FAILED)
    assert world.status.last_request.words.startswith("refused: check errors failed")


@pytest.mark.parametrize("verb", ["pause", "abort"])
@pytest.mark.parametrize("early", [True, False])
def test_nothing_rises_before_a_plain_verb_is_served(verb: str, early: bool) -> None:
    """It is stamped first, which takes a write; and a hold that ends in that very moment gives the canary nothing more."""
    counters = {"requests": "n {{ backend.service }}", "failures": "f {{ backend.service }}"}
    check = {
        "name": "errors",
        "interval": "10s",
        "compare": {"prometheus": counters, "lag": "1s", "promoteEarly": early},
    }
    hold = "1h" if early else "30s"
    world = begun(spec=spec_of(steps=[{"weight": 10, "hold": hold}, {"weight": 50, "hold": "1h"}], checks=[check]))
    world.wait(10)
    since = world.now
    world.wait(25)
    world.news.append(("errors", Compared(world.now, since, 100, 900, 1, 9, {})))
    if early:
        world.good["errors"] = since
    world.ask(verb)
    world.tick()
    assert world.share() == 10
    world.run()
    assert (world.phase, world.share()) == ((Phase.PAUSED, 10) if verb == "pause" else (Phase.ROLLED_BACK, 0))


@pytest.mark.parametrize("recorded", ["", "one", "other"])
def test_at_rest_by_a_spec_that_cannot_be_read_nothing_is_done(recorded: str) -> None:
    """Whoever asks learns that, once, and the request goes when the answer is on record; the state stays as it is."""
    world = World()
    world.run()
    world.ask("abort", id_="one")
    problem = Problem("spec.routes", "is no list")
    facts = replace(world.facts(), problems=(problem,), recorded=Recorded(request=recorded))
    before = world.status
    first = unread(before, facts)
    assert (first.phase, first.message) == (Phase.IDLE, "spec.routes: is no list")
    last = first.status.last_request
    assert last is not None
    assert last.message == "no run is active"
    assert first.status.model_copy(update={"last_request": None}) == before
    assert [type(action) for action in first.actions] == [EmitEvent]
    again = unread(first.status, facts)
    assert again.status == first.status
    assert again.actions == ((ClearRequest(str(world.request)),) if recorded == "one" else ())


# -- an abort, and a revision that is there and was not tried yet ---------------------------------------------------------


def _at(phase: Phase) -> World:
    """A Rollout in this phase; of an active one with a run of revision b."""
    match phase:
        case Phase.PROGRESSING:
            return progressing()
        case Phase.PAUSED:
            return paused()
        case Phase.ROLLING_BACK:
            return rolling_back()
        case Phase.PROMOTING:
            return promoting()
        case _:
            world = idle()
            world.declare(paused=True)
            return world


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "json"])
@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING, Phase.ROLLING_BACK, Phase.IDLE])
def test_an_abort_is_about_what_is_deployed(phase: Phase, plain: bool) -> None:
    """A controller that was away finds another image and an abort: the run that was under way has failed, and the image does not start by itself.

    One that had been there would have begun a run of it, which the abort would have ended.
    """
    world = _at(phase)
    world.crash()
    world.canary.revision = "c"
    world.ask("abort", id_="" if plain else "x")
    world.run()
    world.answer(Gateways.PROMPT)
    world.declare(paused=False)
    world.wait(60)
    assert world.status.last_request is not None
    assert world.status.last_request.words.startswith("done: ")
    assert "revision c does not start by itself; `canary start` begins a run of it" in world.status.last_request.message
    assert (world.share(), world.status.active) == (0, False)
    if phase is not Phase.IDLE:
        assert world.status.run is not None
        assert (world.status.run.number, world.status.run.revision, world.status.run.outcome) == (
            1,
            "b",
            Outcome.ROLLED_BACK,
        )
    assert "c" not in failed_revisions(world.status), "nothing was said of it"
    world.crash()
    world.wait(60)
    assert not world.status.active, "nor for a successor"
    world.ask("start", id_="go")
    world.run()
    assert world.status.run is not None
    assert (world.status.run.revision, world.status.active) == ("c", True)


def test_a_revision_that_comes_after_an_abort_starts_by_itself() -> None:
    """Whoever deploys after it means that; and one that waited is tried like any other once it is deployed anew."""
    world = progressing()
    world.crash()
    world.canary.revision = "c"
    world.ask("abort", id_="x")
    world.run()
    assert not world.status.active
    for revision in ("d", "c"):
        world.revise(revision)
        world.run()
        assert world.status.run is not None
        assert (world.status.run.revision, world.status.active) == (revision, True)


def test_an_abort_that_a_crash_cut_short_is_about_the_same() -> None:
    """The routes say that it was done, and the record that it was not: what waits does not start by itself either."""
    world = progressing()
    world.crash()
    world.canary.revision = "c"
    world.ask("abort", id_="x")
    world.script = lambda _, target: Fault.DIES_BEFORE if target == "status" else None
    for _ in range(6):
        world.tick()
        if world.memory is None and world.share() == 0:
            break
    world.script = None
    world.wait(60)
    assert world.status.run is not None
    assert (world.status.run.number, world.status.active, world.share()) == (1, False, 0)
    assert "does not start by itself" in world.status.message


# -- the same id again ----------------------------------------------------------------------------------------------


def test_a_request_with_an_id_that_was_used_before_is_answered() -> None:
    """Whoever asks by the same id each time (a script, say) aborts a later run, too; each once."""
    world = begun()
    for revision in ("c", "d"):
        world.ask("abort", id_="abort-1")
        world.run()
        world.wait(70)
        assert (world.phase, world.request) == (Phase.ROLLED_BACK, None)
        assert world.status.last_request is not None
        assert world.status.last_request.words == "done: rolling back"
        world.revise(revision)
        world.run()
        world.wait(1)
        assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)


def test_an_approval_approves_one_step_of_a_run() -> None:
    """The same id at the next one is no other approval; in the next run it is."""
    world = begun(spec=spec_of(steps=[{"approval": {}}, {"weight": 10}, {"approval": {}}, {"weight": 100}]))
    for revision in ("c", "d"):
        for index in (1, 3):
            for _ in range(2):
                world.measure(0.0)
                world.run()
                world.wait(2)
            assert (world.phase, world.status.step and world.status.step.index) == (Phase.PAUSED, index)
            world.ask("promote", id_="yes")
            world.run()
            assert world.request is None
        assert world.share() == 10
        world.revise(revision)
        world.run()
        world.wait(1)


@pytest.mark.parametrize("at_once", [True, False], ids=["in its place", "once it is gone"])
@pytest.mark.parametrize(
    ("before", "verb", "words", "share"),
    [
        ("pause", "abort", "done: rolling back", 0),
        ("resume", "abort", "done: rolling back", 0),
        ("promote", "abort", "done: rolling back", 0),
        ("resume", "pause", "done: paused at step 1/3", 10),
        (
            "pause",
            "resume",
            "refused: its id 7 is that of a pause before; ask by another id, or with `canary resume`",
            10,
        ),
        ("pause", "promote-full", "refused: its id 7 is that of a pause before; ask by another id", 10),
    ],
)
def test_who_has_one_id_for_all_is_heard_where_less_is_asked_for(
    before: str, verb: str, words: str, share: int, at_once: bool
) -> None:
    """An id is of a request, and an abort is none that was done before; what gives more may be an old one, and says so."""
    world = progressing()
    world.ask(before, id_="7")
    if at_once:
        world.tick()
    else:
        world.run()
    world.ask(verb, id_="7")
    world.run()
    world.wait(5)
    assert world.status.last_request is not None
    assert world.status.last_request.verb == verb
    assert world.status.last_request.words.startswith(words)
    assert (world.share(), world.request) == (share, None)
    refused = words.startswith("refused")
    assert (reasons.REQUEST_REFUSED in world.reasons) == (refused or before in {"resume", "promote"})


def test_an_abort_by_the_id_of_the_start_ends_the_run() -> None:
    """As of a pipeline that has one id for each release."""
    world = begun()
    world.ask("abort")
    world.run()
    world.wait(70)
    world.ask("retry", id_="release-7")
    world.run()
    world.wait(1)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    world.ask("abort", id_="release-7")
    world.run()
    assert (world.share(), world.request) == (0, None)


def test_an_answer_is_on_record_before_the_request_is_taken_away() -> None:
    """Also of one whose id is on record already, with another verb."""
    world = progressing()
    world.ask("pause", id_="7")
    world.run()
    world.script = lambda _, target: Fault.REFUSED if target == "status" else None
    world.ask("abort", id_="7")
    for _ in range(6):
        world.tick()
        world.now += timedelta(seconds=1)
    assert world.request is not None
    world.script = None
    world.run()
    world.wait(5)
    assert world.request is None
    assert world.recorded["lastRequest"]["verb"] == "abort"


def test_an_approval_that_comes_once_more_says_that_it_was_given() -> None:
    """It is not done again, which whoever asks has to learn."""
    world = begun(spec=spec_of(steps=[{"approval": {}}, {"weight": 10}, {"approval": {}}, {"weight": 100}]))
    world.ask("promote", id_="yes")
    world.run()
    assert reasons.REQUEST_ANSWERED not in world.reasons
    world.ask("promote", id_="yes")
    world.run()
    assert world.reasons.count(reasons.REQUEST_ANSWERED) == 1


@pytest.mark.parametrize("stays", [True, False], ids=["never taken away", "an old look"])
def test_the_same_request_is_not_done_again(stays: bool) -> None:
    """It stands there because it cannot be taken away, or is seen once more by an old look at the Rollout: neither asks anew."""
    world = begun(spec=spec_of(steps=[{"approval": {}}, {"weight": 10}, {"approval": {}}, {"weight": 100}]))
    world.measure(0.0)
    world.run()
    if stays:
        world.denied = frozenset({"rollout"})
    world.ask("promote", id_="yes")
    asked = world.request
    world.run(limit=60) if not stays else [world.tick() for _ in range(8)]
    before = dict(world.recorded)
    for _ in range(6):
        world.measure(0.0)
        world.tick()
        world.now += timedelta(seconds=1)
    assert world.share() == 10
    if not stays:
        assert world.request is None
        now, world.recorded, world.request = world.recorded, before, asked
        world.recorded["lastRequest"].pop("removed", None)
        world.script = lambda _, target: Fault.REFUSED if target == "status" else None
        world.tick()
        world.recorded, world.request, world.script = now, None, None
    for _ in range(4):
        world.measure(0.0)
        world.tick()
        world.now += timedelta(seconds=1)
    assert world.share() == 10
