"""Evidence that may be looked at as often as one likes: bets against a claim, their capital, and when that is enough. Pure.

Whoever bets against a true claim at fair odds cannot expect to win. So capital that began as 1 reaches 1 / alpha with a
probability of at most alpha, at whatever look one stops (J. Ville, "Étude critique de la notion de collectif", 1939; for
tests: G. Shafer, "Testing by betting", JRSS A 184, 2021; A. Ramdas, P. Grünwald, V. Vovk and G. Shafer, "Game-theoretic
statistics and safe anytime-valid inference", Statistical Science 38, 2023). The capital is the evidence, E.

Which alternative is true, and since when, is not known, so the capital is spread over both: w_s for a bet that begins at
look s, and of that a part for each alternative j. With X_j(t) the factor by which look t multiplies a bet on j,

    E(t) = sum over s <= t and j of w_s w_sj X_j(s) ... X_j(t)  +  sum over s > t of w_s

Bets that began at different looks grow alike from then on, so one number for each alternative is enough:
M_j(t) = (M_j(t - 1) + w_t w_tj) X_j(t), and every look may be a start. A look at which nothing failed has factor 1: whether
a bet begins before or after it is the same, so such looks do not count as starts, and a check that looks every second
spends its capital no faster than one that looks every minute.

The weights: w_0 = AT_ONCE, and (1 - AT_ONCE) / (1 + (s / MIDDLE)^2) is left after look s, so all of them sum to 1. Few bets begin in the
first looks, when those that began at once have lost nothing yet; most around look MIDDLE; and some at any time. Bets from the first
look favour large effects, which are found before others begin; later ones favour twofold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp, isfinite, log
from typing import Self

EFFECTS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""What is bet on: so many times as often."""

AT_ONCE = 0.6
MIDDLE = 14.0
FIRST = (0.02, 0.04, 0.32, 0.53, 0.04, 0.05)
LATER = (0.01, 0.09, 0.88, 0.01, 0.005, 0.005)
"""Of the capital that begins at the first look, and of that which begins later, the part for each of `EFFECTS`."""

MOST = 1e15
"""No count is larger; floats hold whole numbers up to it."""

LEAST = 1e-12
"""What is less is nothing: floats left it over, or somebody made it up, and its square may be 0 where it is not."""


@dataclass(frozen=True, slots=True)
class Bets:
    """Capital by alternative, as logarithms, and how many looks (at which something failed) there were."""

    logs: tuple[float, ...]
    looks: int = 0

    @classmethod
    def begin(cls, alternatives: int) -> Self:
        """Nothing is bet yet: E is 1."""
        return cls((float("-inf"),) * alternatives)

    def after(self, factors: Sequence[float], first: Sequence[float], later: Sequence[float]) -> Bets:
        """The bets after a look with these factors, as logarithms; `first` and `later` are parts that sum to 1 each."""
        start, parts = stake(self.looks), first if self.looks == 0 else later
        logs = tuple(
            trimmed(_log_sum((before, log(start * part))) + factor)
            for before, part, factor in zip(self.logs, parts, factors, strict=True)
        )
        return Bets(logs, self.looks + 1)

    @property
    def evidence(self) -> float:
        """The logarithm of E."""
        return _log_sum((*self.logs, log(reserve(self.looks))))

    def tempered(self, dispersion: float, parts: Sequence[float]) -> float:
        """The logarithm of what E were if each bet had won as much less as counts vary more than chance lets them.

        `parts` are those of the first look. What later bets began with is taken for lost, which is on the careful side.
        """
        if self.looks == 0:
            return 0.0
        begun = [log(AT_ONCE * part) for part in parts]
        won = [start + (one - start) / dispersion for one, start in zip(self.logs, begun, strict=True)]
        return _log_sum(won) if dispersion > 1 else self.evidence

    @property
    def since_start(self) -> tuple[float, ...]:
        """What part of the capital that is bet stands on each alternative; sums to 1 after the first look."""
        if self.looks == 0:
            return (0.0,) * len(self.logs)
        whole = _log_sum(self.logs)
        return tuple(exp(one - whole) for one in self.logs)

    def plausible(self, highest: Sequence[float], lowest: Sequence[float]) -> bool:
        """Whether counts that multiply a bet by at most `highest` and at least `lowest` (logarithms) can give these."""
        if self.looks == 0:
            return all(one == float("-inf") for one in self.logs)
        # All of the capital stands on one bet at most, and on each at least the part that began at once.
        return all(
            isfinite(one) and log(AT_ONCE * min(FIRST)) + low - slack <= one <= high + slack
            for one, high, low in zip(self.logs, highest, lowest, strict=True)
            for slack in (_SLACK * (1 + high - low),)
        )


_SLACK = 1e-6


def stake(look: int) -> float:
    """The part of the capital that begins to be bet at a look; the first is 0."""
    if look == 0:
        return AT_ONCE
    # reserve(look) - reserve(look + 1), without the digits that a difference of two small numbers loses.
    return (2 * look - 1) / MIDDLE**2 * reserve(look) * reserve(look + 1) / (1 - AT_ONCE)


def reserve(looks: int) -> float:
    """The part of the capital that is not bet yet after so many looks."""
    return 1.0 if looks == 0 else (1 - AT_ONCE) / (1 + ((looks - 1) / MIDDLE) ** 2)


def alternatives(
    tolerance: float, first: Sequence[float] = FIRST, later: Sequence[float] = LATER
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """The effects that are more than what is tolerated, and the parts of the capital that go to each; both sum to 1.

    Raises ValueError: nothing is more.
    """
    kept = [number for number, effect in enumerate(EFFECTS) if effect > tolerance]
    if not kept or not tolerance > 0:
        raise ValueError(f"a tolerance is more than 0 and less than {EFFECTS[-1]:g}, not {tolerance:g}")
    return tuple(EFFECTS[number] for number in kept), _whole(first, kept), _whole(later, kept)


def shared(declared: Iterable[Fraction | None], alpha: Fraction) -> tuple[Fraction, ...]:
    """The alpha of each check: its own where it declares one, else an even share of `alpha`.

    The chance that any of them fails a canary that is as good as stable is at most the sum of what this returns. Only
    comparisons take part in it: a threshold has no alpha, and a run that is tried again has the chance again.

    Raises ValueError: an alpha that is no probability between 0 and 1.
    """
    given = tuple(declared)
    if any(not 0 < one < 1 for one in (alpha, *(one for one in given if one is not None))):
        raise ValueError("an alpha is more than 0 and less than 1")
    without = sum(one is None for one in given)
    return tuple(alpha / without if one is None else one for one in given)


def trimmed(number: float) -> float:
    """Ten digits of a number: what a status holds is what was judged, whether or not somebody restarted in between."""
    return float(f"{number:.10g}") if abs(number) >= LEAST else 0.0


def _whole(parts: Sequence[float], kept: Sequence[int]) -> tuple[float, ...]:
    whole = sum(parts[number] for number in kept)
    return tuple(parts[number] / whole for number in kept)


def _log_sum(logs: Sequence[float]) -> float:
    """The logarithm of a sum of which the logarithms of the terms are known."""
    most = max(logs)
    if most == float("-inf"):
        return most
    return most + log(sum(exp(one - most) for one in logs))
