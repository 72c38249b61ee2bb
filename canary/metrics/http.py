"""Servers over HTTP(S), by httpx: bounded in time and size, to allowed hosts only, and no redirect, cookie or proxy is followed.

Whoever may write a Rollout says what is asked, and whoever answers says anything. So an answer is read up to a bound, and what is
made of it (`http_answer`, and the API that is spoken) parses it up to a bound.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Protocol

import httpx

from canary import __version__
from canary.elapsed import elapsed
from canary.fair import FairLimit, LimitClosed, Place
from canary.metrics.asking import NOT_ALLOWED, Asking, Kept, Queue
from canary.metrics.connecting import PeerRefused
from canary.metrics.credentials import Shown, withheld
from canary.metrics.guarded import GuardedTransport, TooMuchReceived
from canary.metrics.hosts import Hosts
from canary.metrics.http_answer import Answer
from canary.metrics.kept import MOST, KeptByAddress
from canary.metrics.parsing import MAX_BYTES, AnswerTooLarge
from canary.metrics.port import Query, Refusal
from canary.metrics.secrets import Secrets
from canary.metrics.server_time import ServerTime, date_of, machine_time
from canary.metrics.signing import Scope, signature
from canary.model.measurement import Malformed, Measurement, Unreachable

PLACES = 8
"""Requests to one server, as one identity, that are under way at a time; whose turn it is, `canary.fair` says."""
OVERHEAD = 64 * 1024
"""Bytes that are received of an answer besides its content: headers, marks of chunks."""
MOST_PIECES = 4096
"""In which an answer may come. A server may send each byte as a chunk, and each chunk is as much work as a large one."""
AT_A_TIME = 32
"""Pieces after which everybody else has a turn."""
_LONGEST = 60.0
AT_ONCE = 4 * 1024
"""Bytes of an answer from which on a thread makes something of it. A path may look at each of its values."""
THREADS = 2
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": f"canary/{__version__}"}
"""Without encodings, or a small answer could unpack to a large one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. `content` is its type and its bytes; None: nothing. `signed` for what, where keys sign it.

    `timed`: it names the time of day, so what a server whose clock says another one answers is about another time.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    content: tuple[str, bytes] | None = None
    signed: Scope | None = None
    timed: bool = False


class Api(Protocol):
    """How the servers of one kind of source are asked. Both are pure, and raise nothing."""

    def request(self, source: Any, now: datetime) -> Request:
        """What a rendered source asks at this time of day. Its URL begins with `source.origin`, which is what is allowed or not."""
        ...

    def measurement(self, source: Any, answer: Answer) -> Measurement:
        """What an answer says. May run in a thread."""
        ...


class HttpProvider:
    """Asks servers among `hosts` by the API of each source, and shows them what `secrets` has for a query. For one event loop."""

    def __init__(
        self,
        apis: Mapping[type[Any], Api],
        hosts: Hosts,
        *,
        secrets: Secrets | None = None,
        places: int = PLACES,
        max_bytes: int = MAX_BYTES,
        max_addresses: int = MOST,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], datetime] = machine_time,
        passing: Callable[[], float] = elapsed,
    ) -> None:
        self._apis = dict(apis)
        self._asking = Asking(hosts, secrets)
        threads = self._threads = _Threads(clock)

        def new(kept: Kept) -> _Server:
            there = ServerTime(time_of_day, passing)
            return _Server(kept[0], hosts, threads, self._api, there, places=places, max_bytes=max_bytes, clock=clock)

        self._servers: KeptByAddress[Kept, _Server] = KeptByAddress(
            new, busy=lambda one: one.busy, close=lambda one: one.close(), most=max_addresses, clock=clock
        )

    async def measure(self, query: Query, now: datetime) -> Measurement:
        self._api(query)

        def find(address: str) -> _Server:
            return self._servers.get((address, query.source.auth), query.tenant[0])

        return await self._asking.measure(query, now, _origin(query), find)

    async def validate(self, query: Query) -> Refusal | None:
        """Whether it may be asked, and with which Secret. Nobody is asked: a request may do something."""
        self._api(query)
        return await self._asking.refusal(query, _origin(query))

    async def close(self) -> None:
        """What is under way ends unheard."""
        closing = self._servers.values()
        self._servers.clear()
        await asyncio.gather(*(server.ended() for server in closing))
        self._threads.close()

    def _api(self, query: Query) -> Api:
        found = self._apis.get(type(query.source))
        if found is None:
            raise TypeError(f"this is not asked over HTTP: {query.source!r}")
        return found


def _origin(query: Query) -> str:
    source: Any = query.source
    return str(source.origin)


class _Threads:
    """A few threads for large answers. Whoever has many of these waits behind the others, and takes no thread of anything else."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="http")
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
        api: Callable[[Query], Api],
        there: ServerTime,
        *,
        places: int,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._threads, self._api, self._there = threads, api, there
        self._address, self._hosts, self._places, self._max_bytes = address, hosts, places, max_bytes
        self._shown: Shown | None = None
        self._client: httpx.AsyncClient | None = None
        self._trusted: ssl.SSLContext | None = None
        self._queue = Queue(address, places, self._send, what="requests", places="places", clock=clock)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or waits."""
        return self._queue.busy

    async def ask(self, query: Query, now: datetime, shown: Shown | None) -> Measurement:
        self._shown = shown or self._shown
        return await self._queue.ask(query, now)

    def close(self) -> None:
        """Nobody is asked any more; what is under way is given up."""
        self._queue.limit.close()
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
        task.add_done_callback(lambda _: self._queue.limit.give_back(place))
        return task

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
        answer = await self._measured(query, now, shown)
        self._queue.answered(answer)
        return answer

    async def _measured(self, query: Query, now: datetime, shown: Shown | None) -> Measurement:
        api = self._api(query)
        try:
            async with asyncio.timeout(query.timeout):
                asked = self._there.now()
                request = api.request(query.source, asked.time)
                status, headers, content = await self._requested(request, shown, asked.time)
                date = date_of(headers)
                # Of no other answers: on one host a team may have a page of its own, and write headers there.
                if request.timed and (apart := self._there.heard(date, asked)):
                    message = f"{self._address}: {apart}, so what was asked is about another time"
                    return Unreachable(now, "ClockSkew", message, query.text)
                dated = date or self._there.now().time
                answer = Answer(query, now, self._address, status, headers, content, shown, asked.time, dated)
                if len(content) > AT_ONCE:
                    return await self._threads.run(query, lambda: api.measurement(query.source, answer))
                return api.measurement(query.source, answer)
        except TimeoutError:
            return self._queue.timed_out(query, now)
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

    async def _requested(
        self, request: Request, shown: Shown | None, asked: datetime
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (by names in lower case) and content. Raises AnswerTooLarge, PeerRefused, httpx's errors."""
        headers = dict(request.headers)
        if request.content is not None:
            headers = {"Content-Type": request.content[0], **headers}
        if shown is not None:
            taken = {name.lower() for name in shown.headers}
            headers = {name: value for name, value in headers.items() if name.lower() not in taken} | dict(
                shown.headers
            )
        client = self._connected(shown)
        body = request.content[1] if request.content is not None else None
        if request.signed is not None and shown is not None and shown.keys is not None:
            headers |= signature(
                request.method, httpx.URL(request.url), headers, body or b"", shown.keys, request.signed, asked
            )
        async with client.stream(request.method, request.url, headers=headers, content=body) as response:
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
            return response.status_code, response.headers, bytes(found)


async def _closed_when(client: httpx.AsyncClient, tasks: set[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
    await client.aclose()


def _cause(error: BaseException) -> str:
    """The innermost cause in words: httpx wraps httpcore wraps anyio wraps the socket."""
    cause = error
    while (inner := cause.__cause__ or cause.__context__) is not None and isinstance(inner, OSError | httpx.HTTPError):
        cause = inner
    return str(cause) or "no connection"
