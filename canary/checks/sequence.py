"""Is what was counted provably not what was asked? Answers that hold at every look, however often one looks. Pure.

A test made for one look, taken again and again, rejects in the end whatever is true. A test martingale does not. Counted is
how many of n requests went to the canary, k of them. Against the claim that each goes there with probability p stands the
mixture of all other probabilities by the Beta(1/2, 1/2) prior:

    M(p) = B(k + 1/2, n - k + 1/2) / B(1/2, 1/2) / (p^k (1 - p)^(n - k))

If p is true, M(p) starts at 1 and is a martingale in n, so by Ville's inequality it ever reaches 1 / error with a
probability of at most `error`: { p : M(p) < 1 / error } is a confidence sequence. (H. Robbins, "Statistical methods related
to the law of the iterated logarithm", Annals of Mathematical Statistics 41, 1970; the beta-binomial mixture also in
S. R. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
Annals of Statistics 49, 2021.) M falls towards k / n from both sides, so the sequence is an interval, and a bound is outside
of it if M is large there.

Copies fit in. A request of which a copy is made with probability c counts once at its own backend and once more at the
canary. With w the canary's share of the requests themselves, the canary's part of all that is counted is (w + c) / (1 + c),
and M of that is a supermartingale: with u and v the factors of a count at the canary and at stable, (w + c) u + (1 - w) v =
1 + c, so the factor of one request is (w u + (1 - w) v) (1 - c + c u) = 1 - (c u - c)^2 <= 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log

ERROR = 0.001
"""The chance that something true is ever called wrong, over all looks of a step."""

LEAST_TOLERANCE = 2.0
"""Points that a share may always be off."""

MOST_COPIES = 2
"""So many times the copies that were asked for are still tolerated."""

_PRIOR = lgamma(0.5) + lgamma(0.5) - lgamma(1.0)


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests counted since one moment, by backend. Neither needs to be a whole number."""

    canary: float
    stable: float

    @property
    def total(self) -> float:
        return self.canary + self.stable

    @property
    def share(self) -> float | None:
        """The canary's share of them, in percent; None where nothing was counted."""
        return 100 * self.canary / self.total if self.total > 0 else None


def tolerance(share: float) -> float:
    """How many points what is counted may be off a share (in percent): a third of it, at least two."""
    return max(share / 3, LEAST_TOLERANCE)


def provably_above(counted: Counted, share: float, error: float = ERROR) -> bool:
    """Whether the canary provably gets more than a share (in percent) of what is counted."""
    return counted.canary * 100 > share * counted.total and _martingale(counted, share / 100) >= -log(error)


def provably_below(counted: Counted, share: float, error: float = ERROR) -> bool:
    """Whether the canary provably gets less than a share (in percent) of what is counted."""
    return counted.canary * 100 < share * counted.total and _martingale(counted, share / 100) >= -log(error)


def copied_above(counted: Counted, share: float, copies: float, error: float = ERROR) -> bool:
    """Whether more copies than a share of the requests (`copies`, in percent) provably go to the canary.

    `share` is the canary's share of the requests themselves, in percent; 0 where users are served by stable alone.
    """
    return provably_above(counted, 100 * (share + copies) / (100 + copies), error)


def _martingale(counted: Counted, probability: float) -> float:
    """The logarithm of M; infinite where what was counted cannot be."""
    canary, stable = counted.canary, counted.stable
    if (canary > 0 and probability <= 0) or (stable > 0 and probability >= 1):
        return float("inf")
    mixture = lgamma(canary + 0.5) + lgamma(stable + 0.5) - lgamma(canary + stable + 1) - _PRIOR
    claimed = (canary * log(probability) if canary else 0) + (stable * log(1 - probability) if stable else 0)
    return mixture - claimed
