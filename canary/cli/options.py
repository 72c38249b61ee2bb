"""What the verbs have in common on the command line: options, examples, and where they may stand."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from canary.cli.complete import complete_names

PLUGIN = "kubectl-canary"


def program() -> str:
    """The words people typed to get here: `canary`, or `kubectl canary` as a plugin of kubectl."""
    return "kubectl canary" if Path(sys.argv[0]).stem.startswith(PLUGIN) else "canary"


def guide(summary: str, *commands: tuple[str, str]) -> str:
    """The help text of a verb: what it does, then examples as (arguments, what for)."""
    width = max(len(arguments) for arguments, _ in commands)
    lines = [f"  {program()} {arguments.ljust(width)}  # {what}" for arguments, what in commands]
    return f"{summary}\n\n\b\nExamples:\n" + "\n".join(lines)


class ListFormat(StrEnum):
    """Formats of a list."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class ObjectFormat(StrEnum):
    """Formats of one object."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class Common:
    """Options that every verb understands. None: not given, so what stands before the verb counts."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    no_color: bool = False
    debug: bool = False

    def over(self, before: Common | None) -> Common:
        """These options, and where they are silent those given before the verb."""
        if before is None:
            return self
        return replace(
            self,
            namespace=self.namespace or before.namespace,
            context=self.context or before.context,
            kubeconfig=self.kubeconfig or before.kubeconfig,
            no_color=self.no_color or before.no_color,
            debug=self.debug or before.debug,
        )


def common(
    ctx: typer.Context,
    *,
    namespace: str | None = None,
    context: str | None = None,
    kubeconfig: str | None = None,
    no_color: bool = False,
    debug: bool = False,
) -> Common:
    """The options of a verb with those given before it; also switches --debug on."""
    before = ctx.obj if isinstance(ctx.obj, Common) else None
    options = Common(namespace, context, kubeconfig, no_color, debug).over(before)
    if options.debug:
        os.environ["CANARY_DEBUG"] = "1"
    return options


def debugging() -> bool:
    """Whether tracebacks are wanted: --debug, or CANARY_DEBUG set to anything but 0 or nothing."""
    return os.environ.get("CANARY_DEBUG", "") not in {"", "0", "false"}


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the Rollout.", autocompletion=complete_names, show_default=False)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "-n", "--namespace", metavar="NAMESPACE", help="Namespace; default: the one of the context.", show_default=False
    ),
]
AllNamespaces = Annotated[bool, typer.Option("-A", "--all-namespaces", help="Look in every namespace.")]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="CONTEXT", help="Context of the kubeconfig to use.", show_default=False),
]
Kubeconfig = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="Kubeconfig to use; default: $KUBECONFIG, then ~/.kube/config.",
        show_default=False,
    ),
]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (also: NO_COLOR, or no terminal).")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and what is sent (also: CANARY_DEBUG=1).")]
OutputObject = Annotated[
    ObjectFormat, typer.Option("-o", "--output", help="text for people, json or yaml for programs.")
]
OutputList = Annotated[
    ListFormat, typer.Option("-o", "--output", help="table or wide for people, json or yaml for programs.")
]
Selector = Annotated[
    str | None,
    typer.Option("-l", "--selector", metavar="SELECTOR", help="Label selector, e.g. team=shop.", show_default=False),
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; recorded with the request.", show_default=False)
]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long to wait for the controller's answer.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Leave the request and go; do not wait for the answer.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace a request that the controller has not answered yet.")]


def seconds(text: str, option: str) -> float:
    """Read a duration such as 30s or 1m30s.

    Raises:
        typer.BadParameter: not one.

    """
    from canary.model.values import Duration

    try:
        return Duration.parse(text).seconds
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
