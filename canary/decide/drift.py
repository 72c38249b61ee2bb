"""Whose hand moved the weights: lowered (a person wins), raised (we put it back), or contested."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from canary.decide.facts import RouteView, RuleView
from canary.decide.matching import widened
from canary.decide.once import asked_once_of
from canary.decide.scope import Scope
from canary.decide.wrote import allowed, gone, known, looked_at, of_this_run, written
from canary.model.values import decimal_text
from canary.routes.intent import Mode
from canary.routes.key import RouteKey
from canary.routes.pair import Pair, weight_of

OPT_IN_RULE = "the rule for requests that opt in, which this run added to"


@dataclass(frozen=True, slots=True)
class Drift:
    """A route whose weights are not what the run wrote there. Shares in percent of the pair."""

    route: RouteView
    expected: Fraction
    found: Fraction
    gone: bool = False
    """The pair itself was taken out of the route."""
    most: Mapping[str, Fraction] = field(default_factory=dict)
    """The most that the canary may have, by rule key: what the run wrote, or what a hand has left of that."""
    copies: bool = False
    """It is about the copies that go to the canary; in percent of the requests."""

    added: bool = False
    """It is about a rule that was added for requests that opt in, in percent of these: 100 where it is to be, 0 where not."""
    edited: bool = False
    """Of a rule that was added: it is there, and for other requests than it was added for."""
    idle: bool = False
    """It has nothing to divide any more: both weights of the pair are 0."""

    @property
    def who(self) -> str:
        return self.route.writer or "somebody unknown"

    def altered(self, scope: Scope) -> bool:
        """Whether that is what the API server made of our own write (admission does such), and nobody else's hand."""
        return scope.altered(self.route)

    @property
    def admitted(self) -> str:
        """The same where it is."""
        what = "the rule for requests that opt in" if self.added else "copies" if self.copies else "the canary's share"
        wrote, keeps = decimal_text(self.expected), decimal_text(self.found)
        if self.edited:
            return f"the API server keeps {what} of {self.route.label} for other requests than it was written for"
        return f"the API server keeps {what} of {self.route.label} at {keeps} %, where {wrote} % was written"

    @property
    def message(self) -> str:
        if self.gone:
            return f"{self.who} took the pair out of {self.route.label}: {self.route.problem}"
        if self.added:
            did = "edited what is matched by" if self.edited else "put back" if self.found else "took away"
            if 0 < self.found < self.expected and not self.edited:
                return f"{self.who} changed {OPT_IN_RULE} {self.route.label} to {decimal_text(self.found)} % of these requests"
            return f"{self.who} {did} {OPT_IN_RULE} {self.route.label}"
        what = "the share of requests that is mirrored" if self.copies else "the canary's share"
        nothing = ", where the pair gets nothing now; give stable a weight before you resume" if self.idle else ""
        return (
            f"{self.who} changed {what} on {self.route.label} from {decimal_text(self.expected)} % "
            f"to {decimal_text(self.found)} %{nothing}"
        )


def lowered(scope: Scope, besides: Collection[RouteKey] = ()) -> Drift | None:
    """The first route, `besides` some, on which somebody gave the canary less than the run wrote."""
    for route in scope.facts.routes:
        if not route.exists or not scope.owned(route) or route.key in besides:
            continue
        if route.problem and not route.rules:
            remembered = scope.remembered(route)
            if remembered is None or remembered.share or any(remembered.shares.values()) or scope.ours(route):
                return Drift(route, Fraction(0), Fraction(0), gone=True)
            continue
        wrote, seen, less = gone(scope, route), looked_at(scope, route), known(scope, route)
        if wrote is not None and route.share < wrote and not seen:
            return Drift(route, wrote, route.share)
        for kind, compared in _compared(scope, route).items():
            for key, (said, found) in compared.items():
                if found >= said:
                    continue
                idle = kind is _compare and key in _idle(route)
                expected = min(said, less.get(key, said)) if kind is _compare else said
                if not idle and (seen or found >= expected):
                    continue
                copies, added = kind is _compare_copies, kind is _compare_added
                edited = added and key in route.added.rematched
                drift = Drift(route, expected, found, copies=copies, added=added, edited=edited, idle=idle)
                if not drift.altered(scope):
                    return drift
    return None


def lessened(scope: Scope, route: RouteView) -> dict[str, Fraction]:
    """What is left of the canary's share (percent) in the rules of which somebody has taken some of what the run wrote, by rule key.

    Not of those that have nothing to divide: nothing can be given there before somebody has edited them again.
    """
    idle, compared = _idle(route), _compared(scope, route)[_compare]
    return {key: found for key, (wrote, found) in compared.items() if found < wrote and key not in idle}


def _idle(route: RouteView) -> frozenset[str]:
    return frozenset(rule.key for rule in route.rules if rule.idle)


def raised(scope: Scope) -> tuple[Drift, ...]:
    """Every route on which somebody gave the canary more than the run wrote."""
    found = []
    for route in scope.live_routes:
        if scope.owned(route):
            compared = {**_compared(scope, route)}
            # Of what a hand has lowered in this pause nobody else gives more.
            most = {key: share for key, share in allowed(scope, route).items() if key in compared[_compare]}
            compared[_compare] = {key: (most[key], there) for key, (_, there) in compared[_compare].items()}
            worst = ((kind, pair) for kind, pairs in compared.items() if (pair := _worst(pairs)) is not None)
            for kind, pair in worst:
                copies, added = kind is _compare_copies, kind is _compare_added
                edited = added and any(mark in route.added.rematched for mark in compared[kind])
                found.append(Drift(route, *pair, most=most, copies=copies, added=added, edited=edited))
                break
    return tuple(found)


Compared = Mapping[str, tuple[Fraction, Fraction]]
"""(what we wrote, what is there) in percent, by what it is about."""
Comparison = Callable[[Scope, RouteView], Compared]


def _worst(compared: Compared) -> tuple[Fraction, Fraction] | None:
    return max((pair for pair in compared.values() if pair[1] > pair[0]), default=None)


def _compare(scope: Scope, route: RouteView) -> Compared:
    """(share that we wrote, share that is there) for each rule that we wrote, by rule key."""
    if of_this_run(scope, route) is None and _of_another_pair(scope, route):
        return {}
    shares = written(scope, route)
    compared = {rule.key: (shares[rule.key], rule.weights.share) for rule in route.rules if rule.key in shares}
    # Less beside what others have now is nobody's word on the canary, as long as its own weight is as it was written. More is more.
    beside = {rule.key for rule in route.rules if rule.replaced and _left_alone(scope, route, rule)}
    return {key: (wrote, there) for key, (wrote, there) in compared.items() if there > wrote or key not in beside}


def _left_alone(scope: Scope, route: RouteView, rule: RuleView) -> bool:
    """Whether the canary's weight is as it was written, as far as that is known: what it is beside has changed."""
    wrote = route.intent.weights.get(rule.key) if route.intent is not None and scope.ours(route) else None
    return wrote is None or weight_of(rule.weights.canary) == weight_of(wrote.canary)


def _compare_copies(scope: Scope, route: RouteView) -> Compared:
    """The same of the copies that go to the canary, for each rule that the run has mirrored."""
    said = scope.mirrors(route)
    if not said or _of_another_pair(scope, route):
        return {}
    if route.intent is not None and (not scope.ours(route) or route.intent.mode is not Mode.STEP):
        return {}
    return {
        rule.key: (said[rule.key].share, Fraction(route.copied.get(rule.key, 0)))
        for rule in route.rules
        if rule.key in said
    }


def _of_another_pair(scope: Scope, route: RouteView) -> bool:
    """Whether all that is on record of a route is of another pair, or comparer: the spec was edited, and we have put that back."""
    remembered = scope.remembered(route)
    if not route.stale or route.intent is not None or remembered is None or not remembered.pair:
        return False
    return remembered.pair != str(Pair.of(scope.spec, route.key.namespace, swapped=scope.status.swapped))


def _compare_added(scope: Scope, route: RouteView) -> Compared:
    """The same of the rules that were added, by their marks, in percent of the requests that they are for.

    One that is for fewer of these than it was added for counts as taken away, and one that may be for others as put there by others.
    """
    record = scope.added(route)
    if not record:
        return {}
    if route.intent is not None and (not scope.ours(route) or route.intent.mode is not Mode.STEP):
        return {}
    wider = widened(scope, route)
    compared = {}
    for mark, said in record.items():
        share = route.added.shares.get(mark, Fraction(0))
        if not said.there:
            # Whatever it gives to whom, it is not to be there.
            compared[mark] = Fraction(0), Fraction(100 if mark in route.added.said and share else 0)
        elif mark in wider:
            compared[mark] = Fraction(0), share
        else:
            compared[mark] = Fraction(100), Fraction(0) if mark in route.added.rematched else share
    return compared


KINDS = (_compare, _compare_copies, _compare_added)
"""What somebody may have changed, what counts most first."""


@asked_once_of
def _compared(scope: Scope, route: RouteView) -> Mapping[Comparison, Compared]:
    return {kind: kind(scope, route) for kind in KINDS}
