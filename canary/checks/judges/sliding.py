"""So many failures among the last measurements: `failures: 3 of 5`. Pure.

Failures in a row forget everything at the first good measurement, so a canary that fails every other time is never caught. A window
remembers. It says nothing about chance: with many looks a healthy canary gets there too, which is what `compare` is for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

MOST = 100
_WRITTEN = re.compile(r"\s*([1-9][0-9]{0,2})\s+of\s+([1-9][0-9]{0,2})\s*")


@dataclass(frozen=True, slots=True)
class Sliding:
    """Fails once `most` of the last `of` measurements were bad; 1 <= most <= of <= 100.

    What it remembers is text, oldest first: `.` was good, `x` was bad. Measurements that said nothing (no data, an error that
    the policy holds on) are not in it, so an outage makes nobody forget.
    """

    most: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.most <= self.of <= MOST:
            raise ValueError(
                f"failures are N of M with 1 <= N <= M <= {MOST}, such as 2 of 5, not {self.most} of {self.of}"
            )

    @classmethod
    def parse(cls, written: str) -> Self:
        """From `3 of 5`. Raises ValueError."""
        found = _WRITTEN.fullmatch(written)
        if found is None:
            raise ValueError(f"failures are written as N of M, such as 3 of 5, not {written[:40]!r}")
        return cls(int(found[1]), int(found[2]))

    def fold(self, before: str, good: bool) -> str:
        """What is remembered after one more measurement."""
        return (before + (".x"[not good]))[-self.of :]

    def failed(self, remembered: str) -> bool:
        return remembered.count("x") >= self.most

    def load(self, text: object) -> str:
        """What a status says is remembered; nothing where it says what it cannot."""
        if not isinstance(text, str) or len(text) > MOST or set(text) - set(".x"):
            return ""
        return text[-self.of :]

    def words(self, remembered: str) -> str:
        """`2 of the last 5 measurements failed; 3 of 5 are too many`."""
        return f"{remembered.count('x')} of the last {len(remembered)} measurements failed; {self.most} of {self.of} are too many"
