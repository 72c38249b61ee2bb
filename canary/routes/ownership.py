"""Gives the ownership of fields back, when nothing of a run is left on somebody's object. Pure.

Server-side apply keeps who wrote which field in `metadata.managedFields`. Rules of a route are one field (their list is
atomic), so after a run the owner's `kubectl apply --server-side` would be refused for ever: conflict with "canary". A patch
that takes our entry out, and changes nothing else of the spec, gives them back; one that also changes a weight would take
them anew, so this is always a patch of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from canary.json_patch import Operation, pointer, remove, test

MANAGER = "canary"


def given_back(document: Mapping[str, Any], manager: str = MANAGER) -> list[Operation]:
    """JSON Patch operations that take our entries out of managedFields, each tested; empty when there are none.

    `document` is one with managedFields: what is kept of a route in memory has none. They are tested by their places, so the
    patch is refused when anybody has written the object since, in most cases, and always when our fields are others by now.
    """
    return _without(document, lambda entry: entry.get("manager") == manager and not entry.get("subresource"))


def wrote_rules(document: Mapping[str, Any], manager: str = MANAGER) -> bool:
    """Whether the rules of a route, of `document` with managedFields, are as we wrote them: who changes them afterwards takes the field over."""
    return any(
        entry.get("manager") == manager
        and not entry.get("subresource")
        and "f:rules" in ((entry.get("fieldsV1") or {}).get("f:spec") or ())
        for entry in document.get("metadata", {}).get("managedFields") or []
    )


def replicas_given_back(document: Mapping[str, Any], manager: str = MANAGER) -> list[Operation]:
    """The same for entries of nothing but replicas, as the scale subresource makes them."""
    return _without(document, lambda entry: entry.get("manager") == manager and _only_replicas(entry))


def _only_replicas(entry: Mapping[str, Any]) -> bool:
    return list((entry.get("fieldsV1") or {}).get("f:spec") or ()) == ["f:replicas"]


def _without(document: Mapping[str, Any], mine: Callable[[Mapping[str, Any]], bool]) -> list[Operation]:
    entries = document.get("metadata", {}).get("managedFields") or []
    ours = [index for index, entry in enumerate(entries) if mine(entry)]
    if len(ours) == len(entries):
        return []  # an empty list would mean something else: that all of it is to be reckoned anew
    operations: list[Operation] = []
    for index in reversed(ours):  # from the end: each removal moves those behind it
        path = pointer("metadata", "managedFields", index)
        operations += [test(path, entries[index]), remove(path)]
    return operations
