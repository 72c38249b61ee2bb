"""Nobody grants what they do not hold: the check of roles and bindings when they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from canary_sandbox.apiserver import errors
from canary_sandbox.apiserver.auth import MASTERS, User
from canary_sandbox.apiserver.builtin_rbac import GROUP
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.rbac import Attributes, Authorizer
from canary_sandbox.apiserver.resources import Resource

_ALL: list[Json] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]


class Escalation:
    """The guard over writes to `rbac.authorization.k8s.io`."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def check(self, resource: Resource, user: User, new: Json, old: Json | None) -> None:
        """Raises StatusError 403 when `user` would grant what they may not, 404 for a role that is not there."""
        if resource.group != GROUP or self._authorizer.mode != "RBAC" or MASTERS in user.groups:
            return
        namespace = new["metadata"].get("namespace", "")
        wanted = Attributes(user, "escalate", GROUP, resource.plural, "", namespace, new["metadata"]["name"])
        if resource.plural.endswith("bindings"):
            if old is not None and all(old.get(name) == new.get(name) for name in ("roleRef", "subjects")):
                return
            ref = new["roleRef"]
            plural = "roles" if ref["kind"] == "Role" else "clusterroles"
            if self._authorizer.verdict(replace(wanted, verb="bind", resource=plural, name=ref["name"])).allowed:
                return
            rules = self._authorizer.role_rules(ref, namespace)
        else:
            if old is not None and all(old.get(name) == new.get(name) for name in ("rules", "aggregationRule")):
                return
            if self._authorizer.verdict(wanted).allowed:
                return
            rules = _ALL if new.get("aggregationRule") else list(new.get("rules") or ())
        self._refuse_missing(resource, user, new["metadata"]["name"], rules, namespace)

    def _refuse_missing(self, resource: Resource, user: User, name: str, rules: list[Json], namespace: str) -> None:
        held = self._authorizer.rules(user, namespace)
        missing = [atom for rule in rules for atom in _atoms(rule) if not _covered(held, atom)]
        if not missing:
            return
        groups = "[" + " ".join(f'"{group}"' for group in user.groups) + "]"
        shown = "\n".join(sorted(_compact(rule) for rule in _rules_of(missing)))
        why = (
            f'user "{user.name}" (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{shown}'
        )
        raise errors.forbidden(resource.plural, resource.group, name, why)


def _atoms(rule: Json) -> Iterator[Json]:
    """A rule as many rules of one verb on one thing each."""
    for verb in rule.get("verbs") or ():
        for url in rule.get("nonResourceURLs") or ():
            yield {"verb": verb, "url": url}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in rule.get("resourceNames") or (None,):
                    yield {"verb": verb, "group": group, "resource": resource, "name": name}


def _rules_of(atoms: list[Json]) -> Iterator[Json]:
    """One rule per thing, with all verbs on it."""
    verbs: dict[tuple[Any, ...], dict[str, None]] = {}
    for atom in atoms:
        thing = (atom.get("group"), atom.get("resource"), atom.get("name"), atom.get("url"))
        verbs.setdefault(thing, {})[atom["verb"]] = None
    for (group, resource, name, url), found in verbs.items():
        if url is not None:
            yield {"nonResourceURLs": [url], "verbs": list(found)}
        else:
            named = {"resourceNames": [name]} if name else {}
            yield {"apiGroups": [group], "resources": [resource], **named, "verbs": list(found)}


def covers(held: list[Json], rule: Json) -> bool:
    """Whether rules held grant all that `rule` grants."""
    return all(_covered(held, atom) for atom in _atoms(rule))


def _covered(held: list[Json], atom: Json) -> bool:
    return any(_covers_atom(own, atom) for own in held)


def _covers_atom(own: Json, atom: Json) -> bool:
    if not _has(own, "verbs", atom["verb"]):
        return False
    if "url" in atom:
        return any(
            url in {"*", atom["url"]} or (url.endswith("*") and atom["url"].startswith(url[:-1]))
            for url in own.get("nonResourceURLs") or ()
        )
    names = own.get("resourceNames") or ()
    if names and atom["name"] not in names:
        return False
    _, slash, subresource = atom["resource"].partition("/")
    by_subresource = bool(slash) and f"*/{subresource}" in (own.get("resources") or ())
    return _has(own, "apiGroups", atom["group"]) and (by_subresource or _has(own, "resources", atom["resource"]))


def _has(rule: Json, member: str, value: Any) -> bool:
    values = rule.get(member) or ()
    return "*" in values or value in values


def _compact(rule: Json) -> str:
    members = (("APIGroups", "apiGroups"), ("Resources", "resources"), ("NonResourceURLs", "nonResourceURLs"),
               ("ResourceNames", "resourceNames"), ("Verbs", "verbs"))  # fmt: skip
    listed = {name: " ".join(map(json.dumps, rule[name])) for _, name in members if rule.get(name)}
    parts = [f"{shown}:[{listed[name]}]" for shown, name in members if name in listed]
    return "{" + ", ".join(parts) + "}"
