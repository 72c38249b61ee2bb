"""What the counters of both backends say of what the routes ask for. Without `spec.traffic` nothing of it happens.

Counted is only while every gateway has accepted what the routes say now, and from the settle time and `spec.traffic.lag` later: a
data plane follows what its gateway reports, and what a counter says is as old as its last scrape. A counter that fell was restarted, and nobody knows what it had counted until then; since it may be
the sum of many, of which others went on, what lies between those two looks counts for neither backend, nor does the look at which
it is above its peak again: most likely some of its series had only been out of sight.

Judged is by a sequence that holds at every look (`canary.checks.sequence`), in doubt for the gateway: the two counters may be up
to `lag` apart, and what the canary got while the routes sent it nothing (probes, callers inside the cluster) is not the gateway's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from canary.checks.sequence import (
    MOST_COPIES,
    Counted,
    copied_above,
    provably_above,
    provably_below,
    tolerance,
)
from canary.decide.scope import Scope
from canary.model.bounded import MOST_COUNTED, percent_text
from canary.model.evolution import count_began, counted_on, counters_unread, share_observed
from canary.model.measurement import Counts
from canary.model.rollout import digest
from canary.model.route_status import TrafficStatus
from canary.model.values import decimal_text
from canary.routes.kinds import FORMS

NOTHING_COUNTED = TrafficStatus()

NOISE = 4
"""Standard deviations by which what is no traffic of the routes may be more than it was."""


def counted(scope: Scope) -> Scope:
    """Fold what was counted into the status."""
    before, about = scope.status.traffic, _about(scope)
    if not about and before == NOTHING_COUNTED and scope.status.split.observed is None:
        return scope  # as at every run without spec.traffic
    if not about:
        after = TrafficStatus(background=before.background)
    elif before.about != about:
        after = count_began(before, about, scope.now)
    else:
        after = _read(scope, before)
    seen = _seen(after)
    share = None if scope.copied or seen.share is None or not after.seconds else round(seen.share, 1)
    split = share_observed(scope.status.split, share)
    return scope.with_(traffic=after, split=split) if (after, split) != (before, scope.status.split) else scope


def wrong_share(scope: Scope) -> str:
    """Why what the canary gets is provably not what the routes say, in words; empty where nothing is proven.

    Nothing is while requests are mirrored, since copies count like any other, nor where sessions stay with their backends.
    """
    evidence = _evidence(scope)
    rules = [rule for route in scope.live_routes for rule in route.rules]
    mirroring = scope.copied > 0 or scope.mirror is not None
    if evidence is None or not scope.written or mirroring or any(rule.sticky for rule in rules):
        return ""
    shares = [float(rule.weights.share) for rule in rules]
    low, high = min(shares), 100.0 if scope.opted_in else max(shares)  # nobody knows how many opt in
    below = provably_below(evidence.most, low - tolerance(low))
    if not below and not provably_above(evidence.least, high + tolerance(high)):
        return ""
    asked = decimal_text(scope.written) if low == high else f"{low:g} to {high:g}"
    return (
        f"the routes give the canary {asked} %, and it got {_share(evidence.seen)} of {_total(scope, evidence.seen)}: look for a "
        "gateway that does not divide by weight, for other routes to these Services, and at the queries of spec.traffic"
    )


def too_many_copies(scope: Scope) -> str:
    """Why a gateway provably copies far more than it was asked to, in words; empty where nothing is proven."""
    evidence = _evidence(scope)
    if evidence is None or not scope.copied or scope.opted_in or scope.spec.comparer is not None:
        return ""  # what a comparer sends on is its own measure
    asked = float(scope.copied)
    if not copied_above(evidence.least, float(scope.written), MOST_COPIES * asked):
        return ""
    seen = evidence.seen
    return (
        f"{decimal_text(scope.copied)} % of the requests were to be mirrored, and {seen.canary:.0f} were counted at the canary next "
        f"to {seen.stable:.0f} at stable: the gateway copies more than twice what it was asked to; some ignore the percentage of a "
        "mirror, and copy every request"
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What was counted, and the least and the most of it that may be what the gateway sent to the canary."""

    seen: Counted
    least: Counted
    most: Counted


def _evidence(scope: Scope) -> _Evidence | None:
    """What was counted of what the routes say now."""
    traffic, declared = scope.status.traffic, scope.facts.counters
    if declared is None or traffic.seconds <= 0 or traffic.about != _about(scope):
        return None
    seen = _seen(traffic)
    sure = max(0.0, 1 - declared.lag.seconds / traffic.seconds)
    noise = (traffic.background or 0) * traffic.seconds
    least = Counted(max(0.0, seen.canary * sure - noise - NOISE * sqrt(noise)), seen.stable)
    return _Evidence(seen, least, Counted(seen.canary, seen.stable * sure))


def said_now(scope: Scope) -> list[object] | None:
    """What the routes say in this step of an undecided run, as JSON.

    None while some gateway has not accepted it, or nobody can tell.
    """
    step, routes = scope.status.step, scope.live_routes
    undecided = scope.status.run is not None and scope.status.run.outcome is None
    if step is None or not undecided or not routes or scope.facts.blind or scope.unaccepted is not None:
        return None
    return [scope.run.number, step.index, *([str(route.key), route.generation] for route in routes)]


def _about(scope: Scope) -> str:
    """A digest of what the routes say in this step, and of the counters that tell what comes of it.

    Empty where nothing counts, while some gateway has not accepted it, or nobody can tell.
    """
    counters = scope.facts.counters
    said = said_now(scope) if counters is not None else None
    return "" if counters is None or said is None else digest([*said, counters.identity])


def _read(scope: Scope, before: TrafficStatus) -> TrafficStatus:
    """The next look at the counters, if there was one."""
    found, declared = scope.facts.traffic, scope.facts.counters
    if found is None or declared is None or before.since is None:
        return before
    if not isinstance(found, Counts):
        return counters_unread(before, found.reason, found.message)
    if not (0 <= found.canary <= MOST_COUNTED and 0 <= found.stable <= MOST_COUNTED):
        return counters_unread(
            before, "NotACounter", f"{found.canary:g} and {found.stable:g} are no counts of requests"
        )
    if found.at < before.since + scope.facts.settle + declared.lag.delta:
        return before
    idle = not scope.has_traffic
    return counted_on(before, found, idle=idle)


def _seen(traffic: TrafficStatus) -> Counted:
    return Counted(traffic.counted_canary, traffic.counted_stable)


def _share(seen: Counted) -> str:
    return percent_text(round(seen.share or 0, 1))


def _total(scope: Scope, seen: Counted) -> str:
    """How much was counted: `412 requests`."""
    units = sorted({FORMS[route.kind].unit for route in scope.live_routes})
    return f"{seen.total:.0f} {' and '.join(units)}"
