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

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


def options(http: web.Request, subresource: str = "") -> Options:
    """How a write is asked for. Raises StatusError 422."""
    query = http.query
    agent = http.headers.get("User-Agent", "")
    manager = query.get("fieldManager") or agent.split("/")[0][:128] or "unknown"
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


def continue_token(revision: int, key: Key) -> str:
    """Where a list goes on: after `key`, as of `revision`."""
    raw = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": list(key)})
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


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
    return (namespace, name), revision
