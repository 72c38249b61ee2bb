"""Is the canary slower than stable? By the buckets of its histogram, valid at every look. Pure.

For a bound `le`, registered before the run, a request is slow or not. The claim is that the odds of being slow are at most
`effect` (w0 > 1) times those of stable. Given how many K of both were slow in a look, k of the n_c of the canary are slow with
Fisher's noncentral hypergeometric chance, proportional to C(n_c, k) C(n_s, K - k) w^k, whatever the odds of stable are: bursts that
hit both versions fall out (D. R. Cox, "The Analysis of Binary Data", 1970, section 4.2). With Z(w) the sum of these, a bet on w_j is

    X = (w_j / w0)^k Z(w0) / Z(w_j)

Z has as many terms as there were slow requests. Instead of it stands a bound that is at most too careful. d ln Z / d ln w is the
mean m(w), and with v the variance w [n_c K - (n_c + K) m + m^2 + v] = m (n_s - K) + m^2 + v (J. Harkness, "Properties of the extended
hypergeometric distribution", Annals of Mathematical Statistics 36, 1965). The count is a sum of at most K independent ones
(V. Vatutin and V. Mikhailov, Theory of Probability and its Applications 27, 1982), so v <= m (1 - m / K), and for w >= 1 m is at most the
y = K q that solves

    w (1 - q) (n_c - (K - 1) q) = q (n_s - (K - 1) (1 - q))

which is exact for K = 1. Its integral over ln w has a closed form, G, and ln Z(w_j) - ln Z(w0) <= G(w_j) - G(w0). So X is at least
(w_j / w0)^k exp(G(w0) - G(w_j)), which is what is bet. (n_c and K change places where n_c is the smaller: Z is the same.)

The evidence of several buckets is averaged: a mean of expectations of at most 1 is one, however the buckets depend on each other.
A cold cache makes a good canary slow at first. So what is looked at begins after a warm-up, `effect` is never 1, and a
least number of requests is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, isfinite, log, sqrt

from canary.checks.judges.dispersion import UNTESTED, Looks
from canary.checks.judges.evidence import MOST, Bets, alternatives, trimmed
from canary.checks.judges.finding import Finding, Standing
from canary.checks.judges.words import TIMES, evidence_words, seconds_words, share

MOST_BOUNDS = 3
LEAST_EFFECT = 1.1

WANDER = 1.0
TAILS = 1.0
"""Less is assumed than of errors (`dispersion`): an effect that is no matter leaves room for what wanders."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Requests of one backend in one look, and how many of them took at most so many seconds, by bound.

    Raises ValueError: counts that cannot be.
    """

    requests: float
    within: Mapping[float, float]

    def __post_init__(self) -> None:
        counts = [count for _, count in sorted(self.within.items())]
        if not 0 <= self.requests <= MOST or any(not 0 <= one <= self.requests for one in counts):
            raise ValueError("a bucket holds fewer than none or more than all requests")
        if counts != sorted(counts):
            raise ValueError("a wider bucket holds fewer requests than a narrower one")


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is known of one bound: bets, and how many requests of each were slower."""

    worse: Bets
    canary: float = 0.0
    stable: float = 0.0
    looks: Looks = UNTESTED


@dataclass(frozen=True, slots=True)
class Slow:
    """What is known of a run."""

    buckets: tuple[Bucket, ...]
    canary: float = 0.0
    stable: float = 0.0
    onesided: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """A comparison of latencies.

    Args:
        alpha: the chance, over all looks, to fail a canary whose odds to be slow are at most `effect` times stable's.
        bounds: 1 to 3 bounds of buckets that both histograms have, seconds.
        effect: so many times the odds are no matter; 1.1 to less than 10.
        least_requests: of the canary, before anything is said of it.

    Raises ValueError: a setting that can be no such thing.

    """

    alpha: float
    bounds: tuple[float, ...]
    effect: float
    least_requests: int
    effects: tuple[float, ...] = field(init=False)
    _first: tuple[float, ...] = field(init=False, repr=False)
    _later: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"an alpha is more than 0 and less than 1, not {self.alpha:g}")
        if not 1 <= len(self.bounds) <= MOST_BOUNDS or any(not (isfinite(one) and one > 0) for one in self.bounds):
            raise ValueError(
                f"1 to {MOST_BOUNDS} buckets are compared, each with a bound of more than 0 s and less than +Inf"
            )
        if len(set(self.bounds)) < len(self.bounds):
            raise ValueError("a bucket is named twice")
        if not self.effect >= LEAST_EFFECT or self.least_requests < 1:
            raise ValueError(f"a least effect of {LEAST_EFFECT} or more, and a least number of requests, are needed")
        effects, first, later = alternatives(self.effect)
        object.__setattr__(self, "effects", effects)
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_later", later)

    def begin(self) -> Slow:
        return Slow(tuple(Bucket(Bets.begin(len(self.effects))) for _ in self.bounds))

    def fold(self, before: Slow, canary: Histogram, stable: Histogram) -> Slow:
        """What is known after one more look. Raises ValueError: a histogram lacks one of the buckets."""
        if any(bound not in one.within for bound in self.bounds for one in (canary, stable)):
            needed = ", ".join(f"{bound:g}" for bound in self.bounds)
            raise ValueError(f"both histograms need the buckets {needed}")
        requests = trimmed(canary.requests), trimmed(stable.requests)
        if 0 in requests:
            return Slow(before.buckets, before.canary, before.stable, min(before.onesided + 1, 10**9))
        buckets = tuple(
            self._fold(one, *requests, *(trimmed(side.requests - side.within[bound]) for side in (canary, stable)))
            for bound, one in zip(self.bounds, before.buckets, strict=True)
        )
        canary_, stable_ = trimmed(before.canary + requests[0]), trimmed(before.stable + requests[1])
        return Slow(buckets, canary_, stable_, before.onesided)

    def _fold(self, before: Bucket, canary: float, stable: float, slow: float, stable_slow: float) -> Bucket:
        worse = before.worse
        if slow + stable_slow > 0:
            worse = worse.after(
                odds_factors(canary, stable, slow, stable_slow, self.effects, self.effect), self._first, self._later
            )
        looks = before.looks.after((canary, stable, slow, stable_slow))
        return Bucket(worse, trimmed(before.canary + slow), trimmed(before.stable + stable_slow), looks)

    def evidence(self, progress: Slow) -> float:
        """The logarithm of the mean of the evidence of all buckets."""
        logs = [one.worse.evidence for one in progress.buckets]
        most = max(logs)
        return most + log(sum(exp(one - most) for one in logs) / len(logs))

    def judge(self, progress: Slow) -> Finding:
        """What stands after the looks so far."""
        needed, evidence = -log(self.alpha), self.evidence(progress)
        if progress.canary == 0:
            if progress.onesided:
                return Finding(
                    Standing.NOT_APPLICABLE, "OneSided", "one of the two has no traffic: nothing to compare with"
                )
            return Finding(Standing.INCONCLUSIVE, "NotMeasured", "no request was counted yet")
        worst, bound = max(zip(progress.buckets, self.bounds, strict=True), key=lambda one: one[0].worse.evidence)
        parts = f"{share(worst.stable / progress.stable)} → {share(worst.canary / progress.canary)}"
        said = f"slower than {seconds_words(bound)}: {parts}, {evidence_words(evidence, needed)}"
        if progress.canary < self.least_requests:
            few = f"{progress.canary:g} of {self.least_requests} requests that the canary needs"
            return Finding(Standing.INCONCLUSIVE, "TooFewRequests", f"{said}; {few}")
        if evidence < needed:
            return Finding(Standing.INCONCLUSIVE, "NotProved", said)
        phi = worst.looks.dispersion(progress.canary, progress.stable, worst.stable, WANDER, TAILS)
        # The mean is at least its share of the largest.
        if phi > 1 and worst.worse.tempered(phi, self._first) < needed + log(len(self.bounds)):
            doubt = f"slow requests may come in clusters: they vary up to {phi:.1f}{TIMES} as much as single ones would"
            return Finding(Standing.INCONCLUSIVE, "Overdispersed", f"{said}; {doubt}")
        return Finding(Standing.FAIL, "SlowerThanStable", said)


def odds_factors(
    canary: float, stable: float, slow: float, stable_slow: float, ratios: tuple[float, ...], claimed: float
) -> tuple[float, ...]:
    """The logarithms of what a look multiplies the capital on each odds ratio by; all ratios are 1 or more."""
    draws, inside, outside = slow + stable_slow, canary, stable
    if draws > canary:
        draws, inside, outside = canary, draws, canary + stable - draws
    if draws <= 0 or outside <= 0:
        return (0.0,) * len(ratios)
    claim = _free(draws, inside, outside, claimed)
    return tuple(slow * log(ratio / claimed) + claim - _free(draws, inside, outside, ratio) for ratio in ratios)


def _free(draws: float, inside: float, outside: float, odds: float) -> float:
    """G of the docstring of this module, for so many draws (at most `inside`) and up to what no odds change."""
    others = max(draws - 1, 0.0)
    # (odds - 1) others q^2 - middle q + odds inside = 0, of which the smaller solution is a part of 1.
    middle = odds * (inside + others) + outside - others
    root = sqrt(max(middle * middle - 4 * (odds - 1) * others * odds * inside, 0.0))
    part = min(2 * odds * inside / (middle + root), 1.0)
    chosen, left = inside - others * part, outside - others * (1 - part)
    integral = _log_times(part) + _log_times(1 - part)
    if others > 0:
        integral += (_log_times(left) + _log_times(chosen)) / others
    else:
        integral += part * log(outside / inside)
    return draws * (part * log(odds) - integral)


def _log_times(number: float) -> float:
    return number * log(number) if number > 0 else 0.0
