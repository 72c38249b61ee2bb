"""Commands under headings, and the headings."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

LOOK, STEER, CHECK, RUN = "Look", "Steer", "Check", "Run"


class Grouped(TyperGroup):
    """Lists the commands under their headings; typer does so only in rich help, which takes twice the time."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        longest = max(len(name) for name, _ in commands)
        for name, command in commands:
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                heading = panel if isinstance(panel, str) else "Commands"
                text = command.get_short_help_str(formatter.width - longest - 6)
                panels.setdefault(heading, []).append((name.ljust(longest), text))
        for heading, rows in panels.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


class Program(Grouped):
    """The program's own verbs, and after them those of other distributions; these are loaded when they are needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        from canary.cli.plugins import verbs

        own = super().list_commands(ctx)
        return [*own, *(verb for verb in verbs() if verb not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from canary.cli.plugins import load

        return super().get_command(ctx, cmd_name) or load(cmd_name)


def group() -> typer.Typer:
    """A verb that has verbs of its own."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, cls=Grouped)
