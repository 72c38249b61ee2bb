"""What a controller believes when it takes a run over: the record first, then what the routes say, by named rules.

A status can be old (a crash came before its write), of another controller (which went on while this one slept), of
another version, or forged; so can an annotation. What is believed can stop a run, or put it back. It can never raise a
weight: a step counts only as far as its share was written already, and evidence is measured anew (promises 3, 6, 9).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from canary.decide import approval, gates, reasons
from canary.decide.drift import lowered
from canary.decide.facts import RouteView
from canary.decide.interrupts import another_pod_spec
from canary.decide.matching import added_at
from canary.decide.mirroring import copied_at
from canary.decide.pausing import BY_HAND, BY_POLICY, hold_still, kept_by_hand, paused_for
from canary.decide.scope import Changes, Scope, remembered_share, replaced
from canary.decide.timing import AGREE
from canary.model.evolution import (
    at_step,
    by_now,
    called_otherwise,
    ended,
    gate_waited_for,
    held_until,
    pause_since,
    pod_spec_seen,
    reckoned_anew,
    remembered_by,
    resumed_over,
    settled_by,
    unhurried,
    used_up,
    won_without_swap,
)
from canary.model.requests import APPROVING, Request, Verb
from canary.model.run_status import Outcome, RunStatus
from canary.model.shares import Shares
from canary.model.status import Phase, RolloutStatus
from canary.preflight.offers import LONGEST_SETTLE
from canary.routes.intent import Intent, Mode

Rule = Callable[[Scope], Scope]


def adopt(ours: RolloutStatus, recorded: RolloutStatus, *, another: bool, on_record: bool) -> RolloutStatus:
    """Which of two states of one Rollout holds: what we have in mind, or what somebody else has put on record.

    A recorded outcome is final for everybody, and so is a later run. `another` says that the routes name the turn of
    another controller: then its word counts for a run that is undecided. Else nobody but us has a say in our own run,
    except that it is paused: that can only stop it. An outcome of ours that is not on record yet is kept. `on_record` says that our run
    was on record: one that was not has begun from what somebody else has gone on from since, so it is decided anew whether it may begin.
    """
    if recorded.run is None:
        return ours
    if ours.run is None or recorded.run.number > ours.run.number:
        return recorded
    if recorded.run.number < ours.run.number:
        return ours if on_record else recorded
    if recorded.run.outcome is not None:
        ended = recorded.run.outcome is ours.run.outcome and (recorded.active or not ours.active)
        return ours if ended else recorded
    if ours.run.outcome is not None:
        return ours
    return recorded if another or _stopped(ours, recorded) else ours


def _stopped(ours: RolloutStatus, recorded: RolloutStatus) -> bool:
    """Whether somebody has paused what we go on with, and has heard of every answer of ours, by which that may have been resumed.

    Two controllers of which one takes back what the other one raises would else begin that anew after each hold: who takes it back
    writes its turn to the route last, and would end the pause that the other one has put on record because of it.
    """
    if (ours.phase, recorded.phase) != (Phase.PROGRESSING, Phase.PAUSED):
        return False
    answer, known = ours.last_request, recorded.last_request
    return answer is None or (known is not None and (known.which == answer.which or known.at > answer.at))


def still_counted(ours: RolloutStatus, taken: RolloutStatus) -> RolloutStatus:
    """A state that was taken over from somebody else, with what we know to have been put back in this run, where it knows of less.

    The third time in ten minutes is the last (`interrupts.repair`). Who does not write that down as soon as it happens, since somebody
    else was faster, would never get that far. A resumed run, or another one, is counted anew.
    """
    if _counted_in(ours) != _counted_in(taken) or len(ours.overrides) <= len(taken.overrides):
        return taken
    return taken.model_copy(update={"overrides": ours.overrides})


def _counted_in(status: RolloutStatus) -> object:
    """What rises are counted in that were taken back: a run that is under way, from one answer to a person to the next."""
    run, request = status.run, status.last_request
    return (status.active and run is not None and run.number, request.which if request is not None else None)


def recover(scope: Scope) -> Scope:
    """Make one consistent state of what the status and the routes say."""
    for rule in ALWAYS:
        scope = rule(scope)
    if scope.facts.fresh:
        for rule in TAKING_OVER:
            scope = rule(scope)
    return scope


# -- a status that cannot be ----------------------------------------------------------------------------------------


def no_run_on_record(scope: Scope) -> Scope:
    """A status that speaks of a run without saying which is no memory of one: the routes are tidied up instead."""
    status = scope.status
    if status.active and (status.run is None or status.step is None):
        return scope.with_(phase=Phase.IDLE, step=None, paused=None)
    return scope


def decided_but_going_on(scope: Scope) -> Scope:
    """An outcome ends a run, whatever phase stands beside it; a phase that ends one without an outcome rolls it back."""
    status = scope.status
    if not status.active:
        return scope
    match scope.run.outcome:
        case Outcome.ROLLED_BACK if status.phase is not Phase.ROLLING_BACK:
            return scope.with_(phase=Phase.ROLLING_BACK, paused=None)
        case Outcome.SUCCEEDED if status.phase is not Phase.PROMOTING:
            return scope.with_(phase=Phase.PROMOTING, paused=None)
        case None if status.phase is Phase.ROLLING_BACK:
            return _rolled_back(scope, "the status says that it is rolling back")
        case None if status.phase is Phase.PROMOTING and scope.step.index < scope.step.total:
            return _rolled_back(scope, f"the status says that it is promoting, at {scope.step_text}")
        case _:
            return scope


def swapped_without_traffic(scope: Scope) -> Scope:
    """A run that is won by Swap has all traffic on the canary before it is won: nothing is raised by believing it.

    A route that gives less by now has had it by the annotation of the run, or by the record once that is gone: a hand has lowered it since.
    The same for who has won it and for who takes it over: else a restart would decide.
    """
    if not scope.active or not scope.run.swap:
        return scope
    if all(route.full or _given_all(scope, route) for route in scope.live_routes):
        return scope
    return scope.with_(run=won_without_swap(scope.run))


def _given_all(scope: Scope, route: RouteView) -> bool:
    """Whether this run has given the canary all of a route."""
    intent = route.intent if scope.ours(route) else None
    if intent is None or intent.mode is Mode.FINISH:  # which has what a hand has left there
        return _was_full(scope, route)
    return bool(intent.weights) and all(each.share == 100 for each in intent.weights.values())


def _was_full(scope: Scope, route: RouteView) -> bool:
    """Whether the record says that the canary was given all of a route."""
    remembered = scope.remembered(route)
    return remembered is not None and all(remembered_share(remembered, rule.key) == 100 for rule in route.rules)


def paused_for_nothing(scope: Scope) -> Scope:
    """A pause that does not say why needs a person."""
    if scope.status.phase is Phase.PAUSED and scope.status.paused is None:
        why = pause_since(scope.now, reasons.PAUSED_BY_REQUEST, "for a reason that is not on record")
        return scope.with_(paused=why)
    return scope


def nothing_of_tomorrow(scope: Scope) -> Scope:
    """What is on record as having been, was by now: a time that nobody can have recorded is none to reckon from."""
    status, now = scope.status, scope.now
    changes: Changes = {}
    if status.run is not None and scope.active:
        changes["run"] = by_now(status.run, now, "started_at", "reckoned_since", "unavailable_since")
    if status.step is not None and scope.active:
        changes["step"] = by_now(status.step, now, "started_at", "reached_at", "unaccepted_since")
    if any(check.unknown_since is not None and check.unknown_since > now for check in status.checks):
        changes["checks"] = tuple(by_now(check, now, "unknown_since") for check in status.checks)
    if status.scale is not None:
        changes["scale"] = by_now(status.scale, now, "short_since", "drained_since")
    if any(each.drained_since is not None and each.drained_since > now for each in status.former_canaries):
        changes["former_canaries"] = tuple(by_now(each, now, "drained_since") for each in status.former_canaries)
    same = all(value is getattr(status, name) for name, value in changes.items())
    return scope if same else scope.with_(**changes)


def held_as_long_as_declared(scope: Scope) -> Scope:
    """A step that was reached is held for as long as it says, whatever else stands beside that, and no longer than that from now."""
    status = scope.status
    if not status.active or scope.step.reached_at is None:
        return scope
    hold = scope.declared_step.hold.delta if scope.declared_step and scope.declared_step.hold else timedelta(0)
    least, most = scope.step.reached_at + hold, scope.now + hold  # what has made it longer has been by now
    until = scope.step.hold_until
    over = least if until is None else min(max(until, least), most)
    return scope if over == until else scope.with_(step=held_until(scope.step, over))


def settled_as_gateways_do(scope: Scope) -> Scope:
    """What is measured in a step that was reached counts from a settle time later, and never from so late that it is forged."""
    if not scope.active or scope.step.reached_at is None:
        return scope
    reached, settled = scope.step.reached_at, scope.step.settled_at
    # Gateways that have taken their yes back have settled later than they did first, and not later than now.
    if settled is not None and reached <= settled <= max(reached, scope.now) + LONGEST_SETTLE:
        return scope
    return scope.with_(step=settled_by(scope.step, reached + scope.facts.settle))


def gate_waited_for_as_long_as_can_be(scope: Scope) -> Scope:
    """It is waited for a gate since its step was reached at the earliest, and not since tomorrow."""
    if not scope.active or scope.step.gate is None:
        return scope
    since = min(max(scope.step.gate.since, scope.step.reached_at or scope.step.started_at), scope.now)
    return scope if since == scope.step.gate.since else scope.with_(step=gate_waited_for(scope.step, since))


def rules_that_moved(scope: Scope) -> Scope:
    """What is remembered of a route is remembered by the keys that its rules have now."""
    if not any(route.moved for route in scope.facts.routes):
        return scope
    routes = tuple(
        remembered_by(record, route.moved) if (route := scope.seen(record)) is not None else record
        for record in scope.status.routes
    )
    return scope.with_(routes=routes)


# -- what the routes say --------------------------------------------------------------------------------------------


def impossible_annotations(scope: Scope) -> Scope:
    """An annotation of a run that cannot be counts as absent.

    A run is on record before its first step, so the routes are ahead of the record by one run at most, and by none of
    its steps; and only of a run that is undecided, and that was not paused by policy unless what begins another one is there.
    That a run is won is on record before any route says so.
    """
    if not scope.active:
        return scope
    number, gives_way = scope.run.number, _may_give_way(scope)

    def impossible(intent: Intent | None) -> bool:
        if intent is None or intent.uid != scope.facts.uid:
            return False
        if intent.mode is Mode.FINISH and intent.run == number and scope.run.outcome is not Outcome.SUCCEEDED:
            return True
        return intent.run > number + 1 or (intent.run == number + 1 and (intent.step > 0 or not gives_way))

    return _disbelieved(scope, impossible)


def _disbelieved(scope: Scope, impossible: Callable[[Intent | None], bool]) -> Scope:
    """The same without the annotations that cannot be."""
    if not any(impossible(route.intent) for route in scope.facts.routes):
        return scope
    views = tuple(
        replace(route, intent=None, unreadable=True) if impossible(route.intent) else route
        for route in scope.facts.routes
    )
    return replace(scope, facts=replace(scope.facts, routes=views))


def _may_give_way(scope: Scope) -> bool:
    """Whether a decision about the run on record could have begun the next one, in the middle of it."""
    if scope.run.outcome is not None:
        return False
    if paused_for(scope) not in BY_POLICY:
        return True
    canary = scope.facts.canary
    another = canary is not None and (
        canary.revision != scope.run.revision if canary.known else another_pod_spec(scope.run, canary)
    )
    return another or scope.run.plan != scope.spec.plan_hash()


def rolling_back_on_a_route(scope: Scope) -> Scope:
    """A route says that this run is being rolled back: believed at any time, since it can only take traffic away."""
    if not scope.active or scope.run.outcome is not None:
        return scope
    ending = next((intent for intent in _mine(scope) if intent.mode is Mode.ROLLBACK), None)
    if ending is None:
        return scope
    run = ended(scope.run, Outcome.ROLLED_BACK, *_said(scope, ending), scope.now)
    return scope.with_(run=run, phase=Phase.ROLLING_BACK, paused=None)


def _said(scope: Scope, ending: Intent) -> tuple[str, str]:
    """Why a run ends, as its routes have it."""
    words = f"the routes say that run {scope.run.number} is ending ({ending.mode})"
    return ending.reason or reasons.RECOVERED, ending.message or words


def a_run_ahead(scope: Scope) -> Scope:
    """A route has the run after the one on record: it had begun, and has come no further than its preflight."""
    if not scope.active:
        return scope
    ahead = max((intent.run for intent in _intents(scope)), default=0)
    if ahead <= scope.run.number:
        return scope
    # The decision that began it has seen a person's hand, and may have died before it was on record.
    theirs = {route.key for route in scope.facts.routes if _runs(scope, route) > scope.run.number}
    drift = None if kept_by_hand(scope) else lowered(scope, besides=theirs)
    if drift is not None and not drift.gone:
        scope = hold_still(scope, reasons.LOWERED_BY_HAND, drift.message)
    # Where it has written over what showed the hand, it has said so.
    told = next((intent for intent in _intents(scope) if intent.run == ahead and intent.reason in BY_HAND), None)
    if told is not None and not kept_by_hand(scope):
        scope = hold_still(scope, told.reason, told.message)
    canary = scope.facts.canary
    run = RunStatus(
        number=ahead,
        revision=canary.revision if canary is not None and not canary.unknown else scope.run.revision,
        pod_spec=canary.pod_spec if canary is not None else "",
        plan=scope.spec.plan_hash(),
        replaces=replaced(scope),
        started_at=scope.now,
        trigger=scope.run.trigger,
    )
    # Nothing that was measured, asked or overridden over in the run before counts in this one; a person's pause does.
    scope = scope.with_(run=run, step=at_step(0, len(scope.spec.steps), scope.now), checks=(), overrides=())
    return scope if kept_by_hand(scope) else scope.with_(phase=Phase.PROGRESSING, paused=None)


BEGINNINGS = frozenset({Verb.START, Verb.RETRY})
"""Requests that begin a run, and are for none that is under way."""


def as_somebody_asked(scope: Scope) -> Scope:
    """What only a person can say counts where the record has a request of theirs in this run, and what belongs to it.

    Whoever may write statuses may write that as well; but a member by itself is no request.
    """
    if not scope.active or scope.run.outcome is not None:
        return scope
    run, step, last = scope.run, scope.step, scope.status.last_request
    # What has begun the run is on record of nearly every run, and says nothing of what came in it.
    asked = last is not None and last.at >= run.started_at - AGREE and last.verb not in BEGINNINGS
    if (run.full or run.ignore_unknown) and not (asked and run.full and run.full_at is not None):
        scope = scope.with_(run=unhurried(run))
    if step.approved and not (asked and last is not None and last.at >= step.started_at):
        scope = scope.with_(step=used_up(step))
    if any(record.resumed for record in scope.status.routes) and not asked:
        scope = scope.with_(routes=tuple(resumed_over(record, {}) for record in scope.status.routes))
    return scope


def steps_that_nobody_began(scope: Scope) -> Scope:
    """An annotation that says a later step than the record counts as absent where a person had to speak before that one, and none has.

    Whoever may write a route may write that, and the weights that it tells of: it approves nothing. A request that was done
    right before its controller died still stands, and the routes name it.
    """
    if not scope.active or scope.run.outcome is not None or scope.run.plan != scope.spec.plan_hash() or scope.run.full:
        return scope
    waits = approval.wanted(scope) or scope.status.phase is Phase.PAUSED
    approving = scope.status.phase is Phase.PROGRESSING or approval.awaiting(scope)
    request = _named_on_the_routes(scope)
    unvouched = request is not None and approval.unknown(scope, request)
    if not waits or (approving and (unvouched or _asked_on_the_routes(scope) in APPROVING)):
        return scope
    if not any(intent.step > scope.step.index for intent in _mine(scope)):
        return scope
    views = tuple(
        replace(route, intent=_for_the_way_back(scope, route, route.intent), unreadable=True)
        if scope.ours(route) and route.intent is not None and route.intent.step > scope.step.index
        else route
        for route in scope.facts.routes
    )
    return replace(scope, facts=replace(scope.facts, routes=views))


def _for_the_way_back(scope: Scope, route: RouteView, intent: Intent) -> Intent:
    """Of an annotation that says more than can be: what it says of copies and of rules, as of some that are over, so that they are taken away."""
    known, remembered = scope.remembered_mirrors(route), scope.remembered(route)
    added = remembered.added if remembered is not None and remembered.owned else {}
    return replace(
        intent,
        step=scope.step.index,
        weights={},
        baseline={},
        mirrors={key: known.get(key, said.ended) for key, said in intent.mirrors.items()},
        added={mark: said if mark in added else said.ended for mark, said in intent.added.items()},
        request="",
    )


def the_step_that_was_written(scope: Scope) -> Scope:
    """The run stands at the step whose share its routes were given, not at one that would have to be given it now.

    One step further than the record where every route has that step's share already, and the one on record may have been left.
    Where only some have it, or where the share on record was not written everywhere, the last step that was, entered anew.
    """
    if scope.status.phase not in {Phase.PROGRESSING, Phase.PAUSED} or scope.run.outcome is not None:
        return scope
    if scope.run.plan != scope.spec.plan_hash():
        return scope  # begun anew in this very decision
    index = scope.step.index
    declared = [_written(scope, route) for route in scope.live_routes if route.declared]
    if not declared:
        return scope
    steps = {intent.step for intent in _mine(scope)}
    ahead = index < len(scope.spec.steps) and steps == {index + 1} and _stand_at(declared, scope.shares_at(index + 1))
    if ahead and copied_at(scope, index + 1) and added_at(scope, index + 1):
        # What the routes have by then says nothing of the steps before, but that they were begun.
        return _at_step(scope, index + 1) if _may_have_been_left(scope) else _at_step(scope, index)
    if scope.run.unavailable_since is not None:
        return scope
    given = [
        lower
        for lower in range(1, index + 1)
        if _have(declared, scope.shares_at(lower)) and copied_at(scope, lower) and added_at(scope, lower)
    ]
    if index in given or index == 0:
        return _at_step(scope, index, approved=scope.step.approved) if index + 1 in steps else scope
    return _at_step(scope, max(given, default=0))


def _may_have_been_left(scope: Scope) -> bool:
    """Whether nothing is known that keeps the run at the step on record: an approval, or its gate.

    What another system said was heard by nobody who is still there, so it is asked again, at the step that waits for it. Of a hold
    nobody can tell whether it was over: how long the controller before was at work after its last record is not known.
    """
    asked = _asked_on_the_routes(scope)
    if asked is Verb.PROMOTE_FULL:
        return True
    return (asked is Verb.PROMOTE or not approval.wanted(scope)) and gates.closed(scope) is None


def _named_on_the_routes(scope: Scope) -> Request | None:
    """The request that stands, if it is about this run, and the routes name it as the last one done."""
    request = scope.facts.request
    if request is None or not request.id or request.run not in {0, scope.run.number}:
        return None
    return request if any(intent.request == request.id for intent in _mine(scope)) else None


def _asked_on_the_routes(scope: Scope) -> Verb | None:
    """What it asks for, if whoever asks may approve what it would."""
    request = _named_on_the_routes(scope)
    return request.known if request is not None and not approval.not_by_them(scope, request) else None


def reckoned_by_more(scope: Scope) -> Scope:
    """What was settled, or is under way, by a pod spec alone is so by what the spec includes besides since: nothing else has changed."""
    canary, run, revisions = scope.facts.canary, scope.status.run, scope.status.revisions
    if canary is None or not canary.bare or not canary.known or canary.bare == canary.revision:
        return scope
    if run is not None and run.revision == canary.bare:
        scope = scope.with_(run=reckoned_anew(run, canary.revision))
    return scope.with_(revisions=called_otherwise(revisions, canary.bare, canary.revision))


def pod_spec_of_its_revision(scope: Scope) -> Scope:
    """A run of which nobody has recorded the pod spec has the one that is seen with its revision."""
    canary, run = scope.facts.canary, scope.status.run
    if run is None or not scope.active or run.outcome is not None or canary is None or not canary.known:
        return scope
    if not canary.pod_spec or run.revision != canary.revision or run.pod_spec == canary.pod_spec:
        return scope
    return scope.with_(run=pod_spec_seen(run, canary.pod_spec))


ALWAYS: tuple[Rule, ...] = (
    no_run_on_record,
    decided_but_going_on,
    paused_for_nothing,
    nothing_of_tomorrow,
    held_as_long_as_declared,
    settled_as_gateways_do,
    gate_waited_for_as_long_as_can_be,
    rules_that_moved,
    impossible_annotations,
    a_run_ahead,
    rolling_back_on_a_route,
    swapped_without_traffic,
    reckoned_by_more,
    pod_spec_of_its_revision,
)
"""What can only stop a run or put it back is believed at any time."""

TAKING_OVER: tuple[Rule, ...] = (
    as_somebody_asked,
    steps_that_nobody_began,
    the_step_that_was_written,
)
"""What takes a run further is believed only when it is taken over: of a run that we drive, we know what we wrote."""


def _intents(scope: Scope) -> list[Intent]:
    return [
        route.intent for route in scope.facts.routes if route.intent is not None and route.intent.uid == scope.facts.uid
    ]


def _runs(scope: Scope, route: RouteView) -> int:
    """The run of ours that a route was written for last."""
    return route.intent.run if route.intent is not None and route.intent.uid == scope.facts.uid else 0


def _mine(scope: Scope) -> list[Intent]:
    return [intent for intent in _intents(scope) if intent.run == scope.run.number]


Written = Mapping[str, Fraction]
"""The share that this run gave each rule of a route, as far as anything tells; in percent of the pair, by rule key."""


def _written(scope: Scope, route: RouteView) -> Written:
    """The record alone is believed downwards only: what it says may be forged, and what the route has may be.

    A rule that a step names is never passed over; one that somebody has added meanwhile is.
    """
    there = {rule.key: rule.weights.share for rule in route.rules}
    if scope.ours(route) and route.intent is not None and route.intent.mode is Mode.STEP and not route.unreadable:
        given = {key: weights.share for key, weights in route.intent.weights.items()}
        if not given:
            return dict.fromkeys(there, Fraction(0))
        return {key: there[key] for key in there.keys() & scope.spec.named_rules} | given
    remembered = scope.remembered(route)
    if remembered is not None and remembered.owned and remembered.share is not None:
        return {key: min(share, remembered_share(remembered, key)) for key, share in there.items()}
    return there


def _have(declared: Sequence[Written], shares: Shares) -> bool:
    """Whether every rule was given as much already."""
    return all(share >= shares.of(key) for written in declared for key, share in written.items())


def _stand_at(declared: Sequence[Written], shares: Shares) -> bool:
    """Whether that is just what they were given, and not more."""
    just = any(share == shares.of(key) for written in declared for key, share in written.items())
    return just and _have(declared, shares)


def _at_step(scope: Scope, index: int, *, approved: bool = False) -> Scope:
    if index != scope.step.index and approval.awaiting(scope):
        scope = scope.with_(phase=Phase.PROGRESSING, paused=None)  # that was about another step
    since = scope.now if index else None
    step = at_step(index, len(scope.spec.steps), scope.now, unaccepted_since=since, approved=approved)
    return scope.with_(step=step)


def _rolled_back(scope: Scope, why: str) -> Scope:
    run = ended(scope.run, Outcome.ROLLED_BACK, reasons.RECOVERED, f"impossible: {why}", scope.now)
    return scope.with_(run=run, phase=Phase.ROLLING_BACK, paused=None)
