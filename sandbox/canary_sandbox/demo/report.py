"""What really happened, counted; and whether that is what the story says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from canary.model.status import RolloutStatus
from canary_sandbox.load import Answer, is_bad

TOLERANCE = 5.0
"""Points by which a counted split may differ from the weight."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time (Unix seconds) during which every gateway served one weight."""

    label: str
    version: str
    weight: float
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class StepCount:
    """What the load generator counted in a span."""

    span: Span
    total: int
    failed: int
    by_version: dict[str, int]

    @property
    def share(self) -> float:
        """Percent of the answers that came from the version under test."""
        return 100 * self.by_version.get(self.span.version, 0) / self.total if self.total else 0.0

    @property
    def fits(self) -> bool:
        """Whether the counted split is the weight: within 5 points, or 4 standard deviations of so few requests.

        Envoy draws a backend for each request, so the count is binomial: its deviation is sqrt(p (1 - p) / n).
        """
        if not self.total:
            return False
        part = self.span.weight / 100
        chance = 400 * math.sqrt(part * (1 - part) / self.total)
        return abs(self.share - self.span.weight) <= max(TOLERANCE, chance)


@dataclass(frozen=True, slots=True)
class CopyCount:
    """What was counted while a share (percent) of the requests was mirrored to a version, and nobody was given to it."""

    version: str
    percent: float
    requests: int
    most: int
    """With those between the write of the mirror and the news that it was accepted, of which any may have been copied."""
    copies: int
    """As whoever they went to counted them."""
    users: int
    """Users whom it answered."""

    @property
    def asked(self) -> float:
        """How many copies there should be."""
        return self.requests * self.percent / 100

    @property
    def fits(self) -> bool:
        """Whether no user was served, and the copies are the share: within 5 points, or 4 standard deviations."""
        part = self.percent / 100
        off = max(TOLERANCE * self.requests / 100, 4 * math.sqrt(part * (1 - part) * self.requests))
        asked = self.asked - off <= self.copies <= self.most * part + off
        return self.users == 0 and self.requests > 0 and asked


@dataclass(frozen=True, slots=True)
class Catch:
    """How a version was found out while only copies had reached it, as the Rollout's status has it."""

    version: str
    reached: int
    """The step at which its run was, the first being 1."""
    why: str
    """What the run says."""
    share: float | None
    """The part of the answers with a wrong price, as the check of answers measured it."""
    errors: float | None
    """The part of the answers that were errors, as the check of errors measured it."""

    @classmethod
    def of(cls, version: str, status: RolloutStatus) -> Self:
        values = {check.name: check.value for check in status.checks}
        return cls(
            version,
            status.step.index if status.step else 0,
            status.run.message if status.run else "",
            values.get("same-answers"),
            values.get("error-rate"),
        )

    def faults(self) -> Iterator[str]:
        """Where it was otherwise than the story has it."""
        if not self.why.startswith("check same-answers failed: `$.items[].price` differs in "):
            yield f"{self.version}: not its wrong prices were found, but: {self.why or 'nothing'}"
        if self.errors != 0:
            seen = "nothing" if self.errors is None else f"{100 * self.errors:.2g} %"
            yield f"{self.version}: the check of errors saw {seen} where all answers have status 200"


@dataclass(frozen=True, slots=True)
class Moments:
    """Unix seconds of what happened around the rollback; None: it did not."""

    first_bad: float | None = None
    sampled: float | None = None
    patched: float | None = None
    accepted: float | None = None
    last_answer: float | None = None


@dataclass(slots=True)
class Report:
    """The end of the demo."""

    steps: list[StepCount] = field(default_factory=list)
    copies: list[CopyCount] = field(default_factory=list)
    catch: Catch | None = None
    caught: int = 0
    """Answers to users from the version that its copies gave away."""
    moments: Moments = field(default_factory=Moments)
    rollback_latency: float | None = None
    """Seconds from the failing sample's return to the rollback patch, as the controller measured it."""
    sent: int = 0
    failed: int = 0
    failed_good_run: int = 0
    late: int = 0
    """Answers of the bad version after the gateways had accepted weight 0 and requests in flight were over."""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    """Where reality differs from the story."""

    @property
    def true(self) -> bool:
        return not self.faults


def count(span: Span, answers: Iterable[tuple[float, Answer]]) -> StepCount:
    """Count the answers (with their Unix time) whose requests were sent within a span."""
    inside = [answer for at, answer in answers if span.begin <= at - answer.seconds and at <= span.end]
    return StepCount(
        span=span,
        total=len(inside),
        failed=sum(is_bad(answer.status) for answer in inside),
        by_version=dict(Counter(answer.version for answer in inside)),
    )


def judge(report: Report, good: str, bad: str) -> None:
    """Hold the report against the story, and note every difference."""
    for copies in report.copies:
        if not copies.fits:
            report.faults.append(
                f"{copies.version} mirrored: {copies.copies} copies of {copies.requests} requests where "
                f"{copies.asked:.0f} were asked for, and {copies.users} users were served by it"
            )
    caught = report.catch.version if report.catch else ""
    report.faults += report.catch.faults() if report.catch else ["no version was given away by its copies"]
    unseen = {good, caught, bad} - {""} - {copies.version for copies in report.copies}
    report.faults += [f"{version}: nothing was mirrored to it" for version in sorted(unseen)]
    if report.caught:
        report.faults.append(f"{report.caught} users were answered by {caught}, which its copies gave away")
    for step in report.steps:
        if not step.fits:
            report.faults.append(
                f"{step.span.label}: {step.share:.1f} % of {step.total} requests went to {step.span.version}, "
                f"the weight was {step.span.weight:g} %"
            )
    wanted = {f"{good} at {weight} %" for weight in (10, 50, 100)} | {f"{bad} at 10 %"}
    missing = wanted - {step.span.label for step in report.steps}
    report.faults += [f"{label}: was never served" for label in sorted(missing)]
    if report.failed_good_run:
        report.faults.append(f"{report.failed_good_run} requests failed during the good release")
    moments = report.moments
    for name, moment in (
        ("the bad version never failed a request", moments.first_bad),
        ("no check failed", moments.sampled),
        ("no rollback was written", moments.patched),
        ("the gateway never accepted the rollback", moments.accepted),
    ):
        if moment is None:
            report.faults.append(name)
    if report.late:
        report.faults.append(f"{report.late} requests reached {bad} after weight 0 was accepted")
