"""The scale subresource: replicas of anything that says where it keeps them."""

from __future__ import annotations

from typing import Any

from canary_sandbox.apiserver.errors import INVALID, FieldError, Json, invalid
from canary_sandbox.apiserver.resources import Resource
from canary_sandbox.apiserver.store import Stored
from canary_sandbox.json_copy import copied


def _parts(path: str) -> list[str]:
    return [part for part in path.split(".") if part]


def _at(doc: Any, path: str) -> Any:
    for part in _parts(path):
        doc = doc.get(part) if isinstance(doc, dict) else None
    return doc


def of(resource: Resource, stored: Stored) -> Json:
    """The autoscaling/v1 Scale of an object."""
    assert resource.scale is not None  # noqa: S101  the router checked it
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {name: stored.metadata[name] for name in names if name in stored.metadata}
    status: Json = {"replicas": _at(stored.doc, resource.scale.status_path) or 0}
    if resource.scale.selector_path:
        selector = _at(stored.doc, resource.scale.selector_path)
    else:
        labels = _at(stored.doc, ".spec.selector.matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    if selector:
        status["selector"] = selector
    spec = {"replicas": _at(stored.doc, resource.scale.spec_path) or 0}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def applied(resource: Resource, stored: Stored, scale: Json) -> Json:
    """A copy of the object with the replicas of `scale`. Raises StatusError 422."""
    assert resource.scale is not None  # noqa: S101  the router checked it
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        objection = FieldError("spec.replicas", INVALID, "must be greater than or equal to 0", replicas)
        raise invalid("Scale", "autoscaling", stored.metadata["name"], [objection])
    doc = copied(stored.doc)
    version = (scale.get("metadata") or {}).get("resourceVersion")
    doc["metadata"]["resourceVersion"] = version or stored.metadata["resourceVersion"]
    *parents, last = _parts(resource.scale.spec_path)
    place = doc
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = replicas
    return doc
