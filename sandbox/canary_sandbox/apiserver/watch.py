"""Watch streams: a queue per watcher, fed by the store, emptied by one connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from canary_sandbox.apiserver.errors import StatusError, expired
from canary_sandbox.apiserver.representation import Representation
from canary_sandbox.apiserver.selectors import Predicate
from canary_sandbox.apiserver.store import Change, Event, HistoryGoneError, Store, Stored, encode

_BEFORE_THE_END = 2.0
"""A bookmark is sent so many seconds before a stream ends by its timeout."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`revision` 0 starts with what exists; `timeout` in seconds.

    `initial` True sends what exists whatever the revision, and then a bookmark that says so; False sends none of it.
    """

    namespace: str
    revision: int
    matches: Predicate | None
    bookmarks: bool
    timeout: float
    initial: bool | None = None


class Watches:
    """All streams in progress, so that they can be ended together."""

    def __init__(self, store: Store, bookmark_interval: float) -> None:
        self._store = store
        self._bookmark_interval = bookmark_interval
        self._queues: set[asyncio.Queue[Event | None]] = set()

    def __len__(self) -> int:
        return len(self._queues)

    @property
    def behind(self) -> int:
        """How many streams have yet to send something."""
        return sum(1 for queue in self._queues if not queue.empty())

    def drop(self) -> None:
        """End every stream, as a restart of the server would."""
        for queue in tuple(self._queues):
            queue.put_nowait(None)

    async def stream(self, representation: Representation, options: WatchOptions) -> AsyncGenerator[bytes, None]:
        """Lines of one watch, until its time is over or streams are dropped."""
        resource = representation.resource.key
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        view = _View(representation, options)
        try:
            first = self._backlog(view, options, resource)
        except HistoryGoneError as error:
            yield error_line(expired(str(error)))
            return
        stop = self._store.subscribe(resource, queue.put_nowait)
        self._queues.add(queue)
        try:
            for line in first:
                yield line
            async for line in self._live(queue, view, options):
                yield line
        finally:
            stop()
            self._queues.discard(queue)

    def _backlog(self, view: _View, options: WatchOptions, resource: tuple[str, str]) -> list[bytes]:
        if options.revision and not options.initial:
            lines = (view.line(event) for event in self._store.since(resource, options.revision))
            return [line for line in lines if line]
        if options.initial is False:
            return []
        there = [view.existing(item) for item in self._store.list(resource, options.namespace) if view.shows(item)]
        if options.bookmarks:  # a stream that begins with what exists says where that ends, asked or not
            there.append(view.bookmark(self._store.revision, initial_events_end=True))
        return there

    async def _live(
        self, queue: asyncio.Queue[Event | None], view: _View, options: WatchOptions
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + options.timeout
        last = end - _BEFORE_THE_END
        bookmark = min(loop.time() + self._bookmark_interval, last) if last > loop.time() else math.inf
        while True:
            until = min(end, bookmark) if options.bookmarks else end
            try:
                async with asyncio.timeout_at(until):
                    event = await queue.get()
            except TimeoutError:
                if loop.time() >= end:
                    return
                yield view.bookmark(self._store.revision)
                bookmark = min(loop.time() + self._bookmark_interval, last) if last > loop.time() else math.inf
                continue
            if event is None:
                return
            if line := view.line(event):
                yield line


class _View:
    """Changes as one watcher sees them: through its namespace and its selectors."""

    def __init__(self, representation: Representation, options: WatchOptions) -> None:
        self._representation = representation
        self._namespace = options.namespace
        self._predicate = options.matches
        self._first = True

    def shows(self, stored: Stored) -> bool:
        return self._predicate is None or self._predicate(stored.doc)

    def existing(self, stored: Stored) -> bytes:
        return self._line(Change.ADDED, stored)

    def line(self, event: Event) -> bytes | None:
        """The line for a change, None when this watcher does not see it."""
        if self._namespace and event.after.key[0] != self._namespace:
            return None
        was = event.before is not None and self.shows(event.before)
        now = event.change is not Change.DELETED and self.shows(event.after)
        if now:
            return self._line(Change.MODIFIED if was else Change.ADDED, event.after)
        if not was:
            return None
        return self._line(Change.DELETED, self._last_seen(event))

    @staticmethod
    def _last_seen(event: Event) -> Stored:
        """What left: an object that only left the selector is shown as it was last seen, at the new revision."""
        if event.change is Change.DELETED or event.before is None:
            return event.after
        metadata = {**event.before.metadata, "resourceVersion": str(event.revision)}
        return Stored({**event.before.doc, "metadata": metadata}, event.revision)

    def _line(self, kind: str, stored: Stored) -> bytes:
        line = self._representation.event(str(kind), stored, first=self._first)
        self._first = False
        return line

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        return self._representation.bookmark(revision, initial_events_end=initial_events_end)


def error_line(error: StatusError) -> bytes:
    """An error inside a stream whose headers are already sent."""
    return b'{"type":"ERROR","object":' + encode(error.body()) + b"}\n"
