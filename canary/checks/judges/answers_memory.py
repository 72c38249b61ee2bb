"""What a comparison of answers remembers in the status of a Rollout, and how much of it is believed. Pure.

As in `memory`: a status may have been written by anybody, so what is read is bounded and has to add up.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from canary.checks.judges.memory import MOST_TEXT
from canary.checks.judges.mirrored import MOST, MOST_WATCHED, Alike, Progress, Watched
from canary.model.comparer_results import MAX_PATH

ROUNDING = 1e-6
MOST_REMEMBERED = MOST // 1000
"""Answers that may be on record: what comes on top of so many is never too much to be counted."""


def dump(rule: Alike, progress: Progress) -> str:
    """The text of a progress, which `load` gives back exactly."""
    return json.dumps(
        {
            "most": rule.most,
            "compared": progress.compared,
            "free": progress.free,
            "paths": [[one.path, one.stake, one.since, *one.before, *one.counts] for one in progress.watched],
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )


def fitting(rule: Alike, progress: Progress) -> str:
    """The text of a progress, with as many paths as there is room for: those go first that have least to show."""
    while len(text := dump(rule, progress)) > MOST_TEXT and progress.watched:
        progress = rule.without_the_last(progress)
    return text


def load(rule: Alike, text: str) -> Progress:
    """What a status says is known. Raises ValueError: it is no progress of this comparison, and why."""
    if len(text) > MOST_TEXT:
        raise ValueError("it is longer than what is remembered")
    try:
        found = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(found, dict) or found.keys() != {"most", "compared", "free", "paths"}:
        raise ValueError("it has other members")
    if found["most"] != rule.most:
        raise ValueError("it was remembered for another maxDifferent")
    compared, free, paths = _whole(found["compared"]), _part(found["free"]), found["paths"]
    if compared > MOST_REMEMBERED:
        raise ValueError("more answers than a run can have compared")
    if not isinstance(paths, list) or len(paths) > MOST_WATCHED:
        raise ValueError(f"it watches more than {MOST_WATCHED} paths, or none of what paths are")
    watched = tuple(_watched(one, compared) for one in paths)
    if len({one.path for one in watched}) < len(watched):
        raise ValueError("a path is there twice")
    if free + sum(one.stake for one in watched) > 1 + ROUNDING:
        raise ValueError("more is bet than there was")
    return Progress(compared, free, watched)


def _watched(found: Any, compared: int) -> Watched:
    if not isinstance(found, list) or len(found) != 8 or not isinstance(found[0], str) or len(found[0]) > MAX_PATH:
        raise ValueError("a path is none")
    stake, (since, b0, c0, b, c, both) = _part(found[1]), map(_whole, found[2:])
    if since > compared or b0 > b or c0 > c or b0 + c0 > since:
        raise ValueError("a bet began with more than there was")
    if b + c + both > compared or (b - b0) + (c - c0) > compared - since:
        raise ValueError("a path differed in more answers than there were")
    return Watched(found[0], stake, since, (b0, c0), (b, c, both))


def _part(found: Any) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not (isfinite(found) and 0 <= found <= 1):
        raise ValueError("a part of the capital is not between 0 and 1")
    return float(found)


def _whole(found: Any) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= MOST:
        raise ValueError("a count is not whole, or too large")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number")
