"""Objects by kind, namespace and name: those that stand in the files, or those that a cluster has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from canary.model.rollout import RouteKind
from canary.model.workloads import GROUP as WORKLOAD_GROUP
from canary.model.workloads import KINDS as WORKLOADS
from canary.preflight import surroundings as preflight
from canary.preflight.surroundings import Documents, Place

Json = dict[str, Any]
Key = tuple[str, str, str]
"""(kind, namespace, name); the namespace is empty for kinds of the whole cluster."""

CLUSTER_KINDS = frozenset({"ClusterCheckTemplate", "ClusterNotificationTarget", "GatewayClass", "Namespace"})
GROUPS: dict[str, str] = {
    **preflight.GROUPS,
    **dict.fromkeys((kind.value for kind in RouteKind), "gateway.networking.k8s.io"),
    **dict.fromkeys(WORKLOADS, WORKLOAD_GROUP),
    "Rollout": "canary.dev",
    "CheckTemplate": "canary.dev",
    "ClusterCheckTemplate": "canary.dev",
    "NotificationTarget": "canary.dev",
    "ClusterNotificationTarget": "canary.dev",
}
"""The kinds that lint looks at, each with its API group: a Service of Knative is no Service."""


@dataclass(frozen=True, slots=True)
class World:
    """`complete`: what is not here does not exist, but for kinds around routes: of those `known` tells where all are here.

    `place` is the word for where one looks; `unserved`: kinds of route that a cluster does not know at all.
    """

    objects: dict[Key, Json] = field(default_factory=dict)
    complete: bool = False
    place: str = "these files"
    known: frozenset[Place] = frozenset()
    unserved: frozenset[RouteKind] = frozenset()
    policies: tuple[tuple[str, Json], ...] = field(default=(), hash=False)
    """Those of a cluster, by the names of their definitions."""

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return self.objects.get(key(kind, namespace, name))

    def names(self, kind: str, namespace: str) -> list[str]:
        """The names of a kind in one namespace."""
        place = "" if kind in CLUSTER_KINDS else namespace
        return sorted(name for found, where, name in self.objects if found == kind and where == place)

    def of(self, kind: str, namespace: str) -> Iterator[Json]:
        """The objects of a kind in one namespace."""
        for name in self.names(kind, namespace):
            found = self.get(kind, namespace, name)
            if found is not None:
                yield found

    def over(self, under: World) -> World:
        """These objects, and where there is none those of `under`."""
        return replace(under, objects={**under.objects, **self.objects})

    def around(self) -> Documents:
        """What stands around the routes, for a preflight. Files that have some Services of a namespace ought to have all."""
        mine = frozenset((kind, place) for kind, place, _ in self.objects if kind in {"Service", "ReferenceGrant"})
        known = self.known if self.complete else mine
        return Documents(self.objects.values(), known, self.place)

    def absent(self, kind: str, namespace: str, name: str) -> tuple[str, str] | None:
        """(message, advice) when an object ought to be here and is not; None when it is, or nobody can tell."""
        if self.get(kind, namespace, name) is not None:
            return None
        others = self.names(kind, namespace)
        if not (self.complete or others):
            return None
        where = "" if kind in CLUSTER_KINDS else f" in namespace {namespace}"
        close = difflib.get_close_matches(name, others, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "create it, or correct the name"
        if not self.complete:
            shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
            hint = hint if close else f"they have {shown}: give that file too, or correct the name"
        return f"there is no {kind} {name}{where} in {self.place}", hint


def key(kind: str, namespace: str, name: str) -> Key:
    """The key of an object."""
    return kind, "" if kind in CLUSTER_KINDS else namespace, name


def known_kind(api_version: str, kind: str) -> bool:
    """Whether lint looks at objects of this kind and group."""
    group, slash, _ = api_version.partition("/")
    return kind in GROUPS and GROUPS[kind] == (group if slash else "")


def world_of(
    documents: Iterable[tuple[str, Json]],
    *,
    complete: bool = False,
    place: str = "these files",
    known: Iterable[Place] = (),
) -> World:
    """A world of (default namespace, object) pairs. The first of two with the same key stays; one without a name has none."""
    objects: dict[Key, Json] = {}
    for default, content in documents:
        kind, metadata = content.get("kind"), content.get("metadata")
        if not isinstance(kind, str) or not isinstance(metadata, dict):
            continue
        name, namespace = metadata.get("name"), metadata.get("namespace") or default
        if not isinstance(name, str) or not name or not isinstance(namespace, str):
            continue
        if not known_kind(str(content.get("apiVersion") or ""), kind):
            continue
        placed = content if kind in CLUSTER_KINDS else {**content, "metadata": {**metadata, "namespace": namespace}}
        objects.setdefault(key(kind, namespace, name), placed)
    return World(objects, complete=complete, place=place, known=frozenset(known))
