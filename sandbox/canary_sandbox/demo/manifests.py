"""What the demo's team would keep in Git."""

from __future__ import annotations

from typing import Any, Literal

import yaml

Json = dict[str, Any]

NAMESPACE = "team-shop"
HOST = "shop.example.com"
COMPARER = "shop-comparer"
WINDOW = 5
"""Seconds that the check looks back."""

_WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: team-shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: team-shop}
spec:
  gatewayClassName: sandbox
  listeners:
    - name: http
      port: 80
      protocol: HTTP
      allowedRoutes: {namespaces: {from: All}}  # so that anybody can try services of their own beside the shop
---
apiVersion: v1
kind: Service
metadata: {name: shop-stable, namespace: team-shop}
spec: {selector: {app: shop-stable}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop-canary, namespace: team-shop}
spec: {selector: {app: shop-canary}, ports: [{name: http, port: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: team-shop}
spec:
  parentRefs: [{name: public}]
  hostnames: [shop.example.com]
  rules:
    - backendRefs:
        - {name: shop-stable, port: 8080, weight: 1}
        - {name: shop-canary, port: 8080, weight: 0}
"""

_ROLLOUT = """
apiVersion: canary.dev/v1alpha1
kind: Rollout
metadata: {name: shop, namespace: team-shop}
spec:
  routes: [{name: shop}]
  stable: {service: shop-stable, port: 8080}
  canary: {service: shop-canary, port: 8080}
  workloads:
    stable: {name: shop-stable}
    canary: {name: shop-canary}
  steps:
    - mirror: {percent: 20, allowUnsafeMethods: true}  # whoever asks the shop for something changes nothing
      hold: 6s
    - {weight: 10, hold: 8s}
    - {weight: 50, hold: 8s}
    - {weight: 100, hold: 6s}
  checks:
    - name: error-rate
      prometheus:
        query: |
          (sum(rate(envoy_cluster_upstream_rq_xx{namespace="{{ canary.namespace }}",service="{{ canary.service }}",envoy_response_code_class="5"}[{{ window }}])) or vector(0))
          / sum(rate(envoy_cluster_upstream_rq_completed{namespace="{{ canary.namespace }}",service="{{ canary.service }}"}[{{ window }}]))
      interval: 2s
      threshold: {max: "1%"}
  traffic:
    prometheus:
      query: sum(envoy_cluster_upstream_rq_completed{namespace="{{ backend.namespace }}",service="{{ backend.service }}"})
    interval: 2s
    lag: 2s
"""


_BY_REPLICAS = """
(sum(rate(app_requests_total{namespace="{{ canary.namespace }}",service="{{ canary.service }}",outcome="failed"}[{{ window }}])) or vector(0))
/ sum(rate(app_requests_total{namespace="{{ canary.namespace }}",service="{{ canary.service }}"}[{{ window }}]))
"""


_SCRAPED = """
requests: {metric: app_requests_total}
failures: {metric: app_requests_total, labels: {outcome: failed}}
"""


def world(port: int = 80) -> list[Json]:
    """Everything but the Rollout: namespace, Gateway, Services, route, and both Deployments at v1.

    `port` is what the Gateway's listener names; an implementation that binds it says which (`listener_port`).
    """
    documents = [document for document in yaml.safe_load_all(_WORLD) if document]
    for document in documents:
        if document["kind"] == "Gateway":
            document["spec"]["listeners"][0]["port"] = port
    return [*documents, deployment("shop-stable", "v1"), deployment("shop-canary", "v1")]


# Traefik has no labels for namespace and Service: its `service` is ROUTE…-svc-NAMESPACE-SERVICE-INDEX@kubernetesgateway.
_TRAEFIK_TO = r'traefik_service_requests_total{{service=~".+-svc-{{{{ {side}.namespace }}}}-({{{{ {side}.service }}}})-[0-9]+@kubernetesgateway"{more}}}'


def _traefik_rate(more: str = "") -> str:
    return f"sum(rate({_TRAEFIK_TO.format(side='canary', more=more)}[{{{{ window }}}}]))"


def rollout(gateway: Literal["envoy", "traefik"] = "envoy", *, scraped: bool = False) -> Json:
    """The Rollout; its queries are about the metrics of that gateway. `scraped`: without a Prometheus, the pods are asked."""
    document: Json = yaml.safe_load(_ROLLOUT)
    (errors,) = document["spec"]["checks"]
    errors["window"] = f"{WINDOW}s"
    if scraped:
        del errors["prometheus"], document["spec"]["traffic"]
        errors["scrape"] = yaml.safe_load(_SCRAPED)
        return document
    if gateway == "traefik":
        failed = _traefik_rate(',code=~"5.."')
        document["spec"]["checks"][0]["prometheus"]["query"] = f"({failed} or vector(0)) / {_traefik_rate()}"
        document["spec"]["traffic"]["prometheus"]["query"] = f"sum({_TRAEFIK_TO.format(side='backend', more='')})"
    return document


def compared(*, scraped: bool = False) -> Json:
    """The Rollout of the demo: copies go to a comparer, and answers are counted by the replicas, whoever asked them.

    To Envoy a request of the comparer is none of the route's, so that its metrics say nothing while copies are compared.
    """
    document = rollout(scraped=scraped)
    spec = document["spec"]
    mirrored, *weights = spec["steps"]
    mirrored |= {"mirror": {**mirrored["mirror"], "comparer": {"service": COMPARER, "port": 8080}}, "hold": "9s"}
    for step in weights:
        step["hold"] = "5s"
    (errors,) = spec["checks"]
    if not scraped:
        errors["prometheus"]["query"] = _BY_REPLICAS
    # As many as a comparer lets through on a busy machine, where it spares stable.
    answers = {"name": "same-answers", "interval": "2s", "mirrored": {"maxDifferent": "0.1%", "minCompared": 20}}
    spec["checks"] = [answers, errors]
    return document


def comparer(replicas: int = 1) -> list[Json]:
    """A comparer as a team has it next to its application."""
    urls = ("--stable=http://shop-stable:8080", f"--canary=http://shop-canary.{NAMESPACE}.svc:8080")
    # Names of versions and pods are never those of stable, and are meant to be others.
    args = ["comparer", "run", *urls, "--ignore=$.version", "--ignore=$.pod"]
    labels = {"app": COMPARER}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "comparer", "image": "canary:dev", "args": args}]},
        },
    }
    ports = [{"name": "http", "port": 8080}, {"name": "results", "port": 8081}]
    meta = {"name": COMPARER, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": ports}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
    ]


def catalogue(name: str, version: str, *, wrong: int = 0) -> Json:
    """A Deployment whose answers have a time, an id and prices; `wrong` is the percentage of them with a wrong price."""
    document = deployment(name, version)
    env = document["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": "CATALOG", "value": "true"})
    if wrong:
        env.append({"name": "FAULT_PRICE_PERCENT", "value": str(wrong)})
    return document


def deployment(name: str, version: str, *, errors: int = 0) -> Json:
    """A Deployment of the shop at a version; `errors` is the percentage of its answers that are 500."""
    env = [{"name": "VERSION", "value": version}]
    if errors:
        env.append({"name": "FAULT_ERROR_PERCENT", "value": str(errors)})
    container = {"name": "shop", "image": f"registry.example/shop:{version}", "env": env}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }
