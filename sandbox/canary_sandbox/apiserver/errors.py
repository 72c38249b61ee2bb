"""What the server says when it says no: `metav1.Status` objects, worded as clients expect them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


class StatusError(Exception):
    """An answer other than success. `code` is the HTTP code, `reason` the CamelCase Status reason."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Json | None = None,
        headers: dict[str, str] | None = None,
        metadata: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.metadata = metadata or {}

    def body(self) -> Json:
        """The Status document of this answer."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        return status


@dataclass(frozen=True, slots=True)
class FieldError:
    """One objection to one field.

    `kind` is the wording of the real server, such as `Required value`; `value` may be `OMITTED`.
    """

    field: str
    kind: str
    detail: str = ""
    value: Any = None

    @property
    def reason(self) -> str:
        return _CAUSE_REASONS[self.kind]

    def text(self) -> str:
        """The objection without its field."""
        body = INVALID if self.kind == WRONG_TYPE else self.kind
        if self.kind not in _WITHOUT_VALUE and self.value is not OMITTED:
            body += f": {_shown(self.value)}"
        return f"{body}: {self.detail}" if self.detail else body

    def cause(self) -> Json:
        return {"reason": self.reason, "message": self.text(), "field": self.field or "<nil>"}

    def __str__(self) -> str:
        return f"{self.field or '<nil>'}: {self.text()}"


INVALID = "Invalid value"
REQUIRED = "Required value"
UNSUPPORTED = "Unsupported value"
DUPLICATE = "Duplicate value"
FORBIDDEN = "Forbidden"
TOO_LONG = "Too long"
TOO_MANY = "Too many"
WRONG_TYPE = "Invalid type"
"""Worded as an invalid value, with a reason of its own."""
OMITTED: Any = object()
"""Stands for a value that an objection does not show."""

_CAUSE_REASONS = {
    INVALID: "FieldValueInvalid",
    WRONG_TYPE: "FieldValueTypeInvalid",
    REQUIRED: "FieldValueRequired",
    UNSUPPORTED: "FieldValueNotSupported",
    DUPLICATE: "FieldValueDuplicate",
    FORBIDDEN: "FieldValueForbidden",
    TOO_LONG: "FieldValueTooLong",
    TOO_MANY: "FieldValueTooMany",
}
_WITHOUT_VALUE = {REQUIRED, FORBIDDEN, TOO_LONG}


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def qualified(plural: str, group: str) -> str:
    """`httproutes.gateway.networking.k8s.io`, or `services` in the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> StatusError:
    """404 for one object."""
    details = {"name": name, "group": group, "kind": plural}
    return StatusError(
        404, "NotFound", f'{qualified(plural, group)} "{name}" not found', details=_without_empty(details)
    )


def not_decoded(kind: str, version: str, why: str) -> StatusError:
    """400 for a document that does not fit the type of its kind."""
    return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def patch_not_decoded(patched: Json, why: str) -> StatusError:
    """422 for a patch of which the same is true. The real server names neither kind nor object."""
    return invalid("", "", "", [FieldError("patch", INVALID, why, _shown(patched))])


def no_such_path() -> StatusError:
    """The resource is unknown in a group that is known."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(plural: str, group: str, name: str) -> StatusError:
    """409 for a create."""
    details = {"name": name, "group": group, "kind": plural}
    message = f'{qualified(plural, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details=_without_empty(details))


def conflict(plural: str, group: str, name: str, why: str = "") -> StatusError:
    """409 for a write that read something older, or whose precondition fails."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    details = {"name": name, "group": group, "kind": plural}
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=_without_empty(details))


def apply_conflict(conflicts: Sequence[tuple[str, Sequence[str]]]) -> StatusError:
    """409 for an apply that would change what others own: (manager, paths) pairs."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, paths in conflicts
        for path in paths
    ]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = [line for manager, paths in conflicts
                 for line in (f"conflicts with {manager}:", *(f"- {path}" for path in paths))]  # fmt: skip
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return StatusError(409, "Conflict", message, details={"causes": causes})


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422 with one cause per field; the message names them all, as the real server does."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {"name": name, "group": group, "kind": kind, "causes": [error.cause() for error in errors]}
    message = f'{qualified(kind, group)} "{name}" is invalid: {joined}'
    return StatusError(422, "Invalid", message, details=_without_empty(details))


def rejected() -> StatusError:
    """A JSON Patch that does not apply, a failed `test` included: the real server says no more than this."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", details={})


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(plural: str, group: str, name: str, why: str, *, causes: Sequence[Json] = ()) -> StatusError:
    """403 for one object, for a resource (empty name) or for a path (empty plural); `causes` as in `details.causes`."""
    details: Json = {"name": name, "group": group, "kind": plural, "causes": list(causes)}
    shown = f'{qualified(plural, group)} "{name}"' if name else qualified(plural, group)
    message = f"{shown} is forbidden: {why}" if plural else f"forbidden: {why}"
    return StatusError(403, "Forbidden", message, details=_without_empty(details))


def method_not_allowed() -> StatusError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, details={})


def not_acceptable(accepted: str) -> StatusError:
    """406."""
    message = f"only the following media types are accepted: {accepted}"
    return StatusError(406, "NotAcceptable", message, details={})


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415, with what would be accepted."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def expired(message: str, *, metadata: Json | None = None) -> StatusError:
    """410."""
    return StatusError(410, "Expired", message, metadata=metadata)


def too_large_revision(asked: int, current: int) -> StatusError:
    """504 for a resourceVersion that is still to come; clients try again."""
    details: Json = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return StatusError(504, "Timeout", message, details=details, headers={"Retry-After": "1"})


def not_implemented(what: str) -> StatusError:
    """Loud refusal of what a real server does and this one does not."""
    return StatusError(501, "NotImplemented", f"the sandbox API server does not do this: {what}")


_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def injected(code: int) -> StatusError:
    """An answer that a fault asked for."""
    headers = {"Retry-After": "1"} if code == 429 else None
    details = {"retryAfterSeconds": 1} if code == 429 else None
    return StatusError(code, _REASONS.get(code, ""), f"injected fault: {code}", details=details, headers=headers)


def _without_empty(details: Json) -> Json:
    return {key: value for key, value in details.items() if value}
