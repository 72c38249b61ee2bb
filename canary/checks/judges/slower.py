"""How often the canary is slow, against stable: what is declared, and the rule that weighs it (`latency`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from canary.checks.judges.against import Against
from canary.checks.judges.buckets import same
from canary.checks.judges.finding import Finding
from canary.checks.judges.latency import Histogram, Latency, Slow
from canary.checks.judges.memory import dump_latency, load_latency
from canary.checks.judges.words import TIMES, seconds_words
from canary.errors import SpecError
from canary.model.checks import Comparison
from canary.model.measurement import Compared, Timed


@dataclass(frozen=True, slots=True)
class Slower(Against[Slow]):
    """A comparison of latencies by the `bounds` (seconds) beyond which a request is slow.

    `tolerance` is of odds: 1.1 or more, since a little slower is no matter. Raises ValueError: bounds that can be none.
    """

    LOOKS: ClassVar[type[Compared | Timed]] = Timed

    bounds: tuple[float, ...] = ()
    rule: Latency = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rule = Latency(self.part, bounds=self.bounds, effect=self.tolerance, least_requests=self.min_requests)
        object.__setattr__(self, "rule", rule)

    @classmethod
    def of(cls, declared: Comparison, args: Mapping[str, str | None], field: str) -> Self:  # noqa: ARG003 - as every judge
        try:
            return cls(
                tolerance=declared.tolerance,
                min_requests=declared.min_requests,
                lag=declared.lag,
                on_inconclusive=declared.on_inconclusive,
                own=declared.alpha.chance if declared.alpha is not None else None,
                bounds=tuple(sorted(same(bound.seconds) for bound in declared.slower_than or ())),
            )
        except ValueError as error:
            raise SpecError(f"{field}.compare.slowerThan", str(error)) from error

    @property
    def most(self) -> str:
        """`odds to be slower than 100 ms, 300 ms at most 1.2 times stable's`, with the sign for it."""
        bounds = ", ".join(map(seconds_words, self.bounds))
        return f"odds to be slower than {bounds} at most {self.tolerance:g}{TIMES} stable's"

    def begin(self) -> Slow:
        return self.rule.begin()

    def moved(self, before: Slow) -> Slow:
        return before

    def folded(self, before: Slow, look: Timed) -> Slow:
        canary, stable = (
            Histogram(requests, within)
            for requests, within in ((look.canary, look.canary_within), (look.stable, look.stable_within))
        )
        return self.rule.fold(before, canary, stable)

    def stands(self, progress: Slow) -> Finding:
        return self.rule.judge(progress)

    def dumped(self, progress: Slow) -> str:
        return dump_latency(self.rule, progress)

    def loaded(self, text: object) -> Slow:
        return load_latency(self.rule, text)

    def note(self, look: Timed) -> str:
        at = (f"{seconds_words(bound)} is counted at {seconds_words(edge)}" for bound, edge in look.edges.items())
        return ", ".join(at)

    def ratio(self, progress: Slow) -> float | None:
        """So many times as often as stable the canary was slow, by the bound that speaks most against it."""
        worst = max(progress.buckets, key=lambda one: one.worse.evidence)
        if not (progress.canary > 0 and progress.stable > 0 and worst.stable > 0):
            return None
        return (worst.canary / progress.canary) / (worst.stable / progress.stable)
