from __future__ import annotations

import sys
from typing import Any

import typer

from canary.cli import options as o

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
    from canary.cli.routes import read_routes
    from canary.cli.session import connected, get_rollout
    from canary.view.explanation import explain as sentences
    from canary.view.rollout import view

    async with connected(common) as (kube, namespace):
        document = await get_rollout(kube, name, namespace)
        routes = await read_routes(kube, document)
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
