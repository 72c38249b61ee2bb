"""What a judge is, and what it can say of one measurement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from canary.model.measurement import Sample


@dataclass(frozen=True, slots=True)
class Judged:
    """The measurement is good, or it is not."""

    good: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Nobody can tell from this measurement: the check's onError says what that means."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NotJudged:
    """Nothing was made of the measurement, and no policy makes a verdict of it: Unknown until the next one."""

    reason: str
    message: str


Outcome = Judged | Broken | NotJudged


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a judge, whatever is measured. `field` is the one of the check; `advice` is for its author."""

    field: str
    message: str
    advice: str = ""


class Judge(Protocol):
    """What makes Pass or Fail of a measurement. Time, failures in a row and policies are not its business."""

    @property
    def limit(self) -> str:
        """What a good measurement keeps, in words for a human."""
        ...

    @property
    def many(self) -> bool:
        """Whether it can do with several series; otherwise several are an ambiguous answer."""
        ...

    @property
    def expression(self) -> str | None:
        """What has to be evaluated beforehand, away from the event loop; None: judging is quick."""
        ...

    def flaws(self) -> Iterator[Flaw]:
        """Why it can never judge anything."""
        ...

    def judge(self, sample: Sample) -> Outcome:
        """What a sample means. Its value is finite."""
        ...
