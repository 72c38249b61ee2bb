"""Connections that lead where they may: a name is resolved, and what it resolves to is looked at before anything is sent there.

What was looked at is what is connected to, so a name that resolves otherwise a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import httpcore
import httpx
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.retry import Retry

from canary.metrics.hosts import Hosts

MOST_ADDRESSES = 8
"""Of one name that are tried."""

_AT_A_TIME = 16 * 1024
MOST_INTERIM = 4
"""Interim answers (100 Continue, 103 Early Hints) before the one that counts. Each is as much work as that one."""
_LONGEST_INTERIM = 64 * 1024
_LOOKUPS = 2
_IDLE = 60.0
"""Seconds after which a connection that nobody uses is closed."""


class PeerRefused(Exception):
    """The address is not one to which anything may be sent; the message says why."""


class TooMuchReceived(httpcore.ReadError):
    """More bytes came than are read."""


Found = Any
"""An entry of what `getaddrinfo` gives: family, kind, protocol, name, and where to connect to."""


def checked(hosts: Hosts, host: str, port: int, found: Iterable[Found]) -> list[Found]:
    """Of what a name resolves to, what may be connected to. Raises PeerRefused: there is nothing of that kind."""
    good, refusal = [], ""
    for one in list(found)[:MOST_ADDRESSES]:
        refused = hosts.refusal(host, port, one[4][0])
        refusal = refusal or refused
        if not refused:
            good.append(one)
    if not good:
        raise PeerRefused(refusal or f"{host} leads nowhere")
    return good


def dial(hosts: Hosts, host: str, port: int, timeout: float | None, options: Any = ()) -> socket.socket:
    """A connection, made by blocking. Raises OSError, and PeerRefused before anything is sent."""
    until = None if timeout is None else time.monotonic() + timeout
    error: OSError | None = None
    for family, kind, protocol, _, address in checked(hosts, host, port, _resolved(host, port)):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
            sock.connect(address)
            _confirm(hosts, host, port, sock.getpeername()[0])
        except OSError as why:
            sock.close()
            error = why
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error or OSError("no address")


def _resolved(host: str, port: int) -> list[Found]:
    return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)


def _confirm(hosts: Hosts, host: str, port: int, peer: str) -> None:
    refused = hosts.refusal(host, port, peer)
    if refused:
        raise PeerRefused(refused)


# -- for requests ---------------------------------------------------------------------------------------------------


class GuardedAdapter(HTTPAdapter):
    """No retries of its own, a connection for every worker, authorities that can be exchanged, and only `hosts` (None: any)."""

    def __init__(self, pool_size: int, hosts: Hosts | None = None) -> None:
        self._context: ssl.SSLContext | None = None
        self._classes = None if hosts is None else _pool_classes(hosts)
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=Retry(0))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if self._classes is not None:
            self.poolmanager.pool_classes_by_scheme = self._classes

    def trust(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        # A new manager, rather than a changed one: a connection of the old one would go on being trusted.
        before = self.poolmanager
        self.init_poolmanager(self._pool_connections, self._pool_maxsize, ssl_context=context)
        before.clear()

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """As the base class, which would add the bundled authorities to ours."""
        if self._context is None:
            super().cert_verify(conn, url, verify, cert)
        else:
            conn.cert_reqs, conn.ca_certs = "CERT_REQUIRED", None


def _pool_classes(hosts: Hosts) -> dict[str, type[HTTPConnectionPool]]:
    def connect(connection: HTTPConnection) -> socket.socket:
        timeout = connection.timeout
        try:
            return dial(
                hosts,
                connection.host,
                connection.port or connection.default_port,
                timeout if isinstance(timeout, int | float) else None,
                connection.socket_options,
            )
        except socket.gaierror as error:
            raise NameResolutionError(connection.host, connection, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, f"no connection to {connection.host} in time") from error
        except OSError as error:
            raise NewConnectionError(connection, f"no connection: {error}") from error

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


# -- for httpx ------------------------------------------------------------------------------------------------------


class GuardedTransport(httpx.AsyncHTTPTransport):
    """HTTP/1.1 to `hosts` only; of one answer at most `most` bytes are received, with all headers and marks of chunks."""

    def __init__(self, hosts: Hosts, context: ssl.SSLContext | None, *, most: int, connections: int) -> None:
        verified = context or public_authorities()
        super().__init__(verify=verified, trust_env=False)
        # Names are resolved in threads of its own: one that nobody answers holds up this address, and no other.
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")
        # The base class has no setting for how connections are made.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verified,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_IDLE,
            network_backend=_Guarded(hosts, most, self._lookups),
        )

    async def aclose(self) -> None:
        self._lookups.shutdown(wait=False, cancel_futures=True)
        await super().aclose()


@cache
def public_authorities() -> ssl.SSLContext:
    """What trusts them, and shows nobody a certificate. Made once: that takes as long as a hundred requests."""
    return httpx.create_ssl_context(trust_env=False)


class _Guarded(httpcore.AsyncNetworkBackend):
    def __init__(self, hosts: Hosts, most: int, lookups: ThreadPoolExecutor) -> None:
        self._hosts, self._most, self._lookups = hosts, most, lookups
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as the base class
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, _resolved, host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        except RuntimeError as error:  # closed just now
            raise httpcore.ConnectError("the connection was given up") from error
        last: httpcore.ConnectError | None = None
        for one in checked(self._hosts, host, port, found):
            try:
                stream = await self._backend.connect_tcp(
                    one[4][0], port, timeout, local_address, socket_options=socket_options
                )
            except httpcore.ConnectError as error:
                last = error
                continue
            peer = stream.get_extra_info("server_addr")
            try:
                _confirm(self._hosts, host, port, peer[0])
            except PeerRefused:
                await stream.aclose()
                raise
            return _Metered(stream, self._most)
        raise last or httpcore.ConnectError("no address")

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise PeerRefused("a socket of this machine is no address")

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Metered(httpcore.AsyncNetworkStream):
    """Gives a little at a time and not without end, whatever that is: HTTP has much that is parsed and is no content."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, most: int) -> None:
        self._stream, self._most = stream, most
        self._begin()

    def _begin(self) -> None:
        """The next answer."""
        self._received = self._interim = 0
        self._head = bytearray()
        self._counts = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as the base class
        found = await self._stream.read(min(max_bytes, _AT_A_TIME), timeout)
        self._received += len(found)
        if self._received > self._most:
            raise TooMuchReceived("more bytes came than are read")
        if not self._counts:
            self._look_at(found)
        return found

    def _look_at(self, received: bytes) -> None:
        """Counts interim answers before anybody parses them: ten thousand take no more than a few packets."""
        self._head += received
        while len(self._head) >= len(b"HTTP/1.1 200"):
            if not self._head.startswith(b"HTTP/1.") or self._head[9:10] != b"1":
                self._counts = True
                self._head.clear()
                return
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > _LONGEST_INTERIM:
                    raise TooMuchReceived("an interim answer has no end")
                return
            del self._head[: end + 4]
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise TooMuchReceived("interim answers without end")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as the base class
        self._begin()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as the base class
    ) -> httpcore.AsyncNetworkStream:
        return _Metered(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._most)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
