"""The resources of `rbac.authorization.k8s.io`: what each checks and fills in beyond its schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from canary_sandbox.apiserver import builtin_schemas as schemas
from canary_sandbox.apiserver import names
from canary_sandbox.apiserver.builtin_columns import AGE, NAME
from canary_sandbox.apiserver.errors import FORBIDDEN, INVALID, REQUIRED, UNSUPPORTED, FieldError, Json
from canary_sandbox.apiserver.resources import Column, Resource
from canary_sandbox.apiserver.schema import Schema

GROUP = "rbac.authorization.k8s.io"
ROLES = (GROUP, "roles")
CLUSTER_ROLES = (GROUP, "clusterroles")
ROLE_BINDINGS = (GROUP, "rolebindings")
CLUSTER_ROLE_BINDINGS = (GROUP, "clusterrolebindings")


def resources() -> tuple[Resource, ...]:
    """Roles and bindings, of a namespace and of the cluster."""
    created = Column("Created At", "date", path=".metadata.creationTimestamp")
    return (
        _resource("roles", "Role", schemas.ROLE, namespaced=True, columns=(NAME, created), check=_check_role),
        _resource("clusterroles", "ClusterRole", schemas.CLUSTER_ROLE, namespaced=False, columns=(NAME, created),
                  check=_check_cluster_role),
        _resource("rolebindings", "RoleBinding", schemas.ROLE_BINDING, namespaced=True, columns=_BINDING_COLUMNS,
                  check=_check_binding(("Role", "ClusterRole")), default=_default_binding),
        _resource("clusterrolebindings", "ClusterRoleBinding", schemas.ROLE_BINDING, namespaced=False,
                  columns=_BINDING_COLUMNS, check=_check_binding(("ClusterRole",)), default=_default_binding),
    )  # fmt: skip


def _resource(plural: str, kind: str, schema: Json, **more: Any) -> Resource:
    return Resource(group=GROUP, version="v1", plural=plural, kind=kind, singular=kind.lower(),
                    schema=Schema(schema, list_types=False), name_rule=names.path_segment, **more)  # fmt: skip


def _subjects(kind: str) -> Callable[[Json], str]:
    def shown(doc: Json) -> str:
        found = [subject for subject in doc.get("subjects") or () if subject["kind"] == kind]
        return ", ".join(
            f"{subject.get('namespace', '')}/{subject['name']}" if kind == "ServiceAccount" else subject["name"]
            for subject in found
        )

    return shown


_BINDING_COLUMNS = (
    NAME,
    Column("Role", cell=lambda doc: f"{doc['roleRef']['kind']}/{doc['roleRef']['name']}"),
    AGE,
    Column("Users", cell=_subjects("User"), priority=1),
    Column("Groups", cell=_subjects("Group"), priority=1),
    Column("ServiceAccounts", cell=_subjects("ServiceAccount"), priority=1),
)


def _check_role(doc: Json, old: Json | None) -> list[FieldError]:  # noqa: ARG001  the shape of a check
    return [error for index, rule in enumerate(doc.get("rules") or ())
            for error in _check_rule(rule, f"rules[{index}]", namespaced=True)]  # fmt: skip


def _check_cluster_role(doc: Json, old: Json | None) -> list[FieldError]:  # noqa: ARG001  the shape of a check
    errors = [error for index, rule in enumerate(doc.get("rules") or ())
              for error in _check_rule(rule, f"rules[{index}]", namespaced=False)]  # fmt: skip
    if doc.get("aggregationRule") is not None:
        errors.append(FieldError("aggregationRule", FORBIDDEN, "the sandbox API server does not aggregate roles"))
    return errors


def _check_rule(rule: Json, at: str, *, namespaced: bool) -> list[FieldError]:
    errors = []
    if not rule.get("verbs"):
        errors.append(FieldError(f"{at}.verbs", REQUIRED, "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            errors.append(FieldError(f"{at}.nonResourceURLs", INVALID, detail, urls))
        return errors
    if not rule.get("apiGroups"):
        errors.append(FieldError(f"{at}.apiGroups", REQUIRED, "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(FieldError(f"{at}.resources", REQUIRED, "resource rules must supply at least one resource"))
    return errors


def _default_binding(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    if isinstance(doc.get("roleRef"), dict):
        doc["roleRef"]["apiGroup"] = doc["roleRef"].get("apiGroup") or GROUP
    subjects = doc.get("subjects")
    for subject in subjects if isinstance(subjects, list) else ():
        if isinstance(subject, dict) and subject.get("kind") in {"User", "Group"}:
            subject["apiGroup"] = subject.get("apiGroup") or GROUP


def _check_binding(kinds: tuple[str, ...]) -> Callable[[Json, Json | None], list[FieldError]]:
    supported = ", ".join(f'"{kind}"' for kind in sorted(kinds))

    def check(doc: Json, old: Json | None) -> list[FieldError]:
        ref = doc["roleRef"]
        errors = []
        if ref["apiGroup"] != GROUP:
            errors.append(FieldError("roleRef.apiGroup", UNSUPPORTED, f'supported values: "{GROUP}"', ref["apiGroup"]))
        if ref["kind"] not in kinds:
            errors.append(FieldError("roleRef.kind", UNSUPPORTED, f"supported values: {supported}", ref["kind"]))
        if not ref["name"]:
            errors.append(FieldError("roleRef.name", REQUIRED))
        elif problem := names.path_segment(ref["name"]):
            errors.append(FieldError("roleRef.name", INVALID, problem, ref["name"]))
        for index, subject in enumerate(doc.get("subjects") or ()):
            errors += _check_subject(subject, f"subjects[{index}]", namespaced="Role" in kinds)
        if old is not None and old["roleRef"] != ref:
            errors.append(FieldError("roleRef", INVALID, "cannot change roleRef", ref))
        return errors

    return check


def _check_subject(subject: Json, at: str, *, namespaced: bool) -> list[FieldError]:
    errors = []
    if not subject["name"]:
        errors.append(FieldError(f"{at}.name", REQUIRED))
    if subject["kind"] not in {"ServiceAccount", "User", "Group"}:
        detail = 'supported values: "Group", "ServiceAccount", "User"'
        errors.append(FieldError(f"{at}.kind", UNSUPPORTED, detail, subject["kind"]))
    if subject["kind"] == "ServiceAccount" and not namespaced and not subject.get("namespace"):
        errors.append(FieldError(f"{at}.namespace", REQUIRED))
    return errors
