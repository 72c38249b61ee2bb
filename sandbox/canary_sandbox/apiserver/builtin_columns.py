"""What `kubectl get` shows of the built-in kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.resources import Column


def _column(name: str, cell: Callable[[Json], Any], type_: str = "string", priority: int = 0) -> Column:
    return Column(name, type_, cell=cell, priority=priority)


NAME = Column("Name", "string", path=".metadata.name", format="name", description="Name must be unique.")
AGE = Column("Age", "date", path=".metadata.creationTimestamp", description="Time since creation.")


def _at(doc: Json, path: str, default: Any = "") -> Any:
    found: Any = doc
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return default if found is None else found


def _path(path: str, default: Any = "") -> Callable[[Json], Any]:
    return lambda doc: _at(doc, path, default)


def _map(labels: Any) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def _containers(doc: Json, member: str) -> str:
    spec = _at(doc, "spec.template.spec", None) or _at(doc, "spec", {})
    return ",".join(container.get(member, "") for container in spec.get("containers") or ())


def _service_ports(doc: Json) -> str:
    shown = []
    for port in _at(doc, "spec.ports", []):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _external(doc: Json) -> str:
    if _at(doc, "spec.type") == "ExternalName":
        return str(_at(doc, "spec.externalName"))
    ingress = [entry.get("ip") or entry.get("hostname", "") for entry in _at(doc, "status.loadBalancer.ingress", [])]
    if ingress:
        return ",".join(ingress)
    if external := _at(doc, "spec.externalIPs", []):
        return ",".join(external)
    return "<pending>" if _at(doc, "spec.type") == "LoadBalancer" else "<none>"


def _pod_ready(doc: Json) -> str:
    statuses = _at(doc, "status.containerStatuses", [])
    return f"{sum(bool(status.get('ready')) for status in statuses)}/{len(_at(doc, 'spec.containers', []))}"


def _restarts(doc: Json) -> str:
    return str(sum(status.get("restartCount", 0) for status in _at(doc, "status.containerStatuses", [])))


def _pod_status(doc: Json) -> str:
    return "Terminating" if doc["metadata"].get("deletionTimestamp") else str(_at(doc, "status.phase", "Unknown"))


def _last_seen(doc: Json) -> Any:
    return (
        _at(doc, "series.lastObservedTime", None)
        or _at(doc, "lastTimestamp", None)
        or _at(doc, "eventTime", None)
        or doc["metadata"].get("creationTimestamp")
    )


def _object(doc: Json) -> str:
    return f"{str(_at(doc, 'involvedObject.kind')).lower()}/{_at(doc, 'involvedObject.name')}"


def _ready_node(doc: Json) -> str:
    ready: Json = next((c for c in _at(doc, "status.conditions", []) if c.get("type") == "Ready"), {})
    return {"True": "Ready", "False": "NotReady"}.get(ready.get("status", ""), "Unknown")


def _addresses(doc: Json) -> str:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in doc.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return ",".join(shown) or "<none>"


def _slice_addresses(doc: Json) -> str:
    return ",".join(address for e in doc.get("endpoints") or () for address in e["addresses"]) or "<unset>"


def _slice_ports(doc: Json) -> str:
    return ",".join(str(port.get("port", "*")) for port in doc.get("ports") or ()) or "<unset>"


def _counts(*columns: str) -> tuple[Column, ...]:
    """Columns of numbers: of each its name and the path to it."""
    return tuple(_column(name, _path(path, 0), "integer") for name, path in map(str.split, columns))


_WORKLOAD_WIDE = (
    _column("Containers", lambda doc: _containers(doc, "name"), priority=1),
    _column("Images", lambda doc: _containers(doc, "image"), priority=1),
    _column("Selector", lambda doc: _map(_at(doc, "spec.selector.matchLabels", {})), priority=1),
)

NAMESPACE = (NAME, _column("Status", _path("status.phase")), AGE)
SERVICE = (
    NAME,
    _column("Type", _path("spec.type")),
    _column("Cluster-IP", _path("spec.clusterIP", "<none>")),
    _column("External-IP", _external),
    _column("Port(s)", _service_ports),
    AGE,
    _column("Selector", lambda doc: _map(_at(doc, "spec.selector", {})), priority=1),
)
POD = (
    NAME,
    _column("Ready", _pod_ready),
    _column("Status", _pod_status),
    _column("Restarts", _restarts),
    AGE,
    _column("IP", _path("status.podIP", "<none>"), priority=1),
    _column("Node", _path("spec.nodeName", "<none>"), priority=1),
)
EVENT = (
    Column("Last Seen", "date", cell=_last_seen),
    _column("Type", _path("type")),
    _column("Reason", _path("reason")),
    _column("Object", _object),
    _column("Source", _path("source.component"), priority=1),
    _column("Message", _path("message")),
    Column("First Seen", "date", cell=_path("firstTimestamp", None), priority=1),
    _column("Count", _path("count", 1), "integer", priority=1),
    Column("Name", "string", path=".metadata.name", format="name", priority=1),
)
CONFIG_MAP = (
    NAME,
    _column("Data", lambda doc: len(doc.get("data") or {}) + len(doc.get("binaryData") or {}), "integer"),
    AGE,
)
SECRET = (NAME, _column("Type", _path("type")), _column("Data", lambda doc: len(doc.get("data") or {}), "integer"), AGE)
SERVICE_ACCOUNT = (NAME, _column("Secrets", lambda doc: len(doc.get("secrets") or ()), "integer"), AGE)
ENDPOINTS = (NAME, _column("Endpoints", _addresses), AGE)
NODE = (NAME, _column("Status", _ready_node), AGE, _column("Version", _path("status.nodeInfo.kubeletVersion")))
DEPLOYMENT = (
    NAME,
    _column("Ready", lambda doc: f"{_at(doc, 'status.readyReplicas', 0)}/{_at(doc, 'spec.replicas', 0)}"),
    *_counts("Up-to-date status.updatedReplicas", "Available status.availableReplicas"),
    AGE,
    *_WORKLOAD_WIDE,
)
_IN_SET = _counts("Desired spec.replicas", "Current status.replicas", "Ready status.readyReplicas")
REPLICA_SET = (NAME, *_IN_SET, AGE, *_WORKLOAD_WIDE)
STATEFUL_SET = (*DEPLOYMENT[:2], AGE, *_WORKLOAD_WIDE[:2])
_ON_NODES = _counts(
    *("Desired status.desiredNumberScheduled", "Current status.currentNumberScheduled", "Ready status.numberReady"),
    *("Up-to-date status.updatedNumberScheduled", "Available status.numberAvailable"),
)
DAEMON_SET = (NAME, *_ON_NODES, AGE, *_WORKLOAD_WIDE)
ENDPOINT_SLICE = (
    NAME,
    _column("AddressType", _path("addressType")),
    _column("Ports", _slice_ports),
    _column("Endpoints", _slice_addresses),
    AGE,
)
_BUDGET = {"Min Available": "spec.minAvailable", "Max Unavailable": "spec.maxUnavailable"}
_ALLOWED = _column("Allowed Disruptions", _path("status.disruptionsAllowed", 0), "integer")
POD_DISRUPTION_BUDGET = (NAME, *(_column(name, _path(at, "N/A")) for name, at in _BUDGET.items()), _ALLOWED, AGE)
HORIZONTAL_POD_AUTOSCALER = (
    NAME,
    _column("Reference", _path("spec.scaleTargetRef.name", "")),
    _column("MinPods", _path("spec.minReplicas", "<unset>")),
    _column("MaxPods", _path("spec.maxReplicas", 0), "integer"),
    _column("Replicas", _path("status.currentReplicas", 0), "integer"),
    AGE,
)
NETWORK_POLICY = (NAME, _column("Pod-Selector", lambda doc: _map(_at(doc, "spec.podSelector.matchLabels", {}))), AGE)
LEASE = (NAME, _column("Holder", _path("spec.holderIdentity")), AGE)
CRD = (NAME, Column("Created At", "string", path=".metadata.creationTimestamp"))
