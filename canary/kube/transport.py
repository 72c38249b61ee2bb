"""One HTTP request to the API server: TLS, proxies, credentials.

Importing this module brings aiohttp; `KubeClient.connect` does it, nothing else should.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from pydantic_core import from_json

from canary.elapsed import elapsed
from canary.errors import Unavailable
from canary.kube.access import AUTHORIZATION
from canary.kube.body import encode
from canary.kube.connection import Connection
from canary.kube.pace import Silent, Vigil
from canary.kube.pool import Pool, kept_alive
from canary.kube.translate import from_response
from canary.kube.unreached import address, why
from canary.model.times import parse_time

OnRequest = Callable[[str, str, int, float], None]

_Prepared = tuple[str, str, dict[str, str]]

_CONNECTING = 2.5
"""Seconds that a connection for a watch may take, TLS included: nothing that is busy is in its way."""

_OPENING = 5.0
"""Seconds that a watch may take to be opened: the server may have it wait in line, but does nothing else for it."""

_WRITES = frozenset({"create", "update", "patch", "delete"})
_MOVE_NOTHING = frozenset({"events", "leases"})

_LATE = 1.0
"""Seconds after its time at which a request is not sent a second time any more: the process was stopped in between."""

PROMPT = 1.0
"""Seconds within which an answer is dated well enough to set a clock by."""

_REPEATS = 16
"""Requests that are sent a second time at once, of all that wait: a server that is slow is not sent everything twice."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. `verb` and `resource` are the words of RBAC, for the observer.

    `patience` is after how many seconds without an answer it may be sent once more; None: never.
    """

    method: str
    path: str
    verb: str
    resource: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"
    patience: float | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """Sends requests, times them, and turns whatever is not a success into the tree of errors.

    Watches have connections of their own: however many namespaces are watched, none waits for a place, and what is found
    dead among them says nothing of the others. A Lease, which is renewed in time or not at all, waits for nobody: when all
    `connections` (0: as many as it takes) are taken it has others.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        user_agent: str,
        timeout: float,
        on_request: OnRequest | None = None,
        connections: int = 0,
    ) -> None:
        self.connection = connection
        self.timeout = timeout
        self.on_request = on_request
        configuration = connection.configuration
        configuration.proxy = configuration.proxy or _proxy_of_the_environment(connection.server)
        self._tls = configuration.tls()
        self._user_agent = user_agent
        self._certificate = self._current_certificate()
        self._requests = Pool(partial(self._session, connections), connections)
        self._spare = Pool(partial(self._session, 0))
        self._streams = Pool(partial(self._session, 0))
        self._repeats = asyncio.Semaphore(_REPEATS)
        self._dated: tuple[str, float, float] | None = None
        self.writing = 0
        """Writes under way that move something. Events, Leases and dry runs do not."""
        self.unanswered_at = float("-inf")
        """When (time.monotonic) such a write last ended without an answer that says whether it took effect."""

    async def json(self, request: Request) -> dict[str, Any]:
        """The decoded body of a successful answer."""
        raw = await self.text(request)
        try:
            decoded = from_json(raw)  # lists of thousands: a third of the time that json takes
        except ValueError as error:
            raise Unavailable(f"{request}: the API server answered something that is no JSON") from error
        if not isinstance(decoded, dict):
            raise Unavailable(f"{request}: the API server answered JSON that is no object")
        return decoded

    async def text(self, request: Request) -> bytes:
        """The body of a successful answer."""
        return await (
            self._body(request) if request.patience is None else self._first_of_two(request, request.patience)
        )

    async def lines(self, request: Request, vigil: Vigil) -> AsyncGenerator[bytes]:
        """The lines of a watch, until it ends or is to be renewed. Raises Silent when its connection is dead."""
        async with self.stream(request, vigil) as response:
            content = response.content
            rest = b""
            # Not readline(): it refuses lines longer than its buffer, and objects may be larger than that.
            while chunk := await vigil.read(content.readany, lambda: (content.total_bytes, content.is_eof())):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line

    @asynccontextmanager
    async def stream(
        self, request: Request, vigil: Vigil, *, refusals: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a watch, while it lasts. With `refusals` one that is no success is an answer, too.

        When a watch is found silent, all that is asked from then on goes over new connections.
        """
        unlimited = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECTING)
        try:
            async with self._open(request, self._streams, unlimited, opening=_OPENING, refusals=refusals) as response:
                if response.status < 300:
                    vigil.opened()
                try:
                    yield response
                finally:
                    vigil.closed()
        except Silent:
            self._streams.renew()
            self._requests.renew()
            self._spare.renew()
            raise

    async def body(self, request: Request) -> aiohttp.ClientResponse:
        """An answer with its body read, whatever its code. Raises Unavailable when there is none."""
        limits = aiohttp.ClientTimeout(total=self.timeout)
        async with self._open(request, self._requests, limits, refusals=True) as response:
            await response.read()
            return response

    async def _body(self, request: Request) -> bytes:
        limits = aiohttp.ClientTimeout(total=self.timeout)
        pool = self._spare if request.resource == "leases" and self._requests.full else self._requests
        async with self._open(request, pool, limits) as response:
            return await response.read()

    async def _first_of_two(self, request: Request, patience: float) -> bytes:
        """Send a request, and once more on a new connection when it has no answer after `patience` seconds.

        A kept connection that is dead takes what is sent into it in silence. To give up on it and try again would be
        simpler, but an API server whose admission takes its time would then never be waited for: it drops what its client
        gives up. So both may answer, and the first answer counts; that nothing came on one is no answer.
        """
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)
        sent, begun = loop.time(), time.monotonic()
        second: asyncio.Task[bytes] | None = None

        def answered(task: asyncio.Task[bytes]) -> None:
            if not task.cancelled() and not isinstance(task.exception(), Unavailable) and waiting:
                limit.reschedule(loop.time())

        def again() -> None:
            nonlocal second
            slept = loop.time() - sent > patience + _LATE  # what was decided then may be old: whoever sleeps asks again
            if not slept and not self._repeats.locked():
                self._requests.renew(since=begun)
                second = loop.create_task(self._repeat(request))
                second.add_done_callback(answered)

        timer = loop.call_later(patience, again)
        waiting = True
        try:
            async with limit:
                return await self._body(request)
        except TimeoutError:
            if second is None:
                raise
            return second.result()
        except Unavailable:
            waiting = False
            if second is None:
                raise
            return await second
        finally:
            waiting = False
            timer.cancel()
            if second is not None:
                second.cancel()

    async def _repeat(self, request: Request) -> bytes:
        async with self._repeats:
            return await self._body(request)

    @asynccontextmanager
    async def _open(
        self,
        request: Request,
        pool: Pool,
        limits: aiohttp.ClientTimeout,
        *,
        opening: float | None = None,
        refusals: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """`opening` is how many seconds the head of the answer may take, whatever `limits` say of the whole."""
        started = time.perf_counter()
        code = 0
        moves = request.verb in _WRITES and request.resource not in _MOVE_NOTHING and "dryRun" not in request.query
        self.writing += moves
        with ExitStack() as stack:
            session: aiohttp.ClientSession | None = None
            try:
                async with asyncio.timeout(opening):
                    prepared = await self._prepare(request)
                    session = stack.enter_context(pool.session())
                    asked = elapsed()
                    response = await self._send(session, request, prepared, limits)
                    if response.status == 401 and await self._renewed():
                        response.release()  # refused before anything happened, so sending even a write again is safe
                        prepared = await self._prepare(request)
                        session = stack.enter_context(pool.session())
                        response = await self._send(session, request, prepared, limits)
                code = response.status
                self._told_the_time(response.headers.get("Date"), asked)
                try:
                    if code >= 300 and not refusals:
                        raise from_response(code, await response.read(), response.headers)
                    if request.verb == "watch":  # it lasts for minutes; what is of interest is how long it took to open
                        self._observe(request, code, started)
                    yield response
                finally:
                    if not response.closed:  # what is read to its end has been released, and may still be looked at
                        response.release()  # closes the connection when something is left unread
            except TimeoutError as error:
                code = 0
                pool.renew(session)  # the others that are kept are as old, and next time there should be an answer
                within = limits.total or opening or self.timeout
                words = f"no answer from {address(self.connection.server)} within {within:g} s"
                raise Unavailable(f"{words} to {request}", reason="Timeout") from error
            except (aiohttp.ClientError, OSError) as error:
                code = 0
                words = f"no connection to {address(self.connection.server)}: {broken(error)}"
                raise Unavailable(words, reason="Unreachable") from error
            finally:
                self.writing -= moves
                if moves and not 0 < code < 500:
                    self.unanswered_at = time.monotonic()
                if request.verb != "watch" or not 0 < code < 300:
                    self._observe(request, code, started)

    async def _prepare(self, request: Request) -> _Prepared:
        """Method, URL and headers, with the credentials of now."""
        authorization = await self.connection.authorization()
        self._use_new_certificate()
        url = self.connection.server + request.path
        if request.query:
            url += "?" + "&".join(f"{name}={quote(str(value))}" for name, value in request.query.items())
        headers = {
            "Accept": "application/json",
            "Content-Type": request.content_type,
            "User-Agent": self._user_agent,
        }
        if authorization:
            headers["Authorization"] = authorization
        return request.method, url, headers

    async def _send(
        self, session: aiohttp.ClientSession, request: Request, prepared: _Prepared, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        method, url, headers = prepared
        return await session.request(
            method,
            url,
            headers=headers,
            data=None if request.body is None else encode(request.body),
            timeout=limits,
            server_hostname=self.connection.configuration.tls_server_name or None,
            proxy=self.connection.configuration.proxy,
        )

    def _session(self, limit: int) -> aiohttp.ClientSession:
        """A session with connections of its own, `limit` at a time (0: as many as it takes)."""
        # aiohttp would look up proxies and ~/.netrc anew for every request, in a thread each, which costs more than the
        # request itself. Proxies are looked up once; a ~/.netrc has no business here, next to a bearer token.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, ssl=self._tls, socket_factory=kept_alive),
            trust_env=False,
            read_bufsize=2**21,
        )

    async def _renewed(self) -> bool:
        """Whether fetching credentials anew, after a 401, gave others than before."""
        if self.connection.refresh is None:
            return False
        before = self._credentials()
        await self.connection.refresh()
        return self._credentials() != before

    def _credentials(self) -> tuple[object, ...]:
        return (self.connection.configuration.api_key.get(AUTHORIZATION), *self._current_certificate())

    def _current_certificate(self) -> tuple[object, object]:
        return (self.connection.configuration.cert_file, self.connection.configuration.key_file)

    def _use_new_certificate(self) -> None:
        """A TLS context is bound to its certificate; running watches keep the old one until they end."""
        if self._current_certificate() == self._certificate:
            return
        self._tls = self.connection.configuration.tls()
        self._certificate = self._current_certificate()
        self._requests.renew()
        self._spare.renew()
        self._streams.renew()

    @property
    def server_time(self) -> datetime | None:
        """The Date of the last answer that came at once (whole seconds), and what has passed since, sleep of the machine included.

        None: no answer had one so far that is a time with which there is a point in reckoning.
        """
        if self._dated is None:
            return None
        text, at, _ = self._dated
        try:
            said = parse_time(parsedate_to_datetime(text))
        except (ValueError, OverflowError, IndexError, TypeError):
            return None  # whatever a proxy, or a clock that was set, makes of it
        return said + timedelta(seconds=elapsed() - at)

    def _told_the_time(self, date: str | None, asked: float) -> None:
        """An answer that took long is dated at some moment while we waited, or slept: an older one that came at once says more."""
        now = elapsed()
        took = now - asked
        if date is not None and (self._dated is None or took <= max(PROMPT, self._dated[2])):
            self._dated = date, now, took

    def _observe(self, request: Request, code: int, started: float) -> None:
        if self.on_request is not None:
            self.on_request(request.verb, request.resource, code, time.perf_counter() - started)

    async def close(self) -> None:
        await asyncio.gather(self._requests.close(), self._spare.close(), self._streams.close())


def broken(error: BaseException) -> str:
    """What became of a connection, in words that people know."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection broke off in the middle of an answer"
    return why(error)


def _proxy_of_the_environment(server: str) -> str | None:
    """What $https_proxy, $http_proxy and $no_proxy say about a server."""
    parts = urlsplit(server)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)
