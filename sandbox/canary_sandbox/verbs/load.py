from __future__ import annotations

from typing import Annotated

import typer

from canary.cli import options as o
from canary.cli.exits import CliError
from canary_sandbox.verbs import common as c

MAX_RPS = 1000
LONGEST = 3600.0
"""Seconds after which load ends by itself when nobody said how long."""

HELP = o.guide(
    "Send real requests through the gateway, and count answers by version, errors and latency. Ctrl-C ends it with a "
    "summary; after an hour it ends by itself.",
    ("sandbox load", "50 requests a second to the shop"),
    ("sandbox load --rps 200 --duration 1m -o json", "for a script: the summary as JSON"),
    ("sandbox load --url http://127.0.0.1:8080/cart --host cart.example.com", "to something else"),
)


@o.grouped()
def load(
    *,
    rps: Annotated[
        float, typer.Option("--rps", min=0.1, max=MAX_RPS, help="Requests a second, whatever the answers.")
    ] = 50,
    duration: Annotated[
        str | None,
        typer.Option("--duration", metavar="DURATION", show_default=False, help="How long; default: until Ctrl-C."),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", show_default=False, help="Where to; default: the shop.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", show_default=False, help="Host header; default: the shop's.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="A line every few seconds, even on a terminal.")] = False,
    folder: c.Folder = None,
    output: c.Output = c.Format.TEXT,
    local: o.Local,
) -> None:
    seconds = LONGEST if duration is None else o.seconds(duration, "--duration")
    if not 0 < seconds <= 24 * LONGEST:
        raise typer.BadParameter("between 1ms and 24h", param_hint="--duration")
    if url is not None and not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} is no URL; write for example http://127.0.0.1:8080", param_hint="--url")
    instance = None
    if url is None:
        from canary_sandbox.instance.client import ask

        instance = c.folder(folder)
        with c.talking():
            gateway = ask(instance, "GET", "/status")["gateway"]
        if not gateway["url"]:
            raise CliError("the example's Gateway is not there; say where with --url and --host")
        url, host = gateway["url"] + "/", host or gateway["host"]
    from canary_sandbox.verbs.loading import Settings, run

    raise typer.Exit(
        run(
            Settings(url, host or "", rps, seconds, plain=plain, json=output is c.Format.JSON),
            no_color=local.no_color,
            alive=None if instance is None else lambda: instance.held,
        )
    )
