"""What `v1` asks of an event that says its time to the microsecond."""

from __future__ import annotations

from canary_sandbox.apiserver.errors import INVALID, REQUIRED, FieldError, Json
from canary_sandbox.apiserver.names import qualified_name

_NAME_LIMIT = 128
_NOTE_LIMIT = 1024


def check_timed(doc: Json) -> list[FieldError]:
    """What `v1` asks of an event that says its time to the microsecond, under its own names."""
    if not doc.get("eventTime"):
        return []
    found = []
    for name in ("reportingComponent", "reportingInstance", "action", "reason"):
        if not doc.get(name):
            found.append(FieldError(name, REQUIRED))
        elif _bytes(doc[name]) > _NAME_LIMIT:
            found.append(FieldError(name, INVALID, f"can have at most {_NAME_LIMIT} characters", ""))
    if problem := qualified_name(doc.get("reportingComponent") or ""):
        found.append(FieldError("reportingComponent", INVALID, problem, doc.get("reportingComponent", "")))
    if _bytes(doc.get("message", "")) > _NOTE_LIMIT:
        found.append(FieldError("message", INVALID, f"can have at most {_NOTE_LIMIT} characters", ""))
    return found


def _bytes(text: str) -> int:
    """The length of a text as the real server counts it."""
    return len(text.encode(errors="replace"))
