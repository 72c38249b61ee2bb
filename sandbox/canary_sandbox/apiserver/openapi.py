"""OpenAPI v3: one document per group version, enough for `kubectl explain` and for its validation."""

from __future__ import annotations

import hashlib
from typing import Any

from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.resources import Registry, Resource
from canary_sandbox.apiserver.store import encode


def index(registry: Registry, prefix: str = "") -> Json:
    """Where the documents are, under `prefix`. The hash changes with their content, so that clients may cache them."""
    paths = {}
    for group, version in registry.group_versions():
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = hashlib.sha256(encode(document(registry, group, version))).hexdigest()[:32].upper()
        paths[path] = {"serverRelativeURL": f"{prefix}/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def document(registry: Registry, group: str, version: str) -> Json | None:
    """The document of one group version, None when it is not served."""
    members = registry.members(group, version)
    if not members:
        return None
    paths: Json = {}
    schemas: Json = {}
    for resource in members:
        name = _schema_name(resource)
        schemas[name] = _schema(resource)
        paths |= _paths(resource, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schema_name(resource: Resource) -> str:
    group = resource.group or "core"
    return ".".join([*reversed(group.split(".")), resource.version, resource.kind])


def _gvk(resource: Resource) -> Json:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


_META: Json = {
    "apiVersion": {"type": "string", "description": "The version of the schema of this object, with its group."},
    "kind": {"type": "string", "description": "The kind of this object, in CamelCase."},
}


def _schema(resource: Resource) -> Json:
    root = resource.schema.root
    properties = {key: _served(sub) for key, sub in (root.get("properties") or {}).items()}
    metadata = {
        "type": "object",
        "description": "Standard object metadata: name, namespace, labels, annotations, ...",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    schema = {key: value for key, value in root.items() if key != "properties"}
    schema["type"] = "object"
    schema["properties"] = {**properties, **_META, "metadata": metadata}
    schema["x-kubernetes-group-version-kind"] = [_gvk(resource)]
    return schema


def _served(schema: Any) -> Any:
    """OpenAPI v3 as published wants a type wherever it can have one."""
    if isinstance(schema, dict) and schema.get("x-kubernetes-int-or-string"):
        return {**schema, "oneOf": [{"type": "integer"}, {"type": "string"}]}
    return schema


def _paths(resource: Resource, name: str) -> Json:
    """What clients look for: which kind is behind a path, and whether the server validates fields itself."""
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    place = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{base}{place}/{resource.plural}"
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    operation: Json = {
        "x-kubernetes-group-version-kind": _gvk(resource),
        "responses": {"200": {"description": "OK", "content": content}},
    }
    # No strategic merge patch is offered here: clients then use what they know of the built-in types themselves.
    media = ("application/json-patch+json", "application/merge-patch+json")
    patch = {
        **operation,
        "x-kubernetes-action": "patch",
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in ("dryRun", "fieldManager", "fieldValidation")
        ],
        "requestBody": {"content": {kind: {"schema": {"type": "object"}} for kind in media}},
    }
    return {
        collection: {"get": {**operation, "x-kubernetes-action": "list"}},
        f"{collection}/{{name}}": {"get": {**operation, "x-kubernetes-action": "get"}, "patch": patch},
    }
