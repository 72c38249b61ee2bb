"""How a preflight asks for what stands around a route. Whoever keeps the answers may not know, and then says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from canary.preflight.objects import Absence, Gateway, GatewayClass, Grant, Policy, labels_of, named, ports_of
from canary.preflight.offers import NOTHING_DECLARED, Platform
from canary.routes.acceptance import GATEWAY_API

Json = dict[str, Any]


class Surroundings(Protocol):
    """The objects around routes, in the form that a preflight looks at. Where one may not look, that says nothing."""

    @property
    def place(self) -> str:
        """Where one looks, for sentences (`these files`); empty for the cluster that one is part of."""
        ...

    @property
    def platform(self) -> Platform:
        """What the platform declares of its gateways."""
        ...

    def service(self, namespace: str, name: str) -> tuple[int, ...] | Absence:
        """The ports of a Service."""
        ...

    def gateway(self, kind: str, namespace: str, name: str) -> Gateway | Absence:
        """A parent by its kind, Gateway or ListenerSet."""
        ...

    def gateway_class(self, name: str) -> GatewayClass | Absence: ...

    def grants(self, namespace: str) -> Iterable[Grant] | None:
        """The ReferenceGrants of a namespace; None: nobody can tell."""
        ...

    def labels(self, namespace: str) -> Mapping[str, str] | None:
        """The labels of a namespace, its name among them as the API server sets it; None: nobody can tell."""
        ...

    def policies(self, namespace: str) -> Iterable[Policy] | None:
        """The policies that may be about routes of a namespace; None: nobody can tell."""
        ...


PARENTS = frozenset({"Gateway", "ListenerSet"})
GROUPS = {
    "Service": "",
    "Namespace": "",
    "Gateway": GATEWAY_API,
    "ListenerSet": GATEWAY_API,
    "GatewayClass": GATEWAY_API,
    "ReferenceGrant": GATEWAY_API,
}
"""The kinds that a preflight looks at, each with its API group."""

POLICY = "Policy"
"""What objects of all definitions are called together that are labelled as policies: there is no such kind."""
POLICY_LABEL = "gateway.networking.k8s.io/policy"
"""On the definitions of policies, by GEP-713."""

Place = tuple[str, str]
"""A kind, and the namespace in which all objects of it are known; empty: in every namespace, or it has none."""


class Documents:
    """Surroundings that were read once. `known`: kinds, by the namespace in which what is not given does not exist."""

    def __init__(
        self,
        documents: Iterable[Json] = (),
        known: Iterable[Place] = (),
        place: str = "",
        platform: Platform = NOTHING_DECLARED,
    ) -> None:
        self.place = place
        self.platform = platform
        self._known = frozenset(known)
        self._objects: dict[tuple[str, str, str], Json] = {}
        for document in documents:
            metadata = document.get("metadata") or {}
            key = str(document.get("kind")), str(metadata.get("namespace") or ""), str(metadata.get("name"))
            self._objects.setdefault(key, document)

    def service(self, namespace: str, name: str) -> tuple[int, ...] | Absence:
        found = self._objects.get(("Service", namespace, name))
        return ports_of(found) if found is not None else self._absence("Service", namespace)

    def gateway(self, kind: str, namespace: str, name: str) -> Gateway | Absence:
        found = self._objects.get((kind, namespace, name))
        return Gateway.read(found) if found is not None else self._absence(kind, namespace)

    def gateway_class(self, name: str) -> GatewayClass | Absence:
        found = self._objects.get(("GatewayClass", "", name))
        return GatewayClass.read(found) if found is not None else self._absence("GatewayClass", "")

    def grants(self, namespace: str) -> Iterable[Grant] | None:
        if self._absence("ReferenceGrant", namespace) is Absence.UNKNOWN:
            return None
        return [
            Grant.read(found)
            for (kind, place, _), found in self._objects.items()
            if (kind, place) == ("ReferenceGrant", namespace)
        ]

    def labels(self, namespace: str) -> Mapping[str, str] | None:
        found = self._objects.get(("Namespace", "", namespace))
        kept = labels_of(found) if found is not None else None
        return named(kept, namespace) if kept is not None else None

    def policies(self, namespace: str) -> Iterable[Policy] | None:
        if self._absence(POLICY, namespace) is Absence.UNKNOWN:
            return None
        return [Policy.read(found) for (kind, _, _), found in self._objects.items() if kind not in GROUPS]

    def _absence(self, kind: str, namespace: str) -> Absence:
        known = (kind, "") in self._known or (kind, namespace) in self._known
        return Absence.MISSING if known else Absence.UNKNOWN
