"""One HTTP request to the API server, with `kubernetes.aio` for TLS, proxies and credentials.

Importing this module costs about 0.6 s; `Kube.connect` does it, nothing else should.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException
from pydantic_core import from_json

from canary.errors import Unavailable
from canary.kube.body import encode
from canary.kube.connection import Connection
from canary.kube.translate import from_response
from canary.kube.unreached import address, why

OnRequest = Callable[[str, str, int, float], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. `verb` and `resource` are the words of RBAC, for the observer."""

    method: str
    path: str
    verb: str
    resource: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """Sends requests, times them, and turns whatever is not a success into the tree of errors."""

    def __init__(
        self, connection: Connection, *, user_agent: str, timeout: float, on_request: OnRequest | None = None
    ) -> None:
        self.connection = connection
        self.timeout = timeout
        self.on_request = on_request
        configuration = connection.configuration
        # aiohttp would look up proxies and ~/.netrc anew for every request, in a thread each, which costs more than the
        # request itself. Proxies are looked up once; a ~/.netrc has no business here, next to a bearer token.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or _proxy_of_the_environment(connection.server)
        self._client = ApiClient(configuration)
        self._client.user_agent = user_agent
        self._certificate = self._current_certificate()
        self._retired: list[RESTClientObject] = []
        self._dated: tuple[str, float] | None = None

    async def json(self, request: Request) -> dict[str, Any]:
        """The decoded body of a successful answer."""
        async with self._open(request, aiohttp.ClientTimeout(total=self.timeout)) as response:
            raw = await response.read()
        try:
            decoded = from_json(raw)  # lists of thousands: a third of the time that json takes
        except ValueError as error:
            raise Unavailable(f"{request}: the API server answered something that is no JSON") from error
        if not isinstance(decoded, dict):
            raise Unavailable(f"{request}: the API server answered JSON that is no object")
        return decoded

    async def lines(self, request: Request, *, silence: float) -> AsyncGenerator[bytes]:
        """The lines of a streamed answer. It just ends when nothing comes for `silence` seconds."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout, sock_read=silence)
        async with self._open(request, limits) as response:
            rest = b""
            try:
                # Not readline(): it refuses lines longer than its buffer, and objects may be larger than that.
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield line
            except TimeoutError:  # silence: the caller reconnects from where it was
                return

    @asynccontextmanager
    async def _open(self, request: Request, limits: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        started = time.perf_counter()
        code = 0
        try:
            response = await self._send(request, limits)
            if response.status == 401 and await self._renewed():
                response.release()  # refused before anything happened, so sending even a write again is safe
                response = await self._send(request, limits)
            code = response.status
            if "Date" in response.headers:
                self._dated = response.headers["Date"], time.monotonic()
            try:
                if code >= 300:
                    raise from_response(code, await response.read(), response.headers)
                if request.verb == "watch":  # it lasts for minutes; what is of interest is how long it took to open
                    self._observe(request, code, started)
                yield response
            finally:
                response.release()  # closes the connection when something is left unread
        except TimeoutError as error:
            code = 0
            words = f"no answer from {address(self.connection.server)} within {self.timeout:g} s"
            raise Unavailable(f"{words} to {request}", reason="Timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            code = 0
            words = f"no connection to {address(self.connection.server)}: {why(error)}"
            raise Unavailable(words, reason="Unreachable") from error
        except ConfigException as error:
            raise Unavailable(f"no credentials: {error}", reason="NoCredentials") from error
        finally:
            if request.verb != "watch" or not 0 < code < 300:
                self._observe(request, code, started)

    async def _send(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        # The body goes around the library: it would walk and copy the whole document to look for model classes, and
        # write JSON in another spelling than the server's (see `encode`).
        method, url, headers, _, _ = await self._client.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query.items()),
            header_params={"Accept": "application/json", "Content-Type": request.content_type},
            auth_settings=["BearerToken"],
        )
        self._use_new_certificate()
        rest = self._client.rest_client
        if rest.pool_manager is None:
            # As the library does it at its first request; it names this method for subclasses, so it will stay.
            rest.pool_manager = rest._create_pool_manager()  # noqa: SLF001
        session: aiohttp.ClientSession = rest.pool_manager
        return await session.request(
            method,
            url,
            headers=headers,
            data=None if request.body is None else encode(request.body),
            timeout=limits,
            server_hostname=self.connection.configuration.tls_server_name or None,
            **({"proxy": rest.proxy, "proxy_headers": rest.proxy_headers} if rest.proxy else {}),
        )

    async def _renewed(self) -> bool:
        """Whether fetching credentials anew, after a 401, gave others than before."""
        if self.connection.refresh is None:
            return False
        before = self._credentials()
        await self.connection.refresh()
        return self._credentials() != before

    def _credentials(self) -> tuple[object, ...]:
        return (self.connection.configuration.api_key.get("BearerToken"), *self._current_certificate())

    def _current_certificate(self) -> tuple[object, object]:
        return (self.connection.configuration.cert_file, self.connection.configuration.key_file)

    def _use_new_certificate(self) -> None:
        """A TLS context is bound to its certificate; running watches keep the old one until they end."""
        if self._current_certificate() == self._certificate:
            return
        self._retired.append(self._client.rest_client)
        self._client.rest_client = RESTClientObject(self.connection.configuration)
        self._certificate = self._current_certificate()

    @property
    def server_time(self) -> datetime | None:
        """The Date of the last answer (whole seconds), and what has passed since."""
        if self._dated is None:
            return None
        text, at = self._dated
        try:
            said = parsedate_to_datetime(text)
        except ValueError:
            return None
        return (said if said.tzinfo else said.replace(tzinfo=UTC)) + timedelta(seconds=time.monotonic() - at)

    def _observe(self, request: Request, code: int, started: float) -> None:
        if self.on_request is not None:
            self.on_request(request.verb, request.resource, code, time.perf_counter() - started)

    async def close(self) -> None:
        await asyncio.gather(self._client.close(), *(old.close() for old in self._retired))


def _proxy_of_the_environment(server: str) -> str | None:
    """What $https_proxy, $http_proxy and $no_proxy say about a server."""
    parts = urlsplit(server)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)
