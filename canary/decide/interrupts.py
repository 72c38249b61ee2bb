"""What takes a run out of its course: a reason to stop, a new revision or plan, somebody's hand.

A verdict leads into its rollback in the same decision.
"""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import EmitEvent, ForgetPodSpec
from canary.decide.common import at
from canary.decide.drift import lowered, raised
from canary.decide.facts import RouteView, WorkloadView
from canary.decide.guards import ALWAYS, STOP, Stop, first_objection
from canary.decide.pausing import BY_POLICY, hold_still, kept_by_hand, pause, paused_for
from canary.decide.preflight import canary_taken
from canary.decide.resting import begin
from canary.decide.scope import CONTESTED_PACE, OVERRIDE_LIMIT, OVERRIDE_WINDOW, Next, Place, Scope
from canary.decide.starts import pending_abort
from canary.decide.writes import fences, put_back
from canary.decide.wrote import allowed, written
from canary.model.evolution import ended, raised_in, unreached
from canary.model.rollout import OnFailure
from canary.model.run_status import Outcome, RunStatus
from canary.model.status import Phase
from canary.model.values import decimal_text


def interrupted(scope: Scope) -> Next | None:
    """What takes a run out of its course, in this order: it must stop, it must start anew, a person lowered the share."""
    stop = objection(scope)
    if stop is not None:
        return fail(scope, stop)
    fresh_start = restart(scope)
    if fresh_start is not None:
        return fresh_start
    drift = lowered(scope)
    if drift is not None:
        return pause(scope, reasons.LOWERED_BY_HAND, drift.message)
    return None


def objection(scope: Scope) -> Stop | None:
    """Why an undecided run must stop now, whatever anybody asks for."""
    if not scope.active or scope.run.outcome is not None:
        return None
    return first_objection(scope, ALWAYS if paused_for(scope) in BY_POLICY else STOP)


def fail(scope: Scope, stop: Stop) -> Next:
    """A run has to stop: pause where the policy says so, else roll back in this very decision."""
    if stop.pauses or (stop.policy and scope.spec.on_failure is OnFailure.PAUSE):
        return pause(scope, stop.reason, stop.message)
    message, then = stop.message, "all traffic back to stable"
    if copies_only(scope):
        message, then = f"{message}; the canary got copies only, no user was served by it", "the mirror is taken away"
    scope = scope.with_(
        EmitEvent("Warning", stop.reason, f"{scope.step_text}: {message}; {then}"),
        run=ended(scope.run, Outcome.ROLLED_BACK, stop.reason, message, scope.now),
    )
    return at(scope, Phase.ROLLING_BACK).goto(Place.ROLLING_BACK)


def copies_only(scope: Scope) -> bool:
    """Whether this run has given its canary copies of requests, and nobody has given it a user."""
    steps = range(1, scope.step.index + 1)
    given = any(scope.shares_at(index).some or scope.match_at(index) is not None for index in steps)
    raised_once = scope.status.overrides or any(route.overridden for route in scope.status.routes)
    return scope.copied > 0 and scope.written == 0 and not given and not raised_once


def see_lowered(scope: Scope) -> Scope:
    """Take note of a person's hand before anything ends the pause, or the run in which it was seen.

    A pair that is gone may be gone because the plan names another one now: that is for the new run to find out.
    """
    drift = None if kept_by_hand(scope) and paused_for(scope) != reasons.PAUSED_BY_REQUEST else lowered(scope)
    if drift is None or (drift.gone and scope.run.plan != scope.spec.plan_hash()):
        return scope
    return hold_still(scope, reasons.LOWERED_BY_HAND, drift.message)


def another_pod_spec(run: RunStatus, canary: WorkloadView) -> bool:
    """Whether a canary is another one than the run is about, whatever the ConfigMaps and Secrets say that its revision includes."""
    return bool(run.pod_spec and canary.pod_spec) and run.pod_spec != canary.pod_spec


def restart(scope: Scope) -> Next | None:
    """A new revision, or another plan: traffic back to stable, and from step one.

    What else a preflight finds holds a run before its first step. That the canary has traffic which no run gave it does not: the first
    thing that a run writes takes it away, which may be all there is, so none begins and this one ends.
    """
    canary = scope.facts.canary
    if scope.facts.request is not None and pending_abort(scope.facts):
        return None  # as soon as it has its id it ends this run, and not one that would begin here
    if canary is not None and canary.known and canary.revision != scope.run.revision:
        reason, why = (
            reasons.SUPERSEDED,
            f"revision {canary.revision} replaces {scope.run.revision or 'the one before'}",
        )
    elif canary is not None and canary.unknown and another_pod_spec(scope.run, canary):
        reason, why = (
            reasons.SUPERSEDED,
            f"{canary.name} has another pod spec, and its revision is not known: {canary.unknown}",
        )
    elif scope.facts.unread and scope.status.phase is Phase.PROMOTING:
        return (
            None  # all steps are passed: that they cannot be read takes nothing back, and a copy is not left half made
        )
    elif scope.run.plan != scope.spec.plan_hash():
        reason, why = reasons.PLAN_CHANGED, "routes, Services, workloads or steps were edited"
    else:
        return None
    book = scope.run.copied
    if reason == reasons.PLAN_CHANGED and book is not None:
        # What stable ran before would be on nobody's record. Nor is the run finished by a spec that it was not planned by.
        return fail(scope, Stop(reason, f"{why} while {book.workload} was copied to; a run begins by them afterwards"))
    if book is not None and _found_bad(scope):
        # Users go back to stable, so not to the revision that they are taken away from.
        return fail(
            scope, Stop(reason, f"{why}; a run begins of that when {book.workload} has what it ran before again")
        )
    rival = next((one for one in scope.facts.problems if one.reason == reasons.CONFLICTING_ROLLOUT), None)
    if rival is not None:
        return fail(scope, Stop(reason, f"{why}, and no run begins of that yet: {rival.message}"))
    taken = next(canary_taken(scope.facts, {route.key for route in scope.facts.routes if scope.owned(route)}), None)
    if taken is not None:
        return fail(scope, Stop(reasons.SUPERSEDED, f"{why}, and no run begins of that: {taken.message}"))
    scope = see_lowered(scope)
    before = scope.run.number
    trigger = scope.run.trigger
    stable = scope.facts.stable
    if stable is not None and stable.copied is not None:
        scope = scope.with_(ForgetPodSpec(stable.name, stable.kind))
    # Its steps are others, and it is the same canary that has failed: only a person lets it go on.
    failed = reason == reasons.PLAN_CHANGED and paused_for(scope) in BY_POLICY
    kept = scope.status.paused if failed or kept_by_hand(scope) else None
    scope = begin(scope, by=trigger.by, reason=why, paused=kept)
    scope = scope.with_(*fences(scope))
    message = f"run {before} gives way to run {scope.run.number}: {why}; traffic back to stable, from step one"
    if kept is not None:
        message += f"; still paused: {kept.message}"
    return scope.with_(EmitEvent("Normal", reason, message)).decide(reason, message)


def _found_bad(scope: Scope) -> bool:
    """Whether the revision under test is on its way out: its run is paused by what spec.onFailure asks for, or it serves nobody."""
    return paused_for(scope) in BY_POLICY or scope.run.unavailable_since is not None


def repair(scope: Scope) -> tuple[Scope, str]:
    """Put back what somebody raised. The third time in ten minutes is the last: then also say that it is contested."""
    drifts = raised(scope)
    if not drifts:
        return scope, ""
    # What the API server made of our own write is nobody else's hand: the decision says so where it waits for that write.
    fresh = [drift for drift in drifts if _unfought(scope, drift.route) and not drift.altered(scope)]
    recent = tuple(at for at in scope.status.overrides if scope.now - at < OVERRIDE_WINDOW)
    overrides = (*recent, *([scope.now] if fresh else []))[-OVERRIDE_LIMIT:]
    message = "; ".join(drift.message for drift in drifts)
    overridden = {drift.route.key: drift.route.generation for drift in drifts}
    back = [put_back(scope, drift.route, drift.most) for drift in drifts]
    routes = tuple(
        raised_in(record, overridden.get(route.key, record.overridden))
        if (route := scope.seen(record)) is not None
        else record
        for record in scope.status.routes
    )
    contested = paused_for(scope) == reasons.CONTESTED
    # While a route said something else the step was not held, nor were gateways settled on it: it is reached anew.
    scope = scope.with_(overrides=overrides, routes=routes, step=unreached(scope.step, scope.now))
    beside = "no more than " if any(rule.replaced for drift in fresh for rule in drift.route.rules) else ""
    low = [drift for drift in fresh if allowed(scope, drift.route) != written(scope, drift.route)]
    share = f"{decimal_text(max(drift.expected for drift in low))} %" if low else scope.traffic_text
    if fresh and not contested:
        scope = scope.with_(
            EmitEvent(
                "Warning",
                reasons.RAISED_BY_OTHER,
                f"{'; '.join(drift.message for drift in fresh)}; putting it back to {beside}{share}",
            )
        )
    scope = scope.with_(*back)
    if len(overrides) >= OVERRIDE_LIMIT:
        often = f"that was {OVERRIDE_LIMIT} times in 10 minutes, so the run stays here until somebody decides"
        return scope, f"{message}; {often}; the lower weight is put back every {CONTESTED_PACE.seconds} s at most"
    return scope, ""


def hold_down(scope: Scope) -> Scope:
    """Contested: the run goes nowhere, and the lower of the two weights is kept, at a pace that fights nobody to death."""
    last = max(scope.status.overrides, default=None)
    if last is not None and scope.now < last + CONTESTED_PACE:
        return scope
    return repair(scope)[0]


def _unfought(scope: Scope, route: RouteView) -> bool:
    remembered = scope.remembered(route)
    return remembered is None or remembered.overridden != route.generation
