"""Answers to mirrored requests as a judge: what is declared, and the rule that weighs it (`mirrored`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Self

from canary.checks.judges.mirrored import Alike
from canary.checks.judges.outcome import Flaw, NotJudged, Outcome
from canary.checks.judges.words import share
from canary.model.checks import MirroredAnswers, OnUnknown
from canary.model.measurement import Sample
from canary.model.rollout import DEFAULT_ALPHA
from canary.model.values import Duration


@dataclass(frozen=True, slots=True)
class Answers:
    """A comparison of answers. It judges no single sample: its evidence is of many looks, and `rule` weighs it.

    `own` is the alpha that the check declares; `alpha` the chance that it has over a run, of which each step that mirrors to a
    comparer (`processes` of them) has an even part.
    """

    most: float
    least: int
    on_inconclusive: OnUnknown
    own: Fraction | None = None
    alpha: Fraction = DEFAULT_ALPHA
    processes: int = 1
    rule: Alike = field(init=False, repr=False)

    many = True
    expression = None
    lag = Duration.parse("5s")
    """As long as a comparer waits for an answer: one that ends later may be that of the canary before."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", Alike(float(self.alpha) / max(self.processes, 1), self.most, self.least))

    @classmethod
    def of(cls, declared: MirroredAnswers, args: Mapping[str, str | None], field: str) -> Self:  # noqa: ARG003 - as every judge
        return cls(
            most=float(declared.max_different.part),
            least=declared.min_compared,
            on_inconclusive=declared.on_inconclusive,
            own=declared.alpha.chance if declared.alpha is not None else None,
        )

    @staticmethod
    def arguments(declared: MirroredAnswers) -> frozenset[str]:  # noqa: ARG004 - as every judge
        return frozenset()

    def given(self, alpha: Fraction, processes: int) -> Self:
        """The same with what it gets of a run's alpha, and the number of steps that share that."""
        return replace(self, alpha=alpha, processes=processes)

    @property
    def limit(self) -> str:
        """`at most 0.1 % of answers different, beyond noise (alpha 5 %)`."""
        return f"at most {share(self.most)} of answers different, beyond noise (alpha {share(float(self.alpha))})"

    def flaws(self) -> Iterator[Flaw]:
        return iter(())

    def judge(self, sample: Sample) -> Outcome:  # noqa: ARG002 - as every judge
        return NotJudged("NotCompared", "one number compares nothing")
