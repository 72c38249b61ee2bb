"""OpenAPI v3: one document per group version, enough for `kubectl explain` and for its validation."""

from __future__ import annotations

import hashlib
from typing import Any

from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.resources import Registry, Resource
from canary_sandbox.apiserver.store import encode

_VALIDATED = ("post", "put", "patch")


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
    "apiVersion": {
        "type": "string",
        "description": "The version of the schema of this object, with its group.",
    },
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
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    collection = (
        f"{base}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"
    )
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    item = f"{collection}/{{name}}"
    paths = {
        collection: {
            "get": _operation(resource, "list", content),
            "post": _operation(resource, "post", content),
        },
        item: {
            "get": _operation(resource, "get", content),
            "put": _operation(resource, "put", content),
            "patch": _operation(resource, "patch", content),
            "delete": _operation(resource, "delete", content),
        },
    }
    if resource.status:
        paths[f"{item}/status"] = {method: _operation(resource, method, content) for method in ("get", "put", "patch")}
    return paths


def _operation(resource: Resource, action: str, content: Json) -> Json:
    operation: Json = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(resource),
        "responses": {"200": {"description": "OK", "content": content}},
    }
    if action in _VALIDATED:
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in ("dryRun", "fieldManager", "fieldValidation")
        ]
        # No strategic merge patch is offered here: clients then use what they know of the built-in types themselves.
        media = ["application/json-patch+json", "application/merge-patch+json"] if action == "patch" else ["*/*"]
        body = {"schema": {"type": "object"}} if action == "patch" else content["application/json"]
        operation["requestBody"] = {"content": dict.fromkeys(media, body)}
    return operation
