"""What a definition must satisfy before it is accepted: names, versions, a schema that makes sense, rules that compile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

from canary_sandbox.apiserver import names
from canary_sandbox.apiserver.errors import DUPLICATE, FORBIDDEN, INVALID, REQUIRED, FieldError, Json
from canary_sandbox.apiserver.jsonpath import JsonPathError, compile_path
from canary_sandbox.apiserver.rules import RuleTree
from canary_sandbox.apiserver.structural import check_structure


def check_definition(doc: Json, old: Json | None) -> list[FieldError]:
    """Objections to a CustomResourceDefinition that already fits its own schema."""
    spec = doc["spec"]
    found = [*_check_names(doc, spec), *_check_versions(spec)]
    if old is not None:
        found += _check_unchanged(spec, old["spec"])
    if found:
        return found
    for index, version in enumerate(spec["versions"]):
        found += _checked(
            json.dumps(version["schema"]["openAPIV3Schema"]), f"spec.versions[{index}].schema.openAPIV3Schema"
        )
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
        if scale := (version.get("subresources") or {}).get("scale"):
            yield from _check_scale(scale, f"{at}.subresources.scale")
    stored = [version["name"] for version in spec["versions"] if version["storage"]]
    if len(stored) != 1:
        detail = "must have exactly one version marked as storage version"
        yield FieldError("spec.versions", INVALID, detail, [version["name"] for version in spec["versions"]])
    if (spec.get("conversion") or {}).get("strategy") == "Webhook":
        detail = "conversion webhooks are not supported by the sandbox API server"
        yield FieldError("spec.conversion.strategy", FORBIDDEN, detail)


def _check_column(column: Json, at: str) -> Iterator[FieldError]:
    path = column["jsonPath"]
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


@lru_cache(maxsize=256)
def _checked(text: str, at: str) -> tuple[FieldError, ...]:
    """The objections to a schema that is given as JSON: the same ones, however often it comes."""
    schema = json.loads(text)
    if found := tuple(check_structure(schema, at)):
        return found
    tree = RuleTree.of(schema)
    return tuple(
        FieldError(where, INVALID, expression.problem, expression.source)
        for where, expression in (tree.expressions(at) if tree else ())
        if expression.problem
    )
