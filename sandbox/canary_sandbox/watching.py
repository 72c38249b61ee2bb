"""Watches that keep a cache current, for the controllers of the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

from canary.kube import Kube, Resource

Json = dict[str, Any]
Key = tuple[str, str]


class Cache:
    """The newest version seen of each object, by attribute and (namespace, name)."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Json]] = {}

    def of(self, attribute: str) -> Mapping[Key, Json]:
        return self._objects.setdefault(attribute, {})

    def put(self, attribute: str, kind: str, obj: Json) -> None:
        """Take in one watch event; `kind` is ADDED, MODIFIED or DELETED."""
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        objects = self._objects.setdefault(attribute, {})
        if kind == "DELETED":
            objects.pop(key, None)
        else:
            objects[key] = obj


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncGenerator[asyncio.Task[None]]:
    """Run `work` in the background for the length of the block; what made it fail is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def watch_into(
    cache: Cache, attribute: str, kube: Kube, resource: Resource, changed: Callable[[], None]
) -> AsyncGenerator[None]:
    """Keep `cache` current for the length of the block, which begins once the first list is in."""
    synced = asyncio.Event()

    async def follow() -> None:
        async with aclosing(kube.list_and_watch(resource)) as events:
            async for event in events:
                if event.type == "SYNCED":
                    synced.set()
                else:
                    cache.put(attribute, event.type, event.object)
                changed()

    async with running(follow()) as task:
        first = asyncio.create_task(synced.wait())
        await asyncio.wait({first, task}, return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        if task.done():
            await task  # raises what went wrong before the first list was in
        yield


@asynccontextmanager
async def watch_all(
    cache: Cache, kube: Kube, resources: Mapping[str, Resource], changed: Callable[[], None]
) -> AsyncGenerator[None]:
    """The same for several resources, by the attribute that each has in the cache; listed one after the other."""
    async with AsyncExitStack() as stack:
        for attribute, resource in resources.items():
            await stack.enter_async_context(watch_into(cache, attribute, kube, resource, changed))
        yield
