"""Features of the Gateway API that a step may need and a gateway may lack, by the names that a GatewayClass publishes them under.

A gateway that lacks one does not always say so: it may accept the route and answer every request of it with 500, or mirror
all requests where a fifth was asked for. So what a step needs is compared with what is offered before anything is written.
Weights need none of these: they are core.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Feature(StrEnum):
    """An Extended feature, by the name of GEP-2162 under which `status.supportedFeatures` of a GatewayClass lists it."""

    REQUEST_MIRROR = "HTTPRouteRequestMirror"
    """One RequestMirror filter in a rule, for all of its requests."""
    REQUEST_PERCENTAGE_MIRROR = "HTTPRouteRequestPercentageMirror"
    """`requestMirror.percent` and `requestMirror.fraction`."""
    REQUEST_MULTIPLE_MIRRORS = "HTTPRouteRequestMultipleMirrors"
    """More than one RequestMirror filter in a rule: ours beside one that the team has."""
    METHOD_MATCHING = "HTTPRouteMethodMatching"
    QUERY_PARAM_MATCHING = "HTTPRouteQueryParamMatching"


MATCHING = frozenset({Feature.METHOD_MATCHING, Feature.QUERY_PARAM_MATCHING})
"""What a rule needs that is added for requests that opt in."""


class Source(StrEnum):
    """Who says what a gateway offers, the one that counts most first."""

    PUBLISHED = "published"
    """The GatewayClass, in its status."""
    DECLARED = "declared"
    """The platform, in the file of `--gateway-features`."""
    SEEN = "seen"
    """This project, of that controller and version."""
    NONE = "none"
    """Nobody."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What the gateways of a GatewayClass offer, and who says so; with `Source.NONE` nothing is known, and so none is offered."""

    features: frozenset[str] = frozenset()
    source: Source = Source.NONE
    gateway_class: str = ""
    """The name of the GatewayClass; of a mesh that of its controller. Empty where not even that is known."""


def missing(needed: Iterable[Feature], offered: Offered) -> tuple[Feature, ...]:
    """The features that are needed and not offered, each once, in the order in which they were asked for."""
    return tuple(feature for feature in dict.fromkeys(needed) if feature not in offered.features)
