"""Reads from a cluster what `lint --live` looks at: only the namespaces and kinds that the files name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from canary.cli.exits import CliError
from canary.cli.session import missing
from canary.errors import Forbidden, NotFound
from canary.kube import (
    CHECKTEMPLATES,
    CLUSTERCHECKTEMPLATES,
    DEPLOYMENTS,
    HTTPROUTES,
    REFERENCEGRANTS,
    ROLLOUTS,
    SERVICES,
    Kube,
    Resource,
)
from canary.kube.retry import READ
from canary.lint.source import Document
from canary.lint.world import World, world_of
from canary.model.rollout import RouteKind

Json = dict[str, Any]


async def read_cluster(kube: Kube, documents: Sequence[Document]) -> World:
    """Everything that the Rollouts among `documents` can refer to, as a world in which absence means absence.

    Raises:
        CliError: canary or the Gateway API is not installed, or something may not be read.

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
        if any("workloads" in document.spec for document in mine):
            wanted.append((DEPLOYMENTS, namespace))
    for namespace in sorted({place for document in rollouts for place in _places(document)}):
        wanted.append((SERVICES, namespace))
        if any(namespace in _places(document) and namespace != document.namespace for document in rollouts):
            wanted.append((REFERENCEGRANTS, namespace))
    objects: list[tuple[str, Json]] = []
    for resource, place in wanted:
        items = await _items(kube, resource, place)
        objects += [
            (place or "", {**item, "apiVersion": resource.api_version, "kind": resource.kind}) for item in items
        ]
    unserved = {kind for document in rollouts for kind in _kinds(document)} - served.keys()
    return replace(world_of(objects, complete=True, place="the cluster"), unserved=frozenset(unserved))


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


async def _items(kube: Kube, resource: Resource, namespace: str | None) -> list[Json]:
    async def read() -> Json:
        return await kube.list(resource, namespace)

    try:
        found: list[Json] = (await READ.call(read))["items"]
    except NotFound as error:
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
    for check in _list(document.spec.get("checks")):
        template = check.get("template")
        if isinstance(template, dict) and (template.get("kind") or "CheckTemplate") == kind:
            return True
    return False


def _places(document: Document) -> set[str]:
    """The namespaces of the two Services."""
    targets: Iterable[Any] = (document.spec.get("stable"), document.spec.get("canary"))
    return {
        str(target.get("namespace") or document.namespace) if isinstance(target, dict) else document.namespace
        for target in targets
    }


def _list(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
