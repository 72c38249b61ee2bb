"""One request for all who ask the same at one time.

Each stands in line for himself, so nobody waits for another one's turn; whoever is served first asks for all of them. Who
comes later joins what was sent a moment ago, or takes its answer, if that is not older than he may be told (`Query.max_age`).
Such an answer is stamped with the moment at which it was asked for, or that it is known to be of if that was before. Errors go to those who had joined, and to nobody later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from canary.fair import FairLimit, LimitClosed, Place
from canary.metrics.port import Query
from canary.model.measurement import Measurement, NoData, Sample

KEPT = 1.0
"""Seconds, since its request was sent, for which an answer is kept."""

Send = Callable[[Query, datetime, Place], asyncio.Future[Measurement]]
"""Asks, and gives the place back when that has ended."""


class NoTurn(Exception):
    """Nobody's turn came who asks this, for as long as one may wait."""


@dataclass(eq=False, slots=True)
class _Request:
    sent: float
    now: datetime
    """That of who sent it: what an answer is older by than it was asked for is reckoned from here."""
    answer: asyncio.Future[Measurement]


@dataclass(eq=False, slots=True)
class _Waiting:
    patience: asyncio.Timeout
    request: _Request | None = None
    """What somebody sent who asks the same."""


class Sharing:
    """The questions to one address. For one event loop; `clock` gives seconds that only go forward."""

    def __init__(self, limit: FairLimit, send: Send, *, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._send = send
        self._clock = clock
        self._requests: dict[Hashable, _Request] = {}
        self._waiting: dict[Hashable, set[_Waiting]] = {}

    def __len__(self) -> int:
        """How many requests are remembered."""
        return len(self._requests)

    async def ask(self, query: Query, now: datetime) -> Measurement:
        """The answer, stamped with `now`, or with when it was asked for, or that it is of, if that was earlier.

        Raises NoTurn, LimitClosed, and TimeoutError: there was no answer within `query.timeout`.
        """
        came, key = self._clock(), _key(query)
        request = self._find(key, query, came) or await self._in_line(key, query, now, came)
        async with asyncio.timeout(query.timeout):
            await asyncio.wait((request.answer,))  # and not the answer itself: the others wait for it, whoever gives up
        if request.answer.cancelled():  # never begun, since the address was given up
            raise LimitClosed
        found = request.answer.result()
        old = request.now - found.at
        return replace(found, at=now - max(timedelta(0), timedelta(seconds=came - request.sent) + old))

    async def _in_line(self, key: Hashable, query: Query, now: datetime, came: float) -> _Request:
        waiting: _Waiting | None = None
        try:
            async with asyncio.timeout(query.patience) as patience:
                waiting = _Waiting(patience)
                self._waiting.setdefault(key, set()).add(waiting)
                try:
                    place = await self._limit.take(query.tenant, hash(query.text))
                finally:
                    self._leave(key, waiting)
        except TimeoutError:
            if waiting is None or waiting.request is None:
                raise NoTurn from None
            return waiting.request
        request = waiting.request or self._find(key, query, came)
        if request is not None:  # sent in the moment in which our turn came
            self._limit.give_back(place)
            return request
        return self._sent(key, query, now, place)

    def _sent(self, key: Hashable, query: Query, now: datetime, place: Place) -> _Request:
        request = self._requests[key] = _Request(self._clock(), now, self._send(query, now, place))
        request.answer.add_done_callback(lambda answer: None if _keepable(answer) else self._forget(key, request))
        loop = asyncio.get_running_loop()
        loop.call_later(KEPT, self._forget, key, request)
        for waiting in self._waiting.pop(key, ()):
            if not waiting.patience.expired():
                waiting.request = request
                waiting.patience.reschedule(loop.time())
        return request

    def _find(self, key: Hashable, query: Query, came: float) -> _Request | None:
        request = self._requests.get(key)
        if request is None or came - request.sent > min(query.max_age, KEPT):
            return None
        return None if request.answer.done() and not _keepable(request.answer) else request

    def _leave(self, key: Hashable, waiting: _Waiting) -> None:
        others = self._waiting.get(key)
        if others is not None:
            others.discard(waiting)
            if not others:
                del self._waiting[key]

    def _forget(self, key: Hashable, request: _Request) -> None:
        if self._requests.get(key) is request:
            del self._requests[key]


def _key(query: Query) -> Hashable:
    """What is the same question. Who has less time would be told too little by it, and who has more would hold another's place."""
    return (query.source, query.many, query.counters, query.instant, query.timeout)


def _keepable(answer: asyncio.Future[Measurement]) -> bool:
    with suppress(asyncio.CancelledError, Exception):
        return isinstance(answer.result(), Sample | NoData)
    return False
