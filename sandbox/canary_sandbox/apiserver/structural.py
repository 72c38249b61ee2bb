"""Is a schema one that this server can work with? A real server asks for more: whether it is structural throughout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from canary_sandbox.apiserver.errors import FORBIDDEN, INVALID, REQUIRED, UNSUPPORTED, FieldError, Json
from canary_sandbox.apiserver.schema import PRESERVE
from canary_sandbox.apiserver.validation import Validator, go_pattern

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("$ref", "definitions", "dependencies", "discriminator", "patternProperties")


def check_structure(schema: Json, at: str) -> Iterator[FieldError]:
    """Objections to a whole schema; `at` is its path in the definition."""
    if schema.get("type") != "object":
        yield FieldError(f"{at}.type", INVALID, "must be object at the root", schema.get("type"))
    properties = schema.get("properties") or {}
    yield from _check(
        {**schema, "properties": {name: properties[name] for name in properties if name != "metadata"}}, at
    )


def _check(schema: Any, at: str) -> Iterator[FieldError]:
    if not isinstance(schema, dict):
        yield FieldError(at, INVALID, "must be a schema", schema)
        return
    yield from (
        FieldError(f"{at}.{name}", FORBIDDEN, f"{name} is not supported") for name in _UNSUPPORTED if name in schema
    )
    yield from _check_type(schema, at)
    yield from _check_list(schema, at)
    yield from _check_values(schema, at)
    for name, sub in (schema.get("properties") or {}).items():
        yield from _check(sub, f"{at}.properties[{name}]")
    if "items" in schema:
        yield from _check(schema["items"], f"{at}.items")
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield from _check(schema["additionalProperties"], f"{at}.additionalProperties")


def _check_type(schema: Json, at: str) -> Iterator[FieldError]:
    kind = schema.get("type")
    if not kind and not schema.get("x-kubernetes-int-or-string") and not schema.get(PRESERVE):
        yield FieldError(f"{at}.type", REQUIRED, "must not be empty for specified object fields")
    elif kind and kind not in _TYPES:
        shown = ", ".join(f'"{name}"' for name in _TYPES)
        yield FieldError(f"{at}.type", UNSUPPORTED, f"supported values: {shown}", kind)
    elif kind == "array" and not schema.get("items"):
        yield FieldError(f"{at}.items", REQUIRED, "must be specified")


def _check_list(schema: Json, at: str) -> Iterator[FieldError]:
    """The keys of a list that is a map are what its elements are known by: they have to be there."""
    if schema.get("x-kubernetes-list-type") != "map":
        return
    items, keys = schema.get("items") or {}, schema.get("x-kubernetes-list-map-keys") or ()
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        yield FieldError(f"{at}.items.type", INVALID, detail, items.get("type"))
    elif not keys or any(key not in (items.get("properties") or {}) for key in keys):
        detail = "entries must all be names of item properties"
        yield FieldError(f"{at}.x-kubernetes-list-map-keys", INVALID, detail, list(keys))


def _check_values(schema: Json, at: str) -> Iterator[FieldError]:
    if "pattern" in schema:
        try:
            go_pattern(schema["pattern"])
        except re.error as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            yield FieldError(f"{at}.pattern", INVALID, detail, schema["pattern"])
            return
    if schema.get("default") is not None:
        for wrong in Validator({"type": "object", "properties": {"default": schema}}).errors(
            {"default": schema["default"]}
        ):
            yield FieldError(f"{at}.{wrong.field}", wrong.kind, wrong.detail, wrong.value)
