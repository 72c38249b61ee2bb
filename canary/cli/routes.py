"""Reads the routes that a Rollout names, for those who show what gateways say of them."""

from __future__ import annotations

import asyncio
from typing import Any

from canary.errors import ApiError
from canary.kube import ROUTES, Kube

Json = dict[str, Any]


async def read_routes(kube: Kube, document: Json) -> list[Json]:
    """The routes of a Rollout in the order of its spec; those that cannot be read, or are not there, are left out."""
    named = [route for route in (document.get("spec") or {}).get("routes") or () if isinstance(route, dict)]
    namespace = document["metadata"]["namespace"]
    found = await asyncio.gather(*(_one(kube, namespace, route) for route in named))
    return [route for route in found if route is not None]


async def _one(kube: Kube, namespace: str, route: Json) -> Json | None:
    resource = ROUTES.get(route.get("kind") or "HTTPRoute")
    if resource is None or not route.get("name"):
        return None
    try:
        return {"kind": resource.kind, **await kube.get(resource, route["name"], namespace)}
    except ApiError:
        return None
