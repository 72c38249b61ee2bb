"""Lays an explanation out for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from textwrap import dedent

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from canary.cli.output import UNICODE, Symbols
from canary.cli.query import Query
from canary.view.explanation import Section


def render_explanation(sections: Sequence[Section], now: datetime, *, symbols: Symbols = UNICODE) -> RenderableType:
    """Sections one below the other; the time they are true at comes last."""
    parts: list[RenderableType] = []
    for section in sections:
        parts += [
            Text(section.title, style="bold"),
            *(_paragraph(text, symbols) for text in section.paragraphs),
            Text(),
        ]
    return Group(*parts, Text(f"as of {now:%H:%M:%S} UTC", style="dim"))


def _paragraph(text: str, symbols: Symbols) -> RenderableType:
    if text.startswith("    "):
        return Padding(Text(dedent(text), style="dim", no_wrap=True, overflow="fold"), (0, 0, 0, 6))
    if text.startswith("  "):
        return Padding(Query(text), (0, 0, 0, 6))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(f"  {symbols.bullet}", style="dim"), Text(text))
    return grid
