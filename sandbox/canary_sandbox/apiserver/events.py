"""`events.k8s.io/v1`: the newer view of the same events that `v1` keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from canary_sandbox.apiserver.errors import INVALID, REQUIRED, FieldError, Json
from canary_sandbox.apiserver.names import qualified_name
from canary_sandbox.apiserver.resources import Column, Resource
from canary_sandbox.apiserver.schema import Schema

API_VERSION = "events.k8s.io/v1"
_NAME_LIMIT = 128
_NOTE_LIMIT = 1024
_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


def view(core: Resource) -> Resource:
    """The resource `events` of `events.k8s.io`, kept as the core one."""
    root = core.schema.root
    properties = {_NEW_NAMES.get(name, name): schema for name, schema in root["properties"].items()}
    schema = {"type": "object", "properties": properties}
    return dataclasses.replace(
        core,
        group="events.k8s.io",
        schema=Schema(schema, list_types=False),
        columns=tuple(_over_core(column) for column in core.columns),
        fields=frozenset(_new_field(name) for name in core.fields),
        check=_check,
        stored_as=core,
        to_stored=_to_core,
        from_stored=_from_core,
    )


def _from_core(doc: Json) -> Json:
    return {**{_NEW_NAMES.get(name, name): value for name, value in doc.items()}, "apiVersion": API_VERSION}


def _to_core(doc: Json) -> Json:
    renamed = {_OLD_NAMES.get(name, name): value for name, value in doc.items()}
    if renamed.get("apiVersion") == API_VERSION:
        renamed["apiVersion"] = "v1"
    return renamed


def _new_field(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{_NEW_NAMES.get(first, first)}{dot}{rest}"


def _over_core(column: Column) -> Column:
    if column.cell is None:
        return column
    cell: Callable[[Json], Any] = column.cell
    return dataclasses.replace(column, cell=lambda doc: cell(_to_core(doc)))


def _check(doc: Json, old: Json | None) -> list[FieldError]:
    """What this view asks of an event, and the core one does not. As there, some fields go by their old names."""
    if old is not None:
        return _check_change(doc, old)
    found = _check_place(doc)
    if not doc.get("eventTime"):
        return [*found, FieldError("eventTime", REQUIRED), *_check_type(doc)]
    for name in ("reportingController", "reportingInstance", "action", "reason"):
        if not doc.get(name):
            found.append(FieldError(name, REQUIRED))
        elif _bytes(doc[name]) > _NAME_LIMIT:
            found.append(FieldError(name, INVALID, f"can have at most {_NAME_LIMIT} characters", ""))
    if problem := qualified_name(doc.get("reportingController") or ""):
        found.append(FieldError("reportingController", INVALID, problem, doc.get("reportingController", "")))
    if _bytes(doc.get("note", "")) > _NOTE_LIMIT:
        found.append(FieldError("message", INVALID, f"can have at most {_NOTE_LIMIT} characters", ""))
    return found + _check_type(doc)


def check_timed(doc: Json) -> list[FieldError]:
    """What `v1` asks of an event that says its time to the microsecond, under its own names."""
    if not doc.get("eventTime"):
        return []
    found = []
    for name in ("reportingComponent", "reportingInstance", "action", "reason"):
        if not doc.get(name):
            found.append(FieldError(name, REQUIRED))
        elif _bytes(doc[name]) > _NAME_LIMIT:
            found.append(FieldError(name, INVALID, f"can have at most {_NAME_LIMIT} characters", ""))
    if problem := qualified_name(doc.get("reportingComponent") or ""):
        found.append(FieldError("reportingComponent", INVALID, problem, doc.get("reportingComponent", "")))
    if _bytes(doc.get("message", "")) > _NOTE_LIMIT:
        found.append(FieldError("message", INVALID, f"can have at most {_NOTE_LIMIT} characters", ""))
    return found


def _bytes(text: str) -> int:
    """The length of a text as the real server counts it."""
    return len(text.encode(errors="replace"))


def _check_place(doc: Json) -> list[FieldError]:
    about = (doc.get("regarding") or {}).get("namespace", "")
    place = doc["metadata"].get("namespace", "")
    if about == place or (not about and place in {"default", "kube-system"}):
        return []
    return [FieldError("involvedObject.namespace", INVALID, "does not match event.namespace", about)]


def _check_type(doc: Json) -> list[FieldError]:
    kind = doc.get("type", "")
    return [] if kind in {"Normal", "Warning"} else [FieldError("type", INVALID, f"has invalid value: {kind}", kind)]


def _check_change(doc: Json, old: Json) -> list[FieldError]:
    """Of an event only the series goes on."""
    return [
        FieldError(_OLD_NAMES.get(name, name), INVALID, "field is immutable", doc.get(name))
        for name in dict.fromkeys((*old, *doc))
        if name not in {"apiVersion", "kind", "metadata", "series"}
        and (doc.get(name) or None) != (old.get(name) or None)
    ]
