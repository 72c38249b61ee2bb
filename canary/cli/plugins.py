"""Verbs that other distributions bring: functions behind entry points of the group `canary.verbs`.

An entry point is named like its verb; its function is given a `typer.Typer` and adds that verb to it. It is loaded when the
verb is called or listed, and has to import as little as `--help` needs.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import typer
from typer.main import get_group

from canary.cli.exits import CliError
from canary.cli.options import program

GROUP = "canary.verbs"
ELSEWHERE = {"sandbox": "canary-sandbox", "demo": "canary-sandbox"}
"""Verbs that the documentation speaks of, by the distribution that brings them."""


def verbs() -> list[str]:
    """Their names; those of ELSEWHERE come first, installed or not."""
    return list(dict.fromkeys([*ELSEWHERE, *sorted(entry_points(group=GROUP).names)]))


def load(verb: str) -> Any:
    """The command behind a verb; None for a word that is none.

    A verb that is not installed, or cannot be loaded, is a command that says so, in one sentence, whatever it is asked.
    """
    for point in entry_points(group=GROUP, name=verb):
        app = typer.Typer(rich_markup_mode=None)
        try:
            point.load()(app)
            return get_group(app).commands[verb]
        except Exception as error:  # noqa: BLE001  somebody else's code: the other verbs go on without it
            brings = point.dist.name if point.dist else point.value
            return _refusal(verb, f"cannot be loaded ({error}); install {brings} in the version of this program")
    if verb in ELSEWHERE:
        return _refusal(
            verb,
            f"is not part of this installation; install {ELSEWHERE[verb]} beside it "
            "(in a checkout of canary: pip install ./sandbox)",
        )
    return None


def _refusal(verb: str, why: str) -> Any:
    def refuse() -> None:
        raise CliError(f"`{program()} {verb}` {why}")

    app = typer.Typer(rich_markup_mode=None)
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command(verb, hidden=True, add_help_option=False, context_settings=settings)(refuse)
    return get_group(app).commands[verb]
