"""Operations of a JSON Patch (RFC 6902), as the API server takes them. Pure.

Whoever changes an object of somebody else says first what the change relies on: operations that `test` come before those
that change, and the API server refuses all of them when one does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Operation = dict[str, Any]


def pointer(*names: str | int) -> str:
    """The path of a member (RFC 6901): names of members, and indexes of lists ("-" is behind the last)."""
    return "".join(f"/{str(name).replace('~', '~0').replace('/', '~1')}" for name in names)


def annotation(name: str) -> str:
    """The path of an annotation of an object."""
    return pointer("metadata", "annotations", name)


def test(path: str, value: Any) -> Operation:
    """Refuse the patch unless this is what is there."""
    return {"op": "test", "path": path, "value": value}


def add(path: str, value: Any) -> Operation:
    """Set a member, whether it is there or not; in a list, put it in before the one that has the index."""
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: Any) -> Operation:
    """Set a member that has to be there."""
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> Operation:
    """Take away a member that has to be there."""
    return {"op": "remove", "path": path}


def unmoved(document: Mapping[str, Any]) -> Operation:
    """Refuse the patch if anybody has written the object since it was read: for what cannot be tested, as an absent member."""
    return test(pointer("metadata", "resourceVersion"), document.get("metadata", {}).get("resourceVersion", ""))


def annotate(document: Mapping[str, Any], name: str, value: str) -> Operation:
    """Set an annotation of an object as it was read.

    Where there are none at all this sets the map of them, and with it takes away what others add meanwhile: it belongs
    into one patch with `unmoved`.
    """
    if document.get("metadata", {}).get("annotations") is None:
        return add(pointer("metadata", "annotations"), {name: value})
    return add(annotation(name), value)
