"""Which Rollouts refer to what, and so who is woken by what, and which kinds somebody has to follow at all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from canary.model.rollout import RouteKind
from canary.model.workloads import DEPLOYMENT
from canary.observe.configs import Configs
from canary.observe.needs import AUTOSCALERS, ConfigsOf, Need
from canary.observe.objects import Key
from canary.observe.workloads import WorkloadKey
from canary.preflight.surroundings import POLICY
from canary.routes.key import RouteKey


class References:
    """Keeps, for each thing that Rollouts refer to, who does. `configs` is told for which workloads configs are wanted."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs
        self._wanted_by: defaultdict[Need, set[Key]] = defaultdict(set)
        self.needs: dict[Key, frozenset[Need]] = {}
        """What each Rollout refers to."""
        self._lasting: dict[Key, frozenset[Need]] = {}
        """What the spec refers to that a run goes on with, since the present one cannot be read."""
        self._named: Counter[tuple[RouteKind, str | None]] = Counter()
        self._employed: Counter[tuple[str, str | None]] = Counter()
        """How many workloads of a kind are named in a namespace (None: in all), but for Deployments."""
        self.on_employed: Callable[[str, str], None] = _kept
        """Called with such a kind and a namespace when the first workload is named there, and when the last is not any more."""
        self._copying = 0
        self.on_copying: Callable[[], None] = _nobody
        """Called when the first Rollout of a namespace has a step that copies rules."""
        self.scaling = 0
        """In how many namespaces some Rollout declares `scale`, so that autoscalers matter."""
        self.on_scaling: Callable[[], None] = _nobody
        """Called when the first Rollout of a namespace declares `scale`."""

    def put(self, key: Key, declared: Iterable[Need], *, unreadable: bool) -> frozenset[Need]:
        """A Rollout declares this from now on. Returns what it refers to.

        `unreadable`: a run is under way, and goes on with the last spec that could be read, so what that referred to stays.
        """
        before = self.needs.get(key, frozenset())
        if unreadable:
            needs = frozenset(declared) | self._lasting.setdefault(key, before)
        else:
            self._lasting.pop(key, None)
            needs = frozenset(declared)
        for need in before - needs:
            self._forget(need, key)
        for need in needs - before:
            self._want(need, key)
        self.needs[key] = needs
        return needs

    def drop(self, key: Key) -> frozenset[Need]:
        """A Rollout is gone. Returns what it referred to."""
        needs = self.needs.pop(key, frozenset())
        self._lasting.pop(key, None)
        for need in needs:
            self._forget(need, key)
        return needs

    def dependents(self, kind: str, namespace: str, name: str) -> set[Key]:
        """The Rollouts that refer to an object."""
        return set(self._wanted_by.get((kind, namespace, name), ()))

    def sharing(self, place: RouteKey) -> AbstractSet[Key]:
        """The Rollouts that refer to a route; as of now, not to be kept."""
        return self._wanted_by.get(place, frozenset())

    def places(self, kind: str, place: str | None) -> set[str]:
        """Those of the namespaces (one, or None: all) in which something of a kind is referred to."""
        return {need[1] for need in self._wanted_by if need[0] == kind and place in {None, need[1]}}

    def names(self, kind: RouteKind, place: str | None) -> bool:
        """Whether some Rollout of a namespace (None: of any) refers to a route of a kind."""
        return self._named[kind, place] > 0

    def users(self, kind: RouteKind, place: str | None) -> set[Key]:
        """The Rollouts of a namespace (None: of all) that refer to some route of a kind."""
        named = (need for need in self._wanted_by if isinstance(need, RouteKey) and need.kind is kind)
        return {key for need in named if place in {None, need.namespace} for key in self._wanted_by[need]}

    def employed(self) -> set[tuple[str, str]]:
        """Kinds of workloads other than Deployments that are named, each with a namespace where that is so."""
        return {(kind, place) for (kind, place), count in self._employed.items() if place is not None and count > 0}

    def employs(self, kind: str, place: str | None) -> bool:
        """Whether some Rollout of a namespace (None: of any) names a workload of such a kind."""
        return self._employed[kind, place] > 0

    def follows(self, key: WorkloadKey) -> bool:
        """Whether it is watched which workloads of a kind there are in a namespace: else one that is not known may be there."""
        return key.kind == DEPLOYMENT or self.employs(key.kind, key.namespace)

    def employers(self, kind: str, place: str | None) -> set[Key]:
        """The Rollouts of a namespace (None: of all) that name some workload of a kind."""
        named = (need for need in self._wanted_by if isinstance(need, WorkloadKey) and need.kind == kind)
        return {key for need in named if place in {None, need.namespace} for key in self._wanted_by[need]}

    def referring(self, kind: str, place: str | None) -> set[Key]:
        """The Rollouts that refer to something of a kind in a namespace (None: in any)."""
        named = (need for need in self._wanted_by if need[0] == kind and place in {None, need[1]})
        return {key for need in named for key in self._wanted_by[need]}

    @property
    def copying(self) -> bool:
        """Whether any Rollout has a step that copies rules, so that policies matter."""
        return self._copying > 0

    def _want(self, need: Need, key: Key) -> None:
        if need not in self._wanted_by:
            self._count(need, 1)
        self._wanted_by[need].add(key)

    def _forget(self, need: Need, key: Key) -> None:
        self._wanted_by[need].discard(key)
        if not self._wanted_by[need]:
            del self._wanted_by[need]
            self._count(need, -1)

    def _count(self, need: Need, change: int) -> None:
        if isinstance(need, RouteKey):
            for place in (need.namespace, None):
                self._named[need.kind, place] += change
        elif isinstance(need, WorkloadKey):
            if need.kind != DEPLOYMENT:
                self._employ(need, change)
        elif isinstance(need, ConfigsOf):
            if change > 0:
                self._configs.include(need.key)
            else:
                self._configs.exclude(need.key)
        elif need[0] == POLICY:
            self._copying += change
            if change > 0:
                self.on_copying()
        elif need[0] == AUTOSCALERS:
            self.scaling += change
            if change > 0:
                self.on_scaling()

    def _employ(self, need: WorkloadKey, change: int) -> None:
        for place in (need.namespace, None):
            self._employed[need.kind, place] += change
            if not self._employed[need.kind, place]:
                del self._employed[need.kind, place]
        if self._employed[need.kind, need.namespace] == max(change, 0):
            self.on_employed(need.kind, need.namespace)


def _nobody() -> None:
    """Wants to know."""


def _kept(kind: str, namespace: str) -> None:
    """Nobody follows it."""
