"""Versioned objects and the log of what happened to them. Pure: no clock, no network, no task.

Documents are immutable by agreement: whoever changes one makes a new one. That is what lets a list, ten watchers and
the log share them, and lets each be serialised once per representation.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice, takewhile
from typing import Any

from canary_sandbox.apiserver.errors import Json

Key = tuple[str, str]
"""(namespace, name); namespace is empty for cluster-scoped objects."""

GroupResource = tuple[str, str]
"""(group, plural): all versions of a resource share one storage."""


RESTORE_GAP = 1_000_000
"""How far a restored store counts ahead, so that no revision of after the copy was taken is ever given out twice."""


class Change(StrEnum):
    """The types of watch events that the store itself knows."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Stored:
    """One revision of one object, with its JSON cached per API version."""

    __slots__ = ("_encoded", "doc", "revision")

    def __init__(self, doc: Json, revision: int) -> None:
        self.doc = doc
        self.revision = revision
        self._encoded: dict[str, bytes] = {}

    @property
    def metadata(self) -> Json:
        metadata: Json = self.doc["metadata"]
        return metadata

    @property
    def key(self) -> Key:
        return (self.metadata.get("namespace", ""), self.metadata["name"])

    def as_version(self, api_version: str) -> Json:
        """The document as served under `api_version` (conversion strategy None: only the label changes)."""
        return self.doc if self.doc["apiVersion"] == api_version else {**self.doc, "apiVersion": api_version}

    def encoded(self, representation: str, make: Callable[[], Any] | None = None) -> bytes:
        """JSON of this revision; `representation` is an API version, or any other name together with `make`."""
        cached = self._encoded.get(representation)
        if cached is None:
            cached = encode(make() if make else self.as_version(representation))
            self._encoded[representation] = cached
        return cached


def encode(document: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `after` carries the revision of the change, for a deletion too; `before` is what was there."""

    change: Change
    resource: GroupResource
    after: Stored
    before: Stored | None

    @property
    def revision(self) -> int:
        return self.after.revision


@dataclass(slots=True)
class _Shelf:
    objects: dict[Key, Stored] = field(default_factory=dict)
    log: deque[Event] = field(default_factory=deque)
    floor: int = 0
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    order: list[Key] | None = None

    def sorted(self) -> list[Key]:
        """The keys in order, kept until there are others: a list of ten thousand is read in many pages."""
        if self.order is None:
            self.order = sorted(self.objects)
        return self.order


def _rewound(shelf: _Shelf, at: int) -> dict[Key, Stored]:
    objects = dict(shelf.objects)
    for event in reversed(shelf.log):
        if event.revision <= at:
            break
        if event.before is None:
            objects.pop(event.after.key, None)
        else:
            objects[event.after.key] = event.before
    return objects


class HistoryGoneError(Exception):
    """The log no longer reaches back to the revision asked for. `oldest` is the oldest that can still be had."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")
        self.asked = asked
        self.oldest = oldest


class Store:
    """All objects of the cluster under one revision counter, as in etcd. `history` is events kept per resource."""

    def __init__(self, *, history: int = 10_000) -> None:
        self.revision = 1
        self._history = history
        self._floor = 0
        self._shelves: dict[GroupResource, _Shelf] = {}
        self._everywhere: list[Callable[[Event], None]] = []
        self._untold: deque[Event] = deque()
        self._telling = False

    def _shelf(self, resource: GroupResource) -> _Shelf:
        shelf = self._shelves.get(resource)
        if shelf is None:
            shelf = self._shelves[resource] = _Shelf(floor=self._floor)
        return shelf

    def get(self, resource: GroupResource, key: Key) -> Stored | None:
        return self._shelf(resource).objects.get(key)

    def count(self, resource: GroupResource) -> int:
        return len(self._shelf(resource).objects)

    def has_any(self, resource: GroupResource, namespace: str) -> bool:
        """Whether a namespace holds any object of a resource."""
        return any(key[0] == namespace for key in self._shelf(resource).objects)

    def list(
        self, resource: GroupResource, namespace: str = "", *, at: int | None = None, after: Key | None = None
    ) -> list[Stored]:
        """Objects in key order, those behind the key `after`, now or as they were at revision `at`.

        Raises HistoryGoneError when the log does not reach back to `at`.
        """
        shelf = self._shelf(resource)
        if at is not None and at < shelf.floor:
            raise HistoryGoneError(at, shelf.floor)
        if at is not None and shelf.log and shelf.log[-1].revision > at:
            objects = _rewound(shelf, at)
            order = sorted(objects)
        else:
            objects, order = shelf.objects, shelf.sorted()
        first = bisect_right(order, after) if after is not None else 0
        if namespace:
            first = max(first, bisect_left(order, (namespace, "")))
            return [objects[key] for key in takewhile(lambda key: key[0] == namespace, islice(order, first, None))]
        return [objects[key] for key in islice(order, first, None)]

    def put(self, resource: GroupResource, doc: Json) -> Stored:
        """Write a whole object; its metadata gets the new revision. Create and update look alike from here."""
        shelf = self._shelf(resource)
        stored = self._stamped(doc)
        before = shelf.objects.get(stored.key)
        shelf.objects[stored.key] = stored
        if before is None:
            shelf.order = None
        self._record(shelf, Event(Change.MODIFIED if before else Change.ADDED, resource, stored, before))
        return stored

    def remove(self, resource: GroupResource, key: Key, doc: Json | None = None) -> Stored:
        """Take an object away; its last state (`doc`, or what is stored) is logged under the revision of the removal."""
        shelf = self._shelf(resource)
        before = shelf.objects.pop(key)
        shelf.order = None
        last = self._stamped(before.doc if doc is None else doc)
        self._record(shelf, Event(Change.DELETED, resource, last, before))
        return last

    def _stamped(self, doc: Json) -> Stored:
        self.revision += 1
        metadata = {**doc["metadata"], "resourceVersion": str(self.revision)}
        return Stored({**doc, "metadata": metadata}, self.revision)

    def _record(self, shelf: _Shelf, event: Event) -> None:
        shelf.log.append(event)
        if len(shelf.log) > self._history:
            shelf.floor = shelf.log.popleft().revision
        self._untold.append(event)
        if not self._telling:
            self._tell()

    def _tell(self) -> None:
        """Tell listeners in order of revision, although a listener may write and so cause the next event."""
        self._telling = True
        try:
            while self._untold:
                event = self._untold.popleft()
                shelf = self._shelves.get(event.resource)
                for listener in (*(shelf.listeners if shelf else ()), *self._everywhere):
                    listener(event)
        finally:
            self._telling = False

    def since(self, resource: GroupResource, revision: int) -> Iterator[Event]:
        """Events after `revision`. Raises HistoryGoneError when some of them are no longer known."""
        shelf = self._shelf(resource)
        if revision < shelf.floor:
            raise HistoryGoneError(revision, shelf.floor)
        recent: list[Event] = []
        for event in reversed(shelf.log):
            if event.revision <= revision:
                break
            recent.append(event)
        return reversed(recent)

    def compact(self) -> None:
        """Forget all history, as etcd's compaction does: an older revision can neither be listed nor watched."""
        for shelf in self._shelves.values():
            shelf.log.clear()
            shelf.floor = self.revision

    def everything(self) -> Iterator[tuple[GroupResource, Stored]]:
        """Every object there is, with its resource; do not write meanwhile."""
        for resource, shelf in self._shelves.items():
            for stored in shelf.objects.values():
                yield resource, stored

    def restore(self, revision: int, objects: Iterable[tuple[GroupResource, Json]]) -> None:
        """Put back what a store held at `revision`, resourceVersions and all. Nobody is told; the store must be empty.

        The history is not known any more, so every older revision is gone. What was written after the copy was taken is
        lost, but somebody may have seen it: the counter leaves those revisions out.

        Raises:
            ValueError: an object is there twice, or is newer than `revision`.

        """
        if any(shelf.objects for shelf in self._shelves.values()):
            raise ValueError("only an empty store can be restored")
        for resource, doc in objects:
            stored = Stored(doc, int(doc["metadata"]["resourceVersion"]))
            place = f"{resource[1]} {'/'.join(stored.key).lstrip('/')}"
            if stored.revision > revision:
                raise ValueError(f"{place} has revision {stored.revision}, but the whole is of revision {revision}")
            if stored.key in self._shelf(resource).objects:
                raise ValueError(f"{place} is there twice")
            self._shelf(resource).objects[stored.key] = stored
            self._shelf(resource).order = None
        self.revision = self._floor = revision + RESTORE_GAP
        self.compact()

    def forget(self, resource: GroupResource) -> None:
        """Drop a resource and its log altogether (its definition was deleted)."""
        self._shelves.pop(resource, None)

    def subscribe(self, resource: GroupResource, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` on each change of one resource; returns the way to stop that."""
        listeners = self._shelf(resource).listeners
        listeners.append(listener)

        def stop() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return stop

    def subscribe_all(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` on each change of every resource, present and future."""
        self._everywhere.append(listener)
