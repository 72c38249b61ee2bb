"""The built-in resources: what each checks and fills in beyond its schema."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Callable
from typing import Any

from canary_sandbox.apiserver import builtin_columns as columns
from canary_sandbox.apiserver import builtin_schemas as schemas
from canary_sandbox.apiserver import names
from canary_sandbox.apiserver.errors import DUPLICATE, FORBIDDEN, INVALID, REQUIRED, FieldError, Json
from canary_sandbox.apiserver.events import check_timed
from canary_sandbox.apiserver.resources import Resource, Scale
from canary_sandbox.apiserver.schema import Schema

_ZERO_EVENT: Json = {
    "involvedObject": {}, "source": {}, "reportingComponent": "", "reportingInstance": "",
    "eventTime": None, "firstTimestamp": None, "lastTimestamp": None,
}  # fmt: skip
_ZERO_TEMPLATE: Json = {"metadata": {}, "spec": {"containers": []}}
_ZERO_WORKLOAD: Json = {"spec": {"template": _ZERO_TEMPLATE, "strategy": {}}, "status": {}}
_ZERO_SET: Json = {"spec": {"template": _ZERO_TEMPLATE, "updateStrategy": {}}, "status": {}}
SERVICE_NETWORK = ipaddress.ip_network("127.96.0.0/16")
"""Where ClusterIPs come from: loopback, so that they work on any Linux machine as they are."""


def resources(allocate_ip: Callable[[], str]) -> tuple[Resource, ...]:
    """Every built-in resource; `allocate_ip` returns a free ClusterIP."""
    core = _Group("", "v1")
    apps = _Group("apps", "v1")
    runs_pods: Json = {"status": True, "categories": ("all",), "generation": True, "check": _check_workload,
                       "default": _default_deployment}  # fmt: skip
    return (
        core.resource("namespaces", "Namespace", schemas.NAMESPACE, namespaced=False, status=True,
                      short_names=("ns",), name_rule=names.label, columns=columns.NAMESPACE,
                      fields=frozenset({"status.phase"}), default=_default_namespace, prepare=_prepare_namespace,
                      zero={"spec": {}, "status": {}}),
        core.resource("services", "Service", schemas.SERVICE, status=True, short_names=("svc",), categories=("all",),
                      name_rule=names.label, columns=columns.SERVICE, check=_check_service,
                      default=_default_service, prepare=_prepare_service(allocate_ip),
                      zero={"spec": {}, "status": {"loadBalancer": {}}},
                      fields=frozenset({"spec.clusterIP", "spec.type"})),
        core.resource("pods", "Pod", schemas.POD, status=True, short_names=("po",), categories=("all",),
                      columns=columns.POD, check=_check_pod, default=_default_pod, prepare=_prepare_pod,
                      zero={"spec": {"containers": []}, "status": {}},
                      fields=frozenset({"status.phase", "spec.nodeName", "status.podIP", "spec.restartPolicy",
                                        "spec.serviceAccountName"})),
        core.resource("events", "Event", schemas.EVENT, short_names=("ev",), columns=columns.EVENT,
                      check=_check_event, default=_default_event, zero=_ZERO_EVENT,
                      fields=frozenset({f"involvedObject.{name}" for name in
                                        ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion",
                                         "fieldPath")}
                                       | {"reason", "type", "source", "reportingComponent"})),
        core.resource("configmaps", "ConfigMap", schemas.CONFIG_MAP, short_names=("cm",), columns=columns.CONFIG_MAP),
        core.resource("secrets", "Secret", schemas.SECRET, columns=columns.SECRET, default=_default_secret,
                      fields=frozenset({"type"})),
        core.resource("serviceaccounts", "ServiceAccount", schemas.SERVICE_ACCOUNT, short_names=("sa",),
                      columns=columns.SERVICE_ACCOUNT),
        core.resource("endpoints", "Endpoints", schemas.ENDPOINTS, short_names=("ep",), columns=columns.ENDPOINTS),
        core.resource("nodes", "Node", schemas.NODE, namespaced=False, status=True, short_names=("no",),
                      columns=columns.NODE, fields=frozenset({"spec.unschedulable"}), zero={"spec": {}, "status": {}}),
        apps.resource("deployments", "Deployment", schemas.DEPLOYMENT, short_names=("deploy",), scale=Scale(),
                      columns=columns.DEPLOYMENT, zero=_ZERO_WORKLOAD, **runs_pods),
        apps.resource("replicasets", "ReplicaSet", schemas.REPLICA_SET, short_names=("rs",), scale=Scale(),
                      columns=columns.REPLICA_SET, zero=_ZERO_WORKLOAD, **runs_pods),
        apps.resource("statefulsets", "StatefulSet", schemas.STATEFUL_SET, short_names=("sts",), scale=Scale(),
                      columns=columns.STATEFUL_SET, zero=_ZERO_SET, **runs_pods),
        apps.resource("daemonsets", "DaemonSet", schemas.DAEMON_SET, short_names=("ds",),
                      columns=columns.DAEMON_SET, zero=_ZERO_SET, **runs_pods),
        _Group("batch", "v1").resource("jobs", "Job", schemas.JOB, status=True, categories=("all",), generation=True,
                                       check=_check_job, zero={"spec": {}, "status": {}}),
        _Group("discovery.k8s.io", "v1").resource("endpointslices", "EndpointSlice", schemas.ENDPOINT_SLICE,
                                                  columns=columns.ENDPOINT_SLICE, generation=True),
        _Group("coordination.k8s.io", "v1").resource("leases", "Lease", schemas.LEASE, columns=columns.LEASE,
                                                     unconditional_update=False, creates_on_update=True,
                                                     zero={"spec": {"podSelector": {}}}),
        _Group("policy", "v1").resource("poddisruptionbudgets", "PodDisruptionBudget", schemas.POD_DISRUPTION_BUDGET,
                                        status=True, short_names=("pdb",), generation=True, unconditional_update=False,
                                        columns=columns.POD_DISRUPTION_BUDGET, zero={"spec": {}, "status": {}}),
        _Group("autoscaling", "v2").resource("horizontalpodautoscalers", "HorizontalPodAutoscaler",
                                             schemas.HORIZONTAL_POD_AUTOSCALER, status=True, short_names=("hpa",),
                                             categories=("all",), columns=columns.HORIZONTAL_POD_AUTOSCALER,
                                             default=_default_autoscaler, zero={"spec": {}, "status": {}}),
        _Group("networking.k8s.io", "v1").resource("networkpolicies", "NetworkPolicy", schemas.NETWORK_POLICY,
                                                   short_names=("netpol",), generation=True, zero={"spec": {}},
                                                   default=_default_network_policy, columns=columns.NETWORK_POLICY),
    )  # fmt: skip


class _Group:
    def __init__(self, group: str, version: str) -> None:
        self._group = group
        self._version = version

    def resource(self, plural: str, kind: str, schema: Json, *, namespaced: bool = True, **more: Any) -> Resource:
        return Resource(
            group=self._group, version=self._version, plural=plural, kind=kind, singular=kind.lower(),
            namespaced=namespaced, schema=Schema(schema, list_types=False), **more,
        )  # fmt: skip


def _default_namespace(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    labels = doc["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = doc["metadata"].get("name", "")


def _prepare_namespace(doc: Json, old: Json | None) -> None:
    if old is None:
        doc["status"] = {"phase": "Active"}
        doc.setdefault("spec", {})["finalizers"] = ["kubernetes"]


def _default_autoscaler(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    doc.setdefault("spec", {}).setdefault("minReplicas", 1)


def _default_service(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    spec = doc.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        if isinstance(port, dict) and isinstance(port.get("port"), int):
            port.setdefault("targetPort", port["port"])
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _prepare_service(allocate_ip: Callable[[], str]) -> Callable[[Json, Json | None], None]:
    def prepare(doc: Json, old: Json | None) -> None:
        spec = doc["spec"]
        if spec["type"] == "ExternalName":
            return
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if not spec.get("clusterIP"):
            kept = (old or {}).get("spec", {}).get("clusterIP")
            spec["clusterIP"] = kept or allocate_ip()
        spec.setdefault("clusterIPs", [spec["clusterIP"]])

    return prepare


def _check_service(doc: Json, old: Json | None) -> list[FieldError]:
    spec = doc.get("spec") or {}
    errors: list[FieldError] = []
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None" or spec.get("type") == "ExternalName"
    if not ports and not headless:
        errors.append(FieldError("spec.ports", REQUIRED))
    seen_names: set[str] = set()
    seen_ports: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            errors.append(FieldError(f"{at}.name", REQUIRED))
        elif name and (problem := names.label(name)):
            errors.append(FieldError(f"{at}.name", INVALID, problem, name))
        elif name and name in seen_names:
            errors.append(FieldError(f"{at}.name", DUPLICATE, value=name))
        seen_names.add(name)
        identity = (port.get("protocol"), port.get("port"))
        if identity in seen_ports:
            errors.append(FieldError(at, DUPLICATE, value={"port": port.get("port"), "protocol": port.get("protocol")}))
        seen_ports.add(identity)
    if spec.get("type") == "ExternalName" and not spec.get("externalName"):
        errors.append(FieldError("spec.externalName", REQUIRED))
    errors += names.check_labels(spec.get("selector"), "spec.selector")
    before = (old or {}).get("spec", {})
    unchanged_type = before.get("type") == spec.get("type") != "ExternalName"
    if unchanged_type and before.get("clusterIP") != spec.get("clusterIP"):
        errors.append(FieldError("spec.clusterIPs[0]", INVALID, "may not change once set", [spec.get("clusterIP")]))
    return errors


def _default_pod_spec(spec: Any) -> None:
    if not isinstance(spec, dict):
        return
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        if not isinstance(container, dict) or "imagePullPolicy" in container:
            continue
        image = container.get("image", "")
        _, _, tag = image.rpartition("/")[2].partition(":")
        latest = "@" not in image and tag in {"", "latest"}
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _default_pod(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    _default_pod_spec(doc.get("spec"))


def _prepare_pod(doc: Json, old: Json | None) -> None:
    if old is None:
        status = doc.setdefault("status", {})
        status.setdefault("phase", "Pending")
        status.setdefault("qosClass", "BestEffort")


def _check_pod_spec(spec: Json, at: str) -> list[FieldError]:
    errors = []
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            here = f"{at}.{kind}[{index}]"
            name = container["name"]
            if problem := names.label(name):
                errors.append(FieldError(f"{here}.name", INVALID, problem, name))
            if name in seen:
                errors.append(FieldError(f"{here}.name", DUPLICATE, value=name))
            seen.add(name)
            if not container.get("image"):
                errors.append(FieldError(f"{here}.image", REQUIRED))
    return errors


def _check_pod(doc: Json, old: Json | None) -> list[FieldError]:  # noqa: ARG001  the shape of a check
    spec = doc.get("spec")
    return _check_pod_spec(spec, "spec") if spec else [FieldError("spec.containers", REQUIRED)]


_COUNTS = ("observedGeneration", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


def _default_deployment(doc: Json, old: Json | None) -> None:
    status = doc.get("status")
    if isinstance(status, dict):  # none of them is as good as not said; a ReplicaSet says its replicas always
        for name in (*_COUNTS, *(("replicas",) if doc.get("kind") == "Deployment" else ())):
            if status.get(name) == 0:
                del status[name]
    spec = doc.get("spec")
    if not isinstance(spec, dict):
        return
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {}).pop("creationTimestamp", None)
        _default_pod_spec(template.get("spec"))
    if old is None:
        doc.setdefault("status", {})
    strategy = spec.get("strategy")
    if isinstance(strategy, dict) and strategy.get("type") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        if isinstance(rolling, dict):
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")


def _check_workload(doc: Json, old: Json | None) -> list[FieldError]:
    spec = doc.get("spec")
    if not spec:
        return [FieldError("spec.selector", REQUIRED), FieldError("spec.template", REQUIRED)]
    selector, template = spec["selector"], spec.get("template") or {}
    errors = []
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(FieldError("spec.selector", INVALID, "empty selector is invalid for deployment", selector))
    labels = (template.get("metadata") or {}).get("labels") or {}
    errors += names.check_labels(labels, "spec.template.metadata.labels")
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        errors.append(
            FieldError("spec.template.metadata.labels", INVALID, "`selector` does not match template `labels`", labels)
        )
    if old is not None and old["spec"]["selector"] != selector:
        errors.append(FieldError("spec.selector", INVALID, "field is immutable", selector))
    if not template.get("spec"):
        return [*errors, FieldError("spec.template.spec.containers", REQUIRED)]
    errors += _check_restarts(template["spec"], "Always")
    errors += _check_replicas(doc.get("status") or {})
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate"):
        detail = "may not be specified when strategy `type` is 'Recreate'"
        errors.append(FieldError("spec.strategy.rollingUpdate", FORBIDDEN, detail))
    return errors + _check_pod_spec(template["spec"], "spec.template.spec")


def _check_restarts(spec: Json, *supported: str) -> list[FieldError]:
    detail, policy = f"supported values: {', '.join(map(json.dumps, supported))}", spec.get("restartPolicy")
    at = "spec.template.spec.restartPolicy"
    return [] if policy in supported else [FieldError(at, "Unsupported value", detail, policy)]


def _check_job(doc: Json, old: Json | None) -> list[FieldError]:
    spec = (doc["spec"].get("template") or {}).get("spec")
    if old is not None and old["spec"]["template"] != doc["spec"]["template"]:
        return [FieldError("spec.template", INVALID, "field is immutable", doc["spec"]["template"])]
    if not spec:
        return [FieldError("spec.template.spec.containers", REQUIRED)]
    return [*_check_restarts(spec, "OnFailure", "Never"), *_check_pod_spec(spec, "spec.template.spec")]


def _check_replicas(status: Json) -> list[FieldError]:
    """What is ready is there, and what is available is ready."""
    errors = []
    for part, whole, shown in (
        ("updatedReplicas", "replicas", "status.replicas"),
        ("readyReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "replicas", "status.replicas"),
        ("availableReplicas", "readyReplicas", "readyReplicas"),
    ):
        count = status.get(part) or 0
        if count > (status.get(whole) or 0):
            errors.append(FieldError(f"status.{part}", INVALID, f"cannot be greater than {shown}", count))
    return errors


def _default_event(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    for name in ("eventTime", "firstTimestamp", "lastTimestamp"):
        doc.setdefault(name, None)
    doc.setdefault("reportingComponent", "")
    doc.setdefault("reportingInstance", "")
    doc.setdefault("source", {})


def _check_event(doc: Json, old: Json | None) -> list[FieldError]:  # noqa: ARG001  the shape of a check
    namespace = doc["involvedObject"].get("namespace", "")
    if namespace != doc["metadata"].get("namespace") and not (
        namespace == "" and doc["metadata"].get("namespace") in {"default", "kube-system"}
    ):
        return [FieldError("involvedObject.namespace", INVALID, "does not match event.namespace", namespace)]
    return check_timed(doc)


def _default_secret(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    plain = doc.pop("stringData", None)
    if isinstance(plain, dict):
        data = doc.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()


def _default_network_policy(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    spec = doc.get("spec")
    if isinstance(spec, dict) and not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
