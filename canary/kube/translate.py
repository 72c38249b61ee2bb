"""From an HTTP answer of the API server to an error of our tree. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from canary.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    NotServed,
    Refused,
    Throttled,
    Unavailable,
    Unprocessable,
)

_BY_CODE: dict[int, type[ApiError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Unprocessable,
    429: Throttled,
}
_TOO_LARGE = "request is too large"  # what etcd says of an object that it does not store
_LONGEST_TEXT = 300  # of a body that is no Status: enough to recognise a proxy's error page


def from_response(code: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """The error for an answer with `code`; its message is the server's own where there is one."""
    return from_status(code, _status(body), headers.get("Retry-After"), fallback=_text(body))


def from_status(
    code: int, status: Mapping[str, Any], retry_after: str | None = None, *, fallback: str = ""
) -> ApiError:
    """The error for a `Status` object, as it comes in bodies and in ERROR events of a watch."""
    details = status.get("details")
    details = details if isinstance(details, Mapping) else {}
    reason = str(status.get("reason") or "")
    causes = tuple(_cause(cause) for cause in details.get("causes") or () if isinstance(cause, Mapping))
    message = str(status.get("message") or fallback or f"the API server answered {code}")
    refused = code == 500 and _TOO_LARGE in message  # which no retry makes smaller
    return (Refused if refused else _class_of(code, reason, named=bool(details.get("name"))))(
        message,
        status=code,
        reason=reason,
        causes=causes,
        retry_after=_seconds(retry_after, details.get("retryAfterSeconds")),
    )


def _class_of(code: int, reason: str, *, named: bool) -> type[ApiError]:
    if code == 404 and not (named and reason == "NotFound"):
        return NotServed
    if code == 409 and reason == "AlreadyExists":
        return AlreadyExists
    if code in _BY_CODE:
        return _BY_CODE[code]
    return Unavailable if code >= 500 or code == 0 else Refused


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) and parsed.get("kind") == "Status" else {}


def _text(body: bytes) -> str:
    text = " ".join(body[: 4 * _LONGEST_TEXT].decode("utf-8", "replace").split())
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _cause(cause: Mapping[str, Any]) -> str:
    field, message = str(cause.get("field") or ""), str(cause.get("message") or cause.get("reason") or "")
    return f"{field}: {message}" if field else message


def _seconds(header: str | None, details: object) -> float | None:
    """Retry-After in seconds. The HTTP-date form is not used by API servers and is left alone."""
    for candidate in (header, details):
        try:
            seconds = float(candidate)  # type: ignore[arg-type]  # None and rubbish are what the except is for
        except (TypeError, ValueError):
            continue
        if 0 < seconds < float("inf"):
            return seconds
    return None
