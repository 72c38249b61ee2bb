from __future__ import annotations

import sys

import typer

from canary.cli import options as o

HELP = o.guide(
    "Show one Rollout: traffic, steps, checks, events.",
    ("status shop -n team-shop", "the whole picture, once"),
    ("status shop -o yaml", "the object, for programs"),
)


def status(
    ctx: typer.Context,
    name: o.Name,
    *,
    output: o.OutputObject = o.ObjectFormat.TEXT,
    namespace: o.Namespace = None,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    no_color: o.NoColor = False,
    debug: o.Debug = False,
) -> None:
    from canary.cli.session import run

    common = o.common(ctx, namespace=namespace, context=context, kubeconfig=kubeconfig, no_color=no_color, debug=debug)
    raise typer.Exit(run(_status(common, name, output)))


async def _status(common: o.Common, name: str, output: o.ObjectFormat) -> int:
    from datetime import UTC, datetime

    from canary.cli.output import dump, make_console, presentable, show, symbols_for
    from canary.cli.session import connected, events_of, get_rollout

    async with connected(common) as (kube, namespace):
        document = await get_rollout(kube, name, namespace)
        events = await events_of(kube, document) if output is o.ObjectFormat.TEXT else None
    if output is not o.ObjectFormat.TEXT:
        sys.stdout.write(dump(presentable(document), output.value) + "\n")
        return 0
    from canary.cli.render_status import render_status

    console = make_console(no_color=common.no_color)
    show(console, render_status(document, events, datetime.now(UTC), symbols=symbols_for(console)))
    return 0
