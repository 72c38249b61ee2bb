"""A wire to a server that can be cut, frozen or mended: what a load balancer, a firewall or a cable does to connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Self
from urllib.parse import urlsplit


class Wire:
    """Forwards TCP connections to the server at `url`; in a session of its own, at `Wire.url`.

    `freeze` is the silent death: connections stay, and the kernel acknowledges what comes, but nothing is passed on. That
    is for those that are open (`only_open`), or for new ones too. `cut` breaks every connection and refuses new ones.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._scheme, self._target = parts.scheme, (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._open: dict[asyncio.Task[None], asyncio.Event] = {}
        self._frozen = False
        self.accepted = 0
        """How many connections there have been."""

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def cut(self) -> None:
        """Break what is open, refuse what comes."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def freeze(self, *, only_open: bool = False) -> None:
        """From now on nothing comes through, and nobody is told. What was frozen never moves again."""
        self._frozen = not only_open
        for frozen in self._open.values():
            frozen.set()

    async def mend(self) -> None:
        """New connections work. Those that were frozen stay as they are."""
        self._frozen = False
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._forward, sock=listener)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        frozen = self._open[task] = asyncio.Event()
        if self._frozen:
            frozen.set()
        try:
            there, back = await asyncio.open_connection(*self._target)
            try:
                ways = [asyncio.create_task(_pass_on(*way, frozen)) for way in ((reader, back), (there, writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    if frozen.is_set():
                        await asyncio.Event().wait()  # until it is cut: neither side hears of the other's end
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
            finally:
                back.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            del self._open[task]
            writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frozen: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(2**16):
            if not frozen.is_set():  # frozen, it is taken and goes nowhere
                writer.write(chunk)
                await writer.drain()
