from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from canary.cli import options as o

if TYPE_CHECKING:
    from canary.view.workloads import Live

HELP = o.guide(
    "List Rollouts: phase, step, weight, checks.",
    ("list", "those of the current namespace; lines are cut to the terminal"),
    ("list -A -l team=shop", "of every namespace, by label"),
    ("list -o wide", "with revisions, images and ready replicas; nothing is cut"),
)


@o.grouped("namespace")
def list_(
    *,
    all_namespaces: o.AllNamespaces = False,
    selector: o.Selector = None,
    output: o.OutputList = o.ListFormat.TABLE,
    common: o.Common,
) -> None:
    from canary.cli.session import run

    raise typer.Exit(run(_list(common, everywhere=all_namespaces, selector=selector, output=output)))


async def _list(common: o.Common, *, everywhere: bool, selector: str | None, output: o.ListFormat) -> int:
    from datetime import UTC, datetime

    from canary.cli.deployments import read_live
    from canary.cli.exits import CliError, ExitCode
    from canary.cli.output import ENDLESS, dump, make_console, presentable, show, symbols_for
    from canary.cli.session import connected, list_rollouts
    from canary.errors import Refused
    from canary.kube import ROLLOUTS
    from canary.view.rollout import view

    wide = output is o.ListFormat.WIDE
    live: Live = {}
    async with connected(common) as (kube, namespace):
        try:
            found = await list_rollouts(kube, None if everywhere else namespace, selector)
        except Refused as error:
            if not selector or error.status != 400:
                raise
            words = f"--selector {selector!r} is none: {error}; write for example team=shop,tier!=test"
            raise CliError(words, ExitCode.USAGE) from error
        if wide:
            live = await read_live(kube, map(view, found["items"]))
    typed = {"apiVersion": ROLLOUTS.api_version, "kind": ROLLOUTS.kind}
    items = [{**typed, **presentable(item)} for item in found["items"]]
    if output in {o.ListFormat.JSON, o.ListFormat.YAML}:
        sys.stdout.write(dump({"apiVersion": "v1", "kind": "List", "items": items}, output.value) + "\n")
        return 0
    if not items:
        where = "in any namespace" if everywhere else f"in namespace {namespace}"
        sys.stderr.write(f"No Rollouts {where}{' with these labels' if selector else ''}.\n")
        return 0
    from canary.cli.render_list import render_list

    console = make_console(no_color=common.no_color, wide=True)
    width = console.width if console.file.isatty() and not wide else None
    lines = render_list(
        items,
        datetime.now(UTC),
        wide=wide,
        namespaces=everywhere,
        width=width,
        live=live,
        symbols=symbols_for(console),
    )
    show(console, *lines, width=ENDLESS)
    return 0
