"""Reads the policies of a cluster, whatever their kinds are, for the same preflight that the controller does."""

from __future__ import annotations

from typing import Any

from canary.errors import ApiError
from canary.kube import CRDS, Kube, Resource
from canary.kube.definitions import policies_among
from canary.kube.retry import READ
from canary.preflight.surroundings import POLICY_LABEL

Json = dict[str, Any]

Defined = tuple[str, Json]
"""The name of a definition, and an object of it."""


async def policies(kube: Kube, namespace: str) -> list[Defined] | None:
    """The objects in a namespace, and those in none, of all definitions that are labelled as policies; None: some may not be read."""
    try:
        found = await READ.call(lambda: kube.list(CRDS, label_selector=POLICY_LABEL))
        return [
            each for resource in policies_among(found["items"]) for each in await _objects(kube, resource, namespace)
        ]
    except ApiError:
        return None


async def _objects(kube: Kube, resource: Resource, namespace: str) -> list[Defined]:
    place = namespace if resource.namespaced else None
    found = await READ.call(lambda: kube.list(resource, place))
    return [(resource.definition, {**item, "kind": resource.kind}) for item in found["items"]]


def lets_opt_in(spec: Json) -> bool:
    """Whether a step of a Rollout has a `match`. Lenient: the spec may be nonsense."""
    steps = spec.get("steps")
    return isinstance(steps, list) and any(isinstance(step, dict) and step.get("match") for step in steps)
