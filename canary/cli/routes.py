"""Reads the routes that a Rollout names, for those who show what they and their gateways say."""

from __future__ import annotations

from typing import Any

from canary.errors import ApiError
from canary.kube import HTTPROUTES, Kube, Resource
from canary.model.rollout import RouteKind
from canary.routes.key import RouteKey
from canary.view.weights import declared_route

Json = dict[str, Any]


async def read_routes(kube: Kube, document: Json) -> dict[RouteKey, Json | None]:
    """The routes that the spec names; None for those that cannot be read."""
    resources: dict[RouteKind, Resource | None] = {RouteKind.HTTP: HTTPROUTES}
    found: dict[RouteKey, Json | None] = {}
    for route in (document.get("spec") or {}).get("routes") or ():
        key = declared_route(route, document["metadata"]["namespace"])
        if key is None or not key.name:
            continue
        try:
            if key.kind not in resources:
                resources[key.kind] = await kube.resolve(HTTPROUTES.group, key.kind)
            resource = resources[key.kind]
            found[key] = await kube.get(resource, key.name, key.namespace) if resource is not None else None
        except ApiError:
            found[key] = None
    return found
