"""The figures of the benchmark as data: what was measured, the goals, and medians of several runs. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
"""Percentiles that are kept of a distribution."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of DESIGN, section 7: what is measured, how it is written, and the most that it may be (None: no goal)."""

    what: str
    value: Callable[[Json], float]
    most: float | None
    form: str

    def goal(self) -> str:
        return "" if self.most is None else f"≤ {self.form.format(self.most)}" if self.most else "0"

    def measured(self, result: Json) -> str:
        value = self.value(result)
        text = self.form.format(value)
        return text if self.most is None or value <= self.most else f"**{text}**"


def _per_step(kind: str) -> Callable[[Json], float]:
    return lambda result: result["requests_per_step"].get(kind, 0.0)


def _quantile(distribution: str, stage: str, percent: int) -> Callable[[Json], float]:
    return lambda result: result[distribution][stage][str(percent)]


def _field(name: str) -> Callable[[Json], float]:
    return lambda result: result[name]


def _compared(value: Callable[[Json], float]) -> Callable[[Json], float]:
    return lambda result: value(result["compare"])


GOALS = (
    Goal("requests of a weight step: patches of the route", _per_step("patch httproutes"), 1, "{:.2f}"),
    Goal("— patches of the status", _per_step("patch rollouts/status"), 2, "{:.2f}"),
    Goal("— Events", _per_step("create events"), 1, "{:.2f}"),
    Goal(
        "— anything else",
        lambda result: (
            sum(result["requests_per_step"].values())
            - sum(_per_step(kind)(result) for kind in ("patch httproutes", "patch rollouts/status", "create events"))
        ),
        0,
        "{:.2f}",
    ),
    Goal("requests at rest, a minute, all Rollouts together", _field("idle_requests_per_minute"), 0, "{:.0f}"),
    Goal("— with all runs active, holding", _field("active_requests_per_minute"), None, "{:.0f}"),
    Goal("— for the Lease, all controllers together", _field("lease_requests_per_minute"), None, "{:.0f}"),
    Goal("failing sample → rollback patch sent, p50", _quantile("failures", "sent_ms", 50), None, "{:.1f} ms"),
    Goal("— p99", _quantile("failures", "sent_ms", 99), 10, "{:.1f} ms"),
    Goal("— → route written in the API server, p99", _quantile("failures", "written_ms", 99), None, "{:.1f} ms"),
    Goal("all fail within one interval: patch sent, p50", _quantile("mass_failure", "sent_ms", 50), None, "{:.0f} ms"),
    Goal("— p99", _quantile("mass_failure", "sent_ms", 99), 40, "{:.0f} ms"),
    Goal("— all back at stable, on record", _field("mass_failure_seconds"), None, "{:.1f} s"),
    Goal("memory with all runs active (RSS)", _field("active_mib"), 220, "{:.0f} MiB"),
    Goal("— the most it ever was", _field("peak_mib"), None, "{:.0f} MiB"),
    Goal("— at rest", _field("idle_mib"), None, "{:.0f} MiB"),
    Goal("— of one that stands by", _field("standby_mib"), None, "{:.0f} MiB"),
    Goal("processor with all runs active", _field("active_cores"), 0.2, "{:.2f} core"),
    Goal("start → first decision of an active run", _field("start_first_decision_seconds"), 2.5, "{:.1f} s"),
    Goal("— of every active run", _field("start_all_decisions_seconds"), None, "{:.1f} s"),
    Goal("killed, with one that stands by → a run goes on", _field("killed_goes_on_seconds"), 5, "{:.1f} s"),
    Goal("clean stop, with one that stands by → a run goes on", _field("stopped_goes_on_seconds"), 0.5, "{:.1f} s"),
    Goal("all runs start at once: all at the first weight", _field("start_runs_seconds"), None, "{:.1f} s"),
)

COMPARED = (
    Goal("with `compare` checks: judging, CPU per look and check", _compared(_field("judging_ms")), 1, "{:.2f} ms"),
    Goal("— status of a check, at most", _compared(_field("status_bytes")), 1024, "{:.0f} bytes"),
    Goal(
        "— failing look → rollback patch sent, p50", _compared(_quantile("failures", "sent_ms", 50)), None, "{:.1f} ms"
    ),
    Goal("— p99", _compared(_quantile("failures", "sent_ms", 99)), 50, "{:.1f} ms"),
    Goal("— all fail within one interval: p99", _compared(_quantile("mass_failure", "sent_ms", 99)), 40, "{:.0f} ms"),
    Goal("— processor with all runs active", _compared(_field("active_cores")), 0.2, "{:.2f} core"),
    Goal("— looks a second, of four queries each", _compared(_field("looks_per_second")), None, "{:.0f}"),
    Goal("— requests a minute, with all runs active", _compared(_field("active_requests_per_minute")), None, "{:.0f}"),
    Goal("— memory with all runs active (RSS)", _compared(_field("active_mib")), None, "{:.0f} MiB"),
)
"""Of the play with comparisons, which earlier figures do not have."""


def distribution(values: Sequence[float]) -> dict[str, float]:
    """Percentiles (nearest rank) of some values, by their number as text."""
    ordered = sorted(values)
    return {str(percent): ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in QUANTILES}


def median(runs: Sequence[Any]) -> Any:
    """The median of every number in documents of one shape."""
    first = runs[0]
    if isinstance(first, Mapping):
        keys = [key for key in first if all(key in run for run in runs)]
        return {key: median([run[key] for run in runs]) for key in keys}
    return statistics.median(runs) if isinstance(first, int | float) else first


def table(document: Json) -> str:
    """Markdown: a row per goal, a column per size. What misses its goal is bold."""
    results = document["results"]
    sizes = [f"{result['declared']:,} : {result['active']:,}" for result in results]
    head = [f"| what | goal | {' | '.join(sizes)} |", "|---|---|" + "---|" * len(sizes)]
    goals = (*GOALS, *(COMPARED if all("compare" in result for result in results) else ()))
    rows = [f"| {goal.what} | {goal.goal()} | {' | '.join(map(goal.measured, results))} |" for goal in goals]
    return "\n".join([*head, *rows])
