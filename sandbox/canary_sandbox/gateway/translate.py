"""Kubernetes objects → what Envoy shall run, and what to say about each object. Pure: no clock, no network, no Envoy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from canary_sandbox.addresses import Address, Locate, as_written
from canary_sandbox.gateway.attach import (
    CONTROLLER_NAME,
    Attachment,
    Listener,
    attachments,
    covers,
    listeners_of,
    our_gateways,
)
from canary_sandbox.gateway.objects import Backend, Json, Key, Objects, endpoints, generation_of
from canary_sandbox.gateway.rules import CompiledRule, answer, compile_rule
from canary_sandbox.gateway.statuses import (
    ClassStatus,
    Condition,
    GatewayStatus,
    ListenerStatus,
    ParentStatus,
    RouteStatus,
    Statuses,
)

FEATURES = frozenset(
    {
        "Gateway",
        "HTTPRoute",
        "HTTPRouteBackendRequestHeaderModification",
        "HTTPRouteMethodMatching",
        "HTTPRouteNamedRouteRule",
        "HTTPRouteQueryParamMatching",
        "HTTPRouteRequestMirror",
        "HTTPRouteRequestMultipleMirrors",
        "HTTPRouteRequestPercentageMirror",
        "HTTPRouteRequestTimeout",
        "HTTPRouteResponseHeaderModification",
        "ReferenceGrant",
    }
)
"""What the GatewayClass promises in `status.supportedFeatures`."""


@dataclass(frozen=True, slots=True)
class EnvoyConfig:
    """What Envoy shall run: virtual hosts by listener id, and endpoints by cluster name."""

    virtual_hosts: Mapping[str, list[Json]] = field(default_factory=dict)
    clusters: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    attached: Mapping[str, frozenset[Key]] = field(default_factory=dict)
    """The routes that each listener serves: whom to blame when Envoy refuses its routes."""


@dataclass(slots=True)
class _CompiledRoute:
    key: Key
    created: str
    rules: list[CompiledRule]
    refused: str = ""

    @property
    def unsupported(self) -> str:
        return self.refused or next((rule.unsupported for rule in self.rules if rule.unsupported), "")

    @property
    def resolved(self) -> Condition:
        for rule in self.rules:
            for problem in rule.unresolved:
                return Condition("ResolvedRefs", False, problem.reason, problem.message)
        return Condition("ResolvedRefs", True, "ResolvedRefs")


def translate(
    objects: Objects, features: frozenset[str] = FEATURES, locate: Locate = as_written
) -> tuple[EnvoyConfig, Statuses]:
    """Translate a snapshot. With fewer `features` the gateway acts as one that can do less, and says so.

    `locate` says where the endpoints of EndpointSlices really listen.
    """
    gateways = our_gateways(objects)
    compiled = {key: _compile(objects, key, route, features) for key, route in sorted(objects.routes.items())}
    serves: dict[str, list[tuple[str, _CompiledRoute]]] = {
        listener.id: [] for gateway in gateways.values() for listener in listeners_of(gateway) if listener.served
    }
    route_statuses: dict[Key, RouteStatus] = {}
    for key, route in sorted(objects.routes.items()):
        found = tuple(attachments(objects, gateways, route))
        for attachment in found:
            for listener, hostnames in attachment.hostnames:
                serves[listener.id] += [(hostname, compiled[key]) for hostname in hostnames]
        # No parent of ours (any more): an empty status lets the writer take our old entries away.
        parents = tuple(_parent_status(attachment, compiled[key]) for attachment in found)
        route_statuses[key] = RouteStatus(generation_of(route), parents)
    backends = {backend for served in serves.values() for _, route in served for backend in _backends(route)}
    config = EnvoyConfig(
        virtual_hosts={name: list(_virtual_hosts(served)) for name, served in serves.items()},
        clusters={
            backend.cluster: tuple(locate(*address) for address in endpoints(objects, backend))
            for backend in sorted(backends)
        },
        attached={name: frozenset(route.key for _, route in served) for name, served in serves.items()},
    )
    statuses = Statuses(
        routes=route_statuses,
        gateways={key: _gateway_status(gateway, config) for key, gateway in gateways.items()},
        classes={
            key: ClassStatus(generation_of(item), (Condition("Accepted", True, "Accepted"),), tuple(sorted(features)))
            for key, item in objects.classes.items()
            if item.get("spec", {}).get("controllerName") == CONTROLLER_NAME
        },
    )
    return config, statuses


def _compile(objects: Objects, key: Key, route: Json, features: frozenset[str]) -> _CompiledRoute:
    created = route["metadata"].get("creationTimestamp") or ""
    refused = objects.refused.get(key, "")
    count = 0 if refused else len(route["spec"].get("rules") or [])
    return _CompiledRoute(key, created, [compile_rule(objects, route, i, features) for i in range(count)], refused)


def _backends(route: _CompiledRoute) -> Iterator[Backend]:
    for rule in route.rules:
        yield from rule.backends


def _virtual_hosts(served: list[tuple[str, _CompiledRoute]]) -> Iterator[Json]:
    """One virtual host per hostname; under it every route whose hostname covers it, the most specific first."""
    for hostname in sorted({hostname for hostname, _ in served}):
        candidates: dict[tuple[object, ...], Json] = {}
        for pattern, route in served:
            if not covers(pattern, hostname):
                continue
            specific = (0 if pattern == hostname else 1, -len(pattern))
            for rule in route.rules:
                for entry in rule.routes:
                    order = (*specific, *entry.precedence, route.created, *route.key, *entry.place)
                    candidates[order] = entry.body
        routes = [body for _, body in sorted(candidates.items(), key=lambda item: item[0])]
        yield {
            "name": hostname,
            "domains": [hostname],
            "routes": [*routes, {"match": {"prefix": "/"}, **answer(404)}],
        }


def _parent_status(attachment: Attachment, route: _CompiledRoute) -> ParentStatus:
    if attachment.reason:
        accepted = Condition("Accepted", False, attachment.reason, attachment.message)
    elif route.unsupported:
        accepted = Condition("Accepted", False, "UnsupportedValue", route.unsupported)
    else:
        accepted = Condition("Accepted", True, "Accepted")
    return ParentStatus(attachment.parent_ref, (accepted, route.resolved))


def _gateway_status(gateway: Json, config: EnvoyConfig) -> GatewayStatus:
    listeners = tuple(_listener_status(listener, config) for listener in listeners_of(gateway))
    served = any(listener.served for listener in listeners)
    if gateway["spec"].get("addresses"):
        accepted = Condition("Accepted", False, "UnsupportedAddress", "the sandbox chooses addresses itself")
    elif all(listener.served for listener in listeners):
        accepted = Condition("Accepted", True, "Accepted")
    else:
        accepted = Condition("Accepted", served, "ListenersNotValid", "not every listener can be served")
    programmed = (
        Condition("Programmed", True, "Programmed", "each listener's condition names its loopback port")
        if served
        else Condition("Programmed", False, "Invalid", "no listener can be served")
    )
    return GatewayStatus(generation_of(gateway), (accepted, programmed), listeners)


def _listener_status(listener: Listener, config: EnvoyConfig) -> ListenerStatus:
    attached = len(config.attached.get(listener.id, ()))
    resolved = Condition("ResolvedRefs", True, "ResolvedRefs")
    if listener.served:
        accepted = Condition("Accepted", True, "Accepted")
    elif listener.spec.get("protocol") != "HTTP":
        message = f"protocol {listener.spec.get('protocol')} is not supported by this gateway"
        accepted = Condition("Accepted", False, "UnsupportedProtocol", message)
    else:
        message = "only HTTPRoutes can attach to this gateway"
        accepted = Condition("Accepted", True, "Accepted", message)
        resolved = Condition("ResolvedRefs", False, "InvalidRouteKinds", message)
    no_conflict = Condition("Conflicted", False, "NoConflicts", "every listener has a loopback port of its own")
    conditions = (accepted, resolved, no_conflict)
    return ListenerStatus(listener.name, listener.id, listener.served, attached, conditions)
