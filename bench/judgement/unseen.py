"""What no judge can tell apart: a canary of one pod that is worse by itself, and one whose version is worse, in one series.

Both fail at a rate that stays what it is. If pods of one version differ by a factor, a healthy canary's counts are a mixture of
those of canaries that are so many times as bad, so whoever fails these fails some of those. How many at least is what J. Neyman and
E. Pearson's lemma says ("On the problem of the most efficient tests of statistical hypotheses", 1933): of all tests that find a bad canary
with a given probability the one that looks at the ratio of the likelihoods is wrong least often. While rates stay what they are, all that
60 looks can say is how many failed of either in all, so no way to look more often or to stop sooner is better.

It is kind to the judge: the test knows stable's rate and how much pods differ, needs no look before the last, and may spare a canary for
failing *more* than twice as often.
"""

from __future__ import annotations

from math import lgamma

import numpy as np

from bench.judgement.traffic import BASE, LOOKS, REQUESTS

DRAWS = 4000
"""Sets of pods over which the counts of healthy canaries are averaged."""


def least(spread: float, caught: float = 0.97, ratio: float = 2.0, pods: int = 9, seed: int = 1) -> float:
    """The part of healthy canaries that a judge fails at least which catches that part of those that are `ratio` times as bad.

    Stable's pods and the canary's one have rates that differ by `spread`, the standard deviation of the logarithm.
    """
    rates = np.random.default_rng(seed).lognormal(0, spread, (pods + 1, DRAWS))
    canary, stable = (part * REQUESTS * LOOKS * BASE for part in (0.1, 0.9))
    ours = np.arange(int(canary * ratio * 3) + 50)
    theirs = np.arange(int(stable * 2.5) + 50)
    healthy = _chances(ours, canary * rates[pods]) @ _chances(theirs, stable * rates[:pods].mean(axis=0)).T / DRAWS
    bad = np.outer(_chances(ours, np.array([canary * ratio])), _chances(theirs, np.array([stable])))
    order = np.argsort(-(bad / np.maximum(healthy, 1e-300)).ravel())
    found = np.cumsum(bad.ravel()[order])
    # All but the last of these outcomes are needed to catch so many; a part of the last one may be left out.
    return float(healthy.ravel()[order][: np.searchsorted(found, caught)].sum())


def _chances(counts: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Poisson's, count by mean."""
    factorials = np.array([lgamma(count + 1) for count in counts.tolist()])
    chances: np.ndarray = np.exp(counts[:, None] * np.log(means)[None] - means[None] - factorials[:, None])
    return chances
