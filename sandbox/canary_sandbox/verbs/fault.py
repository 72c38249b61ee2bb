from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from canary.cli import options as o
from canary_sandbox.verbs import common as c

Json = dict[str, Any]

HELP = o.guide(
    "Make a version of the sandbox's applications fail or slow, at once and until it is cleared, without touching any "
    "Deployment. Replicas that start later behave so too. Without options: list the faults.",
    ("sandbox fault --version v2 --errors 20% --latency 300ms", "every fifth answer is a 500, and all take longer"),
    ("sandbox fault --version v2 --errors 0%", "no errors any more; the latency stays"),
    ("sandbox fault --clear", "all is well again (with --version: of one)"),
    ("sandbox fault", "what is wrong, and what runs"),
)


@o.grouped()
def fault(
    *,
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="VERSION",
            show_default=False,
            help="Which one: VERSION of the container's environment, or else the tag of its image.",
        ),
    ] = None,
    errors: Annotated[
        str | None,
        typer.Option("--errors", metavar="PERCENT", show_default=False, help="Share of answers that are 500, as 20%."),
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option("--latency", metavar="DURATION", show_default=False, help="Added to each answer, as 300ms."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take the faults away again.")] = False,
    folder: c.Folder = None,
    output: c.Output = c.Format.TEXT,
    _: o.Local,
) -> None:
    from canary_sandbox.instance.client import ask

    given = errors is not None or latency is not None
    if clear and given:
        raise typer.BadParameter(
            "takes faults away, so --errors and --latency have no place beside it", param_hint="--clear"
        )
    if given and version is None:
        raise typer.BadParameter("is needed: of which version?", param_hint="--version")
    if version is not None and not given and not clear:
        raise typer.BadParameter("needs --errors, --latency or --clear beside it", param_hint="--version")
    fault_of = {
        "version": version,
        "errors": None if errors is None else c.percent(errors),
        "latency": None if latency is None else o.seconds(latency, "--latency"),
    }
    instance = c.folder(folder)
    with c.talking():
        if clear:
            answer = ask(instance, "DELETE", "/faults", params={} if version is None else {"version": version})
        elif given:
            answer = ask(instance, "PUT", "/faults", json=fault_of)
        else:
            answer = ask(instance, "GET", "/faults")
    if output is c.Format.JSON:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        return
    if clear:
        of = ", ".join(answer["cleared"])
        sys.stdout.write(f"cleared: {of}\n" if of else "there was nothing to clear\n")
    sys.stdout.write("\n".join(lines(answer["faults"], answer["versions"])) + "\n")


def lines(faults: Json, versions: Json) -> Iterator[str]:
    """The faults, and what runs."""
    if not faults:
        yield "no faults"
    for version, what in faults.items():
        parts = []
        if what["errors"] is not None:
            parts.append(f"{c.as_percent(what['errors'])} of its answers are errors")
        if what["latency"] is not None:
            parts.append(f"{c.as_milliseconds(what['latency'])} later")
        number = versions.get(version, 0)
        where = f"{number} replica{'s' * (number != 1)}" if number else "no replica yet: those that start will be told"
        yield f"{version}: {', '.join(parts)} ({where})"
    running = ", ".join(f"{version} ({number})" for version, number in versions.items())
    yield f"running: {running or 'nothing'}"
