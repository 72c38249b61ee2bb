from __future__ import annotations

import typer

from canary.cli import options as o
from canary.cli.request import send

HELP = o.guide(
    "Start a run of the canary's current revision.",
    ("start shop -n team-shop", "start, and wait until the controller says so"),
    ("start shop --reason 'release 1.4'", "the reason is kept with the run"),
)


def start(
    ctx: typer.Context,
    name: o.Name,
    *,
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
    send("start", name, common, reason=reason, timeout=timeout, wait=not no_wait, replace=replace)
