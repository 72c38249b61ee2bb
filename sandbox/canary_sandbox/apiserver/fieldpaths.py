"""Sets of field paths, as server-side apply and `metadata.managedFields` know them.

A path is a tuple of elements in the words of FieldsV1: `f:name` for a member, `k:{"name":"a"}` for an element of a map
list, `v:"x"` for an element of a set. What is one field and what is many the schema says: objects are many unless
`x-kubernetes-map-type: atomic`, lists are one unless `x-kubernetes-list-type: map` or `set`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from canary_sandbox.apiserver.errors import Json

Path = tuple[str, ...]
_METADATA: Json = {
    "type": "object",
    "properties": {
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {"type": "object", "x-kubernetes-map-type": "atomic"},
        },
    },
}
_MISSING: Any = object()


def with_metadata(root: Json) -> Json:
    """The schema of a kind, with what every metadata has."""
    return {**root, "properties": {**(root.get("properties") or {}), "metadata": _METADATA}}


class DuplicateError(Exception):
    """Two elements of a map list or a set are the same. The text is the path, and what it holds twice."""


def from_fields_v1(tree: Json) -> frozenset[Path]:
    """The set behind `fieldsV1`."""
    return frozenset(_leaves(tree, ()))


def _leaves(tree: Json, at: Path) -> Iterator[Path]:
    for element, sub in tree.items():
        if element == ".":
            yield at
        elif sub:
            yield from _leaves(sub, (*at, element))
        else:
            yield (*at, element)


def to_fields_v1(paths: Iterable[Path]) -> Json:
    """The `fieldsV1` of a set."""
    tree: Json = {}
    for path in sorted(set(paths)):
        place = tree
        for depth, element in enumerate(path, 1):
            is_leaf = element in place and not place[element]
            place = place.setdefault(element, {})
            if is_leaf and depth < len(path):
                place["."] = {}  # a field of its own, and with parts: it sorts before them, so it is known by now
    return tree


def shown(path: Path) -> str:
    """A path for people: `.spec.ports[port=80,protocol="TCP"].name`."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "v":
            text += f"[={rest}]"
        else:
            keys = json.loads(rest)
            text += "[" + ",".join(f"{key}={_compact(value)}" for key, value in keys.items()) + "]"
    return text


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def element_of(item: Any, schema: Json) -> str:
    """The element that a member of a map list or a set has in a path."""
    if schema.get("x-kubernetes-list-type") == "set" or not isinstance(item, dict):
        return f"v:{_compact(item)}"
    properties = (schema.get("items") or {}).get("properties") or {}
    keys = {}
    for key in sorted(schema.get("x-kubernetes-list-map-keys") or ()):
        value = item.get(key, (properties.get(key) or {}).get("default"))
        if value is not None:
            keys[key] = value
    return f"k:{_compact(keys)}"


def is_granular(value: Any, schema: Json) -> bool:
    """Whether the parts of `value` have owners of their own."""
    if isinstance(value, dict):
        return schema.get("x-kubernetes-map-type") != "atomic"
    return isinstance(value, list) and schema.get("x-kubernetes-list-type") in {"map", "set"}


def member_schema(schema: Json, name: str) -> Json:
    """The schema of a member of an object; empty where nothing is known."""
    sub = (schema.get("properties") or {}).get(name, schema.get("additionalProperties"))
    return sub if isinstance(sub, dict) else {}


def parts(value: Any, schema: Json, *, unique: bool = False, at: Path = ()) -> dict[str, tuple[Any, Json]]:
    """The parts of a granular value with their schemas, by element.

    `unique` raises DuplicateError for one met twice in the value at `at`.
    """
    if isinstance(value, dict):
        return {f"f:{name}": (sub, member_schema(schema, name)) for name, sub in value.items()}
    result: dict[str, tuple[Any, Json]] = {}
    items = schema.get("items") or {}
    for item in value:
        element = element_of(item, schema)
        if unique and element in result:
            raise DuplicateError(f"{shown(at)}: duplicate entries for key {shown((element,))}")
        result[element] = (item, items)
    return result


def applied_paths(value: Any, schema: Json, at: Path = ()) -> Iterator[Path]:
    """The fields that an applied configuration names. Raises DuplicateError."""
    if not is_granular(value, schema):
        yield at
        return
    in_map = isinstance(value, list) or isinstance(schema.get("additionalProperties"), dict)
    for element, (sub, sub_schema) in parts(value, schema, unique=True, at=at).items():
        here = (*at, element)
        granular = is_granular(sub, sub_schema)
        if granular and (in_map or sub == {}):
            yield here
        yield from applied_paths(sub, sub_schema, here)


def all_paths(value: Any, schema: Json, at: Path) -> Iterator[Path]:
    """Every field below and including `at`, objects and lists themselves included."""
    yield at
    if is_granular(value, schema):
        for element, (sub, sub_schema) in parts(value, schema).items():
            yield from all_paths(sub, sub_schema, (*at, element))


@dataclass(slots=True)
class Comparison:
    """What became of the fields of a document."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)

    def restricted(self, keep: Callable[[Path], bool]) -> Comparison:
        """Only what `keep` keeps."""
        return Comparison(*({path for path in paths if keep(path)} for paths in (self.added, self.modified, self.removed)))  # fmt: skip


def compared(old: Any, new: Any, schema: Json) -> Comparison:
    """The difference of two documents, field by field."""
    found = Comparison()
    _compare(old, new, schema, (), found)
    return found


def _compare(old: Any, new: Any, schema: Json, at: Path, found: Comparison) -> None:
    if old is _MISSING:
        found.added.update(all_paths(new, schema, at))
    elif new is _MISSING:
        found.removed.update(all_paths(old, schema, at))
    elif type(old) is type(new) and is_granular(old, schema):
        before, after = parts(old, schema), parts(new, schema)
        for element in before.keys() | after.keys():
            was, sub = before.get(element) or (_MISSING, {})
            now, sub = after.get(element) or (_MISSING, sub)
            if was is _MISSING or now is _MISSING or was != now:
                _compare(was, now, sub, (*at, element), found)
    elif old != new:
        found.modified.add(at)
        # What had parts and has them no more, or the other way round.
        found.removed.update(path for path in all_paths(old, schema, at) if path != at)
        found.added.update(path for path in all_paths(new, schema, at) if path != at)
