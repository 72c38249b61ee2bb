from __future__ import annotations

from typing import Annotated

import typer

from canary.cli import options as o

HELP = o.guide(
    "Follow a Rollout live; in a pipe, one line for each change.",
    ("watch shop -n team-shop", "until Ctrl-C, in as much room as the terminal has"),
    ("watch shop --exit --timeout 1h", "for a pipeline: 0 succeeded, 3 rolled back, 4 not over in time"),
)


@o.grouped()
def watch(
    name: o.Name,
    *,
    leave: Annotated[
        bool, typer.Option("--exit", help="Leave when the run is over: 0 succeeded, 3 rolled back, 1 invalid.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", show_default=False, help="Leave with 4 after that time."),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines for each change, even on a terminal.")] = False,
    common: o.Common,
) -> None:
    from canary.cli.session import run

    patience = None if timeout is None else o.seconds(timeout, "--timeout")
    raise typer.Exit(run(_watch(common, name, leave=leave, patience=patience, plain=plain)))


async def _watch(common: o.Common, name: str, *, leave: bool, patience: float | None, plain: bool) -> int:
    import asyncio

    from canary.cli.exits import CliError, ExitCode
    from canary.cli.follow import follow
    from canary.cli.live import Lines, Live
    from canary.cli.output import make_console, on_terminal
    from canary.cli.session import connected

    console = make_console(no_color=common.no_color, wide=plain)
    live = on_terminal(console) and not plain
    async with connected(common) as (kube, namespace):
        try:
            async with asyncio.timeout(patience):
                async with Live(console, kube) if live else Lines(console) as screen:
                    return await follow(kube, name, namespace, screen, leave=leave)
        except TimeoutError as error:
            words = f"{namespace}/{name}: the run was not over within {patience:g} s"
            raise CliError(words, ExitCode.TIMEOUT) from error
