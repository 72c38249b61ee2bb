"""Takes mirrored requests: each is answered at once, and then, if there is room for it, compared.

Whoever sends a copy must never wait for it: nothing here stands between a request and its 202 but its own body.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import http, web

from canary.comparer.answers import Answer, NoAnswer, Reply
from canary.comparer.backend import Backend, Memory, Room, Unasked
from canary.comparer.comparison import Comparison, compare
from canary.comparer.copies import LOOP, Copy, headers_of
from canary.comparer.documents import ignores
from canary.comparer.guard import StableGuard, TokenBucket
from canary.comparer.settings import Settings
from canary.comparer.tally import Tally

log = logging.getLogger("canary.comparer")

BODIES = 64
"""So many bodies of the greatest length may be held at one time."""
LONG = 32 * 1024
"""Bytes of a document that is not compared in passing: about three milliseconds."""


class Mirror:
    """Counts into `tally` inside an `async with` block. `trust` is as of `Backend`, `draw` gives numbers in [0, 1), `clock` seconds that only go forward."""

    def __init__(
        self,
        settings: Settings,
        tally: Tally,
        *,
        trust: Callable[[], ssl.SSLContext | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._tally, self._clock, self._draw = settings, tally, clock, draw
        self._methods = frozenset(settings.methods)
        self._ignored = ignores(settings.ignore)
        self._bucket = TokenBucket(settings.max_rps, clock())
        self.guard = StableGuard(clock())
        self._memory = Memory(BODIES * settings.max_body)
        self._room_for = settings.concurrency
        self._tasks: set[asyncio.Task[None]] = set()
        self._yields = False
        self.stopping = False

        def backend(origin: str, on_reply: Callable[[Reply], None]) -> Backend:
            return Backend(
                origin,
                timeout=settings.timeout,
                max_body=settings.max_body,
                headers=settings.headers,
                on_reply=on_reply,
                trust=trust,
                clock=clock,
            )

        self._stable = backend(settings.stable, self._saw)
        self._canary = backend(settings.canary, lambda _: None)
        self._thread = ThreadPoolExecutor(1, "compare")
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._stable)
        await self._stack.enter_async_context(self._canary)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)
        await self._stack.aclose()

    @property
    def under_way(self) -> int:
        """Comparisons that have begun and not ended."""
        return self._settings.concurrency - self._room_for

    async def drain(self, seconds: float) -> None:
        """Begin no more comparisons, and wait for those under way, so long at most."""
        self.stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a mirrored request, and see to it that it is compared or counted as dropped."""
        self._tally.received += 1
        if why := self._objection(request):
            self._tally.drop(why)
            return web.Response(status=508 if why == "loop" else 202)
        self._room_for -= 1  # given back by the task, or below if there is none
        room = Room(self._memory)
        try:
            copy = await self._copy(request, room)
        except Exception as error:  # noqa: BLE001 - a fault of ours; whoever mirrors is answered all the same
            copy = _fault(error)
        except BaseException:
            self._give_back(room)
            raise
        if isinstance(copy, str):
            self._tally.drop(copy)
            self._give_back(room)
        else:
            task = asyncio.create_task(self._compare(copy, room))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.Response(status=202)

    def _objection(self, request: web.BaseRequest) -> str:
        """Why a request is not compared; empty if it is. What costs nobody anything is asked first."""
        if LOOP in request.headers:
            return "loop"
        if request.method not in self._methods:
            return "method"
        if "Upgrade" in request.headers or request.headers.get("Accept", "").startswith("text/event-stream"):
            return "stream"
        if self.stopping:
            return "stopping"
        if not self._room_for:
            return "busy"
        if not self.guard.lets_through(self._draw()):
            return "backoff"
        return "" if self._bucket.take(self._clock()) else "rate"

    async def _copy(self, request: web.BaseRequest, room: Room) -> Copy | str:
        """The request to send on, or why there is none."""
        target = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        if not target.startswith("/"):
            return "malformed"
        body = b""
        if request.body_exists:
            try:
                async with asyncio.timeout(self._settings.timeout):
                    read = await self._body(request, room)
            except TimeoutError:
                return "timeout"
            except (OSError, aiohttp.ClientError, http.HttpProcessingError, web.RequestPayloadError):
                return "aborted"
            if isinstance(read, str):
                return read
            body = read
        return Copy(request.method, target, headers_of(request.headers.items()), body)

    async def _body(self, request: web.BaseRequest, room: Room) -> bytes | str:
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > self._settings.max_body:
                return "tooLarge"
            if not room.take(len(chunk)):
                return "memory"
            chunks.append(chunk)
        return b"".join(chunks)

    async def _compare(self, copy: Copy, room: Room) -> None:
        try:
            if why := await self._compared(copy, room):
                self._tally.drop(why)
        except asyncio.CancelledError:
            self._tally.drop("stopping")
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours: said, counted, and no reason to end
            self._tally.drop(_fault(error))
        finally:
            self._give_back(room)

    async def _compared(self, copy: Copy, room: Room) -> str:
        """Ask three times and count what differs; why not, if so."""
        asked = [self._stable, self._stable, self._canary]
        order = sorted(range(3), key=lambda _: self._draw())  # nobody is always asked first, or last
        replies = await asyncio.gather(*(asked[index].ask(copy, room) for index in order))
        first, second, canary = (replies[order.index(index)] for index in range(3))
        if isinstance(first, Unasked):
            return first
        if isinstance(second, Unasked):
            return second
        if isinstance(canary, Unasked):
            return canary
        if isinstance(first, NoAnswer):
            return "stable"
        if first.body is None:
            return "tooLarge"
        found = await self._differences(first, second, canary)
        self._tally.add(found, second, canary)
        return ""

    async def _differences(self, first: Answer, second: Reply, canary: Reply) -> Comparison:
        """Long documents are compared beside the event loop, so that nobody waits for that who mirrors or asks for results."""
        work = partial(compare, first, second, canary, self._settings.headers, self._ignored)
        if all(isinstance(reply, NoAnswer) or len(reply.body or b"") < LONG for reply in (first, second, canary)):
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _saw(self, reply: Reply) -> None:
        self.guard.saw(reply.seconds, failed=reply.failed, now=self._clock())
        if self.guard.why and not self._yields:
            self._yields = True
            log.warning("fewer requests are compared for a while: %s", self.guard.why)
        elif self._yields and self.guard.share == 1:
            self._yields = False
            log.info("stable is as before; all requests are compared again, within the other limits")

    def _give_back(self, room: Room) -> None:
        self._room_for += 1
        room.close()


def _fault(error: Exception) -> str:
    """Say where something went wrong, and nothing else: its text may have been made of a request."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.error("a request was not compared: %s at %s:%s", type(error).__name__, place.filename, place.lineno)
    return "error"
