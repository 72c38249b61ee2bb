"""Asks one of the two backends, and reads no more of the answer than it may."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from canary.comparer.answers import Answer, NoAnswer, Reply
from canary.comparer.copies import Copy

_OURS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""What aiohttp would add to a request that has none."""


MAX_HEADER = 64 * 1024
"""Bytes of a request line or a header, asked or answered. Gateways let that much through, and cookies grow."""


class Memory:
    """Bytes of bodies that may be held at one time, by all requests together."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0


class Room:
    """What one request holds of it, until it is closed."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._held = memory, 0
        self._closed = False

    def close(self) -> None:
        """Give all of it back, and take no more."""
        self._memory.held -= self._held
        self._held, self._closed = 0, True

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more; then they are held."""
        if self._closed or self._memory.held + size > self._memory.most:
            return False
        self._memory.held += size
        self._held += size
        return True


class Unasked(StrEnum):
    """Why a backend was not asked, or not heard to the end, for which it is not to blame."""

    MEMORY = "memory"
    MALFORMED = "malformed"


class Backend:
    """Serves inside an `async with` block. `origin` is such as http://shop-stable:8080; `timeout` in seconds, for all of an answer.

    `trust` says what verifies the certificate of an https backend now, None for the usual authorities; another object when that
    has changed. `headers` are those to be kept of an answer. `on_reply` hears of each reply as soon as it is there, but not of answers that do not end.
    """

    def __init__(
        self,
        origin: str,
        *,
        timeout: float,
        max_body: int,
        headers: tuple[str, ...] = (),
        on_reply: Callable[[Reply], None] = lambda _: None,
        trust: Callable[[], ssl.SSLContext | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origin, self._timeout, self._max_body = origin, timeout, max_body
        self._headers, self._on_reply, self._trust, self._clock = headers, on_reply, trust, clock

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # whoever asks has a limit
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            skip_auto_headers=_OURS,
            auto_decompress=False,
            trust_env=False,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, copy: Copy, room: Room) -> Reply | Unasked:
        """What this backend says to a request. Raises nothing of HTTP."""
        began = self._clock()
        answers = False
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.request(
                    copy.method,
                    URL(self._origin + copy.target, encoded=True),
                    headers=copy.headers,
                    data=copy.body or None,
                    allow_redirects=False,
                    ssl=self._trust() or True,
                ) as response,
            ):
                answers = True
                chunks: list[bytes] = []
                size = 0
                while chunk := await response.content.readany():
                    size += len(chunk)
                    if size > self._max_body:
                        response.close()
                        break
                    if not room.take(len(chunk)):
                        response.close()
                        return Unasked.MEMORY
                    chunks.append(chunk)
                reply: Reply = Answer(
                    response.status,
                    self._kept(response),
                    None if size > self._max_body else b"".join(chunks),
                    self._clock() - began,
                )
        except TimeoutError:
            if answers:  # and does not end: that may be its nature, and says nothing of how the backend is
                return NoAnswer("unfinished answer", self._clock() - began)
            reply = NoAnswer("no answer in time", self._clock() - began)
        except UnicodeError:
            return Unasked.MALFORMED
        except aiohttp.ClientConnectorError:
            reply = NoAnswer("no connection", self._clock() - began)
        except (aiohttp.ClientError, OSError):
            reply = NoAnswer("broken answer", self._clock() - began)
        self._on_reply(reply)
        return reply

    def _kept(self, response: aiohttp.ClientResponse) -> dict[str, str]:
        found = response.headers
        return {name: ", ".join(found.getall(name)) for name in self._headers if name in found}
