"""Kinds of an installation that a sandbox may not serve yet, served with the field names of the official client's models.

Each is added only when it is missing: what the API server has of its own is used.
"""

from __future__ import annotations

import re
from typing import Any

from kubernetes import client

from canary.sandbox.apiserver import ApiServer
from canary.sandbox.apiserver.resources import Resource
from canary.sandbox.apiserver.schema import Schema

Json = dict[str, Any]

BUILT_IN = (
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", True),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", True),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True),
)

_STRING: Json = {"type": "string"}
_STRINGS: Json = {"type": "array", "items": _STRING}
_STRING_MAP: Json = {"type": "object", "additionalProperties": _STRING}
_INT_OR_STRING: Json = {"x-kubernetes-int-or-string": True}

# Of the Prometheus operator, as far as we use it; no client library has these.
_SERVICE_MONITOR: Json = {
    "selector": {"type": "object", "properties": {"matchLabels": _STRING_MAP}},
    "endpoints": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "port": _STRING,
                "path": _STRING,
                "scheme": _STRING,
                "interval": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"},
                "scrapeTimeout": _STRING,
                "honorLabels": {"type": "boolean"},
            },
        },
    },
}
_PROMETHEUS_RULE: Json = {
    "groups": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "interval": _STRING,
                "rules": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["expr"],
                        "properties": {
                            "alert": _STRING,
                            "record": _STRING,
                            "expr": _INT_OR_STRING,
                            "for": {"type": "string", "pattern": "^(0|(([0-9]+)(ms|s|m|h|d|w|y))+)$"},
                            "labels": _STRING_MAP,
                            "annotations": _STRING_MAP,
                        },
                    },
                },
            },
        },
    }
}
OPERATOR = (
    ("servicemonitors", "ServiceMonitor", _SERVICE_MONITOR),
    ("prometheusrules", "PrometheusRule", _PROMETHEUS_RULE),
)


def teach(api: ApiServer) -> None:
    """Serve what is missing."""
    registry = api._cluster.registry
    for group, version, plural, kind, namespaced in BUILT_IN:
        if registry.get(group, version, plural) is None:
            registry.add(_resource(group, version, plural, kind, schema_of(f"V1{kind}"), namespaced=namespaced))
    for plural, kind, spec in OPERATOR:
        if registry.get("monitoring.coreos.com", "v1", plural) is None:
            whole = schema_of("V1ConfigMap")
            meta = {name: whole["properties"][name] for name in ("apiVersion", "kind", "metadata")}
            schema = {"type": "object", "properties": {**meta, "spec": {"type": "object", "properties": spec}}}
            registry.add(_resource("monitoring.coreos.com", "v1", plural, kind, schema, namespaced=True))


def _resource(group: str, version: str, plural: str, kind: str, schema: Json, *, namespaced: bool) -> Resource:
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        singular=kind.lower(),
        namespaced=namespaced,
        schema=Schema(schema),
        generation=True,
    )


def schema_of(model: str) -> Json:
    """The structural schema of a model of the official client, such as `V1NetworkPolicy`."""
    kind = getattr(client, model)
    properties = {
        json_name: _type(kind.openapi_types[attribute]) for attribute, json_name in kind.attribute_map.items()
    }
    return {"type": "object", "properties": properties}


def _type(name: str) -> Json:
    if found := re.fullmatch(r"(?:List|list)\[(.+)\]", name):
        return {"type": "array", "items": _type(found[1])}
    if found := re.fullmatch(r"(?:Dict|dict)[\[(]\s*str,\s*(.+)[\])]", name):
        return {"type": "object", "additionalProperties": _type(found[1])}
    plain: dict[str, Json] = {
        "str": _STRING,
        "bytes": _STRING,
        "int": {"type": "integer"},
        "float": {"type": "number"},
        "bool": {"type": "boolean"},
        "datetime": {"type": "string"},
        "object": {"x-kubernetes-preserve-unknown-fields": True},
    }
    return plain[name] if name in plain else schema_of(name)
