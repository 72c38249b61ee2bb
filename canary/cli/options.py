"""What the verbs have in common on the command line: options, examples, and where they may stand."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from canary.cli.complete import complete_names

PLUGIN = "kubectl-canary"


def program() -> str:
    """The words people typed to get here: `canary`, or `kubectl canary` as a plugin of kubectl."""
    return "kubectl canary" if Path(sys.argv[0]).stem.startswith(PLUGIN) else "canary"


def guide(summary: str, *commands: tuple[str, str]) -> str:
    """The help text of a verb: what it does, then examples as (arguments, what for), which fit into 80 columns."""
    lines = [f"  # {what}\n  {program()} {arguments}" for arguments, what in commands]
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


def debugging() -> bool:
    """Whether tracebacks are wanted: --debug, or CANARY_DEBUG set to anything but 0 or nothing."""
    return os.environ.get("CANARY_DEBUG", "") not in {"", "0", "false"}


def named(name: str) -> str:
    """The name that was given. Raises typer.BadParameter for one that is empty, as of a variable of a script that is not set."""
    if not name.strip():
        raise typer.BadParameter("is empty")
    return name


def each_named(names: list[str]) -> list[str]:
    """The same of several."""
    return [named(name) for name in names]


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the Rollout.",
        autocompletion=complete_names,
        show_default=False,
        callback=named,
    ),
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


@dataclass(frozen=True, slots=True)
class Common:
    """Options of a verb that looks at a cluster. None: given neither to the verb nor before it."""

    namespace: Namespace = None
    context: Context = None
    kubeconfig: Kubeconfig = None
    no_color: NoColor = False
    debug: Debug = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """Options of a verb that shows nothing and has its own idea of namespaces."""

    context: Context = None
    kubeconfig: Kubeconfig = None
    debug: Debug = False


@dataclass(frozen=True, slots=True)
class Local:
    """Options of a verb that looks at no cluster."""

    no_color: NoColor = False
    debug: Debug = False


@dataclass(frozen=True, slots=True)
class Asking:
    """Options of a verb that asks the controller for something."""

    reason: Reason = ""
    timeout: Timeout = "30s"
    no_wait: NoWait = False
    replace: Replace = False


def grouped(*first: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a verb have options by groups: a parameter whose type is a dataclass stands for an option per field of it.

    What was not given to the verb counts as it was given before it (`canary -n shop status`). `first` are options that
    `--help` lists before the others, which come in their order in the verb and in the groups.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        declared = inspect.signature(verb, eval_str=True).parameters
        groups: dict[str, Any] = {
            name: own.annotation for name, own in declared.items() if is_dataclass(own.annotation)
        }
        shown = {"ctx": _parameter("ctx", typer.Context)}
        for name, own in declared.items():
            if name in groups:
                types = get_type_hints(own.annotation, include_extras=True)
                shown |= {
                    one.name: _parameter(one.name, types[one.name], one.default) for one in fields(own.annotation)
                }
            else:
                shown[name] = _parameter(name, own.annotation, own.default)

        def command(*, ctx: typer.Context, **given: Any) -> None:
            for name, group in groups.items():
                taken = group(**{one.name: given.pop(one.name) for one in fields(group)})
                given[name] = _over(taken, ctx.obj)
                if getattr(given[name], "debug", False):
                    os.environ["CANARY_DEBUG"] = "1"
            verb(**given, **({"ctx": ctx} if "ctx" in declared else {}))

        command.__name__, command.__doc__ = verb.__name__, verb.__doc__
        # What typer reads, instead of what is written above.
        command.__annotations__ = {name: one.annotation for name, one in shown.items()}
        in_order = sorted(shown.values(), key=lambda one: one.name not in first)
        command.__signature__ = inspect.Signature(in_order)  # type: ignore[attr-defined] # inspect looks for it
        return command

    return decorate


def overruled(ctx: typer.Context) -> tuple[str, ...]:
    """Variables that are set and do not count, in words: the option says something else, or the variable by its new name does."""
    found = []
    for option in ctx.command.params:
        names = [option.envvar] if isinstance(option.envvar, str) else [*(option.envvar or ())]
        given = [name for name in names if os.environ.get(name)]
        source = ctx.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE":
            counts, others = option.opts[0], given
        else:
            counts, others = next(iter(given), ""), given[1:]
        said = str(ctx.params.get(option.name or ""))
        found += [f"{counts} counts, not {name}" for name in others if os.environ[name] != said]
    return tuple(found)


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _over(given: Any, before: object) -> Any:
    """A group of options, and where they are silent those given before the verb."""
    known = [field.name for field in fields(given) if hasattr(before, field.name)]
    return replace(given, **{name: getattr(given, name) or getattr(before, name) for name in known})


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
