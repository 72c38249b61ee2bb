"""Comparers: what each ready replica of one has counted, over HTTP. Replicas are asked at once, and each is a failure of its own.

Whoever may write EndpointSlices in a namespace chooses which addresses are asked. So what is sent is always the same (`GET
/results`, no credentials, no cookies, no redirects, no proxy), what comes back is bounded in time and size and parsed into bounded
types, and no sentence repeats any of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from canary.checks.sources.comparer import Comparer
from canary.errors import CanaryError
from canary.fair import FairLimit, LimitClosed
from canary.metrics.parsing import LARGE_BYTES, MAX_BYTES, AnswerTooLarge, few_parts, in_turn
from canary.metrics.pods import Address, Pods, Unread, host
from canary.metrics.port import Query, Refusal
from canary.model.comparer_results import MAX_PATHS, ComparerResults
from canary.model.measurement import Malformed, Measurement, NoData, Queued, Replica, Replicas, Sample, Unreachable

Find = Callable[[str, str], Awaitable[Sequence[Address]]]
"""The ready replicas of a Service, by name and namespace. Raises CanaryError."""

PLACES = 8
"""Comparers that are asked at a time; whose turn it is, `canary.fair` says."""
MOST_REPLICAS = 64
AT_ONCE = 8
"""Replicas of one comparer that are asked at a time."""
MOST_TOGETHER = 8 * MAX_PATHS
"""Field paths of all replicas of one comparer together. They take some 4 MB; 64 full answers of each would take all that there is."""
RESERVE = 0.1
"""The part of a query's time that is left when the last replica is given up."""


class ComparerProvider:
    """Asks all ready replicas of a comparer, which `find` names. For one event loop."""

    def __init__(
        self,
        find: Find,
        *,
        places: int = PLACES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._clock = clock
        self._limit = FairLimit(places, clock=clock)
        self._pods = Pods(connections=places * AT_ONCE, max_bytes=max_bytes)

    async def measure(self, query: Query, now: datetime) -> Measurement:
        came = self._clock()
        try:
            async with asyncio.timeout(query.patience):
                place = await self._limit.take(query.tenant, query.text)
        except TimeoutError:
            waited = self._clock() - came
            message = f"waited {waited:.3g} s for its turn: comparers of others take all the places"
            return Queued(now, waited, message, query.text)
        except LimitClosed:
            return Unreachable(now, "Unreachable", "comparers are asked no more", query.text)
        try:
            async with asyncio.timeout(query.timeout):
                return await self._ask(query, now)
        except TimeoutError:
            message = f"the replicas could not be found within {query.timeout:g} s"
            return Unreachable(now, "Timeout", message, query.text)
        finally:
            self._limit.give_back(place)

    async def validate(self, query: Query) -> Refusal | None:  # noqa: ARG002 - as every provider
        """There is nothing to be refused."""
        return None

    async def close(self) -> None:
        self._limit.close()
        await self._pods.close()

    async def _ask(self, query: Query, now: datetime) -> Measurement:
        source = query.source
        if not isinstance(source, Comparer):
            raise TypeError(f"this is not asked of a comparer: {source!r}")
        until = asyncio.get_running_loop().time() + query.timeout * (1 - RESERVE)
        if not source.service:
            return NoData(now, query.text, "NoComparer", "no step mirrors to a comparer")
        try:
            found = await self._find(source.service, source.namespace)
        except CanaryError as error:
            message = f"the replicas of Service {source.service} cannot be listed: {error}"
            return Unreachable(now, "Unreachable", message, query.text)
        if not found:
            return NoData(now, query.text, "NoReplica", f"no replica of Service {source.service} is ready")
        room, left = asyncio.Semaphore(AT_ONCE), MOST_TOGETHER

        async def one(address: Address) -> Replica | Unread:
            nonlocal left
            try:
                async with asyncio.timeout_at(until), room:
                    replica = await self._read(address)
            except TimeoutError:
                return Unread(f"{host(address)} did not answer in time")
            except Unread as unread:
                return unread
            if len(replica.paths) > left:
                with_those = f"with those of {host(address)}"
                return Unread(f"more than {MOST_TOGETHER:,} field paths of the replicas together, {with_those}")
            left -= len(replica.paths)
            return replica

        answers = await asyncio.gather(*(one(address) for address in found[:MOST_REPLICAS]))
        read = tuple(answer for answer in answers if isinstance(answer, Replica))
        unread = [answer for answer in answers if isinstance(answer, Unread)]
        words = ""
        if unread:
            words = f"{len(unread)} of {len(found)} replicas of the comparer could not be read: {unread[0]}"
        elif len(found) > MOST_REPLICAS:
            words = f"of {len(found)} replicas of the comparer {MOST_REPLICAS} are read"
        if read:
            total = float(sum(replica.compared for replica in read))
            return Sample(total, now, query.text, replicas=Replicas(read, words))
        if all(answer.garbage for answer in unread):
            return Malformed(now, "UnexpectedResult", words, query.text)
        return Unreachable(now, "Unreachable", words, query.text)

    async def _read(self, address: Address) -> Replica:
        """Raises Unread."""
        content = await self._pods.get(address, "/results")
        return (
            await asyncio.to_thread(_parsed, content, address)
            if len(content) > LARGE_BYTES
            else _parsed(content, address)
        )


def _parsed(content: bytes, address: Address) -> Replica:
    """Raises Unread."""
    try:
        few_parts(content)
        with in_turn(len(content) > LARGE_BYTES):
            found = ComparerResults.read(content)
    except AnswerTooLarge as error:
        raise Unread(f"the answer of {host(address)} {error}", garbage=True) from error
    except ValueError as error:
        raise Unread(f"{host(address)} answered no results of a comparer", garbage=True) from error
    paths = {one.path: (one.canary_only, one.stable_only, one.both) for one in found.paths}
    return Replica(found.instance, (found.now - found.started_at).total_seconds(), found.compared, paths)
