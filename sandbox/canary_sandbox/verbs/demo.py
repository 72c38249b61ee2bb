from __future__ import annotations

from typing import Annotated

import typer

from canary.cli import options as o
from canary.cli.exits import CliError, ExitCode

HELP = o.guide(
    "Watch a good and a bad release; needs no Kubernetes.",
    ("demo", "with live pictures"),
    ("demo --plain", "line by line, for a log"),
)


@o.grouped()
def demo(
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Append lines instead of redrawing a picture.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the cluster running at the end, until Ctrl-C, to look around.")
    ] = False,
    local: o.Local,
) -> None:
    try:
        from canary_sandbox.demo import run_demo
    except ImportError as error:
        raise CliError(
            f"the demo needs more packages ({error.name or error} is missing); install canary-sandbox again",
            ExitCode.ERROR,
        ) from error
    from canary.cli.output import wants_color

    raise typer.Exit(run_demo(plain=plain, color=wants_color(no_color=local.no_color), keep=keep))
