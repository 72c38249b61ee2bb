"""Requests: one annotation, `canary.dev/request`, with a verb or a JSON object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

REQUEST_ANNOTATION = "canary.dev/request"


class Verb(StrEnum):
    """What a person can ask for."""

    START = "start"
    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `id` is empty for a plain verb that the controller has not numbered yet."""

    verb: str
    id: str = ""
    by: str = ""
    reason: str = ""
    raw: str = ""
    ignore_unknown: bool = False
    """Of a promote-full: go on although checks are Unknown."""

    @property
    def known(self) -> Verb | None:
        """The verb, or None if there is no such verb."""
        return Verb(self.verb) if self.verb in set(Verb) else None

    def dump(self) -> str:
        """Write the annotation's value."""
        document: dict[str, Any] = {"id": self.id, "verb": self.verb, "by": self.by, "reason": self.reason}
        if self.ignore_unknown:
            document["ignoreUnknown"] = True
        return json.dumps(document)


def parse_request(raw: str | None) -> Request | None:
    """Read the annotation; None without one. Never raises: what makes no sense becomes an unknown verb."""
    if raw is None or not raw.strip():
        return None
    raw = raw.encode("utf-8", "replace").decode()
    text = raw.strip()
    if not text.startswith("{"):
        return Request(verb=text[:64], raw=raw)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Request(verb="(not JSON)", raw=raw)
    if not isinstance(document, dict):
        return Request(verb="(not an object)", raw=raw)
    return Request(
        verb=_text(document, "verb", 64),
        id=_text(document, "id", 128),
        by=_text(document, "by", 256),
        reason=_text(document, "reason", 512),
        raw=raw,
        ignore_unknown=document.get("ignoreUnknown") is True,
    )


def _text(document: dict[str, Any], key: str, limit: int) -> str:
    """A member as text that fits into a status: JSON can spell halves of characters, which nothing can encode."""
    return str(document.get(key, ""))[:limit].encode("utf-8", "replace").decode()
