"""From the JSON of a native histogram to what it counts. What it says is checked, since nobody knows who answers. Pure."""

from __future__ import annotations

from array import array
from math import inf, isfinite, isnan
from typing import Any

from canary.model.native import NEAR, NativeHistogram

_RULES = range(4)
"""Whether each of the edges of a bucket belongs to it. Those of positive numbers hold their upper one, as classic buckets do."""


class NoHistogram(ValueError):
    """It is no native histogram; in words that follow "a native histogram"."""


def weight(one: object) -> int:
    """How many numbers a series of an answer holds, whatever that may be."""
    match one:
        case {"histogram": [_, {"buckets": list(buckets)}]}:
            return max(1, len(buckets))
        case _:
            return 1


def native(told: Any) -> NativeHistogram:
    """From `{"count": "3", "sum": "…", "buckets": [[0, "0.25", "0.5", "3"]]}`. Raises NoHistogram.

    How many there are is what the buckets hold: what is counted beyond that was no number (NaN), and so no time that a request took.
    """
    try:
        count = float(told["count"])
        buckets = [(rule, float(low), float(high), float(held)) for rule, low, high, held in told.get("buckets") or ()]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise NoHistogram("has no count, or buckets that are none") from error
    lower, upper, within = array("d"), array("d"), array("d")
    end, whole = -inf, 0.0
    for rule, low, high, held in buckets:
        if rule not in _RULES or isnan(low) or isnan(high) or not low <= high:
            raise NoHistogram(f"has a bucket from {low:g} to {high:g}")
        if not isfinite(held) or held < 0:
            raise NoHistogram(f"has a bucket that holds {held:g}")
        if low < end - abs(end) * NEAR:
            raise NoHistogram(f"has buckets that overlap below {high:g}")
        end = high
        if held == 0:
            continue
        whole += held
        lower.append(low)
        upper.append(high)
        within.append(whole)
    if not isfinite(count) or not isfinite(whole) or whole > count * (1 + NEAR):
        raise NoHistogram(f"counts {count:g}, and its buckets hold {whole:g}")
    return NativeHistogram(lower, upper, within)
