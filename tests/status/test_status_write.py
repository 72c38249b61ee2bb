"""When a status is worth a write, and the smallest patch that makes it so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.decide import reasons
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.route_status import RouteStatus, SplitStatus
from canary.model.run_status import Outcome, PauseStatus, RunStatus, StepStatus
from canary.model.status import Condition, Phase, RequestOutcome, RequestStatus, RolloutStatus
from canary.model.workload_status import RevisionsStatus, ScaleStatus
from canary.status.write import STEP_BUDGET, Urgency, merge_patch, urgency

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# A null means absent in a merge patch, so a status never holds one.
documents = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from("abcd"), documents, max_size=4)


def apply(document: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key), value)
    return result


@given(objects, objects)
def test_the_patch_leads_to_the_target(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Applying it yields exactly the other document."""
    assert apply(before, merge_patch(before, after)) == after


@given(objects)
def test_equal_documents_need_no_patch(document: dict[str, Any]) -> None:
    """An empty patch is not sent."""
    assert merge_patch(document, document) == {}


@given(objects, objects)
def test_the_patch_says_nothing_twice(before: dict[str, Any], after: dict[str, Any]) -> None:
    """No member of it can be left out."""
    patch = merge_patch(before, after)
    for key in patch:
        rest = {name: value for name, value in patch.items() if name != key}
        assert apply(before, rest) != after


def condition(kind: str, status: str, reason: str = "Holding") -> Condition:
    return Condition(type=kind, status=status, last_transition_time=NOW, reason=reason)


RUN = RunStatus(number=1, started_at=NOW)
STEP = StepStatus(index=1, total=3, started_at=NOW, reached_at=NOW)
GOOD = CheckStatus(
    name="a", verdict=VerdictKind.PASS, reason="WithinThreshold", measured_at=NOW + timedelta(seconds=1), value=0.1
)
BASE = RolloutStatus(
    phase=Phase.PROGRESSING,
    run=RUN,
    step=STEP,
    split=SplitStatus(desired=10, written=10, accepted=10),
    checks=(GOOD,),
    message="holding",
    routes=(RouteStatus(kind="HTTPRoute", name="shop", owned=True),),
    conditions=(condition("Ready", "False"), condition("Reconciling", "True"), condition("Stalled", "False")),
)
NOT_YET = BASE.model_copy(update={"checks": ()})


def changed(**changes: Any) -> RolloutStatus:
    return BASE.model_copy(update=changes)


AT_ONCE = [
    ("a phase", changed(phase=Phase.PAUSED)),
    ("an outcome", changed(run=RUN.model_copy(update={"outcome": Outcome.ROLLED_BACK}))),
    ("another run", changed(run=RUN.model_copy(update={"number": 2}))),
    ("promote-full", changed(run=RUN.model_copy(update={"full": True}))),
    ("an approval", changed(step=STEP.model_copy(update={"approved": True}))),
    ("a pause", changed(paused=PauseStatus(reason="x", since=NOW))),
    ("a request", changed(last_request=RequestStatus(id="1", verb="abort", at=NOW, outcome=RequestOutcome.DONE))),
    ("a fight", changed(overrides=(NOW,))),
    ("roles", changed(swapped=True)),
    ("that roles are known", changed(roles_known=True)),
    ("a revision", changed(revisions=RevisionsStatus(canary="b"))),
    ("a failed check", changed(checks=(GOOD.model_copy(update={"verdict": VerdictKind.FAIL, "failures": 1}),))),
    ("a check that is unknown now", changed(checks=(GOOD.model_copy(update={"verdict": VerdictKind.UNKNOWN}),))),
    (
        "a check that has had no turn yet",
        changed(
            checks=(GOOD.model_copy(update={"verdict": VerdictKind.UNKNOWN, "reason": "Queued", "measured_at": None}),)
        ),
    ),
    ("the generation", changed(observed_generation=2)),
    ("stalled", changed(conditions=(*BASE.conditions[:2], condition("Stalled", "True")))),
    (
        "somebody has to approve",
        changed(
            conditions=(
                BASE.conditions[0],
                condition("Reconciling", "True", reasons.AWAITING_APPROVAL),
                BASE.conditions[2],
            )
        ),
    ),
    (
        "the next step, accepted already",
        changed(step=STEP.model_copy(update={"index": 2}), split=SplitStatus(desired=50, written=50, accepted=50)),
    ),
]


@pytest.mark.parametrize("after", [row[1] for row in AT_ONCE], ids=[row[0] for row in AT_ONCE])
def test_what_somebody_waits_for_is_written_at_once(after: RolloutStatus) -> None:
    """However many writes the step has had."""
    assert urgency(BASE, after, STEP_BUDGET + 5) is Urgency.NOW


QUIET = [
    ("nothing", BASE),
    ("a message", changed(message="holding until later")),
    ("a value", changed(checks=(GOOD.model_copy(update={"value": 0.2, "measured_at": NOW + timedelta(seconds=9)}),))),
    (
        "a check that waits for its turn now and then",
        changed(checks=(GOOD.model_copy(update={"verdict": VerdictKind.UNKNOWN, "reason": "Queued"}),)),
    ),
    ("what was observed", changed(split=BASE.split.model_copy(update={"observed": 9.7}))),
    ("the reason of a condition", changed(conditions=(condition("Ready", "False", "Other"), *BASE.conditions[1:]))),
    ("when the hold ends", changed(step=STEP.model_copy(update={"hold_until": NOW}))),
]


@pytest.mark.parametrize("after", [row[1] for row in QUIET], ids=[row[0] for row in QUIET])
def test_what_merely_moves_rides_along(after: RolloutStatus) -> None:
    """Not worth a write of its own."""
    assert urgency(BASE, after, 0) is Urgency.NONE


def windowed(recent: str) -> RolloutStatus:
    return changed(
        checks=(GOOD.model_copy(update={"failures": recent.count("x"), "failure_window": 10, "recent": recent}),)
    )


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("...", "....", Urgency.NONE),  # nothing failed: a crash costs nothing
        ("x", "x.", Urgency.NONE),
        ("x.", "x..", Urgency.NOW),  # a fifth of the window
        ("x........", "x.........", Urgency.NONE),
        ("x.........", "..........", Urgency.NOW),  # it went
        (".x......x.", "x......x..", Urgency.NOW),
    ],
)
def test_a_window_with_a_failure_in_it_is_kept(before: str, after: str, found: Urgency) -> None:
    """At most five writes for each failure, and a crash makes it look younger by a fifth of the window at most."""
    assert urgency(windowed(before), windowed(after), STEP_BUDGET + 5) is found


def test_a_step_waits_a_moment_for_the_gateways() -> None:
    """They mostly accept at once, and then one write says both."""
    after = changed(
        step=STEP.model_copy(update={"index": 2, "reached_at": None}),
        split=SplitStatus(desired=50, written=50, accepted=10),
    )
    assert urgency(BASE, after, 0) is Urgency.SETTLING


def ended(**changes: Any) -> RolloutStatus:
    """A run whose outcome is on record, and whose traffic is on its way back."""
    run = BASE.run
    assert run is not None
    over = run.model_copy(update={"outcome": Outcome.ROLLED_BACK, "reason": reasons.CHECK_FAILED, "ended_at": NOW})
    before = {"run": over, "phase": Phase.ROLLING_BACK, "split": SplitStatus(desired=0, written=10, accepted=10)}
    return changed(**before | changes)


def test_an_end_that_has_arrived_is_written_with_its_release() -> None:
    """A thousand that end at once do not all write that they are about to have ended. What is awaited is written as ever."""
    arrived = ended(split=SplitStatus(desired=0, written=0, accepted=0))
    assert urgency(ended(), arrived, 0) is Urgency.RELEASING
    assert urgency(ended(), ended(split=SplitStatus(desired=0, written=0, accepted=10)), 0) is Urgency.SETTLING
    assert urgency(BASE, arrived, 0) is Urgency.NOW  # the outcome is not on record yet
    assert urgency(ended(), ended(phase=Phase.ROLLED_BACK), 0) is Urgency.NOW
    assert Urgency.SETTLING.patience < Urgency.RELEASING.patience


def test_a_steps_evidence_is_one_write_within_the_budget() -> None:
    """All checks have spoken: worth a write, once, and only while the budget lasts."""
    assert urgency(NOT_YET, BASE, 1) is Urgency.NOW
    assert urgency(NOT_YET, BASE, STEP_BUDGET) is Urgency.NONE


def test_a_message_at_rest_is_written() -> None:
    """At rest there is no next step that would bring it along."""
    idle = RolloutStatus(phase=Phase.IDLE, message="a")
    assert urgency(idle, idle.model_copy(update={"message": "b"}), 9) is Urgency.NOW


def test_why_a_revision_is_not_known_is_written_once_it_stays_so() -> None:
    """First nobody has read what it includes, then it is known what of that cannot be read."""

    def waits(reason: str, message: str) -> RolloutStatus:
        return RolloutStatus(
            phase=Phase.PROGRESSING, message=message, conditions=(condition("Reconciling", "True", reason),)
        )

    reading, denied = (waits(reasons.REVISION_UNKNOWN, words) for words in ("not read yet", "no right"))
    assert urgency(reading, denied, 0) is Urgency.SETTLING
    assert urgency(denied, denied, 0) is Urgency.NONE
    assert urgency(waits(reasons.HOLDING, "until 12:00"), waits(reasons.HOLDING, "until 12:01"), 0) is Urgency.NONE


def test_what_was_written_is_no_news() -> None:
    """The record has milliseconds, and what holds has more: a status that was written is not written again and again."""
    finer = NOW + timedelta(microseconds=651174)
    run = RunStatus(number=1, started_at=NOW, unavailable_since=finer, outages=1)
    scale = ScaleStatus(workload="canary", drained_since=finer)
    for status in (
        RolloutStatus(phase=Phase.PROGRESSING, run=run),
        RolloutStatus(phase=Phase.ROLLED_BACK, run=run, scale=scale),
    ):
        recorded = RolloutStatus.load(status.dump())
        assert recorded != status
        assert urgency(recorded, status, 0) is Urgency.NONE
