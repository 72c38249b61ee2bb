"""Which features the steps of a Rollout need of the gateways of a route. Weights are core: they need none."""

from __future__ import annotations

from collections.abc import Iterator

from canary.model.rollout import Mirror, RolloutSpec, RouteRef
from canary.routes.features import Feature
from canary.routes.kinds import FORMS
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair

Rules = tuple[RulePair, ...]
"""The rules of a route that list the pair, as they are before a run."""


def needs(spec: RolloutSpec, namespace: str, ref: RouteRef, reading: RouteReading) -> dict[Feature, int]:
    """What the gateways of a route have to offer, each feature with the index of the first step that needs it."""
    _, rules = reading.declared(Pair.of(spec, namespace), ref.rules)
    needed: dict[Feature, int] = {}
    for index, step in enumerate(spec.steps):
        if step.mirror is not None and FORMS[ref.kind].filters:
            for feature in mirroring(step.mirror, rules):
                needed.setdefault(feature, index)
    return needed


def mirroring(mirror: Mirror, rules: Rules) -> Iterator[Feature]:
    """A mirror; a part of the requests; and, where the team has a mirror of its own in a rule of ours, two of them there.

    GRPCRoutes have no features of their own for it: whose gateway mirrors one kind of request mirrors the other.
    """
    mirrored = [rule for rule in rules if rule.reads or mirror.allow_unsafe_methods]
    if not mirrored:
        return
    yield Feature.REQUEST_MIRROR
    if mirror.share != 100:
        yield Feature.REQUEST_PERCENTAGE_MIRROR
    filters = [item for rule in mirrored for item in rule.document.get("filters") or ()]
    if any(isinstance(item, dict) and item.get("type") == "RequestMirror" for item in filters):
        yield Feature.REQUEST_MULTIPLE_MIRRORS
