"""Answers probes of datagrams in the place of Envoy, which answers none by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any


class _Responder(asyncio.DatagramProtocol):
    def __init__(self, number: int) -> None:
        self._answer = str(number).encode()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # of this kind
        self._transport = transport

    def datagram_received(self, _data: bytes, addr: tuple[str | Any, int]) -> None:
        self._transport.sendto(self._answer, addr)


@asynccontextmanager
async def responder(number: int) -> AsyncGenerator[int]:
    """Answers every datagram with its number; yields its port."""
    made = asyncio.get_running_loop().create_datagram_endpoint(lambda: _Responder(number), ("127.0.0.1", 0))
    transport, _ = await made
    try:
        port: int = transport.get_extra_info("sockname")[1]
        yield port
    finally:
        transport.close()
