from __future__ import annotations

from typing import Annotated

import typer

from canary.cli import options as o
from canary.cli.request import send

HELP = o.guide(
    "Approve the step that waits, or with --full skip the rest.",
    ("promote shop -n team-shop", "approve the current step"),
    ("promote shop --full --reason 'hotfix'", "straight to the promotion; checks still have to pass"),
    ("promote shop --full --ignore-unknown", "also past checks that are Unknown: Prometheus is down, say"),
)


@o.grouped()
def promote(
    name: o.Name,
    *,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Skip the steps, holds, gates and approvals that are left; checks that fail or are Unknown still object.",
        ),
    ] = False,
    ignore_unknown: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown",
            help="With --full: go on although checks are Unknown. Nobody then knows whether the release is good.",
        ),
    ] = False,
    asking: o.Asking,
    common: o.Common,
) -> None:
    if ignore_unknown and not full:
        raise typer.BadParameter("goes with --full only", param_hint="--ignore-unknown")
    send("promote-full" if full else "promote", name, asking, common, ignore_unknown=ignore_unknown)
