"""Rollouts at every phase, built through the models, at a fixed time."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from warm_python import WarmPython

from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.rollout import RolloutSpec
from canary.model.route_status import RouteStatus, SplitStatus
from canary.model.run_status import Outcome, PauseStatus, RunStatus, StepStatus, TriggerStatus
from canary.model.status import Condition, Phase, RequestOutcome, RequestStatus, RolloutStatus
from canary.model.times import format_time as fmt
from canary.model.workload_status import RevisionsStatus, WorkloadsStatus, WorkloadStatus

Json = dict[str, Any]

NOW = datetime(2024, 5, 1, 10, 40, 2, tzinfo=UTC)
SECONDS = 30.0
"""How long a run may take."""
QUERY = (
    'sum(rate(http_requests_total{service="shop-canary",namespace="team-shop",code=~"5.."}[1m])) / '
    'sum(rate(http_requests_total{service="shop-canary",namespace="team-shop"}[1m]))'
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def spec() -> Json:
    """A spec as the API server holds it; it goes through the model, so it is valid."""
    document = {
        "routes": [{"kind": "HTTPRoute", "name": "shop"}],
        "stable": {"service": "shop-stable", "port": 8080},
        "canary": {"service": "shop-canary", "port": 8080},
        "workloads": {
            "stable": {"kind": "Deployment", "name": "shop-stable"},
            "canary": {"kind": "Deployment", "name": "shop-canary"},
        },
        "steps": [
            {"weight": "0.5%", "hold": "1m"},
            {"weight": 10, "hold": "5m"},
            {"weight": 50, "hold": "5m"},
            {"approval": {}},
            {"weight": 100, "hold": "5m"},
        ],
        "checks": [
            {"name": "error-rate", "prometheus": {"query": QUERY}, "threshold": {"max": "1%"}, "interval": "10s"},
            {"name": "latency-p99", "template": {"name": "latency", "kind": "ClusterCheckTemplate"}},
        ],
        "onFailure": "Rollback",
        "acceptTimeout": "60s",
    }
    RolloutSpec.model_validate(document)
    return document


def rollout(status: RolloutStatus | None, **metadata: Any) -> Json:
    document: Json = {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {
            "name": "shop",
            "namespace": "team-shop",
            "uid": "11111111-2222-3333-4444-555555555555",
            "generation": 3,
            "resourceVersion": "42",
            "creationTimestamp": "2024-04-28T10:40:02Z",
            **metadata,
        },
        "spec": spec(),
    }
    if status is not None:
        document["status"] = status.dump()
    return document


def checks(**of_first: Any) -> tuple[CheckStatus, ...]:
    first: Json = {
        "name": "error-rate",
        "verdict": VerdictKind.PASS,
        "reason": "WithinThreshold",
        "value": 0.0012345,
        "limit": "<= 0.01",
        "failure_limit": 2,
        "measured_at": ago(4),
        "interval_seconds": 10,
        "query": QUERY,
        "message": "0.0012 is within <= 0.01",
        **of_first,
    }
    second = CheckStatus(
        name="latency-p99",
        verdict=VerdictKind.PASS,
        reason="WithinThreshold",
        value=0.187,
        limit="<= 0.3",
        measured_at=ago(21),
        interval_seconds=30,
        query='histogram_quantile(0.99, sum by (le) (rate(latency_bucket{service="shop-canary"}[1m])))',
    )
    return CheckStatus(**first), second


def conditions(reason: str, *, ready: str = "False", reconciling: str = "True", stalled: str = "False") -> Any:
    return tuple(
        Condition(type=kind, status=status, reason=reason, last_transition_time=ago(130), observed_generation=3)
        for kind, status in (
            ("Ready", ready),
            ("Reconciling", reconciling),
            ("Stalled", stalled),
            ("RoutesAccepted", "True"),
            ("ChecksPassing", "True"),
        )
    )


def routes(share: float, *, accepted: bool = True) -> tuple[RouteStatus, ...]:
    return (
        RouteStatus(
            kind="HTTPRoute",
            name="shop",
            generation=9,
            owned=True,
            share=share,
            accepted=accepted,
            message="" if accepted else "Gateway edge has not answered for generation 9 yet",
            baseline={"#0": "100/0"},
        ),
    )


def status(phase: Phase = Phase.PROGRESSING, **over: Any) -> RolloutStatus:
    """A run at step 3 of 5, holding 50 %; `over` replaces whole fields."""
    fields: Json = {
        "observed_generation": 3,
        "phase": phase,
        "message": "holding 50 % until 10:42:10; 2/2 checks pass (step 3/5)",
        "run": RunStatus(
            number=7,
            revision="6c9f0d2b1a",
            plan="abcdef0123",
            started_at=ago(735),
            trigger=TriggerStatus(by="alice", reason="weekly release"),
        ),
        "step": StepStatus(
            index=3,
            total=5,
            display="3/5",
            started_at=ago(180),
            reached_at=ago(172),
            hold_until=NOW + timedelta(seconds=128),
        ),
        "split": SplitStatus(desired=50, written=50, accepted=50, observed=48.7),
        "checks": checks(),
        "checks_summary": "2/2 pass",
        "routes": routes(over["split"].written if "split" in over else 50),
        "revisions": RevisionsStatus(stable="1b2c3d4e5f", canary="6c9f0d2b1a", settled="1b2c3d4e5f"),
        "workloads": WorkloadsStatus(
            stable=WorkloadStatus(images="ghcr.io/shop:v6,proxy:2", ready=4, replicas=4),
            canary=WorkloadStatus(images="ghcr.io/shop:v7,proxy:2", ready=2, replicas=2),
        ),
        "last_request": RequestStatus(
            id="r-1",
            verb="start",
            by="alice",
            reason="weekly release",
            at=ago(735),
            outcome=RequestOutcome.DONE,
            message="run 7 started",
        ),
        "conditions": conditions("StepHolding"),
        **over,
    }
    return RolloutStatus(**fields)


def ended(outcome: Outcome, **over: Any) -> RunStatus:
    return status().run.model_copy(update={"ended_at": ago(30), "outcome": outcome, **over})


def awaiting_approval() -> RolloutStatus:
    """A run that stands at its approval step, number 4, and needs nothing else."""
    message = "step 4/5: waiting for `canary promote` at 50 %"
    return status(
        Phase.PAUSED,
        message=message,
        step=StepStatus(index=4, total=5, display="4/5", started_at=ago(60), reached_at=ago(50), hold_until=ago(50)),
        paused=PauseStatus(reason="AwaitingApproval", message=message, since=ago(50)),
        conditions=conditions("AwaitingApproval"),
    )


PHASES: dict[Phase, RolloutStatus] = {
    Phase.IDLE: status(
        Phase.IDLE,
        message="nothing to do: shop-canary runs the settled revision 6c9f0d2b1a",
        run=None,
        step=None,
        split=SplitStatus(),
        checks=(),
        checks_summary="",
        revisions=RevisionsStatus(stable="6c9f0d2b1a", canary="6c9f0d2b1a", settled="6c9f0d2b1a"),
        last_request=None,
        conditions=conditions("Idle", ready="True", reconciling="False"),
    ),
    Phase.PROGRESSING: status(),
    Phase.PAUSED: status(
        Phase.PAUSED,
        message="somebody lowered the weight; paused at 10 %",
        paused=PauseStatus(reason="LoweredByHand", message="bob set shop to 10 %, below 50 %", since=ago(65)),
        split=SplitStatus(desired=50, written=10, accepted=10),
    ),
    Phase.PROMOTING: status(
        Phase.PROMOTING,
        message="waiting until shop-stable runs 6c9f0d2b1a",
        step=StepStatus(index=5, total=5, display="5/5", started_at=ago(400), reached_at=ago(390)),
        split=SplitStatus(desired=100, written=100, accepted=100, observed=100),
    ),
    Phase.ROLLING_BACK: status(
        Phase.ROLLING_BACK,
        message="error-rate failed: 0.12 > 0.01",
        run=status().run.model_copy(
            update={"outcome": Outcome.ROLLED_BACK, "reason": "CheckFailed", "message": "error-rate: 0.12 > 0.01"}
        ),
        split=SplitStatus(desired=0, written=0, accepted=50),
        routes=routes(0, accepted=False),
        checks=checks(
            verdict=VerdictKind.FAIL,
            reason="ThresholdExceeded",
            value=0.12,
            failures=3,
            message="0.12 is above 0.01",
        ),
        checks_summary="1/2 pass",
    ),
    Phase.SUCCEEDED: status(
        Phase.SUCCEEDED,
        message="run 7 succeeded",
        run=ended(Outcome.SUCCEEDED, reason="Promoted", message="shop-stable runs 6c9f0d2b1a"),
        split=SplitStatus(),
    ),
    Phase.ROLLED_BACK: status(
        Phase.ROLLED_BACK,
        message="run 7 was rolled back: error-rate: 0.12 > 0.01",
        run=ended(Outcome.ROLLED_BACK, reason="CheckFailed", message="error-rate: 0.12 > 0.01"),
        split=SplitStatus(),
        checks=checks(
            verdict=VerdictKind.FAIL, reason="ThresholdExceeded", value=0.12, failures=3, message="0.12 is above 0.01"
        ),
    ),
    Phase.INVALID: status(
        Phase.INVALID,
        message="spec.routes: no rule of route shop lists both team-shop/shop-stable:8080 and "
        "team-shop/shop-canary:8080; add the canary as a backendRef with weight 0",
        run=None,
        step=None,
        split=SplitStatus(),
        checks=(),
        checks_summary="",
        last_request=None,
        conditions=conditions("Invalid", reconciling="False", stalled="True"),
    ),
}


EVENTS = [
    {
        "type": "Normal",
        "reason": "StepReached",
        "message": "step 2/5: 10 % accepted",
        "lastTimestamp": fmt(ago(480)),
        "count": 1,
    },
    {
        "type": "Warning",
        "reason": "CheckUnknown",
        "message": "latency-p99: no data",
        "lastTimestamp": fmt(ago(200)),
        "count": 4,
    },
    {"type": "Normal", "reason": "StepReached", "message": "step 3/5: 50 % accepted", "lastTimestamp": fmt(ago(172))},
]


@pytest.fixture
def now() -> datetime:
    return NOW


@dataclass(frozen=True)
class Run:
    """A finished process."""

    code: int
    out: str
    err: str


CHANGING = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "CANARY_DEBUG", "KUBECONFIG"}
"""What could change what is printed."""
COLD = (sys.executable, "-m", "canary")
"""For those to whom it matters how the process begins."""


async def canary(*arguments: str, command: tuple[str, ...] = (), **env: str) -> Run:
    """Run the CLI as a process of its own, with nothing of this environment that could change what it prints.

    Without `command` it has its imports already (see `warm_python`).
    """
    inherited = {key: value for key, value in os.environ.items() if key not in CHANGING}
    inherited["PYTHONIOENCODING"] = "utf-8"
    if not command and not any(name.startswith("PYTHON") for name in env):
        return Run(*await _warm_python().run(arguments, {**inherited, **env}, SECONDS))
    process = await asyncio.create_subprocess_exec(
        *(command or COLD),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**inherited, **env},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Run(process.returncode or 0, out.decode(), err.decode())


@cache
def _warm_python() -> WarmPython:
    return WarmPython({name: value for name, value in os.environ.items() if name not in CHANGING})
