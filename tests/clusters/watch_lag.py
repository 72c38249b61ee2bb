"""Whether every watch before a real API server has told of everything that was written.

A watch lags a few milliseconds behind the answer to a write. The proxy sees both, so it knows: an object that was
written at a resourceVersion must come by on each watch that is about it, at that version or a later one, or as deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from canary_sandbox.apiserver.requests import Request

Json = dict[str, Any]

_GONE = -1
_NAME = "metadata.name="


@dataclass(slots=True)
class _Written:
    """The last that was written of an object. `version` is `_GONE` for a deleted one."""

    namespace: str
    name: str
    version: int


@dataclass(eq=False)
class Stream:
    """One watch: what it is about, what has come by, what is still to come (versions by uid)."""

    request: Request
    start: int
    only: str
    seen: dict[str, int] = field(default_factory=dict)
    awaited: dict[str, int] = field(default_factory=dict)

    def about(self, written: _Written) -> bool:
        return self.request.namespace in {"", written.namespace} and self.only in {"", written.name}

    def expect(self, uid: str, written: int) -> None:
        """This write must come by, unless it has."""
        seen = self.seen.get(uid, 0)
        if seen == _GONE or (written != _GONE and (seen >= written or written <= self.start)):
            return
        self.awaited[uid] = written

    def heard(self, line: bytes) -> None:
        """An event came by."""
        try:
            event = json.loads(line)
        except ValueError:
            return  # another format than JSON
        for metadata in _metadata(event.get("object") or {}):
            uid, now = metadata.get("uid", ""), version(metadata.get("resourceVersion"))
            self.seen[uid] = _GONE if event.get("type") == "DELETED" else now
            awaited = self.awaited.get(uid)
            if awaited is not None and (self.seen[uid] == _GONE or _GONE < awaited <= now):
                del self.awaited[uid]


class WatchLag:
    """The watches in progress, and what was written since the proxy opened."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._written: dict[tuple[str, str], dict[str, _Written]] = {}
        self.latest = 0
        """The latest resourceVersion that was written."""

    @property
    def behind(self) -> int:
        """How many watches have yet to tell of something."""
        return sum(1 for stream in self._streams if stream.awaited)

    def open(self, request: Request, query: Mapping[str, str]) -> Stream:
        """A watch began. One with selectors, which may leave out anything, is owed nothing."""
        selector, start = query.get("fieldSelector", ""), query.get("resourceVersion", "")
        only = selector.removeprefix(_NAME) if selector.startswith(_NAME) and "," not in selector else ""
        stream = Stream(request, version(start), only)
        if query.get("labelSelector") or (selector and not only):
            return stream
        self._streams.add(stream)
        if stream.start:
            for uid, written in self._written.get((request.group, request.resource), {}).items():
                if written.version != _GONE and stream.about(written):
                    stream.expect(uid, written.version)
        return stream

    def close(self, stream: Stream) -> None:
        self._streams.discard(stream)

    def wrote(self, request: Request, content: bytes) -> None:
        """The server answered a write with this body."""
        try:
            answer = json.loads(content)
        except ValueError:
            return
        for uid, written in _writes(request, answer):
            self._written.setdefault((request.group, request.resource), {})[uid] = written
            self.latest = max(self.latest, written.version)
            for stream in self._streams:
                same = (stream.request.group, stream.request.resource) == (request.group, request.resource)
                if same and stream.about(written):
                    stream.expect(uid, written.version)


def _writes(request: Request, answer: Json) -> Iterator[tuple[str, _Written]]:
    """What an answer says was written: objects by their uids."""
    if answer.get("kind") == "Status" and request.verb == "delete":
        uid = (answer.get("details") or {}).get("uid")
        if uid:
            yield uid, _Written(request.namespace, request.name, _GONE)
        return
    for item in answer.get("items") or [answer]:
        metadata = item.get("metadata") or {}
        if not metadata.get("uid"):
            continue
        gone = request.verb in {"delete", "deletecollection"} or metadata.get("deletionTimestamp")
        kept = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        now = _GONE if gone and not kept else version(metadata.get("resourceVersion"))
        yield metadata["uid"], _Written(request.namespace, metadata.get("name", ""), now)


def _metadata(document: Json) -> Iterator[Json]:
    """The metadata of the objects in an event: one, or the rows of a Table."""
    if document.get("kind") == "Table":
        for row in document.get("rows") or []:
            yield (row.get("object") or {}).get("metadata") or {}
    elif (document.get("metadata") or {}).get("uid"):
        yield document["metadata"]


def version(text: object) -> int:
    """A resourceVersion as a number; 0 for none."""
    return int(text) if isinstance(text, str) and text.isdecimal() else 0
