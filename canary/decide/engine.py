"""`decide(spec, status, facts)`: one pure, total function from what is declared, remembered and seen to what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial, reduce

from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.resolve import ResolvedCheck
from canary.decide import former, reasons, scaling
from canary.decide.actions import (
    Action,
    AddFinalizer,
    ClearRequest,
    EmitEvent,
    RemoveFinalizer,
    StampRequest,
    WriteRoute,
)
from canary.decide.answering import compare_answers
from canary.decide.comparing import applicable, compare
from canary.decide.copying import copy_annotation, given_up, left_behind, seen, tidied_copy, untidied, waits_until
from canary.decide.drift import OPT_IN_RULE
from canary.decide.ending import rolling_back, tidying_words
from canary.decide.facts import Facts
from canary.decide.promotion import finishing, promoting
from canary.decide.recovery import recover
from canary.decide.requests import other_verb, serve, told_again, unstamped
from canary.decide.resting import resting
from canary.decide.running import paused, progressing
from canary.decide.scope import Decision, Goto, Next, Place, Scope, measuring
from canary.decide.steps import step
from canary.decide.traffic import counted
from canary.decide.verdict import judge
from canary.decide.writes import fences, restores, taken_turns
from canary.model.check_status import CheckStatus
from canary.model.evolution import edited, given_traffic, lost, taken_away, unreadable
from canary.model.rollout import Promotion, RolloutSpec
from canary.model.run_status import Outcome
from canary.model.status import Phase, RolloutStatus
from canary.routes.intent import run_annotation
from canary.routes.kinds import STICKY


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
    scope = former.parted(seen(recover(Scope(spec, status, facts))))
    if facts.deleting:
        return _warned(scope, _deleting(scope))
    scope = _measure(scope)
    return _warned(scope, _take_turns(scope, _walk(_requests(scope))))


PLACES: Mapping[Place, Callable[[Scope], Next]] = {
    Place.RESTING: resting,
    Place.PROGRESSING: progressing,
    Place.STEP: step,
    Place.PAUSED: paused,
    Place.PROMOTING: promoting,
    Place.FINISHING: finishing,
    Place.ROLLING_BACK: rolling_back,
}
"""Which function decides at which place."""


def _walk(following: Next) -> Decision:
    """From place to place until one of them decides. Each is passed once, but for steps: there are as many as declared."""
    if isinstance(following, Decision):
        return following
    following = Goto(_prepared(following.scope), following.place)
    for _ in range(len(following.scope.spec.steps) + 2 * len(PLACES)):
        following = PLACES[following.place](following.scope)
        if isinstance(following, Decision):
            return following
    raise AssertionError(f"no decision is reached from {following.place}")


def _take_turns(scope: Scope, decision: Decision) -> Decision:
    """Whoever takes a run over, or pauses it, sees to it that what another controller has under way comes too late."""
    pausing = decision.phase is Phase.PAUSED and scope.status.phase is not Phase.PAUSED
    if not scope.facts.fresh and not pausing:
        return decision
    return replace(decision, actions=(*decision.actions, *taken_turns(scope, decision)))


def _warned(scope: Scope, decision: Decision) -> Decision:
    """A rule of ours goes wherever it is and whoever has edited it: they learn that, and who has put rules behind it that these move up."""
    routes = {route.key: route for route in scope.facts.routes}
    tells = []
    for action in decision.actions:
        route = routes.get(action.key) if isinstance(action, WriteRoute) else None
        if route is None or not isinstance(action, WriteRoute) or not route.added.said:
            continue
        goes = {mark for mark, said in action.plan.added.items() if not said.there and mark in route.added.said}
        if goes and route.added.behind:
            words = f"rule {' and '.join(route.added.behind)} of {route.label} stands behind a rule that the run added, and moves up now"
            tells.append(EmitEvent("Warning", reasons.RULES_MOVED, f"{words} that it is taken away", once=True))
        if goes & (route.added.edited.keys() | route.added.rematched):
            words = f"{route.writer or 'somebody unknown'} has edited {OPT_IN_RULE} {route.label}"
            tells.append(
                EmitEvent("Warning", reasons.RULE_EDITED, f"{words}; it is taken away all the same", once=True)
            )
    return replace(decision, actions=(*decision.actions, *tells)) if tells else decision


def _prepared(scope: Scope) -> Scope:
    """What holds at every place: what makes no sense is said, and an active run has its finalizer."""
    scope = _sticky(_unreadable(scope))
    if scope.active:
        scope, _ = former.given_back(scope)
    if scope.active and not scope.facts.finalizer:
        # Its first write failed, or somebody took it away: without it a deletion would strand the routes.
        scope = scope.with_(AddFinalizer())
    return scope


def _unreadable(scope: Scope) -> Scope:
    """Say once what on a route or in the status was no record of ours and counts as absent."""
    said = [
        f"the annotation {run_annotation(scope.facts.name)} of {route.label}"
        for route in scope.facts.routes
        if route.unreadable
    ]
    said += [f"status.{name}" for name in scope.facts.senseless if name != "swapped"]
    words = [f"{what} says nothing that a run could have left; it counts as absent" for what in said]
    if "swapped" in scope.facts.senseless:
        roles = "exchanged" if scope.status.swapped else "as declared"
        words.append(f"status.swapped is not what the routes and the records of runs say; the roles are {roles}")
    tells = [EmitEvent("Warning", reasons.UNREADABLE_RECORD, each, once=True) for each in words]
    return scope.with_(*tells)


def _sticky(scope: Scope) -> Scope:
    """Say once that the weights of a run are not the whole truth: sessions stay with the backend that they have."""
    if not scope.active:
        return scope
    tells = [
        EmitEvent("Warning", reasons.SESSION_PERSISTENCE, f"rule {rule.key} of {route.label} {STICKY}", once=True)
        for route in scope.facts.routes
        for rule in route.rules
        if rule.sticky
    ]
    return scope.with_(*tells)


def _measure(scope: Scope) -> Scope:
    """Fold what was measured into the checks; forget checks that are declared no more."""
    if not scope.active:
        return scope
    if scope.run.outcome is None and scope.run.traffic_since is None and scope.has_traffic:
        # From the write on: a gateway may serve what it has not accepted.
        scope = scope.with_(run=given_traffic(scope.run, scope.now))
    live = measuring(scope.spec, scope.status)
    states: list[CheckStatus] = []
    told: list[EmitEvent] = []
    for check, said in scope.checks:
        state = before = _as_declared(check, said)
        if live and check.lost is not None and applicable(scope, check):
            state = lost(before, *check.lost, scope.now)
        elif live:
            # What comes in with the news of an edit was asked for before it.
            found = [one for name, one in scope.facts.measurements if name == check.name and before is said]
            match check.judge:
                case Against():
                    state, more = compare(scope, check, check.judge, before, found)
                    told += more
                case Answers():
                    state, more = compare_answers(scope, check, check.judge, before, found)
                    told += more
                case _:
                    state = reduce(partial(judge, check), found, before)
        states.append(state)
    if scope.facts.unread:
        # Of one that cannot be read what was counted stays: nobody makes a canary good by breaking the spec and mending it.
        there = {state.name for state in states}
        gone = (state for state in scope.status.checks if state.name not in there)
        states += [unreadable(state, scope.facts.unread) for state in gone]
    return counted(scope.with_(*told, checks=tuple(states)))


def _as_declared(check: ResolvedCheck, said: CheckStatus) -> CheckStatus:
    """What a check said, as far as it was by what is declared now. A record of an earlier version does not say by what it was."""
    if not check.definition or said.definition in {"", check.definition}:
        return said
    return edited(said, check.definition)


def _requests(scope: Scope) -> Next:
    request, last = scope.facts.request, scope.status.last_request
    if request is None and last is not None and not last.removed:
        scope = scope.with_(last_request=taken_away(last))
    if request is None or scope.status.phase is None:  # on first sight it is learnt who is who, before anything is done
        return scope.goto()
    if not request.id:
        return unstamped(scope.with_(StampRequest(request.raw)), request)
    if last is None or last.id != request.id:
        return serve(scope, request)
    on_record = (scope.facts.recorded.request, scope.facts.recorded.verb) == (request.id, request.verb)
    of_this_run = scope.active and last.at >= scope.run.started_at
    if request.verb != last.verb and (of_this_run or not last.removed):
        return other_verb(scope, request, last)
    if last.removed and not of_this_run:
        # Who asks by the same id each time asks anew in a later run; an old look at the Rollout does not. Its record tells the two apart.
        known = scope.facts.recorded.request == request.id and scope.facts.recorded.removed
        return serve(scope, request) if known else scope.goto()
    if last.removed:
        scope = scope.with_(told_again(request, last))
    done = on_record and (
        last.removed or not scope.facts.recorded.removed
    )  # else it is the answer of before that is on record
    return (scope.with_(ClearRequest(request.raw)) if done else scope).goto()


def _left_behind(scope: Scope) -> Iterator[EmitEvent]:
    """Says that a copy of this run, if there is one, stays where nobody can see it: the deletion does not wait for that."""
    unseen = scope.facts.unseen_stable
    copying = scope.promotion is Promotion.COPY and scope.active and scope.step.index >= scope.step.total
    if unseen is not None and copying and scope.run.outcome is not Outcome.SUCCEEDED:
        what = (
            f"if this run has copied the canary's pod spec to {unseen.name}, that stays there, with what it replaced in"
        )
        where = f"{what} the annotation {copy_annotation(scope.facts.name)}"
        yield EmitEvent("Warning", reasons.LEFTOVER, f"stable cannot be seen ({unseen.why}): {where}", once=True)


def _deleting(scope: Scope) -> Decision:
    """Restore the routes, then let go. Nothing else matters any more."""
    message = "the Rollout is being deleted"
    if not scope.facts.finalizer:
        return scope.decide(reasons.DELETING, message)
    scope = scope.with_(*_left_behind(scope))
    tidying = tidied_copy(scope)
    waits = bool(tidying) and not given_up(scope)
    left: tuple[Action, ...] = (*restores(scope), *tidying) if waits else restores(scope)
    if scope.active:
        left += tuple(fence for fence in fences(scope) if fence.key not in scope.facts.unwritten)
    if left:
        routes = any(isinstance(action, WriteRoute) for action in left)
        words = "putting its routes back to stable" if routes else f"{tidying_words(tidying)}{untidied(scope)}"
        return scope.with_(*left).decide(reasons.DELETING, f"{message}: {words}", waits_until(scope))
    if (copy := left_behind(scope)) is not None:
        scope = scope.with_(copy)
    if scope.active and scope.status.scale is not None and scope.status.scale.drained_since is None:
        scope = scope.with_(scale=scaling.over(scope))
    scope, soon = former.given_back(scope, leaving=True)
    scope, later = scaling.left(scope, leaving=True)
    wake_at = min((at for at in (soon, later) if at is not None), default=None)
    if former.anything_left(scope.status) or any(not isinstance(action, EmitEvent) for action in scope.actions):
        return scope.decide(
            reasons.DELETING, f"{message}: its routes are back, the replicas of its canary follow", wake_at
        )
    return scope.with_(RemoveFinalizer()).decide(reasons.DELETING, message)
