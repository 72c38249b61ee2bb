"""Canary against stable as a judge: what all comparisons have in common. What is compared is a class of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Generic, Self, TypeVar

from canary.checks.judges.finding import Finding
from canary.checks.judges.outcome import Flaw, NotJudged, Outcome
from canary.checks.judges.words import share
from canary.model.checks import SHORTEST_INTERVAL, Comparison, OnUnknown
from canary.model.measurement import Compared, Sample, Timed
from canary.model.rollout import DEFAULT_ALPHA
from canary.model.values import Duration

P = TypeVar("P")
"""What is known after the looks so far."""


@dataclass(frozen=True, slots=True)
class Against(ABC, Generic[P]):
    """A comparison. It judges no single sample: its evidence is of many looks.

    `own` is the alpha that the check declares; `alpha` the chance that it has over a run, which `processes` share: traffic that
    is judged apart, such as copies and users' requests, has each an even part of it.
    """

    LOOKS: ClassVar[type[Compared | Timed]]
    """The measurements that it can make something of."""

    tolerance: float
    min_requests: int
    lag: Duration
    on_inconclusive: OnUnknown
    own: Fraction | None = None
    alpha: Fraction = DEFAULT_ALPHA
    processes: int = 1

    many = True
    expression = None

    @classmethod
    @abstractmethod
    def of(cls, declared: Comparison, args: Mapping[str, str | None], field: str) -> Self:
        """From what is declared. Raises SpecError; `field` is the path of the check."""

    @staticmethod
    def arguments(declared: Comparison) -> frozenset[str]:  # noqa: ARG004 - as every judge
        return frozenset()

    def given(self, alpha: Fraction, processes: int) -> Self:
        """The same with what it gets of a run's alpha, and the number of processes that share that."""
        return replace(self, alpha=alpha, processes=processes)

    def pause(self, interval: float) -> float:
        """Seconds between two of its looks in the long run, where few compare.

        There is news once in a `lag` or more often, which is looked for twice in it, and at least once in an `interval`.
        """
        return min(interval, max(SHORTEST_INTERVAL, self.lag.seconds / 2))

    @property
    def part(self) -> float:
        """The alpha of each process."""
        return float(self.alpha) / max(self.processes, 1)

    @property
    def limit(self) -> str:
        """What a good canary keeps, with its alpha: `no more errors than stable (alpha 1 %)`."""
        return f"{self.most} (alpha {share(float(self.alpha))})"

    @property
    @abstractmethod
    def most(self) -> str:
        """What a good canary keeps, in words."""

    def flaws(self) -> Iterator[Flaw]:
        return iter(())

    def judge(self, sample: Sample) -> Outcome:  # noqa: ARG002 - as every judge
        return NotJudged("NotCompared", "one number compares nothing")

    @abstractmethod
    def begin(self) -> P:
        """What is known before the first look."""

    @abstractmethod
    def moved(self, before: P) -> P:
        """What is known of other shares than before: nothing that is open spans a write."""

    @abstractmethod
    def folded(self, before: P, look: Any) -> P:
        """What is known after one more look, one of `LOOKS`. Raises ValueError: counts that cannot be."""

    @abstractmethod
    def stands(self, progress: P) -> Finding:
        """What the looks so far prove."""

    def note(self, look: Any) -> str:  # noqa: ARG002 - most looks need none
        """What else there is to say of a look, in words; empty: nothing."""
        return ""

    @abstractmethod
    def dumped(self, progress: P) -> str:
        """The text that a status keeps, at most 1 KiB."""

    @abstractmethod
    def loaded(self, text: object) -> P:
        """What a status says is known. Raises ValueError: it is nothing that this judge can have known, and why."""

    @abstractmethod
    def ratio(self, progress: P) -> float | None:
        """The number that people see: so many times stable's; None where stable has none."""
