"""From numbers to a Measurement: the one place that says what counts as one. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from canary.metrics.port import Query
from canary.model.measurement import MAX_SERIES, Malformed, Measurement, NoData, Sample, Vector
from canary.model.native import NativeHistogram

Series = tuple[Mapping[str, str], float | NativeHistogram]
"""The labels and the value of one series."""

NO_NUMBER = (
    "the query returned native histograms, and a number is needed: histogram_quantile() or histogram_count() makes one"
)

_SHOWN = 3  # label sets in a message: enough to see what they differ in


def measurement(series: Sequence[Series], query: Query, now: datetime, instant: float = 0.0) -> Measurement:
    """None: NoData. Not finite: Malformed. Several: a Sample of all, by labels, if `query.many`, else Malformed.

    Native histograms are for who asks for counters, and else Malformed.

    `instant` is when they are of, in seconds, by the clock of who answered.

    More than MAX_SERIES are Malformed in either case, and nobody looks at what they are.
    """
    if not series:
        return NoData(now, query.text)
    if len(series) > MAX_SERIES:
        many = f"{'a comparison' if query.counters else 'a condition'} sees at most {MAX_SERIES}"
        seen = many if query.many else "one was expected"
        message = f"the query returned {len(series)} series, and {seen}: aggregate them with sum() or max()"
        return Malformed(now, "TooManySeries" if query.many else "SeveralSeries", message, query.text)
    ordered = sorted(series, key=lambda one: sorted(one[0].items()))
    for labels, value in ordered:
        if isinstance(value, NativeHistogram):
            if not query.counters:
                return Malformed(now, "UnexpectedResult", NO_NUMBER, query.text)
        elif not math.isfinite(value):
            of = f" for {describe(labels)}" if labels else ""
            return Malformed(now, "NotANumber", f"the query returned {spell(value)}{of}", query.text)
    if len(ordered) > 1 and not query.many:
        shown = ", ".join(describe(labels) for labels, _ in ordered[:_SHOWN])
        more = ", …" if len(ordered) > _SHOWN else ""
        message = f"the query returned {len(ordered)} series ({shown}{more}): aggregate them with sum() or max()"
        return Malformed(now, "SeveralSeries", message, query.text)
    values = tuple(value.total if isinstance(value, NativeHistogram) else value for _, value in ordered)
    if query.counters:
        vector = Vector({frozenset(labels.items()): value for labels, value in ordered}, instant)
        if len(vector.series) < len(ordered):
            twice = next(labels for (labels, _), (other, _) in pairwise(ordered) if labels == other)
            message = f"the query returned two series with the labels {describe(twice)}"
            return Malformed(now, "UnexpectedResult", message, query.text)
        return Sample(values[0], now, query.text, vector=vector)
    return Sample(values[0], now, query.text, values)


def describe(labels: Mapping[str, str]) -> str:
    """A label set in PromQL's spelling."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


def spell(value: float) -> str:
    """A number that is none, in PromQL's spelling."""
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
