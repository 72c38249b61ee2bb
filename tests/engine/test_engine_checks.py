"""Promise 4: unknown is not bad, and not good. And what a verdict needs to be one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import START, World, begun, spec_of

from canary.checks.condition import weighed
from canary.checks.resolve import resolve
from canary.decide import reasons
from canary.decide.verdict import judge
from canary.model.check_status import VerdictKind
from canary.model.checks import Check
from canary.model.evolution import settled_by
from canary.model.measurement import Sample, Weighed
from canary.model.run_status import Outcome, StepStatus
from canary.model.status import Phase

NOT_KNOWING = ("NoData", "Unreachable", "Malformed", "nan", "inf", "-inf")


def check(**more: Any) -> dict[str, Any]:
    return {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "holdLimit": "2m", **more}


def world_with(*checks: dict[str, Any], **more: Any) -> World:
    return begun(spec=spec_of(checks=list(checks), **more))


SHORT: list[dict[str, Any]] = [{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "5s"}]


def state(world: World) -> StepStatus:
    assert world.memory is not None
    assert world.memory.step is not None
    return world.memory.step


def reason(world: World) -> str:
    assert world.decision is not None
    return world.decision.reason


def verdict(world: World) -> tuple[VerdictKind, str]:
    assert world.memory is not None
    found = world.memory.check("errors")
    assert found is not None
    return found.verdict, found.reason


@pytest.mark.parametrize("value", NOT_KNOWING)
def test_not_knowing_holds_the_weight_where_it_is(value: str) -> None:
    """Measured, in time, and still no evidence: the weight neither rises nor falls until the hold limit."""
    world = world_with(check())
    world.measure(value)
    world.wait(100)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    assert world.decision is not None
    assert world.decision.reason == reasons.CHECKS_UNKNOWN
    world.wait(30)
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(NOT_KNOWING), st.integers(1, 30)), min_size=1, max_size=12))
def test_no_sequence_of_unknowns_moves_the_weight(script: list[tuple[str, int]]) -> None:
    """Whatever mix of not knowing: within the hold limit nothing moves, after it the policy applies."""
    world = world_with(check(holdLimit="3m"))
    first = world.now
    for value, seconds in script:
        world.measure(value)
        world.wait(seconds)
        over = (world.now - first).total_seconds() >= 180
        assert world.share() == (0 if over else 10)
        if over:
            break


@pytest.mark.parametrize(
    ("policy", "values", "expected"),
    [
        ("Pass", ("NoData",), (VerdictKind.PASS, "NoData")),
        ("Fail", ("NoData",), (VerdictKind.FAIL, "NoData")),
        ("Hold", ("NoData",), (VerdictKind.UNKNOWN, "NoData")),
    ],
)
def test_on_no_data(policy: str, values: tuple[str, ...], expected: tuple[VerdictKind, str]) -> None:
    """An empty answer means what is declared; an error does not borrow that policy."""
    world = world_with(check(onNoData=policy, failureLimit=5))
    for value in values:
        world.measure(value)
    world.run()
    assert verdict(world) == expected
    world.wait(1)
    world.measure("Unreachable")
    world.run()
    assert verdict(world) == (VerdictKind.UNKNOWN, "Unreachable")


@pytest.mark.parametrize(("value", "reason"), [("Unreachable", "Unreachable"), ("Malformed", "SeveralSeries"), ("nan", "NotANumber")])  # fmt: skip
@pytest.mark.parametrize(("policy", "kind"), [("Pass", VerdictKind.PASS), ("Fail", VerdictKind.FAIL)])
def test_on_error(policy: str, kind: VerdictKind, value: str, reason: str) -> None:
    """The same for whatever is broken."""
    world = world_with(check(onError=policy, failureLimit=5))
    world.measure(value)
    world.run()
    assert verdict(world) == (kind, reason)


@pytest.mark.parametrize("tolerated", [0, 1, 3])
def test_the_failure_limit_counts_failures_in_a_row(tolerated: int) -> None:
    """One more than is tolerated; a pass begins the count anew, an unknown does not."""
    world = world_with(check(failureLimit=tolerated))
    script: list[float | str] = [*([1.0] * tolerated), 0.0, *([1.0] * tolerated), "NoData"]
    for value in script:
        world.measure(value)
        world.run()
        world.wait(1)
        assert world.share() == 10
    world.measure(1.0)
    world.tick()
    assert world.share() == 0


def test_a_tolerated_failure_holds() -> None:
    """It is not evidence either: the weight stays until the check passes."""
    world = world_with(check(failureLimit=1))
    world.measure(1.0)
    world.wait(60)
    assert world.share() == 10
    assert world.decision is not None
    assert world.decision.reason == reasons.CHECKS_OBJECT
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def test_a_dry_run_neither_holds_nor_fails() -> None:
    """Measured and shown, and that is all."""
    world = world_with(check(), check(name="shown", dryRun=True))
    for value in ("NoData", 1.0):
        world.measure(value, "shown")
        world.run()
        world.wait(1)
    world.measure(0.0, "errors")
    world.wait(10)
    assert world.share() == 50


def test_evidence_is_of_this_step() -> None:
    """A pass of the step before opens no step: every check speaks again."""
    world = world_with(check())
    world.pass_step()
    assert world.share() == 50
    world.wait(600)
    assert world.share() == 50
    assert world.decision is not None
    assert world.decision.reason == reasons.AWAITING_VERDICTS
    world.measure(0.0)
    world.run()
    assert world.share() == 100


def test_evidence_is_of_a_data_plane_that_has_followed() -> None:
    """Acceptance is the gateway's word: what is measured within the settle time after it may be of the old weights."""
    world = begun(spec=spec_of(checks=[check(interval="5s")], steps=SHORT), settle=timedelta(seconds=8))
    assert state(world).settled_at == world.now + timedelta(seconds=8)
    world.wait(7)
    world.measure(0.0)
    world.run()
    assert (world.share(), reason(world)) == (10, reasons.AWAITING_VERDICTS)
    world.wait(1)
    assert world.share() == 10
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def test_what_fails_while_a_data_plane_settles_fails() -> None:
    """Bad numbers are the canary's at any share: none is forgiven because it comes early."""
    world = begun(spec=spec_of(checks=[check()], steps=SHORT), settle=timedelta(seconds=60))
    world.measure(1.0)
    world.tick()
    assert world.share() == 0


@pytest.mark.parametrize("forged", [-1, 601, 10**7])
def test_no_record_makes_evidence_wait_for_ever(forged: int) -> None:
    """Where the record says that a step settled before it was reached, or much later, it settles as gateways do."""
    world = begun(spec=spec_of(checks=[check()], steps=SHORT), settle=timedelta(seconds=2))
    reached = state(world).reached_at
    assert reached is not None
    world.memory = world.memory.model_copy(
        update={"step": settled_by(state(world), reached + timedelta(seconds=forged))}
    )
    world.wait(5)
    assert state(world).settled_at == reached + timedelta(seconds=2)
    world.measure(0.0)
    world.run()
    assert world.share() == 50


def test_every_check_must_speak() -> None:
    """One that was not measured yet is as good as unknown, without end: it has no hold limit to run out."""
    world = world_with(check(), check(name="latency"))
    world.measure(0.0, "errors")
    world.wait(1200)
    assert (world.share(), world.phase) == (10, Phase.PROGRESSING)


def test_an_older_measurement_changes_nothing() -> None:
    """Answers may overtake each other."""
    world = world_with(check(failureLimit=0))
    world.measure(1.0)
    late = world.news.pop()
    world.wait(2)
    world.measure(0.0)
    world.run()
    world.news.append(late)
    world.run()
    assert verdict(world)[0] is VerdictKind.PASS


def test_the_hold_limit_counts_from_the_first_unknown() -> None:
    """A pass in between begins it anew."""
    world = world_with(check(), steps=[{"weight": 10, "hold": "1h"}])
    for _ in range(3):
        world.measure("NoData")
        world.wait(100)
        world.measure(0.0)
        world.wait(5)
    assert world.phase is Phase.PROGRESSING
    world.measure("NoData")
    world.wait(121)
    assert world.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize("on_failure", ["Rollback", "Pause"])
def test_a_check_whose_template_is_gone_is_unknown_and_resolved_as_any_other(
    remembers: bool, restarted: bool, on_failure: str
) -> None:
    """It is not absent: it holds, says why, and is resolved by holdLimit and onFailure."""
    world = world_with(check(), onFailure=on_failure)
    world.measure(0.0)
    world.run()
    share = world.share()
    world.lost, world.remembers = frozenset({"errors"}), remembers
    world.run()
    if restarted:
        world.crash()
        world.remembers = False
    world.wait(100)
    assert (verdict(world), world.share()) == ((VerdictKind.UNKNOWN, "TemplateNotFound"), share)
    said = {one.type: one for one in world.status.conditions}["ChecksPassing"]
    assert (said.status, said.reason) == ("Unknown", "TemplateNotFound")
    world.wait(30)
    if on_failure == "Pause":
        assert (world.phase, world.share()) == (Phase.PAUSED, share)
        assert world.status.paused is not None
        assert world.status.paused.reason == reasons.HOLD_LIMIT_EXCEEDED
        return
    assert (world.phase, world.share()) == (Phase.INVALID, 0)
    assert world.status.run is not None
    assert (world.status.run.outcome, world.status.run.reason) == (Outcome.ROLLED_BACK, reasons.HOLD_LIMIT_EXCEEDED)


@pytest.mark.parametrize("failures", [{"failureLimit": 2}, {"failures": "3 of 5"}])
def test_what_was_counted_is_kept_while_a_template_is_gone(failures: dict[str, Any]) -> None:
    """To take it away and to bring it back makes nothing good."""
    world = world_with(check(**failures))
    for number in (1, 2):
        world.measure(1.0)
        world.run()
        world.lost = frozenset({"errors"})
        world.measure(0.0)  # on its way since it was there
        world.wait(5)
        assert world.memory is not None
        assert [one.failures for one in world.memory.checks] == [number]
        world.lost = frozenset()
        world.wait(5)
    assert world.share() > 0
    world.measure(1.0)
    world.tick()
    assert world.share() == 0


@pytest.mark.parametrize("remembers", [True, False])
def test_a_dry_run_whose_template_is_gone_is_one_still(remembers: bool) -> None:
    """Its template may have said so: that is on record."""
    world = world_with(check(dryRun=True))
    world.measure(0.0)
    world.run()
    world.lost, world.remembers = frozenset({"errors"}), remembers
    document = world.spec.model_dump(by_alias=True, exclude_defaults=True)
    del document["checks"][0]["dryRun"]
    world.spec = type(world.spec).model_validate(document)
    world.run()
    if not remembers:
        world.crash()
    world.wait(1000)
    assert world.phase is Phase.PROGRESSING
    assert world.share() > 0


EDITS: dict[str, dict[str, Any]] = {
    "the limit": {"threshold": {"max": "2%"}},
    "the query": {"prometheus": {"query": "q2"}},
    "the window": {"window": "5m"},
    "another limit besides": {"threshold": {"min": "0", "max": "1%"}},
    "what no data means": {"onNoData": "Pass"},
}


def edited(world: World, *checks: dict[str, Any]) -> None:
    document = world.spec.model_dump(by_alias=True, exclude_defaults=True)
    document["checks"] = [*checks]
    world.spec = type(world.spec).model_validate(document)


@pytest.mark.parametrize("crash", [False, True], ids=["the same controller", "another controller"])
@pytest.mark.parametrize("edit", EDITS)
def test_what_passed_before_it_was_edited_lets_nothing_rise(edit: str, crash: bool) -> None:
    """A pass is of what was asked, and of what it was held against: a step is left by what is declared now."""
    world = world_with(check(), steps=SHORT)
    world.measure(0.0)
    world.run()
    assert verdict(world) == (VerdictKind.PASS, "WithinThreshold")
    edited(world, check() | EDITS[edit])
    world.measure(0.0)  # asked for before the edit was seen
    world.run()
    if crash:
        world.crash()
    world.wait(30)
    assert world.share() == 10
    assert verdict(world) == (VerdictKind.UNKNOWN, "NotMeasured")
    assert reason(world) == reasons.AWAITING_VERDICTS
    world.measure(0.0)
    world.run()
    assert world.share() == 50


@pytest.mark.parametrize(
    "more",
    [{"interval": "20s"}, {"initialDelay": "1s"}, {"holdLimit": "9m"}, {"failureLimit": 3}, {"failures": "2 of 4"}],
)
def test_how_often_it_is_measured_is_no_matter_of_what_it_said(more: dict[str, Any]) -> None:
    """Nor is how many may fail: what passed has passed."""
    world = world_with(check(), steps=SHORT)
    world.measure(0.0)
    world.run()
    edited(world, check(**more))
    world.wait(10)
    assert world.share() == 50


@pytest.mark.parametrize("failures", [{"failureLimit": 2}, {"failures": "3 of 5"}])
def test_what_failed_before_it_was_edited_counts_on(failures: dict[str, Any]) -> None:
    """To write its query anew makes nothing good."""
    world = world_with(check(**failures))
    for number in (1, 2):
        world.measure(1.0)
        world.run()
        edited(world, check(prometheus={"query": f"q{number}"}, **failures))
        world.wait(5)
        assert world.memory is not None
        assert [(one.verdict, one.failures) for one in world.memory.checks] == [(VerdictKind.FAIL, number)]
    world.measure(1.0)
    world.run()
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


def test_a_record_without_a_definition_is_believed() -> None:
    """An earlier version did not say what its verdicts were of."""
    world = world_with(check(), steps=SHORT)
    world.measure(0.0)
    world.run()
    assert world.memory is not None
    old = tuple(one.model_copy(update={"definition": ""}) for one in world.memory.checks)
    world.memory = world.memory.model_copy(update={"checks": old})
    world.wait(10)
    assert world.share() == 50


def test_checks_have_nothing_to_say_before_there_is_traffic() -> None:
    """An approval at 0 %: no measurement is waited for, and a stray one does no harm."""
    world = begun(spec=spec_of(checks=[check()], steps=[{"approval": {}}, {"weight": 10}]))
    world.measure(1.0)
    world.run()
    assert (world.phase, world.share()) == (Phase.PAUSED, 0)
    world.ask("promote")
    world.run()
    assert world.share() == 10


def judged(document: dict[str, Any], value: float) -> tuple[VerdictKind, str]:
    """What one measurement makes of a check, after its condition was evaluated."""
    resolved = resolve(Check.model_validate(document), None, "")
    sample = Sample(value, START)
    if resolved.judge.expression is not None:
        sample = replace(sample, weighed=weighed(resolved.judge.expression, sample))
    found = judge(resolved, None, sample)
    return found.verdict, found.reason


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("value < 0.5", 0.1, (VerdictKind.PASS, "ConditionHolds")),
        ("value < 0.5", 0.9, (VerdictKind.FAIL, "ConditionBroken")),
        ("values.all(v, v < 0.5)", 0.1, (VerdictKind.PASS, "ConditionHolds")),
        ("value", 0.1, (VerdictKind.UNKNOWN, "ConditionError")),
        ("colour == 'red'", 0.1, (VerdictKind.UNKNOWN, "ConditionError")),
        ("value <", 0.1, (VerdictKind.UNKNOWN, "ConditionError")),
        ("values.all(v, values.all(w, v < w))", 0.1, (VerdictKind.UNKNOWN, "ConditionTooExpensive")),
    ],
)
def test_conditions(condition: str, value: float, expected: tuple[VerdictKind, str]) -> None:
    """CEL over `value` and `values`; one that cannot be evaluated is an error, and no verdict."""
    document = {"name": "errors", "prometheus": {"query": "q"}, "condition": condition}
    assert judged(document, value) == expected


@pytest.mark.parametrize("policy", ["Hold", "Pass", "Fail"])
@pytest.mark.parametrize("said", [None, Weighed("value < 0.9", True), Weighed("value < 0.9", False)])
def test_a_condition_that_was_not_evaluated_is_no_verdict(said: Weighed | None, policy: str) -> None:
    """A sample without an answer to this very condition (it was edited meanwhile) is Unknown, whatever the policy is."""
    document = {"name": "errors", "prometheus": {"query": "q"}, "condition": "value < 0.5", "onError": policy}
    found = judge(resolve(Check.model_validate(document), None, ""), None, Sample(0.1, START, weighed=said))
    assert (found.verdict, found.reason, found.value) == (VerdictKind.UNKNOWN, "ConditionNotEvaluated", 0.1)


@pytest.mark.parametrize(
    ("policy", "kind"), [("Hold", VerdictKind.UNKNOWN), ("Pass", VerdictKind.PASS), ("Fail", VerdictKind.FAIL)]
)
def test_on_error_says_what_a_condition_without_a_value_means(policy: str, kind: VerdictKind) -> None:
    """An index out of bounds is an error like an ambiguous answer, and resolved as declared."""
    document = {"name": "errors", "prometheus": {"query": "q"}, "condition": "values[1] < 0.5", "onError": policy}
    assert judged(document, 0.1) == (kind, "ConditionError")


@pytest.mark.parametrize(
    ("threshold", "value", "kind", "reason"),
    [
        ({"max": "1%"}, 0.01, VerdictKind.PASS, "WithinThreshold"),
        ({"max": "1%"}, 0.010001, VerdictKind.FAIL, "AboveMax"),
        ({"max": "0.1"}, 0.1, VerdictKind.PASS, "WithinThreshold"),
        ({"max": "300ms"}, 0.3, VerdictKind.PASS, "WithinThreshold"),
        ({"max": "1%", "min": "0.5%"}, 0.004, VerdictKind.FAIL, "BelowMin"),
        ({"max": 0}, 0.0, VerdictKind.PASS, "WithinThreshold"),
        ({"max": 0}, -0.0, VerdictKind.PASS, "WithinThreshold"),
    ],
)
def test_bounds_are_inclusive(threshold: dict[str, Any], value: float, kind: VerdictKind, reason: str) -> None:
    """Exactly at the bound is good, whatever floats make of it."""
    assert judged(check(threshold=threshold), value) == (kind, reason)


def test_what_a_verdict_rests_on_is_kept() -> None:
    """Value, limit, time: for `canary explain`."""
    world = world_with(check())
    world.wait(3)
    world.measure(0.002)
    world.run()
    (kept,) = world.status.checks
    assert (kept.value, kept.limit, kept.measured_at, kept.message) == (
        0.002,
        "<= 0.01",
        world.now,
        "0.002 is within <= 0.01",
    )


def test_a_rolled_back_run_keeps_what_the_checks_said() -> None:
    """People look at it afterwards."""
    world = world_with(check())
    world.measure(0.5)
    world.run()
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK
    assert [(kept.name, kept.verdict, kept.value) for kept in world.status.checks] == [
        ("errors", VerdictKind.FAIL, 0.5)
    ]
