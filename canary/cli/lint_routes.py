"""Looks at routes for `lint --routes`: at those of files, or, page by page, at those of a cluster with what stands around them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from canary.cli.exits import CliError
from canary.errors import Forbidden, Gone, NotFound, NotServed
from canary.kube import GATEWAYCLASSES, GATEWAYS, HTTPROUTES, LISTENERSETS, REFERENCEGRANTS, ROUTES, SERVICES, Kube
from canary.kube.resources import Resource
from canary.kube.retry import READ
from canary.lint.findings import Finding, Rule, Severity
from canary.lint.route_files import lint_routes, route_of, routes_of
from canary.lint.route_health import health, subject
from canary.lint.route_rules import Reason
from canary.lint.route_shape import flaws, sound
from canary.lint.run import Linted
from canary.lint.source import Document
from canary.lint.world import known_kind
from canary.observe.around import KINDS, Around
from canary.preflight.references import references
from canary.routes.acceptance import ParentRef

Json = dict[str, Any]

Wanted = tuple[Resource, str | None]
"""A resource, and the namespace in which it is to be read; None: it has none, or all."""


class Cluster:
    """Reads what routes need, each thing once, and keeps of it what a preflight looks at. `everywhere`: for all namespaces at once."""

    def __init__(self, kube: Kube, *, everywhere: bool = False) -> None:
        self._kube = kube
        self._everywhere = everywhere
        self._read: set[Wanted] = set()
        self._progress = _Progress()
        self.around = Around(place="the cluster")
        self.findings: list[Finding] = []
        self.objects: list[str] = []
        """What was looked at, as findings name it."""

    async def routes(self, namespace: str | None) -> None:
        """Look at all routes of a namespace, of every kind that is served; None: at those of all namespaces.

        Raises:
            CliError: no kind is served.

        """
        served = await READ.call(lambda: self._kube.discover(HTTPROUTES.group))
        kinds = [served[kind] for kind in ROUTES if kind in served]
        if not kinds:
            raise CliError("this cluster serves no kind of route; install the CRDs of the Gateway API")
        try:
            for resource in kinds:
                await self._pages(resource, namespace, self._look, "none of them was looked at")
        finally:
            self._progress.end()
        if not self.objects and not self.findings:
            where = f"in namespace {namespace}" if namespace else "in any namespace"
            advice = "name the namespace that has some, or look in all with -A"
            self.findings.append(Finding(Severity.WARNING, Rule.ROUTE, f"there is no route {where}", advice=advice))

    async def files(self, documents: Sequence[Document]) -> Linted:
        """Look at the routes of files, which are about to be applied here."""
        for document in routes_of(documents):
            await self._surround(route_of(document))
        for document in documents:
            if document.kind in KINDS and known_kind(document.api_version, document.kind):
                metadata = {**document.metadata, "name": document.name, "namespace": document.namespace}
                self.around.put(document.kind, {**document.content, "metadata": metadata})
        return lint_routes(documents, self.around)

    async def _look(self, resource: Resource, items: Sequence[Json]) -> None:
        routes = [{**item, "kind": resource.kind} for item in items]
        for route in routes:
            await self._surround(route)
        for route in routes:  # nothing here can fail, so that no page is half looked at when it is read again
            self.findings += health(route, self.around, served=True, complete=True)
            metadata = route["metadata"]
            self.objects.append(subject(resource.kind, metadata["namespace"], metadata["name"]))
        if items:
            self._progress.show(len(self.objects))

    async def _surround(self, route: Json) -> None:
        """Read what stands around a route, as far as that has not been read yet."""
        for resource, namespace in _wanted(route):
            place = None if self._everywhere or not resource.namespaced else namespace
            if (resource, place) not in self._read:
                await self._pages(resource, place, self._keep, "nothing is said about what that would show")
                self._read.add((resource, place))

    async def _keep(self, resource: Resource, items: Sequence[Json]) -> None:
        for item in items:
            self.around.put(resource.kind, item)

    async def _pages(
        self,
        resource: Resource,
        namespace: str | None,
        take: Callable[[Resource, Sequence[Json]], Awaitable[None]],
        loss: str,
    ) -> None:
        """Hand over all objects of a resource, each once, some hundreds at a time. Where one may not look, that is a finding."""
        seen: set[tuple[str, str]] = set()

        async def hand(page: Json) -> None:
            items = {
                (item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
                for item in page.get("items") or ()
            }
            await take(resource, [item for key, item in items.items() if key not in seen])
            seen.update(items)

        async def read() -> None:
            try:
                async with aclosing(self._kube.pages(resource, namespace)) as pages:
                    async for page in pages:
                        await hand(page)
            except Gone:  # it changed too much while it was paged through
                await hand(await self._kube.list(resource, namespace, limit=0))

        try:
            await READ.call(read)
        except (NotFound, NotServed):
            return  # not served, or not any more: then nothing is known of it
        except Forbidden as error:
            if error.status == 401:
                raise
            where = f" in namespace {namespace}" if namespace else " in all namespaces" if resource.namespaced else ""
            words = f"you may not list {resource.plural}{where}, so {loss}"
            advice = "ask for that right" if namespace else "ask for that right, or look at one namespace with -n"
            self.findings.append(Finding(Severity.ERROR, Rule.LIVE, words, advice=advice, reason=Reason.MAY_NOT_READ))
            return
        if resource.kind in KINDS:
            self.around.know(resource.kind, namespace, known=True)


def _wanted(route: Json) -> Iterator[Wanted]:
    """What a preflight of a route asks about: parents and their classes, Services, grants where a namespace is crossed."""
    route = sound(route)
    if any(flaws(route)):
        return
    home = route["metadata"]["namespace"]
    for ref in route["spec"].get("parentRefs") or ():
        parent = ParentRef.read(ref, home)
        for resource in (GATEWAYS, LISTENERSETS, SERVICES):
            if (parent.group, parent.kind) == (resource.group, resource.kind):
                yield resource, parent.namespace
        if parent.kind == GATEWAYS.kind:
            yield GATEWAYCLASSES, None
    for reference in references(route):
        backend = reference.backend(home)
        if backend is not None:
            yield SERVICES, backend.namespace
            if backend.namespace != home:
                yield REFERENCEGRANTS, backend.namespace


class _Progress:
    """How far one has come, on a terminal; thousands of routes take a while."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, count: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\rroutes looked at: {count:,}")
            sys.stderr.flush()
            self._shown = True

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
