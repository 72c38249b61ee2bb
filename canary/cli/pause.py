from __future__ import annotations

import typer

from canary.cli import options as o
from canary.cli.request import send

HELP = o.guide(
    "Keep a run where it is until it is resumed.",
    ("pause shop --reason 'looking into latency'", "stay at the current weight"),
)


def pause(
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
    send("pause", name, common, reason=reason, timeout=timeout, wait=not no_wait, replace=replace)
