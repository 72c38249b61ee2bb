"""Series of points, as databases of metrics answer them: the last one of each that is a number. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from canary.metrics.http_answer import Answer, Senseless, number_in
from canary.model.measurement import Measurement

MOST_EMPTY = 3
"""Points at the end that may be null: not everything has been counted yet. A number before more of them is of another time."""


def last_of_each(answer: Answer, series: Any, points: str, value: int) -> Measurement:
    """What is made of a list of objects that each have points, with their number at index `value`. Raises Senseless."""
    if not isinstance(series, list):
        raise Senseless(f"{answer.answered} without a list of series")
    found = []
    for one in series:
        latest = islice(_backwards(answer, one, points, value), MOST_EMPTY + 1)
        last = next((number for number in latest if number is not None), None)
        if last is not None:
            found.append(last)
    if series and not found:
        return answer.no_data(f"the query selects points of which the last {MOST_EMPTY + 1} are null, or all")
    return answer.numbers(found, "the query selects", "aggregate them, or use a condition over `values`")


def _backwards(answer: Answer, one: Any, points: str, value: int) -> Iterator[float | None]:
    listed = one.get(points) if isinstance(one, dict) else None
    if not isinstance(listed, list):
        raise Senseless(f"{answer.answered} with a series that has no {points}")
    for point in reversed(listed):
        if not isinstance(point, list) or len(point) <= value:
            raise Senseless(f"{answer.answered} with a point that is none")
        if point[value] is None:
            yield None
            continue
        number = number_in(point[value])
        if number is None:
            raise Senseless(f"{answer.answered} with a point that is no number")
        yield number
