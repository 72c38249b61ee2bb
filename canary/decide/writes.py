"""Which routes have to be written now, and with what. The same few rules for a step, a rollback and the end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from canary.decide.actions import WriteRoute
from canary.decide.dividing import beside, divided, given, share_of
from canary.decide.facts import RouteView, RuleView
from canary.decide.matching import as_written, left_over, rules
from canary.decide.mirroring import copies
from canary.decide.once import asked_once
from canary.decide.pausing import kept_by_hand
from canary.decide.scope import Decision, Scope
from canary.decide.sight import withheld
from canary.decide.wrote import joined, written
from canary.errors import ShareError
from canary.model.run_status import Outcome
from canary.routes.added import Added, bounded
from canary.routes.adding import AddRule, RemoveRule
from canary.routes.entry import Entry
from canary.routes.filters import Copied
from canary.routes.intent import Intent, Mode
from canary.routes.mirror import Mirror, NoMirror
from canary.routes.pair import Weights
from canary.routes.plan import RoutePlan, SetWeights


def mode_of(scope: Scope) -> Mode:
    """What the run's weights are for now."""
    match scope.run.outcome:
        case None:
            return Mode.STEP
        case Outcome.ROLLED_BACK:
            return Mode.ROLLBACK
        case Outcome.SUCCEEDED:
            return Mode.FINISH


def wanted(scope: Scope, route: RouteView) -> RoutePlan:
    """What the run wants each rule of a route to say. One that cannot express its share is to stay as it is: `unwritable` says why."""
    if not route.declared or (route.stale and mode_of(scope) is Mode.STEP):
        return way_back(scope, route)
    shares = scope.shares
    if mode_of(scope) is not Mode.STEP:
        return way_back(scope, route, swapped=shares.some)
    baseline = scope.baseline(route)
    weights, met = {}, joined(scope, route)
    for rule in route.rules:
        share = share_of(scope, route, rule.key)
        weights[rule.key] = given(rule, baseline[rule.key], share)[0] if rule.key in met else rule.weights
    return _placed(route, RoutePlan.dividing(route.pair, weights, copies(scope, route), rules(scope, route)))


def way_back(scope: Scope, route: RouteView, *, swapped: bool = False) -> RoutePlan:
    """What leaves nothing of the run in a route, by what is on record of it. `swapped`: all traffic stays with the canary.

    A Swap is won when the canary has all traffic, so its end has nothing to raise: where there is less by then, a hand has taken it away.
    """
    known, before = scope.remembered_mirrors(route), scope.baseline(route)
    plan = RoutePlan.back(
        route.pair,
        before,
        scope.mirrors(route),
        known=known,
        added=scope.added(route),
        swapped=swapped,
    )
    # Where others have the traffic that was stable's, a Swap gives the canary no more either: what they have is not the run's to take.
    # Nor is it where they have all that was the pair's; and a pair that had nothing before gets nothing. Nor does a rule get more
    # of which nobody can tell whether it is the run's.
    left = {
        rule.key: rule.weights
        for rule in route.rules
        if rule.given_away
        or (rule.idle and not before[rule.key].total)
        or (swapped and (rule.replaced or rule.weights.share < 100))
    }
    return _placed(route, replace(plan, entries=tuple(_kept(entry, left) for entry in plan.entries)) if left else plan)


def _kept(entry: Entry, left: Mapping[str, Weights]) -> Entry:
    """The same entry, or that a rule keeps its weights."""
    return SetWeights(entry.rule, left[entry.rule]) if isinstance(entry, SetWeights) and entry.rule in left else entry


def _placed(route: RouteView, plan: RoutePlan) -> RoutePlan:
    """The same plan, with what is in stable's place where that is not there any more."""
    instead = {rule.key: rule.instead for rule in route.rules if rule.instead is not None}
    if not instead:
        return plan
    return replace(
        plan,
        entries=tuple(
            replace(entry, instead=instead[entry.rule])
            if isinstance(entry, SetWeights) and entry.rule in instead
            else entry
            for entry in plan.entries
        ),
    )


def writes(scope: Scope) -> tuple[WriteRoute, ...]:
    """Every write that is due and may be sent. Where nobody can tell what gets more, or what is declared, nothing more is given, be the run won; a rollback gives nothing.

    Nor is more given by a route that does not list the pair as the spec says any more.
    """
    wanted, mode = due(scope), mode_of(scope)
    if mode is Mode.ROLLBACK:
        return wanted
    if mode is Mode.FINISH and not won_on_record(scope):
        return ()  # a route that says so before the record does would have to be believed by a restart, whoever wrote it
    doubtful = {route.key for route in scope.facts.routes if route.problem and mode is Mode.STEP}
    if not doubtful and not withheld(scope.facts):
        return wanted
    doubted = withheld(scope.facts)
    return tuple(write for write in wanted if not ((doubted or write.key in doubtful) and raises(scope, write)))


def won_on_record(scope: Scope) -> bool:
    """Whether the API server's copy of the status says that this run is won."""
    recorded = scope.facts.recorded
    return recorded.run == scope.run.number and recorded.outcome is Outcome.SUCCEEDED


def begun_on_record(scope: Scope) -> bool:
    """Whether the API server's copy of the status is about this run, and has no end of it."""
    recorded = scope.facts.recorded
    return recorded.run == scope.run.number and recorded.outcome is None


@asked_once
def due(scope: Scope) -> tuple[WriteRoute, ...]:
    """Every route that does not say yet what the run wants it to say. Each stands alone: none waits for another."""
    return tuple(
        action for route in scope.facts.routes if route.exists and (action := _write(scope, route)) is not None
    )


def writing(scope: Scope) -> tuple[Scope, tuple[WriteRoute, ...]]:
    """The same with every write that may be sent, one for each route; and all that are due, sent or not."""
    already = {action.key for action in scope.actions if isinstance(action, WriteRoute)}
    return scope.with_(*(write for write in writes(scope) if write.key not in already)), due(scope)


def lessening(scope: Scope) -> Scope:
    """The same with every write that is due and gives the canary nothing more. What a decision writes already is what a route may have."""
    already = {action.key for action in scope.actions if isinstance(action, WriteRoute)}
    return scope.with_(*(write for write in due(scope) if write.key not in already and not raises(scope, write)))


def raises(scope: Scope, write: WriteRoute) -> bool:
    """Whether the canary gets more by a write than its route gives it: of users, of copies, or of those who opt in."""
    route = next(route for route in scope.facts.routes if route.key == write.key)
    shares = {rule.key: rule.weights.share for rule in route.rules}
    for entry in write.plan.entries:
        match entry:
            case SetWeights():
                more = entry.weights.share > shares.get(entry.rule, 0)
            case Mirror():
                more = entry.copied.share > route.copied.get(entry.rule, 0)
            case AddRule():
                more = not scope.opted_in
            case _:
                more = False
        if more:
            return True
    return False


def releases(scope: Scope) -> tuple[WriteRoute, ...]:
    """Take our annotation off every route of an ended run, and give back the weights of before where they still differ."""
    return tuple(
        # Without our pair there are no weights to give back; the annotation is ours all the same.
        WriteRoute(route.key, wanted(scope, route), None)
        for route in scope.facts.routes
        if route.exists and (route.intent is not None or route.unreadable)
    )


def retracted(scope: Scope) -> tuple[WriteRoute, ...]:
    """Take away the rules of the step before, where those of this one may not be added; all else waits with the step."""
    return tuple(_retracted(scope))


def _retracted(scope: Scope) -> Iterator[WriteRoute]:
    for route in scope.live_routes:
        gone = left_over(scope, route) if route.declared and scope.ours(route) else ()
        if gone and route.intent is not None:
            plan = RoutePlan(route.pair, gone)
            added = bounded({**scope.added(route), **plan.added}, route.added.said)
            yield WriteRoute(route.key, plan, replace(route.intent, added=added, turn=scope.facts.turn))


def uncopied(scope: Scope) -> tuple[WriteRoute, ...]:
    """Take away the copies of the step that the run is at, where it may not send them any more; all else waits with the step."""
    found = []
    for route in scope.live_routes:
        record = scope.mirrors(route)
        ended = {key: said.ended for key, said in record.items()}
        if not any(route.copied.get(key) for key in record):
            continue
        weights = {rule.key: rule.weights for rule in route.rules}
        if route.intent is not None and scope.ours(route):
            said = replace(route.intent, mirrors={**route.intent.mirrors, **ended}, turn=scope.facts.turn)
        else:
            said = _intent(scope, route, weights, ended, scope.added(route))
        found.append(WriteRoute(route.key, RoutePlan.dividing(route.pair, {}, ended), said))
    return tuple(found)


def put_back(scope: Scope, route: RouteView, most: Mapping[str, Fraction]) -> WriteRoute:
    """Take away what somebody added to the canary's share, to its copies or to its rules; one that was given less stays as it is.

    `most` is the share that the canary may have, by rule key. The annotation goes on saying what the run wrote, so that a restart
    still sees which rules somebody lowered.
    """
    wrote = written(scope, route)
    said = {rule.key: _of_share(scope, route, rule, wrote[rule.key]) for rule in route.rules if rule.key in wrote}
    weights = {
        rule.key: _of_share(scope, route, rule, most[rule.key])
        if rule.key in most and rule.weights.share > most[rule.key]
        else rule.weights
        for rule in route.rules
    }
    record = scope.mirrors(route)
    more = {key: said for key, said in record.items() if route.copied.get(key, 0) > said.share}
    added = scope.added(route)
    plan = _placed(route, RoutePlan.dividing(route.pair, weights, more, as_written(scope, route)))
    return WriteRoute(route.key, plan, _intent(scope, route, said, record, added))


def _of_share(scope: Scope, route: RouteView, rule: RuleView, share: Fraction) -> Weights:
    """The weights by which the canary has a share of a rule: as the annotation has them, else computed again.

    Of one in which others have what was stable's it is by what these have now, which is not the run's to change.
    """
    if rule.replaced and rule.weights.share > share:
        return beside(rule.weights, share)
    given = route.intent.weights.get(rule.key) if route.intent is not None and scope.ours(route) else None
    if given is not None and given.share == share:
        return given
    baseline = scope.baseline(route)[rule.key]
    try:
        return divided(baseline, share, rule.others)
    except ShareError:
        return baseline.only_stable


def restores(scope: Scope) -> tuple[WriteRoute, ...]:
    """Put routes back to stable without leaving a trace: for a deletion, or for what a lost status left behind."""
    return tuple(_restores(scope))


def left_behind(scope: Scope) -> tuple[WriteRoute, ...]:
    """The same of a run whose Rollout is gone already: only of routes that still name that run of that Rollout."""
    ours = {route.key for route in scope.facts.routes if scope.ours(route)}
    return tuple(write for write in restores(scope) if write.key in ours)


def _restores(scope: Scope) -> Iterator[WriteRoute]:
    won = scope.active and scope.run.outcome is Outcome.SUCCEEDED
    for route in scope.facts.routes:
        marked = route.intent is not None or route.unreadable
        if not route.exists:
            continue
        # Once a Swap is won, stable is the other one.
        plan = wanted(scope, route) if won else way_back(scope, route)
        if marked or (scope.owned(route) and _moved(route, plan)):
            yield WriteRoute(route.key, plan, None)


def taken_turns(scope: Scope, decision: Decision) -> Iterator[WriteRoute]:
    """Put our turn on every route of an undecided run that names another: what its writer still has under way is refused.

    The weights stay as they are. Routes that the decision writes anyway get it with that.
    """
    if decision.status.run is None or decision.status.run.outcome is not None:
        return
    written = {action.key for action in decision.actions if isinstance(action, WriteRoute)}
    for route in foreign(scope):
        if route.key not in written and route.intent is not None:
            yield WriteRoute(route.key, RoutePlan(route.pair), replace(route.intent, turn=scope.facts.turn))


def foreign(scope: Scope) -> tuple[RouteView, ...]:
    """Routes of this run that name the turn of another controller, which may still have something under way."""
    if not scope.active or scope.run.outcome is not None:
        return ()
    return tuple(
        route
        for route in scope.facts.routes
        if scope.ours(route)
        and route.intent is not None
        and not route.unreadable
        and route.intent.turn != scope.facts.turn
        and route.intent.turn not in scope.facts.over
    )


def _write(scope: Scope, route: RouteView) -> WriteRoute | None:
    if route.problem and not route.rules:
        return _stray(scope, route)
    plan, mode = wanted(scope, route), mode_of(scope)
    if mode is Mode.ROLLBACK and _of_another_plan(scope, route):
        return None
    if route.stale and mode is Mode.STEP:
        # Nothing of this run: without the annotation it is read, from then on, by what the spec names now.
        there = route.intent is None and not _moved(route, plan)
        return None if there else WriteRoute(route.key, plan, None)
    if not route.declared and mode is Mode.STEP and begun_on_record(scope):
        # The run before had it, and this one has not: once that is on record it is its owner's, or another Rollout's.
        there = route.intent is None and not _moved(route, plan)
        return None if there else WriteRoute(route.key, plan, None)
    if _in_place(scope, route, plan, mode):
        return None
    added = {**scope.added(route), **plan.added}
    return WriteRoute(route.key, plan, _intent(scope, route, plan.weights, plan.mirrors, added))


def _of_another_plan(scope: Scope, route: RouteView) -> bool:
    """Whether a route gives traffic to what only the spec of now calls the canary: nothing says that this run has written it.

    To put it "back" would send the traffic to what that spec calls stable, which may be what the run was to try.
    """
    unknown = route.intent is None and not scope.owned(route)
    return unknown and route.share > 0 and scope.run.plan != scope.spec.plan_hash()


def _stray(scope: Scope, route: RouteView) -> WriteRoute | None:
    """At the end of a run: what it has added to a route whose pair somebody took out."""
    mode, plan = mode_of(scope), way_back(scope, route)
    if mode is Mode.STEP or not _moved(route, plan):
        return None
    if route.intent is None or not scope.ours(route):
        return WriteRoute(route.key, plan, None)
    run = scope.run
    said = replace(route.intent, mode=mode, reason=run.reason, message=run.message, turn=scope.facts.turn)
    return WriteRoute(route.key, plan, said)


def _moved(route: RouteView, plan: RoutePlan) -> bool:
    """Whether some rule gives the canary another share than a plan does, or another share of copies, or comes or goes."""
    weights, keys = plan.weights, {rule.key for rule in route.rules}
    if any(rule.weights.share != weights[rule.key].share for rule in route.rules):
        return True
    for entry in plan.entries:
        match entry:
            case Mirror() if route.copied.get(entry.rule, 0) != entry.copied.share:
                return True
            case NoMirror() if entry.rule in route.copied:
                # Without the pair in it only that tells that a rule is the one that was written, or what was written.
                if entry.rule in keys or entry.known or route.copied[entry.rule] == entry.copied.share:
                    return True
            case AddRule() if route.added.said.get(entry.mark) != entry.said:
                return True
            case RemoveRule() if entry.mark in route.added.said:
                return True
    return False


def _intent(
    scope: Scope,
    route: RouteView,
    weights: Mapping[str, Weights],
    mirrors: Mapping[str, Copied],
    added: Mapping[str, Added],
) -> Intent:
    (reason, message), met = _why(scope), joined(scope, route)
    return Intent(
        rollout=scope.facts.name,
        uid=scope.facts.uid,
        run=scope.run.number,
        mode=mode_of(scope),
        step=scope.step.index,
        # That a pair has nothing is nothing that a run has given it, or could give back.
        weights=_some(weights, met),
        baseline=_some(scope.baseline(route), met),
        pair=route.pair,
        rules={rule.key: rule.digest for rule in route.rules if rule.digest and rule.key in met},
        mirrors=mirrors,
        added=bounded(added, route.added.said),
        reason=reason,
        message=message,
        turn=scope.facts.turn,
        request=done.id if (done := scope.status.last_request) is not None and not done.refused else "",
    )


def _why(scope: Scope) -> tuple[str, str]:
    """Why a run ends; or, before its first step, that a hand holds it: its first write may be all that is left of what showed that."""
    paused = scope.status.paused
    if scope.run.outcome is not None:
        return scope.run.reason, scope.run.message
    if scope.step.index == 0 and paused is not None and kept_by_hand(scope):
        return paused.reason, paused.message
    return "", ""


def _some(weights: Mapping[str, Weights], met: Collection[str]) -> dict[str, Weights]:
    return {key: said for key, said in weights.items() if said.total and key in met}


def _in_place(scope: Scope, route: RouteView, plan: RoutePlan, mode: Mode) -> bool:
    """Whether a route says already what it should; the same share in other numbers is the same thing during a step."""
    if _moved(route, plan):
        return False
    if mode is Mode.STEP:
        copying = any(said.share for said in plan.mirrors.values())
        adding = any(said.there for said in plan.added.values())
        giving = any(scope.shares.of(rule.key) for rule in route.rules)
        return scope.ours(route) or not (giving or copying or adding)
    if any(rule.weights != plan.weights[rule.key] for rule in route.rules):
        return False
    return _fenced(scope, route) if route.intent is None else scope.ours(route) and route.intent.mode is mode


def _fenced(scope: Scope, route: RouteView) -> bool:
    """Whether a route that names no run has been written by this one, so that a first weight of it that comes late is refused.

    Where no weight was written there is none to take back. But another controller may have stopped right before it sent the
    first one, with nothing that the API server could tell its patch is late by, unless the route is written once more. Not
    being able to write it keeps no run from ending for longer than acceptTimeout.
    """
    limit = (scope.run.ended_at or scope.now) + scope.spec.accept_timeout.delta
    return scope.owned(route) or scope.now >= limit


def fences(scope: Scope) -> tuple[WriteRoute, ...]:
    """Writes to routes that a run has not written yet, because it is over all the same: weights stay, and name the run."""
    written = {action.key for action in scope.actions if isinstance(action, WriteRoute)}
    found = []
    for route in scope.live_routes:
        if route.intent is None and not scope.owned(route) and route.key not in written:
            stable = way_back(scope, route).weights
            said = _intent(scope, route, stable, scope.mirrors(route), scope.added(route))
            found.append(WriteRoute(route.key, RoutePlan(route.pair), said))
    return tuple(found)
