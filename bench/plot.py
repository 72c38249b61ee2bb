"""Draws the figures of the benchmark; a colour per size, a dashed line per goal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.figures import QUANTILES

Json = dict[str, Any]

_BARS = (
    ("memory, MiB", 350, (("at rest", "idle_mib"), ("active", "active_mib"), ("at most", "peak_mib"))),
    (
        "until a run goes on, s",
        None,
        (
            ("start", "start_first_decision_seconds"),
            ("killed", "killed_goes_on_seconds"),
            ("clean stop", "stopped_goes_on_seconds"),
        ),
    ),
)
_SECONDS = (5.0, 10.0, 2.0)
"""The goals of the three bars of the second panel."""


def draw(document: Json, path: Path) -> None:
    """Write an SVG or a PNG, by the suffix of the path. The same figures give the same file."""
    mpl.rcParams |= {"svg.hashsalt": "canary", "svg.fonttype": "none", "font.size": 9}
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    panels = figure.subplots(2, 2)
    results = document["results"]
    _latency(panels[0, 0], results, "failures", "failing one by one: sample → patch sent, ms", goal=50)
    _latency(panels[0, 1], results, "mass_failure", "all failing within one interval, ms", goal=None)
    for panel, (title, goal, bars) in zip(panels[1], _BARS, strict=True):
        _bars(panel, results, title, bars)
        if goal is not None:
            panel.axhline(goal, color="grey", linestyle="--")
    for index, most in enumerate(_SECONDS):
        panels[1, 1].hlines(most, index - 0.45, index + 0.45, color="grey", linestyle="--")
    _legend(figure, results)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _latency(panel: Any, results: list[Json], title: str, name: str, goal: float | None) -> None:
    """Percentiles: the patch sent by the controller (solid), the route written in the API server (dotted)."""
    for number, result in enumerate(results):
        for stage, style in (("sent_ms", "-"), ("written_ms", ":")):
            values = [result[title][stage][str(percent)] for percent in QUANTILES]
            panel.plot(QUANTILES, values, style, color=f"C{number}", marker=".")
    if goal is not None:
        panel.axhline(goal, color="grey", linestyle="--")
    panel.set(yscale="log", title=name, xlabel="percentile")


def _bars(panel: Any, results: list[Json], title: str, bars: tuple[tuple[str, str], ...]) -> None:
    width = 0.8 / len(results)
    place: Callable[[int, int], float] = lambda bar, number: bar - 0.4 + (number + 0.5) * width  # noqa: E731
    for number, result in enumerate(results):
        xs = [place(bar, number) for bar in range(len(bars))]
        panel.bar(xs, [result[field] for _, field in bars], width, color=f"C{number}", label=_size(result))
    panel.set(title=title)
    panel.set_xticks(range(len(bars)), [name for name, _ in bars])


def _legend(figure: Figure, results: list[Json]) -> None:
    """One for all panels, below them, where it hides nothing."""
    sizes = [
        Line2D([], [], color=f"C{number}", marker="s", ls="", label=_size(one)) for number, one in enumerate(results)
    ]
    styles = [("-", "patch sent"), (":", "route written"), ("--", "goal")]
    lines = [Line2D([], [], color="grey", linestyle=style, label=label) for style, label in styles]
    figure.legend(
        handles=[*sizes, *lines], loc="outside lower center", ncols=len(sizes) + len(lines), title="declared : active"
    )


def _size(result: Json) -> str:
    return f"{result['declared']:,} : {result['active']:,}"
