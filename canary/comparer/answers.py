"""What came back from a backend: an answer, or none. Absence is a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, `seconds` after the request was begun. Lives as long as its comparison.

    `headers` are those that are compared, by their names in lower case; one that came several times is joined by commas.
    `body` is None if it was longer than what is read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    seconds: float

    @property
    def failed(self) -> bool:
        return self.status >= 500


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """None in time, or none that is HTTP. `why` is a word or two for people, with nothing of the request in it."""

    why: str
    seconds: float
    failed: bool = True


Reply = Answer | NoAnswer
