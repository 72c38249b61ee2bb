"""`Scripted`: a provider that answers from a script, for tests, demos and load."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from canary.metrics.port import Query, Refusal
from canary.metrics.values import Series, measurement
from canary.model.measurement import Malformed, Measurement, NoData, Queued, Sample, Unreachable

Answer = Any
"""One of:

- a number (NaN and infinities come back as Malformed, as from a real provider), or None for NoData;
- a tuple of numbers: several series;
- a mapping of label sets (frozensets of pairs) to numbers: these series;
- a Measurement, stamped with the time and text of the question;
- a function `(query, now)`, plain or async, that returns one of these; an async one is subject to `query.timeout`;
- a list or an iterator of these: one per question, the last one for ever.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One question that was asked, and when."""

    query: Query
    now: datetime


class Scripted:
    """Answers a query with the answer of the longest key that its text contains; without one, with NoData.

    `refused` maps substrings to what `validate` (and `measure`, as BadQuery) says about queries containing them: words, or a Refusal.
    """

    def __init__(
        self, answers: Mapping[str, Answer] | None = None, *, refused: Mapping[str, str | Refusal] | None = None
    ) -> None:
        self.answers: dict[str, Answer] = dict(answers or {})
        self.refused: dict[str, str | Refusal] = dict(refused or {})
        self.calls: list[Call] = []
        self.closed = False
        self._iterators: dict[str, tuple[Answer, Iterator[Answer]]] = {}
        self._last: dict[str, Answer] = {}

    async def measure(self, query: Query, now: datetime) -> Measurement:
        self.calls.append(Call(query, now))
        refusal = await self.validate(query)
        if refusal is not None:
            return Malformed(now, "BadQuery", refusal.words, query.text)
        keys = [key for key in self.answers if key in query.text]
        answer = self._next(max(keys, key=len)) if keys else None
        try:
            async with asyncio.timeout(query.timeout):
                while callable(answer):
                    answer = await _called(answer, query, now)
        except TimeoutError:
            return Unreachable(now, "Timeout", f"no answer within {query.timeout:g} s", query.text)
        return _measured(answer, query, now)

    async def validate(self, query: Query) -> Refusal | None:
        keys = [key for key in self.refused if key in query.text]
        if not keys:
            return None
        said = self.refused[max(keys, key=len)]
        return said if isinstance(said, Refusal) else Refusal(said)

    async def close(self) -> None:
        self.closed = True

    def _next(self, key: str) -> Answer:
        answer = self.answers[key]
        if not isinstance(answer, list | Iterator):
            return answer
        known = self._iterators.get(key)
        if known is None or known[0] is not answer:  # a new script for this key starts at its beginning
            known = self._iterators[key] = (answer, iter(answer))
            self._last.pop(key, None)
        self._last[key] = next(known[1], self._last.get(key))
        return self._last[key]


async def _called(function: Callable[[Query, datetime], Answer], query: Query, now: datetime) -> Answer:
    result = function(query, now)
    return await result if inspect.isawaitable(result) else result


def _measured(answer: Answer, query: Query, now: datetime) -> Measurement:
    if isinstance(answer, Sample | NoData | Unreachable | Malformed | Queued):
        return replace(answer, at=now, query=query.text)
    if isinstance(answer, Mapping):
        return measurement(
            [(dict(labels), float(value)) for labels, value in answer.items()], query, now, _instant(query, now)
        )
    numbers = () if answer is None else answer if isinstance(answer, tuple) else (answer,)
    series: list[Series] = [
        ({"series": f"{index:06}"} if len(numbers) > 1 else {}, float(number)) for index, number in enumerate(numbers)
    ]
    return measurement(series, query, now, _instant(query, now))


def _instant(query: Query, now: datetime) -> float:
    return now.timestamp() if query.instant is None else query.instant
