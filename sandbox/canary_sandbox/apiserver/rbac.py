"""Who may do what: the rules of roles, bound to users, groups and service accounts. Additive; nothing denies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from canary_sandbox.apiserver import errors
from canary_sandbox.apiserver.auth import MASTERS, User
from canary_sandbox.apiserver.builtin_rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUP, ROLE_BINDINGS, ROLES
from canary_sandbox.apiserver.errors import Json, StatusError
from canary_sandbox.apiserver.store import Store

Mode = Literal["RBAC", "AlwaysAllow"]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What somebody wants to do. With an empty `resource` it is about `path`; an empty namespace is the whole cluster."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def refused(self, reason: str = "") -> StatusError:
        """403 in the words of the real server."""
        why = f'User "{self.user.name}" cannot {self.verb} '
        if self.resource:
            full = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
            where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
            why += f'resource "{full}" in API group "{self.group}" {where}'
        else:
            why += f'path "{self.path}"'
        return errors.forbidden(self.resource, self.group, self.name, f"{why}: {reason}" if reason else why)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is allowed, and by what; `reason` may be empty."""

    allowed: bool
    reason: str = ""


@dataclass(slots=True)
class _Found:
    """Rules with the binding that grants them, and what went wrong on the way to them."""

    rules: list[tuple[Json, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Authorizer:
    """Answers by the roles and bindings in the store, or with yes to everything (`AlwaysAllow`)."""

    def __init__(self, store: Store, mode: Mode) -> None:
        self._store = store
        self.mode = mode

    def verdict(self, wanted: Attributes) -> Verdict:
        """Whether `wanted` is allowed."""
        if self.mode == "AlwaysAllow":
            return Verdict(True)
        if MASTERS in wanted.user.groups:
            return Verdict(True)
        found = self._found(wanted.user, wanted.namespace)
        for rule, granted_by in found.rules:
            if allows(rule, wanted):
                return Verdict(True, f"RBAC: allowed by {granted_by}")
        return Verdict(False, f"RBAC: {_joined(found.errors)}" if found.errors else "")

    def check(self, wanted: Attributes) -> None:
        """Raises StatusError 403 unless `wanted` is allowed."""
        verdict = self.verdict(wanted)
        if not verdict.allowed:
            raise wanted.refused(verdict.reason)

    def rules(self, user: User, namespace: str) -> list[Json]:
        """Every rule that holds for `user` in a namespace (empty: those of the whole cluster)."""
        if self.mode == "AlwaysAllow" or MASTERS in user.groups:
            return [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        return [rule for rule, _ in self._found(user, namespace).rules]

    def role_rules(self, ref: Json, namespace: str) -> list[Json]:
        """The rules of the role that a binding refers to. Raises StatusError 404."""
        key = (ROLES, (namespace, ref["name"])) if ref["kind"] == "Role" else (CLUSTER_ROLES, ("", ref["name"]))
        stored = self._store.get(*key)
        if stored is None:
            raise errors.not_found(key[0][1][:-1], GROUP, ref["name"])
        return list(stored.doc.get("rules") or ())

    def _found(self, user: User, namespace: str) -> _Found:
        found = _Found()
        for doc in self._documents(CLUSTER_ROLE_BINDINGS, ""):
            self._collect(found, doc, user, "")
        if namespace:
            for doc in self._documents(ROLE_BINDINGS, namespace):
                self._collect(found, doc, user, namespace)
        return found

    def _documents(self, resource: tuple[str, str], namespace: str) -> Iterator[Json]:
        return (stored.doc for stored in self._store.list(resource, namespace))

    def _collect(self, found: _Found, binding: Json, user: User, namespace: str) -> None:
        subject = next((s for s in binding.get("subjects") or () if _is_meant(s, user, namespace)), None)
        if subject is None:
            return
        ref = binding["roleRef"]
        try:
            rules = self.role_rules(ref, namespace)
        except StatusError as error:
            found.errors.append(error.message)
            return
        name = f"{binding['metadata']['name']}/{namespace}" if namespace else binding["metadata"]["name"]
        who = subject["name"]
        if subject["kind"] == "ServiceAccount":
            who += f"/{subject.get('namespace') or namespace}"
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        granted_by = f'{kind} "{name}" of {ref["kind"]} "{ref["name"]}" to {subject["kind"]} "{who}"'
        found.rules += [(rule, granted_by) for rule in rules]


def _joined(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _is_meant(subject: Json, user: User, namespace: str) -> bool:
    match subject["kind"]:
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            home = subject.get("namespace") or namespace
            return bool(home) and user.name == f"system:serviceaccount:{home}:{subject['name']}"
    return False


def allows(rule: Json, wanted: Attributes) -> bool:
    """Whether one rule grants `wanted`."""
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and wanted.verb not in verbs:
        return False
    if not wanted.resource:
        return any(_path_matches(pattern, wanted.path) for pattern in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if "*" not in groups and wanted.group not in groups:
        return False
    names = rule.get("resourceNames") or ()
    if names and wanted.name not in names:
        return False
    full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    patterns = {"*", full, f"*/{wanted.subresource}"} if wanted.subresource else {"*", full}
    return any(resource in patterns for resource in rule.get("resources") or ())


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in {"*", path} or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))
