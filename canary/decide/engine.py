"""`decide(spec, status, facts)`: one pure, total function from what is declared, remembered and seen to what comes next."""

from __future__ import annotations

import math

from canary.decide import reasons
from canary.decide.actions import AddFinalizer, ClearRequest, RemoveFinalizer, RestorePodSpec, StampRequest
from canary.decide.ending import rolling_back
from canary.decide.facts import Facts
from canary.decide.pausing import kept_by_hand
from canary.decide.promotion import promoting
from canary.decide.requests import serve, served_before
from canary.decide.resting import resting
from canary.decide.running import paused, progressing
from canary.decide.scope import Decision, Scope, measuring
from canary.decide.verdict import judge
from canary.decide.writes import restores
from canary.gateway.intent import Mode
from canary.model.measurement import Sample
from canary.model.rollout import RolloutSpec
from canary.model.status import Outcome, Phase, RolloutStatus


def decide(spec: RolloutSpec, status: RolloutStatus, facts: Facts) -> Decision:
    """Decide what comes next.

    Args:
        spec: what is declared, valid by its schema (what is wrong beyond that is in `facts.problems`).
        status: the state that the last decision left; after a restart, what the API server has.
        facts: the world, clock included.

    Returns:
        The next state, the actions that make it true, and when time alone would change the answer. Never raises for
        anything that spec, status and facts can say.

    """
    scope = _whole(Scope(spec, status, facts))
    if facts.deleting:
        return _deleting(_recover(scope))
    before = scope.status.step
    scope = _recover(_measure(scope))
    # The first step that nobody is on record to have approved.
    scope_or_end = _requests(scope, before.index + before.approved if before else 0)
    return scope_or_end if isinstance(scope_or_end, Decision) else _phase(scope_or_end)


def _whole(scope: Scope) -> Scope:
    """A status that speaks of a run without saying which is no memory of one: the routes are tidied up instead."""
    status = scope.status
    if status.active and (status.run is None or status.step is None):
        return scope.with_(phase=Phase.IDLE, step=None, paused=None)
    return scope


def _phase(scope: Scope) -> Decision:
    if scope.status.active and not scope.facts.finalizer:
        # Its first write failed, or somebody took it away: without it a deletion would strand the routes.
        scope = scope.with_(AddFinalizer())
    match scope.status.phase:
        case Phase.PROGRESSING:
            return progressing(scope)
        case Phase.PAUSED:
            return paused(scope)
        case Phase.PROMOTING:
            return promoting(scope)
        case Phase.ROLLING_BACK:
            return rolling_back(scope)
        case Phase.IDLE | Phase.SUCCEEDED | Phase.ROLLED_BACK | Phase.INVALID | None:
            return resting(scope)


def _measure(scope: Scope) -> Scope:
    """Fold what was measured into the checks; forget checks that are declared no more."""
    if not scope.status.active:
        return scope
    live = measuring(scope.spec, scope.status)
    states = []
    for check, before in scope.checks:
        state = before
        if live:
            for name, measurement in scope.facts.measurements:
                if name == check.name:
                    state = judge(check, state, measurement)
        states.append(state)
    scope = scope.with_(checks=tuple(states))
    observed = scope.facts.observed
    if isinstance(observed, Sample) and math.isfinite(observed.value):
        percent = round(min(max(observed.value * 100, 0.0), 100.0), 1)
        scope = scope.with_(split=scope.status.split.model_copy(update={"observed": percent}))
    return scope


def _recover(scope: Scope) -> Scope:
    """Believe the routes where they know more than the status: a crash came between the two writes."""
    if not scope.status.active:
        return scope
    intents = [
        route.intent for route in scope.facts.routes if route.intent is not None and route.intent.uid == scope.facts.uid
    ]
    ahead = max((intent.run for intent in intents), default=0)
    if ahead > scope.run.number:
        canary = scope.facts.canary
        scope = scope.with_run(
            number=ahead,
            revision=canary.revision if canary is not None else scope.run.revision,
            outcome=None,
            reason="",
            message="",
            plan=scope.spec.plan_hash(),
            started_at=scope.now,
            traffic_since=None,
            ended_at=None,
            full=False,
            swap=False,
        ).with_step(index=0, started_at=scope.now, reached_at=None, hold_until=None, approved=False)
        # Nothing that was measured, asked or fought over in the run before counts in this one; a person's pause does.
        scope = scope.with_(checks=(), fights=())
        if not kept_by_hand(scope):
            scope = scope.with_(phase=Phase.PROGRESSING, paused=None)
    mine = [intent for intent in intents if intent.run == scope.run.number]
    for mode, outcome, phase in (
        (Mode.ROLLBACK, Outcome.ROLLED_BACK, Phase.ROLLING_BACK),
        (Mode.FINISH, Outcome.SUCCEEDED, Phase.PROMOTING),
    ):
        ending = next((intent for intent in mine if intent.mode is mode), None)
        if scope.run.outcome is None and ending is not None:
            scope = scope.with_run(
                outcome=outcome,
                reason=ending.reason or reasons.RECOVERED,
                message=ending.message or f"the routes say that run {scope.run.number} is ending ({mode})",
                ended_at=scope.now,
                swap=mode is Mode.FINISH and any(weights.share > 0 for weights in ending.weights.values()),
            ).with_(phase=phase, paused=None)
    step = max((intent.step for intent in mine), default=0)
    if scope.run.outcome is None and scope.step.index < step <= len(scope.spec.steps):
        total = len(scope.spec.steps)
        scope = scope.with_step(
            index=step,
            total=total,
            display=f"{step}/{total}",
            started_at=scope.now,
            reached_at=None,
            hold_until=None,
            unaccepted_since=scope.now,
            approved=False,
        )
    return scope


def _requests(scope: Scope, unapproved: int) -> Scope | Decision:
    request = scope.facts.request
    if request is None or scope.status.phase is None:  # on first sight it is learnt who is who, before anything is done
        return scope
    if not request.id:
        return scope.with_(StampRequest(request.raw))
    last = scope.status.last_request
    if last is not None and last.id == request.id:
        done = scope.facts.recorded.request == request.id
        return scope.with_(ClearRequest(request.raw)) if done else scope
    return served_before(scope, request, unapproved) or serve(scope, request)


def _deleting(scope: Scope) -> Decision:
    """Restore the routes, then let go. Nothing else matters any more."""
    message = "the Rollout is being deleted"
    if not scope.facts.finalizer:
        return scope.decide(reasons.DELETING, message)
    left = restores(scope)
    stable = scope.facts.stable
    won = scope.status.run is not None and scope.status.run.outcome is Outcome.SUCCEEDED
    restore_pods = stable is not None and stable.copied and not won
    if restore_pods and stable is not None:
        scope = scope.with_(RestorePodSpec(stable.name))
    if left or restore_pods:
        return scope.with_(*left).decide(reasons.DELETING, f"{message}: putting its routes back to stable")
    return scope.with_(RemoveFinalizer()).decide(reasons.DELETING, message)
