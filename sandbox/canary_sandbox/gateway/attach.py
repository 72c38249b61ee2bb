"""Which listeners a route attaches to: parentRefs, allowedRoutes, and where the hostnames meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from canary_sandbox.gateway.objects import GATEWAY_GROUP, Json, Key, Objects

CONTROLLER_NAME = "canary.dev/sandbox-envoy"
SUPPORTED_PROTOCOL = "HTTP"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of one of our Gateways. Envoy knows it by `id`: `namespace/gateway/listener`."""

    gateway: Key
    spec: Json

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def id(self) -> str:
        return f"{self.gateway[0]}/{self.gateway[1]}/{self.name}"

    @property
    def served(self) -> bool:
        return self.spec.get("protocol") == SUPPORTED_PROTOCOL and self._allows_kind()

    def _allows_kind(self) -> bool:
        kinds = (self.spec.get("allowedRoutes") or {}).get("kinds") or [{"kind": "HTTPRoute"}]
        return any(
            kind.get("kind") == "HTTPRoute" and (kind.get("group") or GATEWAY_GROUP) == GATEWAY_GROUP for kind in kinds
        )


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
    return tuple(Listener((meta["namespace"], meta["name"]), spec) for spec in gateway["spec"].get("listeners") or [])


def attachments(objects: Objects, gateways: dict[Key, Json], route: Json) -> Iterator[Attachment]:
    """One Attachment per parentRef that names one of our Gateways; other parents are other controllers' business."""
    namespace = route["metadata"]["namespace"]
    for ref in route["spec"].get("parentRefs") or []:
        if (ref.get("group") or GATEWAY_GROUP, ref.get("kind") or "Gateway") != (GATEWAY_GROUP, "Gateway"):
            continue
        key = (ref.get("namespace") or namespace, ref["name"])
        gateway = gateways.get(key)
        if gateway is not None:
            yield _attach(objects, gateway, key, route, ref)


def _attach(objects: Objects, gateway: Json, key: Key, route: Json, ref: Json) -> Attachment:
    candidates = [
        listener
        for listener in listeners_of(gateway)
        if ref.get("sectionName") in (None, listener.name) and ref.get("port") in (None, listener.spec["port"])
    ]
    if not candidates:
        return Attachment(
            ref, key, reason="NoMatchingParent", message=f"Gateway {key[0]}/{key[1]} has no such listener"
        )
    allowed = [item for item in candidates if item.served and _allows(objects, item, route["metadata"]["namespace"])]
    if not allowed:
        return Attachment(
            ref, key, reason="NotAllowedByListeners", message=f"no listener of {key[0]}/{key[1]} allows this route"
        )
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
