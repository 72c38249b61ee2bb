"""CustomResourceDefinitions: what they must satisfy, and the resources that they bring."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

from canary_sandbox.apiserver import builtin_columns, builtin_schemas, names
from canary_sandbox.apiserver.crd_checks import check_definition
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.resources import Column, Resource, Scale
from canary_sandbox.apiserver.schema import Schema

GROUP = "apiextensions.k8s.io"
KEY = (GROUP, "customresourcedefinitions")
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def definition_resource() -> Resource:
    """The resource of definitions themselves."""
    return Resource(
        group=GROUP,
        version="v1",
        plural=KEY[1],
        kind="CustomResourceDefinition",
        singular="customresourcedefinition",
        namespaced=False,
        schema=Schema(builtin_schemas.CRD),
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        status=True,
        generation=True,
        unconditional_update=False,
        columns=builtin_columns.CRD,
        check=check_definition,
        default=_default,
        zero={"spec": {"names": {}}, "status": {}},
    )


def _default(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    spec = doc.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("names"), dict):
        return
    accepted = spec["names"]
    kind = accepted.get("kind")
    if isinstance(kind, str):
        accepted.setdefault("singular", kind.lower())
        accepted.setdefault("listKind", f"{kind}List")


def established(doc: Json, now: str) -> Json:
    """The status of an accepted definition."""
    spec = doc["spec"]
    old = doc.get("status") or {}
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}

    def condition(kind: str, reason: str, message: str) -> Json:
        kept = before.get(kind, {})
        since = kept.get("lastTransitionTime", now) if kept.get("status") == "True" else now
        return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since}

    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    stored = list(old.get("storedVersions") or ())
    return {
        "acceptedNames": spec["names"],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored if storage in stored else [*stored, storage],
    }


def not_evaluated(doc: Json) -> Iterator[str]:
    """The rules of a definition that this server takes and cannot evaluate, each with its resource and why."""
    for resource in resources(doc):
        for limitation in resource.schema.limitations:
            yield f"{resource.plural}.{resource.group}/{resource.version}: {limitation}"


def resources(doc: Json) -> tuple[Resource, ...]:
    """What a definition serves: one resource per served version."""
    spec = doc["spec"]
    accepted = spec["names"]
    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    return tuple(
        _resource(spec, accepted, version, storage) for version in spec["versions"] if version["served"]
    )  # fmt: skip


def _resource(spec: Json, accepted: Json, version: Json, storage: str) -> Resource:
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale")
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=accepted["plural"],
        kind=accepted["kind"],
        singular=accepted["singular"],
        list_kind=accepted["listKind"],
        short_names=tuple(accepted.get("shortNames") or ()),
        categories=tuple(accepted.get("categories") or ()),
        namespaced=spec["scope"] == "Namespaced",
        schema=_compiled(json.dumps(version["schema"]["openAPIV3Schema"])),
        storage_version=storage,
        status="status" in subresources,
        scale=None
        if scale is None
        else Scale(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", "")),
        columns=tuple(_column(column) for column in version.get("additionalPrinterColumns") or ()),
        custom=True,
        generation=True,
        unconditional_update=False,
        name_rule=names.subdomain,
        fields=frozenset(field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ()),
    )


@lru_cache(maxsize=256)
def _compiled(text: str) -> Schema:
    """A schema, given as JSON. Compiling is dear, and every server of a process wants the same ones."""
    return Schema(json.loads(text))


def _column(column: Json) -> Column:
    return Column(
        name=column["name"],
        type=column["type"],
        path=column["jsonPath"],
        priority=column.get("priority", 0),
        description=column.get("description", ""),
        format=column.get("format", ""),
    )
