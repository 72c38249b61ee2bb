"""What a replica speaks besides HTTP/1.1: who answers, what is counted, plain connections, datagrams. gRPC: see `app_grpc`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Take = Callable[[bool], Awaitable[bool]]
"""Counts one request, waits as long as it is told to, and says whether it succeeds. True is for a mirrored copy."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who answers."""

    version: str
    pod: str

    @property
    def body(self) -> bytes:
        """As JSON."""
        return json.dumps({"version": self.version, "pod": self.pod}).encode()

    @property
    def message(self) -> bytes:
        """As a gRPC message: `message Answer {string version = 1; string pod = 2;}`."""
        fields = _text(1, self.version) + _text(2, self.pod)
        return b"\0" + len(fields).to_bytes(4, "big") + fields

    @property
    def headers(self) -> dict[str, str]:
        return {"x-version": self.version, "x-pod": self.pod}


def _text(number: int, value: str) -> bytes:
    """A string field of a protocol buffer."""
    data = value.encode()
    size, length = len(data), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def is_copy(headers: Mapping[str, str], host: str) -> bool:
    """Whether a request is a mirrored copy, as far as a backend can tell.

    Envoy marks its copies as internal (and so it marks requests whose X-Forwarded-For is one private address); some
    gateways on it put `-shadow` behind the host.
    """
    return headers.get("x-envoy-internal") == "true" or host.partition(":")[0].endswith("-shadow")


class Endpoint(Protocol):
    """Something that listens, besides the HTTP server that every replica has."""

    async def start(self, port: int) -> int:
        """Listen on the loopback port (0: any); returns which. Raises OSError."""

    async def stop(self, grace: float) -> None:
        """Stop listening, let what is in flight finish for `grace` seconds, and close."""

    def crash(self) -> None:
        """Stop listening and cut every connection."""


class TcpEndpoint:
    """Says in a line of JSON who it is as soon as somebody connects, then sends back what it gets.

    A connection that fails as it was told to is closed without a word.
    """

    def __init__(self, who: Who, take: Take) -> None:
        self._who = who
        self._take = take
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, port: int) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._talk(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._take(False):  # nobody mirrors connections
                writer.write(self._who.body + b"\n")
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def stop(self, grace: float) -> None:
        self._server.close()
        await finish(self._connections, grace)
        for task in tuple(self._connections):
            task.cancel()

    def crash(self) -> None:
        self._server.close()
        for writer in tuple(self._connections.values()):
            writer.transport.abort()


class UdpEndpoint(asyncio.DatagramProtocol):
    """Answers each datagram with who it is, in JSON, and with nothing where it fails as it was told to."""

    def __init__(self, who: Who, take: Take) -> None:
        self._who = who
        self._take = take
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> int:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", port))
        bound: int = self._transport.get_extra_info("sockname")[1]
        return bound

    def datagram_received(self, _data: bytes, addr: tuple[str | Any, int]) -> None:
        task = asyncio.create_task(self._talk(addr))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _talk(self, addr: tuple[str | Any, int]) -> None:
        if await self._take(False):  # nobody mirrors datagrams
            self._transport.sendto(self._who.body, addr)

    async def stop(self, grace: float) -> None:
        await finish(self._answering, grace)
        self.crash()

    def crash(self) -> None:
        self._transport.abort()
        for task in tuple(self._answering):
            task.cancel()


async def finish(tasks: Iterable[asyncio.Task[None]], grace: float) -> None:
    """Wait for tasks, at most `grace` seconds."""
    if waiting := set(tasks):
        await asyncio.wait(waiting, timeout=grace)
