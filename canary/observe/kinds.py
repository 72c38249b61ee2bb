"""Which kinds of route and of workloads can be seen in a cluster, as which resource, and why others cannot."""

from __future__ import annotations

from canary.kube import ROUTES, Resource
from canary.model.rollout import RouteKind
from canary.model.workloads import group_of
from canary.routes.key import RouteKey


class Kinds:
    """Told by who follows routes. Of what nobody has told anything, every kind is served as its newest release has it."""

    def __init__(self) -> None:
        self._resources: dict[RouteKind, Resource] = {kind: ROUTES[kind] for kind in RouteKind}
        self._unseen: dict[tuple[RouteKind, str | None], str] = {}

    def resource(self, kind: RouteKind) -> Resource:
        """The resource, and so the version, by which routes of a kind are read and written."""
        return self._resources[kind]

    def missing(self, route: RouteKey) -> str:
        """Why a route cannot be seen, whether it exists or not; empty where only its absence explains that."""
        return self._unseen.get((route.kind, None)) or self._unseen.get((route.kind, route.namespace), "")

    def served(self, resource: Resource) -> None:
        """Routes of this kind are served so from now on."""
        self._resources[RouteKind(resource.kind)] = resource

    def seen(self, kind: RouteKind, place: str | None) -> bool:
        """Routes of a kind are seen in a namespace (None: in all); False when that is no news."""
        return self._unseen.pop((kind, place), None) is not None

    def unseen(self, kind: RouteKind, place: str | None, why: str) -> bool:
        """They are not, for this reason; False when that is no news."""
        news = self._unseen.get((kind, place)) != why
        self._unseen[kind, place] = why
        return news


def not_served(kind: RouteKind) -> str:
    """Why no route of a kind can be seen where the cluster does not know the kind, and what to do about it."""
    return (
        f"this cluster serves no {kind}; install the definition {ROUTES[kind].definition}, which a release of the Gateway API has "
        "in its standard or its experimental channel"
    )


class WorkloadKinds:
    """Told by who follows workloads, of the kinds that some Rollout names. Of what nobody has told anything, all is seen."""

    def __init__(self) -> None:
        self._unseen: dict[tuple[str, str | None], str] = {}
        self._awaited: set[tuple[str, str | None]] = set()

    def missing(self, kind: str, namespace: str) -> str:
        """Why no workload of a kind can be seen in a namespace; empty: they are."""
        if not self._unseen:
            return ""
        return self._unseen.get((kind, None)) or self._unseen.get((kind, namespace), "")

    def awaits(self, kind: str, namespace: str) -> bool:
        """Whether it is about to be known which there are."""
        return bool(self._awaited) and not self._awaited.isdisjoint({(kind, None), (kind, namespace)})

    @property
    def awaiting(self) -> bool:
        """Whether that is so of any kind."""
        return bool(self._awaited)

    def awaited(self, kind: str, place: str | None) -> None:
        """It is being asked which there are in a namespace (None: in all)."""
        self._awaited.add((kind, place))
        self._unseen[kind, place] = f"it is not known yet which {plain(kind)}s there are"

    def seen(self, kind: str, place: str | None) -> bool:
        """All of a kind are known in a namespace (None: in all); False when that is no news."""
        self._awaited.discard((kind, place))
        return self._unseen.pop((kind, place), None) is not None

    def unseen(self, kind: str, place: str | None, why: str) -> bool:
        """They cannot be, for this reason; False when that is no news."""
        news = self._unseen.get((kind, place)) != why or (kind, place) in self._awaited
        self._awaited.discard((kind, place))
        self._unseen[kind, place] = why
        return news


def plain(kind: str) -> str:
    """A kind of workload without its group."""
    return group_of(kind)[0]
