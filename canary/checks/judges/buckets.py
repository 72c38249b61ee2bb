"""From histograms to what happened between two looks. Pure.

A classic histogram is a counter for each bound (`le`), of the requests that took at most so long, and one for all (`+Inf`). Its
counters restart together. So they are subtracted together: one bucket that fell says that all of its histogram began anew,
however many the others have counted again since. One that fell a little is of another replica, as it is of errors.

A native histogram is one value, with buckets of its own making: their edges lie at powers of 2^(2^-n), and n falls by itself while a
process runs, so that two buckets become one. Every edge of the coarser ones is one of the finer ones, too. So all that is compared in one
look, both readings of both backends, is counted at one edge which all of them have (`edges`): nothing is estimated, and the resolution of
nobody makes anybody slow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import chain, pairwise
from math import inf, isfinite

from canary.checks.judges.counters import SHRINKS, TARGET, Labels, Series, target
from canary.checks.judges.evidence import MOST
from canary.checks.judges.latency import Histogram
from canary.checks.judges.words import seconds_words
from canary.model.native import NEAR, NativeHistogram

Counts = Mapping[float, float]
"""Of one histogram: how many took at most so many seconds; +Inf: all."""

Told = Mapping[Labels, float | NativeHistogram]
"""What was read: buckets of classic histograms, or native ones."""

FURTHEST = 1.2
"""A bound may be counted at an edge that is so many times as long. Of one that is further, `slowerThan` would say another thing than is asked."""


class NoBucket(ValueError):
    """A histogram lacks a bucket that is asked for, has it twice, or is none; in words that a person reads."""

    reason = "NoSuchBucket"


class TwoKinds(NoBucket):
    """An answer has native and classic histograms."""

    reason = "TwoKindsOfHistogram"


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


def edges(readings: Collection[Told], bounds: Iterable[float], unit: float = 1.0) -> dict[float, float]:
    """Where each bound is counted in a look, in seconds: at itself, or at the next edge above it that all native histograms have.

    That edge is the upper one of the widest bucket around the bound. Where it is too far away, or classic buckets are among the readings,
    the bound is left as it is, and `between` says that it cannot be counted there.
    """
    found = {same(bound): same(bound) for bound in bounds}
    told = [one for reading in readings for one in reading.values()]
    natives = [one for one in told if isinstance(one, NativeHistogram)]
    if len(natives) < len(told):
        return found
    for bound in found:
        above = max((around[1] for one in natives if (around := one.around(bound / unit))), default=0.0) * unit
        if bound < above <= bound * FURTHEST * (1 + NEAR):
            found[bound] = same(above)
    return found


def between(
    before: Told,
    after: Told,
    bounds: Iterable[float],
    unit: float = 1.0,
    by: tuple[str, ...] = TARGET,
    counted_at: Mapping[float, float] | None = None,
) -> Histogram | None:
    """How long requests of a backend took between two readings; None: the second one is behind the first, or of another kind.

    A histogram that appeared counts from 0 if its target was there before. `bounds` are in seconds; `counted_at` is what `edges` says of
    them, by default of these two readings.

    Raises:
        NoBucket: a histogram lacks one of them, or is none; TwoKinds: the second reading has both.
        ValueError: a counter that is none.

    """
    wanted = sorted(map(same, bounds))
    needed = (*wanted, inf)
    if counted_at is None:
        counted_at = edges((before, after), wanted, unit)
    kinds = [{isinstance(one, NativeHistogram) for one in reading.values()} for reading in (before, after)]
    if len(kinds[1]) > 1:
        raise TwoKinds(
            "some series are native histograms and others are not: ask for one kind, or requests count twice"
        )
    if len(kinds[0] | kinds[1]) > 1:
        return None  # what the other kind counted nobody can subtract
    old, new = (_counts(reading, counted_at, unit) for reading in (before, after))
    known = {target(labels, by) for labels in old}
    counted = dict.fromkeys(needed, 0.0)
    for labels, counts in new.items():
        _complete(counts, needed, after.get(labels), unit)
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


def _counts(told: Told, counted_at: Mapping[float, float], unit: float) -> dict[Labels, dict[float, float]]:
    """By bound, whatever the kind; of a native histogram those that it can be counted at. Raises as `histograms`."""
    classic = {labels: one for labels, one in told.items() if not isinstance(one, NativeHistogram)}
    found = histograms(classic, unit)
    for labels, one in told.items():
        if isinstance(one, NativeHistogram):
            if not one.total <= MOST:
                raise ValueError(f"a counter stands at {one.total}")
            held = ((bound, one.at_most(edge / unit)) for bound, edge in counted_at.items())
            known = ((bound, count) for bound, count in held if count is not None)
            found[labels] = dict(chain(known, ((inf, one.total),)))
    return found


def _complete(
    counts: Counts, needed: tuple[float, ...], told: float | NativeHistogram | None = None, unit: float = 1.0
) -> None:
    for bound in needed:
        if bound in counts:
            continue
        if isinstance(told, NativeHistogram):
            raise NoBucket(_no_edge(told, bound, unit))
        if bound == inf:
            raise NoBucket('the bucket le="+Inf" is missing, which counts all requests')
        below = max((one for one in counts if one < bound), default=None)
        above = min((one for one in counts if bound < one < inf), default=None)
        near = [seconds_words(one) for one in (below, above) if one is not None]
        nearest = f"the nearest {'is' if len(near) == 1 else 'are'} {' and '.join(near)}" if near else "there is none"
        raise NoBucket(f"the histogram has no bucket of {seconds_words(bound)}: {nearest}")


def _no_edge(told: NativeHistogram, bound: float, unit: float) -> str:
    words = f"the native histogram has no edge at {seconds_words(bound)} nor up to a fifth above"
    around = told.around(bound / unit)
    if around is None:  # of this one, but others moved the bound
        return f"{words} that all of them have"
    low, high = (same(max(edge, 0.0) * unit) for edge in around)
    near = [seconds_words(edge) for edge in (low, high) if 0 < edge < inf]
    return f"{words}: the nearest {'is' if len(near) == 1 else 'are'} {' and '.join(near)}" if near else words
