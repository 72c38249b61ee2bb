"""The rules that a step adds to one route for requests that opt in, or why it may not: from what is declared, and the route as it is.

What a run has added already is no part of the route that ranks are computed from. What another Rollout has added for a step of
its own is, as long as it is there; but that makes no declaration wrong, so at rest it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from canary.model.rollout import RouteRef
from canary.model.steps import HeaderMatch, Match, QueryParamMatch, Step
from canary.routes.added import Added
from canary.routes.added_refusals import Refused, Why
from canary.routes.added_rule import added_rules
from canary.routes.adding import AddRule, removals, without
from canary.routes.intent import PREFIX, parse_intent
from canary.routes.kinds import FORMS
from canary.routes.matching import Condition, FieldMatch
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading

Additions = tuple[AddRule, ...] | Refused


def additions(
    step: Step, ref: RouteRef, route: RouteReading, pair: Pair, ours: Mapping[str, Added], *, at_rest: bool = False
) -> Additions:
    """What a step adds to a route; nothing where it has no `match`, or where the pair cannot be read.

    Args:
        step: as it is declared.
        ref: the route as it is declared: its kind, and which rules are moved.
        route: as it is.
        pair: what is moved.
        ours: the rules that the run has on record, by their marks.
        at_rest: leave out what other Rollouts have added.

    """
    if step.match is None:
        return ()
    removed = frozenset(removals(ours))
    key = ("additions", step.match, bool(step.allow_regex_paths), ref.kind, ref.rules, pair, removed, at_rest)
    if key not in route.found:
        found = _additions(step.match, ref, route, pair, ours, at_rest=at_rest, regex=bool(step.allow_regex_paths))
        route.found[key] = found
    return route.found[key]  # type: ignore[no-any-return] # whoever keeps something there knows what it is


def conditions(match: Sequence[Match]) -> tuple[Condition, ...]:
    """What opts in; a request has to meet one of them."""
    return tuple(Condition(_fields(each.headers or ()), _fields(each.query_params or ())) for each in match)


def _additions(
    match: Sequence[Match],
    ref: RouteRef,
    route: RouteReading,
    pair: Pair,
    ours: Mapping[str, Added],
    *,
    at_rest: bool,
    regex: bool,
) -> Additions:
    if not FORMS[ref.kind].matches:
        return Refused(
            Why.UNSUPPORTED,
            f"{ref.kind} {ref.name} has no matches: it takes weights only, so no request of it can opt in; take `match` out of the "
            "step, or the route out of spec.routes",
        )
    left = without(route, pair, removals(ours))
    for other, added in _added_by_others(left).items() if at_rest else ():
        left = without(left, other, removals(added))
    problem, sources = left.declared(pair, ref.rules)
    if problem:
        return ()
    return added_rules(ref.kind.value, left.document, sources, conditions(match), allow_regex_paths=regex)


def _added_by_others(route: RouteReading) -> dict[Pair, dict[str, Added]]:
    """What all annotations of runs have on record, by the pair that each is about."""
    found: dict[Pair, dict[str, Added]] = {}
    annotations: Mapping[str, object] = route.document.get("metadata", {}).get("annotations") or {}
    for name, raw in annotations.items():
        intent = parse_intent(raw) if name.startswith(PREFIX) else None
        if intent is not None and intent.pair is not None and intent.added:
            found.setdefault(intent.pair, {}).update(intent.added)
    return found


def _fields(fields: Sequence[HeaderMatch | QueryParamMatch]) -> tuple[FieldMatch, ...]:
    return tuple(FieldMatch(field.name, field.value, field.type.value) for field in fields)
