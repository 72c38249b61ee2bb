"""What the gateway has to say about each object, as data, and how it is merged into a status that others share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from canary_sandbox.gateway.attach import CONTROLLER_NAME
from canary_sandbox.gateway.objects import GATEWAY_GROUP, Json, Key, RouteKey


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition without its time, which depends on what was there before."""

    type: str
    ok: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ParentStatus:
    """Our verdict on one parentRef of a route."""

    parent_ref: Json
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """Our verdicts on a route at one generation; no parents: the route does not concern us."""

    generation: int
    parents: tuple[ParentStatus, ...]


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """What we say about one listener of a Gateway."""

    name: str
    id: str
    served: bool
    attached_routes: int
    conditions: tuple[Condition, ...]
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What we say about a Gateway at one generation."""

    generation: int
    conditions: tuple[Condition, ...]
    listeners: tuple[ListenerStatus, ...]


@dataclass(frozen=True, slots=True)
class ClassStatus:
    """What we say about a GatewayClass, and the features it promises; None: nothing is said about features."""

    generation: int
    conditions: tuple[Condition, ...]
    features: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Statuses:
    """Statuses of one translation, to be written once Envoy runs what was translated."""

    routes: Mapping[RouteKey, RouteStatus] = field(default_factory=dict)
    gateways: Mapping[Key, GatewayStatus] = field(default_factory=dict)
    classes: Mapping[Key, ClassStatus] = field(default_factory=dict)


def merge_conditions(old: Iterable[Json], new: Iterable[Condition], generation: int, now: str) -> list[Json]:
    """Set our condition types and keep the others. `lastTransitionTime` moves only when a condition's status does."""
    merged = {condition["type"]: condition for condition in old}
    for condition in new:
        status = "True" if condition.ok else "False"
        before = merged.get(condition.type)
        kept = before["lastTransitionTime"] if before and before["status"] == status else now
        merged[condition.type] = {
            "type": condition.type,
            "status": status,
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": generation,
            "lastTransitionTime": kept,
        }
    return list(merged.values())


def has_our_entries(route: Json) -> bool:
    """Whether the route's status carries entries that we wrote."""
    parents: list[Json] = (route.get("status") or {}).get("parents") or []
    return any(entry.get("controllerName") == CONTROLLER_NAME for entry in parents)


def route_body(route: Json, status: RouteStatus, now: str) -> Json:
    """The new `status` of a route: our entries replaced, the entries of other controllers as they were."""
    old: list[Json] = (route.get("status") or {}).get("parents") or []
    ours = [entry for entry in old if entry.get("controllerName") == CONTROLLER_NAME]
    parents = [entry for entry in old if entry.get("controllerName") != CONTROLLER_NAME]
    for parent in status.parents:
        before = next((entry for entry in ours if _same_ref(entry["parentRef"], parent.parent_ref)), {})
        conditions = merge_conditions(before.get("conditions") or [], parent.conditions, status.generation, now)
        parents.append({"parentRef": parent.parent_ref, "controllerName": CONTROLLER_NAME, "conditions": conditions})
    return {"parents": parents}


def _same_ref(one: Json, other: Json) -> bool:
    fields = ("group", "kind", "namespace", "name", "sectionName", "port")
    return all(one.get(name) == other.get(name) for name in fields)


def gateway_body(gateway: Json, status: GatewayStatus, ports: Mapping[str, int], now: str) -> Json:
    """The new `status` of a Gateway. `ports` are the loopback ports by listener id: what "Programmed" rests on."""
    old = gateway.get("status") or {}
    old_listeners = {item["name"]: item for item in old.get("listeners") or []}
    listeners = []
    for listener in status.listeners:
        port = ports.get(listener.id)
        programmed = (
            Condition("Programmed", True, "Programmed", f"served at 127.0.0.1:{port}")
            if port
            else Condition("Programmed", False, "Invalid", "not served")
        )
        before = (old_listeners.get(listener.name) or {}).get("conditions") or []
        listeners.append(
            {
                "name": listener.name,
                "supportedKinds": [{"group": GATEWAY_GROUP, "kind": kind} for kind in listener.kinds],
                "attachedRoutes": listener.attached_routes,
                "conditions": merge_conditions(before, (*listener.conditions, programmed), status.generation, now),
            }
        )
    return {
        "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
        "conditions": merge_conditions(old.get("conditions") or [], status.conditions, status.generation, now),
        "listeners": listeners,
    }


def class_body(gateway_class: Json, status: ClassStatus, now: str) -> Json:
    """The new `status` of a GatewayClass."""
    old = (gateway_class.get("status") or {}).get("conditions") or []
    return {
        "conditions": merge_conditions(old, status.conditions, status.generation, now),
        # None takes away what was published before.
        "supportedFeatures": None if status.features is None else [{"name": name} for name in status.features],
    }
