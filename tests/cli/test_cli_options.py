"""Options by groups: declared once, and a verb that has them is short."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from canary.cli import options as o
from canary.cli.main import build


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
