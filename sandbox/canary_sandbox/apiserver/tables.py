"""Server-side Tables: rows of cells, so that `kubectl get` needs to know nothing about a kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from canary_sandbox.apiserver.builtin_columns import AGE, NAME
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.jsonpath import compile_path
from canary_sandbox.apiserver.resources import Column, Resource

_path = lru_cache(maxsize=1024)(compile_path)


def columns_of(resource: Resource) -> tuple[Column, ...]:
    """The columns shown: those declared after the name; without any, name and age."""
    if not resource.custom:
        return resource.columns or (NAME, AGE)
    return (NAME, *(resource.columns or (AGE,)))


def definitions(resource: Resource) -> list[Json]:
    """The column definitions of a Table."""
    return [
        {
            "name": column.name,
            "type": "string" if column.type == "date" and not resource.custom else column.type,
            "format": column.format,
            "description": column.description or _described(column),
            "priority": column.priority,
        }
        for column in columns_of(resource)
    ]


def _described(column: Column) -> str:
    if column.cell is not None:
        return f"Column {column.name}"
    return f"Custom resource definition column (in JSONPath format): {column.path}"


def row(resource: Resource, doc: Json, now: datetime, include: str) -> Json:
    """One row; `include` is what comes along of the object: None, Metadata or Object."""
    result: Json = {"cells": [_cell(column, doc, now) for column in columns_of(resource)]}
    result["object"] = {"Object": doc, "Metadata": partial(doc)}.get(include)
    return result


def partial(doc: Json) -> Json:
    """The PartialObjectMetadata of a document."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": doc["metadata"]}


def table(resource: Resource, rows: Sequence[Json], metadata: Json, *, with_definitions: bool = True) -> Json:
    """A whole Table."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions(resource) if with_definitions else None,
        "rows": list(rows),
    }


def _cell(column: Column, doc: Json, now: datetime) -> Any:
    if column.cell is not None:
        found = column.cell(doc)
        return age(found, now) if column.type == "date" else found
    values = _path(column.path)(doc)
    if not values:
        return "<unknown>" if column is AGE else None
    return _converted(column.type, values, now)


def _converted(kind: str, values: list[Any], now: datetime) -> Any:
    value = values[0]
    match kind:
        case "integer":
            return int(value) if isinstance(value, (int, float)) else None
        case "number":
            return float(value) if isinstance(value, (int, float)) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return age(value, now)
        case _:
            return " ".join(
                item if isinstance(item, str) else json.dumps(item, separators=(",", ":")) for item in values
            )


def age(value: Any, now: datetime) -> str:
    """How long ago, as kubectl writes it."""
    if not isinstance(value, str):
        return "<unknown>"
    try:
        then = datetime.fromisoformat(value)
    except ValueError:
        return "<invalid>"
    seconds = int((now.astimezone(UTC) - then).total_seconds())
    return human(seconds)


def human(seconds: int) -> str:
    """A duration in two units at most, coarser as it grows."""
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"
