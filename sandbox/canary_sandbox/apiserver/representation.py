"""The forms in which objects leave the server: whole, as metadata only, or as Tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from canary_sandbox.apiserver import tables
from canary_sandbox.apiserver.errors import Json, bad_request, not_acceptable
from canary_sandbox.apiserver.resources import Resource
from canary_sandbox.apiserver.store import Stored, encode

_PARTIAL = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
_ANY = {"*/*", "application/*", "application/json", ""}


@dataclass(frozen=True, slots=True)
class Representation:
    """How one client wants one resource. `form` is `Object`, `Partial` or `Table`."""

    resource: Resource
    form: str
    include: str
    now: Callable[[], datetime]

    def single(self, stored: Stored) -> bytes:
        if self.form == "Object":
            return self.resource.encoded(stored)
        doc = self.resource.served(stored)
        if self.form == "Partial":
            return encode(tables.partial(doc))
        rows = [tables.row(self.resource, doc, self.now(), self.include)]
        return encode(
            tables.table(self.resource, rows, {"resourceVersion": doc["metadata"].get("resourceVersion", "")})
        )

    def many(self, items: Sequence[Stored], metadata: Json) -> bytes:
        if self.form == "Table":
            now = self.now()
            rows = [tables.row(self.resource, self.resource.served(item), now, self.include) for item in items]
            return encode(tables.table(self.resource, rows, metadata))
        if self.form == "Partial":
            head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        else:
            head = {"kind": self.resource.listed_as, "apiVersion": self.resource.api_version, "metadata": metadata}
        members = b",".join(self._element(item) for item in items)
        return encode(head)[:-1] + b',"items":[' + members + b"]}"

    def _element(self, stored: Stored) -> bytes:
        return self.resource.encoded_in_list(stored) if self.form == "Object" else self.single(stored)

    def event(self, kind: str, stored: Stored, *, first: bool) -> bytes:
        """One line of a watch stream; in Tables only the first one defines the columns."""
        if self.form == "Table":
            doc = self.resource.served(stored)
            rows = [tables.row(self.resource, doc, self.now(), self.include)]
            metadata = {"resourceVersion": doc["metadata"]["resourceVersion"]}
            body = encode(tables.table(self.resource, rows, metadata, with_definitions=first))
        else:
            body = self.single(stored)
        return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        metadata: Json = {"resourceVersion": str(revision)}
        if initial_events_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self.form == "Table":
            body: Json = tables.table(self.resource, [], {"resourceVersion": str(revision)}, with_definitions=False)
            if initial_events_end:
                body["rows"] = [{"cells": [], "object": {**_PARTIAL, "metadata": metadata}}]
        elif self.form == "Partial":
            body = {**_PARTIAL, "metadata": metadata}
        else:
            body = {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        return b'{"type":"BOOKMARK","object":' + encode(body) + b"}\n"


def negotiate(resource: Resource, accept: str, include: str, now: Callable[[], datetime]) -> Representation:
    """The first acceptable form that the client lists. Raises StatusError 400, 406."""
    include = include or "Metadata"
    if include not in {"None", "Metadata", "Object"}:
        raise bad_request(f'unrecognized includeObject value: "{include}"')
    for choice in (accept or "*/*").split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        options = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if media not in _ANY:
            continue
        wanted = options.get("as")
        if wanted is None:
            return Representation(resource, "Object", include, now)
        if options.get("g") != "meta.k8s.io" or options.get("v") != "v1":
            continue
        if wanted == "Table":
            return Representation(resource, "Table", include, now)
        if wanted in {"PartialObjectMetadata", "PartialObjectMetadataList"}:
            return Representation(resource, "Partial", include, now)
    raise not_acceptable("application/json")
