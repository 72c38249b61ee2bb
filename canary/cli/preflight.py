"""Reads from a cluster what `lint --live` looks at: only the namespaces and kinds that the files name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from canary.cli.exits import CliError
from canary.cli.policies import Defined, lets_opt_in, policies
from canary.cli.session import missing
from canary.errors import Forbidden, NotFound, NotServed
from canary.kube import (
    CHECKTEMPLATES,
    CLUSTERCHECKTEMPLATES,
    GATEWAYCLASSES,
    GATEWAYS,
    HTTPROUTES,
    LISTENERSETS,
    NAMESPACES,
    REFERENCEGRANTS,
    ROLLOUTS,
    ROUTES,
    SERVICES,
    WORKLOADS,
    Kube,
    Resource,
)
from canary.kube.retry import READ
from canary.lint.source import Document
from canary.lint.world import World, world_of
from canary.model.rollout import RouteKind
from canary.model.workloads import DEPLOYMENT, kind_of
from canary.preflight.objects import Gateway
from canary.preflight.surroundings import PARENTS, POLICY, Place
from canary.routes.acceptance import ParentRef

Json = dict[str, Any]


async def read_cluster(kube: Kube, documents: Sequence[Document]) -> World:
    """Everything that the Rollouts among `documents` can refer to, as a world in which absence means absence.

    Of what stands around their routes it is as much as may be read.

    Raises:
        CliError: canary or the Gateway API is not installed, or something else may not be read.

    """
    rollouts = [document for document in documents if document.kind == "Rollout"]
    wanted: list[tuple[Resource, str | None]] = []
    served = await _served(kube, {kind for document in rollouts for kind in _kinds(document)})
    if any(_templates(document, "ClusterCheckTemplate") for document in rollouts):
        wanted.append((CLUSTERCHECKTEMPLATES, None))
    for namespace in sorted({document.namespace for document in rollouts}):
        mine = [document for document in rollouts if document.namespace == namespace]
        kinds = {kind for document in mine for kind in _kinds(document)}
        wanted += [(ROLLOUTS, namespace), *((served[kind], namespace) for kind in sorted(kinds & served.keys()))]
        if any(_templates(document, "CheckTemplate") for document in mine):
            wanted.append((CHECKTEMPLATES, namespace))
        named = {kind for document in mine for kind in _workload_kinds(document)}
        wanted += [(WORKLOADS[kind], namespace) for kind in sorted(named & WORKLOADS.keys())]
    objects: list[tuple[str, Json]] = []
    for resource, place in wanted:
        items = await _items(kube, resource, place)
        objects += _typed(resource, place, items)
    known: set[Place] = set()
    specs = [(document.namespace, document.spec) for document in rollouts]
    await _read_around(kube, surroundings(specs, objects), objects, known)
    await _read_around(kube, gateways_of_sets(objects), objects, known)
    for name in chosen_by_labels(objects):
        with suppress(Forbidden, NotFound, NotServed):
            labelled = await READ.call(partial(kube.get, NAMESPACES, name))
            known.add((NAMESPACES.kind, name))
            objects += _typed(NAMESPACES, None, [labelled])
    guards: list[Defined] = []
    for namespace in sorted({document.namespace for document in rollouts if lets_opt_in(document.spec)}):
        there_are = await policies(kube, namespace)
        if there_are is not None:
            known.add((POLICY, namespace))
            guards += there_are
    unserved = {kind for document in rollouts for kind in _kinds(document)} - served.keys()
    there = world_of(objects, complete=True, place="the cluster", known=known)
    return replace(there, unserved=frozenset(unserved), policies=tuple(guards))


async def _read_around(
    kube: Kube, wanted: Sequence[tuple[Resource, str | None]], objects: list[tuple[str, Json]], known: set[Place]
) -> None:
    """Add what stands around routes, as far as it may be read, and where all of a kind is known by that."""
    for resource, place in wanted:
        if (resource.kind, place or "") in known:
            continue
        try:
            found = await _items(kube, resource, place)
        except (CliError, Forbidden):
            if resource is SERVICES:
                raise
            continue  # not served, or not for us to see: then nothing is said about it
        known.add((resource.kind, place or ""))
        objects += _typed(resource, place, found)


def _typed(resource: Resource, place: str | None, items: Sequence[Json]) -> list[tuple[str, Json]]:
    return [(place or "", {**item, "apiVersion": resource.api_version, "kind": resource.kind}) for item in items]


def surroundings(
    rollouts: Sequence[tuple[str, Json]], objects: Sequence[tuple[str, Json]]
) -> list[tuple[Resource, str | None]]:
    """What a preflight asks about: Services, the parents of the routes, and grants where a namespace is crossed.

    `rollouts` are specs and `objects`, with the routes among them, documents, each by its namespace.
    """
    named = {(namespace, str(route.get("name"))) for namespace, spec in rollouts for route in _list(spec.get("routes"))}
    parents = {
        ParentRef.read(ref, namespace)
        for namespace, item in objects
        if item["kind"] in ROUTES and (namespace, item["metadata"]["name"]) in named
        for ref in _list((item.get("spec") or {}).get("parentRefs"))
    }
    wanted: list[tuple[Resource, str | None]] = []
    for resource in (GATEWAYS, LISTENERSETS):
        of = {parent.namespace for parent in parents if (parent.group, parent.kind) == (resource.group, resource.kind)}
        wanted += [(resource, namespace) for namespace in sorted(of)]
    if wanted:
        wanted.append((GATEWAYCLASSES, None))
    services = {parent.namespace for parent in parents if (parent.group, parent.kind) == ("", SERVICES.kind)}
    services |= {place for rollout in rollouts for place in _places(*rollout)}
    crossed = {place for rollout in rollouts for place in _places(*rollout) if place != rollout[0]}
    wanted += [(SERVICES, namespace) for namespace in sorted(services)]
    return [*wanted, *((REFERENCEGRANTS, namespace) for namespace in sorted(crossed))]


def gateways_of_sets(objects: Sequence[tuple[str, Json]]) -> list[tuple[Resource, str | None]]:
    """Where the Gateways are that the ListenerSets among these documents are of: those say whose ListenerSets they take."""
    read = (Gateway.read(item) for _, item in objects if item["kind"] == LISTENERSETS.kind)
    return [(GATEWAYS, place) for place in sorted({found.of[0] for found in read if found.of is not None})]


def chosen_by_labels(objects: Sequence[tuple[str, Json]]) -> list[str]:
    """The namespaces whose labels decide whether a Gateway or ListenerSet of these documents takes what is of them.

    `objects` are documents, each by its namespace, with routes, Gateways and ListenerSets among them.
    """
    parents = {
        (item["kind"], namespace, item["metadata"]["name"]): Gateway.read(item)
        for namespace, item in objects
        if item["kind"] in PARENTS
    }
    found: set[str] = set()
    for namespace, item in objects:
        if item["kind"] not in ROUTES:
            continue
        for ref in _list((item.get("spec") or {}).get("parentRefs")):
            parent = ParentRef.read(ref, namespace)
            there = parents.get((parent.kind, parent.namespace, parent.name))
            if there is None:
                continue
            if any(listener.takes.of == "Selector" for listener in there.listeners):
                found.add(namespace)
            gateway = parents.get((GATEWAYS.kind, *there.of)) if there.of is not None else None
            if gateway is not None and gateway.takes_sets.of == "Selector":
                found.add(parent.namespace)
    return sorted(found)


async def _served(kube: Kube, kinds: set[RouteKind]) -> dict[RouteKind, Resource]:
    """The resources of these kinds of route, as far as the cluster serves them; HTTPRoutes are taken to be there, in v1."""
    found = {RouteKind.HTTP: HTTPROUTES} if RouteKind.HTTP in kinds else {}
    if kinds - found.keys():
        there = await READ.call(lambda: kube.discover(HTTPROUTES.group))
        found |= {kind: there[kind] for kind in kinds - found.keys() if kind in there}
    return found


def _kinds(document: Document) -> set[RouteKind]:
    """The kinds of route that a Rollout names, as far as they are kinds of ours."""
    named = {str(route.get("kind") or RouteKind.HTTP) for route in _list(document.spec.get("routes"))}
    return {kind for kind in RouteKind if kind in named}


def _workload_kinds(document: Document) -> set[str]:
    """The kinds of workloads that a Rollout names. Those of other groups are left to the controller."""
    workloads = document.spec.get("workloads")
    refs = workloads.values() if isinstance(workloads, dict) else ()
    return {
        kind_of(str(ref.get("apiVersion") or ""), str(ref.get("kind") or DEPLOYMENT))
        for ref in refs
        if isinstance(ref, dict)
    }


async def _items(kube: Kube, resource: Resource, namespace: str | None) -> list[Json]:
    async def read() -> Json:
        return await kube.list(resource, namespace)

    try:
        found: list[Json] = (await READ.call(read))["items"]
    except (NotFound, NotServed) as error:
        if resource is ROLLOUTS or resource.group == ROLLOUTS.group:
            raise await missing(kube, None, namespace or "") from error
        words = f"this cluster knows no {resource.kind} of {resource.api_version}; install the Gateway API CRDs"
        raise CliError(words) from error
    except Forbidden as error:
        where = f" in namespace {namespace}" if namespace else ""
        if error.status == 401:
            raise
        raise Forbidden(
            f"--live reads {resource.plural}{where}: {error}", status=error.status, reason=error.reason
        ) from error
    return found


def _templates(document: Document, kind: str) -> bool:
    for user in _list([*_list(document.spec.get("checks")), document.spec.get("traffic")]):
        template = user.get("template")
        if isinstance(template, dict) and (template.get("kind") or "CheckTemplate") == kind:
            return True
    return False


def _places(namespace: str, spec: Json) -> set[str]:
    """The namespaces of the two Services, and that of a comparer's."""
    targets: list[Any] = [spec.get("stable"), spec.get("canary")]
    mirrors = (step.get("mirror") for step in _list(spec.get("steps")))
    targets += [{} for mirror in mirrors if isinstance(mirror, dict) and mirror.get("comparer")]
    return {str(target.get("namespace") or namespace) if isinstance(target, dict) else namespace for target in targets}


def _list(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
