"""What a definition must satisfy before it is accepted: names, versions, a structural schema, rules within budget."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache

from canary_sandbox.apiserver import names
from canary_sandbox.apiserver.cel_cost import TOTAL_LIMIT
from canary_sandbox.apiserver.errors import DUPLICATE, FORBIDDEN, INVALID, REQUIRED, UNSUPPORTED, FieldError, Json
from canary_sandbox.apiserver.jsonpath import JsonPathError, compile_path
from canary_sandbox.apiserver.rule_checks import Cost, check_rules
from canary_sandbox.apiserver.structural import check_structure

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_PROTECTED = re.compile(r"(^|\.)(k8s\.io|kubernetes\.io)$")
_APPROVAL = "api-approved.kubernetes.io"
_BUDGET_HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)


def check_definition(doc: Json, old: Json | None) -> list[FieldError]:
    """Objections to a CustomResourceDefinition that already fits its own schema."""
    spec = doc["spec"]
    found = [*_check_names(doc, spec), *_check_versions(spec)]
    if old is not None:
        found += _check_unchanged(spec, old["spec"])
    if found:
        return found
    schemas = [version["schema"]["openAPIV3Schema"] for version in spec["versions"]]
    if all(schema == schemas[0] for schema in schemas):
        return list(_check_schema(schemas[0], "spec.validation.openAPIV3Schema"))
    found = []
    for index, schema in enumerate(schemas):
        found += _check_schema(schema, f"spec.versions[{index}].schema.openAPIV3Schema")
    return found


def _check_names(doc: Json, spec: Json) -> Iterator[FieldError]:
    accepted = spec["names"]
    wanted = f"{accepted['plural']}.{spec['group']}"
    if doc["metadata"].get("name") != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        yield FieldError("metadata.name", INVALID, detail, doc["metadata"].get("name"))
    if problem := names.subdomain(spec["group"]):
        yield FieldError("spec.group", INVALID, problem, spec["group"])
    elif "." not in spec["group"]:
        yield FieldError("spec.group", INVALID, "should be a domain with at least one dot", spec["group"])
    for member in ("plural", "singular"):
        if (name := accepted.get(member)) and (problem := names.label_1035(name)):
            yield FieldError(f"spec.names.{member}", INVALID, problem, name)
    for index, name in enumerate(accepted.get("shortNames") or ()):
        if problem := names.label_1035(name):
            yield FieldError(f"spec.names.shortNames[{index}]", INVALID, problem, name)
    for member in ("kind", "listKind"):
        name = accepted.get(member) or "x"
        if problem := names.label_1035(name.lower()):
            yield FieldError(
                f"spec.names.{member}", INVALID, f"may have mixed case, but should otherwise match: {problem}", name
            )
    if accepted.get("listKind") == accepted["kind"]:
        yield FieldError("spec.names.listKind", INVALID, "kind and listKind may not be the same", accepted["kind"])
    if _PROTECTED.search(spec["group"]) and not (doc["metadata"].get("annotations") or {}).get(_APPROVAL):
        detail = (
            'protected groups must have approval annotation "api-approved.kubernetes.io", see '
            "https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield FieldError(f"metadata.annotations[{_APPROVAL}]", REQUIRED, detail)


def _check_versions(spec: Json) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, version in enumerate(spec["versions"]):
        at = f"spec.versions[{index}]"
        if problem := names.label_1035(version["name"]):
            yield FieldError(f"{at}.name", INVALID, problem, version["name"])
        if version["name"] in seen:
            yield FieldError(f"{at}.name", DUPLICATE, value=version["name"])
        seen.add(version["name"])
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield FieldError(f"{at}.schema.openAPIV3Schema", REQUIRED, "schemas are required")
        for place, column in enumerate(version.get("additionalPrinterColumns") or ()):
            yield from _check_column(column, f"{at}.additionalPrinterColumns[{place}]")
        for place, field in enumerate(version.get("selectableFields") or ()):
            yield from _check_selectable(field["jsonPath"], version, f"{at}.selectableFields[{place}].jsonPath")
        if scale := (version.get("subresources") or {}).get("scale"):
            yield from _check_scale(scale, f"{at}.subresources.scale")
    stored = [version["name"] for version in spec["versions"] if version["storage"]]
    if len(stored) != 1:
        detail = "must have exactly one version marked as storage version"
        yield FieldError("spec.versions", INVALID, detail, [version["name"] for version in spec["versions"]])
    if (spec.get("conversion") or {}).get("strategy") == "Webhook":
        detail = "conversion webhooks are not supported by the sandbox API server"
        yield FieldError("spec.conversion.strategy", FORBIDDEN, detail)
    if spec.get("preserveUnknownFields"):
        detail = "must be false in order to use defaults in the schema"
        yield FieldError("spec.preserveUnknownFields", INVALID, detail, value=True)


def _check_selectable(path: str, version: Json, at: str) -> Iterator[FieldError]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    for name in path.removeprefix(".").split("."):
        schema = (schema.get("properties") or {}).get(name)
        if not isinstance(schema, dict):
            detail = f"is an invalid path: does not refer to a valid field: {path}"
            yield FieldError(at, INVALID, detail, path)
            return


def _check_column(column: Json, at: str) -> Iterator[FieldError]:
    if column["type"] not in _COLUMN_TYPES:
        shown = ", ".join(f'"{name}"' for name in _COLUMN_TYPES)
        yield FieldError(f"{at}.type", UNSUPPORTED, f"supported values: {shown}", column["type"])
    if column.get("format") and column["format"] not in _COLUMN_FORMATS:
        shown = ", ".join(f'"{name}"' for name in _COLUMN_FORMATS)
        yield FieldError(f"{at}.format", UNSUPPORTED, f"supported values: {shown}", column["format"])
    path = column["jsonPath"]
    if not path.startswith("."):
        yield FieldError(f"{at}.jsonPath", INVALID, "must be a simple json path starting with .", path)
        return
    try:
        compile_path(path)
    except JsonPathError as error:
        yield FieldError(f"{at}.jsonPath", INVALID, str(error), path)


def _check_scale(scale: Json, at: str) -> Iterator[FieldError]:
    for member, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        path = scale.get(member, "")
        if not path:
            yield FieldError(f"{at}.{member}", REQUIRED)
        elif not path.startswith(prefix):
            yield FieldError(f"{at}.{member}", INVALID, f"should be a json path under {prefix.rstrip('.')}", path)


def _check_unchanged(spec: Json, old: Json) -> Iterator[FieldError]:
    for field, now, before in (
        ("spec.group", spec["group"], old["group"]),
        ("spec.scope", spec["scope"], old["scope"]),
        ("spec.names.plural", spec["names"]["plural"], old["names"]["plural"]),
        ("spec.names.kind", spec["names"]["kind"], old["names"]["kind"]),
    ):
        if now != before:
            yield FieldError(field, INVALID, "field is immutable", now)


def _check_schema(schema: Json, at: str) -> tuple[FieldError, ...]:
    return _checked(json.dumps(schema), at)


@lru_cache(maxsize=256)
def _checked(text: str, at: str) -> tuple[FieldError, ...]:
    """The objections to a schema that is given as JSON: the same ones, however often it comes."""
    return tuple(_objections(json.loads(text), at))


def _objections(schema: Json, at: str) -> Iterator[FieldError]:
    """Structure first: rules mean something only over a structural schema."""
    found = list(check_structure(schema, at))
    if found:
        yield from found
        return
    total = Cost()
    yield from check_rules(schema, at, total, root=True)
    if total.sum > TOTAL_LIMIT and not total.refused:
        factor = total.sum / TOTAL_LIMIT
        shown = "100" if factor > 100 else f"{factor:.1f}"
        detail = (
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of "
            f"{'more than ' if factor > 100 else ''}{shown}x {_BUDGET_HINT}"
        )
        yield FieldError(at, FORBIDDEN, detail)
