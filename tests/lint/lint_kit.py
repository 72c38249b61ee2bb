"""Manifests to lint: a good set, and ways to spoil it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import yaml

from canary.lint.findings import Finding, Severity
from canary.lint.run import Linted, lint
from canary.lint.source import read

Json = dict[str, Any]
Edit = Callable[[Json], None]

QUERY = 'sum(rate(errors{service="{{ canary.service }}"}[{{ window }}]))'


def rollout(**spec: Any) -> Json:
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "shop", "namespace": "team-shop"},
        "spec": {
            "routes": [{"name": "shop"}],
            "stable": {"service": "shop-stable", "port": 8080},
            "canary": {"service": "shop-canary", "port": 8080},
            "workloads": {"stable": {"name": "shop-stable"}, "canary": {"name": "shop-canary"}},
            "steps": [{"weight": 10, "hold": "5m"}, {"approval": {}}, {"weight": 50, "hold": "5m"}],
            "checks": [{"name": "errors", "prometheus": {"query": QUERY}, "threshold": {"max": "1%"}}],
            **spec,
        },
    }


def template(name: str = "latency", **spec: Any) -> Json:
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "ClusterCheckTemplate",
        "metadata": {"name": name},
        "spec": {
            "args": [{"name": "limit", "default": "500ms"}],
            "prometheus": {"query": QUERY},
            "threshold": {"max": "{{ args.limit }}"},
            **spec,
        },
    }


def target(name: str = "hook", kind: str = "NotificationTarget", **spec: Any) -> Json:
    signing = {"secretRef": {"name": "hook"}}
    place = {} if kind.startswith("Cluster") else {"namespace": "team-shop"}
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, **place},
        "spec": spec or {"http": {"url": "https://hooks.example.com/in", "signing": signing}},
    }


def route(*weights: int, name: str = "shop", rule: str | None = None, kind: str = "HTTPRoute", **more: Any) -> Json:
    """A route with the pair, and further backends when more than two weights are given. `more`: other members of the rule."""
    names = ["shop-stable", "shop-canary", "legacy"]
    refs = [{"name": names[i], "port": 8080, "weight": weight} for i, weight in enumerate(weights or (100, 0))]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "team-shop"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "rules": [{**({"name": rule} if rule else {}), "backendRefs": refs, **more}],
        },
    }


def service(role: str, port: int = 8080, namespace: str = "team-shop", **selector: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"shop-{role}", "namespace": namespace},
        "spec": {"selector": selector or {"app": "shop", "track": role}, "ports": [{"port": port}]},
    }


def deployment(role: str, **labels: str) -> Json:
    labels = labels or {"app": "shop", "track": role}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"shop-{role}", "namespace": "team-shop"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "shop:1"}]}},
        },
    }


def everything() -> list[Json]:
    """A Rollout with all it names."""
    return [
        rollout(),
        route(),
        service("stable"),
        service("canary"),
        deployment("stable"),
        deployment("canary"),
    ]


def spoiled(document: Json, edit: Edit) -> Json:
    changed = copy.deepcopy(document)
    edit(changed)
    return changed


def dump(*documents: Json) -> str:
    return yaml.dump_all(documents, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)


def linted(*documents: Json) -> Linted:
    """Lint documents that went through YAML, as those of a file do."""
    found, wrong = read(dump(*documents), "m.yaml")
    assert wrong == []
    return lint(found)


def problems(*documents: Json) -> list[Finding]:
    return [finding for finding in linted(*documents).findings if finding.severity is not Severity.NOTE]


def of(findings: Any, *severities: Severity) -> list[tuple[str, str]]:
    """(field, message) of the findings."""
    return [(item.field, item.text) for item in findings if not severities or item.severity in severities]
