"""Which listeners a route attaches to: parentRefs, allowedRoutes, and where the hostnames meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from canary_sandbox.gateway.objects import GATEWAY_GROUP, Json, Key, Objects

CONTROLLER_NAME = "canary.dev/sandbox-envoy"
SERVED = {"HTTP": ("HTTPRoute", "GRPCRoute"), "TCP": ("TCPRoute",), "TLS": ("TLSRoute",), "UDP": ("UDPRoute",)}
"""The kinds of routes that attach to a listener, by its protocol; other protocols are not served."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of one of our Gateways. Envoy knows it by `id`: `namespace/gateway/listener`."""

    gateway: Key
    spec: Json
    conflicts: bool = False
    """Another listener of the Gateway names the same port with another protocol: neither may be served."""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def id(self) -> str:
        return f"{self.gateway[0]}/{self.gateway[1]}/{self.name}"

    @property
    def protocol(self) -> str:
        return str(self.spec.get("protocol"))

    @property
    def supported(self) -> bool:
        """Whether this gateway can serve its protocol; TLS as it is, without ending it."""
        return self.protocol in SERVED and (self.protocol != "TLS" or self._passes_tls_through())

    def _passes_tls_through(self) -> bool:
        return (self.spec.get("tls") or {}).get("mode") == "Passthrough"

    @property
    def served(self) -> bool:
        return self.supported and not self.conflicts and bool(self.kinds)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of routes that may attach: those of its protocol, or those of them that it lists."""
        possible, listed = SERVED.get(self.protocol, ()), self._listed()
        return tuple(kind for kind in possible if not listed or (GATEWAY_GROUP, kind) in listed)

    @property
    def lists_other_kinds(self) -> bool:
        """Whether it lists a kind that cannot attach to it."""
        return any(group != GATEWAY_GROUP or kind not in self.kinds for group, kind in self._listed())

    def _listed(self) -> frozenset[tuple[str, str]]:
        kinds = (self.spec.get("allowedRoutes") or {}).get("kinds") or []
        return frozenset((kind.get("group") or GATEWAY_GROUP, kind["kind"]) for kind in kinds)


@dataclass(frozen=True, slots=True)
class Attachment:
    """What one parentRef of one route came to: hostnames per listener, or the reason why not."""

    parent_ref: Json
    gateway: Key
    hostnames: tuple[tuple[Listener, tuple[str, ...]], ...] = ()
    reason: str = ""
    message: str = ""


def our_gateways(objects: Objects) -> dict[Key, Json]:
    """The Gateways whose class names this controller."""
    classes = {
        key[1] for key, item in objects.classes.items() if item.get("spec", {}).get("controllerName") == CONTROLLER_NAME
    }
    return {
        key: gateway for key, gateway in objects.gateways.items() if gateway["spec"].get("gatewayClassName") in classes
    }


def listeners_of(gateway: Json) -> tuple[Listener, ...]:
    """The listeners of a Gateway, in the order of its spec."""
    meta = gateway["metadata"]
    specs: list[Json] = gateway["spec"].get("listeners") or []
    return tuple(Listener((meta["namespace"], meta["name"]), spec, _conflicts(spec, specs)) for spec in specs)


def _conflicts(spec: Json, specs: list[Json]) -> bool:
    """By the API, which lets none of them win; UDP ports are other ports."""
    protocols = {item.get("protocol") for item in specs if item.get("port") == spec.get("port")} - {"UDP"}
    return spec.get("protocol") != "UDP" and len(protocols) > 1


def attachments(objects: Objects, gateways: dict[Key, Json], kind: str, route: Json) -> Iterator[Attachment]:
    """One Attachment per parentRef that names one of our Gateways; other parents are other controllers' business."""
    namespace = route["metadata"]["namespace"]
    for ref in route["spec"].get("parentRefs") or []:
        if (ref.get("group") or GATEWAY_GROUP, ref.get("kind") or "Gateway") != (GATEWAY_GROUP, "Gateway"):
            continue
        key = (ref.get("namespace") or namespace, ref["name"])
        gateway = gateways.get(key)
        if gateway is not None:
            yield _attach(objects, gateway, kind, route, ref)


def _attach(objects: Objects, gateway: Json, kind: str, route: Json, ref: Json) -> Attachment:
    key = (gateway["metadata"]["namespace"], gateway["metadata"]["name"])
    candidates = [
        listener
        for listener in listeners_of(gateway)
        if ref.get("sectionName") in (None, listener.name) and ref.get("port") in (None, listener.spec["port"])
    ]
    if not candidates:
        return Attachment(
            ref, key, reason="NoMatchingParent", message=f"Gateway {key[0]}/{key[1]} has no such listener"
        )
    namespace = route["metadata"]["namespace"]
    allowed = [item for item in candidates if item.served and kind in item.kinds and _allows(objects, item, namespace)]
    if not allowed:
        message = f"no listener of {key[0]}/{key[1]} allows this {kind}"
        return Attachment(ref, key, reason="NotAllowedByListeners", message=message)
    wanted = tuple(route["spec"].get("hostnames") or ())
    meets = tuple((item, common_hostnames(item.spec.get("hostname"), wanted)) for item in allowed)
    meets = tuple((item, names) for item, names in meets if names)
    if not meets:
        return Attachment(
            ref,
            key,
            reason="NoMatchingListenerHostname",
            message="no hostname of the route meets a listener's hostname",
        )
    return Attachment(ref, key, hostnames=meets)


def _allows(objects: Objects, listener: Listener, namespace: str) -> bool:
    rule = (listener.spec.get("allowedRoutes") or {}).get("namespaces") or {}
    match rule.get("from") or "Same":
        case "All":
            return True
        case "Same":
            return namespace == listener.gateway[0]
        case "Selector":
            labels = (objects.namespaces.get(("", namespace)) or {"metadata": {}})["metadata"].get("labels") or {}
            return selects(rule.get("selector") or {}, labels)
        case _:
            return False


def selects(selector: Json, labels: dict[str, str]) -> bool:
    """Whether a LabelSelector matches; an empty one matches everything."""
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or []:
        present, values = term["key"] in labels, term.get("values") or []
        inside = present and labels[term["key"]] in values
        verdict = {"In": inside, "NotIn": not inside, "Exists": present, "DoesNotExist": not present}
        if not verdict.get(term["operator"], False):
            return False
    return True


def common_hostnames(listener: str | None, route: tuple[str, ...]) -> tuple[str, ...]:
    """Where a listener's hostname and a route's hostnames meet; "*" stands for every host."""
    if not listener:
        return route or ("*",)
    if not route:
        return (listener,)
    narrower = (_narrower(listener, hostname) for hostname in route)
    return tuple(dict.fromkeys(name for name in narrower if name))


def _narrower(one: str, other: str) -> str:
    if one == other:
        return one
    if covers(one, other):
        return other
    return one if covers(other, one) else ""


def covers(pattern: str, hostname: str) -> bool:
    """Whether every host that `hostname` stands for also matches `pattern`."""
    if pattern in ("*", hostname):
        return True
    return pattern.startswith("*.") and hostname.removeprefix("*").endswith(pattern[1:])
