"""What traffic there is, from counters that were read several times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from canary.checks.judges.counters import TARGET, Snapshot, between
from canary.rehearse.detection import Traffic

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
