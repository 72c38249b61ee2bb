"""What a picture looks like on a terminal of some width, as text."""

from __future__ import annotations

import io
from typing import Any

from cli_kit import EVENTS, NOW
from rich.console import Console

from canary.cli.output import show
from canary.cli.render_status import render_status


def text(renderable: Any, width: int = 100, *, color: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        color_system="standard" if color else None,
        force_terminal=color,
        markup=False,
        highlight=False,
        legacy_windows=False,
    )
    show(console, renderable)
    return stream.getvalue()


def picture(document: Any, width: int = 100, **options: Any) -> str:
    return text(render_status(document, options.pop("events", EVENTS), NOW, **options), width)


def line_with(shown: str, word: str) -> str:
    return next(line for line in shown.splitlines() if word in line)
