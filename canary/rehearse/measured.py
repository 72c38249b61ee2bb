"""What traffic there is, from counters that were read several times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from canary.checks.judges import buckets
from canary.checks.judges.buckets import Told
from canary.checks.judges.counters import TARGET, Snapshot, between
from canary.rehearse.drawing import Traffic

PODS = (*TARGET, "pod")
"""Labels that tell pods apart, as in a run."""

READINGS = 13
"""So often counters are read over the time that is looked at: one that restarts takes along a part of it only."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of both backends at an instant, in seconds."""

    at: float
    stable: Snapshot
    canary: Snapshot


def traffic_of(readings: Sequence[Reading]) -> Traffic | None:
    """Requests of the pair a second, and the part of stable's that failed; None: nothing was counted of stable.

    Raises ValueError: a counter that is none.
    """
    requests = stable = failures = 0.0
    for before, after in pairwise(readings):
        ours, theirs = between(before.canary, after.canary, PODS), between(before.stable, after.stable, PODS)
        requests += ours.requests + theirs.requests
        stable += theirs.requests
        failures += theirs.failures
    seconds = readings[-1].at - readings[0].at
    return Traffic(requests / seconds, failures / stable) if stable > 0 and seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Timings:
    """The buckets of both backends at an instant, in seconds."""

    at: float
    stable: Told
    canary: Told


def timings_of(readings: Sequence[Timings], bounds: tuple[float, ...], unit: float) -> Traffic | None:
    """Requests of the pair a second, and the part of stable's that were slower than each bound; None: nothing was counted of stable.

    `unit` is what the buckets count in, in seconds. Raises ValueError: a histogram lacks a bound, or a counter is none.
    """
    requests = stable = 0.0
    within = dict.fromkeys(bounds, 0.0)
    for before, after in pairwise(readings):
        edges = buckets.edges((before.canary, before.stable, after.canary, after.stable), bounds, unit)
        ours = buckets.between(before.canary, after.canary, bounds, unit, PODS, edges)
        theirs = buckets.between(before.stable, after.stable, bounds, unit, PODS, edges)
        if ours is None or theirs is None:
            continue
        requests += ours.requests + theirs.requests
        stable += theirs.requests
        for bound in bounds:
            within[bound] += theirs.within[bound]
    seconds = readings[-1].at - readings[0].at
    if not (stable > 0 and seconds > 0):
        return None
    return Traffic(requests / seconds, slow=tuple((stable - within[bound]) / stable for bound in bounds))
