"""Do counts vary more than chance lets them? Then a judge that trusts chance must not say Fail. Pure.

Failures that are independent of each other vary as Poisson counts do. They do not where one pod is worse than its sisters, where a
failure is counted once for each attempt, or where each version has bursts of its own. Two estimates, of what is slow and of what is fast:

- **Between pods.** Stable's own pods run the same code. How much their rates differ beyond chance is how much one pod may differ
  from another for reasons that are not its version: tau^2, by moments (R. DerSimonian and N. Laird, "Meta-analysis in clinical
  trials", Controlled Clinical Trials 7, 1986; with the weights of the counts), and two standard errors more, since few failures
  hide it. The canary's ratio is then compared with what another set of pods may show.
- **Between looks.** Whether the canary's part of the failures is the same in two looks that follow each other has a score test
  with mean 1 (P. McCullagh and J. Nelder, "Generalized Linear Models", 2nd edition 1989, section 4.5: the dispersion phi). Only
  neighbours are compared, and each counts at most `CAP`, so that a regression that begins is no dispersion. With dispersion phi
  the logarithm of a likelihood ratio is phi times too large (R. Wedderburn, "Quasi-likelihood functions", Biometrika 61, 1974).
  Where each failure is counted so many times, as a retrying proxy does, all counts are multiples of that, and it shows at once.

Before there are tests, something is assumed: that each version's rate may wander by `WANDER` of itself from look to look. With few
failures that is nothing beside chance; with thousands it is nearly all there is, and one look alone is no proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, gcd, sqrt
from statistics import NormalDist
from zlib import crc32

from canary.checks.judges.evidence import trimmed

PODS = 8
"""So many pods of stable are remembered; more would tell little more."""

LEAST_FAILURES = 4.0
"""Looks are put together until so many failed: with fewer a test of two of them is no test."""

CAP = 30.0
"""No test of two looks counts more: the step with which a regression begins is one such test."""

LEAN = 4
"""The estimate of phi is that of so many tests more, which found what is assumed, or nothing."""

WANDER = 1.0

BEARS = 1.5
"""Less than so much more than chance is taken for chance: an estimate of phi is no better than that for a long time."""

ERRORS = 2.0
"""So many standard errors are added to what pods are seen to differ by."""

PLAIN = 16
"""Counts that have a divisor by chance have it in less than one of so many cases."""

ATTEMPTS = 6
"""No proxy tries more often."""

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
    def spread(self) -> tuple[float, float]:
        """How much a pod's failure rate differs from that of all, as a part of it, beyond chance: tau^2 and its standard error.

        Fewer than two pods, or no failure, tell nothing: 0 and 0.
        """
        pods = self.measured
        requests = sum(one for one, _ in pods)
        failures = sum(one for _, one in pods)
        if len(pods) < 2 or failures <= 0:
            return 0.0, 0.0
        parts = [one / requests for one, _ in pods]
        squares = sum(part * part for part in parts)
        extra = weight = 0.0
        for part, (_, failed) in zip(parts, pods, strict=True):
            expected = part * failures
            extra += (failed - expected) ** 2 - expected * (1 - part)
            weight += expected * expected * (1 - 2 * part + squares)
        found = max(extra / weight, 0.0) if weight > 0 else 0.0
        return found, sqrt(2 / (len(pods) - 1)) * (found + len(pods) / failures)

    def explains(self, canary_pods: float, alpha: float) -> float:
        """Up to which factor pods of one version may differ, with a probability of 1 - alpha / 2; 1: not at all.

        The other half of alpha is left to what chance does besides.

        `canary_pods` is how many the canary has; fewer than two of stable tell nothing, which is 1 as well.
        """
        found, error = self.spread
        if error == 0.0:
            return 1.0
        pods = self.measured
        requests = sum(one for one, _ in pods)
        evenly = requests * requests / sum(one * one for one, _ in pods)
        off = sqrt((found + ERRORS * error) * (1 / max(canary_pods, 1.0) + 1 / evenly))
        return exp(min(NormalDist().inv_cdf(1 - alpha / 2) * off, _MOST_LOG))


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

    def dispersion(self, variance: float) -> float:
        """An estimate of phi, 1 or more, where chance alone gives the canary's failures in a look such a variance.

        With few tests it leans to what is assumed, and to less, since a doubt costs time with every bad canary.
        """
        assumed = WANDER * WANDER * variance
        found = (self.total + LEAN * (assumed if assumed > 1 else 0.0)) / (self.tests + LEAN)
        return found if found > BEARS else 1.0

    @property
    def multiple(self) -> int:
        """How many times each failure was counted, where that is plain: all counts are multiples of it, which chance hardly does."""
        if self.counts < 3 or self.divisor < 2 or self.divisor**self.counts < PLAIN:
            return 1
        # A canary that fails all of the same number of requests at each look has a divisor too, but no proxy tries so often.
        return next((number for number in range(ATTEMPTS, 1, -1) if self.divisor % number == 0), 1)


NONE_SEEN = Pods()
UNTESTED = Looks()


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
