"""Draws the figures of the report as plain SVG: alarms at healthy canaries, and how soon bad ones are caught."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench.judgement.report import LOOKS, OURS

Json = dict[str, Any]

_CURVES = ("2 times the errors", "3 times the errors", "10 times the errors", "2 times the errors from look 20")
_COLORS = {
    "compare": "#1f77b4",
    "> 2 %, 5 in a row": "#8c564b",
    "> 2 %, 5 in all": "#d62728",
    "> 2 %, 5 of 10": "#ff7f0e",
    "limit: rates known": "#2ca02c",
    "limit: ratio known": "#9467bd",
}
_STYLE = "text{font:11px sans-serif}.e{text-anchor:end}.m{text-anchor:middle}line{stroke:#ccc}polyline{fill:none;stroke-width:1.6}"
_MOST = 25
"""Percent of false alarms up to which the figure reaches; what is more stands at its edge."""


def draw(document: Json, folder: Path) -> None:
    """Write alarms.svg and caught.svg. The same figures give the same files."""
    (folder / "alarms.svg").write_text("\n".join(_alarms(document)) + "\n")
    (folder / "caught.svg").write_text("\n".join(_caught(document)) + "\n")


def _svg(width: int, height: int, body: Iterator[str]) -> Iterator[str]:
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    yield f'<style>{_STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>'
    yield from body
    yield "</svg>"


def _alarms(document: Json) -> Iterator[str]:
    healthy = [one for one in document["results"] if not one["bad"]]
    today = [one for one in healthy if one["scenario"] == "healthy" and one["method"] not in OURS]
    rows = [*today, *(one for one in healthy if one["method"] in OURS)]
    height = 15 * len(rows) + 45
    return _svg(900, height, _dots(rows, today, 100 * document["alpha"], height))


def _dots(rows: Sequence[Json], today: Sequence[Json], alpha: float, height: int) -> Iterator[str]:
    def x(percent: float) -> str:
        return f"{430 + 18 * min(percent, _MOST):.1f}"

    for tick in range(0, _MOST + 1, 5):
        yield f'<line x1="{x(tick)}" x2="{x(tick)}" y1="5" y2="{height - 35}"/><text class="m" x="{x(tick)}" y="{height - 22}">{tick}</text>'
    yield f'<line x1="{x(alpha)}" x2="{x(alpha)}" y1="5" y2="{height - 35}" style="stroke:#000;stroke-dasharray:4"/>'
    yield (
        f'<text class="e" x="890" y="{height - 6}">healthy canaries failed, %, with 95 % interval (dashed: alpha; red: above it; '
        f"orange: what is used today; grey: contrasts; what is beyond {_MOST} stands at the edge)</text>"
    )
    for number, one in enumerate(rows):
        y = 15 * number + 14
        share, low, high = (100 * part for part in one["failed"])
        color = "#ff7f0e" if one in today else "#999" if one["contrast"] else "#1f77b4" if share <= alpha else "#d62728"
        name = f"{one['scenario']}: {one['method']}" if one in today else one["scenario"]
        yield f'<text class="e" x="422" y="{y + 4}">{escape(name)}</text>'
        yield f'<line x1="{x(low)}" x2="{x(high)}" y1="{y}" y2="{y}" style="stroke:{color};stroke-width:2"/>'
        yield f'<circle cx="{x(share)}" cy="{y}" r="3" fill="{color}"/>'


def _caught(document: Json) -> Iterator[str]:
    return _svg(900, 640, _panels(document))


def _panels(document: Json) -> Iterator[str]:
    runs = document["runs"]
    for number, name in enumerate(_CURVES):
        left, top = 45 + 430 * (number % 2), 30 + 300 * (number // 2)
        yield f'<text class="m" x="{left + 195}" y="{top - 8}" style="font-weight:bold">{escape(name)}</text>'
        for percent in (0, 50, 100):
            y = top + 240 - 2.4 * percent
            yield f'<line x1="{left}" x2="{left + 390}" y1="{y:g}" y2="{y:g}"/><text class="e" x="{left - 5}" y="{y + 4:g}">{percent}</text>'
        for look in (1, 20, 40, LOOKS):
            yield f'<text class="m" x="{left + 6.5 * look:g}" y="{top + 255}">{look}</text>'
        for one in document["results"]:
            if one["scenario"] == name and one["method"] in _COLORS:
                points = " ".join(
                    f"{left + 6.5 * look:g},{top + 240 - 240 * caught / runs:.0f}"
                    for look, caught in enumerate(one["by_look"], 1)
                )
                dashes = ";stroke-dasharray:5 3" if one["method"].startswith("limit") else ""
                yield f'<polyline points="{points}" style="stroke:{_COLORS[one["method"]]}{dashes}"/>'
    yield '<text x="45" y="600">caught, %, by look</text>'
    for number, (method, color) in enumerate(_COLORS.items()):
        x, y = 190 + 230 * (number % 3), 600 + 20 * (number // 3)
        yield f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{color}"/><text x="{x + 10}" y="{y}">{escape(method)}</text>'
