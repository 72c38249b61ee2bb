"""What a newcomer finds in the sandbox: the shop of the demo, with steps long enough to watch by hand."""

from __future__ import annotations

from typing import Any

import yaml

from canary.sandbox.demo import manifests

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

_LATENCY = """
name: latency-p95
prometheus:
  query: |
    histogram_quantile(0.95, sum by (le) (rate(envoy_cluster_upstream_rq_time_bucket{namespace="{{ canary.namespace }}",service="{{ canary.service }}"}[{{ window }}]))) / 1000
window: 10s
interval: 2s
threshold: {max: "200ms"}
"""


def documents() -> list[Json]:
    """Namespace, Gateway, Services, HTTPRoute, both Deployments at v1, and at the end the Rollout."""
    rollout = manifests.rollout()
    spec = rollout["spec"]
    spec["steps"] = yaml.safe_load(_STEPS)
    for check in (*spec["checks"], spec["observed"]):
        check["window"] = "10s"
    spec["checks"].append(yaml.safe_load(_LATENCY))
    return [*manifests.world(), rollout]
