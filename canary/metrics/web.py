"""JSON over HTTP(S), by httpx: bounded in time and size, to allowed hosts only, and no redirect, cookie or proxy is followed.

Whoever may write a Rollout says what is asked, and whoever answers says anything. So an answer is read up to a bound, parsed up to a
bound, and of its text no sentence repeats more than the one value that was expected to be another one.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

import canary.checks.jsonpath_engine  # noqa: F401 - at the start, and not when the first path comes and a rollback waits
from canary import __version__
from canary.checks import jsonpath
from canary.checks.sources.auth import Auth
from canary.checks.sources.web import Expected, Web
from canary.fair import FairLimit, LimitClosed, Place
from canary.metrics.address import normalise
from canary.metrics.connecting import GuardedTransport, PeerRefused, TooMuchReceived
from canary.metrics.credentials import WITHHELD, Shown, withheld
from canary.metrics.hosts import Hosts
from canary.metrics.kept import MOST, Crowded, KeptByAddress
from canary.metrics.parsing import LARGE_BYTES, MAX_BYTES, AnswerTooLarge, few_parts, in_turn, parsed
from canary.metrics.port import Query, Refusal
from canary.metrics.prometheus import NOT_ALLOWED, NOT_AUTHORIZED, REFUSES, UNSHOWN, not_accepted
from canary.metrics.secrets import Secrets, Unshown, timely
from canary.metrics.sharing import NoTurn, Sharing
from canary.model.measurement import MAX_SERIES, Malformed, Measurement, NoData, Queued, Sample, Unreachable

PLACES = 8
"""Requests to one server, as one identity, that are under way at a time; whose turn it is, `canary.fair` says."""
OVERHEAD = 64 * 1024
"""Bytes that are received of an answer besides its content: headers, marks of chunks."""
MOST_PIECES = 4096
"""In which an answer may come. A server may send each byte as a chunk, and each chunk is as much work as a large one."""
AT_A_TIME = 32
"""Pieces after which everybody else has a turn."""
_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_VALUE = 80
LONGEST_SAID = 240
"""Characters of what an answer says for people to read."""
_LONGEST = 60.0
AT_ONCE = 4 * 1024
"""Bytes of an answer from which on a thread makes something of it. A path may look at each of its values."""
THREADS = 2
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": f"canary/{__version__}"}
"""Without encodings, or a small answer could unpack to a large one."""

Kept = tuple[str, Auth | None]


class WebProvider:
    """Asks servers among `hosts`, and shows them what `secrets` has for a query. For one event loop."""

    def __init__(
        self,
        hosts: Hosts,
        *,
        secrets: Secrets | None = None,
        places: int = PLACES,
        max_bytes: int = MAX_BYTES,
        max_addresses: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts, self._secrets = hosts, secrets

        threads = _Threads(clock)

        def new(kept: Kept) -> _Server:
            return _Server(kept[0], hosts, threads, places=places, max_bytes=max_bytes, clock=clock)

        self._servers: KeptByAddress[Kept, _Server] = KeptByAddress(
            new, busy=lambda one: one.busy, close=lambda one: one.close(), most=max_addresses, clock=clock
        )
        self._threads = threads

    async def measure(self, query: Query, now: datetime) -> Measurement:
        source = _web(query)
        try:
            address = self._address(source)
        except ValueError as refusal:
            return Malformed(now, NOT_ALLOWED, str(refusal), query.text)
        try:
            shown = await self._shown(source, address, query)
            server = self._servers.get((address, source.auth), query.tenant[0])
        except Unshown as why:
            kind = Unreachable if why.unreachable else Malformed
            return kind(now, why.reason, str(why), query.text)
        except Crowded as crowded:
            return Queued(now, 0.0, str(crowded), query.text)
        found = await server.ask(query, now, shown)
        if source.auth is not None and self._secrets is not None and getattr(found, "reason", "") == NOT_AUTHORIZED:
            self._secrets.forget(source.auth)
        return found

    async def validate(self, query: Query) -> Refusal | None:
        """Whether it may be asked, and with which Secret. Nobody is asked: a request may do something."""
        source = _web(query)
        try:
            address = self._address(source)
            await self._shown(source, address, query)
        except ValueError as refusal:
            return Refusal(str(refusal), asked=False)
        except Unshown as why:
            return Refusal(str(why), asked=False) if why.reason in UNSHOWN else None
        return None

    async def close(self) -> None:
        """What is under way ends unheard."""
        closing = self._servers.values()
        self._servers.clear()
        await asyncio.gather(*(server.ended() for server in closing))
        self._threads.close()

    def _address(self, source: Web) -> str:
        """Scheme, host and port. Raises ValueError: it may not be asked."""
        address = normalise(source.origin)
        if not self._hosts.may_name(address):
            raise ValueError(f"the host of {address} is not among the allowed hosts (--allow-hosts)")
        return address

    async def _shown(self, source: Web, address: str, query: Query) -> Shown | None:
        """Raises Unshown."""
        if source.auth is None:
            return None
        if self._secrets is None:
            raise Unshown("SecretUnreadable", "Secrets cannot be read here", unreachable=True)
        return await timely(self._secrets.shown(source.auth, address, query.tenant), query.timeout, source.auth.secret)


def _web(query: Query) -> Web:
    if not isinstance(query.source, Web):
        raise TypeError(f"this is not asked over HTTP: {query.source!r}")
    return query.source


class _Threads:
    """A few threads for large answers. Whoever has many of these waits behind the others, and takes no thread of anything else."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="web")
        self._limit = FairLimit(THREADS, clock=clock)

    async def run(self, query: Query, work: Callable[[], Measurement]) -> Measurement:
        place = await self._limit.take(query.tenant, hash(query.source))
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except BaseException:
            self._limit.give_back(place)
            raise
        # A thread cannot be interrupted: its place is free again when it ends.
        future.add_done_callback(lambda _: self._limit.give_back(place))
        return await asyncio.shield(future)

    def close(self) -> None:
        self._limit.close()
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Server:
    """One server, as one identity: its connections, its places, and the queue before them."""

    def __init__(
        self,
        address: str,
        hosts: Hosts,
        threads: _Threads,
        *,
        places: int,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._threads = threads
        self._address, self._hosts, self._places, self._max_bytes = address, hosts, places, max_bytes
        self._clock = clock
        self._shown: Shown | None = None
        self._client: httpx.AsyncClient | None = None
        self._trusted: ssl.SSLContext | None = None
        self._limit = FairLimit(places, clock=clock)
        self._sharing = Sharing(self._limit, self._send, clock=clock)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or waits."""
        return self._limit.busy

    async def ask(self, query: Query, now: datetime, shown: Shown | None) -> Measurement:
        came = self._clock()
        self._shown = shown or self._shown
        try:
            return await self._sharing.ask(query, now)
        except NoTurn:
            waited = self._clock() - came
            message = f"waited {waited:.3g} s for its turn at {self._address}: requests of others take all the places"
            return Queued(now, waited, message, query.text)
        except LimitClosed:
            message = f"the connection to {self._address} had to make room for another one"
            return Queued(now, self._clock() - came, message, query.text)
        except TimeoutError:
            return self._timed_out(query, now)

    def close(self) -> None:
        """Nobody is asked any more; what is under way is given up."""
        self._limit.close()
        for task in self._tasks:
            task.cancel()
        if self._client is not None:
            self._background(self._client.aclose())
            self._client = None

    async def ended(self) -> None:
        """Until all that `close` gave up has let go of its connections."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _send(self, query: Query, now: datetime, place: Place) -> asyncio.Future[Measurement]:
        task: asyncio.Task[Measurement] = self._background(self._work(query, now, self._shown))
        task.add_done_callback(lambda _: self._limit.give_back(place))
        return task

    def _timed_out(self, query: Query, now: datetime) -> Measurement:
        return Unreachable(now, "Timeout", f"{self._address} did not answer within {query.timeout:g} s", query.text)

    def _connected(self, shown: Shown | None) -> httpx.AsyncClient:
        """The client that trusts and shows what it should; another one when that is another certificate."""
        trust = shown.trust if shown is not None else None
        if self._client is None or trust is not self._trusted:
            if self._client is not None:
                # Requests under way go on with it; their connections are closed when they have ended.
                self._background(_closed_when(self._client, set(self._tasks) - {asyncio.current_task()}))
            transport = GuardedTransport(self._hosts, trust, most=self._max_bytes + OVERHEAD, connections=self._places)
            self._client = httpx.AsyncClient(
                transport=transport,
                headers=_HEADERS,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
                trust_env=False,
                timeout=_LONGEST,  # who asks says how long, which is less
            )
            self._trusted = trust
        return self._client

    async def _work(self, query: Query, now: datetime, shown: Shown | None) -> Measurement:
        source = _web(query)
        try:
            async with asyncio.timeout(query.timeout):
                status, content = await self._requested(source, shown)
                made = _Made(query, source, now, shown, f"{self._address} answered {status}")
                if len(content) > AT_ONCE:
                    return await self._threads.run(query, lambda: made.measurement(status, content))
                return made.measurement(status, content)
        except TimeoutError:
            return self._timed_out(query, now)
        except PeerRefused as refusal:
            return Malformed(now, NOT_ALLOWED, str(refusal), query.text)
        except LimitClosed:
            return Unreachable(now, "Unreachable", f"{self._address} is asked no more", query.text)
        except AnswerTooLarge as error:
            return Malformed(now, "UnexpectedResult", f"the answer of {self._address} {error}", query.text)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Unreachable(now, "Unreachable", f"{self._address}: {withheld(_cause(error), shown)}", query.text)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError) as error:
            if isinstance(error.__cause__, TooMuchReceived):
                message = f"the answer of {self._address} does not end: {error.__cause__}"
                return Malformed(now, "UnexpectedResult", message, query.text)
            # Not in its own words, which may be those of whoever answered.
            message = f"{self._address} did not answer as HTTP has it ({type(error).__name__})"
            return Unreachable(now, "Unreachable", message, query.text)

    async def _requested(self, source: Web, shown: Shown | None) -> tuple[int, bytes]:
        """Status and content. Raises AnswerTooLarge, PeerRefused, httpx's errors."""
        headers = dict(source.headers)
        content = source.content
        if content is not None:
            headers = {"Content-Type": content[0], **headers}
        if shown is not None:
            taken = {name.lower() for name in shown.headers}
            headers = {name: value for name, value in headers.items() if name.lower() not in taken} | dict(
                shown.headers
            )
        client = self._connected(shown)
        body = content[1] if content is not None else None
        async with client.stream(source.method, source.url, headers=headers, content=body) as response:
            found, pieces = bytearray(), 0
            async for piece in response.aiter_raw():
                found += piece
                pieces += 1
                if len(found) > self._max_bytes:
                    raise AnswerTooLarge(f"is larger than {self._max_bytes} bytes")
                if pieces > MOST_PIECES:
                    raise AnswerTooLarge(f"comes in more than {MOST_PIECES} pieces")
                if pieces % AT_A_TIME == 0:
                    await asyncio.sleep(0)  # what has come already is given out without a pause
            return response.status_code, bytes(found)


class _Made:
    """Makes a measurement of an answer. Pure, and in a thread where that takes long."""

    def __init__(self, query: Query, source: Web, now: datetime, shown: Shown | None, answered: str) -> None:
        self._query, self._source, self._now, self._shown, self._answered = query, source, now, shown, answered
        self._content = b""

    def measurement(self, status: int, content: bytes) -> Measurement:
        self._content = content
        expected = self._source.expected
        if expected is not None and status in expected.status:
            return self._expected(expected, content)
        if status in REFUSES:
            message = f"{self._answered}: {not_accepted(self._shown)}"
            return Unreachable(self._now, NOT_AUTHORIZED, message, self._query.text)
        if expected is not None:
            return self._sample(False, f"{self._answered}, and {' or '.join(map(str, expected.status))} is expected")
        if not 200 <= status < 300:
            redirected = "; redirects are not followed" if 300 <= status < 400 else ""
            return Unreachable(self._now, "HTTPError", f"{self._answered}{redirected}", self._query.text)
        return self._number(content)

    def _number(self, content: bytes) -> Measurement:
        path = self._source.path or "$"
        try:
            found = self._places(path, content, MAX_SERIES)
        except _Senseless as error:
            return self._malformed("UnexpectedResult", str(error))
        values = []
        for place in found:
            if place.value is None:
                continue
            value = _number_of(place.value)
            if value is None:
                return self._malformed("NotANumber", f"{path} selects {_kind(place.value)} and no number")
            if not math.isfinite(value):
                return self._malformed("NotANumber", f"{path} selects a number that is none, or too large")
            values.append(value)
        if not values:
            return NoData(self._now, self._query.text, message=f"{path} selects nothing in the answer")
        if len(values) > MAX_SERIES:
            return self._malformed("TooManySeries", f"{path} selects more than {MAX_SERIES} values")
        if len(values) > 1 and not self._query.many:
            words = (
                f"{path} selects {len(values)} values, and one was expected: name one, or use a condition over `values`"
            )
            return self._malformed("SeveralSeries", words)
        return Sample(values[0], self._now, self._query.text, tuple(values))

    def _expected(self, expected: Expected, content: bytes) -> Measurement:
        if expected.path is None:
            return self._sample(True, self._answered)
        try:
            found = self._places(expected.path, content, 1)
        except _Senseless as error:
            return self._sample(False, str(error))
        if len(found) > 1:
            return self._malformed("SeveralSeries", f"{expected.path} selects several values: name one place")
        if not found:
            return self._sample(False, f"{self._answered}, and {expected.path} selects nothing in it")
        good = expected.is_met_by(found[0].value)
        value = found[0].value
        told = isinstance(value, str) and self._shown is not None and self._shown.is_told_in(value)
        said = WITHHELD if told else _spoken(value)
        more = "" if good else f", and {_spoken(expected.equals)} is expected"
        return self._sample(good, f"{expected.path} is {said}{more}")

    def _places(self, path: str, content: bytes, most: int) -> list[jsonpath.Place]:
        """Raises _Senseless."""
        try:
            few_parts(content)
            with in_turn(len(content) > LARGE_BYTES):
                document = parsed(content)
                if document is None and content.strip() != b"null":
                    raise _Senseless(f"{self._answered} with something that is no JSON")
                return jsonpath.places(path, document, most)
        except AnswerTooLarge as error:
            raise _Senseless(f"the answer {error}") from error
        except jsonpath.TooDeep as error:
            raise _Senseless(str(error)) from error
        except ValueError as error:
            raise _Senseless(withheld(str(error), self._shown)) from error

    def _sample(self, good: bool, note: str) -> Sample:
        return Sample(float(good), self._now, self._query.text, (float(good),), note=note, said=self._said())

    def _said(self) -> str:
        """What the answer says for people to read, where that was asked for: on one line, and short."""
        tells = self._source.tells
        if tells is None:
            return ""
        text = self._content.decode("utf-8", "replace")
        if tells:
            try:
                found = self._places(tells, self._content, 1)
            except _Senseless:
                return ""
            value = found[0].value if found else None
            text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if self._shown is not None and self._shown.is_told_in(text):
            return WITHHELD
        clean = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST_SAID])
        words = " ".join(clean.split())
        return words if len(words) <= LONGEST_SAID else f"{words[:LONGEST_SAID]}…"

    def _malformed(self, reason: str, message: str) -> Malformed:
        return Malformed(self._now, reason, message, self._query.text)


class _Senseless(Exception):
    """Nothing can be made of an answer, and why."""


async def _closed_when(client: httpx.AsyncClient, tasks: set[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
    await client.aclose()


def _number_of(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case dict():
            return "an object"
        case _:
            return "a list"


def _spoken(value: Any) -> str:
    """A value for a message: on one line, and short."""
    text = value if isinstance(value, str) else _kind(value) if isinstance(value, dict | list) else str(value).lower()
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return repr(clean if len(clean) <= _LONGEST_VALUE else f"{clean[:_LONGEST_VALUE]}…")


def _cause(error: BaseException) -> str:
    """The innermost cause in words: httpx wraps httpcore wraps anyio wraps the socket."""
    cause = error
    while (inner := cause.__cause__ or cause.__context__) is not None and isinstance(inner, OSError | httpx.HTTPError):
        cause = inner
    return str(cause) or "no connection"
