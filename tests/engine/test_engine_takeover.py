"""What a controller that takes a run over believes: the record, the routes, the clock; and what it measures anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import RUN_ANNOTATION, START, Fault, Gateways, World, begun, route, rule, spec_of

from canary.decide import reasons
from canary.decide.actions import WriteRoute
from canary.decide.common import LOUD
from canary.decide.recovery import adopt, still_counted
from canary.decide.timing import delayed, rebased
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.run_status import Outcome, PauseStatus, RunStatus, StepStatus
from canary.model.status import Phase, RequestOutcome, RequestStatus, RolloutStatus
from canary.model.workload_status import FormerCanaryStatus
from canary.routes.edit import edit
from canary.routes.intent import LEGACY_ANNOTATION, Mode, parse_intent
from canary.status.write import STEP_BUDGET, Urgency, urgency

HOUR = timedelta(hours=1)


def annotate(world: World, name: str = "shop", **changes: Any) -> None:
    """Somebody writes our annotation: what it said, with some of it changed."""

    def change(document: dict[str, Any]) -> None:
        old = parse_intent(document["metadata"]["annotations"][RUN_ANNOTATION])
        assert old is not None
        document["metadata"]["annotations"][RUN_ANNOTATION] = replace(old, **changes).dump()

    world.edit_route(name, change, "mallory")


def at_ten() -> World:
    world = begun()
    world.wait(1)
    assert (world.share(), world.phase) == (10, Phase.PROGRESSING)
    return world


# -- evidence -------------------------------------------------------------------------------------------------------


def test_an_absence_longer_than_the_hold_raises_nothing_on_what_was_measured_before() -> None:
    """The check passed, the controller was away for an hour, the metric is bad by now: no more weight, but a rollback."""
    world = at_ten()
    world.measure(0.0)
    world.run()
    world.crash()
    world.now += HOUR
    world.run()
    world.wait(120)
    assert world.share() == 10, "nobody has looked since"
    world.measure(0.5)
    world.run()
    assert (world.share(), world.phase) == (0, Phase.ROLLED_BACK)


def test_an_absence_longer_than_the_hold_costs_a_measurement() -> None:
    """All is well: the first pass after the restart is evidence enough, since the hold is over."""
    world = at_ten()
    world.measure(0.0)
    world.run()
    world.crash()
    world.now += HOUR
    world.run()
    world.wait(1)
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def test_evidence_for_a_rise_is_no_older_than_about_an_interval() -> None:
    """A provider that stopped answering altogether (nothing comes, not even an error) holds the weight where it is."""
    world = begun(spec=spec_of(steps=[{"weight": 10, "hold": "10m"}, {"weight": 50}]))
    world.wait(1)
    world.measure(0.0)
    world.run()
    world.wait(700)
    assert world.share() == 10
    assert world.decision is not None
    assert "waiting for check errors to be measured again" in world.decision.message
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def test_a_bad_canary_is_seen_while_a_gateway_is_silent() -> None:
    """From the write on somebody may be served by the canary: nobody waits for an acceptance that never comes."""
    world = World(gateways=Gateways.PROMPT)
    world.run()
    world.gateways = Gateways.LATE
    world.revise("b")
    world.run()
    assert world.share() == 10
    assert world.status.run is not None
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.traffic_since == world.now
    world.measure(0.5)
    world.tick()
    assert world.share() == 0


# -- the record -----------------------------------------------------------------------------------------------------


def run_of(number: int, outcome: Outcome | None = None) -> RunStatus:
    return RunStatus(number=number, started_at=START, outcome=outcome)


def state(phase: Phase, number: int, outcome: Outcome | None = None) -> RolloutStatus:
    step = StepStatus(index=1, total=3, started_at=START) if phase is not Phase.IDLE else None
    return RolloutStatus(phase=phase, run=run_of(number, outcome), step=step)


GOING, LOST, WON = (
    state(Phase.PROGRESSING, 2),
    state(Phase.ROLLED_BACK, 2, Outcome.ROLLED_BACK),
    state(Phase.SUCCEEDED, 2, Outcome.SUCCEEDED),
)
BEGUN = state(Phase.PROGRESSING, 2)
"""Not on record yet."""
LOSING = state(Phase.ROLLING_BACK, 2, Outcome.ROLLED_BACK)


def asked(status: RolloutStatus, name: str, minutes: int) -> RolloutStatus:
    """A state in which a request was answered, so long after the start."""
    at = START + timedelta(minutes=minutes)
    answer = RequestStatus(id=name, verb="resume", at=at, outcome=RequestOutcome.DONE)
    return status.model_copy(update={"last_request": answer})


RESUMED = asked(GOING, "a", 1)
PAUSED_SINCE = asked(state(Phase.PAUSED, 2), "a", 1)
PAUSED_AGAIN = asked(state(Phase.PAUSED, 2), "b", 2)


@pytest.mark.parametrize(
    ("ours", "recorded", "another", "holds"),
    [
        pytest.param(GOING, LOST, False, "recorded", id="a recorded outcome is final"),
        pytest.param(GOING, LOSING, False, "recorded", id="also while the run is still ending"),
        pytest.param(LOSING, WON, False, "recorded", id="also against an outcome of ours"),
        pytest.param(LOSING, LOST, False, "recorded", id="somebody else has finished what we were at"),
        pytest.param(LOST, LOSING, False, "ours", id="what we have finished is not gone back to"),
        pytest.param(LOSING, GOING, False, "ours", id="a verdict of ours that is not on record yet is kept"),
        pytest.param(LOSING, GOING, True, "ours", id="whoever else is at work"),
        pytest.param(GOING, state(Phase.PROGRESSING, 3), False, "recorded", id="a later run is another controller's"),
        pytest.param(GOING, state(Phase.PROGRESSING, 1), True, "ours", id="an earlier run is over"),
        pytest.param(BEGUN, state(Phase.PROGRESSING, 1), True, "recorded", id="but for one that began from less"),
        pytest.param(BEGUN, state(Phase.ROLLED_BACK, 1, Outcome.ROLLED_BACK), False, "recorded", id="whoever ended it"),
        pytest.param(GOING, RolloutStatus(), True, "ours", id="an empty record says nothing"),
        pytest.param(GOING, state(Phase.PAUSED, 2), True, "recorded", id="another controller's word for our run"),
        pytest.param(
            GOING, state(Phase.PROGRESSING, 2), False, "ours", id="nobody else drives it: nobody else has a say"
        ),
        pytest.param(GOING, state(Phase.PAUSED, 2), False, "recorded", id="but that it is paused can only stop it"),
        pytest.param(RESUMED, state(Phase.PAUSED, 2), False, "ours", id="from before we were told to go on"),
        pytest.param(RESUMED, PAUSED_SINCE, False, "recorded", id="or since"),
        pytest.param(RESUMED, PAUSED_AGAIN, False, "recorded", id="or by who was asked later"),
        pytest.param(LOSING, state(Phase.PAUSED, 2), False, "ours", id="what has failed is not paused"),
    ],
)
def test_which_of_two_states_holds(ours: RolloutStatus, recorded: RolloutStatus, another: bool, holds: str) -> None:
    """What we have in mind, or what somebody has put on record."""
    assert adopt(ours, recorded, another=another, on_record=ours is not BEGUN) is (
        ours if holds == "ours" else recorded
    )


TWICE = (START, START + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("taken", "counted"),
    [
        pytest.param(GOING, TWICE, id="somebody else was faster, and knows of none"),
        pytest.param(
            GOING.model_copy(update={"overrides": (*TWICE, START + HOUR)}), 3, id="who knows of more is right"
        ),
        pytest.param(state(Phase.PAUSED, 2), TWICE, id="also of a run that is paused"),
        pytest.param(asked(GOING, "a", 3), (), id="a resumed run is counted anew"),
        pytest.param(state(Phase.PROGRESSING, 3), (), id="and so is another one"),
        pytest.param(LOST, (), id="what is over is not counted"),
    ],
)
def test_what_was_put_back_is_counted_by_who_did_it(taken: RolloutStatus, counted: Any) -> None:
    """Taking over what somebody else has put on record, a controller forgets none of the rises that it took back."""
    ours = GOING.model_copy(update={"overrides": TWICE})
    found = still_counted(ours, taken).overrides
    assert (len(found) if isinstance(counted, int) else found) == counted


@pytest.mark.parametrize(
    ("phase", "run", "end"),
    [
        ("Progressing", {"outcome": "RolledBack"}, Phase.ROLLED_BACK),
        ("Paused", {"outcome": "RolledBack"}, Phase.ROLLED_BACK),
        ("Promoting", {"outcome": "RolledBack"}, Phase.ROLLED_BACK),
        ("Promoting", {}, Phase.ROLLED_BACK),
        ("RollingBack", {}, Phase.ROLLED_BACK),
        ("Progressing", {"outcome": "Succeeded"}, Phase.SUCCEEDED),
        ("Progressing", {"outcome": "Succeeded", "swap": True}, None),
    ],
)
def test_an_impossible_status_copies_nothing_and_raises_nothing(
    phase: str, run: dict[str, Any], end: Phase | None
) -> None:
    """Phase and outcome that cannot stand side by side end the run; stable keeps what it has."""
    world = at_ten()
    world.crash()
    world.recorded["phase"] = phase
    world.recorded["run"] |= run
    before = world.share()
    world.run()
    world.wait(120)
    assert world.stable.revision == "a"
    assert end is None or (world.phase, world.share()) == (end, 0)
    assert world.share() <= max(before, 10) or run.get("swap")


@pytest.mark.parametrize("number", [2**63, -1, 0, "x", 1.5, None, 10**9 + 1])
def test_a_run_number_that_cannot_be_is_no_run(number: object) -> None:
    """The rest of the status is kept; the route still says what the run left there, and that counts: another run begins."""
    world = at_ten()
    world.crash()
    world.recorded["run"]["number"] = number
    status, senseless = RolloutStatus.read(world.recorded)
    assert (status.run, senseless, status.phase) == (None, ("run",), Phase.PROGRESSING)
    world.tick()
    assert (world.share(), world.annotated()) == (0, False)
    world.run()
    assert world.status.run is not None
    assert (world.status.run.number, world.phase) == (1, Phase.PROGRESSING)
    assert len([kind for kind, _ in world.wrote if kind == "route"]) == 3


# -- the routes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True], ids=["alive", "taken over"])
@pytest.mark.parametrize(
    "forged",
    [
        {"step": 3},
        {"step": 2},
        {"run": 2},
        {"run": 2, "step": 2},
        {"run": 99, "step": 3},
        {"run": 10**9, "step": 3},
        {"mode": Mode.FINISH},
        {"mode": Mode.FINISH, "step": 3},
        {"turn": "somebody"},
        {"uid": "another"},
        {"baseline": {}},
    ],
    ids=str,
)
def test_a_forged_annotation_raises_nothing(forged: dict[str, Any], crash: bool) -> None:
    """Whatever it says of steps and runs: the canary gets no more than the step that is on record, and stable is not copied to."""
    world = at_ten()
    if crash:
        world.crash()
    annotate(world, **forged)
    for _ in range(6):
        world.run()
        assert world.share() <= 10
        world.wait(5)
    assert world.share() <= 10
    assert world.stable.revision == "a"
    assert world.stable.record is None


@pytest.mark.parametrize(
    "raw",
    ["", "{}", "[" * 9999, '{"run":Infinity}', "\ud800", '"\\ud800"', "null", "9" * 5000],
    ids=lambda raw: repr(raw)[:20],
)
@pytest.mark.parametrize("crash", [False, True], ids=["alive", "taken over"])
def test_garbage_in_the_annotation_is_as_absent_and_said_once(raw: str, crash: bool) -> None:
    """The run goes on, the annotation is written anew, and a rollback comes when it should."""
    world = at_ten()
    if crash:
        world.crash()
    world.edit_route("shop", lambda document: document["metadata"]["annotations"].update({RUN_ANNOTATION: raw}))
    world.run()
    assert world.annotated()
    assert parse_intent(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION]) is not None
    assert reasons.UNREADABLE_RECORD in world.reasons
    world.wait(1)
    world.measure(0.5)
    world.tick()
    assert world.share() == 0


def test_a_baseline_of_nothing_is_none() -> None:
    """A pair of 0/0 would leave users without anybody to answer: what the status remembers counts."""
    world = at_ten()
    document = world.routes["shop"]["metadata"]["annotations"]
    raw = document[RUN_ANNOTATION].replace('"baseline":{"#0":"1/0"}', '"baseline":{"#0":"0/0"}')
    assert raw != document[RUN_ANNOTATION]
    world.edit_route("shop", lambda d: d["metadata"]["annotations"].update({RUN_ANNOTATION: raw}))
    world.ask("abort")
    world.run()
    assert [str(pair.weights) for pair in world.pairs("shop")] == ["1/0"]


def test_a_route_that_was_written_further_alone_goes_back() -> None:
    """Died between two routes of one step: the one that has more is lowered, and the step is held anew."""
    routes = {"shop": route("shop"), "api": route("api", rule(stable=20))}
    world = World(spec_of(routes=[{"name": "shop"}, {"name": "api"}]), routes)
    world.run()
    world.revise("b")
    world.run()
    world.wait(1)
    world.measure(0.0)
    world.run()
    world.now += timedelta(seconds=10)
    world.faults["api"] = Fault.DIES_BEFORE
    world.measure(0.0)
    world.tick()
    assert (world.share("shop"), world.share("api")) == (50, 10)
    world.run()
    assert (world.share("shop"), world.share("api")) == (10, 10)
    assert world.memory is not None
    assert world.memory.step is not None
    assert world.memory.step.reached_at == world.now


def test_what_an_earlier_version_began_is_carried_on() -> None:
    """Its annotation has another name; the first write replaces it, and no trace of either is left."""
    world = at_ten()
    world.crash()

    def old(document: dict[str, Any]) -> None:
        annotations = document["metadata"]["annotations"]
        annotations[LEGACY_ANNOTATION] = annotations.pop(RUN_ANNOTATION)

    world.edit_route("shop", old, "canary")
    world.run()
    annotations = world.routes["shop"]["metadata"]["annotations"]
    assert LEGACY_ANNOTATION not in annotations
    assert RUN_ANNOTATION in annotations
    assert (world.share(), world.phase) == (10, Phase.PROGRESSING)
    world.wait(1)
    world.measure(0.5)
    world.run()
    assert (world.share(), world.annotated(), world.phase) == (0, False, Phase.ROLLED_BACK)


def test_what_an_earlier_version_was_rolling_back_is_rolled_back() -> None:
    """The status never heard of it: the old annotation alone says that this run has failed."""
    world = at_ten()
    world.crash()

    def old(document: dict[str, Any]) -> None:
        annotations = document["metadata"]["annotations"]
        intent = parse_intent(annotations.pop(RUN_ANNOTATION))
        assert intent is not None
        annotations[LEGACY_ANNOTATION] = replace(intent, mode=Mode.ROLLBACK, reason="CheckFailed", message="bad").dump()

    world.edit_route("shop", old, "canary")
    world.run()
    assert (world.share(), world.phase) == (0, Phase.ROLLED_BACK)
    assert world.status.run is not None
    assert world.status.run.reason == "CheckFailed"


# -- turns ----------------------------------------------------------------------------------------------------------


def test_who_takes_a_run_over_puts_its_turn_on_every_route_before_it_raises_anything() -> None:
    """So what the one before has still under way tests another annotation, and is refused."""
    world = at_ten()
    world.measure(0.0)
    world.run()
    world.crash()
    world.faults["shop"] = Fault.REFUSED
    world.tick()
    world.now += timedelta(seconds=60)
    world.faults["shop"] = Fault.REFUSED
    world.measure(0.0)
    world.tick()
    assert world.share() == 10
    world.run()
    intent = parse_intent(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION])
    assert intent is not None
    assert intent.turn == world.turn


def test_a_turn_that_is_over_stays_on_the_routes_until_they_are_written_anyway() -> None:
    """Nothing of it can come late: the takeover writes nothing and holds nothing up, and the next weight names our turn."""
    world = at_ten()
    world.over = frozenset({world.turn})
    world.crash()
    before = world.routes["shop"]
    world.measure(0.0)
    world.run()
    assert world.routes["shop"] == before
    assert not world.fresh
    world.now += timedelta(seconds=60)
    world.measure(0.0)
    world.run()
    assert world.share() == 50
    intent = parse_intent(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION])
    assert intent is not None
    assert intent.turn == world.turn


def test_a_turn_that_is_not_over_is_replaced_at_a_pause_too() -> None:
    """Of two before us one is known to be over. It is the other whose late write a pause has to refuse."""
    for over, written in ((frozenset({"life-1"}), True), (frozenset({"life-1", "life-2"}), False)):
        world = at_ten()
        world.crash()
        world.run()
        world.over = over
        world.crash()
        world.request = "pause"
        before = world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION]
        world.run()
        assert world.phase == Phase.PAUSED
        assert (world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION] != before) is written


# -- time -----------------------------------------------------------------------------------------------------------


def recorded(skew: timedelta) -> RolloutStatus:
    """Reached 5 s before it was written, held for 20 s, a check unknown for 3 s; by a clock that differs by `skew`."""
    at = START + skew
    return RolloutStatus(
        phase=Phase.PROGRESSING,
        recorded_at=at,
        run=RunStatus(number=1, started_at=at - timedelta(seconds=7)),
        step=StepStatus(
            index=1,
            total=3,
            started_at=at - timedelta(seconds=6),
            reached_at=at - timedelta(seconds=5),
            hold_until=at + timedelta(seconds=15),
        ),
        checks=(
            CheckStatus(
                name="errors",
                verdict=VerdictKind.UNKNOWN,
                measured_at=at - timedelta(seconds=1),
                unknown_since=at - timedelta(seconds=3),
            ),
        ),
    )


@given(st.integers(-7200, 7200), st.integers(0, 3600))
def test_nothing_is_sure_to_have_passed_since_it_was_written(skew: int, away: int) -> None:
    """By whatever clock it was written, and however long ago that was: as much of a hold is left, and as much of every limit is used up."""
    now = START + timedelta(seconds=away)
    taken = rebased(recorded(timedelta(seconds=skew)), now)
    assert taken.run is not None
    assert taken.step is not None
    assert taken.step.reached_at is not None
    assert taken.step.hold_until == now + timedelta(seconds=15)
    assert taken.step.hold_until - taken.step.reached_at == timedelta(seconds=20)
    assert now - taken.run.counts_from <= timedelta(seconds=7), "a deadline counts from there"
    assert taken.run.started_at == min(recorded(timedelta(seconds=skew)).run.started_at, now), (
        "and people know since when"
    )  # type: ignore[union-attr]
    [check] = taken.checks
    assert check.measured_at == now - timedelta(seconds=1)
    assert check.unknown_since == now - timedelta(seconds=3), "a holdLimit counts from there"


@given(st.integers(0, 7200))
def test_what_a_run_that_is_over_says_of_the_past_stays_so(rest: int) -> None:
    """At rest nothing is to be credited: a release of yesterday did not end just now."""
    over = recorded(timedelta(0)).model_copy(update={"phase": Phase.SUCCEEDED})
    assert not over.active
    assert rebased(over, START + timedelta(seconds=rest)) == over


def test_what_is_only_for_people_stays_where_it_is() -> None:
    """Somebody paused the run yesterday, and not when the controller came back."""
    paused = PauseStatus(reason="PausedByRequest", since=START - HOUR)
    taken = rebased(recorded(timedelta(0)).model_copy(update={"phase": Phase.PAUSED, "paused": paused}), START + HOUR)
    assert taken.paused == paused


@given(st.integers(-7200, 7200), st.integers(0, 7200))
def test_a_canary_that_keeps_its_replicas_for_a_while_does_so_at_rest(skew: int, rest: int) -> None:
    """Three seconds of its time are over, by whatever clock."""
    at, now = START + timedelta(seconds=skew), START + timedelta(seconds=rest)
    former = FormerCanaryStatus(kind="Deployment", name="old", drained_since=at - timedelta(seconds=3))
    over = recorded(timedelta(seconds=skew)).model_copy(update={"phase": Phase.SUCCEEDED, "former_canaries": (former,)})
    [taken] = rebased(over, now).former_canaries
    assert taken.drained_since == now - timedelta(seconds=3)


def test_at_rest_too_nothing_of_the_past_lies_ahead() -> None:
    """Whoever wrote it had a clock that is ahead of ours."""
    over = recorded(timedelta(hours=1)).model_copy(update={"phase": Phase.SUCCEEDED})
    taken = rebased(over, START)
    assert all(check.measured_at is not None and check.measured_at <= START for check in taken.checks)


TIMES = st.integers(-55 * 365, 6970 * 365).map(lambda days: START + timedelta(days=days))


@given(TIMES, TIMES, TIMES, st.booleans())
def test_no_time_on_record_is_too_far_away(at: datetime, began: datetime, until: datetime, rests: bool) -> None:
    """Anybody who may write statuses may write any time: it crashes no takeover, and nothing of the past lies ahead."""
    status = recorded(timedelta(0))
    assert status.run is not None
    assert status.step is not None
    run = status.run.model_copy(update={"started_at": began})
    step = status.step.model_copy(update={"hold_until": until})
    changes = {"recorded_at": at, "run": run, "step": step, **({"phase": Phase.SUCCEEDED} if rests else {})}
    taken = rebased(status.model_copy(update=changes), START)
    assert taken.run is not None
    assert taken.run.started_at <= START


def test_time_in_which_nothing_could_be_seen_counts_against_nobody() -> None:
    """Acceptance, hold and hold limit are put off; the deadline is the user's own."""
    status = recorded(timedelta(0))
    by = timedelta(seconds=40)
    later = delayed(status, by)
    assert status.step is not None
    assert later.step is not None
    assert later.step.hold_until == (status.step.hold_until or START) + by
    assert later.checks[0].unknown_since == (status.checks[0].unknown_since or START) + by
    assert later.run == status.run
    assert delayed(RolloutStatus(phase=Phase.IDLE), by) == RolloutStatus(phase=Phase.IDLE)


@pytest.mark.parametrize("trouble", ["gateway", "provider"])
def test_while_the_watches_are_broken_no_run_fails_for_want_of_news(trouble: str) -> None:
    """Nothing can be seen: neither acceptTimeout nor holdLimit strikes, and nothing is raised."""
    check = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "holdLimit": "30s"}
    world = begun(spec=spec_of(checks=[check]))
    if trouble == "gateway":
        world.gateways = Gateways.LATE
        world.edit_route("shop", lambda document: document["spec"].update(hostnames=["b.example.org"]))
        world.run()
    else:
        world.wait(1)
        world.measure("Unreachable")
        world.run()
    world.blind = True
    world.wait(300)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    world.blind = False
    world.memory = delayed(world.memory or RolloutStatus(), timedelta(seconds=300))
    world.answer(Gateways.PROMPT)
    world.measure(0.0)
    world.run()
    assert world.phase is Phase.PROGRESSING


def test_a_moment_out_of_sight_is_not_put_on_record() -> None:
    """A busy API server opens watches late: it is not given a status of every run to write for that."""
    world = begun()
    world.wait(1)
    world.measure(0.0)
    world.run()
    on_record = world.memory
    assert on_record is not None
    world.blind, world.blind_since = True, world.now
    world.wait(LOUD.total_seconds() - 1)
    assert world.memory is not None
    assert "out of sight" in world.memory.message
    assert urgency(on_record, world.memory, STEP_BUDGET) is Urgency.NONE
    world.wait(1)
    assert "watches are broken" in world.memory.message
    assert urgency(on_record, world.memory, STEP_BUDGET) is Urgency.NOW
    assert world.share() == 10


# -- what cannot be written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [["shop"], ["api"], ["shop", "api"]])
def test_a_write_that_is_refused_for_good_ends_the_step(which: list[str]) -> None:
    """Admission takes no patch of one route: the time for acceptance counts from dependents to write."""
    routes = {"shop": route("shop"), "api": route("api", rule(stable=20))}
    world = World(spec_of(routes=[{"name": "shop"}, {"name": "api"}]), routes)
    world.run()
    world.revise("b")
    world.script = lambda _n, target: Fault.REFUSED if target in which and world.memory and not ended(world) else None
    for _ in range(70):
        world.tick()
        world.now += timedelta(seconds=1)
        if ended(world):
            break
    world.script = None
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.reason) == (Phase.ROLLED_BACK, reasons.NOT_ACCEPTED)
    assert "could not be written within 60s" in world.status.run.message
    assert {name: world.share(name) for name in routes} == {"shop": 0, "api": 0}


def ended(world: World) -> bool:
    return world.memory is not None and world.memory.run is not None and world.memory.run.outcome is not None


# -- a canary that blinks ---------------------------------------------------------------------------------------------


def test_a_probe_that_blips_fails_no_release() -> None:
    """No ready replica: no weight, at once; ready again in time: the step begins anew."""
    world = at_ten()
    world.canary.ready = 0
    world.tick()
    assert (world.share(), world.phase) == (0, Phase.PROGRESSING)
    world.run()
    world.wait(20)
    assert (world.share(), world.phase) == (0, Phase.PROGRESSING)
    world.canary.ready = 1
    world.run()
    assert (world.share(), world.phase) == (10, Phase.PROGRESSING)
    assert world.memory is not None
    assert world.memory.step is not None
    assert world.memory.step.started_at == world.now


def test_the_fourth_blip_is_one_too_many() -> None:
    """Three times in a run, then it fails."""
    world = begun(spec=spec_of(checks=None, steps=[{"weight": 10, "hold": "1h"}]))
    for _ in range(3):
        world.canary.ready = 0
        world.run()
        world.wait(2)
        world.canary.ready = 1
        world.run()
        assert (world.share(), world.phase) == (10, Phase.PROGRESSING)
    world.canary.ready = 0
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.reason, world.share()) == (Phase.ROLLED_BACK, reasons.CANARY_UNAVAILABLE, 0)


@pytest.mark.parametrize("paused", ["pause", "approval"])
def test_a_paused_run_takes_the_weight_away_too(paused: str) -> None:
    """Users would get 503s, whoever waits for whom."""
    steps = (
        [{"weight": 10, "approval": {}}, {"weight": 100}] if paused == "approval" else [{"weight": 10, "hold": "1h"}]
    )
    world = begun(spec=spec_of(checks=None, steps=steps))
    if paused == "pause":
        world.ask("pause")
        world.run()
    assert world.phase is Phase.PAUSED
    world.canary.ready = 0
    world.run()
    assert (world.share(), world.phase) == (0, Phase.PAUSED)
    world.canary.ready = 1
    world.run()
    world.ask("promote" if paused == "approval" else "resume")
    world.run()
    assert world.share() == (100 if paused == "approval" else 10)


def test_back_at_stables_revision_ends_the_run() -> None:
    """Somebody rolled the canary workload back: there is nothing to release, and nothing is stuck."""
    world = at_ten()
    world.revise("a")
    world.run()
    assert world.status.run is not None
    assert (world.phase, world.status.run.number, world.status.run.reason) == (Phase.ROLLED_BACK, 1, reasons.SUPERSEDED)
    assert world.share() == 0
    said = {condition.type: condition.status for condition in world.status.conditions}
    assert (said["Ready"], said["Stalled"]) == ("True", "False")
    world.revise("b")
    world.run()
    assert world.status.run.number == 1 or world.phase is Phase.PROGRESSING


# -- what a Copy leaves on record -------------------------------------------------------------------------------------


def promoting(**more: Any) -> World:
    world = begun(spec=spec_of(promotion="Copy", steps=[{"weight": 100}], checks=None, **more))
    assert (world.phase, world.stable.revision) == (Phase.PROMOTING, "b")
    return world


def hotfix(world: World, revision: str = "hotfix") -> None:
    world.stable.revision, world.stable.rolled_out, world.stable.writer = revision, True, "kubectl-set"


def test_a_hotfix_during_the_copy_is_not_written_over() -> None:
    """It pauses and names who; an abort keeps what they did."""
    world = promoting()
    hotfix(world)
    world.run()
    assert world.phase is Phase.PAUSED
    assert world.status.paused is not None
    assert world.status.paused.reason == reasons.STABLE_CHANGED
    assert "kubectl-set changed stable" in world.status.paused.message
    world.ask("abort")
    world.run()
    assert (world.phase, world.stable.revision, world.stable.record) == (Phase.ROLLED_BACK, "hotfix", None)


def test_a_hotfix_during_the_run_is_not_written_over_either() -> None:
    """Nor is what somebody put on stable before the copy: it was not there when the run began."""
    world = begun(spec=spec_of(promotion="Copy", steps=[{"weight": 100, "hold": "10s"}], checks=None))
    hotfix(world)
    world.wait(11)
    assert (world.phase, world.stable.revision) == (Phase.PAUSED, "hotfix")
    world.ask("resume")
    world.wait(11)
    assert (world.phase, world.stable.revision) == (Phase.PROMOTING, "b"), "whoever resumes has seen it"


def test_admission_that_changes_a_copy_is_no_fight() -> None:
    """What the API server made of it counts as copied: one copy, and the run is won."""
    world = World(
        spec_of(promotion="Copy", steps=[{"weight": 100}], checks=None), admit=lambda revision: f"{revision}-admitted"
    )
    world.run()
    world.revise("b")
    world.run()
    assert [kind for kind, _ in world.wrote].count("copy") == 1
    assert reasons.COPY_ALTERED in world.reasons
    assert {condition.type: condition.status for condition in world.status.conditions}["CopyExact"] == "False"
    world.stable.rolled_out = True
    world.run()
    assert (world.phase, world.stable.revision, world.stable.record) == (Phase.SUCCEEDED, "b-admitted", None)
    world.wait(3600)
    assert (world.phase, [kind for kind, _ in world.wrote].count("copy")) == (Phase.SUCCEEDED, 1)


def test_a_rollout_deleted_after_success_leaves_no_record() -> None:
    """The gateway still answers when it is deleted: declared again releases later, nothing old is put on stable."""
    world = promoting()
    world.answer(Gateways.LATE)
    world.stable.rolled_out = True
    world.run()
    assert world.stable.record is None, "dropped when won"
    world.delete()
    world.run()
    assert world.gone
    assert (world.stable.revision, world.share()) == ("b", 0)


def test_a_record_of_another_rollout_puts_nothing_back() -> None:
    """Same name, another uid: what it replaced is an old version by now. What this run replaced is nowhere else, and that is said."""
    world = promoting()
    assert world.stable.record is not None
    world.stable.record = replace(world.stable.record, uid="deleted long ago", replaced="old")
    world.stable.history.clear()
    world.ask("abort")
    world.run()
    assert (world.phase, world.stable.revision, world.stable.record) == (Phase.ROLLED_BACK, "b", None)
    assert reasons.STABLE_NOT_RESTORED in world.reasons


# -- at rest ----------------------------------------------------------------------------------------------------------


def test_traffic_that_an_owner_gives_a_failed_canary_is_shown_and_not_fought() -> None:
    """At rest the route is its owner's: WEIGHT says what is in it, an Event names them and the failed revision."""
    world = at_ten()
    world.measure(0.5)
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    world.told.clear()
    world.weigh(50, 50, by="argocd")
    world.run()
    world.wait(60)
    assert (world.share(), world.phase, world.status.split.written) == (50, Phase.ROLLED_BACK, 50)
    (tell,) = [tell for tell in world.told if tell.reason == reasons.TRAFFIC_AT_REST]
    assert "argocd gives the canary 50 %" in tell.message
    assert "revision b was rolled back (CheckFailed)" in tell.message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda w: w.weigh(900, 100), "gives the canary 10 % at rest"),
        (lambda w: w.weigh(1, 1), "gives the canary 50 % at rest"),
        (lambda w: w.answer(Gateways.REFUSING), "HTTPRoute shop is not served"),
    ],
)
def test_not_ready_means_that_no_run_begins(make: Callable[[World], None], words: str) -> None:
    """Ready is False and says what to do; a new revision waits, and a request is refused."""
    world = World()
    world.run()
    make(world)
    world.run()
    world.wait(2)
    ready = {condition.type: condition for condition in world.status.conditions}["Ready"]
    assert ready.status == "False"
    assert words in ready.message
    world.revise("b")
    world.run()
    assert world.status.run is None
    world.ask("start")
    world.run()
    assert world.status.last_request is not None
    assert world.status.last_request.words.startswith("refused: ")
    assert words in world.status.last_request.words


def test_a_contested_run_keeps_the_lower_weight() -> None:
    """After the third raise it goes nowhere; what others add is taken away, every ten seconds at most."""
    world = begun(spec=spec_of(checks=None, steps=[{"weight": 10, "hold": "1h"}]))
    for _ in range(3):
        world.weigh(50, 50)
        world.run()
        world.now += timedelta(seconds=1)
    assert (world.phase, world.share()) == (Phase.PAUSED, 10)
    world.weigh(50, 50)
    world.run()
    assert world.share() == 50
    world.wait(10)
    assert (world.phase, world.share()) == (Phase.PAUSED, 10)


@pytest.mark.parametrize("name", ["", "No Name", "../x", 7])
def test_a_route_on_record_that_has_no_name_is_no_route(name: object) -> None:
    """A status that names a route which cannot be: that member counts as absent, and the run goes on by what the route says."""
    world = at_ten()
    world.crash()
    world.recorded["routes"][0]["name"] = name
    world.run()
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)


@pytest.mark.parametrize("annotation", ["kept", "stripped"])
@pytest.mark.parametrize("number", [1, 99])
def test_a_forged_record_of_a_later_step_raises_nothing(annotation: str, number: int) -> None:
    """It says that the last step was written everywhere; the routes say otherwise, and what is in them is what counts."""
    world = at_ten()
    world.crash()
    if annotation == "stripped":
        world.strip()
    world.recorded["run"]["number"] = number
    world.recorded["step"] |= {"index": 3, "display": "3/3"}
    world.recorded["routes"][0] |= {"owned": True, "share": 100}
    world.recorded["split"] = {"desired": 100, "written": 100, "accepted": 100}
    world.promises.allowed.setdefault(number, {"": Fraction(10)})
    for _ in range(6):
        world.run()
        assert world.share() <= 10
        world.wait(3)
    assert world.stable.revision == "a"


# -- a write that comes late ----------------------------------------------------------------------------------------


def about_to_raise(**spec: Any) -> tuple[World, list[dict[str, Any]]]:
    """A run whose first weight is on its way, and the patch of it: its controller is stopped on this very line."""
    world = World(spec=spec_of(**spec))
    world.run()
    world.revise("b")
    world.script = lambda _attempt, target: Fault.DIES_BEFORE if target == "shop" else None
    lives = world.lives
    while world.lives == lives:
        assert world.tick()
    world.script = None
    assert world.decision is not None
    action = next(action for action in world.decision.actions if isinstance(action, WriteRoute))
    document = copy.deepcopy(world.routes["shop"])
    patch = edit(document, action.plan, action.intent, rollout="shop")
    assert world.share() == 0
    jsonpatch.apply_patch(document, patch)
    return world, patch


ENDINGS: dict[str, Callable[[World], object]] = {
    "aborted": lambda world: world.ask("abort", id_="now"),
    "deleted": World.delete,
    "another revision": lambda world: world.revise("c"),
    "back at stable's revision": lambda world: world.revise("a"),
    "another plan": lambda world: world.declare(steps=[{"weight": 20, "approval": {}}]),
    "out of time": lambda world: setattr(world, "now", world.now + 10 * HOUR),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_first_weight_that_comes_when_its_run_has_ended_is_refused(ending: str) -> None:
    """Another controller ends the run before the first weight is on the route: there is nothing to take back, so the route
    has to be changed all the same, or the patch of the one that was stopped would still fit."""
    world, patch = about_to_raise(deadline="1h") if ending == "out of time" else about_to_raise()
    ENDINGS[ending](world)
    number = world.recorded["run"]["number"]
    for _ in range(30):
        moved = world.tick()
        run = world.recorded.get("run") or {}
        if world.gone or run.get("outcome") or run.get("number") != number:
            with pytest.raises(jsonpatch.JsonPatchException):
                jsonpatch.apply_patch(world.routes["shop"], patch)
        if not moved:
            break
    assert world.gone or world.phase in {Phase.ROLLED_BACK, Phase.PROGRESSING}
    assert world.gone or world.phase is Phase.PROGRESSING or not world.annotated()


@pytest.mark.parametrize("ending", ["aborted", "deleted"])
def test_a_route_that_cannot_be_written_keeps_no_run_from_ending(ending: str) -> None:
    """Admission refuses each of our patches, and the weight there is 0: after acceptTimeout that has to do."""
    world, _ = about_to_raise()
    world.script = lambda _attempt, target: Fault.REFUSED if target == "shop" else None
    ENDINGS[ending](world)
    for _ in range(100):
        world.tick()
        world.now += timedelta(seconds=1)
    assert world.gone or world.phase is Phase.ROLLED_BACK
