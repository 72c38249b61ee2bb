"""Phases without a run: idle, succeeded, rolled back, invalid. And how a run begins."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from canary.decide import reasons, scaling
from canary.decide.actions import AddFinalizer, EmitEvent, RemoveFinalizer, RestorePodSpec, WriteRoute
from canary.decide.copying import given_up, tidied_copy, untidied, waits_until
from canary.decide.facts import RouteView
from canary.decide.former import anything_left
from canary.decide.preflight import Objection, objections
from canary.decide.scope import (
    CONTESTED_PACE,
    OVERRIDE_LIMIT,
    OVERRIDE_WINDOW,
    Decision,
    Scope,
    failed_revisions,
    replaced,
    seen_revision,
    with_last_failed,
)
from canary.decide.starts import pending_abort, starts_no_more
from canary.decide.writes import restores, writes
from canary.model.bounded import MAX_RUNS
from canary.model.evolution import at_step, exchanged, revisions_seen, settled, tried
from canary.model.rollout import Promotion, Trigger
from canary.model.route_status import RouteStatus, SplitStatus
from canary.model.run_status import Outcome, PauseStatus, RunStatus, TriggerStatus
from canary.model.status import Phase
from canary.model.values import decimal_text
from canary.routes.added import bounded
from canary.routes.intent import run_annotation

AT_ONCE = timedelta(seconds=1)
"""What is put back twice in so short a time is so for the same reason."""


def resting(scope: Scope) -> Decision:
    """Tidy up, learn revisions, and see whether something is to begin."""
    first_sight = scope.status.phase is None
    scope = _settle(scope)
    # On first sight nothing runs. Least of all where the roles turn out to be changed: these facts are by the old ones.
    first_sight = first_sight or scope.status.swapped != scope.facts.swapped
    scope, later = _tidy(scope)
    if later is None and not first_sight:
        scope = _traffic_at_rest(scope)
    # Before stable is what it was, nobody can tell what a run would replace.
    copy_stays = any(isinstance(act, RestorePodSpec) for act in scope.actions) and not given_up(scope)
    tidying = later is not None or copy_stays or any(isinstance(act, WriteRoute) for act in scope.actions)
    decision = _at_rest(scope, may_begin=not tidying and not first_sight)
    times = [at for at in (decision.wake_at, later, waits_until(scope) if copy_stays else None) if at is not None]
    return replace(decision, wake_at=min(times, default=None))


def _at_rest(scope: Scope, *, may_begin: bool) -> Decision:
    if scope.facts.problems:
        return _invalid(scope)
    objecting = objections(scope.facts)
    if _triggered(scope) and may_begin:
        revision = scope.facts.canary.revision if scope.facts.canary else ""
        if scope.spec.paused:
            return _rest(scope, f"spec.paused is true: revision {revision} waits", reasons.SPEC_PAUSED)
        pending = pending_abort(scope.facts)
        if pending:
            return _rest(scope, f"revision {revision} waits: {pending}", reasons.REQUEST_PENDING)
        if objecting:
            return _rest(scope, f"revision {revision} waits: {objecting[0].message}", objecting[0].reason)
        return start(scope, by="revision", reason=f"canary workload has revision {revision}")
    words, reason = _resting_words(scope, objecting)
    return _rest(scope, f"{words}{untidied(scope)}{scaling.stuck(scope)}", reason)


def _traffic_at_rest(scope: Scope) -> Scope:
    """At rest a route is its owner's. Who gives the canary traffic is named when it is first seen, and so is what they give it to."""
    if scope.written == 0 or float(scope.written) == scope.facts.recorded.share:
        return scope
    if any(isinstance(action, WriteRoute) for action in scope.actions):
        return scope  # left behind by a run of ours, and on its way back
    if scope.facts.unread or any(problem.reason == reasons.CONFLICTING_ROLLOUT for problem in scope.facts.problems):
        return scope  # another Rollout's rule is not at rest because we are
    route = max(scope.live_routes, key=lambda route: route.share)
    run, canary = scope.status.run, scope.facts.canary
    text = f"{route.writer or 'somebody unknown'} gives the canary {decimal_text(route.share)} % of its pair on {route.label}"
    failed = run is not None and run.outcome is Outcome.ROLLED_BACK and scope.facts.unseen_canary is None
    failed = failed and (canary is None or run is None or canary.revision == run.revision)
    if failed and run is not None:
        text += f", though revision {run.revision or 'under test'} was rolled back ({run.reason})"
    return scope.with_(EmitEvent("Warning", reasons.TRAFFIC_AT_REST, text))


def start(scope: Scope, *, by: str, reason: str) -> Decision:
    """Begin a run: claim the Rollout, remember the routes as they are, stand at step 0 (preflight)."""
    scope = begin(scope, by=by, reason=reason)
    message = (
        f"run {scope.run.number} started by {by}: {reason}" if reason else f"run {scope.run.number} started by {by}"
    )
    scope = scope.with_(AddFinalizer(), EmitEvent("Normal", reasons.RUN_STARTED, message))
    return scope.decide(reasons.RUN_STARTED, message)


def begin(scope: Scope, *, by: str, reason: str, paused: PauseStatus | None = None) -> Scope:
    """The status of a fresh run, whatever was before, and the writes that put its traffic on stable. `paused`: a hand holds it from the start."""
    before = scope.status.run
    routes = tuple(
        RouteStatus(
            kind=route.kind,
            name=route.name,
            generation=route.generation,
            share=None,
            # What a run before this one wrote must not be lost sight of before it is put back, declared or not.
            owned=scope.owned(route) or route.intent is not None,
            baseline=_baseline(scope, route),
            rules={rule.key: rule.digest for rule in route.rules if rule.digest},
            mirrors={key: str(said) for key, said in scope.mirrors(route).items()},
            added={mark: str(said) for mark, said in bounded(scope.added(route), route.added.said).items()},
            places=(remembered.places if (remembered := scope.remembered(route)) is not None and scope.active else {}),
        )
        for route in scope.facts.routes
        if route.exists
    )
    scope = scope.with_(
        phase=Phase.PROGRESSING if paused is None else Phase.PAUSED,
        run=RunStatus(
            number=_next_number(scope),
            revision=revision_now(scope),
            pod_spec=scope.facts.canary.pod_spec if scope.facts.canary is not None else "",
            plan=scope.spec.plan_hash(),
            replaces=replaced(scope),
            started_at=scope.now,
            trigger=TriggerStatus(by=by[:256], reason=reason[:512]),
        ),
        previous_run=scope.status.previous_run if before is None or before.outcome is None else before,
        step=at_step(0, len(scope.spec.steps), scope.now),
        split=SplitStatus(desired=0, written=scope.status.split.written, accepted=scope.status.split.accepted),
        checks=(),
        routes=routes,
        paused=paused,
        overrides=(),
        revisions=tried(with_last_failed(scope.status), revision_now(scope)),
        scale=scaling.begun(scope),
    )
    return scope.with_(*writes(scope))


def revision_now(scope: Scope) -> str:
    """The revision that a run is about which begins now: while it is not known, that of the run before."""
    canary, run = scope.facts.canary, scope.status.run
    if canary is not None and canary.unknown and run is not None:
        return run.revision
    return canary.revision if canary is not None else ""


def _baseline(scope: Scope, route: RouteView) -> dict[str, str]:
    """What to restore later; of rules of which the pair is gone for now, what was remembered."""
    remembered = scope.remembered(route)
    before = remembered.baseline if route.problem and remembered is not None else {}
    return {**before, **{key: str(weights) for key, weights in scope.baseline(route).items()}}


def _next_number(scope: Scope) -> int:
    """One more than the highest run that the status or any route knows of: a lost status must not make a number come twice.

    After the largest number that can be written, which nobody has but by forging it, they begin anew.
    """
    run = scope.status.run
    told = (route.intent.run for route in scope.facts.routes if route.intent and route.intent.uid == scope.facts.uid)
    return 1 + max((number for number in (run.number if run else 0, *told) if number < MAX_RUNS), default=0)


def _settle(scope: Scope) -> Scope:
    """Keep revisions up to date: on first sight, when it equals stable's, and when it has failed, the canary's revision is settled."""
    canary, stable = scope.facts.canary, scope.facts.stable
    before = scope.status.revisions
    there = revisions_seen(
        before,
        canary=seen_revision(canary, before.canary, scope.facts.unseen_canary),
        stable=seen_revision(stable, before.stable, scope.facts.unseen_stable),
    )
    as_stable = stable is not None and stable.known and there.canary == there.stable
    needs_no_run = there.settled is None or as_stable or there.canary in {there.aside, *failed_revisions(scope.status)}
    if canary is not None and canary.known and needs_no_run:
        there = settled(there, there.canary)
    scope = scope.with_(revisions=there)
    if scope.spec.promotion_mode is Promotion.SWAP and not scope.status.roles_known and scope.status.run is None:
        scope = _roles_as_found(scope)
    return scope


def _roles_as_found(scope: Scope) -> Scope:
    """Before the first run of a Rollout that swaps: all of the pair's traffic on spec.canary means that the roles are changed.

    Learnt once, at the first look at which its routes can be read; afterwards the weights at rest are their owner's. What a run has left is
    no rest: the share of a version under test, of a Rollout that comes back from a backup, makes nobody stable.
    """
    rules = [rule for route in scope.live_routes for rule in route.rules]
    if any(route.intent is not None or route.unreadable for route in scope.facts.routes):
        return scope
    if not rules or len(scope.live_routes) < len(scope.facts.routes):
        return scope
    scope = scope.with_(roles_known=True)
    if any(rule.weights.share != 100 for rule in rules):
        return scope
    revisions = scope.status.revisions
    return scope.with_(swapped=True, revisions=settled(exchanged(revisions), revisions.stable))


def _tidy(scope: Scope) -> tuple[Scope, datetime | None]:
    """Take away what a lost status or a crash left behind: a finalizer, an annotation with its weights. And until when that waits."""
    left, later = restores(scope), None
    if left:
        scope, later = _put_back(scope, left)
    scope = _tidy_copy(scope)
    if scope.facts.finalizer and not left and not anything_left(scope.status):
        scope = scope.with_(RemoveFinalizer())
    return scope, later


def _put_back(scope: Scope, left: tuple[WriteRoute, ...]) -> tuple[Scope, datetime | None]:
    """Take away what a run has left on routes; slowly, and without a word, where somebody applies that again and again.

    A route that was exported in the middle of a run has its annotation in Git, and gets it with every sync.
    """
    ago = [(scope.now - at, at) for at in scope.status.overrides]
    recent = sorted(at for age, at in ago if timedelta(0) <= age < OVERRIDE_WINDOW)
    often = len(recent) >= OVERRIDE_LIMIT
    if often and scope.now < recent[-1] + CONTESTED_PACE:
        return scope, recent[-1] + CONTESTED_PACE
    if recent and scope.now < recent[-1] + AT_ONCE:
        return scope.with_(*left), None  # it was told already: the write is tried again, or is the second of several
    scope = scope.with_(*left, overrides=(*recent, scope.now)[-OVERRIDE_LIMIT:])
    if often:
        return scope, None
    names = ", ".join(f"{action.kind} {action.name}" for action in left)
    words = f"no run is active: put {names} back to stable"
    if len(recent) + 1 >= OVERRIDE_LIMIT:
        mark = run_annotation(scope.facts.name)
        words += (
            f"; that was {OVERRIDE_LIMIT} times in 10 minutes, as if somebody applied a route with the annotation {mark} of an earlier "
            f"run: take it out of what is applied. It is put back every {CONTESTED_PACE.seconds} s at most, and not told of again"
        )
    return scope.with_(EmitEvent("Warning", reasons.LEFTOVER, words)), None


def _tidy_copy(scope: Scope) -> Scope:
    """A copy that took effect after its run had ended (its answer was lost) is undone, unless the run was won."""
    tidying = tidied_copy(scope)
    told = [
        EmitEvent(
            "Warning",
            reasons.LEFTOVER,
            f"no run is active: put the pod spec of {action.target} back that a promotion had replaced",
        )
        for action in tidying
        if isinstance(action, RestorePodSpec) and scope.facts.untidied is None
    ]
    return scope.with_(*tidying, *told)


def _triggered(scope: Scope) -> bool:
    canary, stable = scope.facts.canary, scope.facts.stable
    if scope.spec.trigger_mode is not Trigger.ON_REVISION or canary is None or not canary.known:
        return False
    settled = scope.status.revisions.settled
    return canary.revision not in {settled, stable.revision if stable else None}


def _invalid(scope: Scope) -> Decision:
    message = "; ".join(str(problem) for problem in scope.facts.problems)
    reason = scope.facts.problems[0].reason
    if scope.status.phase is not Phase.INVALID:
        scope = scope.with_(EmitEvent("Warning", reasons.INVALID, message))
    scope, wake_at = scaling.settled(scope)
    return scope.with_(phase=Phase.INVALID, step=None, split=SplitStatus()).decide(reason, message, wake_at)


def _rest(scope: Scope, message: str, reason: str) -> Decision:
    run = scope.status.run
    phase = Phase.IDLE
    if run is not None and run.outcome is Outcome.SUCCEEDED:
        phase = Phase.SUCCEEDED
    elif run is not None and run.outcome is Outcome.ROLLED_BACK:
        phase = Phase.ROLLED_BACK
    scope, wake_at = scaling.settled(scope)
    return scope.with_(phase=phase).decide(reason, message, wake_at)


def _resting_words(scope: Scope, objecting: tuple[Objection, ...]) -> tuple[str, str]:
    run, there = scope.status.run, scope.facts.canary
    if there is not None and there.known and there.revision == scope.status.revisions.aside and not objecting:
        ended = f"{run.message}; " if run is not None and run.outcome is not None else ""
        return f"{ended}{starts_no_more(there.revision)}", reasons.ABORTED
    if run is not None and run.outcome is not None:
        message, reason = run.message, run.reason
        canary = scope.facts.canary
        if canary is not None and canary.revision != run.revision and canary.revision in failed_revisions(scope.status):
            message = f"revision {canary.revision} was rolled back before; `canary retry` tries it again"
            reason = reasons.ROLLED_BACK
        return (f"{objecting[0].message}; {message}", objecting[0].reason) if objecting else (message, reason)
    if objecting:
        return objecting[0].message, objecting[0].reason
    canary = scope.facts.canary
    if scope.spec.trigger_mode is Trigger.MANUAL or canary is None:
        return "waiting for `canary start`", reasons.SETTLED
    return f"waiting for a new revision ({canary.revision} is settled)", reasons.SETTLED
