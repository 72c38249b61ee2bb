"""JSON Schemas for editors and for `canary lint`, one per kind, made from the very schemas of the CRDs.

Draft 7, because that is what the language servers of editors know best. Words that only an API server understands
(`x-kubernetes-…`) are gone; what is left is stricter in one point: a field that the API server would drop without a
word is an error here.
"""

from __future__ import annotations

import json
from typing import Any

from canary.model.crd import crds
from canary.model.rollout import GROUP
from canary.model.values import takes_number_or_string

Json = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"

_KEPT = frozenset(
    (
        "description",
        "type",
        "format",
        "enum",
        "default",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
        "anyOf",
    )
)
_READ_ELSEWHERE = frozenset(("properties", "items", "additionalProperties"))
_OF_SCALARS = frozenset(("description", "default", "pattern", "maxLength", "minimum", "maximum"))
"""Of a number or string. `pattern` and `maxLength` bind only strings, `minimum` and `maximum` only numbers."""

OBJECT_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
LONGEST_LABEL = 63


def to_json_schema(schema: Json) -> Json:
    """Turn a structural schema into a JSON Schema that knows no fields but its own.

    Raises:
        TypeError: the structural schema uses a word that has no translation here.

    """
    if takes_number_or_string(schema):
        return {"type": ["number", "string"], **{key: value for key, value in schema.items() if key in _OF_SCALARS}}
    strange = {key for key in schema if not key.startswith("x-kubernetes-")} - _KEPT - _READ_ELSEWHERE
    if strange:
        raise TypeError(f"no translation of {', '.join(sorted(strange))}")
    result: Json = {key: value for key, value in schema.items() if key in _KEPT}
    if "properties" in schema:
        result["properties"] = {name: to_json_schema(sub) for name, sub in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = to_json_schema(schema["additionalProperties"])
    elif schema.get("type") == "object":
        result["additionalProperties"] = False
    if "items" in schema:
        result["items"] = to_json_schema(schema["items"])
    if schema.get("x-kubernetes-list-type") == "set":
        result["uniqueItems"] = True
    return result


def _metadata(*, namespaced: bool) -> Json:
    """What people write into metadata; the fields that the API server fills in pass."""
    words = {"type": "object", "additionalProperties": {"type": "string"}}
    properties: Json = {
        "name": {"type": "string", "maxLength": 253, "pattern": OBJECT_NAME, "description": "Name of the object."},
        "generateName": {"type": "string", "description": "Start of a name that the API server completes."},
        "labels": {**words, "description": "Labels, for selectors."},
        "annotations": {**words, "description": "Annotations, for programs and people."},
    }
    if namespaced:
        properties["namespace"] = {
            "type": "string",
            "maxLength": LONGEST_LABEL,
            "pattern": LABEL_NAME,
            "description": "Namespace; default: the one of the context.",
        }
    return {
        "type": "object",
        "description": "Name, namespace, labels and annotations.",
        "properties": properties,
        "anyOf": [{"required": ["name"]}, {"required": ["generateName"]}],
    }


def _document(crd: Json) -> Json:
    (version,) = crd["spec"]["versions"]
    kind = crd["spec"]["names"]["kind"]
    whole = version["schema"]["openAPIV3Schema"]
    properties: Json = {
        "apiVersion": {"const": f"{GROUP}/{version['name']}", "description": "Version of the API."},
        "kind": {"const": kind, "description": f"Always {kind}."},
        "metadata": _metadata(namespaced=crd["spec"]["scope"] == "Namespaced"),
        "spec": to_json_schema(whole["properties"]["spec"]),
    }
    if "status" in whole["properties"]:
        properties["status"] = {"type": "object", "description": "Written by the controller, never by people."}
    return {
        "$schema": DRAFT,
        "title": kind,
        "description": whole["description"],
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": properties,
        "additionalProperties": False,
    }


def schemas() -> dict[str, Json]:
    """All JSON Schemas by kind; `file_name` says where each is kept."""
    return {crd["spec"]["names"]["kind"]: _document(crd) for crd in crds().values()}


def file_name(kind: str) -> str:
    """The file of a kind's schema, such as `rollout.json`."""
    return f"{kind.lower()}.json"


def render(document: Json) -> str:
    """Write one schema as JSON, in the order of the models."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
