"""What a route is known by: its kind, namespace and name. Two routes of one name and different kinds are two routes."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, Protocol

from canary.model.rollout import RouteKind

Json = dict[str, Any]


class Named(Protocol):
    """What names a route of a Rollout's own namespace: a `RouteRef` of a spec, a `RouteStatus`."""

    @property
    def kind(self) -> RouteKind: ...

    @property
    def name(self) -> str: ...


_HTTP = (RouteKind.HTTP.value, None, "")


class RouteKey(NamedTuple):
    """The identity of a route; hashable, and ordered by kind, namespace and name."""

    kind: RouteKind
    namespace: str
    name: str

    @classmethod
    def of(cls, named: Named, namespace: str) -> RouteKey:
        """The route that a Rollout of a namespace refers to, or remembers."""
        return cls(named.kind, namespace, named.name)

    def is_of(self, named: Named) -> bool:
        """Whether this is the route that a Rollout of the same namespace names so."""
        return (self.kind, self.name) == (named.kind, named.name)

    @classmethod
    def read(cls, document: Json) -> RouteKey:
        """The key of a route document. One that does not say its kind, as in a list, is an HTTPRoute.

        Raises:
            ValueError: it is of a kind that no Rollout may name.

        """
        metadata = document.get("metadata", {})
        namespace, name = sys.intern(metadata.get("namespace", "")), sys.intern(metadata.get("name", ""))
        kind = document.get("kind")
        return cls(RouteKind.HTTP if kind in _HTTP else RouteKind(kind), namespace, name)

    @property
    def label(self) -> str:
        """What people call it: kind and name."""
        return f"{self.kind} {self.name}"
