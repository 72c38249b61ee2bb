"""Canary against stable: evidence of many looks, what is a look at all, and what becomes of evidence."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_match import MATCH
from test_engine_mirror import MIRROR, getting
from world import START, Fault, World, begun, route, rule, spec_of

from canary.checks.judges.words import TIMES
from canary.decide import reasons
from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.measurement import Compared, NoData, Unreachable
from canary.model.run_status import Outcome
from canary.model.status import Phase

Json = dict[str, Any]

COUNTERS: Json = {
    "requests": "n{service='{{ backend.service }}'}",
    "failures": "n{service='{{ backend.service }}',code='500'}",
}
STEPS: list[Json] = [{"weight": 10, "hold": "2m"}, {"weight": 50, "hold": "2m"}, {"weight": 100, "hold": "1m"}]


def check(name: str = "errors", settings: Json | None = None, **compare: Any) -> Json:
    """A comparison that looks every ten seconds, at counters that are at most five seconds old."""
    declared = {"prometheus": COUNTERS, "lag": "5s", **compare}
    return {"name": name, "interval": "10s", "compare": declared, **(settings or {})}


def comparing(*checks: Json, steps: list[Json] = STEPS, settle: timedelta = timedelta(0), **changes: Any) -> World:
    """A world whose run is at its first step, with a comparison."""
    spec = spec_of(steps=steps, checks=list(checks or (check(),)), promotion="Await", **changes)
    return begun(spec=spec, routes={"shop": route("shop", getting())}, settle=settle)


def look(
    world: World, canary: float, failed: float, stable: float = 900, stable_failed: float = 11, *,
    seconds: float = 10, name: str = "errors", run: bool = True,
) -> None:  # fmt: skip
    """So many seconds go by, in which the backends did this."""
    since = world.now
    world.wait(seconds)
    world.news.append((name, Compared(world.now, since, canary, stable, failed, stable_failed, {})))
    if run:
        world.run()


def healthy(world: World) -> None:
    look(world, 100, 1)


def bad(world: World) -> None:
    look(world, 100, 40)


def state(world: World, name: str = "errors") -> CheckStatus:
    assert world.memory is not None
    found = world.memory.check(name)
    assert found is not None
    return found


def evidence(world: World) -> EvidenceStatus:
    found = state(world).evidence
    assert found is not None
    return found


def known(world: World) -> Json:
    found: Json = json.loads(evidence(world).state)
    return found


# -- verdicts -------------------------------------------------------------------------------------------------------


def test_a_canary_that_fails_far_more_often_is_rolled_back_at_the_first_look() -> None:
    """In the decision that hears of it; and it says by how much, from what to what, and on what evidence."""
    world = comparing()
    world.wait(5)
    look(world, 100, 40, run=False)
    world.tick()
    assert (world.share(), world.phase) == (0, Phase.ROLLING_BACK)
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.reason == reasons.CHECK_FAILED
    said = state(world)
    assert (said.verdict, said.reason) == (VerdictKind.FAIL, "WorseThanStable")
    assert said.message.startswith(f"errors 33{TIMES} stable (1.2 % → 40 %), evidence ")
    assert said.message.endswith(" of 20 needed")
    assert said.value == pytest.approx(0.4 / (11 / 900))


def test_a_canary_like_stable_goes_all_the_way() -> None:
    """Nothing against it is proved at any look; at 100 % nothing is compared, and nothing waits for it."""
    world = comparing()
    world.wait(5)
    for _ in range(12):
        healthy(world)
    assert world.share() == 50
    world.wait(5)
    for _ in range(12):
        look(world, 500, 6, 500, 7)
    assert world.share() == 100
    said = state(world)
    assert (said.verdict, said.reason) == (VerdictKind.PASS, "NotApplicable")
    assert "stable has no traffic at 100 %" in said.message
    world.wait(61)
    assert world.phase is Phase.PROMOTING


def test_a_small_regression_is_found_look_after_look() -> None:
    """What one look cannot prove several do, also across a weight step: they are one process."""
    world = comparing(steps=[{"weight": 10, "hold": "20s"}, {"weight": 20, "hold": "20m"}])
    world.wait(5)
    look(world, 100, 3)
    look(world, 100, 3)
    before = known(world)["worse"][0]
    assert world.share() == 20
    world.wait(5)
    looks = 0
    while world.share() and looks < 30:
        look(world, 200, 6, 800, 10)
        looks += 1
    assert known(world)["worse"][0] == before + looks
    assert 1 < looks < 25
    assert state(world).verdict is VerdictKind.FAIL


def test_tolerance_is_what_a_canary_may_fail_more_often() -> None:
    """Twice as often is no failure where three times is tolerated."""
    world = comparing(check(tolerance=3))
    world.wait(5)
    for _ in range(10):
        look(world, 100, 2)
    assert (state(world).verdict, world.share()) == (VerdictKind.PASS, 10)
    assert state(world).limit == f"errors at most 3{TIMES} stable's (alpha 5 %)"


def test_few_requests_are_no_evidence() -> None:
    """Below minRequests of the canary onNoData has its say."""
    world = comparing(check(minRequests=50))
    world.wait(5)
    look(world, 20, 0)
    assert (state(world).verdict, state(world).reason) == (VerdictKind.UNKNOWN, "TooFewRequests")
    look(world, 40, 0)
    assert (state(world).verdict, state(world).reason) == (VerdictKind.PASS, "NotProved")


def test_few_requests_in_the_first_seconds_are_waited_for() -> None:
    """Who looks early has not looked in vain: what was counted is kept, and nothing is said of it."""
    world = comparing(check(minRequests=50))
    world.wait(5)
    look(world, 20, 0, seconds=1)
    assert (state(world).reason, evidence(world).looks) == ("NotMeasured", 1)
    look(world, 40, 0, seconds=2)
    assert (state(world).verdict, known(world)["counts"][0]) == (VerdictKind.PASS, 60)


@pytest.mark.parametrize(
    ("canary", "stable", "side"), [(0, 900, "the canary"), (100, 0, "stable"), (0, 0, "the canary")]
)
def test_a_look_without_requests_of_one_side_is_no_pass(canary: float, stable: float, side: str) -> None:
    """However much was compared before: what crashes and counts nothing is not good."""
    world = comparing()
    world.wait(5)
    healthy(world)
    look(world, canary, 0, stable, 0)
    said = state(world)
    assert (said.verdict, said.reason) == (VerdictKind.UNKNOWN, "NoData")
    assert f"no requests of {side} were counted in 10 s" in said.message
    world.wait(180)
    assert world.share() == 10


@pytest.mark.parametrize(
    ("policy", "measurement", "verdict"),
    [
        ({"onNoData": "Pass"}, "NoData", VerdictKind.PASS),
        ({"onNoData": "Fail"}, "NoData", VerdictKind.FAIL),
        ({"onError": "Pass"}, "Unreachable", VerdictKind.PASS),
        ({"onError": "Hold"}, "Unreachable", VerdictKind.UNKNOWN),
    ],
)
def test_policies_are_those_of_every_check(policy: Json, measurement: str, verdict: VerdictKind) -> None:
    """And what was gathered is not lost for it."""
    world = comparing(check(settings=policy))
    world.wait(5)
    healthy(world)
    before = evidence(world)
    world.wait(10)
    now = world.now
    found = NoData(now) if measurement == "NoData" else Unreachable(now, "Unreachable", "connection refused")
    world.news.append(("errors", found))
    world.run()
    assert state(world).verdict is verdict
    assert evidence(world) == before


# -- what is doubtful -----------------------------------------------------------------------------------------------


def doubtful(world: World) -> None:
    """Every failure is counted three times, as a proxy that retries does: more evidence than there is."""
    look(world, 600, 36, 5400, 162)


@pytest.mark.parametrize("policy", ["Hold", "Pass", "Fail"])
def test_evidence_that_may_be_of_something_else_has_a_policy(policy: str) -> None:
    """It neither fails the canary nor lets it rise while the step holds; then what is declared applies."""
    world = comparing(check(onInconclusive=policy), onFailure="Rollback")
    world.wait(5)
    for _ in range(4):
        doubtful(world)
    assert state(world).reason == "Overdispersed", state(world).message
    expected = VerdictKind.PASS if policy == "Pass" else VerdictKind.UNKNOWN
    assert (state(world).verdict, world.share()) == (expected, 10)
    # The hold is over, and the next look tells the same.
    assert world.memory is not None
    assert world.memory.step is not None
    left = 120 - (world.now - world.memory.step.started_at).total_seconds()
    world.wait(left - 9)
    doubtful(world)
    assert world.share() == {"Hold": 10, "Pass": 50, "Fail": 0}[policy]


# -- what a look is -------------------------------------------------------------------------------------------------


def test_a_look_never_spans_a_write() -> None:
    """What was counted under two weights says nothing: with a burst between them a good canary looks bad."""
    world = comparing(steps=[{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20m"}])
    world.wait(5)
    healthy(world)
    look(world, 6000, 3000)  # the weight rose after half of it
    assert (evidence(world).looks, world.share()) == (1, 50)
    since = START + timedelta(seconds=24)  # the counters may be of a moment before the write
    world.news.append(("errors", Compared(world.now + timedelta(seconds=1), since, 6000, 6000, 3000, 60, {})))
    world.wait(1)
    assert (evidence(world).looks, world.share()) == (1, 50)
    look(world, 6000, 60, 6000, 60)
    assert evidence(world).looks == 2


def test_a_look_waits_for_the_data_plane() -> None:
    """The settle time of the gateways comes before `lag`."""
    world = comparing(settle=timedelta(seconds=30))
    world.wait(31)
    bad(world)
    assert evidence(world).looks == 0
    bad(world)
    assert world.share() == 0


def test_somebody_who_edits_the_route_makes_looks_begin_anew() -> None:
    """Nobody knows what the gateway did in between; what was gathered stays."""
    world = comparing()
    world.wait(5)
    healthy(world)
    world.wait(5)
    since = world.now
    world.edit_route("shop", lambda document: document["spec"].update({"x-note": 1}))
    world.run()
    world.wait(8)
    world.news.append(("errors", Compared(world.now, since, 600, 5400, 300, 54, {})))
    world.run()
    assert (world.share(), evidence(world).looks) == (10, 1)


def test_what_waits_for_the_other_side_is_of_its_weight_alone() -> None:
    """A look at which a side had nothing waits for the next one, but not across a write."""
    world = comparing(check(minRequests=1))
    world.wait(5)
    look(world, 0, 0)
    assert known(world)["waiting"][1:] == [0, 900, 0, 11]
    world.edit_route("shop", lambda document: document["spec"].update({"x-note": 1}))
    world.run()
    assert known(world)["waiting"][1:] == [0, 0, 0, 0]


def test_evidence_for_a_rise_is_fresh() -> None:
    """A look of this step, and of about an interval ago at most."""
    world = comparing()
    world.wait(5)
    for _ in range(5):
        healthy(world)
    world.wait(120)
    assert world.share() == 10
    assert world.decision is not None
    assert "waiting for check errors to be measured again" in world.decision.message
    healthy(world)
    assert world.share() == 50
    world.wait(120)
    assert world.share() == 50
    assert world.decision is not None
    assert "waiting for check errors to be measured" in world.decision.message


# -- where there is nothing to compare ------------------------------------------------------------------------------


def test_who_opts_in_is_no_random_sample() -> None:
    """A step with `match` gives no evidence, and what comes in its time is not judged."""
    match = {**MATCH, "hold": "20s"}
    world = comparing(steps=[match, {"weight": 10, "hold": "20m"}])
    world.wait(5)
    look(world, 100, 50)
    assert state(world).reason == "NotApplicable"
    assert "no random sample" in state(world).message
    world.wait(10)
    assert world.share() == 10
    assert state(world).reason == "NotMeasured"


def test_a_rule_with_a_share_of_its_own_is_not_compared() -> None:
    """Its users chose it."""
    routes = {"shop": route("shop", rule(name="beta"), rule(name="all"))}
    steps = [{"weight": 10, "rules": {"beta": 100}, "hold": "20s"}, {"weight": 50, "hold": "20m"}]
    spec = spec_of(steps=steps, checks=[check()], promotion="Await")
    world = begun(spec=spec, routes=routes)
    assert state(world).reason == "NotApplicable"
    assert "rule beta has a share of its own" in state(world).message


def test_copies_are_a_process_of_their_own() -> None:
    """Alpha is of the whole run, so each process has its part of it; evidence of copies is none of users' requests."""
    world = comparing(steps=[{**MIRROR, "hold": "26s"}, {"weight": 10, "hold": "20m"}])
    world.wait(5)
    look(world, 1000, 15, 5000, 50)
    look(world, 1000, 10, 5000, 50)
    of_copies = evidence(world)
    assert (of_copies.looks, of_copies.alpha) == (2, 0.05)
    assert state(world).message.endswith("of 40 needed")
    world.wait(1)
    assert world.share() == 10
    assert (evidence(world).looks, evidence(world).state) == (0, "")
    world.wait(5)
    bad(world)
    assert world.share() == 0
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.outcome is Outcome.ROLLED_BACK


def test_checks_share_alpha() -> None:
    """One with an alpha of its own has that; the others an even part of what the Rollout declares."""
    world = comparing(check("a", alpha="1%"), check("b"), check("c"), alpha="4%")
    found = {name: state(world, name) for name in "abc"}
    assert [each.evidence.alpha for each in found.values() if each.evidence] == [0.01, 0.02, 0.02]
    assert found["b"].limit == "no more errors than stable (alpha 2 %)"


def test_a_dry_run_is_shown_and_no_more() -> None:
    """Neither its failure nor its silence counts."""
    world = comparing(check(settings={"dryRun": True}), steps=[{"weight": 10, "hold": "30s"}, {"weight": 50}])
    world.wait(5)
    bad(world)
    assert (state(world).verdict, world.share()) == (VerdictKind.FAIL, 10)
    world.wait(20)
    assert world.share() == 50


# -- what becomes of evidence ---------------------------------------------------------------------------------------


def test_evidence_survives_a_restart() -> None:
    """The controller dies, and the next one goes on from what is on record: at most half of the looks are lost."""
    lost, kept = comparing(steps=[{"weight": 10, "hold": "1h"}]), comparing(steps=[{"weight": 10, "hold": "1h"}])
    for world in (lost, kept):
        world.wait(5)
        for _ in range(20):
            healthy(world)
    before = evidence(lost)
    lost.crash()
    lost.run()
    after = evidence(lost)
    assert after.process == before.process
    assert before.looks >= after.looks >= before.looks / 2 > 0
    assert json.loads(after.state)["counts"][0] == after.looks * 100
    healthy(lost)
    assert evidence(lost).looks == after.looks + 1


def test_evidence_costs_few_writes() -> None:
    """By the number of looks, each time it has doubled, and never by what they showed."""
    world = comparing(steps=[{"weight": 10, "hold": "10h"}])
    world.wait(5)
    healthy(world)
    before = len(world.wrote)
    recorded = []
    for number in range(130):
        look(world, 100, 0 if number % 3 else 2)
        found = world.status.check("errors")
        assert found is not None
        assert found.evidence is not None
        recorded.append(found.evidence.looks)
    assert len(world.wrote) - before <= 5
    assert sorted(set(recorded)) == [1, 8, 16, 32, 64, 128]


def test_a_crash_at_the_write_of_the_evidence_costs_looks_and_nothing_else() -> None:
    """Whatever becomes of that write, the run goes on, and its evidence is of looks that were taken."""
    for fault in (Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.LOST, Fault.CONFLICT, Fault.REFUSED):
        world = comparing(steps=[{"weight": 10, "hold": "1h"}])
        world.wait(5)
        for _ in range(7):
            healthy(world)
        world.faults["status"] = fault
        for _ in range(12):
            healthy(world)
        found = evidence(world)
        assert 7 <= found.looks <= 19, fault
        assert known(world)["counts"][0] == found.looks * 100


def test_a_new_run_begins_without_evidence() -> None:
    """What was found of one revision says nothing of the next."""
    world = comparing()
    world.wait(5)
    for _ in range(3):
        look(world, 100, 2)
    before = evidence(world)
    world.revise("c")
    world.run()
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.number == 2
    found = state(world).evidence
    assert found is None or (found.looks, found.state) == (0, "")
    world.wait(6)
    healthy(world)
    assert (evidence(world).looks, evidence(world).process != before.process) == (1, True)


def test_other_counters_begin_without_evidence() -> None:
    """What was read elsewhere is not held against the canary."""
    world = comparing()
    world.wait(5)
    look(world, 100, 2)
    counters = {**COUNTERS, "failures": "all{service='{{ backend.service }}'}"}
    world.declare(checks=[check(prometheus=counters)])
    world.run()
    assert evidence(world).looks == 0


def test_resuming_after_a_failure_begins_anew() -> None:
    """A person who says to go on has seen what was proved; the check may prove it again."""
    world = comparing(onFailure="Pause")
    world.wait(5)
    bad(world)
    assert (world.phase, state(world).verdict) == (Phase.PAUSED, VerdictKind.FAIL)
    world.ask("resume")
    world.run()
    assert world.phase is Phase.PROGRESSING
    world.wait(6)
    healthy(world)
    assert (state(world).verdict, evidence(world).looks) == (VerdictKind.PASS, 1)


def test_a_plan_that_gets_shorter_than_the_run_is_a_new_run() -> None:
    """The step that the run was at is declared no more, and a look at it comes in."""
    world = comparing(steps=[{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "10m"}])
    world.wait(5)
    look(world, 100, 1, seconds=6)
    look(world, 100, 1, seconds=6)
    assert world.share() == 50
    look(world, 100, 1, seconds=9, run=False)
    world.declare(steps=[{"weight": 20, "hold": "10m"}])
    world.run()
    assert world.memory is not None
    assert world.memory.run is not None
    assert (world.memory.run.number, world.share()) == (2, 20)


FORGED = ("", "null", "[]", "{}", '{"worse":[1]}', "x" * 1024, '{"a":' * 200, "1e999", "NaN", '"\\ud800"')


@pytest.mark.parametrize("text", FORGED[1:])
def test_evidence_that_makes_no_sense_counts_as_absent_and_is_told_once(text: str) -> None:
    """Whoever forges a status can delay a check, and nothing else."""
    world = comparing()
    world.wait(5)
    healthy(world)
    forged = evidence(world).model_copy(update={"state": text})
    assert world.memory is not None
    world.memory = world.memory.model_copy(update={"checks": (state(world).model_copy(update={"evidence": forged}),)})
    healthy(world)
    healthy(world)
    assert world.reasons.count(reasons.UNREADABLE_RECORD) == 1
    assert known(world)["counts"][0] == 200
    bad(world)
    assert world.share() == 0


def test_a_forged_time_delays_a_check_by_no_more_than_a_step_does() -> None:
    """Routes that have said what they say since next year: no clock of ours has said that."""
    world = comparing()
    world.wait(5)
    healthy(world)
    forged = evidence(world).model_copy(update={"since": world.now + timedelta(days=300)})
    assert world.memory is not None
    world.memory = world.memory.model_copy(update={"checks": (state(world).model_copy(update={"evidence": forged}),)})
    world.run()
    world.wait(5)
    bad(world)
    assert world.share() == 0


PLAIN: Json = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("look"), st.integers(0, 2000), st.integers(0, 100), st.integers(0, 5000), st.integers(0, 100)),
            st.tuples(st.just("wait"), st.integers(1, 60)),
            st.tuples(st.just("crash")),
            st.tuples(st.just("edit")),
            st.tuples(st.just("unknown")),
            st.tuples(st.just("steps"), st.integers(1, 3)),
            st.tuples(st.just("check"), st.sampled_from([check(), check(tolerance=2), check("more"), PLAIN])),
            st.tuples(st.just("fault"), st.sampled_from(["status", "shop", "rollout"]), st.sampled_from(list(Fault))),
            st.tuples(st.just("revise"), st.sampled_from("cde")),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_whatever_happens_the_promises_hold(script: list[tuple[Any, ...]]) -> None:
    """Crashes, edits, silence and numbers of any kind: no rise without a look of the step, and no crash of a tick."""
    world = comparing(check(minRequests=1), steps=[{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20s"}])
    for number, (what, *args) in enumerate(script):
        match what:
            case "look":
                canary, failed, stable, stable_failed = args
                look(world, canary, min(failed, canary), stable, min(stable_failed, stable))
            case "wait":
                world.wait(*args)
            case "crash":
                world.crash()
                world.run()
            case "edit":
                world.edit_route("shop", lambda document, n=number: document["spec"].update({"x-note": n}))
                world.run()
            case "fault":
                world.faults[args[0]] = args[1]
            case "steps":
                world.declare(steps=STEPS[: args[0]])
                world.run()
            case "check":
                world.news.append(("errors", Compared(world.now, world.now, 9, 9, 1, 1, {})))
                world.declare(checks=[args[0]])
                world.run()
            case "unknown":
                world.news.append(("errors", Unreachable(world.now, "Unreachable", "refused")))
                world.run()
            case "revise":
                world.revise(*args)
                world.run()
