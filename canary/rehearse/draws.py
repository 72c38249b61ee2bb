"""Counts drawn by chance, from a generator with a seed. Pure."""

from __future__ import annotations

from random import Random

FEW = 16
"""So many trials, or fewer, are drawn one by one."""


def binomial(random: Random, trials: int, chance: float) -> int:
    """How many of `trials` succeed, each with the same chance and by itself.

    Exact, in a time that grows with the logarithm of the trials: the trials are uniform numbers, of which those below `chance`
    succeed. The one in the middle of their order has a beta distribution, and says of one half on which side of it they are
    (L. Devroye, "Non-Uniform Random Variate Generation", Springer 1986, section X.4.3).
    """
    successes = 0
    while trials > FEW and 0.0 < chance < 1.0:
        middle = (trials + 1) // 2
        at = random.betavariate(middle, trials + 1 - middle)
        if at <= chance:
            successes += middle
            trials -= middle
            chance = (chance - at) / (1.0 - at)
        else:
            trials = middle - 1
            chance /= at
    if chance >= 1.0:
        return successes + trials
    return successes + sum(random.random() < chance for _ in range(trials)) if chance > 0.0 else successes
