"""The objects of the benchmark: as many teams as wanted, each with a route, two Services and Deployments and a Rollout at rest.

All routes have one parent: the Gateway of the platform.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from canary.decide.engine import decide
from canary.errors import SandboxError
from canary.observe.checks import resolve_checks
from canary.observe.facts import Received, gather
from canary.observe.rollout import Rollout
from canary.observe.store import Store
from canary.status.project import project

Json = dict[str, Any]

ROLLOUTS = ("canary.dev", "rollouts")
ROUTES = ("gateway.networking.k8s.io", "httproutes")
DEPLOYMENTS = ("apps", "deployments")
NAMESPACES = ("", "namespaces")
SERVICES = ("", "services")
GATEWAYS = ("gateway.networking.k8s.io", "gateways")
PLATFORM = "platform"
"""The namespace of the Gateway."""

LEASE = ("default", "canary-controller")
HOLD = "30m"
LAG = 2
"""Seconds that the counters of a comparison are declared to be old."""

JITTER = 1.2
"""A check speaks within its interval times this (canary.controller.measure)."""


def team(number: int) -> str:
    """The namespace of a team."""
    return f"team-{number:05}"


def namespace(number: int) -> Json:
    """A team's namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(team(number)), "status": {"phase": "Active"}}


def gateway() -> Json:
    """What every route is attached to."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": _meta("public", PLATFORM),
        "spec": {"gatewayClassName": "bench", "listeners": [listener]},
    }


def service(name: str, number: int) -> Json:
    """A Service of a team."""
    ports = [{"name": "http", "port": 8080, "protocol": "TCP", "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(name, team(number)),
        "spec": {"type": "ClusterIP", "selector": {"app": name}, "ports": ports},
    }


def route(number: int) -> Json:
    """A team's route, accepted by its gateway."""
    refs = [
        {"group": "", "kind": "Service", "name": "shop-stable", "port": 8080, "weight": 1},
        {"group": "", "kind": "Service", "name": "shop-canary", "port": 8080, "weight": 0},
    ]
    spec = {
        "parentRefs": [
            {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": PLATFORM, "name": "public"}
        ],
        "hostnames": [f"{team(number)}.example.com"],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": refs}],
    }
    document = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _meta("shop", team(number)),
        "spec": spec,
    }
    return accepted(document)


def accepted(document: Json) -> Json:
    """A route with the status that a gateway writes once it serves the present generation."""
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "observedGeneration": document["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    parent = {
        "parentRef": document["spec"]["parentRefs"][0],
        "controllerName": "bench/gateway",
        "conditions": conditions,
    }
    return {**document, "status": {"parents": [parent]}}


def deployment(name: str, number: int, version: str, generation: int = 1) -> Json:
    """A Deployment that is completely rolled out."""
    env = [{"name": f"SETTING_{index}", "value": hashlib.sha256(bytes([index])).hexdigest()} for index in range(10)]
    container = {
        "name": "shop",
        "image": f"registry.example/shop:{version}",
        "env": env,
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**_meta(name, team(number)), "generation": generation},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
        "status": {
            "observedGeneration": generation,
            "replicas": 2,
            "updatedReplicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
        },
    }


def limit() -> Json:
    """A check whose number is held against a limit."""
    return {
        "name": "error-rate",
        "prometheus": {
            "query": 'sum(rate(http_requests_total{namespace="{{ canary.namespace }}",code=~"5.."}[{{ window }}])) / '
            'sum(rate(http_requests_total{namespace="{{ canary.namespace }}"}[{{ window }}]))'
        },
        "threshold": {"max": "1%"},
    }


def comparison() -> Json:
    """A check that compares the canary's errors with stable's, by the counters of a gateway."""
    backend = 'namespace="{{ backend.namespace }}",service="{{ backend.service }}"'
    counters = {
        "requests": f"http_requests_total{{{backend}}}",
        "failures": f'http_requests_total{{{backend},code=~"5.."}}',
    }
    return {"name": "errors", "compare": {"prometheus": counters, "lag": f"{LAG}s"}}


def rollout(number: int, interval: float, *, quick: bool, compare: bool = False) -> Json:
    """A Rollout without a status. Its steps last for half an hour; those of a `quick` one until their check has spoken."""
    brief = f"{round(interval * JITTER * 1000)}ms"
    steps = [{"weight": weight, "hold": brief if quick else HOLD} for weight in (10, 50)]
    check = {**(comparison() if compare else limit()), "interval": f"{round(interval * 1000)}ms"}
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": _meta("shop", team(number)),
        "spec": {
            "routes": [{"kind": "HTTPRoute", "name": "shop"}],
            "stable": {"service": "shop-stable", "port": 8080},
            "canary": {"service": "shop-canary", "port": 8080},
            "workloads": {
                "stable": {"kind": "Deployment", "name": "shop-stable"},
                "canary": {"kind": "Deployment", "name": "shop-canary"},
            },
            "steps": [*steps, {"weight": 100, "hold": HOLD}],
            "checks": [check],
            "onFailure": "Rollback",
            "acceptTimeout": "60s",
            "paused": False,
        },
    }


def at_rest(
    number: int, interval: float, *, quick: bool, compare: bool = False
) -> Iterator[tuple[tuple[str, str], Json]]:
    """Everything of a team, its Rollout with the status that a controller left there."""
    stable, canary = deployment("shop-stable", number, "v1"), deployment("shop-canary", number, "v1")
    declared, path = rollout(number, interval, quick=quick, compare=compare), route(number)
    store = Store()
    store.put_route(path)
    for workload in (stable, canary):
        store.put_workload(workload)
    store.put_rollout(declared)
    seen = Rollout.of(declared)
    if seen.spec is None:
        raise SandboxError(f"the benchmark's Rollout is invalid: {seen.problem}")
    checks = resolve_checks(store, seen.namespace, seen.name, seen.spec)
    facts = gather(store, seen, seen.spec, seen.status, checks, Received(), datetime.now(UTC))
    status = project(seen.spec, decide(seen.spec, seen.status, facts), facts)
    yield ROUTES, path
    for name in ("shop-stable", "shop-canary"):
        yield SERVICES, service(name, number)
    yield DEPLOYMENTS, stable
    yield DEPLOYMENTS, canary
    yield ROLLOUTS, {**declared, "status": status.dump()}


def _meta(name: str, namespace_: str | None = None) -> Json:
    place = {"namespace": namespace_} if namespace_ else {}
    manager = {
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
    }
    fields = {"fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:rules": {}, "f:template": {}, "f:steps": {}}}}
    return {
        "name": name,
        **place,
        "uid": str(uuid.uuid4()),
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app.kubernetes.io/part-of": "bench"},
        "managedFields": [{**manager, **fields}],
    }
