"""Whether what came back is the object that was asked for: something in between may answer in the API server's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canary.errors import Unavailable
from canary.kube.resources import Resource

Object = dict[str, Any]

_KINDS: Mapping[str, type] = {
    "uid": str,
    "resourceVersion": str,
    "generation": int,
    "annotations": dict,
    "labels": dict,
    "finalizers": list,
    "ownerReferences": list,
    "managedFields": list,
    "deletionTimestamp": str,
}
"""What members of metadata are, where they are there at all."""

_STATUS = "status"


def the_object(answer: Object, res: Resource, name: str, namespace: str | None, subresource: str | None) -> Object:
    """The answer to a GET or a PATCH, if it is what its path names.

    Raises:
        Unavailable: it is something else, such as a Status, or its metadata are no metadata. Whether a write took effect is not known.

    """
    metadata = answer.get("metadata")
    if subresource in {None, _STATUS} and answer.get("kind") != res.kind:
        raise _unlike(res, name, f"of kind {str(answer.get('kind'))[:64]!r}")
    if not isinstance(metadata, dict):
        raise _unlike(res, name, "without metadata")
    if metadata.get("name") != name or (namespace and res.namespaced and metadata.get("namespace") != namespace):
        raise _unlike(res, name, f"of the name {str(metadata.get('name'))[:64]!r}")
    for member, kind in _KINDS.items():
        value = metadata.get(member)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise _unlike(res, name, f"of which metadata.{member} makes no sense")
    return answer


def _unlike(res: Resource, name: str, what: str) -> Unavailable:
    return Unavailable(f"asked about {res.kind} {name}, the API server answered with an object {what}")
