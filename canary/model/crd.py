"""Prints the CustomResourceDefinitions from the models, as structural schemas that a real API server accepts."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema

from canary.model.base import ApiModel
from canary.model.notifications import NotificationTargetSpec, NotificationTargetStatus
from canary.model.rollout import GROUP, VERSION, RolloutSpec
from canary.model.status import RolloutStatus
from canary.model.templates import CheckTemplateSpec
from canary.model.values import Alpha, Duration, Limit, Share

Json = dict[str, Any]

_HEADER = "# Printed from canary/model by `make crds`. Edit the models, not this file.\n"


_CONDITIONS = ("anyOf", "not")
"""Words of a schema that hold conditions on a value, and no schemas of values."""


class _Generator(GenerateJsonSchema):
    """Writes defaults as the API writes them: "60s", not the fields of a Duration."""

    def encode_default(self, dft: Any) -> Any:
        return dft.dump() if isinstance(dft, Duration | Share | Limit | Alpha) else super().encode_default(dft)


def structural(model: type[ApiModel], *, status: bool = False) -> Json:
    """Turn a model into a structural schema: no $ref, no titles, no null types.

    Defaults are dropped from a status: the controller writes it whole and readers take absence as it is.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)
    definitions = schema.pop("$defs", {})
    result: Json = _inline(schema, definitions, defaults=not status)
    return result


def _inline(node: Any, definitions: Json, *, defaults: bool) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions, defaults=defaults) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return _inline(_merge(target, siblings), definitions, defaults=defaults)
    if "anyOf" in node and not _is_condition(node["anyOf"]):
        branches = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        if {branch.get("type") for branch in branches} == {"integer", "number"}:
            branches = [{**branches[0], "type": "number"}]
        (only,) = branches  # the models use no other union
        return _inline(_merge(only, rest), definitions, defaults=defaults)
    result: Json = {}
    for key, value in node.items():
        match key:
            case "title" | "additionalProperties" if key == "title" or value is False:
                continue
            case "default":
                if defaults and value not in (None, [], ()):
                    result[key] = value
            case "properties" if not value:
                continue  # an API server does not keep an empty map, and a GitOps tool would miss it at every look
            case "properties":
                result[key] = {name: _inline(child, definitions, defaults=defaults) for name, child in value.items()}
            case "exclusiveMinimum" | "exclusiveMaximum" | "const" | "prefixItems":
                raise TypeError(f"{key} has no place in a structural schema")
            case _:
                result[key] = value if key in _CONDITIONS else _inline(value, definitions, defaults=defaults)
    if "enum" in result:
        result.setdefault("type", "string")
    return result


def _is_condition(branches: list[Json]) -> bool:
    """Whether a union is about which fields there are, and not about types."""
    return all(branch.keys() <= {"required", "not"} for branch in branches)


def _merge(base: Json, over: Json) -> Json:
    """Put the words of the place over those of the type, and keep the rules of both."""
    merged = {**base, **{key: value for key, value in over.items() if key != "title"}}
    rules = [*base.get("x-kubernetes-validations", []), *over.get("x-kubernetes-validations", [])]
    if rules:
        merged["x-kubernetes-validations"] = rules
    return merged


def _column(name: str, path: str, description: str, *, kind: str = "string", wide: bool = False) -> Json:
    column: Json = {"name": name, "type": kind, "jsonPath": path, "description": description}
    if wide:
        column["priority"] = 1
    return column


ROLLOUT_COLUMNS = [
    _column("Phase", ".status.phase", "Where the Rollout stands."),
    _column("Step", ".status.step.display", "Step of the run."),
    _column(
        "Weight",
        ".status.split.written",
        "Share of the pair that the routes give the canary, in percent.",
        kind="number",
    ),
    _column("Observed", ".status.split.observed", "Share that it really got, in percent.", kind="number"),
    _column("Checks", ".status.checksSummary", "What the checks say."),
    _column("Stable", ".status.revisions.stable", "Revision of the stable workload.", wide=True),
    _column("Canary", ".status.revisions.canary", "Revision of the canary workload.", wide=True),
    _column("Revision", ".status.run.revision", "Revision of the run.", wide=True),
    _column("Stable-Images", ".status.workloads.stable.images", "What the stable workload runs.", wide=True),
    _column("Canary-Images", ".status.workloads.canary.images", "What the canary workload runs.", wide=True),
    _column("Age", ".metadata.creationTimestamp", "Time since it was created.", kind="date"),
    # Last, so that a narrow terminal wraps nothing else.
    _column("Message", ".status.message", "Where it stands, in words."),
]

TEMPLATE_COLUMNS = [
    _column("Interval", ".spec.interval", "Time between measurements of a check."),
    _column("Max", ".spec.threshold.max", "Largest good value."),
    _column("Min", ".spec.threshold.min", "Smallest good value."),
    _column("Traffic", ".spec.traffic.interval", "Time between two looks at counters; of no template of a check."),
    _column("Age", ".metadata.creationTimestamp", "Time since it was created.", kind="date"),
]

TARGET_COLUMNS = [
    _column(
        "Delivered",
        '.status.conditions[?(@.type=="Delivered")].status',
        "Whether the last message arrived; empty before the first.",
    ),
    _column("Reason", '.status.conditions[?(@.type=="Delivered")].reason', "Why, as a constant."),
    _column("Url", ".spec.http.url", "Where CloudEvents go.", wide=True),
    _column("Age", ".metadata.creationTimestamp", "Time since it was created.", kind="date"),
    _column("Message", '.status.conditions[?(@.type=="Delivered")].message', "Why, in words."),
]


def _crd(
    kind: str,
    plural: str,
    short: list[str],
    scope: str,
    description: str,
    spec: Json,
    status: Json | None,
    columns: list[Json],
) -> Json:
    properties: Json = {
        "apiVersion": {"type": "string", "description": "Version of the API, canary.dev/v1alpha1."},
        "kind": {"type": "string", "description": f"Always {kind}."},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": description,
                "required": ["spec"],
                "properties": properties,
            }
        },
    }
    if status is not None:
        properties["status"] = status
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": short,
                "categories": ["canary"],
            },
            "versions": [version],
        },
    }


def crds() -> dict[str, Json]:
    """All CRDs by file name."""
    template = structural(CheckTemplateSpec)
    target, found = structural(NotificationTargetSpec), structural(NotificationTargetStatus, status=True)
    return {
        "canary.dev_rollouts.yaml": _crd(
            "Rollout",
            "rollouts",
            ["ro", "cro"],  # `ro` and `rollouts` are Argo's too
            "Namespaced",
            "A Rollout moves traffic of its routes from a stable to a canary Service, step by step, as long as its "
            "checks hold, and back by itself when they do not.",
            structural(RolloutSpec),
            structural(RolloutStatus, status=True),
            ROLLOUT_COLUMNS,
        ),
        "canary.dev_checktemplates.yaml": _crd(
            "CheckTemplate",
            "checktemplates",
            ["ct"],
            "Namespaced",
            "A CheckTemplate holds one check, or counters of traffic, with arguments for the Rollouts of its namespace.",
            template,
            None,
            TEMPLATE_COLUMNS,
        ),
        "canary.dev_clusterchecktemplates.yaml": _crd(
            "ClusterCheckTemplate",
            "clusterchecktemplates",
            ["cct"],
            "Cluster",
            "A ClusterCheckTemplate holds one check, or counters of traffic, with arguments for the Rollouts of every namespace.",
            template,
            None,
            TEMPLATE_COLUMNS,
        ),
        "canary.dev_notificationtargets.yaml": _crd(
            "NotificationTarget",
            "notificationtargets",
            ["nt"],
            "Namespaced",
            "A NotificationTarget is told what happens to the Rollouts of its namespace.",
            target,
            found,
            TARGET_COLUMNS,
        ),
        "canary.dev_clusternotificationtargets.yaml": _crd(
            "ClusterNotificationTarget",
            "clusternotificationtargets",
            ["cnt"],
            "Cluster",
            "A ClusterNotificationTarget is told what happens to the Rollouts of every namespace.",
            target,
            found,
            TARGET_COLUMNS,
        ),
    }


def render(document: Json) -> str:
    """Write one CRD as YAML."""
    return _HEADER + yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)
