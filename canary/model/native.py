"""A native histogram of Prometheus: one value with buckets of its own making, of which those that are empty are not told."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

NEAR = 1e-7
"""Two edges that differ by less, as a part of themselves, are one. The finest buckets of Prometheus are 0.27 % wide."""


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """Buckets in order: the one from `lower[i]` to `upper[i]` and all before it hold `within[i]` together.

    In the unit that was observed. None overlap; none is empty.
    """

    lower: Sequence[float]
    upper: Sequence[float]
    within: Sequence[float]

    @property
    def total(self) -> float:
        """How many were counted."""
        return self.within[-1] if self.within else 0.0

    def around(self, bound: float) -> tuple[float, float] | None:
        """The edges of the bucket that lies around a positive bound; None: there is nothing in it, or the bound is an edge."""
        place = self._after(bound)
        if place == len(self.upper) or not self.lower[place] < bound * (1 - NEAR):
            return None
        return self.lower[place], self.upper[place]

    def at_most(self, bound: float) -> float | None:
        """How many took no more than that; None: nobody knows, since some are in a bucket around it."""
        if self.around(bound) is not None:
            return None
        place = self._after(bound)
        return self.within[place - 1] if place else 0.0

    def _after(self, bound: float) -> int:
        """The first bucket that reaches beyond a bound."""
        return bisect_right(self.upper, bound * (1 + NEAR))
