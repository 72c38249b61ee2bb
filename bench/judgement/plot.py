"""Draws the figures of the report: alarms at healthy canaries, and how soon bad ones are caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

Json = dict[str, Any]

_CURVES = (
    "2 times the errors",
    "3 times the errors",
    "10 times the errors",
    "2 times the errors from look 20",
)


def draw(document: Json, folder: Path) -> None:
    """Write alarms.svg and caught.svg. The same figures give the same files."""
    mpl.rcParams |= {"svg.hashsalt": "canary", "svg.fonttype": "none", "font.size": 9}
    _alarms(document, folder / "alarms.svg")
    _caught(document, folder / "caught.svg")


def _alarms(document: Json, path: Path) -> None:
    shown = [one for one in document["results"] if not one["bad"] and one["method"] in ("compare", "latency")]
    today = [one for one in document["results"] if one["scenario"] == "healthy" and one["method"].startswith(">")]
    rows = [*today, *shown][::-1]
    figure = Figure(figsize=(9, 0.25 * len(rows) + 1), layout="constrained")
    panel = figure.subplots()
    for number, one in enumerate(rows):
        low, high = (100 * end for end in one["failed_95"])
        color = "C3" if one in today else "grey" if one["known"] else "C0"
        panel.plot([low, high], [number, number], color=color)
        panel.plot([100 * one["failed"]], [number], "o", color=color, markersize=4)
    panel.axvline(100 * document["alpha"], color="grey", linestyle="--")
    names = [f"{one['scenario']}: {one['method']}" if one in today else one["scenario"] for one in rows]
    panel.set_yticks(range(len(rows)), names)
    panel.set(xlabel="healthy canaries failed, % (dashed: alpha; grey: no bar)")
    figure.savefig(path, metadata={"Date": None})


def _caught(document: Json, path: Path) -> None:
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 2).flatten()
    for panel, name in zip(panels, _CURVES, strict=True):
        for one in document["results"]:
            if one["scenario"] == name:
                style = ":" if one["method"].startswith("limit") else "-" if one["method"] == "compare" else "--"
                panel.plot(range(1, 61), [100 * part for part in one["by_look"]], style, label=one["method"])
        panel.set(title=name, xlabel="look", ylabel="caught, %", ylim=(0, 102))
        panel.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
