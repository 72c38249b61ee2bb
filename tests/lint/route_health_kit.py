"""Routes to lint with no Rollout, and what stands around them."""

from __future__ import annotations

from typing import Any

from lint_kit import Json, route

from canary.model.rollout import RouteKind

GATEWAY_API = "gateway.networking.k8s.io"
ROUTES = [kind.value for kind in RouteKind]


def ruled(*rules: Json, kind: str = "HTTPRoute", **spec: Any) -> Json:
    made = route(kind=kind)
    made["spec"] |= {"rules": list(rules), **spec}
    return made


def refs(*weights: int | None) -> list[Json]:
    names = ("shop-stable", "shop-canary", "legacy")
    return [
        {"name": name, "port": 8080} | ({} if weight is None else {"weight": weight})
        for name, weight in zip(names, weights, strict=False)
    ]


def gateway(*listeners: Json, namespace: str = "team-shop") -> Json:
    return {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": namespace},
        "spec": {"gatewayClassName": "envoy", "listeners": list(listeners) or [listener()]},
    }


def listener(**more: Any) -> Json:
    return {"name": "http", "port": 80, "protocol": "HTTP", **more}


def grant(kind: str = "HTTPRoute", source: str = "team-shop") -> Json:
    return {
        "apiVersion": f"{GATEWAY_API}/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "shop", "namespace": "other"},
        "spec": {
            "from": [{"group": GATEWAY_API, "kind": kind, "namespace": source}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }


def mirrored(name: str, port: int = 8080, **more: Any) -> Json:
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": port}, **more}}
