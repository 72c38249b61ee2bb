"""What the run wrote last to the rules of a route: by the route's own word as far as that can be, else by the record."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from canary.decide.facts import RouteView
from canary.decide.once import asked_once_of
from canary.decide.scope import Scope, remembered_share
from canary.model.requests import Verb
from canary.model.route_status import RouteStatus
from canary.model.status import Phase
from canary.routes.intent import Intent, Mode


def of_this_run(scope: Scope, route: RouteView) -> Intent | None:
    """The annotation of a route, if it is of this very run, undecided, and says nothing that cannot be."""
    intent = route.intent if scope.ours(route) and not route.unreadable else None
    return intent if intent is not None and intent.mode is Mode.STEP else None


def told(scope: Scope, route: RouteView, intent: Intent) -> dict[str, Fraction]:
    """The share (percent of the pair) that an annotation of this run says was written, as far as it is believed, by rule key.

    Whoever applies what they exported brings an older annotation along, and anybody may make one up. What was on record once
    was there: an annotation of another step than the run's says no more than the record does. One of the present step says no
    more than that step gives. A controller that takes a run over knows less than the routes, which may be ahead of the record.
    """
    remembered, index = _on_record(scope, route), scope.step.index
    shares = {}
    for key, weights in intent.weights.items():
        share = weights.share
        if remembered is not None and key in remembered.baseline:
            recorded = remembered_share(remembered, key)
            ahead = intent.step > index and scope.facts.fresh
            if intent.step == index or ahead:
                given = scope.shares_at(intent.step).of(key)
                if share != given:
                    share = min(share, max(given, scope.shares.of(key), recorded))
            else:
                share = recorded
        shares[key] = share
    return shares


@asked_once_of
def written(scope: Scope, route: RouteView) -> Mapping[str, Fraction]:
    """The share that the run wrote to each rule last, by rule key."""
    intent, remembered = of_this_run(scope, route), _on_record(scope, route)
    # Where somebody took our annotation away, or put another one there, the status still says what we wrote; and so it does of a
    # rule that was edited so often since that the annotation leads to it no more.
    noted = remembered.baseline if remembered is not None else {}
    said = intent.baseline if intent is not None else {}
    by_record = (
        {key: remembered_share(remembered, key) for key in noted if key not in said} if remembered is not None else {}
    )
    return by_record | (told(scope, route, intent) if intent is not None else {})


def joined(scope: Scope, route: RouteView) -> frozenset[str]:
    """The rules, by key, that have the run's share at its present step.

    One that has come since that was written has what its owner wrote, and joins with the next step, or the promotion: what the run has shown is of
    the others (docs/decisions/0077). One that has more than the step gives is put to that, and so has joined. Where nobody can tell
    which are the run's, those are that give what it wrote; where none does, all have joined: else the run would be nowhere.
    """
    there = frozenset([rule.key for rule in route.rules])
    if route.intent is not None and there <= route.intent.rules.keys():
        return there  # as nearly always
    intent, remembered = of_this_run(scope, route), _on_record(scope, route)
    if scope.run.outcome is not None or route.problem or (intent is None and remembered is None):
        return there
    # An annotation of another step than one that is reached is one of before, which somebody has put back.
    coming = intent is not None and intent.step != scope.step.index and scope.step.reached_at is None
    if scope.status.phase is Phase.PROMOTING or coming:
        return there
    noted = {*remembered.rules, *remembered.baseline} if remembered is not None else set()
    said = {*intent.rules, *intent.baseline} if intent is not None else set()
    wrote = {share for share in written(scope, route).values() if share}
    ours = there & (noted | said) or {rule.key for rule in route.rules if rule.weights.share in wrote}
    more = {rule.key for rule in route.rules if rule.weights.share > scope.shares.of(rule.key)}
    return frozenset(ours | more) if ours else there


def gone(scope: Scope, route: RouteView) -> Fraction | None:
    """The largest share that the run has written to rules of a route that are all gone, where it has others; None: some are there."""
    shares = written(scope, route)
    if route.stale or not route.rules or any(rule.key in shares for rule in route.rules):
        return None
    return max(shares.values(), default=None)


def known(scope: Scope, route: RouteView) -> Mapping[str, Fraction]:
    """What a hand had left of the canary's share, by rule key, when the run was resumed over that, as long as what the step gives waits for something.

    A rule that has just what was written is given that, be it by a controller that died before it could say so.
    """
    remembered = scope.remembered(route)
    if remembered is None or not remembered.resumed or not scope.active or not remembered.owned:
        return {}
    wrote, there = written(scope, route), {rule.key: rule.weights.share for rule in route.rules}
    left = {key: Fraction(str(share)) for key, share in remembered.resumed.items()}
    return {key: share for key, share in left.items() if there.get(key) != wrote.get(key)}


def looked_at(scope: Scope, route: RouteView) -> bool:
    """Whether somebody has resumed the run, and nobody has edited a route since it was looked at and the run went on: what is there was resumed over.

    Be it less of the canary's share, of its copies or of its rules; so it is also where the write failed that was to give it back.
    """
    remembered, last = scope.remembered(route), scope.status.last_request
    if scope.status.phase is not Phase.PROGRESSING or last is None or last.verb != Verb.RESUME or last.refused:
        return False
    return remembered is not None and 0 < remembered.generation == route.generation


def allowed(scope: Scope, route: RouteView) -> Mapping[str, Fraction]:
    """The most that the canary may have of each of these rules: less where a hand has lowered it in this pause, or one that is over by now."""
    low = {**known(scope, route), **lowered_to(scope, route)}
    if not low:
        return written(scope, route)
    return {key: min(share, low.get(key, share)) for key, share in written(scope, route).items()}


def lowered_to(scope: Scope, route: RouteView) -> dict[str, Fraction]:
    """What a hand has left of the canary's share, by rule key, for as long as the run is paused: nobody but a person raises it again."""
    remembered = scope.remembered(route)
    if remembered is None or not remembered.owned or not scope.active or scope.status.phase is not Phase.PAUSED:
        return {}
    return {key: Fraction(str(share)) for key, share in remembered.lowered.items()}


def _on_record(scope: Scope, route: RouteView) -> RouteStatus | None:
    """The record of a route, if it says what this run wrote there."""
    remembered = scope.remembered(route) if scope.active else None
    return remembered if remembered is not None and remembered.owned and remembered.share is not None else None
