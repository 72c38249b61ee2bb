"""From the buckets of classic histograms to what happened between two looks. Pure.

A classic histogram is a counter for each bound (`le`), of the requests that took at most so long, and one for all (`+Inf`). Its
counters restart together. So they are subtracted together: one bucket that fell says that all of its histogram began anew,
however many the others have counted again since. One that fell a little is of another replica, as it is of errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import inf, isfinite

from canary.checks.judges.counters import SHRINKS, TARGET, Labels, Series, target
from canary.checks.judges.evidence import MOST
from canary.checks.judges.latency import Histogram
from canary.checks.judges.words import seconds_words

Counts = Mapping[float, float]
"""Of one histogram: how many took at most so many seconds; +Inf: all."""


class NoBucket(ValueError):
    """A histogram lacks a bucket that is asked for, has it twice, or is none; in words that a person reads."""


def histograms(series: Series, unit: float = 1.0) -> dict[Labels, dict[float, float]]:
    """The histograms among series by their labels without `le`, which counts in `unit` seconds.

    Raises NoBucket: a series has no `le`, or one that is no number, or another one has the same. ValueError: a counter that is none.
    """
    found: dict[Labels, dict[float, float]] = {}
    for labels, value in series.items():
        named = dict(labels)
        bound = named.pop("le", None)
        try:
            if bound is None:
                raise NoBucket("a series has no label le: ask for the buckets of a classic histogram (…_bucket)")
            le = same(float(bound) * unit)
        except ValueError as error:
            raise error if isinstance(error, NoBucket) else NoBucket(f"the label le is {bound!r}") from error
        if not (isfinite(value) and 0 <= value <= MOST):
            raise ValueError(f"a counter stands at {value}")
        counts = found.setdefault(frozenset(named.items()), {})
        if le in counts:
            bucket = "of all requests" if le == inf else f"of {seconds_words(le)}"
            raise NoBucket(f"the bucket {bucket} is counted by two series of one histogram, which write le in two ways")
        counts[le] = value
    return found


def between(
    before: Series, after: Series, bounds: Iterable[float], unit: float = 1.0, by: tuple[str, ...] = TARGET
) -> Histogram | None:
    """How long requests of a backend took between two readings; None: the second one is behind the first.

    A histogram that appeared counts from 0 if its target was there before. `bounds` are in seconds.

    Raises:
        NoBucket: a histogram lacks one of them, or is none.
        ValueError: a counter that is none.

    """
    wanted = sorted(map(same, bounds))
    needed = (*wanted, inf)
    old, new = histograms(before, unit), histograms(after, unit)
    known = {target(labels, by) for labels in old}
    counted = dict.fromkeys(needed, 0.0)
    for labels, counts in new.items():
        _complete(counts, needed)
        was = old.get(labels)
        if was is None and target(labels, by) not in known:
            continue  # nobody knows when it began: it counts from the next look
        if was is not None and not all(bound in was for bound in needed):
            continue  # other buckets than before: the same
        if was is not None and any(was[bound] * SHRINKS < counts[bound] < was[bound] for bound in needed):
            return None
        if was is None or any(counts[bound] < was[bound] for bound in needed):
            was = dict.fromkeys(needed, 0.0)
        rises = {bound: counts[bound] - was[bound] for bound in needed}
        # Who reads while others count may see a narrow bucket that is ahead of a wider one.
        for wider, bound in pairwise(reversed(needed)):
            rises[bound] = min(rises[bound], rises[wider])
        for bound, rise in rises.items():
            counted[bound] += rise
    return Histogram(counted[inf], {bound: counted[bound] for bound in wanted})


def same(bound: float) -> float:
    """One number for what is the same bound, however it was written or reckoned: 300 ms is 0.3 s."""
    return float(f"{bound:.9g}")


def _complete(counts: Counts, needed: tuple[float, ...]) -> None:
    for bound in needed:
        if bound in counts:
            continue
        if bound == inf:
            raise NoBucket('the bucket le="+Inf" is missing, which counts all requests')
        below = max((one for one in counts if one < bound), default=None)
        above = min((one for one in counts if bound < one < inf), default=None)
        near = [seconds_words(one) for one in (below, above) if one is not None]
        nearest = f"the nearest {'is' if len(near) == 1 else 'are'} {' and '.join(near)}" if near else "there is none"
        raise NoBucket(f"the histogram has no bucket of {seconds_words(bound)}: {nearest}")
