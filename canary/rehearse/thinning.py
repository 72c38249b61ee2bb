"""What a canary would have counted, made of what stable counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

from canary.checks.judges.against import Against
from canary.checks.judges.counters import Side
from canary.checks.judges.latency import Histogram
from canary.checks.judges.slower import Slower
from canary.model.measurement import Compared, Timed
from canary.rehearse.drawing import ANY, odds_times, slower, within
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


def look(
    rule: Against[Any], random: Random, counted: Side | Histogram, divided: Divided, worse: float
) -> Compared | Timed:
    """What a comparison sees of what stable counted, with a canary that is `worse` times as bad."""
    if isinstance(counted, Histogram):
        if not isinstance(rule, Slower):
            raise TypeError("histograms are compared by nobody else")
        return timed(rule, random, counted, divided, worse)
    return failed(random, counted, divided, worse)


def failed(random: Random, side: Side, divided: Divided, worse: float) -> Compared:
    """A look at errors, of stable and at a canary that fails `worse` times as often, if this is what all requests came to.

    Each request is the canary's with the chance of its share, by itself. So a canary that is as good as stable (`worse` 1) has exactly
    stable's failures, its bursts and what else there is that no model has. For a worse one as many of its other requests fail as well, by
    the rate of this very look. A copy of a request fails where the request did.
    """
    stable: dict[str, tuple[float, float]] = {}
    canary_failed = canary_good = 0
    for name, (requests, failures) in side.pods.items():
        bad = round(failures)
        good = max(round(requests) - bad, 0)
        (canary_bad, bad), (taken, good) = (_divided(random, count, divided) for count in (bad, good))
        canary_failed, canary_good = canary_failed + canary_bad, canary_good + taken
        stable[name] = float(bad + good), float(bad)
    more = binomial(random, canary_good, _chance(side, worse))
    return Compared(
        ANY,
        ANY,
        canary_good + canary_failed,
        sum(requests for requests, _ in stable.values()),
        canary_failed + more,
        sum(failures for _, failures in stable.values()),
        stable,
        max(1, round(len(stable) * max(divided.share, divided.mirror))),
    )


def timed(rule: Slower, random: Random, counted: Histogram, divided: Divided, worse: float) -> Timed:
    """The same of how long requests took: a worse canary has `worse` times the odds, at this very look, to be beyond each bound."""
    beyond = [round(counted.requests - counted.within[bound]) for bound in rule.bounds]
    whole = max(round(counted.requests), *beyond)
    kinds = [more - less for more, less in pairwise([whole, *beyond, 0])]  # from the fastest to the slowest
    taken, left = zip(*(_divided(random, count, divided) for count in kinds), strict=True)
    canary = [sum(taken[place + 1 :]) for place in range(len(beyond))]
    if worse != 1 and whole:
        canary = slower(random, sum(taken), [odds_times(more / whole, worse) for more in beyond])
    stable = [sum(left[place + 1 :]) for place in range(len(beyond))]
    return Timed(ANY, ANY, sum(taken), sum(left), within(rule, sum(taken), canary), within(rule, sum(left), stable))


def _divided(random: Random, count: int, divided: Divided) -> tuple[int, int]:
    """Of so many requests, how many the canary has, copies included, and how many stable has."""
    taken = binomial(random, count, divided.share)
    return taken + binomial(random, count - taken, divided.mirror), count - taken


def _chance(side: Side, worse: float) -> float:
    """Of a request that stable would not have failed: with it the canary fails `worse` times as many in all."""
    if side.failures <= 0:
        return 0.0
    rate = side.failures / side.requests
    return min(1.0, (worse - 1) * rate / (1 - rate)) if rate < 1 else 1.0
