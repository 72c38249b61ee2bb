"""Discovery in its plain form: which groups, versions and resources are served."""

from __future__ import annotations

from canary.sandbox.apiserver.errors import Json
from canary.sandbox.apiserver.resources import ALL_VERBS, Registry, Resource, version_rank
from canary.sandbox.apiserver.reviews import NAMESPACED, REVIEWS

VERSION: Json = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+canary-sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}


def core_versions(address: str) -> Json:
    """The answer to `/api`: the core group has one version."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_versions(registry: Registry) -> list[tuple[str, str]]:
    """All (group, version) pairs but the core one, the preferred version of each group first."""
    pairs = {*registry.group_versions(), *((group, version) for group, version, _ in REVIEWS)}
    return sorted((pair for pair in pairs if pair[0]), key=lambda pair: (pair[0], version_rank(pair[1])))


def group_list(registry: Registry) -> Json:
    """The answer to `/apis`."""
    groups: dict[str, list[str]] = {}
    for group, version in group_versions(registry):
        groups.setdefault(group, []).append(version)
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name, versions) for name, versions in groups.items()],
    }


def group(registry: Registry, name: str) -> Json | None:
    """The APIGroup of `name`, None when it is not served."""
    versions = [version for known, version in group_versions(registry) if known == name]
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def _group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(registry: Registry, name: str, version: str) -> Json | None:
    """The APIResourceList of a group version, None when it is not served."""
    listed = [entry for resource in registry.members(name, version) for entry in _resource(resource)]
    listed += [
        {
            "name": plural,
            "singularName": kind.lower(),
            "namespaced": kind in NAMESPACED,
            "kind": kind,
            "verbs": ["create"],
        }
        for (known, served, plural), kind in REVIEWS.items()
        if (known, served) == (name, version)
    ]
    if not listed:
        return None
    group_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _resource(resource: Resource) -> list[Json]:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(ALL_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    common = {"singularName": "", "namespaced": resource.namespaced, "verbs": ["get", "patch", "update"]}
    if resource.status:
        entries.append({"name": f"{resource.plural}/status", "kind": resource.kind, **common})
    if resource.scale is not None:
        scale = {"name": f"{resource.plural}/scale", "group": "autoscaling", "version": "v1", "kind": "Scale"}
        entries.append({**scale, **common})
    if resource.key == ("", "serviceaccounts"):
        token = {"name": "serviceaccounts/token", "group": "authentication.k8s.io", "version": "v1"}
        entries.append({**token, **common, "kind": "TokenRequest", "verbs": ["create"]})
    return entries
