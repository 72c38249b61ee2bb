from __future__ import annotations

from typing import Annotated

import typer

from canary.cli import options as o
from canary.cli.request import send

HELP = o.guide(
    "Approve the step that waits, or with --full skip the rest.",
    ("promote shop -n team-shop", "approve the current step"),
    ("promote shop --full --reason 'hotfix'", "straight to the promotion"),
)


def promote(
    ctx: typer.Context,
    name: o.Name,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Skip the holds and approvals that are left; a failing check still objects.")
    ] = False,
    reason: o.Reason = "",
    timeout: o.Timeout = "30s",
    no_wait: o.NoWait = False,
    replace: o.Replace = False,
    namespace: o.Namespace = None,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    no_color: o.NoColor = False,
    debug: o.Debug = False,
) -> None:
    common = o.common(ctx, namespace=namespace, context=context, kubeconfig=kubeconfig, no_color=no_color, debug=debug)
    send(
        "promote-full" if full else "promote",
        name,
        common,
        reason=reason,
        timeout=timeout,
        wait=not no_wait,
        replace=replace,
    )
