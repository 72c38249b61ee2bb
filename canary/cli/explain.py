from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from canary.cli import options as o

if TYPE_CHECKING:
    from canary.kube import Kube
    from canary.routes.key import RouteKey

Json = dict[str, Any]

HELP = o.guide(
    "Explain why a Rollout is where it is, and what comes next.",
    ("explain shop -n team-shop", "in sentences"),
    ("explain shop -o json", "the same sentences, for programs"),
)


@o.grouped()
def explain(
    name: o.Name,
    *,
    output: o.OutputObject = o.ObjectFormat.TEXT,
    common: o.Common,
) -> None:
    from canary.cli.session import run

    raise typer.Exit(run(_explain(common, name, output)))


async def _explain(common: o.Common, name: str, output: o.ObjectFormat) -> int:
    from datetime import UTC, datetime

    from canary.cli.output import dump, make_console, show, symbols_for
    from canary.cli.render_explain import render_explanation
    from canary.cli.session import connected, get_rollout
    from canary.view.explanation import explain as sentences
    from canary.view.rollout import view

    async with connected(common) as (kube, namespace):
        document = await get_rollout(kube, name, namespace)
        routes = await _routes(kube, document)
    now = datetime.now(UTC)
    sections = sentences(view(document), routes, now, program=o.program())
    if output is not o.ObjectFormat.TEXT:
        told = [{"title": section.title, "paragraphs": list(section.paragraphs)} for section in sections]
        document = {"asOf": now.isoformat(timespec="seconds"), "sections": told}
        sys.stdout.write(dump(document, output.value) + "\n")
        return 0
    console = make_console(no_color=common.no_color)
    show(console, render_explanation(sections, now, symbols=symbols_for(console)))
    return 0


async def _routes(kube: Kube, document: Json) -> dict[RouteKey, Json | None]:
    """The routes that the spec names; None for those that cannot be read."""
    from canary.errors import ApiError
    from canary.kube import HTTPROUTES, Resource
    from canary.model.rollout import RouteKind
    from canary.view.weights import declared_route

    resources: dict[RouteKind, Resource | None] = {RouteKind.HTTP: HTTPROUTES}
    found: dict[RouteKey, Json | None] = {}
    for route in (document.get("spec") or {}).get("routes") or ():
        key = declared_route(route, document["metadata"]["namespace"])
        if key is None or not key.name:
            continue
        try:
            if key.kind not in resources:
                resources[key.kind] = await kube.resolve(HTTPROUTES.group, key.kind)
            resource = resources[key.kind]
            found[key] = await kube.get(resource, key.name, key.namespace) if resource is not None else None
        except ApiError:
            found[key] = None
    return found
