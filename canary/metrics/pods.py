"""Pods that are asked themselves, over HTTP, by the addresses that EndpointSlices have for them.

Whoever may write EndpointSlices in a namespace chooses which addresses are asked. So nothing is sent but a GET (no credentials, no
cookies, no redirects, no proxy), and what comes back is bounded in time and size.
"""

from __future__ import annotations

import socket

import aiohttp

from canary.metrics.parsing import MAX_BYTES

Address = tuple[str, int]
"""IP address and port."""

_CHUNK = 64 * 1024
AT_A_TIME = 8 * 1024
"""Bytes that are parsed before anybody else has a turn. A quarter of a megabyte, as asyncio has it, may be 10,000 answers 100 (Continue)."""


class Unread(Exception):
    """Why a pod says nothing. `garbage`: it answered, and what it said makes no sense."""

    def __init__(self, words: str, *, garbage: bool = False) -> None:
        super().__init__(words)
        self.garbage = garbage


class Metered(socket.socket):
    """Gives a little at a time and not without end, whatever that is: HTTP has much that is parsed and is no content."""

    received = 0
    most = MAX_BYTES + _CHUNK
    """Bytes of one connection, with all headers and marks of chunks."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        found = super().recv(min(size, AT_A_TIME), flags)
        self.received += len(found)
        if self.received > self.most:
            raise ConnectionAbortedError("more bytes came than are read")
        return found


class Pods:
    """Asks pods, of which at most `connections` at a time. For one event loop; who asks says how long."""

    def __init__(self, *, connections: int, max_bytes: int = MAX_BYTES, accept: str = "application/json") -> None:
        self._connections, self._max_bytes, self._accept = connections, max_bytes, accept
        self._session: aiohttp.ClientSession | None = None

    async def get(self, address: Address, path: str) -> bytes:
        """What is at a path. Raises Unread."""
        url = f"http://{host(address)}{path}"
        try:
            async with self._opened().get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise Unread(f"{host(address)} answered {response.status}")
                return await self._content(response, address)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not in its own words, which may be those of whoever answered.
            raise Unread(f"{host(address)} cannot be reached ({type(error).__name__})") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _content(self, response: aiohttp.ClientResponse, address: Address) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content += chunk
            if len(content) > self._max_bytes:
                response.close()
                raise Unread(f"{host(address)} answered more than {self._max_bytes} bytes", garbage=True)
        return bytes(content)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A connection for each answer, which is what is metered.
                connector=aiohttp.TCPConnector(
                    limit=self._connections, limit_per_host=2, force_close=True, socket_factory=_metered
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "Accept": self._accept},
                auto_decompress=False,  # or a small answer could unpack to a large one
                trust_env=False,
                timeout=aiohttp.ClientTimeout(),  # who asks says how long
            )
        return self._session


def _metered(address: aiohttp.AddrInfoType) -> socket.socket:
    return Metered(*address[:3])


def host(address: Address) -> str:
    """An address as it stands in a URL."""
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
