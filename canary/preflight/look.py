"""The preflight of a Rollout: everything that stands against a run, in the order in which it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from canary.model.rollout import RolloutSpec, RouteRef
from canary.preflight.attachment import attachment
from canary.preflight.backends import backends
from canary.preflight.findings import Finding
from canary.preflight.policies import policies
from canary.preflight.support import support
from canary.preflight.surroundings import Surroundings
from canary.routes.features import Feature
from canary.routes.key import RouteKey
from canary.routes.needs import needs
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading


def findings(
    spec: RolloutSpec, namespace: str, routes: Mapping[RouteKey, RouteReading], around: Surroundings
) -> Iterator[Finding]:
    """Why a run of a Rollout could not work now.

    Args:
        spec: what it declares.
        namespace: where it is.
        routes: its routes as they are, those that exist and list the pair; what is wrong with the others is told elsewhere.
        around: what stands around them.

    """
    kinds, pair = {ref.kind.value for ref in spec.routes}, Pair.of(spec, namespace)
    yield from backends(pair, kinds, namespace, around, spec.comparer_field)
    for index, ref in enumerate(spec.routes):
        reading = routes.get(RouteKey.of(ref, namespace))
        if reading is not None:
            yield from attachment(reading, around, f"spec.routes[{index}]")
    yield from unsupported(spec, namespace, routes, around)


def unsupported(
    spec: RolloutSpec, namespace: str, routes: Mapping[RouteKey, RouteReading], around: Surroundings
) -> Iterator[Finding]:
    """Only what no gateway may be asked for, and what would escape a policy: a run goes by that, too, before it writes."""
    pair = Pair.of(spec, namespace)
    for ref in spec.routes:
        reading = routes.get(RouteKey.of(ref, namespace))
        if reading is not None:
            yield from support(reading, _needed(spec, ref, reading, pair), around)
            yield from policies(spec, ref, reading, pair, around)


def _needed(spec: RolloutSpec, ref: RouteRef, reading: RouteReading, pair: Pair) -> dict[Feature, int]:
    """What the steps need of a route's gateways, each feature with the index of the first step that does."""
    needed: dict[Feature, int] = {}
    for index, step in enumerate(spec.steps):
        for feature in needs(step, ref, reading, pair):
            needed.setdefault(feature, index)
    return needed
