"""What a real cluster's controllers clean up: dependents of deleted owners, emptied namespaces, dropped definitions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from canary_sandbox.apiserver import crd
from canary_sandbox.apiserver.cluster import Cluster
from canary_sandbox.apiserver.errors import Json, StatusError
from canary_sandbox.apiserver.resources import Resource
from canary_sandbox.apiserver.rest import DeleteOptions
from canary_sandbox.apiserver.store import Change, Event, GroupResource, Key, Stored

log = logging.getLogger(__name__)

_NAMESPACES = ("", "namespaces")
Place = tuple[GroupResource, Key]


class Collector:
    """Watches the whole store, and works through what it saw in a task of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._store = cluster.store
        self._dependents: dict[str, set[Place]] = {}
        self._work: asyncio.Queue[Event] = asyncio.Queue()
        self._store.subscribe_all(self._note)
        for resource, stored in self._store.everything():
            # What a restored store was in the middle of has to be found, and finished.
            self._note(Event(Change.ADDED, resource, stored, None))

    def _note(self, event: Event) -> None:
        """Keep the index of dependents; queue what needs work. Runs inside the write, so it is quick."""
        place = (event.resource, event.after.key)
        before = _owners(event.before.doc) if event.before else set()
        after = set() if event.change is Change.DELETED else _owners(event.after.doc)
        for uid in before - after:
            self._dependents.get(uid, set()).discard(place)
        for uid in after - before:
            self._dependents.setdefault(uid, set()).add(place)
        deleted = event.change is Change.DELETED
        if deleted or after or event.after.metadata.get("deletionTimestamp"):
            self._work.put_nowait(event)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            event = await self._work.get()
            try:
                self._handle(event)
            except StatusError as error:
                log.warning("garbage collection of %s: %s", event.after.key, error)

    def _handle(self, event: Event) -> None:
        if event.change is Change.DELETED:
            self._after_deletion(event)
        else:
            current = self._store.get(event.resource, event.after.key)
            if current is None:
                return
            if current.metadata.get("deletionTimestamp"):
                self._help_out(event.resource, current)
            else:
                self._collect_if_orphaned(event.resource, current)

    def _after_deletion(self, event: Event) -> None:
        for place in tuple(self._dependents.get(event.after.metadata["uid"], ())):
            if dependent := self._store.get(*place):
                self._collect_if_orphaned(place[0], dependent)
        self._finish_namespace(event.after.key[0])
        self._finish_definition(event.resource)

    def _help_out(self, resource: GroupResource, stored: Stored) -> None:
        """Do what holds a deletion back: our own finalizers."""
        finalizers = stored.metadata.get("finalizers") or ()
        if resource == _NAMESPACES:
            self._empty_namespace(stored)
        if resource == crd.KEY and crd.CLEANUP in finalizers:
            self._empty_definition(stored)

    def _collect_if_orphaned(self, resource: GroupResource, stored: Stored) -> None:
        """Delete a dependent of which no owner is left; forget the owners that are gone when others remain."""
        owners = stored.metadata.get("ownerReferences") or ()
        present = [owner for owner in owners if self._exists(owner, stored.metadata.get("namespace", ""))]
        if not owners or len(present) == len(owners):
            return
        if not present:
            self._delete(resource, stored.key)
        else:
            self._rewrite(resource, stored, {"ownerReferences": present})

    def _exists(self, owner: Json, namespace: str) -> bool:
        resource = self._cluster.registry.by_kind(owner["apiVersion"], owner["kind"])
        if resource is None:
            return True  # the kind may yet be defined: the real collector keeps the dependent, too
        found = self._store.get(resource.key, (namespace if resource.namespaced else "", owner["name"]))
        return found is not None and found.metadata["uid"] == owner["uid"]

    def _empty_namespace(self, stored: Stored) -> None:
        name = stored.metadata["name"]
        for resource in self._namespaced():
            for item in self._store.list(resource.key, name):
                self._delete(resource.key, item.key)
        self._finish_namespace(name)

    def _finish_namespace(self, name: str) -> None:
        stored = self._store.get(_NAMESPACES, ("", name)) if name else None
        if stored is None or not stored.metadata.get("deletionTimestamp"):
            return
        if any(self._store.has_any(resource.key, name) for resource in self._namespaced()):
            return
        doc = {**stored.doc, "spec": {}}
        if stored.metadata.get("finalizers"):
            if doc != stored.doc:  # else each write of it would bring the next one
                self._store.put(_NAMESPACES, doc)
        else:
            self._store.remove(_NAMESPACES, stored.key, doc)

    def _namespaced(self) -> Iterator[Resource]:
        seen: set[GroupResource] = set()
        for resource in self._cluster.registry:
            if resource.namespaced and resource.key not in seen:
                seen.add(resource.key)
                yield resource

    def _empty_definition(self, stored: Stored) -> None:
        key = (stored.doc["spec"]["group"], stored.doc["spec"]["names"]["plural"])
        for item in self._store.list(key):
            self._delete(key, item.key)
        self._finish_definition(key)

    def _finish_definition(self, key: GroupResource) -> None:
        stored = self._store.get(crd.KEY, ("", f"{key[1]}.{key[0]}"))
        if stored and stored.metadata.get("deletionTimestamp") and not self._store.count(key):
            self._drop_finalizer(crd.KEY, stored.key, crd.CLEANUP)

    def _delete(self, key: GroupResource, at: Key) -> None:
        resource = self._cluster.registry.any_version(key)
        stored = self._store.get(key, at)
        if resource is None or stored is None or stored.metadata.get("deletionTimestamp"):
            return
        with contextlib.suppress(StatusError):
            self._cluster.rest.delete(resource, at, DeleteOptions())

    def _drop_finalizer(self, resource: GroupResource, key: Key, finalizer: str) -> None:
        stored = self._store.get(resource, key)
        if stored is None or finalizer not in (stored.metadata.get("finalizers") or ()):
            return
        left = [name for name in stored.metadata["finalizers"] if name != finalizer]
        self._rewrite(resource, stored, {"finalizers": left})

    def _rewrite(self, resource: GroupResource, stored: Stored, change: Json) -> None:
        metadata = {key: value for key, value in {**stored.metadata, **change}.items() if value != []}
        doc = {**stored.doc, "metadata": metadata}
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._store.remove(resource, stored.key, doc)
        else:
            self._store.put(resource, doc)


def _owners(doc: Json) -> set[str]:
    return {owner["uid"] for owner in doc["metadata"].get("ownerReferences") or () if "uid" in owner}
