"""What a canary would have counted, made of what stable counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from canary.checks.judges.compare import Look
from canary.checks.judges.counters import Side
from canary.rehearse.draws import binomial

PODS = 8
"""So many of stable's pods are kept by name; a judge remembers no more."""

OTHERS = ""
"""The name under which all other pods are one."""


def kept(side: Side) -> Side:
    """The same with at most `PODS` pods by name, and all others as one: a week of looks has to fit into memory."""
    if len(side.pods) <= PODS:
        return side
    ordered = sorted(side.pods.items())
    others = [counts for _, counts in ordered[PODS:]]
    rest = sum(requests for requests, _ in others), sum(failures for _, failures in others)
    return Side(side.requests, side.failures, {**dict(ordered[:PODS]), OTHERS: rest})


@dataclass(frozen=True, slots=True)
class Divided:
    """How traffic is divided: the canary's share of the requests, and the part of stable's of which it gets a copy."""

    share: float
    mirror: float = 0.0


def look(random: Random, side: Side, divided: Divided, worse: float) -> Look:
    """A look at stable and at a canary that fails `worse` times as often, if this is what all requests came to.

    Each request is the canary's with the chance of its share, by itself. So a canary that is as good as stable (`worse` 1) has exactly
    stable's failures, its bursts and what else there is that no model has. For a worse one as many of its other requests fail as well, by
    the rate of this very look. A copy of a request fails where the request did.
    """
    stable: dict[str, tuple[float, float]] = {}
    canary_failed = canary_good = 0
    for name, (requests, failures) in side.pods.items():
        failed = round(failures)
        good = max(round(requests) - failed, 0)
        taken_failed, taken_good = (binomial(random, count, divided.share) for count in (failed, good))
        failed, good = failed - taken_failed, good - taken_good
        canary_failed += taken_failed + binomial(random, failed, divided.mirror)
        canary_good += taken_good + binomial(random, good, divided.mirror)
        stable[name] = float(failed + good), float(failed)
    more = binomial(random, canary_good, _chance(side, worse))
    return Look(
        canary_good + canary_failed,
        sum(requests for requests, _ in stable.values()),
        canary_failed + more,
        sum(failures for _, failures in stable.values()),
        stable,
        max(1, round(len(stable) * max(divided.share, divided.mirror))),
    )


def _chance(side: Side, worse: float) -> float:
    """Of a request that stable would not have failed: with it the canary fails `worse` times as many in all."""
    if side.failures <= 0:
        return 0.0
    rate = side.failures / side.requests
    return min(1.0, (worse - 1) * rate / (1 - rate)) if rate < 1 else 1.0
