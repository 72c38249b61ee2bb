"""What a look at a comparison shows, drawn by chance: of errors, or of how long requests took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf, log
from random import Random
from typing import Any

from canary.checks.judges.against import Against
from canary.checks.judges.compare import factors
from canary.checks.judges.comparison import Versus
from canary.checks.judges.latency import odds_factors
from canary.checks.judges.slower import Slower
from canary.model.measurement import Compared, Timed
from canary.rehearse.draws import binomial
from canary.rehearse.timeline import StepTime

ANY = datetime(2000, 1, 1, tzinfo=UTC)
"""Looks are folded in order, and no time of day is in what comes of them."""

_STARTED = 2.0
"""What a comparison pays, as a logarithm, for not knowing what it bets on and since when."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the pair of Services gets: requests a second, the part of stable's that fail, and by bound the part that is slower."""

    rate: float
    failing: float = 0.0
    slow: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """Requests of both backends a second at a step, what is bad of stable's, and how many times as bad the canary is."""

    canary: float
    stable: float
    traffic: Traffic
    times: float

    @classmethod
    def at(cls, step: StepTime, traffic: Traffic, times: float) -> Part:
        canary = traffic.rate * (step.share + step.mirror)
        return cls(canary, traffic.rate * (1 - step.share), traffic, times)

    def look(self, rule: Against[Any], random: Random, seconds: float, *, worse: bool) -> Compared | Timed:
        """What both did in so many seconds, by chance."""
        canary, stable = (_whole(random, one * seconds) for one in (self.canary, self.stable))
        times = self.times if worse else 1.0
        if isinstance(rule, Slower):
            ours = slower(random, canary, [odds_times(part, times) for part in self.traffic.slow])
            theirs = slower(random, stable, self.traffic.slow)
            return Timed(ANY, ANY, canary, stable, within(rule, canary, ours), within(rule, stable, theirs))
        failed = binomial(random, canary, min(1.0, self.traffic.failing * times))
        return Compared(ANY, ANY, canary, stable, failed, binomial(random, stable, self.traffic.failing), {})

    def half(self, rule: Against[Any]) -> float:
        """About how many seconds half of the runs take: what is needed, over what the best bet expects to win a second.

        A. Wald, "Sequential tests of statistical hypotheses", Annals of Mathematical Statistics 16, 1945: the expected number of looks of a
        sequential test. It only says how finely to simulate.
        """
        won = max(self._won(rule), default=0.0)
        return (-log(rule.part) + _STARTED) / won if won > 0 else inf

    def _won(self, rule: Against[Any]) -> list[float]:
        if isinstance(rule, Slower):
            return [
                one
                for part in self.traffic.slow
                for one in odds_factors(
                    self.canary,
                    self.stable,
                    self.canary * odds_times(part, self.times),
                    self.stable * part,
                    rule.rule.effects,
                    rule.rule.effect,
                )
            ]
        if isinstance(rule, Versus):
            failed = self.canary * min(1.0, self.traffic.failing * self.times)
            counts = self.canary, self.stable, failed, self.stable * self.traffic.failing
            return [*factors(counts, rule.rule.effects, rule.rule.tolerance)]
        return []


def why_never(rule: Against[Any], traffic: Traffic, worse: float) -> str:
    """Why nothing can be found, whatever the step is; empty where something can."""
    if worse <= rule.tolerance:
        return f"so much is tolerated (tolerance {rule.tolerance:g})"
    if traffic.rate <= 0:
        return "there are no requests"
    if isinstance(rule, Slower):
        return "" if any(0 < part < 1 for part in traffic.slow) else "stable is slow by these bounds always, or never"
    return "" if traffic.failing > 0 else "stable fails nothing, and so many times nothing is nothing"


def enough(rule: Against[Any], progress: Any) -> bool:
    """Whether there is evidence for a Fail; most looks have none, and need no words."""
    evidence: float = rule.rule.evidence(progress) if isinstance(rule, Slower) else progress.worse.evidence
    return evidence >= -log(rule.part)


def odds_times(part: float, times: float) -> float:
    """The part whose odds are so many times those of another one."""
    return times * part / (1 - part + times * part)


def within(rule: Slower, requests: int, beyond: Sequence[int]) -> dict[float, float]:
    """Of requests of which so many are slower than each bound, how many are not."""
    return {bound: float(requests - more) for bound, more in zip(rule.bounds, beyond, strict=True)}


def slower(random: Random, requests: int, parts: Sequence[float]) -> list[int]:
    """How many requests are slower than each bound: `parts` are falling, and who is beyond one bound is beyond those below."""
    beyond, before = [], 1.0
    for part in parts:
        requests = binomial(random, requests, min(1.0, part / before) if before > 0 else 0.0)
        beyond.append(requests)
        before = part
    return beyond


def _whole(random: Random, expected: float) -> int:
    """A whole number with this mean."""
    return int(expected) + (random.random() < expected % 1)
