"""What a preflight looks at of the objects around a route, and nothing else of them: slim, so that a cluster's worth may be kept.

Parsed at the door and lenient: these objects are other people's, and one that makes no sense must trouble nobody.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from canary.preflight import selectors
from canary.preflight.selectors import Selector
from canary.routes.acceptance import GATEWAY_API

Json = dict[str, Any]

KINDS_OF: dict[str, frozenset[str]] = {
    "HTTP": frozenset({"HTTPRoute", "GRPCRoute"}),
    "HTTPS": frozenset({"HTTPRoute", "GRPCRoute"}),
    "TLS": frozenset({"TLSRoute", "TCPRoute"}),
    "TCP": frozenset({"TCPRoute"}),
    "UDP": frozenset({"UDPRoute"}),
}
"""The kinds of routes that a listener takes by its protocol, where it does not say which."""

VERSION_LABEL = "app.kubernetes.io/version"
"""Where the chart of an implementation says on its GatewayClass which version it is."""


class Absence(Enum):
    """Why there is no answer: the two must never be taken for each other."""

    MISSING = "it does not exist"
    UNKNOWN = "nobody may look, or nobody has looked"


@dataclass(frozen=True, slots=True)
class Namespaces:
    """From which namespaces something is taken: Same, All, Selector or None; other words are of a later version."""

    of: str
    selector: Selector | None = None
    """For Selector; None: nobody can tell what it means."""

    @classmethod
    def read(cls, document: Any, default: Namespaces) -> Namespaces:
        """The member `namespaces` of `allowedRoutes` or `allowedListeners`."""
        said = _dict(_dict(document).get("namespaces"))
        of = sys.intern(str(said.get("from") or default.of))
        return (
            cls(of, selectors.read(said.get("selector")) if of == "Selector" else None) if of != default.of else default
        )


SAME, NONE = Namespaces("Same"), Namespaces("None")


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of a Gateway or ListenerSet. `kinds` None: whatever its protocol takes, which is known of none of ours."""

    name: str
    port: int
    hostname: str = ""
    """Empty: any."""
    takes: Namespaces = SAME
    """Whose routes it takes."""
    kinds: frozenset[str] | None = None

    @property
    def label(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A Gateway, or a ListenerSet (of which the class is its Gateway's)."""

    listeners: tuple[Listener, ...] = ()
    gateway_class: str = ""
    of: tuple[str, str] | None = None
    """Namespace and name of the Gateway that a ListenerSet is of; None: it is a Gateway."""
    takes_sets: Namespaces = NONE
    """Whose ListenerSets a Gateway takes."""

    @classmethod
    def read(cls, document: Json) -> Gateway:
        spec = _dict(document.get("spec"))
        listeners = tuple(_listener(item) for item in _dicts(spec.get("listeners")))
        takes_sets = Namespaces.read(spec.get("allowedListeners"), NONE)
        return cls(
            listeners, sys.intern(str(spec.get("gatewayClassName") or "")), _gateway_of(document, spec), takes_sets
        )


@dataclass(frozen=True, slots=True)
class GatewayClass:
    """A GatewayClass. `features` None: it publishes none."""

    controller: str = ""
    version: str = ""
    """Of the implementation, where a label says it."""
    features: frozenset[str] | None = None

    @classmethod
    def read(cls, document: Json) -> GatewayClass:
        published = _dict(document.get("status")).get("supportedFeatures")
        # Objects since v1.1 of the Gateway API, plain strings before.
        names = (
            [item.get("name") if isinstance(item, dict) else item for item in published]
            if isinstance(published, list)
            else []
        )
        labels = _dict(_dict(document.get("metadata")).get("labels"))
        return cls(
            controller=str(_dict(document.get("spec")).get("controllerName") or ""),
            version=str(labels.get(VERSION_LABEL) or "").removeprefix("v"),
            features=frozenset(sys.intern(str(name)) for name in names if name) or None,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A part of an object that a policy is about. `name` empty: of any of the kind, since a selector says which."""

    kind: str
    namespace: str
    name: str
    section: str


@dataclass(frozen=True, slots=True)
class Policy:
    """An object of a definition that is labelled as a policy: only what it targets by the name of a part."""

    kind: str
    namespace: str
    name: str
    targets: tuple[Target, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"

    @classmethod
    def read(cls, document: Json) -> Policy:
        metadata, spec = _dict(document.get("metadata")), _dict(document.get("spec"))
        namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
        named = [*_dicts(spec.get("targetRefs")), _dict(spec.get("targetRef"))]
        selected = [{**item, "name": ""} for item in _dicts(spec.get("targetSelectors"))]
        targets = (_target(item, namespace) for item in (*named, *selected) if item.get("sectionName"))
        return cls(str(document.get("kind") or "policy"), namespace, name, tuple(targets))

    def targets_rule(self, kind: str, namespace: str, route: str, rule: str) -> bool:
        """Whether it is about one rule of a route."""
        return any(
            (target.kind, target.section) == (kind, rule)
            and target.name in {"", route}
            and target.namespace in {"", namespace}
            for target in self.targets
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """A ReferenceGrant, as far as it lets routes name Services. `services` None: all of its namespace."""

    sources: frozenset[tuple[str, str]]
    """(kind, namespace) of the routes."""
    services: frozenset[str] | None

    @classmethod
    def read(cls, document: Json) -> Grant:
        spec = _dict(document.get("spec"))
        sources = frozenset(
            (str(item.get("kind")), str(item.get("namespace")))
            for item in _dicts(spec.get("from"))
            if item.get("group") == GATEWAY_API
        )
        names = [
            item.get("name")
            for item in _dicts(spec.get("to"))
            if not item.get("group") and item.get("kind") == "Service"
        ]
        return cls(sources, frozenset(map(str, filter(None, names))) if all(names) else None)

    def lets(self, kind: str, source: str, service: str) -> bool:
        """Whether routes of a kind in namespace `source` may name a Service of the grant's namespace."""
        return (kind, source) in self.sources and (self.services is None or service in self.services)


def sources_of(before: Grant | None, after: Grant | None) -> frozenset[str]:
    """The namespaces whose routes may name something else than before, since a grant is another one (None: is not there)."""
    there = [grant for grant in (before, after) if grant is not None]
    same = before is not None and after is not None and before.services == after.services
    sources = (
        before.sources ^ after.sources if same and before and after else {of for each in there for of in each.sources}
    )
    return frozenset(namespace for _, namespace in sources)


MOST_LABELS = 64
"""Labels of a namespace that are kept; one that has more is as good as not seen."""
NAME_LABEL = "kubernetes.io/metadata.name"
"""Every namespace has its name as this label; so it is not kept."""

Labels = tuple[tuple[str, str], ...]


def labels_of(namespace: Json) -> Labels | None:
    """The labels of a namespace but for its name; many have the same few, and those are kept once. None: too many to keep."""
    labels = _dict(_dict(namespace.get("metadata")).get("labels"))
    if len(labels) > MOST_LABELS:
        return None
    kept = ((sys.intern(str(name)), sys.intern(str(value))) for name, value in labels.items() if name != NAME_LABEL)
    return _labels(tuple(sorted(kept)))


def named(labels: Labels, namespace: str) -> dict[str, str]:
    """The labels of a namespace with its name."""
    return {**dict(labels), NAME_LABEL: namespace}


@lru_cache(4096)
def _labels(labels: Labels) -> Labels:
    return labels


def ports_of(service: Json) -> tuple[int, ...]:
    """The ports of a Service; few lists of them are different, and those that are alike are one."""
    ports = (item.get("port") for item in _dicts(_dict(service.get("spec")).get("ports")))
    return _shared(tuple(port for port in ports if isinstance(port, int)))


@lru_cache(4096)
def _shared(ports: tuple[int, ...]) -> tuple[int, ...]:
    return ports


def _listener(item: Json) -> Listener:
    allowed = _dict(item.get("allowedRoutes"))
    port = item.get("port")
    return Listener(
        name=str(item.get("name") or ""),
        port=port if isinstance(port, int) else 0,
        hostname=str(item.get("hostname") or "").lower(),
        takes=Namespaces.read(allowed, SAME),
        kinds=_kinds(_dicts(allowed.get("kinds")), str(item.get("protocol") or "")),
    )


def _gateway_of(document: Json, spec: Json) -> tuple[str, str] | None:
    """The Gateway of a ListenerSet, which a Gateway has none of."""
    ref = spec.get("parentRef")
    if not isinstance(ref, dict):
        return None
    home = _dict(document.get("metadata")).get("namespace")
    return sys.intern(str(ref.get("namespace") or home or "")), sys.intern(str(ref.get("name") or ""))


def _kinds(declared: Iterable[Json], protocol: str) -> frozenset[str] | None:
    named = frozenset(str(item.get("kind")) for item in declared if (item.get("group") or GATEWAY_API) == GATEWAY_API)
    return named if declared else KINDS_OF.get(protocol)


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _target(item: Json, namespace: str) -> Target:
    where = str(item.get("namespace") or namespace)
    return Target(str(item.get("kind") or ""), where, str(item.get("name") or ""), str(item["sectionName"]))
