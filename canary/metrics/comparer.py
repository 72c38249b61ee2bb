"""Comparers: what each ready replica of one has counted, over HTTP. Replicas are asked at once, and each is a failure of its own.

Whoever may write EndpointSlices in a namespace chooses which addresses are asked. So what is sent is always the same (`GET
/results`, no credentials, no cookies, no redirects, no proxy), what comes back is bounded in time and size and parsed into bounded
types, and no sentence repeats any of it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import aiohttp

from canary.checks.sources.comparer import Comparer
from canary.errors import CanaryError
from canary.fair import FairLimit, LimitClosed
from canary.metrics.parsing import LARGE_BYTES, MAX_BYTES, AnswerTooLarge, few_parts, in_turn
from canary.metrics.port import Query, Refusal
from canary.model.comparer_results import MAX_PATHS, ComparerResults
from canary.model.measurement import Malformed, Measurement, NoData, Queued, Replica, Replicas, Sample, Unreachable

Address = tuple[str, int]
"""IP address and port."""
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
_CHUNK = 64 * 1024
AT_A_TIME = 8 * 1024
"""Bytes that are parsed before anybody else has a turn. A quarter of a megabyte, as asyncio has it, may be 10,000 answers 100 (Continue)."""
MOST_RECEIVED = MAX_BYTES + _CHUNK
"""Bytes of one connection, with all headers and marks of chunks."""


class _Unread(Exception):
    """Why a replica says nothing. `garbage`: it answered, and what it said makes no sense."""

    def __init__(self, words: str, *, garbage: bool = False) -> None:
        super().__init__(words)
        self.garbage = garbage


class _Metered(socket.socket):
    """Gives a little at a time and not without end, whatever that is: HTTP has much that is parsed and is no content."""

    received = 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        found = super().recv(min(size, AT_A_TIME), flags)
        self.received += len(found)
        if self.received > MOST_RECEIVED:
            raise ConnectionAbortedError("more bytes came than are read")
        return found


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
        self._max_bytes = max_bytes
        self._clock = clock
        self._limit = FairLimit(places, clock=clock)
        self._session: aiohttp.ClientSession | None = None

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
        if self._session is not None:
            await self._session.close()

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

        async def one(address: Address) -> Replica | _Unread:
            nonlocal left
            try:
                async with asyncio.timeout_at(until), room:
                    replica = await self._read(address)
            except TimeoutError:
                return _Unread(f"{_host(address)} did not answer in time")
            except _Unread as unread:
                return unread
            if len(replica.paths) > left:
                with_those = f"with those of {_host(address)}"
                return _Unread(f"more than {MOST_TOGETHER:,} field paths of the replicas together, {with_those}")
            left -= len(replica.paths)
            return replica

        answers = await asyncio.gather(*(one(address) for address in found[:MOST_REPLICAS]))
        read = tuple(answer for answer in answers if isinstance(answer, Replica))
        unread = [answer for answer in answers if isinstance(answer, _Unread)]
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
        """Raises _Unread."""
        url = f"http://{_host(address)}/results"
        try:
            async with self._opened().get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise _Unread(f"{_host(address)} answered {response.status}")
                content = await self._content(response, address)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not in its own words, which may be those of whoever answered.
            raise _Unread(f"{_host(address)} cannot be reached ({type(error).__name__})") from error
        return (
            await asyncio.to_thread(_parsed, content, address)
            if len(content) > LARGE_BYTES
            else _parsed(content, address)
        )

    async def _content(self, response: aiohttp.ClientResponse, address: Address) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content += chunk
            if len(content) > self._max_bytes:
                response.close()
                raise _Unread(f"{_host(address)} answered more than {self._max_bytes} bytes", garbage=True)
        return bytes(content)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A connection for each answer, which is what is metered.
                connector=aiohttp.TCPConnector(
                    limit=PLACES * AT_ONCE, limit_per_host=2, force_close=True, socket_factory=_metered
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,  # or a small answer could unpack to a large one
                trust_env=False,
                timeout=aiohttp.ClientTimeout(),  # who asks says how long
            )
        return self._session


def _metered(address: aiohttp.AddrInfoType) -> socket.socket:
    return _Metered(*address[:3])


def _parsed(content: bytes, address: Address) -> Replica:
    """Raises _Unread."""
    try:
        few_parts(content)
        with in_turn(len(content) > LARGE_BYTES):
            found = ComparerResults.read(content)
    except AnswerTooLarge as error:
        raise _Unread(f"the answer of {_host(address)} {error}", garbage=True) from error
    except ValueError as error:
        raise _Unread(f"{_host(address)} answered no results of a comparer", garbage=True) from error
    paths = {one.path: (one.canary_only, one.stable_only, one.both) for one in found.paths}
    return Replica(found.instance, (found.now - found.started_at).total_seconds(), found.compared, paths)


def _host(address: Address) -> str:
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
