"""`KubeClient`: get, list, create, patch, delete and watch of raw objects over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import from_json

from canary import __version__
from canary.errors import Gone, NotFound, NotServed, Unavailable
from canary.kube.answers import the_object
from canary.kube.connection import load
from canary.kube.outage import Eyes
from canary.kube.pace import SILENCE, Vigil, WatchPace
from canary.kube.reflector import Object, Sleep, WatchEvent, follow
from canary.kube.resources import Resource
from canary.kube.translate import from_status

if TYPE_CHECKING:
    from canary.kube.courier import Courier, Lane
    from canary.kube.transport import OnRequest, Transport


PATIENCE = 3.0
"""Seconds without an answer after which what is safe to repeat is sent once more, on a new connection."""

CONNECTIONS = 512
"""Requests that may be under way at a time, watches aside. The writes of a controller have places (`canary.act.executor`,
`canary.controller.deps`), which leave a good part of these to reads."""

LONGEST = 300.0
"""Seconds after which a write that nobody waits for any more has no effect: API servers end requests after one minute, and what
admission takes counts in that."""


class KubeClient:
    """A connection to one API server as one identity. Use `await KubeClient.connect(...)`, then `async with` or `close()`.

    What each method does is said in `canary.kube.port`. Connection errors and time-outs (10 s) are `Unavailable`.
    """

    def __init__(self, transport: Transport, *, field_manager: str = "canary") -> None:
        self._transport = transport
        self._field_manager = field_manager

    @classmethod
    async def connect(
        cls,
        *,
        server: str | None = None,
        token: str | None = None,
        ca_file: str | None = None,
        kubeconfig: str | None = None,
        context: str | None = None,
        user_agent: str = f"canary/{__version__}",
        field_manager: str = "canary",
        timeout: float = 10.0,  # noqa: ASYNC109 - of each later request; connecting itself waits for nothing
        on_request: OnRequest | None = None,
        connections: int = CONNECTIONS,
    ) -> Self:
        """Find the server (see `canary.kube.connection.load`) without sending anything yet. Raises ConfigError.

        `timeout` is in seconds per request. `on_request(verb, resource, code, seconds)` sees each request; `resource`
        is the plural, with `/status` for the subresource, and `code` is 0 when no answer came. At most `connections` requests
        are under way at a time, watches aside; others wait, but for those about Leases.
        """
        from canary.kube.transport import Transport

        connection = await load(server=server, token=token, ca_file=ca_file, kubeconfig=kubeconfig, context=context)
        transport = Transport(
            connection, user_agent=user_agent, timeout=timeout, on_request=on_request, connections=connections
        )
        return cls(transport, field_manager=field_manager)

    @property
    def server(self) -> str:
        return self._transport.connection.server

    @property
    def certain(self) -> bool:
        """Whether nothing that was sent can still take effect, Events, Leases and dry runs aside: every write of late has its answer."""
        return not self._transport.writing and time.monotonic() - self._transport.unanswered_at > LONGEST

    @property
    def server_time(self) -> datetime | None:
        return self._transport.server_time

    @property
    def namespace(self) -> str:
        return self._transport.connection.namespace

    @property
    def user(self) -> str:
        return self._transport.connection.user

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    def courier(self, lanes: Mapping[str, Lane], other: Callable[[str], Lane]) -> Courier:
        """For a library that speaks HTTP by itself: see there. `lanes` by path, `other` for other plurals."""
        from canary.kube.courier import Courier

        return Courier(self._transport, lanes, other)

    async def get(
        self, res: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        resource = f"{res.plural}/{subresource}" if subresource else res.plural
        answer = await self._json("GET", res.path(namespace, name, subresource), "get", resource, patience=PATIENCE)
        return the_object(answer, res, name, namespace, subresource)

    async def text(self, res: Resource, name: str, namespace: str | None = None) -> bytes:
        from canary.kube.transport import Request

        path = res.path(namespace, name, None)
        return await self._transport.text(Request("GET", path, "get", res.plural, patience=PATIENCE))

    async def list(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> Object:
        query: dict[str, str | int] = {}
        _add(query, labelSelector=label_selector, fieldSelector=field_selector)
        try:
            return await self._list(res, namespace, query, limit)
        except Gone:  # the list changed too much while it was paged through: take it in one piece
            return await self._list(res, namespace, query, 0)

    async def pages(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> AsyncGenerator[Object]:
        query: dict[str, str | int] = {"limit": limit}
        _add(query, labelSelector=label_selector, fieldSelector=field_selector)
        while True:
            page = await self._json("GET", res.path(namespace), "list", res.plural, query=query)
            yield page
            proceed = (page.get("metadata") or {}).get("continue")
            if not proceed:
                return
            query["continue"] = proceed

    async def create(self, res: Resource, body: Mapping[str, Any], namespace: str | None = None) -> Object:
        if res.namespaced:
            namespace = namespace or (body.get("metadata") or {}).get("namespace")
            if not namespace:
                raise ValueError(f"{res.plural} are namespaced: say in which namespace to create this one")
        return await self._json("POST", res.path(namespace), "create", res.plural, query=self._managed(), body=body)

    async def json_patch(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        ops: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
        strict: bool = False,
        dry_run: bool = False,
        patience: float | None = None,
    ) -> Object:
        kind = "application/json-patch+json"
        more = {"fieldValidation": "Strict"} if strict else {}
        if dry_run:
            more["dryRun"] = "All"
        return await self._patch(
            res, name, namespace, list(ops), content_type=kind, subresource=subresource, more=more, patience=patience
        )

    async def merge_patch(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Object:
        kind = "application/merge-patch+json"
        return await self._patch(res, name, namespace, dict(body), content_type=kind, subresource=subresource)

    async def delete(
        self,
        res: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str | None = None,
        uid: str | None = None,
    ) -> Object:
        options: Object = {"propagationPolicy": propagation} if propagation else {}
        options |= {"preconditions": {"uid": uid}} if uid else {}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None
        return await self._json("DELETE", res.path(namespace, name), "delete", res.plural, body=body)

    async def resolve(self, group: str, kind: str) -> Resource | None:
        return (await self.discover(group)).get(kind)

    async def discover(self, group: str) -> dict[str, Resource]:
        found: dict[str, Resource] = {}
        try:
            versions = [str(item["version"]) for item in (await self.raw(f"/apis/{group}")).get("versions") or []]
        except (NotFound, NotServed):
            return found
        for version in versions:
            try:
                listed = await self.raw(f"/apis/{group}/{version}")
            except (NotFound, NotServed):
                continue  # not served any more since the group said so
            for item in listed.get("resources") or []:
                kind, plural = str(item.get("kind")), str(item["name"])
                if "/" not in plural:
                    found.setdefault(kind, Resource(group, version, plural, kind, bool(item.get("namespaced"))))
        return found

    async def raw(self, path: str) -> Object:
        return await self._json("GET", path, "get", "discovery")

    async def watch(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        name: str | None = None,
        label_selector: str | None = None,
        resource_version: str | None = None,
        vigil: Vigil | None = None,
    ) -> AsyncGenerator[WatchEvent]:
        """Changes after `resource_version` until the server ends the watch, or `vigil` wants it renewed.

        Raises Gone when `resource_version` is too old (list again), and Silent when the connection is dead.
        """
        from canary.kube.transport import Request

        vigil = vigil or Vigil()
        query: dict[str, str | int] = {"watch": "true", "allowWatchBookmarks": "true"}
        query["timeoutSeconds"] = max(1, round(vigil.seconds))
        _add(query, fieldSelector=name and f"metadata.name={name}", labelSelector=label_selector)
        _add(query, resourceVersion=resource_version)
        request = Request("GET", res.path(namespace), "watch", res.plural, query=query)
        async with aclosing(self._transport.lines(request, vigil)) as lines:
            async for line in lines:
                event = _event(line)
                if event.type == "ERROR":
                    raise from_status(int(event.object.get("code") or 0), event.object)
                yield event

    async def list_and_watch(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        name: str | None = None,
        sleep: Sleep = asyncio.sleep,
        pace: WatchPace | None = None,
        silence: float = SILENCE,
        eyes: Eyes | None = None,
    ) -> AsyncGenerator[WatchEvent]:
        following = follow(self, res, namespace, name=name, sleep=sleep, pace=pace, silence=silence, eyes=eyes)
        async with aclosing(following) as events:
            async for event in events:
                yield event

    async def _list(self, res: Resource, namespace: str | None, query: Mapping[str, str | int], limit: int) -> Object:
        query = {**query, "limit": limit} if limit else dict(query)
        whole: Object | None = None
        while True:
            page = await self._json("GET", res.path(namespace), "list", res.plural, query=query)
            items = page.get("items") or []
            metadata = page.get("metadata") or {}
            if whole is None:
                whole = {**page, "items": items, "metadata": dict(metadata)}
                whole["metadata"].pop("continue", None)
                whole["metadata"].pop("remainingItemCount", None)
            else:
                whole["items"] += items
            if not metadata.get("continue"):
                return whole
            query["continue"] = metadata["continue"]

    async def _patch(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        body: object,
        *,
        content_type: str,
        subresource: str | None,
        more: Mapping[str, str] | None = None,
        patience: float | None = None,
    ) -> Object:
        resource = f"{res.plural}/{subresource}" if subresource else res.plural
        path = res.path(namespace, name, subresource)
        query = {**self._managed(), **(more or {})}
        answer = await self._json(
            "PATCH", path, "patch", resource, query=query, body=body, content_type=content_type, patience=patience
        )
        return the_object(answer, res, name, namespace, subresource)

    async def _json(self, method: str, path: str, verb: str, resource: str, **more: Any) -> Object:
        from canary.kube.transport import Request

        return await self._transport.json(Request(method, path, verb, resource, **more))

    def _managed(self) -> dict[str, str | int]:
        return {"fieldManager": self._field_manager}


def _add(query: dict[str, str | int], **given: str | None) -> None:
    query.update({name: value for name, value in given.items() if value})


def _event(line: bytes) -> WatchEvent:
    try:
        decoded = from_json(line)
        return WatchEvent(decoded["type"], decoded["object"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("the API server sent a watch event that cannot be read") from error
