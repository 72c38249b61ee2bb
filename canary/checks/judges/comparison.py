"""The canary's errors against stable's: what is declared, and the rule that weighs it (`compare`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from canary.checks.judges.against import Against
from canary.checks.judges.compare import Compare, Look, Progress
from canary.checks.judges.dispersion import NONE_SEEN
from canary.checks.judges.finding import Finding
from canary.checks.judges.memory import MOST_TEXT, dump, load
from canary.checks.judges.words import TIMES
from canary.model.checks import Comparison
from canary.model.measurement import Compared, Timed

HARMLESS = 2.0
"""A canary that provably fails less than so many times as often as it may is good enough to end a hold."""


@dataclass(frozen=True, slots=True)
class Versus(Against[Progress]):
    """A comparison of errors; `rule` weighs it."""

    LOOKS: ClassVar[type[Compared | Timed]] = Compared

    promote_early: bool = False
    rule: Compare = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rule = Compare(self.part, tolerance=self.tolerance, least_requests=self.min_requests)
        object.__setattr__(self, "rule", rule)

    @classmethod
    def of(cls, declared: Comparison, args: Mapping[str, str | None], field: str) -> Self:  # noqa: ARG003 - as every judge
        return cls(
            tolerance=declared.tolerance,
            min_requests=declared.min_requests,
            lag=declared.lag,
            on_inconclusive=declared.on_inconclusive,
            own=declared.alpha.chance if declared.alpha is not None else None,
            promote_early=declared.promote_early,
        )

    @property
    def good(self) -> Compare:
        """The rule that also proves a canary good."""
        most = HARMLESS * self.tolerance
        return Compare(self.part, self.tolerance, harmless=most, least_requests=self.min_requests)

    @property
    def most(self) -> str:
        """`errors at most 1.5 times stable's`, with the sign for it."""
        if self.tolerance == 1:
            return "no more errors than stable"
        return f"errors at most {self.tolerance:g}{TIMES} stable's"

    def begin(self) -> Progress:
        return self.rule.begin()

    def moved(self, before: Progress) -> Progress:
        return self.rule.moved(before)

    def folded(self, before: Progress, look: Compared) -> Progress:
        counts = look.canary, look.stable, look.canary_failed, look.stable_failed
        return self.rule.fold(before, Look(*counts, look.pods, look.canary_pods))

    def stands(self, progress: Progress) -> Finding:
        return self.rule.judge(progress)

    def dumped(self, progress: Progress) -> str:
        """Pods are what takes most room, and what can be learnt again."""
        text = dump(self.rule, progress)
        return text if len(text) <= MOST_TEXT else dump(self.rule, replace(progress, pods=NONE_SEEN))

    def loaded(self, text: object) -> Progress:
        return load(self.rule, text)

    def ratio(self, progress: Progress) -> float | None:
        """So many times as often as stable the canary failed."""
        if not (progress.canary > 0 and progress.stable > 0 and progress.stable_failed > 0):
            return None
        return (progress.canary_failed / progress.canary) / (progress.stable_failed / progress.stable)
