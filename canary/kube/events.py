"""Core/v1 Events as data: what `kubectl describe rollout` shows under "Events". Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

_LONGEST_MESSAGE = 1024  # characters; the API server refuses more
_LONGEST_NAME = 253
_SUFFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def build_event(
    involved: Mapping[str, Any],
    *,
    type_: Literal["Normal", "Warning"],
    reason: str,
    message: str,
    now: datetime,
    component: str = "canary",
    name_suffix: str,
) -> dict[str, Any]:
    """An Event about `involved` (a whole object: apiVersion, kind, metadata), ready for `Kube.create`.

    `name_suffix` makes the name unique and comes from the caller, so that the very same Event built twice has the very
    same name: a create that is sent again after a time-out then answers AlreadyExists instead of adding a twin.
    `now` must be aware of its timezone. Events about cluster-scoped objects live in the namespace `default`.
    """
    if not _SUFFIX.fullmatch(name_suffix):
        raise ValueError(f"{name_suffix!r} cannot end the name of an Event: lower-case letters, digits and '-' only")
    if now.tzinfo is None:
        raise ValueError("an Event needs a time with a timezone")
    metadata = involved["metadata"]
    namespace = metadata.get("namespace") or "default"
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reference = {
        "apiVersion": involved["apiVersion"],
        "kind": involved["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": _name(metadata["name"], name_suffix), "namespace": namespace},
        "involvedObject": {key: value for key, value in reference.items() if value},
        "type": type_,
        "reason": reason,
        "message": message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": component,
    }


def _name(involved: str, suffix: str) -> str:
    room = _LONGEST_NAME - len(suffix) - 1
    return f"{involved[:room].rstrip('-.')}.{suffix}"
