"""Series of points, as databases of metrics answer them: the last one of each that is a number. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from canary.metrics.http_answer import Answer, Senseless, number_in
from canary.model.measurement import Measurement

MOST_EMPTY = 3
"""Points at the end that may be null: not everything has been counted yet. A number before more of them is of another time."""
AHEAD = 3600.0
"""Seconds by which a point may be later than its answer: a step of an archive that is not over, or a clock of who wrote it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a series has its points, and a point its time and its number. So many `unit` are a second."""

    points: str
    time: int
    value: int
    unit: float = 1.0


def last_of_each(answer: Answer, series: Any, shape: Shape, window: float, end: float) -> Measurement:
    """What is made of a list of objects that each have points, of the `window` seconds up to `end`, beyond which none may be. Raises Senseless.

    A point is of what follows its time, as long as the points are apart. One that ends before the window, by the clock of who
    answers, is of another time, whatever was asked for.
    """
    if not isinstance(series, list):
        raise Senseless(f"{answer.answered} without a list of series")
    found, old = [], False
    for one in series:
        listed = one.get(shape.points) if isinstance(one, dict) else None
        if not isinstance(listed, list):
            raise Senseless(f"{answer.answered} with a series that has no {shape.points}")
        latest = islice(_backwards(answer, listed, shape, end), MOST_EMPTY + 1)
        last = next(((at, number) for at, number in latest if number is not None), None)
        if last is None:
            continue
        at, number = last
        if at + _length(one, listed, shape, window) < answer.dated.timestamp() - window:
            old = True
        else:
            found.append(number)
    if series and not found:
        if old:
            return answer.no_data(f"the latest point is older than the window of {window:g} s, by the server's clock")
        return answer.no_data(f"the query selects points of which the last {MOST_EMPTY + 1} are null, or all")
    return answer.numbers(found, "the query selects", "aggregate them, or use a condition over `values`")


def end_of_now(answer: Answer) -> float:
    """Beyond which nothing may be dated that is asked for up to now, by the clock of who answers; seconds."""
    return answer.dated.timestamp() + AHEAD


def beyond(answer: Answer) -> Senseless:
    """It says so in words."""
    return Senseless(f"{answer.answered} with a point that is dated later than what was asked for")


def _backwards(answer: Answer, listed: list[Any], shape: Shape, end: float) -> Iterator[tuple[float, float | None]]:
    """Times in seconds, and numbers, the last one first. Raises Senseless."""
    for point in reversed(listed):
        if not isinstance(point, list) or len(point) <= max(shape.time, shape.value):
            raise Senseless(f"{answer.answered} with a point that is none")
        at = _seconds(point, shape)
        if at is None:
            raise Senseless(f"{answer.answered} with a point that is of no time")
        if at > end:
            raise beyond(answer)
        if point[shape.value] is None:
            yield at, None
            continue
        number = number_in(point[shape.value])
        if number is None:
            raise Senseless(f"{answer.answered} with a point that is no number")
        yield at, number


def _seconds(point: Any, shape: Shape) -> float | None:
    at = number_in(point[shape.time]) if isinstance(point, list) and len(point) > shape.time else None
    return None if at is None or math.isnan(at) else at / shape.unit


def _length(one: dict[str, Any], listed: list[Any], shape: Shape, window: float) -> float:
    """Seconds that a point is of: as the series says (`interval`), or as the last two are apart, or as long as the window."""
    said = number_in(one.get("interval"))
    if said is not None and said > 0:
        return said
    times = [at for point in listed[-2:] if (at := _seconds(point, shape)) is not None]
    return times[1] - times[0] if len(times) == 2 and times[1] > times[0] else window
