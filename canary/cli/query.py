"""A query on a terminal: broken where PromQL has a joint, and inside a word only when there is no other way."""

from __future__ import annotations

import re

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_JOINT = re.compile(r"[^\s,({\[]*(?:[,({]+|\[[^\]]*\]|\s+|\[|$)")


def wrap_query(query: str, width: int) -> list[str]:
    """Lines of at most `width` characters. Joined again, they are the query but for spaces at the breaks."""
    lines: list[str] = []
    for declared in query.splitlines():
        current = ""
        for piece in filter(None, _JOINT.findall(declared.strip())):
            if current and len((current + piece).rstrip()) > width:
                lines.append(current.rstrip())
                current = ""
            current += piece
            while len(current.rstrip()) > width:
                lines.append(current[:width])
                current = current[width:]
        if current.strip():
            lines.append(current.rstrip())
    return lines


class Query:
    """A query as something that rich can lay out."""

    def __init__(self, query: str, style: str = "dim") -> None:
        self._query = query
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in wrap_query(self._query, max(8, options.max_width)):
            yield Text(line, style=self._style, no_wrap=True, overflow="fold")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(8, options.max_width), options.max_width)
