"""What is in a Secret: read by its name when somebody needs it, and never listed or watched."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from canary.kube.port import Kube
from canary.kube.resources import SECRETS

Json = dict[str, Any]


async def read_secret(kube: Kube, name: str, namespace: str) -> tuple[str, dict[str, str], dict[str, bytes]]:
    """Its type, its annotations and its data. What makes no sense in it counts as absent. Raises ApiError."""
    found = await kube.get(SECRETS, name, namespace)
    metadata, data = found.get("metadata"), found.get("data")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return (
        str(found.get("type") or ""),
        {key: value for key, value in _items(annotations) if isinstance(value, str)},
        {key: decoded for key, value in _items(data) if (decoded := _decoded(value)) is not None},
    )


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _decoded(value: Any) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return None
