"""Documents as an API server has them, and facts gathered from a store of them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from canary.decide.facts import Facts
from canary.model.status import RolloutStatus
from canary.observe.checks import resolve_checks
from canary.observe.facts import Received, gather
from canary.observe.rollout import Rollout
from canary.observe.store import Store

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TEAM = "team"


def meta(name: str, version: int = 1, **more: Any) -> Json:
    return {
        "name": name,
        "namespace": TEAM,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": "2026-01-01T11:00:00Z",
        **more,
    }


def ref(name: str, weight: int | None, **more: Any) -> Json:
    document = {"name": name, "port": 80, **more}
    return document if weight is None else {**document, "weight": weight}


def route(name: str = "shop", *rules: Json, version: int = 1, accepted: bool = True, **metadata: Any) -> Json:
    conditions = [{"type": kind, "status": "True", "observedGeneration": 1} for kind in ("Accepted", "ResolvedRefs")]
    parents = [{"parentRef": {"name": "gw"}, "conditions": conditions}] if accepted else []
    return {
        "metadata": meta(name, version, **metadata),
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "rules": list(rules) or [{"backendRefs": [ref("stable", 90), ref("canary", 10)]}],
        },
        "status": {"parents": parents},
    }


def deployment(name: str, image: str = "shop:1", *, ready: int = 1, version: int = 1, **status: Any) -> Json:
    return {
        "metadata": meta(name, version),
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": ready,
            **status,
        },
    }


def rollout(
    name: str = "shop", *, version: int = 1, status: Json | None = None, metadata: Json | None = None, **spec: Any
) -> Json:
    document: Json = {
        "metadata": meta(name, version, **(metadata or {})),
        "spec": {
            "routes": [{"name": "shop"}],
            "stable": {"service": "stable", "port": 80},
            "canary": {"service": "canary", "port": 80},
            "workloads": {"stable": {"name": "stable"}, "canary": {"name": "canary"}},
            "steps": [{"weight": 10}],
            **spec,
        },
    }
    document["spec"] = {key: value for key, value in document["spec"].items() if value is not None}
    if status is not None:
        document["status"] = status
    return document


def template(name: str = "latency", version: int = 1, **spec: Any) -> Json:
    return {
        "metadata": meta(name, version),
        "spec": {
            "args": [{"name": "limit", "required": True}],
            "prometheus": {"query": "latency"},
            "threshold": {"max": "{{ args.limit }}"},
            **spec,
        },
    }


def furnished(*routes: Json) -> Store:
    """A store with a route and two Deployments."""
    store = Store()
    for document in routes or (route(),):
        store.put_route(document)
    store.put_workload(deployment("stable"))
    store.put_workload(deployment("canary", "shop:2"))
    return store


def facts_of(
    store: Store, document: Json, received: Received | None = None, status: RolloutStatus | None = None
) -> Facts:
    """The facts of a Rollout, gathered as a reconciler does it."""
    store.put_rollout(copy.deepcopy(document))
    seen = Rollout.of(document)
    assert seen.spec is not None, seen.problem
    checks = resolve_checks(store, seen.namespace, seen.name, seen.spec)
    return gather(store, seen, seen.spec, status or seen.status, checks, received or Received(), NOW)
