"""What tests have created on a real API server, and how it goes again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from canary_sandbox.apiserver.requests import Request

Json = dict[str, Any]

_AT_ONCE = 8
_NOW = "propagationPolicy=Background&gracePeriodSeconds=0"
_MERGE = "application/merge-patch+json"
_FREE: Json = {"metadata": {"finalizers": None}}


class Admin(Protocol):
    """A request of the admin, past every fault; answers code and body."""

    async def __call__(self, method: str, path: str, body: Json | None = None, media: str = "") -> tuple[int, Any]: ...


class CreatedObjects:
    """Paths of what was created. Namespaces are emptied by collections, the rest goes one by one, the latest first."""

    def __init__(self) -> None:
        self._namespaces: dict[str, None] = {}
        self._collections: dict[str, str] = {}
        self._others: dict[str, None] = {}

    def note(self, path: str, request: Request, content: bytes) -> None:
        """The server answered 201 to this."""
        path = path.rstrip("/")
        if request.subresource:
            return
        if request.verb == "create":
            name = (json.loads(content).get("metadata") or {}).get("name")
            if not name:
                return  # a review, which nobody stores
            collection, path = path, f"{path}/{name}"
        else:
            collection = path.rpartition("/")[0]
        if (request.group, request.resource) == ("", "namespaces"):
            self._namespaces[path] = None
        elif request.namespace:
            self._collections[collection] = f"/api/v1/namespaces/{request.namespace}"
            self._others[path] = None
        else:
            self._others[path] = None

    @property
    def namespaces(self) -> Iterable[str]:
        """The paths of those that were created."""
        return self._namespaces.keys()

    @property
    def definitions(self) -> list[str]:
        """The names of the CustomResourceDefinitions that were created."""
        return [path.rpartition("/")[2] for path in self._others if "/customresourcedefinitions/" in path]

    async def clean_up(self, admin: Admin) -> None:
        """Delete it all. Finalizers are taken off: whoever would serve them has ended."""
        ours = {collection for collection, where in self._collections.items() if where in self._namespaces}
        others = [path for path in reversed(self._others) if path.rpartition("/")[0] not in ours]
        await _each(others, lambda path: _delete(admin, path))
        await _each(ours, lambda path: _empty(admin, path))
        await _each(self._namespaces, lambda path: _end_namespace(admin, path))


async def _each(paths: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
    turnstile = asyncio.Semaphore(_AT_ONCE)

    async def one(path: str) -> None:
        async with turnstile:
            await work(path)

    await asyncio.gather(*map(one, paths))


async def _delete(admin: Admin, path: str) -> None:
    code, left = await admin("DELETE", f"{path}?{_NOW}")
    if code < 400 and isinstance(left, dict) and (left.get("metadata") or {}).get("finalizers"):
        await admin("PATCH", path, _FREE, _MERGE)


async def _empty(admin: Admin, collection: str) -> None:
    """Everything in a namespace of ours that is of a kind that was created there."""
    await admin("DELETE", f"{collection}?{_NOW}")
    code, left = await admin("GET", collection)
    for item in left.get("items") or [] if code == 200 else []:
        await _delete(admin, f"{collection}/{item['metadata']['name']}")


async def _end_namespace(admin: Admin, path: str) -> None:
    """Where nobody ends namespaces (there is a default account where somebody looks after them), end it ourselves."""
    code, left = await admin("DELETE", path)
    if code >= 400:
        return
    looked_after = (await admin("GET", f"{path}/serviceaccounts/default"))[0] == 200
    if left.get("kind") == "Namespace" and not looked_after:
        await admin("PUT", f"{path}/finalize", {**left, "spec": {"finalizers": []}})
