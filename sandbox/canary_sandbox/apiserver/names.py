"""Names, labels and annotations: which ones a real server accepts, and its words when it does not."""

from __future__ import annotations

import re
from typing import Any

from canary_sandbox.apiserver.errors import FORBIDDEN, INVALID, REQUIRED, FieldError, Json

_LABEL_1123 = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL_1123}(\.{_LABEL_1123})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_subdomain = re.compile(_SUBDOMAIN).fullmatch
_label_1123 = re.compile(_LABEL_1123).fullmatch
_label_1035 = re.compile(_LABEL_1035).fullmatch
_qualified = re.compile(_QUALIFIED).fullmatch
_ANNOTATION_LIMIT = 256 * 1024


def subdomain(name: str) -> str | None:
    """None when `name` is an RFC 1123 subdomain, else the objection."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    if not _subdomain(name):
        return (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            f"start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            f"'{_SUBDOMAIN}')"
        )
    return None


def label(name: str) -> str | None:
    """None when `name` is an RFC 1123 label, else the objection."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if not _label_1123(name):
        return (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            f"end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            f"'{_LABEL_1123}')"
        )
    return None


def label_1035(name: str) -> str | None:
    """None when `name` is an RFC 1035 label (what a Service needs), else the objection."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if not _label_1035(name):
        return (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            f"validation is '{_LABEL_1035}')"
        )
    return None


def path_segment(name: str) -> str | None:
    """None when `name` can stand in a URL path, which is all that some resources ask."""
    if name in {".", ".."}:
        return f"may not be '{name}'"
    for part in "/%":
        if part in name:
            return f"may not contain '{part}'"
    return None


def qualified_name(key: str) -> str | None:
    """None when `key` is `name` or `prefix/name` as labels, annotations and finalizers need it."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or subdomain(prefix)):
        return f"prefix part {subdomain(prefix) if prefix else 'must be non-empty'}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    if not _qualified(name):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_QUALIFIED}')"
        )
    return None


def label_value(value: str) -> str | None:
    """None when `value` can be the value of a label."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if value and not _qualified(value):
        return (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
            f"for validation is '({_QUALIFIED})?')"
        )
    return None


def check_labels(labels: Any, field: str) -> list[FieldError]:
    """Objections to a map of labels."""
    errors = []
    for key, value in (labels or {}).items():
        if problem := qualified_name(key):
            errors.append(FieldError(field, INVALID, problem, key))
        if problem := label_value(value):
            errors.append(FieldError(field, INVALID, problem, value))
    return errors


def check_metadata(metadata: Json) -> list[FieldError]:
    """Objections to labels, annotations, finalizers and owner references (names are checked per resource)."""
    errors = check_labels(metadata.get("labels"), "metadata.labels")
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        if problem := qualified_name(key.lower()):
            errors.append(FieldError("metadata.annotations", INVALID, problem, key))
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATION_LIMIT:
        errors.append(FieldError("metadata.annotations", "Too long", f"may not be more than {_ANNOTATION_LIMIT} bytes"))
    errors += [
        FieldError("metadata.finalizers", INVALID, problem, name)
        for name in metadata.get("finalizers") or ()
        if (problem := qualified_name(name))
    ]
    return errors + _check_owners(metadata.get("ownerReferences") or ())


def _check_owners(owners: Any) -> list[FieldError]:
    errors = []
    for index, owner in enumerate(owners):
        at = f"metadata.ownerReferences[{index}]"
        errors += [
            FieldError(f"{at}.{name}", INVALID, "must not be empty", "")
            for name in ("apiVersion", "kind", "name", "uid")
            if not owner.get(name)
        ]
    return errors


def check_name(name: str | None, generate_name: str | None, rule: Any) -> list[FieldError]:
    """Objections to `metadata.name`; `rule` is one of the functions above."""
    if not name:
        if generate_name:
            return []
        return [FieldError("metadata.name", REQUIRED, "name or generateName is required")]
    problem = rule(name)
    return [FieldError("metadata.name", INVALID, problem, name)] if problem else []


def check_new_finalizers(old: Json, new: Json) -> list[FieldError]:
    """An object on its way out takes no new finalizers."""
    if not old.get("deletionTimestamp"):
        return []
    added = [name for name in new.get("finalizers") or () if name not in (old.get("finalizers") or ())]
    if not added:
        return []
    shown = ", ".join(f'"{name}"' for name in added)
    detail = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}"
    return [FieldError("metadata.finalizers", FORBIDDEN, detail)]
