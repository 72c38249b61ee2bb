"""`metadata.managedFields`: who last wrote what.

Fields are owned member by member through objects; a list is owned as a whole, by whoever wrote it last.
"""

from __future__ import annotations

from typing import Any

from canary.sandbox.apiserver.errors import Json

_SERVER_OWNED = frozenset(
    [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    ]
)

_Tree = dict[str, Any]


def updated(old: Json | None, new: Json, *, manager: str, api_version: str, time: str, subresource: str) -> list[Json]:
    """The managedFields of `new` after `manager` turned `old` (None: nothing) into it by an Update."""
    entries: list[Json] = list(((old or {}).get("metadata") or {}).get("managedFields") or ())
    changed, removed = _difference(_owned(old or {}), _owned(new))
    if not changed and not removed:
        return entries
    result: list[Json] = []
    mine: Json | None = None
    for entry in entries:
        if _is_mine(entry, manager, subresource):
            mine = entry
            continue
        left = _without(_without(entry["fieldsV1"], changed), removed)
        if left:
            result.append({**entry, "fieldsV1": left})
    fields = _without(mine["fieldsV1"], removed) if mine else {}
    fields = _united(fields, changed)
    if not fields:
        return result
    entry = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    if subresource:
        entry["subresource"] = subresource
    return [*result, entry]


def _is_mine(entry: Json, manager: str, subresource: str) -> bool:
    return (
        entry.get("manager") == manager
        and entry.get("operation") == "Update"
        and entry.get("subresource", "") == subresource
    )


def _owned(doc: Json) -> Json:
    """The part of a document that has owners."""
    owned = {key: value for key, value in doc.items() if key not in {"apiVersion", "kind", "metadata"}}
    metadata = {key: value for key, value in (doc.get("metadata") or {}).items() if key not in _SERVER_OWNED}
    return {**owned, "metadata": metadata} if metadata else owned


def _difference(old: Json, new: Json) -> tuple[_Tree, _Tree]:
    """Trees of the fields that are new or different, and of those that are gone."""
    changed: _Tree = {}
    removed: _Tree = {}
    for key, value in new.items():
        before = old.get(key)
        if key in old and before == value:
            continue
        if isinstance(value, dict) and value:
            inner_changed, inner_removed = _difference(before if isinstance(before, dict) else {}, value)
            if not isinstance(before, dict):
                inner_changed = {".": {}, **inner_changed}
            if inner_changed:
                changed[f"f:{key}"] = inner_changed
            if inner_removed:
                removed[f"f:{key}"] = inner_removed
        else:
            changed[f"f:{key}"] = {}
    for key, value in old.items():
        if key not in new:
            removed[f"f:{key}"] = _whole(value)
        elif isinstance(value, dict) and not isinstance(new[key], dict):
            removed[f"f:{key}"] = {name: tree for name, tree in _whole(value).items() if name != "."}
    return changed, {key: tree for key, tree in removed.items() if key not in changed or tree}


def _whole(value: Any) -> _Tree:
    if not isinstance(value, dict):
        return {}
    return {".": {}, **{f"f:{key}": _whole(member) for key, member in value.items()}}


def _without(tree: _Tree, gone: _Tree) -> _Tree:
    """`tree` less the leaves of `gone`."""
    result: _Tree = {}
    for key, sub in tree.items():
        if key not in gone:
            result[key] = sub
        elif gone[key] and sub:
            left = _without(sub, gone[key])
            if left:
                result[key] = left
    return result


def _united(one: _Tree, other: _Tree) -> _Tree:
    result = dict(one)
    for key, sub in other.items():
        result[key] = _united(result.get(key, {}), sub)
    return result
