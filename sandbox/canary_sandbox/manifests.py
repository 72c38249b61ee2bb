"""What the sandbox's Deployment controller writes, as pure functions: statuses, Pods, EndpointSlices."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from canary_sandbox.replicas import Replica

Json = dict[str, Any]
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
HASH_LABEL = "pod-template-hash"
PORT_ANNOTATION = "canary.dev/sandbox-port"
"""On the Pods of replicas: the port they serve at."""


def template_hash(deployment: Json) -> str:
    """Ten hex digits that change whenever the pod template does."""
    canonical = json.dumps(deployment["spec"]["template"], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def wanted_replicas(deployment: Json) -> int:
    """spec.replicas, 1 when it is not said."""
    replicas = deployment["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def int_or_percent(value: int | str, total: int, *, up: bool) -> int:
    """An absolute number, or a percentage of `total` rounded up or down, as maxSurge and maxUnavailable are read."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total / 100
    return math.ceil(share) if up else math.floor(share)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a Deployment replaces its replicas: at most `surge` more than wanted, at most `unavailable` fewer."""

    surge: int
    unavailable: int
    recreate: bool = False

    @classmethod
    def of(cls, deployment: Json) -> Strategy:
        wanted = wanted_replicas(deployment)
        strategy: Json = deployment["spec"].get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return cls(0, wanted, recreate=True)
        rolling = strategy.get("rollingUpdate") or {}
        surge = int_or_percent(rolling.get("maxSurge", "25%"), wanted, up=True)
        unavailable = int_or_percent(rolling.get("maxUnavailable", "25%"), wanted, up=False)
        # Both zero would never move; percentages may round to that, and the real controller does the same.
        return cls(surge, unavailable if surge or unavailable else 1)


def timestamp() -> str:
    """Now, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment_status(
    deployment: Json, old_conditions: Sequence[Json], replicas: Sequence[Replica], trouble: str, *, overdue: bool
) -> tuple[Json, bool]:
    """The status of a Deployment and whether its rollout is complete. `replicas` leaves out those that terminate.

    `trouble` says why a replica could not be created; `overdue` that nothing moved for progressDeadlineSeconds.
    """
    wanted, template = wanted_replicas(deployment), template_hash(deployment)
    ready_after = float(deployment["spec"].get("minReadySeconds") or 0)
    updated = [replica for replica in replicas if replica.template == template]
    available = sum(replica.available(ready_after) for replica in replicas)
    complete = len(updated) == wanted == len(replicas) == available
    enough = available >= wanted - Strategy.of(deployment).unavailable
    if complete:
        progressing = ("Progressing", True, "NewReplicaSetAvailable", "the new pod template runs everywhere")
    elif overdue:
        progressing = ("Progressing", False, "ProgressDeadlineExceeded", "nothing moved within progressDeadlineSeconds")
    else:
        progressing = ("Progressing", True, "ReplicaSetUpdated", f"{len(updated)} of {wanted} replicas are updated")
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    conditions = [("Available", enough, reason, f"{available} of {wanted} replicas are available"), progressing]
    if trouble:
        conditions.append(("ReplicaFailure", True, "FailedCreate", trouble))
    status = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": len(replicas),
        "updatedReplicas": len(updated),
        "readyReplicas": sum(replica.serving for replica in replicas),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
        "conditions": _conditions(old_conditions, conditions),
    }
    return status, complete


def _conditions(old: Sequence[Json], new: Iterable[tuple[str, bool, str, str]]) -> list[Json]:
    before, now, merged = {item["type"]: item for item in old}, timestamp(), []
    for kind, ok, reason, message in new:
        entry = {"type": kind, "status": "True" if ok else "False", "reason": reason, "message": message}
        past = before.get(kind) or {}
        moved = past.get("status") != entry["status"]
        changed = any(past.get(name) != value for name, value in entry.items())
        entry["lastTransitionTime"] = now if moved else past["lastTransitionTime"]
        entry["lastUpdateTime"] = now if changed else past["lastUpdateTime"]
        merged.append(entry)
    return merged


def pod_manifest(deployment: Json, replica: Replica) -> Json:
    """A Pod for `kubectl get pods` to show; the Deployment owns it directly."""
    meta, template = deployment["metadata"], deployment["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": replica.name,
            "namespace": meta["namespace"],
            "labels": {**replica.labels, HASH_LABEL: replica.template},
            "annotations": {PORT_ANNOTATION: str(replica.server.port)},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
    }


def pod_status(replica: Replica, container: str) -> Json:
    """The status of the Pod of a replica."""
    ready = "True" if replica.ready else "False"
    state = {"waiting": {"reason": "CrashLoopBackOff"}} if replica.crashed else {"running": {"startedAt": timestamp()}}
    return {
        "phase": "Running",
        "podIP": replica.address,
        "podIPs": [{"ip": replica.address}],
        "conditions": [{"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")],
        "containerStatuses": [
            {
                "name": container,
                "ready": replica.ready,
                "started": not replica.crashed,
                "restartCount": 0,
                "image": "canary_sandbox.app",
                "imageID": "canary_sandbox.app",
                "state": state,
            }
        ],
    }


def endpoint_slice(service: Json, replica: Replica, managed_by: str) -> Json:
    """The slice that holds this one replica: every port of the Service leads to the replica's own port, or where it says."""
    meta = service["metadata"]
    target = {"kind": "Pod", "namespace": meta["namespace"], "name": replica.name}
    endpoint = {
        "addresses": [replica.address],
        "conditions": {"ready": replica.serving, "serving": replica.ready, "terminating": replica.terminating},
        "targetRef": target,
    }
    owner = {"apiVersion": "v1", "kind": "Service", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta['name']}-{hashlib.sha256(replica.name.encode()).hexdigest()[:8]}",
            "namespace": meta["namespace"],
            "labels": {SERVICE_NAME_LABEL: meta["name"], MANAGED_BY_LABEL: managed_by},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "addressType": "IPv4",
        "endpoints": [endpoint],
        "ports": [
            {
                "name": port.get("name") or "",
                "port": replica.server.ports.get(port.get("name") or "", replica.server.port),
                "protocol": port.get("protocol") or "TCP",
            }
            for port in service["spec"].get("ports") or []
        ],
    }
