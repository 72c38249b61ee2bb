"""Follow a resource: a list, then changes, whatever happens to the connection in between."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from canary.errors import ApiError, Gone, Unavailable
from canary.kube.resources import Resource

Object = dict[str, Any]
Sleep = Callable[[float], Awaitable[None]]

log = logging.getLogger(__name__)

_SHORT_WATCH_SECONDS = 1.0  # a watch that ends sooner, unasked, is a failure
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK (only from `watch`) or SYNCED (only from `list_and_watch`)."""

    type: str
    object: Object = field(default_factory=dict)


class Listing(Protocol):
    """The part of `Kube` that following needs."""

    def pages(
        self, res: Resource, namespace: str | None = None, *, field_selector: str | None = None
    ) -> AsyncGenerator[Object]: ...

    def watch(
        self, res: Resource, namespace: str | None, *, name: str | None, resource_version: str | None
    ) -> AsyncGenerator[WatchEvent]: ...


async def follow(
    kube: Listing,
    res: Resource,
    namespace: str | None = None,
    *,
    name: str | None = None,
    sleep: Sleep = asyncio.sleep,
) -> AsyncGenerator[WatchEvent]:
    """Everything there is as ADDED, one SYNCED, then changes for ever.

    Connections that break are taken up again where they broke; when that is too long ago the list is compared with what
    was seen, and vanished objects come as DELETED. Those carry apiVersion, kind, name, namespace, uid and resourceVersion
    only: keeping all of every object for this would double the memory. Before SYNCED, errors that no retry can help are
    raised (resource not installed, not allowed); after it, none is.
    """
    seen: dict[_Key, _Known] = {}
    version: str | None = None
    synced = False
    failures = 0
    while True:
        opened = time.monotonic()
        try:
            if version is None:
                listed: set[_Key] = set()
                found = ""
                async with aclosing(
                    kube.pages(res, namespace, field_selector=name and f"metadata.name={name}")
                ) as pages:
                    async for page in pages:  # a page at a time: a whole list of a large cluster is a lot of memory
                        found = str((page.get("metadata") or {}).get("resourceVersion") or "")
                        for event in _difference(seen, page.get("items") or [], listed, res):
                            yield event
                for event in _gone(seen, listed, res):
                    yield event
                version = found
                if not synced:
                    synced = True
                    yield WatchEvent("SYNCED")
            async with aclosing(kube.watch(res, namespace, name=name, resource_version=version)) as events:
                async for event in events:
                    failures = 0
                    version = str(event.object["metadata"]["resourceVersion"])
                    if event.type != "BOOKMARK":
                        _remember(seen, event)
                        yield event
            if time.monotonic() - opened > _SHORT_WATCH_SECONDS:
                failures = 0
                continue
            trouble: ApiError = Unavailable("the server ends watches at once")
        except Gone as error:
            version = None
            trouble = error
            if failures == 0:  # it happens, after a quiet hour say: list at once
                failures = 1
                continue
        except ApiError as error:
            if not synced and not error.retryable:
                raise
            trouble = error
        failures += 1
        pause = min(_LONGEST_PAUSE, 0.1 * 2.0**failures) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        pause = max(pause, trouble.retry_after or 0.0)
        log.warning("watching %s: %s; again in %.1f s", res.plural, trouble, pause)
        await sleep(pause)


_Key = tuple[str, str]
"""Namespace ("" for cluster-scoped objects) and name."""
_Known = tuple[str, str]
"""uid and resourceVersion."""


def _key(obj: Mapping[str, Any]) -> _Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _known(obj: Mapping[str, Any]) -> _Known:
    metadata = obj["metadata"]
    return metadata.get("uid", ""), metadata.get("resourceVersion", "")


def _remember(seen: dict[_Key, _Known], event: WatchEvent) -> None:
    if event.type == "DELETED":
        seen.pop(_key(event.object), None)
    else:
        seen[_key(event.object)] = _known(event.object)


def _vanished(key: _Key, known: _Known, res: Resource) -> WatchEvent:
    fields = {"namespace": key[0], "name": key[1], "uid": known[0], "resourceVersion": known[1]}
    metadata = {name: value for name, value in fields.items() if value}
    return WatchEvent("DELETED", {"apiVersion": res.api_version, "kind": res.kind, "metadata": metadata})


def _gone(seen: dict[_Key, _Known], listed: set[_Key], res: Resource) -> Iterator[WatchEvent]:
    """What was `seen` and is not in the list any more."""
    for key in [key for key in seen if key not in listed]:
        yield _vanished(key, seen.pop(key), res)


def _difference(
    seen: dict[_Key, _Known], fresh: list[Object], listed: set[_Key], res: Resource
) -> Iterator[WatchEvent]:
    """What changed between what was `seen` and the items of a `fresh` page; `seen` and `listed` are brought up to date.

    Items of a list carry no apiVersion and kind on real servers; they are put back, so that every event has them. An
    object that was deleted and created again under its name is DELETED, then ADDED.
    """
    for item in fresh:
        key, known = _key(item), _known(item)
        listed.add(key)
        old = seen.get(key)
        if old is not None and old[0] != known[0]:
            yield _vanished(key, seen.pop(key), res)
            old = None
        if old != known:
            seen[key] = known
            whole = {"apiVersion": res.api_version, "kind": res.kind, **item}
            yield WatchEvent("MODIFIED" if old else "ADDED", whole)
