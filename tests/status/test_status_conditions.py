"""Conditions by the Kubernetes conventions, so that `kubectl wait`, Flux and Argo CD understand a Rollout."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canary.decide import reasons
from canary.decide.facts import Facts, Problem, RouteView
from canary.decide.scope import Decision
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.rollout import RouteKind
from canary.model.run_status import Outcome, PauseStatus, RunStatus, StepStatus
from canary.model.status import Condition, Phase, RolloutStatus
from canary.routes.acceptance import Acceptance
from canary.routes.key import RouteKey
from canary.routes.pair import Backend, Pair
from canary.status.conditions import conditions
from canary.status.project import summary, unreadable

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
PAIR = Pair(Backend("s", "team", 80), Backend("c", "team", 80))
ROUTE = RouteView(key=RouteKey(RouteKind.HTTP, "team", "shop"), pair=PAIR, acceptance=Acceptance(accepted=True))
FACTS = Facts(now=NOW, name="shop", uid="u", generation=4, routes=(ROUTE,))


def status(phase: Phase, **more: Any) -> RolloutStatus:
    active = phase in {Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING, Phase.ROLLING_BACK}
    run = RunStatus(number=1, started_at=NOW, reason=more.pop("reason", ""), outcome=more.pop("outcome", None))
    step = StepStatus(index=1, total=2, started_at=NOW) if active else None
    return RolloutStatus(phase=phase, run=run, step=step, message="where it stands", **more)


def said(after: RolloutStatus, facts: Facts = FACTS, reason: str = "Because") -> dict[str, Condition]:
    return {condition.type: condition for condition in conditions(after, Decision(after, reason, ""), facts)}


def paused(reason: str) -> RolloutStatus:
    return status(Phase.PAUSED, paused=PauseStatus(reason=reason, message="why", since=NOW))


KSTATUS = [
    ("at rest", status(Phase.IDLE), "True", "False", "False"),
    ("a release is live", status(Phase.SUCCEEDED), "True", "False", "False"),
    ("a run is under way", status(Phase.PROGRESSING), "False", "True", "False"),
    ("it is promoted", status(Phase.PROMOTING), "False", "True", "False"),
    ("it is being rolled back", status(Phase.ROLLING_BACK), "False", "True", "False"),
    ("it was rolled back", status(Phase.ROLLED_BACK, reason="CheckFailed"), "False", "False", "True"),
    ("it was aborted", status(Phase.ROLLED_BACK, reason=reasons.ABORTED), "False", "False", "False"),
    ("it was put back to stable's", status(Phase.ROLLED_BACK, reason=reasons.SUPERSEDED), "True", "False", "False"),
    ("somebody asked for a pause", paused(reasons.PAUSED_BY_REQUEST), "False", "True", "False"),
    ("the spec asks for a pause", paused(reasons.PAUSED_BY_SPEC), "False", "True", "False"),
    ("somebody lowered the share", paused(reasons.LOWERED_BY_HAND), "False", "True", "True"),
    ("somebody contests the share", paused(reasons.CONTESTED), "False", "True", "True"),
    ("paused by a failed check", paused(reasons.CHECK_FAILED), "False", "True", "True"),
    ("paused by a gateway that does not accept", paused(reasons.NOT_ACCEPTED), "False", "True", "True"),
    ("paused because nobody could say", paused(reasons.HOLD_LIMIT_EXCEEDED), "False", "True", "True"),
    ("the spec is wrong", status(Phase.INVALID), "False", "False", "False"),
]


@pytest.mark.parametrize(
    ("after", "ready", "reconciling", "stalled"), [row[1:] for row in KSTATUS], ids=[row[0] for row in KSTATUS]
)
def test_kstatus(after: RolloutStatus, ready: str, reconciling: str, stalled: str) -> None:
    """Ready: nothing to wait for. Reconciling: it goes on. Stalled: it goes on only if somebody does something."""
    found = said(after)
    assert [found[kind].status for kind in ("Ready", "Reconciling", "Stalled")] == [ready, reconciling, stalled]
    assert all(condition.observed_generation == 4 for condition in found.values())
    assert all(condition.reason for condition in found.values())


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.SUCCEEDED, Phase.INVALID, Phase.PROGRESSING])
def test_a_problem_is_never_ready_and_always_stalled(phase: Phase) -> None:
    """Whatever the phase: what was declared cannot work, and the condition says what to do."""
    facts = replace(FACTS, problems=(Problem("spec.routes[0]", "there is no HTTPRoute shop"), Problem("", "and more")))
    found = said(status(phase), facts)
    assert (found["Ready"].status, found["Stalled"].status) == ("False", "True")
    assert found["Stalled"].message == "spec.routes[0]: there is no HTTPRoute shop; and more"


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    """Reason and message may change every second; `kubectl wait` and alerts count from the transition."""
    first = status(Phase.PROGRESSING)
    first = first.model_copy(update={"conditions": conditions(first, Decision(first, "Holding", ""), FACTS)})
    later = replace(FACTS, now=NOW + timedelta(minutes=5), generation=5)
    second = conditions(first, Decision(first, "AwaitingApproval", ""), later)
    for before, after in zip(first.conditions, second, strict=True):
        assert after.last_transition_time == before.last_transition_time == NOW.replace(microsecond=0)
        assert after.observed_generation == 5
    assert {condition.reason for condition in second} & {"AwaitingApproval"}

    done = first.model_copy(update={"phase": Phase.SUCCEEDED})
    third = {condition.type: condition for condition in conditions(done, Decision(done, "Succeeded", ""), later)}
    moved = {kind for kind, condition in third.items() if condition.last_transition_time > NOW}
    assert moved == {"Ready", "Reconciling"}


def test_conditions_of_a_run_are_gone_when_it_is_over() -> None:
    """At rest nobody keeps them true, so nobody says them."""
    assert set(said(status(Phase.PROGRESSING))) - set(said(status(Phase.IDLE))) == {
        "RoutesAccepted",
        "ChecksPassing",
        "Contested",
    }


@pytest.mark.parametrize(
    ("route", "value", "reason", "message"),
    [
        (ROUTE, "True", "Accepted", ""),
        (replace(ROUTE, acceptance=Acceptance(False, "gw waits")), "False", "Pending", "HTTPRoute shop: gw waits"),
        (replace(ROUTE, acceptance=Acceptance(False, "no", True)), "False", "Refused", "HTTPRoute shop: no"),
        (replace(ROUTE, exists=False), "False", "RouteMissing", "HTTPRoute shop does not exist"),
    ],
)
def test_routes_accepted(route: RouteView, value: str, reason: str, message: str) -> None:
    """Every parent of every route, and who does not."""
    found = said(status(Phase.PROGRESSING), replace(FACTS, routes=(route,)))["RoutesAccepted"]
    assert (found.status, found.reason, found.message) == (value, reason, message)


def check(name: str, verdict: VerdictKind, **more: Any) -> CheckStatus:
    return CheckStatus(name=name, verdict=verdict, reason=f"{name}-{verdict}", message="m", **more)


PASS, FAIL, UNKNOWN = VerdictKind.PASS, VerdictKind.FAIL, VerdictKind.UNKNOWN


@pytest.mark.parametrize(
    ("checks", "value", "reason", "short"),
    [
        ((), "True", "NoChecks", ""),
        ((check("a", PASS),), "True", "Pass", "1/1 pass"),
        ((check("a", PASS), check("b", UNKNOWN)), "Unknown", "b-Unknown", "1/2 unknown"),
        ((check("a", UNKNOWN), check("b", FAIL)), "False", "b-Fail", "1/2 fail"),
        ((check("a", PASS), check("b", FAIL, dry_run=True)), "True", "Pass", "1/1 pass"),
        ((check("b", FAIL, dry_run=True),), "True", "NoChecks", ""),
    ],
)
def test_checks_passing(checks: tuple[CheckStatus, ...], value: str, reason: str, short: str) -> None:
    """Unknown is neither True nor False; a dry run does not count."""
    after = status(Phase.PROGRESSING, checks=checks)
    found = said(after)["ChecksPassing"]
    assert (found.status, found.reason, summary(after)) == (value, reason, short)


def test_contested_says_by_whom() -> None:
    """The message of the pause."""
    found = said(paused(reasons.CONTESTED))["Contested"]
    assert (found.status, found.reason, found.message) == ("True", "Contested", "why")


def test_a_spec_that_cannot_be_read_is_invalid_and_touches_nothing() -> None:
    """A run keeps its phase; at rest the phase is Invalid; conditions of a run are kept as they were."""
    problem = Problem("spec.steps", "too short")
    idle = unreadable(status(Phase.IDLE), problem, 9, NOW)
    assert (idle.phase, idle.observed_generation, idle.message) == (Phase.INVALID, 9, "spec.steps: too short")
    running = status(Phase.PROGRESSING)
    running = running.model_copy(update={"conditions": conditions(running, Decision(running, "x", ""), FACTS)})
    after = unreadable(running, problem, 9, NOW)
    found = {condition.type: condition.status for condition in after.conditions}
    assert after.phase is Phase.PROGRESSING
    assert (found["Stalled"], found["Ready"], found["RoutesAccepted"]) == ("True", "False", "True")
    assert len(found) == len(after.conditions)


def test_a_rolled_back_run_says_why_it_is_stalled() -> None:
    """The reason of the run, not of the last tick."""
    after = status(Phase.ROLLED_BACK, reason="CheckFailed", outcome=Outcome.ROLLED_BACK)
    assert said(after)["Stalled"].reason == "CheckFailed"
