"""Is a schema structural? The conditions under which a real server accepts it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from canary_sandbox.apiserver.errors import FORBIDDEN, INVALID, REQUIRED, UNSUPPORTED, FieldError, Json
from canary_sandbox.apiserver.schema import PRESERVE as _PRESERVE
from canary_sandbox.apiserver.validation import Validator, go_pattern

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_IN_JUNCTORS_FORBIDDEN = ("description", "type", "default", "title", "additionalProperties", "nullable", "example")
_UNSUPPORTED = ("$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties")
_KNOWN = frozenset(
    (
        "$schema",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "default",
        "description",
        "enum",
        "example",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "externalDocs",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "nullable",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
        "uniqueItems",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
        *_UNSUPPORTED,
    )
)
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def check_structure(schema: Json, at: str) -> Iterator[FieldError]:
    """Objections to a whole schema; `at` is its path in the definition."""
    if schema.get("type") != "object":
        if "type" in schema:
            yield FieldError(f"{at}.type", INVALID, "must be object at the root", schema["type"])
        else:
            yield FieldError(f"{at}.type", REQUIRED, "must not be empty at the root")
    if schema.get("nullable"):
        yield FieldError(f"{at}.nullable", FORBIDDEN, "nullable cannot be true at the root")
    metadata = (schema.get("properties") or {}).get("metadata") or {}
    for name in metadata.get("properties") or {}:
        if name not in {"name", "generateName"}:
            detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield FieldError(f"{at}.properties[metadata]", FORBIDDEN, detail)
            break
    yield from _check(schema, at, is_root=True)


def _check(schema: Any, at: str, *, is_root: bool = False) -> Iterator[FieldError]:
    if not isinstance(schema, dict):
        yield FieldError(at, INVALID, "must be a schema", schema)
        return
    yield from _check_members(schema, at)
    yield from _check_type(schema, at, is_root=is_root)
    yield from _check_lists(schema, at)
    yield from _check_default(schema, at)
    for junctor in _JUNCTORS:
        for index, sub in enumerate(schema.get(junctor) or ()):
            if not (schema.get("x-kubernetes-int-or-string") and schema[junctor] == _INT_OR_STRING):
                yield from _check_value_validation(sub, f"{at}.{junctor}[{index}]", schema)
    if schema.get("not"):
        yield from _check_value_validation(schema["not"], f"{at}.not", schema)
    for name, sub in (schema.get("properties") or {}).items():
        if not (is_root and name == "metadata"):
            yield from _check(sub, f"{at}.properties[{name}]")
    if isinstance(schema.get("items"), dict):
        yield from _check(schema["items"], f"{at}.items")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _check(schema["additionalProperties"], f"{at}.additionalProperties")


def _check_members(schema: Json, at: str) -> Iterator[FieldError]:
    for name in schema:
        if name in _UNSUPPORTED:
            yield FieldError(f"{at}.{name}", FORBIDDEN, f"{name} is not supported")
        elif name not in _KNOWN:
            yield FieldError(f"{at}.{name}", FORBIDDEN, "unknown member of a schema")
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield FieldError(f"{at}.uniqueItems", FORBIDDEN, detail)
    if "additionalProperties" in schema and schema.get("properties"):
        detail = "additionalProperties and properties are mutual exclusive"
        yield FieldError(f"{at}.additionalProperties", FORBIDDEN, detail)
    if isinstance(schema.get("items"), list):
        yield FieldError(f"{at}.items", FORBIDDEN, "items must be a schema object and not an array")
    if "pattern" in schema:
        yield from _check_pattern(schema["pattern"], f"{at}.pattern")
    if schema.get(_PRESERVE) is False:
        yield FieldError(f"{at}.{_PRESERVE}", INVALID, "must be true or undefined", value=False)


_NOT_IN_GO = re.compile(r"\(\?(<?[=!]|P[=>]|\(|>)|(?<!\\)(\\\\)*\\([1-9]|Z)")
"""What the regular expressions of Python have and those of Go do not: looking around, looking back."""


def _check_pattern(pattern: str, at: str) -> Iterator[FieldError]:
    detail = "must be a valid regular expression, but isn't: "
    if found := _NOT_IN_GO.search(pattern):
        yield FieldError(at, INVALID, f"{detail}invalid or unsupported Perl syntax: `{found[0]}`", pattern)
        return
    try:
        go_pattern(pattern)
    except re.error as error:
        yield FieldError(at, INVALID, f"{detail}{error}", pattern)


def _check_type(schema: Json, at: str, *, is_root: bool) -> Iterator[FieldError]:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if kind:
            detail = "must be empty if x-kubernetes-int-or-string is true"
            yield FieldError(f"{at}.type", FORBIDDEN, detail)
        return
    if not kind:
        if not schema.get("x-kubernetes-preserve-unknown-fields") and not is_root:
            yield FieldError(f"{at}.type", REQUIRED, "must not be empty for specified object fields")
        return
    if kind not in _TYPES:
        shown = ", ".join(f'"{name}"' for name in _TYPES)
        yield FieldError(f"{at}.type", UNSUPPORTED, f"supported values: {shown}", kind)
    if kind == "array" and not schema.get("items"):
        yield FieldError(f"{at}.items", REQUIRED, "must be specified")
    if kind != "object" and (schema.get("properties") or schema.get("additionalProperties")):
        yield FieldError(
            f"{at}.type", INVALID, "must be object if properties or additionalProperties is specified", kind
        )
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        yield FieldError(f"{at}.type", INVALID, "must be object if x-kubernetes-embedded-resource is true", kind)


def _check_lists(schema: Json, at: str) -> Iterator[FieldError]:
    list_type = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if list_type is None:
        if keys:
            detail = "must be map if x-kubernetes-list-map-keys is non-empty"
            yield FieldError(f"{at}.x-kubernetes-list-type", INVALID, detail, "")
        return
    if list_type not in {"atomic", "set", "map"}:
        detail = 'supported values: "atomic", "map", "set"'
        yield FieldError(f"{at}.x-kubernetes-list-type", UNSUPPORTED, detail, list_type)
    if schema.get("type") != "array":
        yield FieldError(
            f"{at}.type", INVALID, "must be array if x-kubernetes-list-type is specified", schema.get("type")
        )
        return
    items = schema.get("items") or {}
    if list_type == "set" and items.get("type") in {"object", "array"}:
        atomic = items.get("x-kubernetes-map-type") == "atomic" or items.get("x-kubernetes-list-type") == "atomic"
        if not atomic:
            detail = "items of a set must be scalars, or atomic"
            yield FieldError(f"{at}.items", INVALID, detail, items.get("type"))
    if list_type == "map":
        yield from _check_map_keys(items, keys, at)


def _check_map_keys(items: Json, keys: Any, at: str) -> Iterator[FieldError]:
    if not keys:
        yield FieldError(
            f"{at}.x-kubernetes-list-map-keys", REQUIRED, "must not be empty if x-kubernetes-list-type is map"
        )
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        yield FieldError(f"{at}.items.type", INVALID, detail, items.get("type"))
        return
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        here = f"{at}.x-kubernetes-list-map-keys[{index}]"
        if key not in properties:
            yield FieldError(here, INVALID, "entries must all be names of item properties", key)
        elif properties[key].get("type") not in {"string", "integer", "number", "boolean"}:
            yield FieldError(here, INVALID, "entries must refer to scalar properties", key)
        elif key not in (items.get("required") or ()) and "default" not in properties[key]:
            yield FieldError(
                f"{at}.items.properties[{key}].default", REQUIRED,
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            )  # fmt: skip


def _check_default(schema: Json, at: str) -> Iterator[FieldError]:
    if "default" not in schema or not (schema.get("type") or schema.get("x-kubernetes-int-or-string")):
        return
    if schema["default"] is None and not schema.get("nullable"):
        return  # as good as none
    for error in Validator({"type": "object", "properties": {"default": schema}}).errors(
        {"default": schema["default"]}
    ):
        yield FieldError(f"{at}.{error.field}", error.kind, error.detail, error.value)


def _check_value_validation(sub: Any, at: str, parent: Json) -> Iterator[FieldError]:
    """Inside junctors only conditions on values may stand."""
    if not isinstance(sub, dict):
        yield FieldError(at, INVALID, "must be a schema", sub)
        return
    for name in _IN_JUNCTORS_FORBIDDEN:
        if name in sub:
            yield FieldError(f"{at}.{name}", FORBIDDEN, f"must be {_EMPTY.get(name, 'undefined')} to be structural")
    for name, inner in (sub.get("properties") or {}).items():
        known = (parent.get("properties") or {}).get(name) or {}
        yield from _check_value_validation(inner, f"{at}.properties[{name}]", known)
    if isinstance(sub.get("items"), dict):
        yield from _check_value_validation(sub["items"], f"{at}.items", parent.get("items") or {})
    for junctor in _JUNCTORS:
        for index, inner in enumerate(sub.get(junctor) or ()):
            yield from _check_value_validation(inner, f"{at}.{junctor}[{index}]", parent)
    if sub.get("not"):
        yield from _check_value_validation(sub["not"], f"{at}.not", parent)


_EMPTY = {"type": "empty", "description": "empty", "title": "empty", "nullable": "false"}
