"""From raw counters to what happened between two looks, whatever restarted, vanished or appeared meanwhile. Pure.

Rates are of no use here: `increase()` extrapolates, and a number that was never counted is no evidence. So the counters
themselves are asked for, one series for each process, and are subtracted series by series.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from canary.checks.judges.evidence import MOST
from canary.model.native import NativeHistogram

Labels = frozenset[tuple[str, str]]
Series = Mapping[Labels, float]

TARGET = ("job", "instance")
"""The labels that name what is scraped."""

SHRINKS = 0.5
"""A counter that lost less than this part of itself did not begin anew: another replica of Prometheus, which is behind, answered."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one backend did between two looks; `pods` holds requests and failures of each of its targets."""

    requests: float
    failures: float
    pods: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of one backend at one instant. An empty `failures` beside `requests` means that nothing failed yet."""

    requests: Series
    failures: Series


def plain(told: Mapping[Labels, float | NativeHistogram]) -> Series:
    """The counters that were read. Raises ValueError: a native histogram is among them."""
    found = {labels: one for labels, one in told.items() if not isinstance(one, NativeHistogram)}
    if len(found) < len(told):
        raise ValueError("a native histogram is no counter: histogram_count() makes one of it")
    return found


def between(before: Snapshot, after: Snapshot, by: tuple[str, ...] = TARGET) -> Side:
    """What was counted between two snapshots of a backend. Raises ValueError: a counter that is none."""
    up = _targets((before.requests,), by)
    requests = _bytarget(deltas(before.requests, after.requests, up, by), by)
    failures = _bytarget(deltas(before.failures, after.failures, up, by), by)
    # A failure is a request. Where two scrapes came between the two queries there may seem to be more.
    pods = {
        name: (max(requests.get(name, 0.0), failures.get(name, 0.0)), failures.get(name, 0.0))
        for name in requests.keys() | failures.keys()
    }
    return Side(sum(count for count, _ in pods.values()), sum(failed for _, failed in pods.values()), pods)


def deltas(
    before: Series, after: Series, up: frozenset[str] | None = None, by: tuple[str, ...] = TARGET
) -> dict[Labels, float]:
    """By how much each series rose.

    - A counter that is lower than it was began anew: what it shows was counted since.
    - A series that vanished took along what it had counted: nothing is known of that, and nothing is guessed.
    - A series that appeared counts from 0 if its target was `up` before (by default: had any series in `before`), since
      a counter with a new label begins there. Of a target that appeared nobody knows when it began: it counts from the next look.

    Raises:
        ValueError: a counter that is negative, not finite or too large to be counted with.

    """
    known = _targets((before,), by) if up is None else up
    found: dict[Labels, float] = {}
    for labels, value in after.items():
        was = before.get(labels)
        for one in (value, 0.0 if was is None else was):
            if not (isfinite(one) and 0 <= one <= MOST):
                raise ValueError(f"a counter stands at {one}")
        if was is None:
            found[labels] = value if target(labels, by) in known else 0.0
        else:
            found[labels] = value - was if value >= was else value
    return found


def settled(start: float, end: float, writes: Iterable[float], settle: float) -> bool:
    """Whether a look from `start` to `end` covers only time in which the traffic was divided as it is meant.

    All in seconds of one clock, and the instants of the *samples*, not of the query: what Prometheus answers may be a scrape
    interval old. `writes` are the moments at which routes were written, and each takes `settle` seconds to reach every proxy.
    A look that spans one mixes two shares: with a burst on one side of the write that looks like a bad canary.
    """
    return start < end and all(written + settle <= start or written >= end for written in writes)


def _targets(series: Iterable[Series], by: tuple[str, ...]) -> frozenset[str]:
    return frozenset(target(labels, by) for one in series for labels in one)


def target(labels: Labels, by: tuple[str, ...]) -> str:
    """What was scraped, by name; where the series have none of those labels they are all of one target."""
    named = dict(labels)
    return "/".join(named.get(name, "") for name in by)


def _bytarget(rises: Mapping[Labels, float], by: tuple[str, ...]) -> dict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for labels, rise in rises.items():
        found[target(labels, by)] += rise
    return dict(found)
