"""The controller's own Prometheus series.

A Rollout that is deleted takes its series with it (`forget`), and a run that ends takes those of its checks: a gauge
that stays at its last value for ever is a lie that alerts are built on.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from canary import __version__

_ROLLOUT = ("namespace", "rollout")
_CHECK = (*_ROLLOUT, "check")
VERDICTS = ("Pass", "Fail", "Unknown")

_API_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TICK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROLLBACK_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_Series = tuple[str, ...]


class Telemetry:
    """All series of one process, in a registry of their own. Durations are in seconds, weights in percent of the pair."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._finished = Counter(
            "canary_runs_finished", "Runs that ended, by how.", (*_ROLLOUT, "result"), registry=registry
        )
        self._weight = Gauge(
            "canary_rollout_weight_percent",
            "The canary's share of its pair: as desired, as last written, as last accepted by every gateway.",
            (*_ROLLOUT, "stage"),
            registry=registry,
        )
        self._verdict = Gauge(
            "canary_check_verdict",
            "1 for the verdict that a check has now, 0 for the others.",
            (*_CHECK, "verdict"),
            registry=registry,
        )
        self._value = Gauge(
            "canary_check_value",
            "What a check measured last, in the unit of its query. Absent when there is no number.",
            _CHECK,
            registry=registry,
        )
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
        Info("canary_build", "Which canary this is.", registry=registry).info({"version": __version__})
        ProcessCollector(registry=registry)
        self._of_rollout: dict[tuple[str, str], set[tuple[Any, _Series]]] = {}

    def run_finished(self, namespace: str, rollout: str, result: str) -> None:
        """Count a run that ended as `result` (Succeeded, RolledBack, ...), and drop the series of its checks."""
        self._series(self._finished, namespace, rollout, result).inc()
        self._drop(namespace, rollout, self._verdict, self._value)

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
            self._set(self._weight, (namespace, rollout, stage), percent)

    def verdict(self, namespace: str, rollout: str, check: str, verdict: str) -> None:
        """`verdict` is Pass, Fail or Unknown."""
        if verdict not in VERDICTS:
            raise ValueError(f"{verdict!r} is no verdict")
        for one in VERDICTS:
            self._set(self._verdict, (namespace, rollout, check, one), 1.0 if one == verdict else 0.0)

    def value(self, namespace: str, rollout: str, check: str, value: float | None) -> None:
        """None: nothing was measured. Absence is no number, so the series goes."""
        self._set(self._value, (namespace, rollout, check), value)

    def api_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Fits `Kube.connect(on_request=...)`."""
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
        for metric, labels in self._of_rollout.pop((namespace, rollout), set()):
            metric.remove(*labels)

    def _series(self, metric: Any, *labels: str) -> Any:
        self._of_rollout.setdefault((labels[0], labels[1]), set()).add((metric, labels))
        return metric.labels(*labels)

    def _set(self, gauge: Gauge, labels: _Series, value: float | None) -> None:
        if value is not None:
            self._series(gauge, *labels).set(value)
            return
        known = self._of_rollout.get((labels[0], labels[1]), set())
        if (gauge, labels) in known:
            known.discard((gauge, labels))
            gauge.remove(*labels)

    def _drop(self, namespace: str, rollout: str, *metrics: Any) -> None:
        known = self._of_rollout.get((namespace, rollout), set())
        for metric, labels in [series for series in known if series[0] in metrics]:
            known.discard((metric, labels))
            metric.remove(*labels)
