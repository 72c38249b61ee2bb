"""Whether a Job has succeeded: whoever ran it has seen that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from canary.checks.judges.outcome import Flaw, Judged, Outcome
from canary.model.jobs import JobSource
from canary.model.measurement import Sample

JOB_SUCCEEDED = "JobSucceeded"
JOB_FAILED = "JobFailed"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """1 is a success, anything else is none."""

    many = False
    expression = None
    limit = "exit code 0"

    @classmethod
    def of(cls, declared: JobSource, args: Mapping[str, str | None], field: str) -> Succeeded:  # noqa: ARG003 - as every judge
        return cls()

    @staticmethod
    def arguments(declared: JobSource) -> frozenset[str]:  # noqa: ARG004 - as every judge
        """None of its own."""
        return frozenset()

    def flaws(self) -> Iterator[Flaw]:
        return iter(())

    def judge(self, sample: Sample) -> Outcome:
        words = ": ".join(filter(None, (sample.note, sample.said)))
        return Judged(sample.value == 1, JOB_SUCCEEDED if sample.value == 1 else JOB_FAILED, words)
