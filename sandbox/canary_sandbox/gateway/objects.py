"""What the gateway reads, as one frozen snapshot, and how a backendRef finds its Service in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from canary_sandbox.addresses import Address

Json = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name)"""
RouteKey = tuple[str, str, str]
"""(kind, namespace, name): an HTTPRoute and a GRPCRoute of one name are two routes."""

GATEWAY_GROUP = "gateway.networking.k8s.io"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute")
H2C = "kubernetes.io/h2c"
_HTTP1 = (None, "", "http")


def key_of(obj: Json) -> Key:
    """(namespace, name) of an object; the namespace is "" for cluster-scoped ones."""
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


def generation_of(obj: Json) -> int:
    """The generation of the spec; 0 for objects that never went through an API server."""
    return int(obj["metadata"].get("generation", 0))


@dataclass(frozen=True, slots=True)
class Objects:
    """Everything a translation looks at. `refused` names routes that Envoy itself would not load, and why."""

    classes: Mapping[Key, Json] = field(default_factory=dict)
    gateways: Mapping[Key, Json] = field(default_factory=dict)
    routes: Mapping[RouteKey, Json] = field(default_factory=dict)
    services: Mapping[Key, Json] = field(default_factory=dict)
    slices: Mapping[Key, Json] = field(default_factory=dict)
    grants: Mapping[Key, Json] = field(default_factory=dict)
    namespaces: Mapping[Key, Json] = field(default_factory=dict)
    refused: Mapping[RouteKey, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *documents: Json) -> Self:
        """Sort plain manifests into a snapshot; kinds the gateway does not read are left out."""
        found = cls()
        for document in documents:
            if (kind := document["kind"]) in ROUTE_KINDS:
                found = replace(found, routes={**found.routes, (kind, *key_of(document)): document})
            elif attribute := KINDS.get(kind):
                sort = {**getattr(found, attribute), key_of(document): document}
                found = replace(found, **{attribute: sort})
        return found


KINDS = {
    "GatewayClass": "classes",
    "Gateway": "gateways",
    "Service": "services",
    "EndpointSlice": "slices",
    "ReferenceGrant": "grants",
    "Namespace": "namespaces",
}


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """One port of one Service: the unit that gets weight, and the unit that is measured.

    `http2`: it is spoken to in HTTP/2 with prior knowledge, without TLS. `udp`: it is sent datagrams; a Service may have a port of
    each protocol under one number.
    """

    namespace: str
    service: str
    port: int
    http2: bool = False
    udp: bool = False

    @property
    def measured_as(self) -> str:
        """Its name in statistics, whatever it is spoken to in; no part contains a slash, so it can be taken apart."""
        return f"{self.namespace}/{self.service}/{self.port}"

    @property
    def cluster(self) -> str:
        """The Envoy cluster's name: a port that two kinds of routes speak to differently is two clusters."""
        if self.udp:
            return f"{self.measured_as}/udp"
        return f"{self.measured_as}/h2c" if self.http2 else self.measured_as


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A backendRef that leads nowhere: `reason` is one of the Gateway API's reasons for ResolvedRefs=False."""

    reason: str
    message: str


def resolve(objects: Objects, kind: str, route: Json, ref: Json) -> Backend | Unresolved:
    """Find the Service port that a backendRef of `route` names; `kind` is the route's."""
    route_namespace = route["metadata"]["namespace"]
    group, backend_kind = ref.get("group") or "", ref.get("kind") or "Service"
    if (group, backend_kind) != ("", "Service"):
        return Unresolved(
            "InvalidKind", f"backendRef kind {group or 'core'}/{backend_kind} is not supported, only core/Service"
        )
    namespace, name, port = ref.get("namespace") or route_namespace, ref["name"], ref.get("port")
    if namespace != route_namespace and not _granted(objects, kind, route_namespace, namespace, name):
        return Unresolved(
            "RefNotPermitted",
            f"no ReferenceGrant in {namespace} lets {kind}s of {route_namespace} refer to Service {name}",
        )
    service = objects.services.get((namespace, name))
    if service is None:
        return Unresolved("BackendNotFound", f"Service {namespace}/{name} does not exist")
    if port is None:
        return Unresolved("BackendNotFound", f"backendRef to Service {namespace}/{name} names no port")
    udp = kind == "UDPRoute"
    declared = _service_port(service, int(port), udp=udp)
    if declared is None:
        of = " of protocol UDP" if udp else ""
        return Unresolved("BackendNotFound", f"Service {namespace}/{name} has no port {port}{of}")
    protocol = declared.get("appProtocol")
    match kind:
        case "UDPRoute":
            return Backend(namespace, name, int(port), udp=True)
        case "TCPRoute" | "TLSRoute":
            return Backend(namespace, name, int(port))
        case "GRPCRoute" if protocol in (*_HTTP1, H2C):  # gRPC is HTTP/2, whether the Service says so or not
            return Backend(namespace, name, int(port), http2=True)
        case "HTTPRoute" if protocol in (*_HTTP1, H2C):
            return Backend(namespace, name, int(port), http2=protocol == H2C)
        case _:
            said = f"Service {namespace}/{name}: appProtocol {protocol} is not supported"
            return Unresolved("UnsupportedProtocol", said)


def _service_port(service: Json, port: int, *, udp: bool) -> Json | None:
    ports: list[Json] = service.get("spec", {}).get("ports") or []
    fitting = (declared for declared in ports if (declared.get("protocol") == "UDP") is udp)
    return next((declared for declared in fitting if declared["port"] == port), None)


def _granted(objects: Objects, kind: str, route_namespace: str, namespace: str, service: str) -> bool:
    for grant in objects.grants.values():
        if grant["metadata"]["namespace"] != namespace:
            continue
        spec = grant.get("spec", {})
        comes_from = any(
            origin.get("group") == GATEWAY_GROUP
            and origin.get("kind") == kind
            and origin.get("namespace") == route_namespace
            for origin in spec.get("from", [])
        )
        leads_to = any(
            (target.get("group") or "") == ""
            and target.get("kind") == "Service"
            and (target.get("name") or service) == service
            for target in spec.get("to", [])
        )
        if comes_from and leads_to:
            return True
    return False


def endpoints(objects: Objects, backend: Backend) -> tuple[Address, ...]:
    """The ready endpoints of a Service port, in a stable order."""
    service = objects.services.get((backend.namespace, backend.service))
    declared = _service_port(service, backend.port, udp=backend.udp) if service else None
    if declared is None:
        return ()
    return tuple(sorted(set(_ready(objects, backend, declared.get("name") or ""))))


def _ready(objects: Objects, backend: Backend, port_name: str) -> Iterator[Address]:
    for piece in objects.slices.values():
        meta = piece["metadata"]
        if meta.get("namespace") != backend.namespace:
            continue
        if (meta.get("labels") or {}).get(SERVICE_NAME_LABEL) != backend.service:
            continue
        ports = [port["port"] for port in piece.get("ports") or [] if (port.get("name") or "") == port_name]
        for endpoint in piece.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            # The API: a missing `ready` means ready.
            if conditions.get("ready", True) is not False and not conditions.get("terminating"):
                for port in ports:
                    yield endpoint["addresses"][0], int(port)
