"""The controller's own Prometheus series.

A Rollout that is deleted takes its series with it (`forget`), and a run that ends takes those of its checks: a gauge
that stays at its last value for ever is a lie that alerts are built on.
"""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from canary import __version__
from canary.model.run_status import Outcome
from canary.model.status import Phase, RolloutStatus
from canary.telemetry.series import Family, RolloutSeries

VERDICTS = ("Pass", "Fail", "Unknown")

_API_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TICK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROLLBACK_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_FINISHED = Family("canary_runs_finished", "Runs that ended, by how.", "counter", ("result",))
_WEIGHT = Family(
    "canary_rollout_weight_percent",
    "The canary's share of its pair: as desired, as last written, as last accepted by every gateway.",
    "gauge",
    ("stage",),
)
_VERDICT = Family(
    "canary_check_verdict",
    "1 for the verdict that a check has now, 0 for the others.",
    "gauge",
    ("check", "verdict"),
    VERDICTS,
)
_VALUE = Family(
    "canary_check_value",
    "What a check measured last, in the unit of its query. Absent when there is no number.",
    "gauge",
    ("check",),
)
_WAITS = Family(
    "canary_rollout_waits",
    "1 while a Rollout goes on only if somebody does something: approves a step, say, or mends its spec. `for` says what.",
    "gauge",
    ("for",),
)


def waits_for(status: RolloutStatus) -> str:
    """What a Rollout waits for that only people can do: Invalid, or the reason of its pause; empty: nothing."""
    if status.phase is Phase.INVALID:
        return Phase.INVALID.value
    return status.paused.reason if status.phase is Phase.PAUSED and status.paused is not None else ""


class Telemetry:
    """All series of one process. Durations are in seconds, weights in percent of the pair.

    `process` has those of the process, `rollouts` those of its Rollouts, `registry` both, for the client library's tools.
    """

    def __init__(self) -> None:
        self.process = registry = CollectorRegistry()
        self.rollouts = RolloutSeries(_FINISHED, _WEIGHT, _VERDICT, _VALUE, _WAITS)
        self.registry = CollectorRegistry()
        self.registry.register(self.process)
        self.registry.register(self.rollouts)
        self._api = Histogram(
            "canary_api_request_duration_seconds",
            "Requests to the API server; a watch counts until it is open. Code 0: no answer.",
            ("verb", "resource", "code"),
            buckets=_API_BUCKETS,
            registry=registry,
        )
        self._rollback = Histogram(
            "canary_rollback_latency_seconds",
            "From the failing sample returned to the rollback patch sent.",
            buckets=_ROLLBACK_BUCKETS,
            registry=registry,
        )
        self._active = Gauge("canary_active_runs", "Runs under way.", registry=registry)
        self._leader = Gauge(
            "canary_leader", "1: this controller does the work. 0: it stands by, or is starting.", registry=registry
        )
        self._tick = Histogram(
            "canary_tick_duration_seconds",
            "One round of observe, decide, act and status for one Rollout.",
            buckets=_TICK_BUCKETS,
            registry=registry,
        )
        self._notifications = Counter(
            "canary_notifications",
            "Messages to targets, by result: delivered, failed (given up), dropped (too many waited).",
            ("kind", "namespace", "target", "result"),
            registry=registry,
        )
        Info("canary_build", "Which canary this is.", registry=registry).info({"version": __version__})
        ProcessCollector(registry=registry)

    def run_active(self, namespace: str, rollout: str) -> None:
        """A run is under way: every way in which it can end is there, at 0.

        A series that begins with its first increment begins at 1, and `increase()` sees nothing happen. Rollouts without a
        run have none, since most of them have no run for months.
        """
        if not self.rollouts.has(_FINISHED, (namespace, rollout)):
            for result in Outcome:
                self.rollouts.add(_FINISHED, (namespace, rollout), (result.value,), 0)

    def run_finished(self, namespace: str, rollout: str, result: str) -> None:
        """Count a run that ended as `result` (Succeeded, RolledBack, ...), and drop the series of its checks."""
        self.rollouts.add(_FINISHED, (namespace, rollout), (result,))
        self.rollouts.drop((namespace, rollout), _VERDICT, _VALUE)

    def weights(
        self,
        namespace: str,
        rollout: str,
        *,
        desired: float | None,
        written: float | None,
        accepted: float | None,
    ) -> None:
        """The canary's share in percent of the pair; None for what is not known, which has no series then."""
        for stage, percent in (("desired", desired), ("written", written), ("accepted", accepted)):
            self.rollouts.set(_WEIGHT, (namespace, rollout), (stage,), percent)

    def verdict(self, namespace: str, rollout: str, check: str, verdict: str) -> None:
        """`verdict` is Pass, Fail or Unknown."""
        if verdict not in VERDICTS:
            raise ValueError(f"{verdict!r} is no verdict")
        self.rollouts.set(_VERDICT, (namespace, rollout), (check,), VERDICTS.index(verdict))

    def value(self, namespace: str, rollout: str, check: str, value: float | None) -> None:
        """None: nothing was measured. Absence is no number, so the series goes."""
        self.rollouts.set(_VALUE, (namespace, rollout), (check,), value)

    def waits(self, namespace: str, rollout: str, reason: str) -> None:
        """What a Rollout waits for (see `waits_for`); empty: nothing."""
        self.rollouts.drop((namespace, rollout), _WAITS)
        if reason:
            self.rollouts.set(_WAITS, (namespace, rollout), (reason,), 1)

    def notification(self, target: tuple[str, str, str], result: str) -> None:
        """Count a message to a target (kind, namespace, name): delivered, failed or dropped."""
        self._notifications.labels(*target, result).inc()

    def forget_target(self, target: tuple[str, str, str]) -> None:
        """Drop the series of a target that was deleted."""
        for result in ("delivered", "failed", "dropped"):
            with suppress(KeyError):
                self._notifications.remove(*target, result)

    def api_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Fits `KubeClient.connect(on_request=...)`."""
        self._api.labels(verb, resource, str(code)).observe(seconds)

    def rollback_latency(self, seconds: float) -> None:
        self._rollback.observe(seconds)

    def active_runs(self, number: int) -> None:
        self._active.set(number)

    def leading(self, leading: bool) -> None:
        self._leader.set(1 if leading else 0)

    def tick(self, seconds: float) -> None:
        self._tick.observe(seconds)

    def forget(self, namespace: str, rollout: str) -> None:
        """Drop every series of a Rollout that was deleted."""
        self.rollouts.drop((namespace, rollout))
