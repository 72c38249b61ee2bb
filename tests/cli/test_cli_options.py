"""Options by groups: declared once, and a verb that has them is short."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from cli_kit import COLD
from typer.testing import CliRunner

from canary.cli import options as o
from canary.cli.exits import ExitCode, describe
from canary.cli.main import build
from canary.cli.output import dump
from canary.errors import HistoryError
from canary.lint.source import read

EXAMPLE = Path(__file__).parents[2] / "examples" / "compare"


@dataclass(frozen=True, slots=True)
class Colour:
    """A group of one's own, as a verb of another distribution may have it."""

    colour: Annotated[str, typer.Option("--colour", help="Which.")] = "red"


@pytest.fixture
def seen() -> list[Any]:
    """What the verbs were called with."""
    return []


@pytest.fixture
def app(seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.delenv("CANARY_DEBUG", raising=False)
    app = typer.Typer(rich_markup_mode=None)

    @app.callback()
    @o.grouped()
    def root(ctx: typer.Context, common: o.Common) -> None:
        ctx.obj = common

    @app.command("paint")
    @o.grouped("namespace", "colour")
    def paint(name: o.Name, *, plain: bool = False, colour: Colour, common: o.Common) -> None:
        seen.append((name, plain, colour, common))

    @app.command("ask")
    @o.grouped()
    def ask(ctx: typer.Context, name: o.Name, *, asking: o.Asking, local: o.Local) -> None:
        seen.append((ctx.obj.namespace, name, asking, local))

    return app


def run(app: typer.Typer, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_a_verb_is_given_its_groups(app: typer.Typer, seen: list[Any]) -> None:
    """Whatever was not said has the default of its field."""
    run(app, "paint", "shop", "--plain", "--colour", "blue", "-n", "team")
    run(app, "paint", "shop")
    run(app, "ask", "shop", "--reason", "why", "--no-wait")
    assert seen == [
        ("shop", True, Colour("blue"), o.Common(namespace="team")),
        ("shop", False, Colour(), o.Common()),
        (None, "shop", o.Asking(reason="why", no_wait=True), o.Local()),
    ]


def test_what_was_said_before_the_verb_counts_where_the_verb_says_nothing(app: typer.Typer, seen: list[Any]) -> None:
    """In every group that has such an option; a verb's own word goes first."""
    run(app, "-n", "before", "--context", "far", "--no-color", "paint", "shop", "-n", "team")
    run(app, "-n", "before", "--no-color", "ask", "shop")
    assert seen == [
        ("shop", False, Colour(), o.Common(namespace="team", context="far", no_color=True)),
        ("before", "shop", o.Asking(), o.Local(no_color=True)),
    ]


@pytest.mark.parametrize("arguments", [("--debug", "ask", "shop"), ("ask", "shop", "--debug")])
def test_debug_is_switched_on_wherever_it_is_said(
    app: typer.Typer, seen: list[Any], arguments: tuple[str, ...]
) -> None:
    """Before the verb or after it, in whichever group; without it nothing is."""
    run(app, "ask", "shop")
    assert not o.debugging()
    run(app, *arguments)
    assert o.debugging()
    del os.environ["CANARY_DEBUG"]


def test_help_lists_options_in_their_order(app: typer.Typer) -> None:
    """As the verb and its groups declare them, but for those that come first."""
    listed = re.findall(r"^ +(?:-\w, )?(--[\w-]+)", run(app, "paint", "--help"), re.MULTILINE)
    assert listed == [
        "--colour",
        "--namespace",
        "--plain",
        "--context",
        "--kubeconfig",
        "--no-color",
        "--debug",
        "--help",
    ]
    assert "default: red" in run(app, "paint", "--help")


def test_what_a_verb_does_not_know_is_refused(app: typer.Typer, seen: list[Any]) -> None:
    """An option of a group that the verb does not have, or none at all."""
    run(app, "ask", "shop", "-n", "team", code=2)
    run(app, "ask", code=2)
    assert seen == []


@pytest.mark.parametrize("name", ["", " "])
@pytest.mark.parametrize(
    "verb",
    [
        *("status", "explain", "watch", "start", "promote", "pause", "resume", "abort", "retry", "wait --for idle"),
        *("plan", "plan rollout.yaml", "notify test", "lint", "backtest --from 1h"),
    ],
)
def test_an_empty_name_is_a_matter_of_the_command_line(verb: str, name: str) -> None:
    """As a script has it whose variable is not set: it is said so, and nothing is asked of a cluster or read of the working directory."""
    ran = CliRunner().invoke(build(), [*verb.split(), name])
    words = ran.stderr + str(ran.exception)
    assert getattr(ran.exception, "code", ran.exit_code) == 2, words
    assert "is empty" in words


def test_what_cannot_be_written_is_nothing_to_report() -> None:
    """A disk that is full is the reader's matter, and so is a Prometheus that is elsewhere: each says what to look at."""
    words, code = describe(OSError(errno.ENOSPC, "No space left on device"))
    assert (words, code) == ("cannot write: No space left on device; what was printed is not whole", ExitCode.ERROR)
    assert (
        "--prometheus-url" in describe(HistoryError("http://localhost:9090 cannot be reached: connection refused"))[0]
    )
    assert "please report it" in describe(OSError(errno.EBADF, "Bad file descriptor"))[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_full_disk_ends_with_1() -> None:
    """As a process whose standard output is one."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([*COLD, "lint", str(EXAMPLE)], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == "Error: cannot write: No space left on device; what was printed is not whole\n"


def verbs(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Each verb, and each group, by the words that name it."""
    below = getattr(command, "commands", {})
    return [path, *(one for name, child in below.items() for one in verbs(child, (*path, name)))]


@pytest.mark.parametrize("verb", verbs(typer.main.get_command(build())), ids=" ".join)
def test_help_fits_into_80_columns(verb: tuple[str, ...]) -> None:
    """Examples, too: what is longer is broken by the terminal, in the middle of a word."""
    shown = CliRunner().invoke(build(), [*verb, "--help"], env={"COLUMNS": "80"}, terminal_width=80).stdout
    assert shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("text", ["y", "N", "12e4567", "0o17", "08", "=", "true", "5", "017", "plain"])
def test_what_is_printed_as_yaml_is_the_same_for_kubectl(text: str) -> None:
    """A label or a revision that looks like a number stays a text when it is applied again."""
    assert read(dump({"a": text}, "yaml"), "m.yaml")[0][0].content == {"a": text}
