"""Whether an answer is what was expected: the provider has looked, since it alone has seen the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from canary.checks.judges.outcome import Flaw, Judged, Outcome
from canary.checks.judges.threshold import Bounds
from canary.checks.sources.web import Expected
from canary.model.measurement import Sample
from canary.model.web import WebSource


@dataclass(frozen=True, slots=True)
class AsExpected:
    """1 is as expected, anything else is not."""

    words: str

    many = False
    expression = None

    @classmethod
    def of(cls, declared: WebSource, args: Mapping[str, str | None], field: str) -> AsExpected | Bounds:  # noqa: ARG003 - as every judge
        """Of a request whose answer is a number nothing is expected here."""
        return Bounds() if declared.expect is None else cls(Expected.of(declared.expect).words)

    @staticmethod
    def arguments(declared: WebSource) -> frozenset[str]:  # noqa: ARG004 - as every judge
        """None of its own: those of the request are the source's."""
        return frozenset()

    @property
    def limit(self) -> str:
        return self.words

    def flaws(self) -> Iterator[Flaw]:
        return iter(())

    def judge(self, sample: Sample) -> Outcome:
        if sample.value == 1:
            return Judged(True, "AsExpected", sample.note or f"the answer is {self.words}")
        return Judged(False, "NotAsExpected", sample.note or f"the answer is not {self.words}")
