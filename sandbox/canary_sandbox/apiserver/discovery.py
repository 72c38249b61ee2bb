"""Discovery, plain and aggregated: which groups, versions and resources are served."""

from __future__ import annotations

from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.resources import ALL_VERBS, Registry, Resource, version_rank
from canary_sandbox.apiserver.reviews import REVIEWS

VERSION: Json = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0+canary-sandbox",
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
        {"name": plural, "singularName": kind.lower(), "namespaced": False, "kind": kind, "verbs": ["create"]}
        for (known, served, plural), kind in REVIEWS.items()
        if (known, served) == (name, version)
    ]
    if not listed:
        return None
    group_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def aggregated(registry: Registry, *, core: bool, version: str) -> Json:
    """The answer to `/api` or `/apis` for clients that want everything at once; `version` is v2 or v2beta1."""
    pairs = [("", "v1")] if core else group_versions(registry)
    groups: dict[str, list[Json]] = {}
    for name, served in pairs:
        listed = resource_list(registry, name, served) or {"resources": []}
        entry = {"version": served, "resources": _nested(name, served, listed["resources"]), "freshness": "Current"}
        groups.setdefault(name, []).append(entry)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [
            {"metadata": {"name": name, "creationTimestamp": None}, "versions": versions}
            for name, versions in groups.items()
        ],
    }


def _nested(group: str, version: str, listed: list[Json]) -> list[Json]:
    """Plain entries as aggregated discovery has them: subresources inside their resource."""
    result: dict[str, Json] = {}
    for entry in listed:
        plural, _, subresource = entry["name"].partition("/")
        kind = {"group": entry.get("group", group), "version": entry.get("version", version), "kind": entry["kind"]}
        if subresource:
            found = {"subresource": subresource, "responseKind": kind, "verbs": entry["verbs"]}
            result[plural].setdefault("subresources", []).append(found)
            continue
        shared: Json = {name: entry[name] for name in ("shortNames", "categories") if name in entry}
        result[plural] = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if entry["namespaced"] else "Cluster",
            "singularResource": entry["singularName"],
            "verbs": entry["verbs"],
            **shared,
        }
    return list(result.values())


def wants_aggregated(accept: str) -> str:
    """The version of aggregated discovery that a client likes best; empty when it wants the plain form.

    Wherever it stands in the list: what is more special is preferred, as there.
    """
    for choice in accept.split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        options = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if media not in {"application/json", "application/*", "*/*"}:
            continue
        if (options.get("as"), options.get("g")) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io"):
            version = options.get("v", "")
            if version == "v2":
                return version
    return ""


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
