"""Requests: one annotation, `canary.dev/request`, with a verb or a JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from canary.model.bounded import MAX_RUNS

REQUEST_ANNOTATION = "canary.dev/request"
AS_ANNOTATION = "canary.dev/request-as"
"""Who writes a request: the user, a line of groups with tabs between them, and the request itself, each on a line of its own.

The admission policy of the component `approvals` refuses one that names somebody else than who writes it. That the request is
repeated binds the two together: nobody's name is on what another one asks for.
"""


APPROVES = "promote"
"""What a request has in it that can approve something. Of others the admission policy looks at no claim, and so none counts."""


class Verb(StrEnum):
    """What a person can ask for."""

    START = "start"
    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    RETRY = "retry"


APPROVING = frozenset({Verb.PROMOTE, Verb.PROMOTE_FULL})
"""What lets a run go further: for those who may, and for the run that they have looked at."""


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
    run: int = 0
    """Which run it is about, by its number; 0: it does not say."""

    user: str = ""
    """Who the writer claims to be by AS_ANNOTATION; empty: nobody. True only where an admission policy sees to it."""
    groups: tuple[str, ...] = ()

    @property
    def known(self) -> Verb | None:
        """The verb, or None if there is no such verb."""
        return Verb(self.verb) if self.verb in set(Verb) else None

    def dump(self) -> str:
        """Write the annotation's value."""
        document: dict[str, Any] = {"id": self.id, "verb": self.verb, "by": self.by, "reason": self.reason}
        if self.ignore_unknown:
            document["ignoreUnknown"] = True
        if self.run:
            document["run"] = self.run
        return json.dumps(document)


def claim(user: str, groups: Iterable[str], raw: str) -> str:
    """What AS_ANNOTATION says of who writes a request."""
    return "\n".join((user, "\t".join(groups), raw))


def parse_request(raw: str | None, claimed: str | None = None) -> Request | None:
    """Read the annotation, and who it is `claimed` to be by; None without one. Never raises: what makes no sense becomes an unknown verb."""
    found = _parsed(raw)
    said = claimed.split("\n", 2) if claimed is not None else []
    if found is None or len(said) != 3 or not said[0] or said[2] != raw or APPROVES not in said[2]:
        return found
    return replace(found, user=said[0], groups=tuple(filter(None, said[1].split("\t"))))


def _parsed(raw: str | None) -> Request | None:
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
        run=_run(document.get("run")),
    )


def _run(said: object) -> int:
    """The number of a run; 0 for what is none."""
    return said if type(said) is int and 0 < said <= MAX_RUNS else 0


def _text(document: dict[str, Any], key: str, limit: int) -> str:
    """A member as text that fits into a status: JSON can spell halves of characters, which nothing can encode."""
    said = document.get(key)
    return ("" if said is None else str(said))[:limit].encode("utf-8", "replace").decode()
