"""What a reconciler tells operators of its ticks: series by Rollout, and a log line for each that did something."""

from __future__ import annotations

import logging

from canary.act.executor import Result
from canary.controller.observation import Observation
from canary.model.status import ACTIVE, Phase, RolloutStatus
from canary.observe.objects import Key
from canary.observe.rollout import Rollout
from canary.telemetry import Telemetry, tick_line, waits_for


class Reporting:
    """The series of one Rollout. Remembers what it was said to wait for, since that is told only when it changes."""

    def __init__(self, key: Key, telemetry: Telemetry) -> None:
        self._key = key
        self._telemetry = telemetry
        self._waits: str | None = None

    def series(self, before: RolloutStatus, observation: Observation) -> None:
        """Tell how a Rollout stands; `before` is the status that its decision began from."""
        namespace, name = self._key
        telemetry, status = self._telemetry, observation.status
        waits = waits_for(status)
        if waits != self._waits:
            telemetry.waits(namespace, name, waits)
            self._waits = waits
        if status.active:
            split = status.split
            telemetry.run_active(namespace, name)
            telemetry.weights(namespace, name, desired=split.desired, written=split.written, accepted=split.accepted)
            for check in status.checks:
                if check.measured_at is not None:
                    telemetry.verdict(namespace, name, check.name, check.verdict)
                    telemetry.value(namespace, name, check.name, check.value)
        if before.phase in ACTIVE and not status.active and status.run is not None and status.run.outcome is not None:
            telemetry.weights(namespace, name, desired=0, written=status.split.written, accepted=status.split.accepted)
            telemetry.run_finished(namespace, name, status.run.outcome)


def say(rollout: Rollout, observation: Observation, result: Result, *, wrote: bool, seconds: float) -> None:
    """Log a tick: what was decided and done, what failed, and how many seconds all of it took."""
    status = observation.status
    bad = bool(result.failed) or status.phase in {Phase.ROLLING_BACK, Phase.INVALID}
    failed = [f"{name} failed: {error}" for name, error in result.failed.items()]
    tick_line(
        namespace=rollout.namespace,
        rollout=rollout.name,
        run=status.run.number if status.run else None,
        phase=str(status.phase or ""),
        step=status.step.display if status.step else "",
        reason=observation.decision.reason,
        message="; ".join([status.message, *failed]),
        actions=[
            *result.performed,
            *(f"{name} (read again)" for name in result.stale),
            *(["WriteStatus"] if wrote else []),
        ],
        routes=[route.label for route in observation.facts.routes],
        duration_ms=seconds * 1000,
        level=logging.WARNING if bad else logging.INFO,
    )
