from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canary.cli.exits import CliError, ExitCode

if TYPE_CHECKING:
    from canary_sandbox.instance.folder import Folder as InstanceFolder

Json = dict[str, Any]

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        envvar="CANARY_SANDBOX_FOLDER",
        metavar="DIR",
        show_default=False,
        help="Where the sandbox keeps its state, logs and kubeconfig; one sandbox per folder. "
        "Default: canary/sandbox in $XDG_STATE_HOME, or in ~/.local/state.",
    ),
]


class Format(StrEnum):
    """Formats of an answer."""

    TEXT = "text"
    JSON = "json"


Output = Annotated[Format, typer.Option("-o", "--output", help="text for people, json for programs.")]


def folder(path: Path | None) -> InstanceFolder:
    """The sandbox's folder. Raises CliError where there can be no sandbox."""
    try:
        from canary_sandbox.instance.folder import Folder as InstanceFolder
        from canary_sandbox.instance.folder import default_folder
    except ImportError as error:  # no fcntl: there is no Envoy for such a system either
        raise CliError(f"the sandbox needs Linux or macOS ({error.name or error} is missing)") from error

    return InstanceFolder(default_folder() if path is None else path)


@contextmanager
def talking() -> Iterator[None]:
    """Turns a sandbox that is not up into an exit code of its own."""
    from canary_sandbox.instance.client import NotUpError

    try:
        yield
    except NotUpError as error:
        raise CliError(str(error), ExitCode.UNREACHABLE) from error


def percent(text: str) -> float:
    """A share (0..1) from `20%`. Raises typer.BadParameter for anything else: 20 and 0.2 could mean either."""
    from canary.model.values import Share

    try:
        if not text.endswith("%"):
            raise ValueError("no percent sign")  # noqa: TRY301  one sentence for all that is none
        return float(Share.parse(text).percent) / 100
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no percentage; write for example 20%", param_hint="--errors") from error


def as_percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.4g} %"


def as_milliseconds(seconds: float) -> str:
    """A time as people read it: three digits of it."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
