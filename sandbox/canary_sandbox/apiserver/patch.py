"""The patch formats: JSON Patch, merge patch, strategic merge patch. None of them changes the document it is given."""

from __future__ import annotations

import re
from typing import Any

import jsonpatch
import jsonpointer

from canary_sandbox.apiserver import spelling
from canary_sandbox.apiserver.errors import Json, bad_request, rejected
from canary_sandbox.json_copy import copied

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_OPERATIONS_LIMIT = 10_000


def json_patch(doc: Json, operations: Any, written: Any) -> Json:
    """RFC 6902. `written` are the same operations with every text as the client spelt it: see `spelling`.

    Raises StatusError 422 when an operation does not apply, 400 when the patch is malformed.
    """
    if not isinstance(operations, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    if len(operations) > _OPERATIONS_LIMIT:
        raise bad_request(f"The allowed maximum operations in a JSON patch is {_OPERATIONS_LIMIT}")
    result: Any = copied(doc)
    for index, operation in enumerate(operations):
        if not isinstance(operation, dict):
            raise bad_request("error decoding patch: an operation is not an object")
        try:
            if operation.get("op") == "test":
                _test(result, operation, written[index].get("value"))
            else:
                result = jsonpatch.JsonPatch([_as_there(result, operation)]).apply(result, in_place=True)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, TypeError) as error:
            raise rejected() from error
    if not isinstance(result, dict):
        raise rejected()
    return result


def _as_there(doc: Any, operation: Json) -> Json:
    """An operation as the server's library understands it.

    A missing value is null, `replace` adds a member that is not there, and -1 is the last element of a list.
    """
    operation = copied(operation)
    if operation.get("op") in {"add", "replace"}:
        operation.setdefault("value", None)
    path = operation.get("path")
    if operation.get("op") != "replace" or not isinstance(path, str) or not path:
        return operation
    above, _, last = path.rpartition("/")
    parent = jsonpointer.JsonPointer(above).resolve(doc)
    if isinstance(parent, dict) and jsonpointer.unescape(last) not in parent:
        operation["op"] = "add"
    elif isinstance(parent, list) and re.fullmatch(r"-\d+", last):
        operation["path"] = f"{above}/{len(parent) + int(last)}"
    return operation


def _test(doc: Any, operation: Json, wanted: Any) -> None:
    """The server's library takes a missing member for null, and is strict about type and spelling of a value."""
    pointer = jsonpointer.JsonPointer(operation["path"])
    parent, part = pointer.to_last(doc)
    if part is None:
        found = parent
    elif isinstance(parent, dict):
        found = parent.get(part)
    else:
        found = pointer.walk(parent, part)
    if not _same(found, wanted):
        raise jsonpatch.JsonPatchTestFailed


def _same(one: Any, other: Any) -> bool:
    """Whether a value of an object is the one that a test names, spelt as it was written."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return spelling.spelt(one) == other
    return bool(one == other)


def merge_patch(doc: Any, patch: Any) -> Any:
    """RFC 7386. Shares the untouched parts with `doc`."""
    if not isinstance(patch, dict):
        return patch
    result = dict(doc) if isinstance(doc, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


# Which member identifies an element of a list, by the name of the list. Lists that are not here are replaced whole.
_MERGE_KEYS = {
    "addresses": "type",
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_PRIMITIVE_SETS = frozenset({"finalizers"})
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge_patch(kind: str, doc: Json, patch: Any) -> Json:
    """Kubernetes' own merge, for built-in kinds: lists of named things merge element by element."""
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a strategic merge patch is an object")
    merged: Json = _merge_map(copied(doc), patch, _Where(kind))
    return merged


class _Where:
    """Where in a document we are, as far as merge keys depend on it (`ports` of a Service or of a container)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def merge_key(self, name: str) -> str | None:
        if name == "ports":
            return {"Service": "port", "EndpointSlice": None, "Endpoints": None}.get(self.kind, "containerPort")
        return _MERGE_KEYS.get(name)


def _merge_map(doc: Any, patch: Json, where: _Where) -> Any:
    directive = patch.get("$patch", "merge")
    if directive not in {"replace", "delete", "merge"}:
        raise bad_request(f"invalid value of $patch: {directive!r}")
    if directive != "merge":
        return {} if directive == "delete" else {key: value for key, value in patch.items() if key != "$patch"}
    result: Json = doc if isinstance(doc, dict) else {}
    if "$retainKeys" in patch:
        kept = set(patch["$retainKeys"])
        result = {key: value for key, value in result.items() if key in kept}
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVES):
            name = key.removeprefix(_DELETE_PRIMITIVES)
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merge_map(result.get(key), value, where)
        elif isinstance(value, list):
            result[key] = _merge_list(key, result.get(key), value, where)
        else:
            result[key] = value
    for key, order in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            if isinstance(result.get(name), list):
                result[name] = _ordered(result[name], order, where.merge_key(name))
    return result


def _merge_list(name: str, current: Any, patch: list[Any], where: _Where) -> list[Any]:
    existing = list(current) if isinstance(current, list) else []
    if name in _PRIMITIVE_SETS:
        return existing + [item for item in patch if item not in existing]
    key = where.merge_key(name)
    if key is None or any(not isinstance(item, dict) for item in patch):
        return patch
    directives = [item for item in patch if "$patch" in item]
    if any(item["$patch"] == "replace" for item in directives):
        return [item for item in patch if item.get("$patch") != "replace"]
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, old in enumerate(existing) if isinstance(old, dict) and old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del existing[at]
        elif at is None:
            existing.append(_merge_map({}, item, where))
        else:
            existing[at] = _merge_map(existing[at], item, where)
    return existing


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Elements named by `order` in its order; others stay where they were relative to their neighbours before them."""

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    listed = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    result = iter(listed)
    return [next(result) if identity(item) in wanted else item for item in items]
