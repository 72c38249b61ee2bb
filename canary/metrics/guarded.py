"""Connections of httpx that lead where they may (`connecting.py`), and on which no more is received than is read.

httpx and what it brings take as long to import as a tenth of a start, so nothing that a start needs imports this.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import httpcore
import httpx

from canary.metrics.connecting import PeerRefused, checked, confirm, resolved
from canary.metrics.hosts import Hosts

_AT_A_TIME = 16 * 1024
MOST_INTERIM = 4
"""Interim answers (100 Continue, 103 Early Hints) before the one that counts. Each is as much work as that one."""
_LONGEST_INTERIM = 64 * 1024
_LOOKUPS = 2
_IDLE = 60.0
"""Seconds after which a connection that nobody uses is closed."""


class TooMuchReceived(httpcore.ReadError):
    """More bytes came than are read."""


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
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, resolved, host, port)
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
                confirm(self._hosts, host, port, peer[0])
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
