"""What the run wrote last to the rules of a route: by the route's own word as far as that can be, else by the record."""

from __future__ import annotations

from fractions import Fraction

from canary.decide.facts import RouteView
from canary.decide.scope import Scope, remembered_share
from canary.model.route_status import RouteStatus
from canary.model.status import Phase
from canary.routes.intent import Intent, Mode


def of_this_run(scope: Scope, route: RouteView) -> Intent | None:
    """The annotation of a route, if it is of this very run, undecided."""
    return route.intent if scope.ours(route) and route.intent is not None and route.intent.mode is Mode.STEP else None


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
                share = min(share, max(scope.shares_at(intent.step).of(key), scope.shares.of(key), recorded))
            else:
                share = recorded
        shares[key] = share
    return shares


def written(scope: Scope, route: RouteView) -> dict[str, Fraction]:
    """The share that the run wrote to each rule last, by rule key."""
    intent, remembered = of_this_run(scope, route), _on_record(scope, route)
    if intent is not None:
        return told(scope, route, intent)
    if remembered is not None:
        # Somebody took our annotation away, or put another one there; the status still says what we wrote.
        return {key: remembered_share(remembered, key) for key in remembered.baseline}
    return {}


def allowed(scope: Scope, route: RouteView) -> dict[str, Fraction]:
    """The most that the canary may have of each of these rules: less where a hand has lowered it in this pause."""
    low = lowered_to(scope, route)
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
