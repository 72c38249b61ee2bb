"""What an API server says, in as few words as a test needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from canary.kube import Resource


def route(name: str, version: str, uid: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "uid": uid or name, "resourceVersion": version}}


def listing(version: str, *items: dict[str, Any], more: str = "") -> dict[str, Any]:
    metadata = {"resourceVersion": version, **({"continue": more} if more else {})}
    return {"kind": "HTTPRouteList", "metadata": metadata, "items": list(items)}


def change(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": obj}


async def eventually(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Wait until something holds that tells nobody."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def one(res: Resource, name: str, **more: Any) -> dict[str, Any]:
    """An object of the namespace shop, as a server answers with."""
    return {"kind": res.kind, "metadata": {"name": name, "namespace": "shop"}, **more}
