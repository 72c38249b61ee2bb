"""Objects of the API server in the form we keep: what is needed for decisions, and nothing that costs memory for free."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from pydantic_core import from_json, to_json

from canary.json_patch import Operation
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.times import parse_time
from canary.routes.acceptance import last_writer
from canary.routes.intent import PREFIX
from canary.routes.ownership import given_back, wrote_rules
from canary.routes.reading import RouteReading

Json = dict[str, Any]
T = TypeVar("T")

Key = tuple[str, str]
"""(namespace, name)"""

FINALIZER = "canary.dev/restore-routes"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

OPENED = 128
"""Rollouts, and routes, that are kept as dicts: those read last. A run reads a version of its route once."""


def slim(document: Json) -> Json:
    """Drop what nobody reads: managedFields make up half of an object, and kubectl keeps a copy of the rest."""
    metadata = {key: value for key, value in document.get("metadata", {}).items() if key != "managedFields"}
    if LAST_APPLIED in (annotations := metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
    return {**document, "metadata": metadata}


class Recent(Generic[T]):
    """What was made of the latest text of each of so many objects, those asked for last; by uid.

    A cache by text alone would keep what every earlier version said as well, until it is as old as any.
    """

    def __init__(self, size: int, make: Callable[[bytes], T]) -> None:
        self._size = size
        self._make = make
        self._kept: OrderedDict[str, tuple[bytes, T]] = OrderedDict()

    def of(self, uid: str, text: bytes) -> T:
        """What `make` says of a text; of the one asked for last under this uid, the same again."""
        kept = self._kept.pop(uid, None)
        if kept is None or kept[0] != text:
            kept = text, self._make(text)
            if len(self._kept) >= self._size:
                self._kept.popitem(last=False)
        self._kept[uid] = kept
        return kept[1]

    def __len__(self) -> int:
        return len(self._kept)


def _open(text: bytes) -> Json:
    document: Json = from_json(text)
    return document


_documents = Recent(OPENED, _open)


@dataclass(frozen=True, slots=True)
class Packed:
    """A slim document as JSON text, which takes a fifth of the memory: of ten thousand objects, nine thousand rest."""

    uid: str
    version: str
    text: bytes

    @classmethod
    def of(cls, document: Json) -> Self:
        return cls(uid_of(document), version(document), to_json(slim(document)))

    @property
    def document(self) -> Json:
        """The document; as all documents, not to be changed."""
        return _documents.of(self.uid, self.text)


def key_of(document: Json) -> Key:
    """Namespace and name of an object. Interned: a namespace is part of the key of everything in it."""
    metadata = document.get("metadata", {})
    return sys.intern(metadata.get("namespace", "")), sys.intern(metadata.get("name", ""))


def uid_of(document: Json) -> str:
    """The uid of an object; empty without one."""
    return str(document.get("metadata", {}).get("uid", ""))


def version(document: Json) -> str:
    """The resourceVersion of an object; empty without one."""
    return str(document.get("metadata", {}).get("resourceVersion", ""))


def known(document: Json, uid: str, kept: str) -> bool:
    """Whether a watch event says nothing new about an object that we have at version `kept` under `uid`.

    It is what we have, or older, because our own write's answer overtook it.

    resourceVersions of one resource are ordered numbers (KEP-5504); where one is not a number, the newcomer wins. A
    resource of another uid is another object, however it is numbered.
    """
    new = version(document)
    return uid_of(document) == uid and new.isdecimal() and kept.isdecimal() and int(new) <= int(kept)


def earlier(document: Json, uid: str, kept: str) -> bool:
    """Whether what was read is older than what was known before it was asked for: then the server's store was set back."""
    new = version(document)
    return uid_of(document) == uid and precedes(new, kept)


def precedes(version: str, kept: str) -> bool:
    """Whether a resourceVersion is before another one of the same resource; never of one that is no number."""
    return version.isdecimal() and kept.isdecimal() and int(version) < int(kept)


def senseless(kind: str, name: str) -> str:
    """What is said to who names an object of which we make nothing."""
    return f"{kind} {name} is such that the controller cannot read it; its log says why"


@dataclass(frozen=True, slots=True)
class Route(Packed):
    """A route, and what managedFields said, which are not kept: who wrote its rules last besides us, and what is ours.

    `ours` are the operations, as JSON, that give back what is ours; None for a route that no run says anything of.
    """

    writer: str = ""
    ours: bytes | None = None
    problem: str = ""
    """Why nothing can be made of it."""
    written: bool = False
    """Whether its rules are as we wrote them, by managedFields."""

    @property
    def reading(self) -> RouteReading:
        """The document, walked once for all who look at this version of it."""
        return _readings.of(self.uid, self.text)

    @property
    def document(self) -> Json:
        """The document; as all documents, not to be changed."""
        return self.reading.document

    @classmethod
    def of(cls, document: Json) -> Self:
        packed = Packed.of(document)
        annotations = document.get("metadata", {}).get("annotations") or {}
        ours = to_json(given_back(document)) if any(name.startswith(PREFIX) for name in annotations) else None
        return cls(packed.uid, packed.version, packed.text, last_writer(document), ours, written=wrote_rules(document))

    @classmethod
    def misread(cls, document: Json) -> Self:
        """One of which we make nothing, for a reason of ours: that is the trouble of who names it, and of nobody else."""
        metadata = document.get("metadata", {})
        known = {name: metadata[name] for name in ("namespace", "name", "uid", "resourceVersion") if name in metadata}
        kept = {"kind": document.get("kind"), "metadata": known, "spec": {}}
        problem = senseless(str(document.get("kind") or ""), str(known.get("name") or ""))
        return cls(uid_of(kept), version(kept), to_json(kept), problem=problem)

    @property
    def release(self) -> list[Operation] | None:
        """JSON Patch operations that give our fields back, each tested; None where they have to be read."""
        return from_json(self.ours) if self.ours is not None else None


_readings = Recent(OPENED, lambda text: RouteReading(_open(text)))


def recorded_at(document: Json) -> datetime | None:
    """When we wrote the status last, by the API server's clock; None where managedFields do not tell."""
    times = [
        str(entry.get("time") or "")
        for entry in document.get("metadata", {}).get("managedFields") or []
        if entry.get("subresource") == "status" and entry.get("manager") == "canary"
    ]
    try:
        return parse_time(max(times))
    except ValueError:
        return None


def request_of(document: Json, name: str = REQUEST_ANNOTATION) -> str | None:
    """The request annotation of a Rollout, raw; or another one."""
    value = (document.get("metadata", {}).get("annotations") or {}).get(name)
    return value if isinstance(value, str) else None
