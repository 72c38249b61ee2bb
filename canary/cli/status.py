from __future__ import annotations

import sys

import typer

from canary.cli import options as o

HELP = o.guide(
    "Show one Rollout: traffic, steps, checks, events.",
    ("status shop -n team-shop", "the whole picture, once: also what both workloads run"),
    ("status shop -o yaml", "the object, for programs"),
)


@o.grouped()
def status(
    name: o.Name,
    *,
    output: o.OutputObject = o.ObjectFormat.TEXT,
    common: o.Common,
) -> None:
    from canary.cli.session import run

    raise typer.Exit(run(_status(common, name, output)))


async def _status(common: o.Common, name: str, output: o.ObjectFormat) -> int:
    from datetime import UTC, datetime

    from canary.cli.deployments import read_live
    from canary.cli.output import dump, make_console, presentable, show, symbols_for
    from canary.cli.routes import read_routes
    from canary.cli.session import connected, events_of, get_rollout
    from canary.view.rollout import view

    async with connected(common) as (kube, namespace):
        document = await get_rollout(kube, name, namespace)
        text = output is o.ObjectFormat.TEXT
        events = await events_of(kube, document) if text else None
        live = await read_live(kube, [view(document)]) if text else {}
        routes = await read_routes(kube, document) if text else {}
    if not text:
        sys.stdout.write(dump(presentable(document), output.value) + "\n")
        return 0
    from canary.cli.render_status import render_status

    console = make_console(no_color=common.no_color)
    symbols, now = symbols_for(console), datetime.now(UTC)
    found = [{**route, "kind": key.kind} for key, route in routes.items() if route is not None]
    picture = render_status(document, events, now, symbols=symbols, live=live, routes=found, program=o.program())
    show(console, picture)
    return 0
