"""Canary against stable as a judge: what is declared, and the rule that weighs it (`compare`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Self

from canary.checks.judges.compare import Compare
from canary.checks.judges.outcome import Flaw, NotJudged, Outcome
from canary.checks.judges.words import TIMES, share
from canary.model.checks import Comparison, OnUnknown
from canary.model.measurement import Sample
from canary.model.rollout import DEFAULT_ALPHA
from canary.model.values import Duration


@dataclass(frozen=True, slots=True)
class Versus:
    """A comparison of errors. It judges no single sample: its evidence is of many looks, and `rule` weighs it.

    `own` is the alpha that the check declares; `alpha` the chance that it has over a run, which `processes` share: traffic that
    is judged apart, such as copies and users' requests, has each an even part of it.
    """

    tolerance: float
    min_requests: int
    lag: Duration
    on_inconclusive: OnUnknown
    own: Fraction | None = None
    alpha: Fraction = DEFAULT_ALPHA
    processes: int = 1
    rule: Compare = field(init=False, repr=False)

    many = True
    expression = None

    def __post_init__(self) -> None:
        alpha = float(self.alpha) / max(self.processes, 1)
        rule = Compare(alpha, tolerance=self.tolerance, least_requests=self.min_requests)
        object.__setattr__(self, "rule", rule)

    @classmethod
    def of(cls, declared: Comparison, args: Mapping[str, str | None], field: str) -> Self:  # noqa: ARG003 - as every judge
        return cls(
            tolerance=declared.tolerance,
            min_requests=declared.min_requests,
            lag=declared.lag,
            on_inconclusive=declared.on_inconclusive,
            own=declared.alpha.chance if declared.alpha is not None else None,
        )

    @staticmethod
    def arguments(declared: Comparison) -> frozenset[str]:  # noqa: ARG004 - as every judge
        return frozenset()

    def given(self, alpha: Fraction, processes: int) -> Self:
        """The same with what it gets of a run's alpha, and the number of processes that share that."""
        return replace(self, alpha=alpha, processes=processes)

    @property
    def limit(self) -> str:
        """`errors at most 1.5 times stable's (alpha 1 %)`, with the sign for it."""
        most = (
            "no more errors than stable"
            if self.tolerance == 1
            else f"errors at most {self.tolerance:g}{TIMES} stable's"
        )
        return f"{most} (alpha {share(float(self.alpha))})"

    def flaws(self) -> Iterator[Flaw]:
        return iter(())

    def judge(self, sample: Sample) -> Outcome:  # noqa: ARG002 - as every judge
        return NotJudged("NotCompared", "one number compares nothing")
