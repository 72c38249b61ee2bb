"""Pods as a Prometheus would scrape them, without one: all ready pods of a Service at once, when somebody looks.

What is compared is asked in parts, all of one instant. So a scrape is kept for a moment, and whoever names its instant is answered from it; two
backends are two scrapes, which are called by the instant of the first.

Of a ratio it is remembered by how much the counters rose between two looks, for as long as its window is: no history, a few numbers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import isfinite

from canary.checks.judges.counters import Snapshot, between
from canary.checks.sources.scrape import Scrape, Scraped, Selector, Where
from canary.errors import CanaryError
from canary.fair import FairLimit, LimitClosed
from canary.metrics.exposition import AT_A_TIME, SMALL, Series, Unparsed, parsed, wanted_lines
from canary.metrics.hosts import Hosts
from canary.metrics.kept import Crowded, KeptByAddress
from canary.metrics.parsing import LARGE_BYTES, MAX_BYTES
from canary.metrics.pods import Address, Pods, Unread, host
from canary.metrics.port import Query, Refusal
from canary.model.measurement import (
    MAX_SERIES,
    Labels,
    Malformed,
    Measurement,
    NoData,
    Queued,
    Sample,
    Unreachable,
    Vector,
)
from canary.model.scrape import Aggregate


@dataclass(frozen=True, slots=True, order=True)
class Pod:
    """Where a pod tells its metrics, and how it is called (empty: nobody says)."""

    address: Address
    name: str = ""


Find = Callable[[str, str, str | int | None], Awaitable[Sequence[Pod]]]
"""The ready pods of a Service, by its name, its namespace and a port (a number, a name, or None: the only one). Raises CanaryError, and
ValueError in words for a person: there is no such port."""

PLACES = 8
"""Scrapes that are under way at a time, each of all pods of a Service; whose turn it is, `canary.fair` says."""
MOST_PODS = 64
AT_ONCE = 8
"""Pods of one scrape that are asked at a time."""
RESERVE = 0.1
"""The part of a query's time that is left when the last pod is given up."""
FOUND_FOR = 2.0
"""Seconds for which the pods of a Service are those that were found."""
KEPT = 5.0
"""Seconds for which a scrape can be asked for by its instant."""
MOST_KEPT = 128
OF_ONE_NAMESPACE = 16
"""Ratios of one namespace that are remembered, and of all `MOST_KEPT`: half a megabyte each, at the most."""
MOST_LOOKS = 1000
"""Of one ratio, each of which is remembered by itself; of more the oldest become one."""
AGAIN = 1.0
"""Seconds after which a first look counts again, until there are requests."""
POD_LABELS = ("instance", "pod")
ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"


class _Failed(Exception):
    """A scrape that is no measurement, and what it is instead."""

    def __init__(self, kind: type[Unreachable | Malformed | NoData], reason: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.reason = kind, reason

    def measurement(self, query: Query, now: datetime) -> Measurement:
        if self.kind is NoData:
            return NoData(now, query.text, self.reason, str(self))
        return self.kind(now, self.reason, str(self), query.text)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the pods told: series by selector. `at` is monotonic, `instant` Unix seconds; `unread` says what is missing, if anything."""

    at: float
    instant: float
    series: tuple[Series, ...]
    unread: str


@dataclass(slots=True)
class _Ratio:
    """By how much the requests and failures of a question rose, look by look: (from, until, requests, failures)."""

    last: _Reading | None = None
    looks: deque[tuple[float, float, float, float]] = field(default_factory=deque)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class _Shared:
    """A scrape that is under way or done, since when, and how many of its parts nobody has taken yet."""

    begun: float
    task: asyncio.Task[_Reading]
    parts: int


@dataclass(frozen=True, slots=True)
class _Key:
    where: Where
    selectors: tuple[Selector, ...]
    instant: float


class ScrapeProvider:
    """Scrapes the ready pods that `find` names. For one event loop.

    `hosts` are consulted for addresses of no ordinary pod (loopback, link-local, metadata), which are asked only where they are listed.
    """

    def __init__(
        self,
        find: Find,
        hosts: Hosts,
        *,
        places: int = PLACES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        again: float = AGAIN,
    ) -> None:
        self._find, self._hosts, self._clock, self._again = find, hosts, clock, again
        self._epoch = wall() - clock()
        self._limit = FairLimit(places, clock=clock)
        self._pods = Pods(connections=places * AT_ONCE, max_bytes=max_bytes, accept=ACCEPT)
        self._scrapes: dict[_Key, _Shared] = {}
        self._tasks: set[asyncio.Task[_Reading]] = set()
        self._found: dict[Where, tuple[float, Sequence[Pod]]] = {}
        self._cleared = clock()
        self._ratios: KeptByAddress[Scrape, _Ratio] = KeptByAddress(
            lambda _: _Ratio(),
            busy=lambda one: one.turn.locked(),
            close=lambda _: None,
            most=MOST_KEPT,
            of_one=OF_ONE_NAMESPACE,
            clock=clock,
        )

    async def measure(self, query: Query, now: datetime) -> Measurement:
        source = query.source
        try:
            if isinstance(source, Scraped):
                return await self._counters(source, query, now)
            if not isinstance(source, Scrape):
                raise TypeError(f"this is not scraped: {source!r}")
            return await (self._ratio if source.is_ratio else self._value)(source, query, now)
        except _Failed as failed:
            return failed.measurement(query, now)
        except _NoPlace as waited:
            return Queued(now, waited.seconds, str(waited), query.text)
        except Crowded as crowded:
            return Queued(now, 0.0, str(crowded), query.text)
        except LimitClosed:
            return Unreachable(now, "Unreachable", "pods are scraped no more", query.text)

    def _instant(self) -> float:
        """Unix seconds that only go forward."""
        return self._epoch + self._clock()

    async def validate(self, query: Query) -> Refusal | None:  # noqa: ARG002 - as every provider
        """There is nothing to be refused: which pods there are is a matter of the moment."""
        return None

    async def close(self) -> None:
        self._limit.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pods.close()

    # -- what is asked ---------------------------------------------------------------------------------------------

    async def _counters(self, source: Scraped, query: Query, now: datetime) -> Measurement:
        instant = self._instant() if query.instant is None else query.instant
        reading = await self._shared(_Key(source.where, source.selectors, instant), query)
        series = reading.series[source.index]
        if not series:
            return NoData(now, query.text, message=f"the pods tell no series of {source.selectors[source.index].text}")
        vector = Vector(series, reading.instant)
        return Sample(next(iter(series.values())), now, query.text, vector=vector)

    async def _value(self, source: Scrape, query: Query, now: datetime) -> Measurement:
        reading = await self._scrape(source.where, source.selectors, query, self._instant())
        (series,) = reading.series
        if reading.unread:
            raise _Failed(Unreachable, "Unreachable", reading.unread)
        if not series:
            return NoData(now, query.text, message=f"the pods tell no series of {source.selectors[0].text}")
        values = tuple(value for _, value in sorted(series.items(), key=lambda one: sorted(one[0])))
        found = max(values) if source.aggregate is Aggregate.MAX else sum(values)
        if not all(map(isfinite, values)) or not isfinite(found):
            return Malformed(now, "NotANumber", "a series of the pods is NaN or infinite", query.text)
        return Sample(found, now, query.text, values if query.many else (found,))

    async def _ratio(self, source: Scrape, query: Query, now: datetime) -> Measurement:
        until = self._clock() + query.timeout * (1 - RESERVE)
        kept = self._ratios.get(source, query.tenant[0])
        async with kept.turn:
            while True:
                reading = await self._scrape(source.where, source.selectors, query, self._instant())
                self._remember(kept, reading, source.window, gap=max(source.window, 2 * query.patience))
                requests, failures = (sum(look[index] for look in kept.looks) for index in (2, 3))
                if requests > 0:
                    value = min(1.0, failures / requests)
                    return Sample(value, now, query.text, (value,))
                covered = kept.looks[-1][1] - kept.looks[0][0] if kept.looks else 0.0
                if covered >= query.patience:
                    return NoData(now, query.text, "NoRequests", f"the pods counted no requests in {covered:.3g} s")
                if self._clock() + self._again > until:
                    # No policy for a canary without traffic is meant for that.
                    return Queued(
                        now, covered, f"it counts for {covered:.3g} s, and there were no requests yet", query.text
                    )
                await asyncio.sleep(self._again)

    def _remember(self, kept: _Ratio, reading: _Reading, window: float, gap: float) -> None:
        """Add what was counted since the last look, if that is not longer ago than `gap` seconds. Raises _Failed: a counter that is none."""
        reading = replace(reading, series=tuple(map(_short, reading.series)))
        before, kept.last = kept.last, reading
        if before is None or reading.at - before.at > gap:
            kept.looks.clear()  # nobody looked for so long: what was counted meanwhile is of before
            return
        old, new = Snapshot(*before.series), Snapshot(*reading.series)
        try:
            side = between(old, new, POD_LABELS)
        except ValueError as error:
            kept.last = None
            raise _Failed(Malformed, "NotACounter", str(error)) from error
        kept.looks.append((before.at, reading.at, side.requests, side.failures))
        while kept.looks and kept.looks[0][1] <= reading.at - window:
            kept.looks.popleft()
        if len(kept.looks) > MOST_LOOKS:
            (begun, _, *first), (_, ended, *second) = kept.looks.popleft(), kept.looks.popleft()
            kept.looks.appendleft((begun, ended, first[0] + second[0], first[1] + second[1]))

    # -- scraping --------------------------------------------------------------------------------------------------

    async def _shared(self, key: _Key, query: Query) -> _Reading:
        """The scrape of that name, made by whoever asks for it first. Raises _Failed, _NoPlace."""
        now = self._clock()
        for other in [one for one, shared in self._scrapes.items() if now - shared.begun > KEPT and shared.task.done()]:
            del self._scrapes[other]
        shared = self._scrapes.get(key)
        if shared is None:
            task = asyncio.create_task(self._scrape(key.where, key.selectors, query, key.instant))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            shared = self._scrapes[key] = _Shared(now, task, len(key.selectors))
        shared.parts -= 1
        if not shared.parts:
            del self._scrapes[key]  # all of it is taken; whoever takes the last part waits for the task itself
        return await asyncio.shield(shared.task)

    def _ended(self, task: asyncio.Task[_Reading]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone away, and an error that nobody awaits is no news

    async def _scrape(self, where: Where, selectors: tuple[Selector, ...], query: Query, instant: float) -> _Reading:
        """Raises _Failed, _NoPlace, LimitClosed."""
        came = self._clock()
        try:
            async with asyncio.timeout(query.patience):
                place = await self._limit.take(query.tenant, hash(where))
        except TimeoutError:
            raise _NoPlace(self._clock() - came) from None
        try:
            async with asyncio.timeout(query.timeout):
                return await self._read_all(where, selectors, instant, query.timeout * (1 - RESERVE))
        except TimeoutError as error:
            words = f"{where.text} could not be found within {query.timeout:g} s"
            raise _Failed(Unreachable, "Timeout", words) from error
        finally:
            self._limit.give_back(place)

    async def _read_all(
        self, where: Where, selectors: tuple[Selector, ...], instant: float, seconds: float
    ) -> _Reading:
        until = asyncio.get_running_loop().time() + seconds
        found = await self._ready(where)
        if not found:
            raise _Failed(NoData, "NoPods", f"no pod of Service {where.service} is ready")
        if len(found) > MOST_PODS:
            words = f"Service {where.service} has {len(found)} ready pods; more than {MOST_PODS} are for a Prometheus"
            raise _Failed(Malformed, "TooManyPods", words)
        at, room = self._clock(), asyncio.Semaphore(AT_ONCE)

        async def one(pod: Pod) -> list[Series] | Unread:
            try:
                async with asyncio.timeout_at(until), room:
                    return await self._read(pod, where.path, selectors)
            except TimeoutError:
                return Unread(f"{host(pod.address)} did not answer in time")
            except Unread as unread:
                return unread

        answers = await asyncio.gather(*(one(pod) for pod in found))
        series, words = _together(where, selectors, list(zip(found, answers, strict=True)))
        return _Reading(at, instant, series, words)

    async def _ready(self, where: Where) -> Sequence[Pod]:
        now = self._clock()
        if now - self._cleared > FOUND_FOR:
            self._cleared = now
            self._found = {one: found for one, found in self._found.items() if now - found[0] <= FOUND_FOR}
        known = self._found.get(where)
        if known is None or now - known[0] > FOUND_FOR:
            try:
                found = await self._find(where.service, where.namespace, where.port)
            except CanaryError as error:
                words = f"the pods of Service {where.service} cannot be listed: {error}"
                raise _Failed(Unreachable, "Unreachable", words) from error
            except ValueError as error:
                raise _Failed(Malformed, "NoSuchPort", str(error)) from error
            known = self._found[where] = (now, found)
        return known[1]

    async def _read(self, pod: Pod, path: str, selectors: tuple[Selector, ...]) -> list[Series]:
        """Raises Unread."""
        if not self._hosts.may_be_a_pod(*pod.address):
            raise Unread(f"{host(pod.address)} is no address of a pod: --allow-hosts has to list it", garbage=True)
        content = await self._pods.get(pod.address, path)
        target = _target(pod)
        try:
            few = len(content) <= LARGE_BYTES
            lines = (
                wanted_lines(content, selectors) if few else await asyncio.to_thread(wanted_lines, content, selectors)
            )
            if len(lines) <= AT_A_TIME and sum(map(len, lines)) <= SMALL:
                return parsed(lines, selectors, target)
            return await asyncio.to_thread(parsed, lines, selectors, target)
        except Unparsed as error:
            raise Unread(f"{host(pod.address)} {error}", garbage=True) from error


def _together(
    where: Where, selectors: tuple[Selector, ...], told: Sequence[tuple[Pod, list[Series] | Unread]]
) -> tuple[tuple[Series, ...], str]:
    """All series by selector, and in words which pods are missing, if any. Raises _Failed: most of them are, or these are too many."""
    unread = [answer for _, answer in told if isinstance(answer, Unread)]
    words = (
        f"{len(unread)} of {len(told)} pods of Service {where.service} could not be scraped: {unread[0]}"
        if unread
        else ""
    )
    if 2 * len(unread) > len(told):
        garbage = all(one.garbage for one in unread)
        raise _Failed(Malformed if garbage else Unreachable, "UnexpectedResult" if garbage else "Unreachable", words)
    series: tuple[Series, ...] = tuple({} for _ in selectors)
    read = [(pod, answer) for pod, answer in told if isinstance(answer, list)]
    for _, answer in read:
        for mine, theirs in zip(series, answer, strict=True):
            mine.update(theirs)
    if len(selectors) > 1 and series[0]:
        # Who answered and has counted nothing yet is at nothing, so that what comes is known to be new.
        series[0].update({_target(pod): 0.0 for pod, answer in read if not answer[0]})
    for selector, mine in zip(selectors, series, strict=True):
        if len(mine) > MAX_SERIES:
            many = f"the pods tell {len(mine)} series of {selector.metric}, and {MAX_SERIES} are read"
            raise _Failed(Malformed, "TooManySeries", f"{many}: select fewer by labels")
    return series, words


def _short(series: Series) -> Series:
    """The same series under short names: whose they are, and which of its series."""
    return {
        frozenset((*(pair for pair in labels if pair[0] in POD_LABELS), ("", str(hash(labels))))): value
        for labels, value in series.items()
    }


def _target(pod: Pod) -> Labels:
    """The labels that tell its series from those of other pods."""
    return frozenset({("instance", host(pod.address)), ("pod", pod.name)})


class _NoPlace(Exception):
    """Nobody's turn came."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"waited {seconds:.3g} s for its turn: scrapes of others take all the places")
        self.seconds = seconds
