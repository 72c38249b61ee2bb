"""What `doctor` asks a cluster about what stands around the routes of Rollouts, and the controller's own preflight over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from canary.cli.health import Diagnosis, Level, subject_of
from canary.cli.policies import lets_opt_in, policies
from canary.cli.preflight import chosen_by_labels, gateways_of_sets, surroundings
from canary.errors import ApiError, Forbidden
from canary.kube import HTTPROUTES, NAMESPACES, Kube, Resource
from canary.kube.retry import READ
from canary.model.rollout import RouteKind
from canary.observe.around import KINDS
from canary.observe.checks import Checks
from canary.observe.facts import Received, gather
from canary.observe.rollout import Rollout
from canary.observe.store import Store
from canary.preflight.findings import Who
from canary.preflight.surroundings import POLICY
from canary.view.words import listing

Json = dict[str, Any]


async def serving(kube: Kube, rollouts: Sequence[Json], now: datetime, *, everywhere: bool) -> AsyncIterator[Diagnosis]:
    """What stands against a run of each Rollout at rest, and what could not be read to find that out."""
    seen = [(Rollout.of(document), document["spec"]) for document in rollouts]
    resting = [(rollout, spec) for rollout, spec in seen if rollout.spec is not None and not rollout.status.active]
    reader = _Reader(kube, everywhere=everywhere)
    for document in rollouts:
        reader.store.put_rollout(document)
    routes: list[tuple[str, Json]] = []
    for resource in await _served(
        kube, {ref.kind for rollout, _ in resting if rollout.spec for ref in rollout.spec.routes}
    ):
        for namespace in sorted({rollout.namespace for rollout, _ in resting}):
            routes += await reader.read(resource, namespace)
    around: list[tuple[str, Json]] = []
    for resource, place in surroundings([(rollout.namespace, spec) for rollout, spec in resting], routes):
        around += await reader.read(resource, place)
    for resource, place in gateways_of_sets(around):
        around += await reader.read(resource, place)
    for namespace in chosen_by_labels([*routes, *around]):
        await reader.labels(namespace)
    for namespace in sorted({rollout.namespace for rollout, spec in resting if lets_opt_in(spec)}):
        await reader.read_policies(namespace)
    for rollout, _ in resting:
        if rollout.spec is None:
            continue
        facts = gather(reader.store, rollout, rollout.spec, rollout.status, Checks((), ()), Received(), now)
        for found in facts.findings:
            level = Level.DOUBT if found.who is Who.NOBODY or not found.sure else Level.BROKEN
            name = subject_of(rollout.namespace, rollout.name)
            yield Diagnosis(name, level, f"no run could work now ({found.reason}): {found.message}", found.advice)
    if reader.refused:
        words = f"you may not {listing(reader.refused, 'or')}, so nothing is said about what that would show"
        yield Diagnosis("preflight", Level.DOUBT, words, "ask for the right, or a platform admin to run this")


async def _served(kube: Kube, kinds: set[RouteKind]) -> list[Resource]:
    """The resources of these kinds of route, as far as the cluster serves them and tells."""
    if kinds <= {RouteKind.HTTP}:
        return [HTTPROUTES]
    try:
        there = await READ.call(lambda: kube.discover(HTTPROUTES.group))
    except ApiError:
        return [HTTPROUTES]
    return [there[kind] for kind in sorted(kinds) if kind in there]


class _Reader:
    """Fills a store. With `everywhere`, each resource is listed once, for all namespaces."""

    def __init__(self, kube: Kube, *, everywhere: bool) -> None:
        self._kube = kube
        self._everywhere = everywhere
        self._read: set[tuple[Resource, str | None]] = set()
        self.store = Store()
        self.refused: list[str] = []

    async def labels(self, namespace: str) -> None:
        """The labels of a namespace, as far as they may be read."""
        try:
            found = await READ.call(partial(self._kube.get, NAMESPACES, namespace))
        except Forbidden:
            self.refused.append(f"get namespace {namespace}")
        except ApiError:
            pass
        else:
            self.store.put_around(NAMESPACES.kind, found)
            self.store.around.know(NAMESPACES.kind, namespace, known=True)

    async def read_policies(self, namespace: str) -> None:
        """What may guard rules of routes; where that may not all be read, a preflight says so itself."""
        found = await policies(self._kube, namespace)
        for definition, policy in found or ():
            self.store.put_policy(definition, policy)
        self.store.around.know(POLICY, namespace, known=found is not None)

    async def read(self, resource: Resource, namespace: str | None) -> list[tuple[str, Json]]:
        """The objects of a resource, by namespace; none where they are not served, or may not be read."""
        place = None if self._everywhere else namespace
        if (resource, place) in self._read:
            return []
        self._read.add((resource, place))

        async def ask() -> Json:
            return await self._kube.list(resource, place)

        try:
            items = (await READ.call(ask))["items"]
        except Forbidden:
            where = f" in namespace {place}" if place else ""
            self.refused.append(f"list {resource.plural}{where}")
            return []
        except ApiError:
            return []  # not served, or not now: the lines about the cluster say which
        for item in items:
            if resource.kind in KINDS:
                self.store.put_around(resource.kind, item)
            else:
                self.store.put_route({**item, "kind": resource.kind})
        if resource.kind in KINDS:
            self.store.around.know(resource.kind, place, known=True)
        return [(item["metadata"].get("namespace", ""), {**item, "kind": resource.kind}) for item in items]
