"""What a CustomResourceDefinition says of the resource that it defines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from canary.kube.resources import Resource

Json = dict[str, Any]

OF_BACKENDS = frozenset({"backendtlspolicies.gateway.networking.k8s.io"})
"""Definitions of policies that are about backends, never about a rule of a route: they come with the Gateway API itself."""


def policies_among(definitions: Iterable[Json]) -> set[Resource]:
    """The resources of definitions that are labelled as policies, of those that may be about a rule of a route."""
    found = {resource_of(definition) for definition in definitions}
    return {resource for resource in found if resource is not None and resource.definition not in OF_BACKENDS}


def resource_of(definition: Json) -> Resource | None:
    """The resource, in the version that is stored where that is served, else in the first that is; None where none is."""
    spec = definition.get("spec") or {}
    served = [version for version in spec.get("versions") or () if version.get("served")]
    if not served:
        return None
    version = next((version for version in served if version.get("storage")), served[0])
    names = spec.get("names") or {}
    return Resource(
        str(spec.get("group")),
        str(version.get("name")),
        str(names.get("plural")),
        str(names.get("kind")),
        namespaced=spec.get("scope") == "Namespaced",
    )
