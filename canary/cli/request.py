"""What the verbs that ask for something share: leave the request, wait, print the outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from canary.cli import options as o

if TYPE_CHECKING:
    from canary.cli.ask import Ask


def verb(word: str) -> Callable[..., None]:
    """The command of a verb that asks for itself and nothing more."""

    @o.grouped()
    def command(name: o.Name, *, asking: o.Asking, common: o.Common) -> None:
        send(word, name, asking, common)

    return command


def send(verb: str, name: str, asking: o.Asking, common: o.Common, *, ignore_unknown: bool = False) -> None:
    """Make one request and leave with its exit code."""
    from canary.cli.session import run

    patience = o.seconds(asking.timeout, "--timeout")
    from canary.cli.ask import Ask
    from canary.model.requests import Verb

    def ask(namespace: str) -> Ask:
        return Ask(Verb(verb), name, namespace, asking.reason, patience, asking.replace, ignore_unknown)

    raise typer.Exit(run(_send(ask, common, wait=not asking.no_wait)))


async def _send(asking: Callable[[str], Ask], common: o.Common, *, wait: bool) -> int:
    from canary.cli.ask import answer, leave
    from canary.cli.exits import ExitCode
    from canary.cli.output import make_console, show, symbols_for
    from canary.cli.session import connected
    from canary.view.words import clean

    async with connected(common) as (kube, namespace):
        ask = asking(namespace)
        request = await leave(kube, ask)
        if not wait:
            sys.stdout.write(f"{ask.verb} {namespace}/{ask.name}: requested ({request.id})\n")
            return ExitCode.OK
        answered = await answer(kube, ask, request)
    from rich.text import Text

    console = make_console(no_color=common.no_color, stderr=answered.refused, wide=True)
    symbols = symbols_for(console)
    sign = (f"{symbols.failed} ", "red") if answered.refused else (f"{symbols.done} ", "green")
    show(console, Text.assemble(sign, f"{ask.verb} {namespace}/{ask.name}: {clean(answered.words)}"))
    return ExitCode.REFUSED if answered.refused else ExitCode.OK
