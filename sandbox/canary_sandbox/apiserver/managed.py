"""`metadata.managedFields`: which manager owns which fields, and what that means for the next write.

The rules are those of Kubernetes' structured merge: an Update takes over what it changes; an Apply owns what it names,
conflicts with others over what it would change, and takes away what it named before, names no more, and nobody else owns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from canary_sandbox.apiserver.errors import Json, apply_conflict
from canary_sandbox.apiserver.fieldpaths import (
    Path,
    all_paths,
    applied_paths,
    compared,
    from_fields_v1,
    shown,
    to_fields_v1,
)
from canary_sandbox.apiserver.merge import merged, without

Paths = frozenset[Path]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_NOBODYS = {("f:apiVersion",), ("f:kind",), ("f:metadata",)} | {
    ("f:metadata", f"f:{name}")
    for name in (
        "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generateName", "generation",
        "managedFields", "name", "namespace", "resourceVersion", "selfLink", "uid",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Manager:
    """Who owns fields. An applier is the same one whatever API version it speaks; `time` is no part of who it is."""

    operation: str
    name: str
    api_version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        text = json.dumps(self.name)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes now, in which API version, when, through which subresource ("": the object itself)."""

    name: str
    api_version: str
    time: str
    subresource: str = ""
    separate_status: bool = True

    def manager(self, operation: str) -> Manager:
        return Manager(operation, self.name, self.api_version if operation == "Update" else "", self.subresource)

    def may_own(self, path: Path) -> bool:
        """What this write can own at all: of the status only the status subresource, and nothing else there."""
        if path in _NOBODYS or not path:
            return False
        if self.subresource == "status":
            return path[0] == "f:status"
        return not (self.separate_status and path[0] == "f:status")


class Owners:
    """The owners of one object's fields."""

    def __init__(self, entries: list[Json] | None) -> None:
        self._sets: dict[Manager, Paths] = {}
        self._about: dict[Manager, tuple[str, str]] = {}
        for entry in entries or ():
            operation = entry.get("operation", "Update")
            version = entry.get("apiVersion", "")
            manager = Manager(
                operation,
                entry.get("manager", ""),
                version if operation == "Update" else "",
                entry.get("subresource", ""),
            )
            self._sets[manager] = from_fields_v1(entry.get("fieldsV1") or {})
            self._about[manager] = (version, entry.get("time", ""))

    def __bool__(self) -> bool:
        return bool(self._sets)

    def of(self, manager: Manager) -> Paths:
        return self._sets.get(manager, frozenset())

    def others(self, manager: Manager) -> Mapping[Manager, Paths]:
        return {other: paths for other, paths in self._sets.items() if other != manager}

    def everything(self) -> Paths:
        return frozenset().union(*self._sets.values())

    def assign(self, manager: Manager, paths: Paths, writer: Writer) -> None:
        """Let `manager` own exactly `paths`. Its time moves only when that is news."""
        if not paths:
            self._sets.pop(manager, None)
            return
        known = self._sets.get(manager)
        time = self._about[manager][1] if known == paths else writer.time
        self._sets[manager] = paths
        self._about[manager] = (writer.api_version, time)

    def take(self, paths: set[Path], but: Manager) -> None:
        """Nobody but `but` owns `paths` any more."""
        for other, owned in list(self._sets.items()):
            if other != but and not owned.isdisjoint(paths):
                left = owned - paths
                if left:
                    self._sets[other] = left
                else:
                    del self._sets[other]

    def entries(self) -> list[Json]:
        """What `managedFields` shows: appliers first, then by time and name."""
        order = sorted(self._sets, key=lambda manager: (manager.operation, self._about[manager][1], manager))
        return [self._entry(manager) for manager in order]

    def _entry(self, manager: Manager) -> Json:
        version, time = self._about[manager]
        entry = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(self._sets[manager]),
        }
        return {**entry, "subresource": manager.subresource} if manager.subresource else entry


def updated(
    old: Json | None, new: Json, schema: Json, writer: Writer, zero: Mapping[str, Any] | None = None
) -> list[Json]:
    """The managedFields of `new` after an Update turned `old` (None: nothing but `zero`) into it.

    An update may bring managedFields of its own, which then count instead of the old ones; `[{}]` forgets them all.
    """
    before: list[Json] = ((old or {}).get("metadata") or {}).get("managedFields") or []
    brought: list[Json] = [] if writer.subresource else new["metadata"].get("managedFields") or []
    if brought == [{}]:
        return []
    base = brought if brought and old is not None else before
    difference = compared(old or dict(zero or {}), new, schema).restricted(writer.may_own)
    if not (difference.added or difference.modified or difference.removed):
        return base
    owners = Owners(base)
    me = writer.manager("Update")
    mine = (owners.of(me) - difference.removed) | difference.added | difference.modified
    owners.take(difference.added | difference.modified | difference.removed, me)
    owners.assign(me, frozenset(mine), writer)
    return owners.entries()


def apply(live: Json, config: Json, schema: Json, writer: Writer, *, force: bool) -> tuple[Json, list[Json]]:
    """`live` after `config` was applied to it, with its managedFields.

    Raises StatusError 409 with one cause per field that another manager owns and that would change, unless `force`;
    DuplicateError for a configuration that names an element of a map list twice.
    """
    owners = Owners(live["metadata"].get("managedFields"))
    if not owners and live.get("kind"):
        everything = frozenset(path for path in all_paths(live, schema, ()) if writer.may_own(path))
        owners.assign(Manager("Update", "before-first-apply", writer.api_version), everything, writer)
    me = writer.manager("Apply")
    last = owners.of(me)
    mine = frozenset(path for path in applied_paths(config, schema) if writer.may_own(path))
    owners.assign(me, mine, writer)
    config = _only(config, writer)
    new = merged(live, config, schema)
    if last:
        # A field whose parts are owned is itself not free to go.
        free = _with_parents(last) - _with_parents(owners.everything()) - _NOBODYS
        new = without(new, free, schema)
    difference = compared(live, new, schema).restricted(writer.may_own)
    changed = difference.added | difference.modified
    conflicts = {other: paths & changed for other, paths in owners.others(me).items() if paths & changed}
    if conflicts and not force:
        conflicts = _allowed_by_last_applied(live, schema, conflicts, writer)
        if conflicts:
            raise apply_conflict(
                [(str(other), [shown(path) for path in sorted(paths)]) for other, paths in sorted(conflicts.items())]
            )
    owners.take(changed | difference.removed, me)
    return _with_last_applied(new, config, writer), owners.entries()


def _only(config: Json, writer: Writer) -> Json:
    """The part of a configuration that this write is about."""
    if writer.subresource == "status":
        return {name: value for name, value in config.items() if name in {"apiVersion", "kind", "status"}}
    if writer.separate_status:
        return {name: value for name, value in config.items() if name != "status"}
    return config


def _with_parents(paths: Paths) -> set[Path]:
    """With every member on the way to a path; elements of lists only where they are owned themselves."""
    return set(paths) | {
        path[:depth] for path in paths for depth in range(1, len(path)) if path[depth - 1].startswith("f:")
    }


def _with_last_applied(new: Json, config: Json, writer: Writer) -> Json:
    """Where kubectl once applied on the client's side, its note of that follows what it applies now."""
    annotations = new["metadata"].get("annotations") or {}
    if writer.name != "kubectl" or LAST_APPLIED not in annotations:
        return new
    own = {name: value for name, value in (config["metadata"].get("annotations") or {}).items() if name != LAST_APPLIED}
    noted = {**config, "metadata": {**config["metadata"], "annotations": own}}
    text = json.dumps(noted, separators=(",", ":"), sort_keys=True) + "\n"
    return {**new, "metadata": {**new["metadata"], "annotations": {**annotations, LAST_APPLIED: text}}}


def _allowed_by_last_applied(
    live: Json, schema: Json, conflicts: dict[Manager, Paths], writer: Writer
) -> dict[Manager, Paths]:
    """Let kubectl take over what it applied on the client's side before, if that is still as it was then."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if writer.name != "kubectl" or not text:
        return conflicts
    try:
        before = json.loads(text)
    except ValueError:
        return conflicts
    difference = compared(before, live, schema)
    unchanged = set(applied_paths(before, schema)) - difference.modified - difference.removed
    left = {other: paths - unchanged - {("f:metadata", "f:annotations", f"f:{LAST_APPLIED}")}
            for other, paths in conflicts.items()}  # fmt: skip
    return {other: paths for other, paths in left.items() if paths}
