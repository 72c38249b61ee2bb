"""What the query of a request says: options, selectors, revisions, where a list goes on."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from canary_sandbox.apiserver import errors
from canary_sandbox.apiserver.errors import FieldError, StatusError
from canary_sandbox.apiserver.requests import Request
from canary_sandbox.apiserver.resources import Resource
from canary_sandbox.apiserver.rest import DeleteOptions, Options
from canary_sandbox.apiserver.selectors import Predicate, both, parse_fields, parse_labels
from canary_sandbox.apiserver.store import Key

_AS_OF_NOW = -1
_MANAGER_LIMIT = 128
TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


def options(http: web.Request, subresource: str = "") -> Options:
    """How a write is asked for. Raises StatusError 422."""
    query = http.query
    agent = http.headers.get("User-Agent", "")
    manager = query.get("fieldManager") or agent.split("/")[0][:128] or "unknown"
    if len(manager.encode()) > _MANAGER_LIMIT:
        objection = FieldError("fieldManager", errors.TOO_LONG, f"may not be more than {_MANAGER_LIMIT} bytes", manager)
        raise options_invalid("PatchOptions" if http.method == "PATCH" else "CreateOptions", objection)
    validation = query.get("fieldValidation") or "Warn"
    if validation not in {"Strict", "Warn", "Ignore"}:
        objection = FieldError(
            "fieldValidation", errors.UNSUPPORTED, 'supported values: "", "Ignore", "Strict", "Warn"', validation
        )
        raise errors.invalid("CreateOptions", "meta.k8s.io", "", [objection])
    return Options(manager, _dry_run(query.getall("dryRun", [])), validation, subresource)


def _dry_run(values: list[str] | None) -> bool:
    values = [value for value in values or [] if value]
    if any(value != "All" for value in values):
        objection = FieldError("dryRun", errors.UNSUPPORTED, 'supported values: "All"', values)
        raise errors.invalid("CreateOptions", "meta.k8s.io", "", [objection])
    return bool(values)


def delete_options(body: dict[str, Any], query: Mapping[str, str]) -> DeleteOptions:
    """How a deletion is asked for, by body and query. Raises StatusError 422."""
    preconditions = body.get("preconditions") or {}
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if propagation not in {"", "Background", "Foreground", "Orphan"}:
        detail = 'supported values: "Foreground", "Background", "Orphan", "nil"'
        objection = FieldError("propagationPolicy", errors.UNSUPPORTED, detail, propagation)
        raise errors.invalid("DeleteOptions", "meta.k8s.io", "", [objection])
    if propagation == "Orphan" or body.get("orphanDependents") or query.get("orphanDependents") in TRUE:
        raise errors.not_implemented("deletions that leave dependents behind (Orphan)")
    dry_run = body.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    return DeleteOptions(preconditions.get("uid") or "", preconditions.get("resourceVersion") or "", _dry_run(dry_run))


def selector(resource: Resource, query: Mapping[str, str], request: Request) -> Predicate | None:
    """What a list, a watch or a collection is narrowed to (None: nothing). Raises StatusError 400."""
    by_label = parse_labels(query.get("labelSelector", ""))
    by_field = parse_fields(query.get("fieldSelector", ""), resource.selectable)
    if request.name:
        name = request.name
        by_field = both(by_field, lambda doc: doc["metadata"]["name"] == name)
    return both(by_label, by_field)


def number(query: Mapping[str, str], name: str) -> int:
    """An integer of the query, 0 when it is not there. Raises StatusError 400."""
    text = query.get(name) or "0"
    try:
        return int(text)
    except ValueError as error:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def check_revision(query: Mapping[str, str], current: int) -> int:
    """The revision asked for (0: any). Raises StatusError 400, and 504 for one from the future."""
    text = query.get("resourceVersion") or "0"
    if not text.isdecimal():
        why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.bad_request(f'invalid resource version: resourceVersion: Invalid value: "{text}": {why}')
    asked = int(text)
    if asked > current:
        raise errors.too_large_revision(asked, current)
    return asked


def options_invalid(kind: str, objection: FieldError) -> StatusError:
    """422 for an option of a write, such as `PatchOptions`."""
    return errors.invalid(kind, "meta.k8s.io", "", [objection])


def list_options_invalid(field: str, detail: str) -> StatusError:
    """422 for an option of a list or a watch."""
    return errors.invalid("ListOptions", "meta.k8s.io", "", [FieldError(field, errors.FORBIDDEN, detail)])


def check_match(query: Mapping[str, str]) -> None:
    """Raises StatusError 422 when `resourceVersionMatch` does not go with the rest."""
    match = query.get("resourceVersionMatch")
    if not match:
        return
    if not query.get("resourceVersion"):
        raise list_options_invalid(
            "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
        )
    if query.get("continue"):
        raise list_options_invalid(
            "resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"
        )
    if match not in {"Exact", "NotOlderThan"}:
        objection = FieldError(
            "resourceVersionMatch", errors.UNSUPPORTED, 'supported values: "Exact", "NotOlderThan", ""', match
        )
        raise errors.invalid("ListOptions", "meta.k8s.io", "", [objection])
    if match == "Exact" and query.get("resourceVersion") == "0":
        raise list_options_invalid(
            "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        )


def initial_events(query: Mapping[str, str]) -> bool | None:
    """Whether a watch shall begin with what exists (`sendInitialEvents`); None when it does not say.

    Raises StatusError 422 when `resourceVersionMatch` does not go with it.
    """
    match = query.get("resourceVersionMatch", "")
    if "sendInitialEvents" not in query:
        if match:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise list_options_invalid("resourceVersionMatch", why)
        return None
    if not match:
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise list_options_invalid("resourceVersionMatch", why)
    if match != "NotOlderThan":
        objection = FieldError("resourceVersionMatch", errors.UNSUPPORTED, 'supported values: "NotOlderThan"', match)
        raise errors.invalid("ListOptions", "meta.k8s.io", "", [objection])
    return query["sendInitialEvents"] in TRUE


def continue_token(revision: int, key: Key) -> str:
    """Where a list goes on: after `key`, as of `revision`."""
    raw = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": list(key)})
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def expired_token(start: Key) -> StatusError:
    """410 for a list that cannot go on as of its revision, with a token by which it goes on as of now."""
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    return errors.expired(message, metadata={"continue": continue_token(_AS_OF_NOW, start)})


def continuation(query: Mapping[str, str]) -> tuple[Key | None, int | None]:
    """Where a list goes on, and at which revision (None: as of now)."""
    token = query.get("continue")
    if not token:
        return None, None
    try:
        raw = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = raw["start"]
        revision = int(raw["rv"])
    except (ValueError, KeyError, TypeError) as error:
        raise errors.bad_request(f"invalid continue token: continue key is not valid: {error}") from error
    return (namespace, name), None if revision == _AS_OF_NOW else revision
