"""What a step needs of the gateways that serve a route; what they lack of it, `features.missing` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from canary.model.rollout import RouteKind, RouteRef
from canary.model.steps import Mirror, Step
from canary.routes.features import Feature
from canary.routes.filters import ALL, filters_of, mirrors, only_reads
from canary.routes.kinds import FORMS
from canary.routes.pair import Pair
from canary.routes.precedence import matches_of
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair


def needs(step: Step, ref: RouteRef, route: RouteReading, pair: Pair) -> tuple[Feature, ...]:
    """The features that a step needs on one route, each once; weights need none. Nothing where the pair cannot be read."""
    _, rules = route.declared(pair, ref.rules)
    return (*_of_mirror(step, ref, rules, pair), *_of_match(step, ref, rules))


def _of_mirror(step: Step, ref: RouteRef, rules: Sequence[RulePair], pair: Pair) -> Iterator[Feature]:
    mirrored = [rule for rule in rules if step.mirror is not None and is_mirrored(step.mirror, ref, rule)]
    if not mirrored or step.mirror is None:
        return
    yield Feature.REQUEST_MIRROR
    if step.mirror.share != ALL:
        yield Feature.REQUEST_PERCENTAGE_MIRROR
    if any(_mirrors_elsewhere(rule, pair) for rule in mirrored):
        yield Feature.REQUEST_MULTIPLE_MIRRORS


def _of_match(step: Step, ref: RouteRef, rules: Sequence[RulePair]) -> Iterator[Feature]:
    """Matches by header or path are core; a copy also asks for what its rule does."""
    if step.match is None or ref.kind is not RouteKind.HTTP:
        return
    copied = [match for rule in rules for match in matches_of(ref.kind.value, rule.document)]
    if any(match.get("method") for match in copied):
        yield Feature.METHOD_MATCHING
    if any(each.query_params for each in step.match) or any(match.get("queryParams") for match in copied):
        yield Feature.QUERY_PARAM_MATCHING


def is_mirrored(mirror: Mirror, ref: RouteRef, rule: RulePair) -> bool:
    """Whether a step that mirrors copies requests of a rule."""
    form = FORMS[ref.kind]
    return form.filters and (mirror.allow_unsafe_methods or (form.methods and only_reads(rule.document)))


def _mirrors_elsewhere(rule: RulePair, pair: Pair) -> bool:
    ours = set(mirrors(rule.document, pair.copied_to, rule.namespace))
    return any(
        index not in ours and isinstance(item, dict) and item.get("type") == "RequestMirror"
        for index, item in enumerate(filters_of(rule.document))
    )
