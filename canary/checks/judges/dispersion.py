"""Do counts vary more than chance lets them? Then a judge that trusts chance must not say Fail. Pure.

Failures that are independent of each other vary as Poisson counts do. They do not where one pod is worse than its sisters, where a
failure is counted once for each attempt, or where each version has bursts of its own. Two estimates, of what is slow and of what is fast:

- **Between pods.** Stable's own pods run the same code. How much their rates differ beyond chance is how much one pod may differ
  from another for reasons that are not its version: tau^2, by moments (R. DerSimonian and N. Laird, "Meta-analysis in clinical
  trials", Controlled Clinical Trials 7, 1986; with the weights of the counts). The canary's ratio is then compared with what
  a new set of pods may show, by Student's t with one degree less than there are pods.
- **Between looks.** Whether the canary's part of the failures is the same in two looks that follow each other has a score test
  with mean 1 (P. McCullagh and J. Nelder, "Generalized Linear Models", 2nd edition 1989, section 4.5: the dispersion phi). Only
  neighbours are compared, and each counts at most `CAP`, so that a regression that begins is no dispersion. With dispersion phi
  the logarithm of the likelihood ratio is phi times too large (R. Wedderburn, "Quasi-likelihood functions", Biometrika 61, 1974).
  Where each failure is counted so many times, as a retrying proxy does, all counts are multiples of that, and it shows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, exp, gcd, pi, sqrt
from statistics import NormalDist
from zlib import crc32

from canary.checks.judges.evidence import trimmed

PODS = 10
"""So many pods of stable are remembered; more would tell little more."""

LEAST_FAILURES = 4.0
"""Looks are put together until so many failed: with fewer a test of two of them is no test."""

CAP = 12.0
LEAN = 4
PLAIN = 16
ATTEMPTS = 6
_MOST_LOG = 20.0

Look = tuple[float, float, float, float]
"""Requests of the canary and of stable, failures of the canary and of stable."""

EMPTY: Look = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Pods:
    """Requests and failures of stable's pods, by the hash of their names, since the run began."""

    counts: tuple[tuple[int, float, float], ...] = ()

    def after(self, pods: Mapping[str, tuple[float, float]]) -> Pods:
        """With what they did in one more look. Pods beyond the first `PODS` are left out."""
        counts = {name: (requests, failures) for name, requests, failures in self.counts}
        for pod, (requests, failures) in sorted(pods.items()):
            name = crc32(pod.encode("utf-8", "replace"))
            if name in counts or len(counts) < PODS:
                had = counts.get(name, (0.0, 0.0))
                counts[name] = (trimmed(had[0] + requests), trimmed(had[1] + failures))
        return Pods(tuple((name, *count) for name, count in sorted(counts.items())))

    @property
    def measured(self) -> tuple[tuple[float, float], ...]:
        return tuple((requests, failures) for _, requests, failures in self.counts if requests > 0)

    @property
    def spread(self) -> float:
        """How much a pod's failure rate differs from that of all, as a part of it, beyond chance; 0 with fewer than two."""
        pods = self.measured
        requests = sum(one for one, _ in pods)
        failures = sum(one for _, one in pods)
        if len(pods) < 2 or failures <= 0:
            return 0.0
        parts = [one / requests for one, _ in pods]
        squares = sum(part * part for part in parts)
        extra = weight = 0.0
        for part, (_, failed) in zip(parts, pods, strict=True):
            expected = part * failures
            extra += (failed - expected) ** 2 - expected * (1 - part)
            weight += expected * expected * (1 - 2 * part + squares)
        return sqrt(max(extra / weight, 0.0)) if weight > 0 else 0.0

    def explains(self, canary_pods: float, alpha: float) -> float:
        """Up to which factor pods of one version may differ, with a probability of 1 - alpha; 1: not at all.

        `canary_pods` is how many the canary has; fewer than two of stable tell nothing, which is 1 as well.
        """
        spread = self.spread
        if spread == 0.0:
            return 1.0
        pods = self.measured
        requests = sum(one for one, _ in pods)
        evenly = requests * requests / sum(one * one for one, _ in pods)
        sure = student(1 - alpha, len(pods) - 1)
        return exp(min(sure * spread * sqrt(1 / max(canary_pods, 1.0) + 1 / evenly), _MOST_LOG))


@dataclass(frozen=True, slots=True)
class Looks:
    """How unlike looks that follow each other were: the sum and the number of their tests, and the latest two of them.

    `divisor` divides every count of failures so far, of which `counts` were not 0 (at most 99 are counted).
    """

    total: float = 0.0
    tests: int = 0
    before: Look = EMPTY
    open: Look = EMPTY
    divisor: int = 0
    counts: int = 0

    def after(self, look: Look) -> Looks:
        """With one more look. Looks are put together until `LEAST_FAILURES` failed."""
        divisor, counts = self.divisor, self.counts
        for failed in look[2:]:
            if failed > 0:
                divisor, counts = gcd(divisor, int(failed)), min(counts + 1, 99)
        block = _added(self.open, look)
        if block[2] + block[3] < LEAST_FAILURES:
            return Looks(self.total, self.tests, self.before, block, divisor, counts)
        test = _unlike(self.before, block)
        if test is None:
            return Looks(self.total, self.tests, block, EMPTY, divisor, counts)
        total = trimmed(self.total + min(test, CAP))
        return Looks(total, self.tests + 1, block, EMPTY, divisor, counts)

    @property
    def dispersion(self) -> float:
        """An estimate of phi that leans to less with few tests, since a doubt costs time with every bad canary; 1 or more."""
        return max(1.0, self.total / (self.tests + LEAN))

    @property
    def multiple(self) -> int:
        """How many times each failure was counted, where that is plain: all counts are multiples of it, which chance hardly does."""
        if self.counts < 3 or self.divisor < 2 or self.divisor**self.counts < PLAIN:
            return 1
        # A canary that fails all of the same number of requests at each look has a divisor too, but no proxy tries so often.
        return next((number for number in range(ATTEMPTS, 1, -1) if self.divisor % number == 0), 1)


NONE_SEEN = Pods()
UNTESTED = Looks()


def student(probability: float, degrees: int) -> float:
    """The quantile of Student's t; exact for 1 and 2 degrees, else within 3 % (upper tail of 0.1 % and more).

    M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5.
    """
    if degrees == 1:
        return cos(pi * (1 - probability)) / max(_sine(1 - probability), 1e-12)
    if degrees == 2:
        return (2 * probability - 1) * sqrt(2 / (4 * probability * (1 - probability)))
    z, n = NormalDist().inv_cdf(probability), float(degrees)
    terms = (
        z,
        (z**3 + z) / (4 * n),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3),
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4),
    )
    return sum(terms)


def _sine(part: float) -> float:
    return cos(pi * (part - 0.5))


def _added(one: Sequence[float], other: Sequence[float]) -> Look:
    a, b, c, d = (trimmed(left + right) for left, right in zip(one, other, strict=True))
    return a, b, c, d


def _unlike(one: Look, other: Look) -> float | None:
    """The score test that the canary fails so many times as often as stable in both; None where it says nothing."""
    above = below = 0.0
    for canary, stable, failed, stable_failed in (one, other):
        requests = canary + stable
        if canary <= 0 or stable <= 0:
            return None
        above += failed * stable / requests
        below += stable_failed * canary / requests
    if above <= 0 or below <= 0:
        return None
    # The ratio of both together (N. Mantel and W. Haenszel, JNCI 22, 1959; for rates K. Rothman and J. Boice, 1979).
    ratio = above / below
    difference = variance = 0.0
    for sign, (canary, stable, failed, stable_failed) in ((1, one), (-1, other)):
        both = failed + stable_failed
        part = ratio * canary / (ratio * canary + stable)
        chance = both * part * (1 - part)
        if chance <= 0:
            return None
        difference += sign * (failed - both * part) / chance
        variance += 1 / chance
    return difference * difference / variance
