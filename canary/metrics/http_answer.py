"""What a server over HTTP answered, and the outcomes that are the same whatever API it speaks. Pure.

Of an answer's text no sentence repeats anything, but for a server's own words about a refusal (`words`): shortened, on one line, and
withheld where they repeat a credential.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from canary.metrics.asking import NOT_AUTHORIZED, REFUSES, not_accepted
from canary.metrics.credentials import Shown, withheld
from canary.metrics.parsing import AnswerTooLarge, parsed
from canary.metrics.port import Query
from canary.model.measurement import MAX_SERIES, Malformed, Measurement, NoData, Sample, Unreachable

_LONGEST_WORDS = 300
"""Characters of a server's words that are passed on."""


class Senseless(Exception):
    """Nothing can be made of an answer, and why."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """An answer to `query`, which was asked at `now`. `shown` is what it was asked with; `headers` is read in lower case.

    `asked` is the time of day that the request named, and `dated` that of the answer, by the server if it says so.
    """

    query: Query
    now: datetime
    address: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    shown: Shown | None
    asked: datetime
    dated: datetime

    @property
    def answered(self) -> str:
        """`https://api.example.com:443 answered 200`."""
        return f"{self.address} answered {self.status}"

    def refused(self) -> Unreachable | None:
        """What it means that the status is none of success; None: it is one."""
        if self.status in REFUSES:
            return self.not_authorized()
        if not 200 <= self.status < 300:
            redirected = "; redirects are not followed" if 300 <= self.status < 400 else ""
            return self.unreachable("HTTPError", f"{self.answered}{redirected}")
        return None

    def not_authorized(self) -> Unreachable:
        return self.unreachable(NOT_AUTHORIZED, f"{self.answered}: {not_accepted(self.shown)}")

    def json(self) -> Any:
        """The content, of at most so many values. Raises Senseless."""
        try:
            document = parsed(self.content)
        except AnswerTooLarge as error:
            raise Senseless(f"the answer {error}") from error
        if document is None and self.content.strip() != b"null":
            raise Senseless(f"{self.answered} with something that is no JSON")
        return document

    def words(self, said: object) -> str:
        """A server's own words, as far as they may be passed on; empty: it said none."""
        text = said if isinstance(said, str) else ""
        clean = "".join(character if character.isprintable() else " " for character in withheld(text, self.shown))
        return " ".join(clean.split())[:_LONGEST_WORDS]

    def numbers(self, values: Sequence[float], what: str, advice: str) -> Measurement:
        """One number, or several where those are wanted; `what` selected them, and `advice` is how to get fewer."""
        for value in values:
            if not math.isfinite(value):
                return self.malformed("NotANumber", f"{what} a number that is none, or too large")
        if not values:
            return self.no_data(f"{what} nothing in the answer")
        if len(values) > MAX_SERIES:
            return self.malformed("TooManySeries", f"{what} more than {MAX_SERIES} values")
        if len(values) > 1 and not self.query.many:
            return self.malformed("SeveralSeries", f"{what} {len(values)} values, and one was expected: {advice}")
        return Sample(values[0], self.now, self.query.text, tuple(values))

    def no_data(self, message: str) -> NoData:
        return NoData(self.now, self.query.text, message=message)

    def malformed(self, reason: str, message: str) -> Malformed:
        return Malformed(self.now, reason, message, self.query.text)

    def unreachable(self, reason: str, message: str) -> Unreachable:
        return Unreachable(self.now, reason, message, self.query.text)


def number_in(value: object) -> float | None:
    """A number of JSON; None: it is none. What is too large is infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
