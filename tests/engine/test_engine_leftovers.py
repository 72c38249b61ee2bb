"""What a lost answer can leave behind once a run is over, and that it is taken away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from canary.decide.actions import ForgetPodSpec, RestorePodSpec
from canary.decide.engine import decide
from canary.decide.facts import CopyView, Facts, RouteView, RuleView, WorkloadView
from canary.model.rollout import RolloutSpec
from canary.model.status import Outcome, Phase, RevisionsStatus, RolloutStatus, RunStatus, StepStatus
from canary.model.workloads import DEPLOYMENT
from canary.routes.acceptance import Acceptance
from canary.routes.intent import Intent, Mode, parse_intent
from canary.routes.key import RouteKey
from canary.routes.pair import Backend, Pair, Weights

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = RolloutSpec.model_validate(
    {
        "routes": [{"name": "shop"}],
        "stable": {"service": "s", "port": 80},
        "canary": {"service": "c", "port": 80},
        "workloads": {"stable": {"name": "s"}, "canary": {"name": "c"}},
        "steps": [{"weight": 10}],
    }
)
ROUTE = RouteView(
    key=RouteKey(SPEC.routes[0].kind, "team", "shop"),
    pair=Pair(Backend("s", "team", 80), Backend("c", "team", 80)),
    generation=1,
    rules=(RuleView("#0", Weights(1, 0)),),
    acceptance=Acceptance(accepted=True),
)


def facts(*, copied: bool = False, route: RouteView = ROUTE) -> Facts:
    return Facts(
        now=NOW,
        name="shop",
        uid="u",
        generation=1,
        finalizer=True,
        routes=(route,),
        stable=WorkloadView(
            "s",
            exists=True,
            revision="b",
            ready=1,
            rolled_out=True,
            copied=CopyView("u", 1, "b", "a") if copied else None,
        ),
        canary=WorkloadView("c", exists=True, revision="b", ready=1, rolled_out=True),
    )


def after(outcome: Outcome | None) -> RolloutStatus:
    phases = {None: Phase.IDLE, Outcome.SUCCEEDED: Phase.SUCCEEDED, Outcome.ROLLED_BACK: Phase.ROLLED_BACK}
    run = RunStatus(number=1, revision="b", started_at=NOW, outcome=outcome) if outcome else None
    return RolloutStatus(phase=phases[outcome], run=run, revisions=RevisionsStatus(settled="b"))


@pytest.mark.parametrize(
    ("outcome", "action"),
    [
        (Outcome.ROLLED_BACK, RestorePodSpec("s", DEPLOYMENT)),
        (None, ForgetPodSpec("s", DEPLOYMENT)),
        (Outcome.SUCCEEDED, ForgetPodSpec("s", DEPLOYMENT)),
    ],
)
def test_a_copy_that_took_effect_too_late(outcome: Outcome | None, action: object) -> None:
    """After a run that was lost stable gets its own pod spec back; after one that was won, or that nobody remembers, only
    the trace of the copy goes: what runs there may be what somebody wants."""
    assert action in decide(SPEC, after(outcome), facts(copied=True)).actions
    assert action not in decide(SPEC, after(outcome), facts(copied=False)).actions


def test_a_restart_learns_from_the_route_why_a_run_rolls_back() -> None:
    """The status write that said why was lost; the route's annotation says it too, through its text."""
    written = Intent(
        rollout="shop",
        uid="u",
        run=1,
        mode=Mode.ROLLBACK,
        step=1,
        weights={"#0": Weights(1, 0)},
        baseline={"#0": Weights(1, 0)},
        reason="CheckFailed",
        message="check error-rate failed: 0.5 is above 0.01",
    )
    read = parse_intent(written.dump())
    assert read == written
    status = RolloutStatus(
        phase=Phase.PROGRESSING,
        run=RunStatus(number=1, revision="b", plan=SPEC.plan_hash(), started_at=NOW),
        step=StepStatus(index=1, total=1, started_at=NOW),
    )
    decision = decide(SPEC, status, facts(route=replace(ROUTE, intent=read)))
    assert decision.phase is Phase.ROLLING_BACK
    assert decision.status.run is not None
    assert (decision.status.run.reason, decision.status.run.message) == (written.reason, written.message)
