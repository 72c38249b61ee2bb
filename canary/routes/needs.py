"""What a step needs of the gateways that serve a route; what they lack of it, `features.missing` says."""

from __future__ import annotations

from canary.model.rollout import RouteRef
from canary.model.steps import Mirror, Step
from canary.routes.features import Feature
from canary.routes.filters import ALL, filters_of, mirrors, only_reads
from canary.routes.kinds import FORMS
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair


def needs(step: Step, ref: RouteRef, route: RouteReading, pair: Pair) -> tuple[Feature, ...]:
    """The features that a step needs on one route, each once; weights need none. Nothing where the pair cannot be read."""
    if step.mirror is None:
        return ()
    _, rules = route.declared(pair, ref.rules)
    mirrored = [rule for rule in rules if is_mirrored(step.mirror, ref, rule)]
    if not mirrored:
        return ()
    found = [Feature.REQUEST_MIRROR]
    if step.mirror.share != ALL:
        found.append(Feature.REQUEST_PERCENTAGE_MIRROR)
    if any(_mirrors_elsewhere(rule, pair) for rule in mirrored):
        found.append(Feature.REQUEST_MULTIPLE_MIRRORS)
    return tuple(found)


def is_mirrored(mirror: Mirror, ref: RouteRef, rule: RulePair) -> bool:
    """Whether a step that mirrors copies requests of a rule."""
    form = FORMS[ref.kind]
    return form.filters and (mirror.allow_unsafe_methods or (form.methods and only_reads(rule.document)))


def _mirrors_elsewhere(rule: RulePair, pair: Pair) -> bool:
    ours = set(mirrors(rule.document, pair.canary, rule.namespace))
    return any(
        index not in ours and isinstance(item, dict) and item.get("type") == "RequestMirror"
        for index, item in enumerate(filters_of(rule.document))
    )
