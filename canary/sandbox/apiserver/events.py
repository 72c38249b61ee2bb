"""`events.k8s.io/v1`: the newer view of the same events that `v1` keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from canary.sandbox.apiserver.errors import REQUIRED, UNSUPPORTED, FieldError, Json
from canary.sandbox.apiserver.resources import Column, Resource
from canary.sandbox.apiserver.schema import Schema

API_VERSION = "events.k8s.io/v1"
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
    """What this view asks of a new event, and the core one does not."""
    if old is not None:
        return []
    needed = ("eventTime", "reportingController", "reportingInstance", "action", "reason", "type")
    found = [FieldError(name, REQUIRED) for name in needed if not doc.get(name)]
    if doc.get("type") not in {None, "", "Normal", "Warning"}:
        found.append(FieldError("type", UNSUPPORTED, 'supported values: "Normal", "Warning"', doc["type"]))
    return found
