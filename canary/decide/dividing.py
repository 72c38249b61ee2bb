"""What weights give a rule of a route its share, and why some cannot have it: then it stays as it is, and its run where it is.

No run begins with such a rule. It comes about in the middle of one: somebody lists another backend with a weight, beside which the sum
of the pair is not raised, or gives the pair nothing at all (docs/decisions/0074).
"""

from __future__ import annotations

from fractions import Fraction

from canary.decide.facts import RouteView, RuleView
from canary.decide.scope import Scope
from canary.errors import ShareError
from canary.routes.pair import Weights, weight_of
from canary.routes.weights import divide


def share_of(scope: Scope, route: RouteView, rule: str) -> Fraction:
    """The share of a rule; while a step's names lead nowhere, no more than it was given: one that lost its name has had no look."""
    shares = scope.shares
    written = route.intent.weights.get(rule) if route.intent is not None and scope.ours(route) else None
    if written is None or not shares.rules or not scope.facts.problems:
        return shares.of(rule)
    return min(shares.of(rule), written.share)


def given(rule: RuleView, baseline: Weights, share: Fraction) -> tuple[Weights, str]:
    """The weights by which a rule has a share, and why it cannot have it, in words: then it stays as it is. `baseline`: those before the run."""
    if rule.idle if not share else rule.replaced:
        # Of a pair that gets nothing there is nothing to take. What others have that was stable's is not weighed anew.
        return rule.weights, ""
    try:
        return divided(rule.weights if rule.idle else baseline, share, rule.others), ""
    except ShareError as error:
        return rule.weights, "" if rule.weights.share == share else str(error)


def divided(baseline: Weights, share: Fraction, others: int) -> Weights:
    """The weights before a run, divided by a share (percent); `others` is the weight of all other backends of the rule.

    Raises:
        ShareError: they cannot express it; never for a share of 0.

    """
    return divide(baseline, share, others) if share else baseline.only_stable


def beside(weights: Weights, share: Fraction) -> Weights:
    """Next to what others have that was stable's, the most for the canary by which it has no more than a share of both (percent, less than 100)."""
    most = int(weight_of(weights.stable) * share / (100 - share))
    return Weights(weights.stable, min(most, weight_of(weights.canary)))


def never_writable(scope: Scope) -> str:
    """Why some route cannot express the shares of some step, or an empty string."""
    for index in range(len(scope.spec.steps)):
        shares = scope.shares_at(index + 1)
        for route in scope.live_routes:
            baseline = scope.baseline(route)
            for rule in route.rules:
                try:
                    divide(rule.weights if rule.idle else baseline[rule.key], shares.of(rule.key), rule.others)
                except ShareError as error:
                    return f"{route.label}, rule {rule.key}: {error}"
    return ""


def unwritable(scope: Scope) -> str:
    """Why some rule cannot be given the share that the run is after, in words; empty when all can, or have it."""
    if scope.run.outcome is not None:
        return ""
    for route in scope.live_routes:
        if not route.declared or route.stale:
            continue
        baseline = scope.baseline(route)
        for rule in route.rules:
            share = share_of(scope, route, rule.key)
            _, words = given(rule, baseline[rule.key], share)
            if words:
                return f"{route.label}, rule {rule.key}: {words}"
    return ""
