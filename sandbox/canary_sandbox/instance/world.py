"""What a newcomer finds in the sandbox: the shop of the demo, with steps long enough to watch by hand."""

from __future__ import annotations

from typing import Any

import yaml

from canary_sandbox.cluster import GatewayKind
from canary_sandbox.demo import manifests

Json = dict[str, Any]

NAMESPACE = manifests.NAMESPACE
HOST = manifests.HOST
GATEWAY = "public"
ROLLOUT = "shop"
DEPLOYMENTS = ("shop-stable", "shop-canary")

_STEPS = """
- {weight: 10, hold: 20s}
- {weight: 50, hold: 20s}
- {weight: 100, hold: 20s}
"""

_LATENCIES: dict[GatewayKind, str] = {
    "envoy": """
histogram_quantile(0.95, sum by (le) (rate(envoy_cluster_upstream_rq_time_bucket{namespace="{{ canary.namespace }}",service="{{ canary.service }}"}[{{ window }}]))) / 1000
""",
    "traefik": """
histogram_quantile(0.95, sum by (le) (rate(traefik_service_request_duration_seconds_bucket{service=~".+-svc-{{ canary.namespace }}-{{ canary.service }}-[0-9]+@kubernetesgateway"}[{{ window }}])))
""",
}
"""Seconds; Envoy's own are milliseconds."""

_LATENCY = """
name: latency-p95
window: 10s
interval: 5s
threshold: {max: "200ms"}
"""


def documents(gateway: GatewayKind, port: int, *, scraped: bool = False) -> list[Json]:
    """Namespace, Gateway, Services, HTTPRoute, both Deployments at v1, and at the end the Rollout.

    Its queries are about the metrics of that gateway; `port` is what a listener may name there. `scraped`: without a Prometheus, its
    check is about what the pods tell themselves.
    """
    rollout = manifests.rollout(gateway, scraped=scraped)
    spec = rollout["spec"]
    spec["steps"] = yaml.safe_load(_STEPS)
    for check in spec["checks"]:
        check.update(window="10s", interval="5s")
    if scraped:
        return [*manifests.world(port), rollout]
    spec["traffic"]["interval"] = "5s"
    latency = yaml.safe_load(_LATENCY)
    latency["prometheus"] = {"query": _LATENCIES[gateway].strip()}
    spec["checks"].append(latency)
    return [*manifests.world(port), rollout]
