"""Structural schemas at work: pruning, defaulting, validation of one document.

One `Schema` serves custom resources and built-in ones alike. Pruning and defaulting change a document in place, so they
run on a document that was just decoded or copied, never on a stored one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from canary_sandbox.apiserver.errors import (
    DUPLICATE,
    INVALID,
    REQUIRED,
    TOO_LONG,
    TOO_MANY,
    UNSUPPORTED,
    WRONG_TYPE,
    FieldError,
    Json,
)
from canary_sandbox.apiserver.fieldpaths import with_metadata
from canary_sandbox.apiserver.rules import RuleTree, anywhere
from canary_sandbox.apiserver.validation import Validator

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
_BLOCKING = {UNSUPPORTED, REQUIRED, TOO_LONG, TOO_MANY, WRONG_TYPE}
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)
_TYPE_META = frozenset({"apiVersion", "kind", "metadata"})


class Schema:
    """A structural schema, compiled. `root` is the OpenAPI v3 document; `fields` says what has owners of its own.

    `list_types=False` leaves duplicates in sets and map lists alone, as the real server does for built-in kinds.
    """

    def __init__(self, root: Json, *, list_types: bool = True) -> None:
        self.root = root
        self.fields = with_metadata(root)
        self._validator = Validator(root)
        self._rules = RuleTree.of(root)
        self._has_list_types = list_types and anywhere(_is_list_type, root)

    @property
    def limitations(self) -> tuple[str, ...]:
        """Rules that this server cannot evaluate, each with why."""
        found = (expression for _, expression in self._rules.expressions()) if self._rules else ()
        return tuple(f"rule {one.source!r}: {one.limitation}" for one in found if one.limitation)

    def prune(self, doc: Json) -> list[str]:
        """Drop what the schema does not know, in place; returns the paths dropped, such as `spec.foo`."""
        unknown: list[str] = []
        _prune(doc, self.root, "", unknown, top=True)
        return unknown

    def default(self, doc: Json) -> None:
        """Fill in defaults and drop nulls where null is not allowed, in place."""
        _default(doc, self.root)

    def drop_empty(self, doc: Json) -> None:
        """Drop empty maps, lists and variables, in place: typed kinds do not tell them from none."""
        _drop_empty(doc, self.root)

    def errors(self, doc: Json, old: Json | None) -> list[FieldError]:
        """Objections to `doc`; `old` is what it replaces (None: it is new).

        Rules run only where all values are of the right type and size. A part that is as it was (`spec`, `status`) is not looked at
        again, as on a real server (ratcheting), but for rules that ask what was.
        """
        same = frozenset(name for name in doc if old and name in old and json.dumps(doc[name]) == json.dumps(old[name]))
        errors = list(self._validator.errors(doc, same))
        blocked = any(error.kind in _BLOCKING for error in errors)
        if self._has_list_types:
            errors += _list_errors({name: value for name, value in doc.items() if name not in same}, self.root, "")
        if self._rules and blocked:
            errors.append(FieldError("", INVALID, _UNCHECKED))
        return errors if blocked or not self._rules else [*errors, *self._rules.objections(doc, old, same=same)]

    def wrong_types(self, doc: Json) -> list[FieldError]:
        """What is not of the type that its field has."""
        return [error for error in self._validator.errors(doc) if error.kind == WRONG_TYPE]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _prune(value: Any, schema: Json, path: str, unknown: list[str], *, top: bool = False) -> None:
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        keep = schema.get(PRESERVE) or additional is True or schema.get("x-kubernetes-int-or-string")
        for key in list(value):
            if (top or schema.get(EMBEDDED)) and key in _TYPE_META:
                continue
            if key in properties:
                _prune(value[key], properties[key], _join(path, key), unknown)
            elif isinstance(additional, dict):
                _prune(value[key], additional, _join(path, key), unknown)
            elif not keep:
                del value[key]
                unknown.append(_join(path, key))
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                _prune(item, items, f"{path}[{index}]", unknown)


def _default(value: Any, schema: Json) -> None:
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for key, sub in properties.items():
            if "default" in sub:
                if key not in value or (value[key] is None and not sub.get("nullable")):
                    value[key] = copy.deepcopy(sub["default"])
            elif key in value and value[key] is None and not sub.get("nullable"):
                del value[key]
            if key in value:
                _default(value[key], sub)
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            for key in [key for key in value if key not in properties]:
                if value[key] is None and not additional.get("nullable"):
                    del value[key]
                else:
                    _default(value[key], additional)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                _default(item, items)


_KEPT_EMPTY = frozenset({"rules"})
"""Of a Role: to grant nothing is to say something."""


def _drop_empty(value: Any, schema: Json) -> None:
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for name in list(value):
            sub = properties.get(name, additional)
            if not isinstance(sub, dict):
                continue
            _drop_empty(value[name], sub)
            is_collection = sub.get("type") == "array" or isinstance(sub.get("additionalProperties"), dict)
            # Of texts only those of variables are known to be dropped: installations are full of them.
            is_variable = name == "value" and "valueFrom" in properties
            if (is_collection or is_variable) and not value[name] and name not in _KEPT_EMPTY:
                del value[name]
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            _drop_empty(item, schema["items"])


def _is_list_type(schema: Json) -> bool:
    """Whether it is a set or a map in the clothes of a list."""
    return schema.get("x-kubernetes-list-type") in {"set", "map"}


def _list_errors(value: Any, schema: Json, path: str) -> Iterator[FieldError]:
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for key, member in value.items():
            sub = properties.get(key, additional)
            if isinstance(sub, dict):
                yield from _list_errors(member, sub, _join(path, key))
    elif isinstance(value, list):
        items = schema.get("items")
        yield from _duplicates(value, schema, path)
        if isinstance(items, dict):
            for index, item in enumerate(value):
                yield from _list_errors(item, items, f"{path}[{index}]")


def _duplicates(value: list[Any], schema: Json, path: str) -> Iterator[FieldError]:
    match schema.get("x-kubernetes-list-type"):
        case "set":
            identities = list(value)
        case "map":
            keys = schema.get("x-kubernetes-list-map-keys") or ()
            identities = [
                {key: item[key] for key in keys if key in item} if isinstance(item, dict) else item for item in value
            ]
        case _:
            return
    seen: list[Any] = []
    for index, identity in enumerate(identities):
        if identity in seen:
            yield FieldError(f"{path}[{index}]", DUPLICATE, value=identity)
        else:
            seen.append(identity)
