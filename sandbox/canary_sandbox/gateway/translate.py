"""Kubernetes objects → what Envoy shall run, and what to say about each object. Pure: no clock, no network, no Envoy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from canary_sandbox.addresses import Address, Locate, as_written
from canary_sandbox.gateway.attach import (
    CONTROLLER_NAME,
    SERVED,
    Attachment,
    Listener,
    attachments,
    covers,
    listeners_of,
    our_gateways,
)
from canary_sandbox.gateway.conflicts import Claim, settle
from canary_sandbox.gateway.lies import Lie, lies_of
from canary_sandbox.gateway.objects import Backend, Json, Objects, RouteKey, endpoints, generation_of
from canary_sandbox.gateway.rules import CompiledRule, Scope, answer, compile_rule, compile_shares
from canary_sandbox.gateway.statuses import (
    ClassStatus,
    Condition,
    GatewayStatus,
    ListenerStatus,
    ParentStatus,
    RouteStatus,
    Statuses,
)
from canary_sandbox.gateway.streams import Stream, stream

FEATURES = frozenset(
    {
        "GRPCRoute",
        "GRPCRouteNamedRouteRule",
        "Gateway",
        "HTTPRoute",
        "HTTPRouteBackendProtocolH2C",
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
        "TCPRoute",
        "TLSRoute",
        "UDPRoute",
    }
)
"""What the GatewayClass promises in `status.supportedFeatures`."""


@dataclass(frozen=True, slots=True)
class EnvoyConfig:
    """What Envoy shall run: by listener id virtual hosts (HTTP) or a stream (TCP, TLS, UDP), and endpoints by cluster name."""

    virtual_hosts: Mapping[str, list[Json]] = field(default_factory=dict)
    streams: Mapping[str, Stream] = field(default_factory=dict)
    clusters: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    backends: frozenset[Backend] = frozenset()
    """What the clusters stand for."""
    attached: Mapping[str, frozenset[RouteKey]] = field(default_factory=dict)
    """The routes that each listener serves: whom to blame when Envoy refuses its routes."""


@dataclass(slots=True)
class _CompiledRoute:
    key: RouteKey
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


@dataclass(slots=True)
class _Served:
    """What came together at one listener: who attached, who got which hostnames of it, and who got none, and why."""

    listener: Listener
    claims: list[tuple[Claim, _CompiledRoute]] = field(default_factory=list)
    won: list[tuple[str, _CompiledRoute]] = field(default_factory=list)
    lost: dict[RouteKey, str] = field(default_factory=dict)

    def settle(self) -> None:
        compiled = {claim.key: route for claim, route in self.claims}
        for claim, why in settle(self.listener.protocol, _merged(claim for claim, _ in self.claims)):
            self.won += [(hostname, compiled[claim.key]) for hostname in claim.hostnames]
            if why:
                self.lost[claim.key] = why


def _merged(claims: Iterator[Claim]) -> list[Claim]:
    """One claim per route: it may have come by several parentRefs."""
    merged: dict[RouteKey, Claim] = {}
    for claim in claims:
        before = merged.get(claim.key, claim)
        hostnames = tuple(dict.fromkeys((*before.hostnames, *claim.hostnames)))
        merged[claim.key] = Claim(claim.key, claim.created, hostnames)
    return list(merged.values())


def translate(
    objects: Objects, features: frozenset[str] = FEATURES, locate: Locate = as_written
) -> tuple[EnvoyConfig, Statuses]:
    """Translate a snapshot. With fewer `features` the gateway acts as one that can do less, and says so.

    `locate` says where the endpoints of EndpointSlices really listen.
    """
    gateways = our_gateways(objects)
    lies = {key: _lies(objects, gateway) for key, gateway in gateways.items()}
    served = {
        listener.id: _Served(listener)
        for gateway in gateways.values()
        for listener in listeners_of(gateway)
        if listener.served
    }
    found: dict[RouteKey, list[tuple[Attachment, _CompiledRoute]]] = {}
    for key, route in sorted(objects.routes.items()):
        compiled: dict[frozenset[Lie], _CompiledRoute] = {}
        found[key] = []
        for attachment in attachments(objects, gateways, key[0], route):
            told = lies[attachment.gateway]
            if told not in compiled:
                compiled[told] = _compile(Scope(objects, key[0], route, features, told), key)
            found[key].append((attachment, compiled[told]))
            for listener, hostnames in attachment.hostnames:
                claim = Claim(key, compiled[told].created, hostnames)
                served[listener.id].claims.append((claim, compiled[told]))
    for item in served.values():
        item.settle()
    config = _config(objects, served, locate)
    statuses = Statuses(
        # No parent of ours (any more): an empty status lets the writer take our old entries away.
        routes={
            key: RouteStatus(
                generation_of(objects.routes[key]),
                tuple(_parent_status(attachment, route, served) for attachment, route in parents),
            )
            for key, parents in found.items()
        },
        gateways={key: _gateway_status(gateway, served) for key, gateway in gateways.items()},
        classes={
            key: _class_status(item, features)
            for key, item in objects.classes.items()
            if item.get("spec", {}).get("controllerName") == CONTROLLER_NAME
        },
    )
    return config, statuses


def _lies(objects: Objects, gateway: Json) -> frozenset[Lie]:
    try:
        return lies_of(objects.classes["", gateway["spec"]["gatewayClassName"]])
    except ValueError:  # the class says so, and until it is put right its Gateways are honest
        return frozenset()


def _compile(scope: Scope, key: RouteKey) -> _CompiledRoute:
    created = scope.route["metadata"].get("creationTimestamp") or ""
    refused = scope.objects.refused.get(key, "")
    if scope.kind not in scope.features:
        refused = f"{scope.kind} not supported by this gateway"
    rules: list[Json] = [] if refused else scope.route["spec"].get("rules") or []
    if scope.kind in ("HTTPRoute", "GRPCRoute"):
        return _CompiledRoute(key, created, [compile_rule(scope, index) for index in range(len(rules))], refused)
    if len(rules) > 1:  # nothing in them says which connection is whose
        refused, rules = f"{scope.kind} with more than one rule not supported by this gateway", []
    return _CompiledRoute(key, created, [compile_shares(scope, index) for index in range(len(rules))], refused)


def _config(objects: Objects, served: Mapping[str, _Served], locate: Locate) -> EnvoyConfig:
    http = {name: item for name, item in served.items() if item.listener.protocol == "HTTP"}
    backends = frozenset(
        backend
        for item in served.values()
        for _, route in item.won
        for rule in route.rules
        for backend in rule.backends
    )
    return EnvoyConfig(
        virtual_hosts={name: list(_virtual_hosts(item.won)) for name, item in http.items()},
        streams={
            name: stream(item.listener.protocol, [(host, _shares(route)) for host, route in item.won])
            for name, item in served.items()
            if name not in http
        },
        clusters={
            backend.cluster: tuple(locate(*address) for address in endpoints(objects, backend))
            for backend in sorted(backends)
        },
        backends=backends,
        attached={name: frozenset(route.key for _, route in item.won) for name, item in served.items()},
    )


def _shares(route: _CompiledRoute) -> tuple[tuple[str, int], ...]:
    return next((rule.shares for rule in route.rules), ())


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


def _parent_status(attachment: Attachment, route: _CompiledRoute, served: Mapping[str, _Served]) -> ParentStatus:
    lost = [served[listener.id].lost.get(route.key) for listener, _ in attachment.hostnames]
    if attachment.reason:
        accepted = Condition("Accepted", False, attachment.reason, attachment.message)
    elif route.unsupported:
        accepted = Condition("Accepted", False, "UnsupportedValue", route.unsupported)
    elif lost[0] and all(lost):
        accepted = Condition("Accepted", False, "Conflicted", lost[0])
    else:
        accepted = Condition("Accepted", True, "Accepted")
    return ParentStatus(attachment.parent_ref, (accepted, route.resolved))


def _class_status(item: Json, features: frozenset[str]) -> ClassStatus:
    published: tuple[str, ...] | None = tuple(sorted(features))
    accepted = Condition("Accepted", True, "Accepted")
    try:
        if Lie.FEATURES_NOT_PUBLISHED in lies_of(item):
            published = None
    except ValueError as error:
        known = ", ".join(Lie)
        accepted = Condition("Accepted", False, "InvalidParameters", f"{error}; known are {known}")
    return ClassStatus(generation_of(item), (accepted,), published)


def _gateway_status(gateway: Json, served: Mapping[str, _Served]) -> GatewayStatus:
    all_listeners = listeners_of(gateway)
    listeners = tuple(_listener_status(listener, served.get(listener.id)) for listener in all_listeners)
    some = any(listener.served for listener in all_listeners)
    if gateway["spec"].get("addresses"):
        accepted = Condition("Accepted", False, "UnsupportedAddress", "the sandbox chooses addresses itself")
    elif all(listener.served for listener in all_listeners):
        accepted = Condition("Accepted", True, "Accepted")
    else:
        refused = ", ".join(listener.name for listener in all_listeners if not listener.served)
        accepted = Condition("Accepted", some, "ListenersNotValid", f"not served: {refused}")
    programmed = (
        Condition("Programmed", True, "Programmed", "each listener's condition names its loopback port")
        if some
        else Condition("Programmed", False, "Invalid", "no listener can be served")
    )
    return GatewayStatus(generation_of(gateway), (accepted, programmed), listeners)


def _listener_status(listener: Listener, served: _Served | None) -> ListenerStatus:
    attached = len({claim.key for claim, _ in served.claims}) if served else 0
    resolved = Condition("ResolvedRefs", True, "ResolvedRefs")
    conflicted = Condition("Conflicted", False, "NoConflicts", "every listener has a loopback port of its own")
    accepted = Condition("Accepted", True, "Accepted")
    if listener.conflicts:
        message = f"another listener has port {listener.spec['port']} with another protocol"
        conflicted = Condition("Conflicted", True, "ProtocolConflict", message)
        accepted = Condition("Accepted", False, "ProtocolConflict", message)
    elif not listener.supported:
        what = "TLS that ends here" if listener.protocol == "TLS" else f"protocol {listener.protocol}"
        accepted = Condition("Accepted", False, "UnsupportedProtocol", f"{what} is not supported by this gateway")
    elif listener.lists_other_kinds:
        possible = " and ".join(f"{kind}s" for kind in SERVED[listener.protocol])
        message = f"only {possible} can attach to a listener of protocol {listener.protocol}"
        resolved = Condition("ResolvedRefs", False, "InvalidRouteKinds", message)
    return ListenerStatus(
        listener.name, listener.id, listener.served, attached, (accepted, resolved, conflicted), listener.kinds
    )
