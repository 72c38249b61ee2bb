"""Follow a resource: a list, then changes, whatever happens to the connection in between."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from canary.errors import ApiError, Gone, Unavailable
from canary.kube.outage import Eyes, Outage
from canary.kube.pace import SILENCE, Vigil, WatchPace
from canary.kube.resources import Resource

Object = dict[str, Any]
Sleep = Callable[[float], Awaitable[None]]

_SHORT_WATCH_SECONDS = 1.0  # a watch that ends sooner, unasked, is a failure


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK (only from `watch`) or SYNCED (only from `list_and_watch`)."""

    type: str
    object: Object = field(default_factory=dict)


class Listing(Protocol):
    """The part of `KubeClient` that following needs."""

    def pages(
        self, res: Resource, namespace: str | None = None, *, field_selector: str | None = None
    ) -> AsyncGenerator[Object]: ...

    def watch(
        self, res: Resource, namespace: str | None, *, name: str | None, resource_version: str | None, vigil: Vigil
    ) -> AsyncGenerator[WatchEvent]: ...


async def follow(
    kube: Listing,
    res: Resource,
    namespace: str | None = None,
    *,
    name: str | None = None,
    sleep: Sleep = asyncio.sleep,
    pace: WatchPace | None = None,
    silence: float = SILENCE,
    eyes: Eyes | None = None,
) -> AsyncGenerator[WatchEvent]:
    """Everything there is as ADDED, one SYNCED, then changes for ever.

    Connections that break are taken up again where they broke; when that is too long ago the list is compared with what
    was seen, and vanished objects come as DELETED. Those carry apiVersion, kind, name, namespace, uid and resourceVersion
    only: keeping all of every object for this would double the memory. Before SYNCED, errors that no retry can help are
    raised (resource not installed, not allowed); after it, none is.

    `pace` says how soon a dead connection has to be found, `silence` how many seconds without anything are too many in any
    case. `eyes` are told, from SYNCED on, while nothing can be seen.
    """
    informer = _Informer(kube, res, namespace, name)
    outage = Outage(f"{res.plural} of {namespace}" if namespace else res.plural)
    synced = False
    try:
        while True:
            begun, listing = time.monotonic(), informer.version is None
            vigil: Vigil | None = None
            try:
                if listing:
                    outage.opening()
                    async with aclosing(informer.list(outage)) as events:
                        async for event in events:
                            yield event
                    if not synced:
                        synced = True
                        outage.watched_by(eyes)
                        yield WatchEvent("SYNCED")
                outage.opening()
                vigil = Vigil(pace, silence=silence, on_open=outage.opened)
                async with aclosing(informer.watch(vigil)) as events:
                    async for event in events:
                        outage.steady()
                        if event.type != "BOOKMARK":
                            yield event
                if vigil.renewed:
                    continue
                if time.monotonic() - begun > _SHORT_WATCH_SECONDS:
                    outage.steady()
                    continue
                trouble: ApiError = Unavailable("the server ends watches at once")
            except Gone as error:
                informer.version = None
                if not listing or time.monotonic() - begun > _SHORT_WATCH_SECONDS:
                    continue  # where we were is too long ago, whatever went wrong before: list at once
                trouble = error
            except ApiError as error:
                if not synced and not error.retryable:
                    raise
                trouble = error
            await sleep(outage.failed(trouble, vigil.heard if vigil else begun))
    finally:
        outage.close()


class _Informer:
    """What was seen of a resource, and from where on it is watched (`version`; None: list it)."""

    def __init__(self, kube: Listing, res: Resource, namespace: str | None, name: str | None) -> None:
        self.version: str | None = None
        self._kube = kube
        self._res = res
        self._namespace = namespace
        self._name = name
        self._seen: dict[_Key, _Known] = {}

    async def list(self, outage: Outage) -> AsyncGenerator[WatchEvent]:
        """What a list says that was not known, a page at a time: the whole of a large cluster is a lot of memory."""
        listed: set[_Key] = set()
        found = ""
        selector = f"metadata.name={self._name}" if self._name else None
        async with aclosing(self._kube.pages(self._res, self._namespace, field_selector=selector)) as pages:
            async for page in pages:
                outage.answered()
                found = str((page.get("metadata") or {}).get("resourceVersion") or "")
                for event in _difference(self._seen, page.get("items") or [], listed, self._res):
                    yield event
                outage.opening()  # the next page, if there is one
        outage.answered()
        for event in _gone(self._seen, listed, self._res):
            yield event
        self.version = found

    async def watch(self, vigil: Vigil) -> AsyncGenerator[WatchEvent]:
        """Changes since `version`, bookmarks included."""
        watch = self._kube.watch(
            self._res, self._namespace, name=self._name, resource_version=self.version, vigil=vigil
        )
        async with aclosing(watch) as events:
            async for event in events:
                version = _version(event.object)
                if event.type != "BOOKMARK":
                    _remember(self._seen, event)
                self.version = version
                yield event


_Key = tuple[str, str]
"""Namespace ("" for cluster-scoped objects) and name."""
_Known = tuple[str, str]
"""uid and resourceVersion."""


UNREADABLE = "the API server sent an object that does not say which it is"
"""Or who is in between: such a thing is seen again, and nothing that came before it is lost."""


def _identity(obj: Mapping[str, Any]) -> tuple[_Key, _Known]:
    """Raises Unavailable for what is no object of the API."""
    try:
        metadata = obj["metadata"]
        # Interned: objects of a namespace, and of one name in many of them, are known by the thousand.
        key = sys.intern(metadata.get("namespace", "")), sys.intern(metadata["name"])
        return key, (metadata.get("uid", ""), metadata.get("resourceVersion", ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise Unavailable(UNREADABLE) from error


def _version(obj: Mapping[str, Any]) -> str:
    """The same of its version."""
    try:
        return str(obj["metadata"]["resourceVersion"])
    except (KeyError, TypeError) as error:
        raise Unavailable(UNREADABLE) from error


def _remember(seen: dict[_Key, _Known], event: WatchEvent) -> None:
    key, known = _identity(event.object)
    if event.type == "DELETED":
        seen.pop(key, None)
    else:
        seen[key] = known


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
    whole = {"apiVersion": res.api_version, "kind": res.kind}
    for item in fresh:
        key, known = _identity(item)
        listed.add(key)
        old = seen.get(key)
        if old is not None and old[0] != known[0]:
            yield _vanished(key, seen.pop(key), res)
            old = None
        if old != known:
            seen[key] = known
            yield WatchEvent("MODIFIED" if old else "ADDED", {**whole, **item})
