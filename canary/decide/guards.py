"""Why a run must stop: named guards whose order is the policy. The first objection wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from canary.decide import gates, reasons
from canary.decide.availability import MOST_OUTAGES
from canary.decide.drift import raised
from canary.decide.matching import overtaken
from canary.decide.scope import Scope, failed_revisions
from canary.decide.traffic import too_many_copies
from canary.decide.verdict import failed, held_too_long


@dataclass(frozen=True, slots=True)
class Stop:
    """A reason to stop. `policy` says whether spec.onFailure has a say; where it has not, the run rolls back.

    `pauses`: what declares the reason says itself that the run is to pause.
    """

    reason: str
    message: str
    policy: bool = False
    pauses: bool = False


Guard = Callable[[Scope], Stop | None]

_ALTERED = attrgetter("altered")


def canary_unavailable(scope: Scope) -> Stop | None:
    """No replica of the canary has been ready for longer than the grace, or that happens again and again."""
    canary, since = scope.facts.canary, scope.run.unavailable_since
    if canary is None or since is None:
        return None
    if scope.run.outages > MOST_OUTAGES:
        text = (
            f"canary workload {canary.name} lost its last ready replica {scope.run.outages} times while it had traffic"
            f"{canary.who_emptied}"
        )
        return Stop(reasons.CANARY_UNAVAILABLE, text)
    if canary.ready > 0 or scope.facts.blind or scope.now < since + scope.spec.unavailable_grace.delta:
        return None
    what = "has had no ready replica" if canary.exists else "has not existed"
    text = f"canary workload {canary.name} {what} for {scope.spec.unavailable_grace} while it was to have traffic{canary.who_emptied}"
    return Stop(reasons.CANARY_UNAVAILABLE, text)


def route_missing(scope: Scope) -> Stop | None:
    """A route of the run is gone."""
    for route in scope.facts.routes:
        if not route.exists and route.declared and scope.owned(route):
            gone = f"cannot be seen any more: {route.missing}" if route.missing else "was deleted during the run"
            return Stop(reasons.ROUTE_MISSING, f"{route.label} {gone}")
    return None


def check_failed(scope: Scope) -> Stop | None:
    """A check failed more often than it tolerates."""
    if not scope.has_traffic:
        return None  # what it says is not about traffic that the canary gets
    for check, status in scope.judging:
        if failed(status):
            times = f" ({status.failures} in a row)" if status.failures > 1 else ""
            if check.sliding is not None:
                times = f" ({status.failures} of the last {len(status.recent)} measurements)"
            return Stop(reasons.CHECK_FAILED, f"check {status.name} failed{times}: {status.message}", policy=True)
    return None


def hold_limit_exceeded(scope: Scope) -> Stop | None:
    """A check has been Unknown for longer than its hold limit."""
    if not scope.has_traffic or scope.facts.blind:
        return None  # a canary without traffic has nothing to be measured
    for check, status in scope.judging:
        if held_too_long(check, status, scope.now):
            return Stop(
                reasons.HOLD_LIMIT_EXCEEDED,
                f"check {status.name} has been unknown for {check.settings.hold_limit} ({status.reason}: {status.message})",
                policy=True,
            )
    return None


def mirror_unresolved(scope: Scope) -> Stop | None:
    """A gateway cannot resolve what a mirrored route refers to. Some then answer every user of the rule with 500: no time to wait."""
    for route in scope.facts.routes:
        if route.acceptance.unresolved and any(route.copied.get(key) for key in scope.mirrors(route)):
            text = f"{route.label} is mirrored, and {route.acceptance.unresolved}"
            return Stop(reasons.MIRROR_UNRESOLVED, text)
    return None


def mirror_mismatch(scope: Scope) -> Stop | None:
    """A gateway copies far more than it was asked to: the canary, and what stands behind it, is sized for less."""
    words = too_many_copies(scope)
    return Stop(reasons.MIRROR_MISMATCH, words) if words else None


def match_overtaken(scope: Scope) -> Stop | None:
    """Rules that were added for requests that opt in may not stay: what they were computed from has changed."""
    words = overtaken(scope)
    return Stop(reasons.MATCH_REFUSED, words) if words else None


def not_accepted(scope: Scope) -> Stop | None:
    """A route could not be written, or a gateway has not accepted it, within acceptTimeout of wanting to write it."""
    since = scope.step.unaccepted_since
    if since is None or scope.facts.blind or scope.now < since + scope.spec.accept_timeout.delta:
        return None
    policy = scope.copied == 0  # a gateway that does not accept a filter may serve nobody, so nobody is waited for
    if scope.pending:
        text = f"a route could not be written within {scope.spec.accept_timeout}: {scope.pending}"
        return Stop(reasons.NOT_ACCEPTED, text, policy)
    route = scope.unaccepted
    if route is None:
        return None
    return Stop(
        reasons.NOT_ACCEPTED,
        f"{route.label} was not accepted within {scope.spec.accept_timeout}: {route.acceptance.message}",
        policy,
    )


def more_admitted(scope: Scope) -> Stop | None:
    """The API server keeps more for the canary than was written: no later write is known to end that, so all of it is taken back now."""
    if not scope.facts.altered and not any(map(_ALTERED, scope.status.routes)):
        return None
    drift = next((drift for drift in raised(scope) if drift.altered(scope)), None)
    if drift is None:
        return None
    why = scope.facts.unwritten.get(drift.route.key, "")
    text = f"{drift.admitted}{f': {why}' if why else ''}"
    return Stop(reasons.NOT_ACCEPTED, text)


def canary_too_small(scope: Scope) -> Stop | None:
    """The canary has been too small for its next share for longer than is waited for that."""
    scale, book, canary = scope.spec.scale, scope.status.scale, scope.facts.canary
    if scale is None or book is None or book.short_since is None or canary is None or scope.facts.blind:
        return None
    if canary.ready >= book.needed or scope.now < book.short_since + scale.timeout.delta:
        return None
    view = scope.facts.scaling
    why = f": {view.failed}" if view.failed else f": {view.autoscaler} scales it" if view.autoscaler else ""
    short = f"{canary.ready} of the {book.needed} replicas that its next share needs"
    text = f"canary workload {canary.name} has had too few ready for {scale.timeout}: {short}{why}"
    return Stop(reasons.CANARY_TOO_SMALL, text, policy=True)


def gate_timed_out(scope: Scope) -> Stop | None:
    """The system that the step asks has not said yes in time."""
    late = gates.timed_out(scope) if scope.spec.asks_gates else None
    return Stop(reasons.GATE_TIMED_OUT, late.words, pauses=late.pauses) if late is not None else None


def past_deadline(scope: Scope) -> Stop | None:
    """The run takes longer than its deadline."""
    deadline = scope.spec.deadline
    if deadline is None or scope.now < scope.run.counts_from + deadline.delta:
        return None
    return Stop(reasons.DEADLINE_EXCEEDED, f"the run took longer than its deadline of {deadline}")


def back_to_stable(scope: Scope) -> Stop | None:
    """The canary workload was put back to what stable runs, or ran when the run began: there is nothing to release."""
    canary, stable = scope.facts.canary, scope.facts.stable
    if canary is None or not canary.known or canary.revision == scope.run.revision:
        return None
    if canary.revision not in {scope.run.replaces, stable.revision if stable is not None and stable.known else None}:
        return None
    text = f"{canary.name} is back at revision {canary.revision}, which is stable's own"
    return Stop(reasons.SUPERSEDED, text)


def back_to_failed(scope: Scope) -> Stop | None:
    """The canary workload was put back to a revision that was rolled back before: no run gives way to that."""
    canary = scope.facts.canary
    if canary is None or not canary.known or canary.revision == scope.run.revision:
        return None
    if canary.revision not in failed_revisions(scope.status):
        return None
    text = f"{canary.name} is back at revision {canary.revision}, which was rolled back before; `canary retry` tries it again"
    return Stop(reasons.SUPERSEDED, text)


STOP: tuple[Guard, ...] = (
    canary_unavailable,  # users get 503s now
    mirror_unresolved,  # or 500s, for a filter of ours
    mirror_mismatch,  # or the canary gets far more than it was to get
    match_overtaken,  # or requests that are somebody else's
    more_admitted,  # or the canary more users than were to reach it
    back_to_stable,  # nothing is left to release
    back_to_failed,  # or what is there may not be
    route_missing,  # what we were to move is gone
    check_failed,  # the numbers said no often enough
    hold_limit_exceeded,  # nobody could say for too long
    not_accepted,  # the gateway refused our route
    canary_too_small,  # it never came to be large enough
    gate_timed_out,  # nobody said that it may go on
    past_deadline,  # time is up
)
"""An abort comes before all of these: requests are served first."""

ALWAYS: tuple[Guard, ...] = (
    canary_unavailable,
    mirror_unresolved,
    mirror_mismatch,
    match_overtaken,
    more_admitted,
    back_to_stable,
    back_to_failed,
    past_deadline,
)
"""What still stops a run that was paused by onFailure: its checks have spoken already."""


def first_objection(scope: Scope, guards: tuple[Guard, ...] = STOP) -> Stop | None:
    """Ask the guards in order."""
    return next((stop for guard in guards if (stop := guard(scope)) is not None), None)
