"""Objects of the API server in the form we keep: what is needed for decisions, and nothing that costs memory for free."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, Self, TypeVar

from pydantic_core import from_json, to_json

from canary.decide.facts import CopyView, WorkloadView
from canary.json_patch import Operation
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.rollout import digest
from canary.model.status import MAX_IMAGES, parse_time
from canary.observe.copies import copies
from canary.routes.acceptance import last_writer
from canary.routes.intent import PREFIX, name_part
from canary.routes.ownership import MANAGER, given_back, replicas_given_back
from canary.routes.reading import RouteReading

Json = dict[str, Any]
T = TypeVar("T")

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


def key_of(document: Json) -> tuple[str, str]:
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


@dataclass(frozen=True, slots=True)
class Route(Packed):
    """A route, and what managedFields said, which are not kept: who wrote its rules last besides us, and what is ours.

    `ours` are the operations, as JSON, that give back what is ours; None for a route that no run says anything of.
    """

    writer: str = ""
    ours: bytes | None = None

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
        return cls(packed.uid, packed.version, packed.text, last_writer(document), ours)

    @property
    def release(self) -> list[Operation] | None:
        """JSON Patch operations that give our fields back, each tested; None where they have to be read."""
        return from_json(self.ours) if self.ours is not None else None


_readings = Recent(OPENED, lambda text: RouteReading(_open(text)))


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as a view, and the version it was read at."""

    view: WorkloadView
    uid: str
    version: str
    copies: Mapping[str, CopyView]
    """What copies have left on record, by the name part of the annotation (empty: of a version that named none)."""
    partly: bool = False
    """Of this version its replicas are known, by its scale subresource, and the rest is taken to be as it was."""

    @classmethod
    def of(cls, document: Json) -> Workload:
        return cls(workload_view(document), uid_of(document), version(document), copies(document))

    def seen_by(self, rollout: str) -> WorkloadView:
        """The workload as one Rollout sees it: with its own copy on record, and nobody else's."""
        record = self.copies.get(name_part(rollout)) or self.copies.get("")
        return replace(self.view, copied=record) if record is not None else self.view

    def resized(self, scale: Json, *, ours: bool) -> Workload:
        """The workload with as many replicas as its scale subresource says; `ours`: we have just written that."""
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if replicas == self.view.replicas and not ours:
            return replace(self, version=version(scale), partly=True)
        there = self.view.rolled_out and replicas == self.view.replicas
        view = replace(self.view, replicas=replicas, rolled_out=there, scaled=ours or self.view.scaled)
        return replace(self, view=view, version=version(scale), partly=True)

    def completed_by(self, document: Json) -> bool:
        """Whether a document is the whole of what is known in part."""
        return self.partly and self.uid == uid_of(document) and self.version == version(document)

    def same(self, other: Workload) -> bool:
        """Whether nothing that a decision looks at differs."""
        return self.view == other.view and self.copies == other.copies


def revision(document: Json) -> str:
    """The revision of a workload: ten hex digits over its pod spec.

    Labels and annotations of the template are left out: those of stable and canary differ by nature, and a copy of the
    pod spec must give the same revision.
    """
    return _digest(to_json(document.get("spec", {}).get("template", {}).get("spec", {})))


@lru_cache(256)
def _digest(pod_spec: bytes) -> str:
    """The digest of a pod spec as it was written. Stable and canary, which are listed one after the other, mostly say the same."""
    return digest(from_json(pod_spec))


def workload_view(document: Json) -> WorkloadView:
    """Read a Deployment: revision, ready replicas, and whether its roll-out is complete."""
    metadata, spec, status = document.get("metadata", {}), document.get("spec", {}), document.get("status") or {}
    replicas = spec.get("replicas", 1)
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    counts = [status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "replicas")]
    return WorkloadView(
        name=sys.intern(metadata.get("name", "")),
        exists=True,
        revision=revision(document),
        ready=status.get("readyReplicas", 0),
        rolled_out=current and replicas > 0 and all(count == replicas for count in counts),
        writer=last_writer(document, "f:template"),
        replicas=replicas,
        images=images(document),
        scaled=bool(replicas_given_back(document)),
        scaler=last_scaler(document),
    )


def _entries(document: Json) -> list[Json]:
    return document.get("metadata", {}).get("managedFields") or []


def _scales(entry: Json) -> bool:
    """Whether a manager has set the replicas, by the subresource or along with the rest."""
    return "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})


def last_scaler(document: Json) -> str:
    """Name the field manager, other than us, that set the replicas of a workload last; empty when nobody is recorded."""
    others = [
        (entry.get("time") or "", entry.get("manager") or "")
        for entry in _entries(document)
        if entry.get("manager") != MANAGER and _scales(entry)
    ]
    return sys.intern(str(max(others)[1])) if others else ""


def images(document: Json) -> str:
    """The images of a workload's containers, with commas in between as kubectl shows them; bounded.

    Interned: at rest the two workloads of a Rollout run the same.
    """
    containers = document.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ()
    text = ",".join(str(container.get("image", "")) for container in containers)
    return sys.intern(text if len(text) <= MAX_IMAGES else f"{text[: MAX_IMAGES - 1]}…")


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
