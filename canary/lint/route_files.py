"""Routes of files: each judged by what stands around it in the same files, or in these and a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from canary.lint.findings import Finding, Rule, Severity, path_of
from canary.lint.route_health import KINDS, health
from canary.lint.route_rules import Reason
from canary.lint.run import Linted, doubles, in_order
from canary.lint.source import Document
from canary.lint.world import known_kind, world_of
from canary.preflight.surroundings import GROUPS, Surroundings

Json = dict[str, Any]


def routes_of(documents: Iterable[Document]) -> Iterator[Document]:
    """Those that are routes of a kind that we know."""
    for document in documents:
        if document.kind in KINDS and known_kind(document.api_version, document.kind):
            yield document


def route_of(document: Document) -> Json:
    """The route as it would be in a cluster: with the namespace that it gets."""
    return {**document.content, "metadata": {"name": document.name, "namespace": document.namespace}}


def lint_routes(documents: Sequence[Document], around: Surroundings | None = None) -> Linted:
    """Look at every route. `around`: what a cluster has beneath these files (`--live`); without it they are all there is."""
    routes, complete = tuple(routes_of(documents)), around is not None
    if around is None:
        around = world_of((document.default_namespace, document.content) for document in documents).around()
    found = doubles([document for document in documents if document.kind in KINDS or document.kind in GROUPS])
    for document in routes:
        found += _of(document, around, complete=complete)
    return Linted(in_order(dict.fromkeys(found)), (), routes)


def _of(document: Document, around: Surroundings, *, complete: bool) -> Iterator[Finding]:
    if not document.name:  # the API server would refuse it
        words, advice = "the route has no name", "give it one in metadata.name"
        yield document.finding(Severity.ERROR, Rule.ROUTE, ("metadata",), words, advice, reason=Reason.MALFORMED)
        return
    for found in health(route_of(document), around, served=False, complete=complete):
        line, column = document.position(path_of(found.field))
        yield replace(found, file=document.file, line=line, column=column, subject=document.subject)
