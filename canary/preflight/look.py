"""The preflight of a Rollout: everything that stands against a run, in the order in which it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from canary.model.rollout import RolloutSpec
from canary.preflight.attachment import attachment
from canary.preflight.backends import backends
from canary.preflight.findings import Finding
from canary.preflight.surroundings import Surroundings
from canary.routes.key import RouteKey
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
    kinds = {ref.kind.value for ref in spec.routes}
    yield from backends(Pair.of(spec, namespace), kinds, namespace, around)
    for index, ref in enumerate(spec.routes):
        reading = routes.get(RouteKey.of(ref, namespace))
        if reading is not None:
            yield from attachment(reading, around, f"spec.routes[{index}]")
