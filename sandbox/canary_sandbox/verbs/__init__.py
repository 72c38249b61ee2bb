"""`canary sandbox` and `canary demo`: one file per verb, and what they have in common.

The two functions are entry points of the group `canary.verbs`: this is how the program comes to know of them.
"""

from __future__ import annotations

import typer

from canary.cli.groups import RUN, group


def add_sandbox(app: typer.Typer) -> None:
    """`canary sandbox`."""
    from canary_sandbox.verbs import down, fault, load, status, up

    sandbox = group()
    sandbox.command("up", help=up.HELP)(up.up)
    sandbox.command("status", help=status.HELP)(status.status)
    sandbox.command("load", help=load.HELP)(load.load)
    sandbox.command("fault", help=fault.HELP)(fault.fault)
    sandbox.command("down", help=down.HELP)(down.down)
    app.add_typer(sandbox, name="sandbox", help="Run a cluster of your own; needs no Kubernetes.", rich_help_panel=RUN)


def add_demo(app: typer.Typer) -> None:
    """`canary demo`."""
    from canary_sandbox.verbs import demo

    app.command("demo", help=demo.HELP, rich_help_panel=RUN)(demo.demo)
