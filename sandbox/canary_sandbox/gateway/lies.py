"""What this gateway can be told to do wrong, as real ones were seen to do: an annotation on the GatewayClass says what."""

from __future__ import annotations

from enum import StrEnum

from canary_sandbox.gateway.objects import Json

LIES_ANNOTATION = "sandbox.canary.dev/lies"
"""On a GatewayClass: names of `Lie`, separated by commas. Its Gateways behave so as long as they stand there."""


class Lie(StrEnum):
    """One way of not doing what was accepted. Statuses stay as they would be without it, except where it says so."""

    MIRROR_ANSWERS_500 = "mirror-answers-500"
    """Every request of a rule with a mirror is answered 500. Seen on Traefik 3.7."""
    MIRROR_IGNORES_PERCENT = "mirror-ignores-percent"
    """Every request is mirrored, whatever `percent` and `fraction` say. Seen on Contour 1.33 and 1.34."""
    MISSING_MIRROR_ANSWERS_500 = "missing-mirror-answers-500"
    """A mirror to what does not exist makes its rule answer every request 500. Seen on Envoy Gateway 1.9."""
    FEATURES_NOT_PUBLISHED = "features-not-published"
    """`status.supportedFeatures` of the GatewayClass is absent. Seen on Contour and on Envoy Gateway."""


def lies_of(gateway_class: Json) -> frozenset[Lie]:
    """What a GatewayClass tells its Gateways to do wrong. Raises ValueError for a name that is none of them."""
    text = (gateway_class["metadata"].get("annotations") or {}).get(LIES_ANNOTATION) or ""
    return frozenset(Lie(name.strip()) for name in text.split(",") if name.strip())
