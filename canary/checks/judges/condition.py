"""A CEL expression that is true of a good measurement.

It is evaluated where the number is taken, since that may take its time; here it is only read what it said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from canary.checks.condition import problem
from canary.checks.judges.outcome import Broken, Flaw, Judged, NotJudged, Outcome
from canary.model.measurement import Sample


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition over `value` and `values`."""

    expression: str

    many = True

    @classmethod
    def of(cls, declared: str, args: Mapping[str, str | None], field: str) -> Self:  # noqa: ARG003 - as every judge
        return cls(declared)

    @staticmethod
    def arguments(declared: str) -> frozenset[str]:  # noqa: ARG004 - as every judge
        return frozenset()

    @property
    def limit(self) -> str:
        return self.expression

    def flaws(self) -> Iterator[Flaw]:
        wrong = problem(self.expression)
        if wrong:
            yield Flaw("condition", wrong, "it may name `value` and `values`")

    def judge(self, sample: Sample) -> Outcome:
        weighed = sample.weighed
        if weighed is None or weighed.condition != self.expression:
            # It was edited meanwhile, maybe. That is no error of the provider.
            return NotJudged("ConditionNotEvaluated", "the condition was not evaluated for this measurement")
        if weighed.holds is None:
            return Broken(weighed.reason, weighed.message)
        word, reason = ("holds", "ConditionHolds") if weighed.holds else ("does not hold", "ConditionBroken")
        return Judged(weighed.holds, reason, f"{self.expression} {word} for {sample.value:g}")
