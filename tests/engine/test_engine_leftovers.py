"""What a lost answer can leave behind once a run is over, and that it is taken away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from promises import duplicate
from world import Json, World, begun

from canary.decide import reasons
from canary.decide.actions import ForgetPodSpec, RestorePodSpec
from canary.decide.engine import decide
from canary.decide.facts import CopyView, Facts, RouteView, RuleView, WorkloadView
from canary.model.rollout import RolloutSpec
from canary.model.run_status import CopyStatus, Outcome, RunStatus, StepStatus
from canary.model.status import Phase, RolloutStatus
from canary.model.workload_status import RevisionsStatus
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


BOOK = CopyStatus(kind=DEPLOYMENT, workload="s", replaced="a")


def after(outcome: Outcome | None, book: CopyStatus | None = BOOK) -> RolloutStatus:
    phases = {None: Phase.IDLE, Outcome.SUCCEEDED: Phase.SUCCEEDED, Outcome.ROLLED_BACK: Phase.ROLLED_BACK}
    run = RunStatus(number=1, revision="b", replaces="a", copied=book, started_at=NOW, outcome=outcome)
    run = run if outcome else None
    return RolloutStatus(phase=phases[outcome], run=run, revisions=RevisionsStatus(settled="b"))


@pytest.mark.parametrize("book", [BOOK, None], ids=["on record", "of an earlier version"])
@pytest.mark.parametrize(
    ("outcome", "action"),
    [
        (Outcome.ROLLED_BACK, RestorePodSpec("s", DEPLOYMENT, 1, "b", "a")),
        (None, ForgetPodSpec("s", DEPLOYMENT)),
        (Outcome.SUCCEEDED, ForgetPodSpec("s", DEPLOYMENT)),
    ],
)
def test_a_copy_that_took_effect_too_late(outcome: Outcome | None, action: object, book: CopyStatus | None) -> None:
    """After a run that was lost stable gets its own pod spec back; after one that was won, or that nobody remembers, only
    the trace of the copy goes: what runs there may be what somebody wants."""
    assert action in decide(SPEC, after(outcome, book), facts(copied=True)).actions
    assert action not in decide(SPEC, after(outcome, book), facts(copied=False)).actions


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


# -- an annotation that is applied again and again ------------------------------------------------------------------


def exported() -> tuple[World, Callable[[], None]]:
    """A run that was rolled back, and a GitOps tool that has its route as it was in the middle of it."""
    world = begun()
    world.wait(1)
    in_git = duplicate(world.routes["shop"])
    world.measure(0.5)
    world.run()
    world.wait(70)
    assert world.phase is Phase.ROLLED_BACK
    assert not world.annotated()

    def sync() -> None:
        def change(document: Json) -> None:
            document["spec"] = duplicate(in_git)["spec"]
            document["metadata"]["annotations"] = duplicate(in_git)["metadata"]["annotations"]

        world.edit_route("shop", change)
        world.run()

    return world, sync


def test_an_annotation_in_git_is_put_back_at_a_pace() -> None:
    """The first times at once and with a word, from then on every ten seconds at most and without one."""
    world, sync = exported()
    before = len(world.told)
    for _ in range(40):
        sync()
        world.wait(3)
    told = [tell for tell in world.told[before:] if tell.reason == reasons.LEFTOVER]
    assert len(told) == 3
    assert "take it out of what is applied" in told[-1].message
    assert len(world.told) - before == 3
    writes = [what for what, _ in world.wrote if what == "route"]
    assert len(writes) <= 2 + 3 + 12 + 1
    world.wait(10)
    assert not world.annotated()
    assert world.share() == 0


@pytest.mark.parametrize("crash", [False, True])
def test_no_run_begins_before_what_is_left_is_put_back(crash: bool) -> None:
    """Also while that waits."""
    world, sync = exported()
    for _ in range(4):
        sync()
        world.now += timedelta(seconds=2)
    sync()
    assert world.annotated()
    if crash:
        world.crash()
    world.revise("c")
    world.run()
    assert world.status.run is not None
    assert world.status.run.number == 1
    world.wait(12)
    assert world.status.run.number == 2


def test_times_that_are_forged_delay_nothing() -> None:
    """A status that says that something was put back tomorrow says nothing."""
    world, sync = exported()
    world.recorded["overrides"] = ["2999-01-01T00:00:00Z"] * 3
    world.crash()
    sync()
    assert not world.annotated()


def test_what_is_put_back_now_and_then_is_told_each_time() -> None:
    """Three in ten minutes is often; less is not."""
    world, sync = exported()
    before = len(world.told)
    for _ in range(6):
        sync()
        assert not world.annotated()
        world.wait(300)
    assert len([tell for tell in world.told[before:] if tell.reason == reasons.LEFTOVER]) == 6
