"""What each parent says of each route: the part of a route's status that people look for when traffic does not come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from canary.routes.acceptance import answers
from canary.view.words import clean

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParentView:
    """One parent of one route. `words` say what is missing to `accepted`; `refused`: it has said no."""

    route: str
    parent: str
    accepted: bool
    refused: bool = False
    words: str = ""


def parents(routes: Iterable[Json]) -> Iterator[ParentView]:
    """Every parent of these route documents, in their order; a route without any is told, too."""
    for document in routes:
        metadata = document.get("metadata") or {}
        route = clean(f"{document.get('kind') or 'HTTPRoute'} {metadata.get('name', '')}")
        said = answers(document)
        if not said:
            yield ParentView(route, "no parent", accepted=False, refused=True, words="so no gateway serves it")
        for answer in said:
            parent = answer.parent.label(str(metadata.get("namespace", "")))
            words = clean(answer.message.removeprefix(parent).strip())
            yield ParentView(route, clean(parent), answer.accepted, answer.refused, words)
