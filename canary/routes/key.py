"""What a route is known by: its kind, namespace and name. Two routes of one name and different kinds are two routes."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from canary.model.rollout import RouteKind, RouteRef

Json = dict[str, Any]


class RouteKey(NamedTuple):
    """The identity of a route; hashable, and ordered by kind, namespace and name."""

    kind: RouteKind
    namespace: str
    name: str

    @classmethod
    def of(cls, ref: RouteRef, namespace: str) -> RouteKey:
        """The route that a Rollout of a namespace refers to."""
        return cls(ref.kind, namespace, ref.name)

    @classmethod
    def read(cls, document: Json) -> RouteKey:
        """The key of a route document. One that does not say its kind, as in a list, is an HTTPRoute.

        Raises:
            ValueError: it is of a kind that no Rollout may name.

        """
        metadata = document.get("metadata", {})
        namespace, name = sys.intern(metadata.get("namespace", "")), sys.intern(metadata.get("name", ""))
        return cls(RouteKind(document.get("kind") or RouteKind.HTTP), namespace, name)

    @property
    def label(self) -> str:
        """What people call it: kind and name."""
        return f"{self.kind} {self.name}"
