"""Whose hand moved the weights: lowered (a person wins), raised (we put it back), or contested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from canary.decide.facts import RouteView
from canary.decide.scope import Scope, remembered_share
from canary.model.values import decimal_text
from canary.routes.intent import Mode


@dataclass(frozen=True, slots=True)
class Drift:
    """A route whose weights are not what the run wrote there. Shares in percent of the pair."""

    route: RouteView
    expected: Fraction
    found: Fraction
    gone: bool = False
    """The pair itself was taken out of the route."""
    written: Mapping[str, Fraction] = field(default_factory=dict)
    """What the run wrote, by rule key."""

    @property
    def who(self) -> str:
        return self.route.writer or "somebody unknown"

    @property
    def message(self) -> str:
        if self.gone:
            return f"{self.who} took the pair out of {self.route.label}: {self.route.problem}"
        return (
            f"{self.who} changed the canary's share on {self.route.label} from {decimal_text(self.expected)} % "
            f"to {decimal_text(self.found)} %"
        )


def lowered(scope: Scope) -> Drift | None:
    """The first route on which somebody gave the canary less than the run wrote."""
    for route in scope.facts.routes:
        if not route.exists or not scope.owned(route):
            continue
        if route.problem:
            remembered = scope.remembered(route)
            if remembered is None or remembered.share or any(remembered.shares.values()) or scope.ours(route):
                return Drift(route, Fraction(0), Fraction(0), gone=True)
            continue
        for expected, found in _compare(scope, route).values():
            if found < expected:
                return Drift(route, expected, found)
    return None


def raised(scope: Scope) -> tuple[Drift, ...]:
    """Every route on which somebody gave the canary more than the run wrote."""
    found = []
    for route in scope.live_routes:
        if scope.owned(route):
            compared = _compare(scope, route)
            worst = max((pair for pair in compared.values() if pair[1] > pair[0]), default=None)
            if worst is not None:
                written = {key: expected for key, (expected, _) in compared.items()}
                found.append(Drift(route, *worst, written=written))
    return tuple(found)


def _compare(scope: Scope, route: RouteView) -> dict[str, tuple[Fraction, Fraction]]:
    """(share that we wrote, share that is there) for each rule that we wrote, by rule key."""
    if scope.ours(route) and route.intent is not None and route.intent.mode is Mode.STEP:
        written = route.intent.weights
        return {rule.key: (written[rule.key].share, rule.weights.share) for rule in route.rules if rule.key in written}
    remembered = scope.remembered(route)
    if route.intent is None and remembered is not None and remembered.owned and remembered.share is not None:
        # Somebody took our annotation away; what the status remembers of the route still says what we wrote.
        return {
            rule.key: (remembered_share(remembered, rule.key), rule.weights.share)
            for rule in route.rules
            if rule.key in remembered.baseline
        }
    return {}
