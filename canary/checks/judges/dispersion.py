"""Do counts vary more than chance lets them? Then a judge that trusts chance must not say Fail. Pure.

Failures that are independent of each other vary as Poisson counts do. They do not where one pod is worse than its sisters, where a
failure is counted once for each attempt, or where each version has bursts of its own. Two estimates, of what is slow and of what is fast:

- **Between pods.** Stable's own pods run the same code. How much their rates differ beyond chance is how much one pod may differ
  from another for reasons that are not its version: tau^2, by moments (R. DerSimonian and N. Laird, "Meta-analysis in clinical
  trials", Controlled Clinical Trials 7, 1986; with the weights of the counts), and two standard errors more, since few failures
  hide it. The canary's ratio is then compared with what another set of pods may show.
- **Between looks**, by three witnesses, none of which is good alone. Their result is the dispersion phi (P. McCullagh and J. Nelder,
  "Generalized Linear Models", 2nd edition 1989, section 4.5), with which the logarithm of a likelihood ratio is phi times too large
  (R. Wedderburn, "Quasi-likelihood functions", Biometrika 61, 1974).

  1. Whether the canary's part of the failures is the same in two looks that follow each other has a score test with mean phi. It is
     right but weak, for a canary has few failures. Only neighbours are compared, and each counts at most `CAP`, so that a regression
     that begins is no dispersion.
  2. How much stable's own failures vary between looks (R. A. Fisher's index of dispersion: the sum of (k - n p)^2 / (n p) over its
     degrees of freedom). Stable has many failures, so it shows soon. But bursts that hit both versions, which do no harm, are
     in it as well: it is believed beyond `BEYOND` standard errors, and no further than the first witness could be wrong by `HIGHEST` of its own.
  3. Before there are tests, something is assumed: that each version's rate may wander by `WANDER` of itself from look to look. With
     few failures that is nothing beside chance; with thousands it is nearly all there is, and one look alone is no proof of
     a small difference. It is of one that is beyond all wandering (`FURTHEST`): phi is the same for any ratio, and makes too much of
     a large one.

  Where each failure is counted so many times, as a retrying proxy does, all counts are multiples of that, and it shows at once.

What keeps one ratio through the run, such as one pod that is worse by itself, is not seen between looks at all, and where the counters
do not tell pods apart nothing tells it from a version that is worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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

WANDER = 1.45
"""As a part of the rate; noise of 50 % in each of both is 0.7, and has a long tail."""

CERTAIN = 5.0
"""Where so much is assumed, chance is so small beside it that what the ratio is shows by itself how far rates must have wandered."""

FURTHEST = 9.0
"""So far the ratio of two rates gets in one look by wandering; in n looks its logarithm is smaller by the square root of n."""

TAILS = 1.7
"""Where wandering counts, what is beyond chance counts so many times: what multiplies a rate has a longer tail than counts have."""

BEYOND = 1.25
"""Standard errors beyond which stable's failures vary more than chance lets them."""

HIGHEST = 2.5
"""Standard errors by which the test between neighbours may be too low."""

LEAN_OWN = 2
"""As `LEAN`, for that bound: tests that found chance."""

BEARS = 1.3
"""Less than so much more than chance is taken for chance: an estimate of phi is no better than that for a long time."""

ASSUMES = 1.5
"""What is assumed before there are tests counts from here on: of fewer failures chance is nearly all there is."""

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

    `divisor` divides every count of failures so far, of which `counts` were not 0 (at most 99 are counted). `squares` is the sum
    of k^2 / n over stable's `folds` looks.
    """

    total: float = 0.0
    tests: int = 0
    before: Look = EMPTY
    open: Look = EMPTY
    divisor: int = 0
    counts: int = 0
    squares: float = 0.0
    folds: int = 0

    def after(self, look: Look) -> Looks:
        """With one more look. Looks are put together until `LEAST_FAILURES` failed."""
        divisor, counts = self.divisor, self.counts
        for failed in look[2:]:
            if failed > 0:
                divisor, counts = gcd(divisor, int(failed)), min(counts + 1, 99)
        squares = trimmed(self.squares + (look[3] * look[3] / look[1] if look[1] > 0 else 0.0))
        more = replace(self, divisor=divisor, counts=counts, squares=squares, folds=self.folds + (look[1] > 0))
        block = _added(self.open, look)
        if block[2] + block[3] < LEAST_FAILURES:
            return replace(more, open=block)
        test = _unlike(self.before, block)
        if test is None:
            return replace(more, before=block, open=EMPTY)
        return replace(more, total=trimmed(self.total + min(test, CAP)), tests=self.tests + 1, before=block, open=EMPTY)

    def own(self, requests: float, failed: float) -> float | None:
        """How much stable's failures in a look vary, where chance alone gives 1; None: they are within what chance gives.

        `requests` and `failed` are stable's, of all looks.
        """
        if self.folds < 2 or failed <= 0:
            return None
        freedom = self.folds - 1
        found = (self.squares * requests / failed - failed) / freedom
        return found if found > 1 + BEYOND * sqrt(2 / freedom) else None

    def dispersion(
        self,
        canary: float,
        stable: float,
        stable_failed: float,
        wander: float = WANDER,
        tails: float = TAILS,
        ratio: float = 1.0,
    ) -> float:
        """An estimate of phi, 1 or more, after so many requests of both and failures of stable.

        `ratio`: so many times as often as it may the canary failed, at least. Nothing is assumed where that is more than
        wandering explains.
        """
        looks = max(self.folds, 1)
        # How many of a healthy canary's failures a look has, and how they vary by chance.
        variance = stable_failed * canary / (canary + stable) / looks if stable > 0 else 0.0
        assumed = wander * wander * variance
        if assumed > CERTAIN and ratio >= FURTHEST ** (1 / sqrt(looks)):
            assumed = 0.0
        found = (self.total + LEAN * (assumed if assumed > ASSUMES else 0.0)) / (self.tests + LEAN)
        own = self.own(stable, stable_failed)
        if own is not None:
            tests = self.tests + LEAN_OWN
            highest = (self.total + LEAN_OWN) / tests * (1 + HIGHEST * sqrt(3 / tests))
            found = max(found, min(own, highest))
        if found <= BEARS:
            return 1.0
        return 1 + (tails if assumed > ASSUMES else 1.0) * (found - 1)

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
