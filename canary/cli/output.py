"""Where output goes and what it may look like there: colours, symbols, width; JSON and YAML."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Json = dict[str, Any]

PIPED_WIDTH = 100
"""Columns for status and explain when the output is no terminal and COLUMNS is not set."""

ENDLESS = 10_000
"""Columns for lines that must not break, whatever the terminal has."""


@dataclass(frozen=True, slots=True)
class Symbols:
    """Every character that is not ASCII, so that there is a way to do without."""

    done: str = "✓"
    failed: str = "✗"
    current: str = "▶"
    next: str = "○"
    skipped: str = "–"  # noqa: RUF001 - meant: neither done nor failed
    unknown: str = "?"
    paused: str = "‖"
    undo: str = "↺"
    warn: str = "!"
    dot: str = "·"
    full: str = "━"
    empty: str = "─"
    times: str = "×"  # noqa: RUF001 - meant: the sign of multiplication
    bullet: str = "•"
    more: str = "…"


UNICODE = Symbols()
ASCII = Symbols(
    done="+",
    failed="x",
    current=">",
    next="o",
    skipped="-",
    paused="=",
    undo="<",
    dot="-",
    full="#",
    empty=".",
    times="x",
    bullet="-",
    more="~",
)

PHASE_STYLES = {
    "Idle": "dim",
    "Progressing": "cyan",
    "Paused": "yellow",
    "Promoting": "cyan",
    "RollingBack": "red",
    "Succeeded": "green",
    "RolledBack": "red",
    "Invalid": "red",
}
VERDICT_STYLES = {"Pass": "green", "Fail": "red", "Unknown": "yellow"}


def phase_symbol(phase: str, symbols: Symbols) -> str:
    """One character for a phase."""
    return {
        "Progressing": symbols.current,
        "Promoting": symbols.current,
        "Paused": symbols.paused,
        "RollingBack": symbols.undo,
        "RolledBack": symbols.undo,
        "Succeeded": symbols.done,
        "Invalid": symbols.failed,
    }.get(phase, symbols.next)


def make_console(*, no_color: bool, stderr: bool = False, wide: bool = False) -> Console:
    """A console without guesses of its own: no markup, no highlighting, no colours unless wanted.

    `wide`: lines never break when the output is no terminal, because a program may be reading them.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None
    if not stream.isatty():
        width = ENDLESS if wide else _columns()
    return Console(
        file=stream,
        color_system="auto" if wants_color(no_color=no_color) else None,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
    )


def wants_color(*, no_color: bool) -> bool:
    """Whether nobody spoke against colours; rich itself leaves them out where there is no terminal."""
    return not no_color and not os.environ.get("NO_COLOR")


def show(console: Console, *renderables: RenderableType, width: int | None = None) -> None:
    """Print without the spaces that pad cells at the ends of lines; `width` may be wider than the terminal."""
    before = console.width
    console.width = width or before
    with console.capture() as captured:
        for renderable in renderables:
            console.print(renderable)
    console.width = before
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")
    console.file.flush()


def on_terminal(console: Console) -> bool:
    """Whether there is a terminal on which something can be drawn in place; FORCE_COLOR makes none of a pipe."""
    return console.file.isatty() and not console.is_dumb_terminal


def symbols_for(console: Console) -> Symbols:
    """Unicode where the stream can carry it."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


def tolerate_encoding() -> None:
    """Let a character that the terminal cannot show become `?` and not a crash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdigit() and int(given) > 0 else PIPED_WIDTH


def presentable(document: Json) -> Json:
    """An object as people want to read it: without `managedFields`, as kubectl shows it."""
    metadata = {key: value for key, value in (document.get("metadata") or {}).items() if key != "managedFields"}
    return {**document, "metadata": metadata}


def dump(document: Mapping[str, Any], fmt: str) -> str:
    """Write JSON (two spaces) or YAML; escaped where the stream could not carry the characters."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    if fmt == "json":
        return json.dumps(document, indent=2, ensure_ascii=not unicode)
    import yaml

    from canary.lint.source import PLAIN

    class Quoting(yaml.SafeDumper):
        """Text that kubectl would read as a number or a boolean stands in quotes."""

    for tag, pattern, first in PLAIN:
        Quoting.add_implicit_resolver(tag, pattern, [*first])
    text: str = yaml.dump(dict(document), Dumper=Quoting, sort_keys=False, allow_unicode=unicode, width=100)
    return text.rstrip("\n")
