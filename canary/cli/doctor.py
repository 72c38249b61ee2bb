from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from canary.cli import options as o
from canary.cli import rehearsal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from canary.cli.health import Diagnosis

HELP = o.guide(
    "Look at everything that canary needs: a line each, and what to do. Ends with 0, or 1 if something is broken.",
    ("doctor -n team-shop", "the cluster of the context, and the Rollouts of one namespace"),
    ("doctor -A --prometheus-url http://localhost:9090", "of all namespaces; also ask Prometheus"),
)


@o.grouped()
def doctor(
    *,
    prometheus_url: Annotated[
        str | None,
        typer.Option(
            "--prometheus-url",
            envvar="CANARY_PROMETHEUS_URL",
            metavar="URL",
            show_default=False,
            help="Prometheus to ask, as it is reached from here.",
        ),
    ] = None,
    all_namespaces: o.AllNamespaces = False,
    controller: rehearsal.Controller = rehearsal.CONTROLLER,
    output: o.OutputObject = o.ObjectFormat.TEXT,
    common: o.Common,
) -> None:
    from canary.cli.session import run

    who = rehearsal.account(controller)
    raise typer.Exit(run(_doctor(common, prometheus_url, who, everywhere=all_namespaces, output=output)))


async def _doctor(
    common: o.Common,
    prometheus_url: str | None,
    controller: tuple[str, str],
    *,
    everywhere: bool,
    output: o.ObjectFormat,
) -> int:
    from canary.cli.examine import cluster, prometheus
    from canary.cli.exits import ExitCode
    from canary.cli.health import Level

    found = [*await cluster(common, controller, everywhere=everywhere), *await prometheus(prometheus_url)]
    broken = any(diagnosis.level is Level.BROKEN for diagnosis in found)
    if output is o.ObjectFormat.TEXT:
        _show(found, common)
    else:
        from canary.cli.output import dump

        items = [
            {"name": item.name, "level": item.level.value, "message": item.message, "advice": item.advice}
            for item in found
        ]
        sys.stdout.write(dump({"ok": not broken, "checks": items}, output.value) + "\n")
    if any(diagnosis.refused for diagnosis in found):
        return ExitCode.FORBIDDEN
    return ExitCode.ERROR if broken else ExitCode.OK


def _show(found: Sequence[Diagnosis], common: o.Common) -> None:
    from rich.text import Text

    from canary.cli.health import Level
    from canary.cli.output import make_console, show, symbols_for
    from canary.view.words import clean

    console = make_console(no_color=common.no_color)
    symbols = symbols_for(console)
    looks = {
        Level.OK: (symbols.done, "green"),
        Level.DOUBT: (symbols.warn, "yellow"),
        Level.BROKEN: (symbols.failed, "red"),
    }
    for item in found:
        sign, style = looks[item.level]
        words = f"{clean(item.name)}: {clean(item.message)}"
        if item.advice:
            words += f"; {clean(item.advice)}"
        show(console, Text.assemble((f"{sign} ", style), " ".join(words.split())), width=10_000)
