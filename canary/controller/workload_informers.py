"""Follows workloads of the kinds that Rollouts name, other than Deployments: each where it is named, and only as long as it is.

Deployments are always followed (`informers`). A kind that is not served, or that may not be listed, is the trouble of the Rollouts
that name it and of nobody else: nothing here ends a controller, keeps it from beginning, or makes it blind for others. As long as a kind
cannot be seen, nobody says of its workloads that they are not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.controller.route_informers import watch_name
from canary.errors import ApiError, NotFound, NotServed
from canary.kube import WORKLOADS, Kube, Resource
from canary.model.workloads import foreign, group_of
from canary.observe.objects import key_of
from canary.observe.workloads import WorkloadKey

log = logging.getLogger("canary.watching")

POLL = 30.0
"""Seconds until it is asked again whether a kind is served by now."""
DENIED = 300.0
"""The same of a kind that may not be listed: somebody may have granted the right."""
SOON = 1.0
"""The same of one that was followed a moment ago: its version may have changed."""
PATIENCE = 10.0
"""Seconds for which Rollouts are not looked at while a kind that they name is listed for the first time."""
STALE = 60.0
"""Seconds without sight after which nobody knows what becomes of workloads of a kind."""
FRESH = 5.0
"""Seconds for which one answer of discovery does for all kinds that are asked for."""

Follow = tuple[str, str | None]
"""A kind, as `kind_of` calls it, and a namespace (None: all)."""


class WorkloadInformers:
    """The watches of workloads other than Deployments, for one controller.

    `namespaces` empty: a kind that is named anywhere is followed in all of them together.
    """

    def __init__(
        self,
        kube: Kube,
        manager: Manager,
        namespaces: tuple[str, ...],
        lookout: Lookout | None = None,
        *,
        poll: float = POLL,
        denied: float = DENIED,
        soon: float = SOON,
        patience: float = PATIENCE,
        stale: float = STALE,
        fresh: float = FRESH,
    ) -> None:
        self._kube = kube
        self._manager = manager
        self._store = manager.deps.store
        self._namespaces = namespaces
        self._lookout = lookout
        self._poll, self._denied, self._soon, self._patience, self._stale = poll, denied, soon, patience, stale
        self._follows: dict[Follow, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._discovery = Discovery(kube, fresh)
        self._store.references.on_employed = self._employed
        for kind, namespace in self._store.references.employed():
            self._employed(kind, namespace)

    async def run(self) -> None:
        """Follow for ever what is named."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                wanted = self._wanted()
                for follow in self._follows.keys() - wanted:
                    self._follows.pop(follow).cancel()
                    self._forget(*follow)
                    self._store.workload_kinds.seen(*follow)  # who names it next is told what holds then
                for follow in wanted - self._follows.keys():
                    name = f"follow {follow[0]} of {follow[1] or 'all namespaces'}"
                    self._store.workload_kinds.awaited(*follow)
                    self._follows[follow] = group.create_task(self._follow(*follow), name=name)
                await self._changed.wait()

    def _wanted(self) -> set[Follow]:
        named = {
            (kind, namespace if self._namespaces else None) for kind, namespace in self._store.references.employed()
        }
        return {(kind, place) for kind, place in named if place is None or place in self._namespaces}

    def _employed(self, kind: str, namespace: str) -> None:
        """A kind is named for the first time in a namespace, or is not any more. Until it is listed nobody judges by it.

        That it is named in one more of ten thousand namespaces, which are watched together, is no change.
        """
        if self._namespaces and namespace not in self._namespaces:
            return
        place = namespace if self._namespaces else None
        named = self._store.references.employs(kind, place)
        if named and (kind, place) not in self._follows:
            self._store.workload_kinds.awaited(kind, place)
        if named != ((kind, place) in self._follows):
            self._changed.set()

    async def _follow(self, kind: str, place: str | None) -> None:
        impatient = asyncio.get_running_loop().call_later(self._patience, self._late, kind, place)
        said = ""
        try:
            while True:
                pause, words = await self._once(kind, place)
                self._forget(kind, place)
                self._manager.workloads_unseen(kind, place, words)
                if words != said:
                    said = words
                    log.warning("%s; only the Rollouts that name it wait for that", words)
                await asyncio.sleep(pause)
        finally:
            impatient.cancel()

    async def _once(self, kind: str, place: str | None) -> tuple[float, str]:
        """Follow a kind until that is not possible; after how many seconds to try again, and why it is not."""
        name, group = group_of(kind)
        resource: Resource | None = None
        try:
            resource = WORKLOADS[kind] if not foreign(kind) else await self._discovery.find(group, name)
            if resource is None:
                what = f"this cluster serves no {name} of {group}"
                return self._poll, f"{what}; install what defines it, or correct apiVersion and kind"
            if not resource.namespaced:
                what = f"{name} of {group} belongs to no namespace, so none is a workload of this one"
                return self._denied, f"{what}; correct apiVersion and kind"
            return self._soon, await self._watch(kind, resource, place)
        except (NotFound, NotServed):
            self._discovery.forget(group)
            return self._soon, f"this cluster serves no {name} of {group} for now"
        except ApiError as error:
            if resource is None:
                return self._poll, f"whether this cluster serves {name} of {group} cannot be asked: {error}"
            rights = f"allow it to list and watch {resource.definition}"
            where = f"{rights} (docs/workloads.md says how)" if foreign(kind) else rights
            return self._denied, f"the controller may not see any {name} here: {error}; {where}"
        except Exception:  # a bug of ours about one kind is none of the others' business
            log.exception("following %s of %s failed", name, group)
        return self._poll, f"{name} of {group} cannot be followed for now"

    async def _watch(self, kind: str, resource: Resource, place: str | None) -> str:
        """Until it sees nothing for long, or the kind is served otherwise; in words which. Raises ApiError."""
        eyes = _Eyes(self._lookout, watch_name(resource, place), partial(self._manager.workloads_seen, kind, place))
        watching = asyncio.create_task(self._pass_on(kind, resource, place, eyes), name=f"watch {kind}")
        try:
            while True:
                disturbed = asyncio.create_task(eyes.disturbed.wait())
                await asyncio.wait({watching, disturbed}, return_when=asyncio.FIRST_COMPLETED)
                disturbed.cancel()
                if watching.done():
                    watching.result()
                    return f"{watch_name(resource, place)} are not watched any more"
                eyes.disturbed.clear()
                if eyes.lost_for > self._stale:
                    return f"{watch_name(resource, place)} cannot be watched, so nobody knows what becomes of them: {eyes.why}"
                if foreign(kind) and await self._served_otherwise(resource):
                    return f"{watch_name(resource, place)} are served in another version now"
        finally:
            watching.cancel()
            eyes.closed()
            await asyncio.gather(watching, return_exceptions=True)

    async def _served_otherwise(self, resource: Resource) -> bool:
        """Whether a kind is served, and not as it is followed. That it is not served for a moment, an API server says that starts."""
        try:
            found = await self._discovery.find(resource.group, resource.kind)
        except ApiError:
            return False
        return found not in {None, resource}

    async def _pass_on(self, kind: str, resource: Resource, place: str | None, eyes: _Eyes) -> None:
        listed, synced = set[WorkloadKey](), False
        # Who watches in vain is blind for this kind alone: others do not even use it.
        pace = None
        if self._lookout is not None:
            needed = partial(self._store.references.employs, kind, place)
            pace = self._lookout.pace_of(watch_name(resource, place), place, needed)
        async for event in self._kube.list_and_watch(resource, place, pace=pace, eyes=eyes):
            if event.type != "SYNCED":
                self._manager.workload(event.type, event.object, kind)
                if not synced:
                    listed.add(WorkloadKey(kind, *key_of(event.object)))
                continue
            synced = True
            for key in [key for key in self._store.workloads if _within(key, kind, place) and key not in listed]:
                self._store.drop_workload(key)
            listed.clear()
            self._manager.workloads_seen(kind, place)

    def _late(self, kind: str, place: str | None) -> None:
        """It takes long to list a kind for the first time: who names it is told so, and others are looked at."""
        name, group = group_of(kind)
        if self._store.workload_kinds.awaits(kind, place or ""):
            self._manager.workloads_unseen(kind, place, f"{name} of {group} could not be listed yet")

    def _forget(self, kind: str, place: str | None) -> None:
        """What was seen of a kind counts no more, and is news when it is seen again."""
        for key in [key for key in self._store.workloads if _within(key, kind, place)]:
            self._store.drop_workload(key)


def _within(key: WorkloadKey, kind: str, place: str | None) -> bool:
    return key.kind == kind and place in {None, key.namespace}


class _Eyes:
    """What one watch sees: told to the lookout, which says so, and to who wants to know for how long it has seen nothing, and why."""

    def __init__(self, lookout: Lookout | None, name: str, on_found: Callable[[], None]) -> None:
        self._eyes = lookout.eyes(name, counts=False) if lookout is not None else None
        self._on_found = on_found
        self.disturbed = asyncio.Event()
        self.lost_for, self.why = 0.0, ""

    def lost(self, seconds: float, why: str) -> None:
        if self._eyes is not None:
            self._eyes.lost(seconds, why)
        self.lost_for, self.why = seconds, why
        self.disturbed.set()

    def suspect(self) -> None:
        if self._eyes is not None:
            self._eyes.suspect()

    def found(self) -> None:
        if self._eyes is not None:
            self._eyes.found()
        self.lost_for = 0.0
        self._on_found()

    def closed(self) -> None:
        """It is watched no more, or otherwise: it is not missing any more."""
        if self._eyes is not None:
            self._eyes.found()


class Discovery:
    """Which kinds are served: asked once for all who want to know at one time, and of a group only where there is one of that name."""

    def __init__(self, kube: Kube, fresh: float = FRESH) -> None:
        self._kube = kube
        self._fresh = fresh
        self._groups: tuple[float, asyncio.Future[frozenset[str]]] | None = None
        self._kinds: dict[str, tuple[float, asyncio.Future[dict[str, Resource]]]] = {}

    async def find(self, group: str, kind: str) -> Resource | None:
        """The resource of a kind, in the version that the server prefers; None: it serves none. Raises ApiError."""
        now = asyncio.get_running_loop().time()
        if self._groups is None or now - self._groups[0] > self._fresh:
            self._kinds.clear()
            self._groups = now, asyncio.ensure_future(self._served())
        if group not in await asyncio.shield(self._groups[1]):
            return None
        if group not in self._kinds:
            self._kinds[group] = now, asyncio.ensure_future(self._kube.discover(group))
        return (await asyncio.shield(self._kinds[group][1])).get(kind)

    def forget(self, group: str) -> None:
        """Ask anew: it may be served otherwise."""
        self._groups = None
        self._kinds.pop(group, None)

    async def _served(self) -> frozenset[str]:
        answer = await self._kube.raw("/apis")
        return frozenset(str(item.get("name")) for item in answer.get("groups") or [])
