"""Core/v1 Events as data: what `kubectl describe rollout` shows under "Events". Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

_LONGEST_MESSAGE = 1024  # bytes; the API server refuses more
_LONGEST_NAME = 253
_LONGEST_INSTANCE = 128
_SUFFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def build_event(
    involved: Mapping[str, Any],
    *,
    type_: Literal["Normal", "Warning"],
    reason: str,
    message: str,
    now: datetime,
    component: str = "canary",
    instance: str = "",
    name_suffix: str,
) -> dict[str, Any]:
    """An Event about `involved` (a whole object: apiVersion, kind, metadata), ready for `Kube.create`.

    `name_suffix` makes the name unique and comes from the caller, so that the very same Event built twice has the very
    same name: a create that is sent again after a time-out then answers AlreadyExists instead of adding a twin.
    `now` must be aware of its timezone. Events about cluster-scoped objects live in the namespace `default`. `instance` is
    the process that tells (default: the component).

    `eventTime` has microseconds, the two older timestamps whole seconds: nobody sorts by the former who does not ask for it
    (`--sort-by=.eventTime`, `kubectl events` where it is alone), and some show Events without the latter as ages old. With
    it the server wants to know who reports, and an action.
    """
    if not _SUFFIX.fullmatch(name_suffix):
        raise ValueError(f"{name_suffix!r} cannot end the name of an Event: lower-case letters, digits and '-' only")
    if now.tzinfo is None:
        raise ValueError("an Event needs a time with a timezone")
    metadata = involved["metadata"]
    namespace = metadata.get("namespace") or "default"
    at = now.astimezone(UTC)
    second = at.strftime("%Y-%m-%dT%H:%M:%SZ")
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
        "message": _cut(message, _LONGEST_MESSAGE),
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "action": "Reconcile",
        "firstTimestamp": second,
        "lastTimestamp": second,
        "count": 1,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": _cut(instance or component, _LONGEST_INSTANCE),
    }


def suffix_of(at: datetime, salt: str) -> str:
    """Ends the name of an Event such that names of one object sort by time, to the microsecond.

    Lists come in the order of names, and what sorts them by whole seconds (`kubectl describe`, `--sort-by=.lastTimestamp`)
    leaves what is in order as it is. `salt` tells apart what two processes say in the same microsecond.
    """
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return f"{(since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds:014x}{salt}"


def _cut(text: str, limit: int) -> str:
    """At most so many bytes of UTF-8, with a mark where something is missing."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    mark = "…"
    return encoded[: limit - len(mark.encode())].decode(errors="ignore") + mark


def _name(involved: str, suffix: str) -> str:
    room = _LONGEST_NAME - len(suffix) - 1
    return f"{involved[:room].rstrip('-.')}.{suffix}"
