"""The judges of canary, what people use today, and the limits that nobody can pass, each over one run of looks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import log, log1p

from bench.judgement.traffic import BASE, BOUNDS
from canary.checks.judges.compare import Compare, Look
from canary.checks.judges.finding import Standing
from canary.checks.judges.latency import Histogram, Latency
from canary.checks.judges.mirrored import Alike
from canary.checks.judges.mirrored import Look as Answered
from canary.checks.judges.outcome import Judged
from canary.checks.judges.sliding import Sliding
from canary.checks.judges.threshold import Bounds
from canary.model.measurement import Sample

ALPHA = 0.05
NEEDED = -log(ALPHA)
"""The logarithm of the evidence without which no judge fails a canary, or says that it was held back."""
LIMIT = Fraction(2, 100)
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: failed or proved good at a look (the first is 1), and whether it was held back for dispersion."""

    failed: int | None = None
    good: int | None = None
    doubted: bool = False


def compare(looks: Iterable[Look], harmless: float | None = None) -> Ended:
    """The comparison of errors."""
    judge = Compare(ALPHA, harmless=harmless)
    progress, doubted = judge.begin(), False
    for number, look in enumerate(looks, 1):
        progress = judge.fold(progress, look)
        found = judge.judge(progress)
        if found.standing is Standing.FAIL:
            return Ended(failed=number, doubted=doubted)
        if found.standing is Standing.GOOD:
            return Ended(good=number, doubted=doubted)
        doubted = doubted or found.reason == "Overdispersed"
    return Ended(doubted=doubted)


def promote_early(looks: Iterable[Look]) -> Ended:
    """The comparison where less than twice as many errors as stable has are good enough."""
    return compare(looks, harmless=2.0)


def latency(looks: Iterable[tuple[Histogram, Histogram]]) -> Ended:
    """The comparison of latencies; 1.5 times the odds are no matter."""
    judge = Latency(ALPHA, BOUNDS, 1.5, 100)
    progress, doubted = judge.begin(), False
    for number, (canary, stable) in enumerate(looks, 1):
        progress = judge.fold(progress, canary, stable)
        if judge.evidence(progress) < NEEDED:  # with less it says neither of what is counted here
            continue
        found = judge.judge(progress)
        if found.standing is Standing.FAIL:
            return Ended(failed=number, doubted=doubted)
        doubted = doubted or found.reason == "Overdispersed"
    return Ended(doubted=doubted)


def mirrored(looks: Iterable[Answered]) -> Ended:
    """The comparison of answers to mirrored requests; one in a thousand may be another one, and 100 have to be compared."""
    judge = Alike(ALPHA, 0.001, 100)
    progress = judge.begin()
    for number, look in enumerate(looks, 1):
        progress = judge.fold(progress, look)
        if judge.evidence(progress) < NEEDED:
            continue
        if judge.judge(progress).standing is Standing.FAIL:
            return Ended(failed=number)
    return Ended()


def threshold(looks: Iterable[Look]) -> Ended:
    """More than 2 % of errors, five times in a row."""
    in_row = 0
    for number, good in enumerate(_within(looks), 1):
        in_row = 0 if good else in_row + 1
        if in_row == 5:
            return Ended(failed=number)
    return Ended()


def threshold_total(looks: Iterable[Look]) -> Ended:
    """More than 2 % of errors, five times in all, as those count whose analysis has a limit of failures."""
    bad = 0
    for number, good in enumerate(_within(looks), 1):
        bad += not good
        if bad == 5:
            return Ended(failed=number)
    return Ended()


def sliding(looks: Iterable[Look]) -> Ended:
    """More than 2 % of errors, 5 times of 10."""
    rule, remembered = Sliding(5, 10), ""
    for number, good in enumerate(_within(looks), 1):
        remembered = rule.fold(remembered, good)
        if rule.failed(remembered):
            return Ended(failed=number)
    return Ended()


def _within(looks: Iterable[Look]) -> Iterable[bool]:
    """Whether each look is within 2 %, as the threshold of a check says; a look without requests says nothing."""
    bounds = Bounds(maximum=LIMIT)
    for number, look in enumerate(looks):
        if look.canary > 0:
            found = bounds.judge(Sample(look.canary_failed / look.canary, _BEGAN + timedelta(seconds=number)))
            yield isinstance(found, Judged) and found.good


def wald(looks: Iterable[Look], ratio: float) -> Ended:
    """Wald's sequential test of the canary alone, for which somebody told both rates: nobody can be faster at that error."""
    bad, evidence = BASE * ratio, 0.0
    for number, look in enumerate(looks, 1):
        evidence += look.canary_failed * log(ratio)
        evidence += (look.canary - look.canary_failed) * (log1p(-bad) - log1p(-BASE))
        if evidence >= -log(ALPHA):
            return Ended(failed=number)
    return Ended()


def conditional(looks: Iterable[Look], ratio: float) -> Ended:
    """The same for somebody who knows the ratio, and since when it holds, but no rate: one bet instead of the mixture."""
    evidence = 0.0
    for number, look in enumerate(looks, 1):
        both = look.canary_failed + look.stable_failed
        evidence += look.canary_failed * log(ratio)
        evidence -= both * log1p((ratio - 1) * look.canary / (look.canary + look.stable))
        if evidence >= -log(ALPHA):
            return Ended(failed=number)
    return Ended()
