"""Carries the requests of a library that speaks HTTP by itself (kopf) over our own connections.

The library gets a session of aiohttp that opens no connection: each of its requests goes the way of ours, with our
credentials, time-outs and proofs of life. So there is one place that knows how to reach the API server, and the library
never sees an outage: what a retry can help is tried again here, for as long as it takes, and told to those who want to
know; a watch that has died in silence simply ends, and the library opens it again from where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
from pydantic_core import from_json, to_json

from canary.errors import ApiError, Gone, Unavailable
from canary.kube.outage import Eyes, Outage
from canary.kube.pace import Silent, Vigil, WatchPace, arrived
from canary.kube.translate import from_response
from canary.kube.transport import Request, Transport, broken

_SHORT_WATCH_SECONDS = 1.0
_LOOKS = (1.0, 5.0)
"""Seconds between two looks at what an open watch has received, brisk and calm."""


OnPage = Callable[[list[dict[str, Any]]], Awaitable[None]]


class Lane:
    """One resource that the library lists and watches, by its path.

    `pace` and `eyes` as in `follow`. `on_list` is called when it was listed, except for the first time: what was deleted
    in between has no event. `on_page` takes the items of each page of a list, and the library gets the page without them: it
    watches from there on, and what it does for an object it does for those that change. What is `needed` is tried for ever
    once it was there, and from the start where it is `one_of_several`, such as a namespace that may not be listed beside others that
    may, of which the library would let go together; else the library is told of a refusal.
    """

    def __init__(
        self,
        what: str,
        *,
        pace: WatchPace | None = None,
        eyes: Eyes | None = None,
        on_list: Callable[[], None] = lambda: None,
        on_page: OnPage | None = None,
        needed: bool = True,
        one_of_several: bool = False,
    ) -> None:
        self.pace = pace or WatchPace()
        self.outage = Outage(what, eyes)
        self.needed = needed
        self.one_of_several = one_of_several
        self.on_list = on_list
        self.on_page = on_page
        self.known = False
        """Whether it was ever listed: until then, what no retry can help is the library's to know."""
        self.pause = 0.0
        """Seconds to wait before it is watched again: how the last watch ended."""
        self.guard: asyncio.Task[None] | None = None
        self.poke = asyncio.Event()
        """Wakes the guard of the open watch: it is to be renewed, or the library has done with it."""


class Courier:
    """Gives sessions to the library. Close it when the library has ended."""

    place = "http://kubernetes"
    """What the library takes for the API server. It never reaches a name server, and no credentials can hide in it."""

    def __init__(self, transport: Transport, lanes: Mapping[str, Lane], other: Callable[[str], Lane]) -> None:
        """`lanes` by path. `other` makes those of whatever else the library asks for, by the plural."""
        self._transport = transport
        self._other = other
        self._lanes = dict(lanes)
        self._guards: set[asyncio.Task[None]] = set()
        self._carrying: set[asyncio.Task[object]] = set()
        self._closed = False

    def session(self) -> aiohttp.ClientSession:
        """A session for `place`; the library closes it."""
        return aiohttp.ClientSession(middlewares=(self._carry,))

    async def close(self) -> None:
        """Let go of every request: the library may have tasks that nobody has ended, and nobody waits for."""
        self._closed = True
        for lane in self._lanes.values():
            lane.outage.close()
        tasks: set[asyncio.Task[object]] = {*self._guards, *self._carrying} - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, asked: aiohttp.ClientRequest, _: object) -> aiohttp.ClientResponse:
        task = asyncio.current_task()
        if self._closed or task is None:
            raise asyncio.CancelledError
        self._carrying.add(task)
        try:
            return await self._answer(asked)
        finally:
            self._carrying.discard(task)

    async def _answer(self, asked: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        path, query = asked.url.raw_path, dict(asked.url.query)
        lane = self._lanes.get(path)
        if lane is None:
            lane = self._lanes[path] = self._other(path.rpartition("/")[2])
        if query.get("watch") == "true":
            return await self._watch(lane, path, query)
        return await self._get(lane, asked.method, path, query)

    async def _get(self, lane: Lane, method: str, path: str, query: dict[str, str]) -> aiohttp.ClientResponse:
        """An answer that is to be had, sooner or later."""
        verb, resource = ("list", path.rpartition("/")[2]) if "limit" in query else ("get", "discovery")
        request = Request(method, path, verb, resource, query=query)
        while True:
            begun = time.monotonic()
            if lane.known:
                lane.outage.opening()
            try:
                response = await self._transport.body(request)
                error = await self._refusal(lane, response)
            except Unavailable as unavailable:
                error = unavailable
            if error is None:
                lane.outage.answered()
                if response.status < 300 and verb == "list" and lane.on_page is not None:
                    await _take_out(response, lane.on_page)
                if response.status < 300 and "continue" not in query:
                    if lane.known:
                        lane.on_list()
                    lane.known = True
                return response
            if isinstance(error, Gone):
                # The library knows no such answer to a list; a list that broke off it begins anew.
                raise aiohttp.ClientPayloadError(str(error))
            await asyncio.sleep(lane.outage.failed(error, begun))

    async def _watch(self, lane: Lane, path: str, query: dict[str, str]) -> aiohttp.ClientResponse:
        """The stream of a watch that is open. It ends in time, whatever happens to its connection."""
        await self._last(lane)
        while True:
            lane.outage.opening()
            await asyncio.sleep(lane.pause)
            vigil = Vigil(lane.pace, on_open=lane.outage.opened)
            query["timeoutSeconds"] = str(max(1, round(vigil.seconds)))
            request = Request("GET", path, "watch", path.rpartition("/")[2], query=dict(query))
            opened: asyncio.Future[aiohttp.ClientResponse] = asyncio.get_running_loop().create_future()
            lane.poke.clear()
            lane.guard = asyncio.create_task(self._guard(lane, request, vigil, opened), name=f"watch {path}")
            self._guards.add(lane.guard)
            lane.guard.add_done_callback(self._guards.discard)
            try:
                response = await opened
                error = await self._refusal(lane, response)
            except Unavailable as unavailable:
                error = unavailable
            except asyncio.CancelledError:
                lane.guard.cancel()
                raise
            if error is None:
                lane.pause = 0.0
                return response
            await self._last(lane)
            lane.pause = lane.outage.failed(error, vigil.heard)
            if isinstance(error, Gone):
                # As an answer, not as an event of the stream. From now on, then: that begins with all there is. Where that is
                # too long ago as well, it is trouble like any other, and takes its time.
                lane.on_list()
                if query.pop("resourceVersion", None) is not None:
                    lane.pause = 0.0

    async def _last(self, lane: Lane) -> None:
        """The watch before is over: let it say how it ended."""
        lane.poke.set()
        if lane.guard is not None:
            await asyncio.wait({lane.guard})
            lane.guard = None

    async def _guard(
        self, lane: Lane, request: Request, vigil: Vigil, opened: asyncio.Future[aiohttp.ClientResponse]
    ) -> None:
        """Hold a watch open while the library reads from it, and end it when it is dead or to be renewed."""
        begun = time.monotonic()
        try:
            async with self._transport.stream(request, vigil, refusals=True) as response:
                if response.status >= 300:
                    await response.read()
                    opened.set_result(response)
                    return
                opened.set_result(response)
                await self._look_after(response, vigil, lane)
        except ApiError as error:
            if opened.done():
                lane.pause = lane.outage.failed(error, vigil.heard)
            else:
                opened.set_exception(error)
            return
        finally:
            if not opened.done():
                opened.cancel()
        if vigil.renewed:
            return
        if time.monotonic() - begun > _SHORT_WATCH_SECONDS:
            lane.outage.steady()
        else:
            lane.pause = lane.outage.failed(Unavailable("the server ends watches at once"), time.monotonic())

    async def _look_after(self, response: aiohttp.ClientResponse, vigil: Vigil, lane: Lane) -> None:
        """Until the stream is over.

        Raises:
            Silent: nothing came although something had to.
            Unavailable: the connection is lost.

        """
        content, received = response.content, 0
        vigil.interrupt = lane.poke.set
        while not (content.is_eof() or content.exception() or response.closed):
            now = time.monotonic()
            if content.total_bytes != received:
                received, vigil.heard = content.total_bytes, now
            if now > vigil.deadline and await arrived(lambda: (content.total_bytes, content.is_eof())):
                continue
            if vigil.renewed or now > vigil.deadline:
                response.close()  # its reader finds it broken, and opens it again from where it was
                if vigil.renewed:
                    return
                raise Silent(f"nothing came for {now - vigil.heard:.1f} s", reason="Silent")
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_LOOKS[not lane.pace.brisk], vigil.deadline - now + 0.01)):
                    await lane.poke.wait()
            if lane.poke.is_set() and not vigil.renewed:
                break
        error = content.exception()
        if error is not None and not content.is_eof():
            raise Unavailable(broken(error), reason="Unreachable")

    async def _refusal(self, lane: Lane, response: aiohttp.ClientResponse) -> ApiError | None:
        """What to try again; None for an answer that the library should have."""
        if response.status < 400:
            return None
        error = from_response(response.status, await response.read(), response.headers)
        shut = response.status == 403 and lane.one_of_several
        again = error.retryable or response.status in {401, 410} or shut or (lane.known and lane.needed)
        return error if again else None


async def _take_out(response: aiohttp.ClientResponse, on_page: OnPage) -> None:
    """Hand on the items of a page, and leave it without any. What is no page stays as it is: the library is to object to it."""
    try:
        page = from_json(await response.read())
    except ValueError:
        return
    if isinstance(page, dict) and isinstance(page.get("items"), list):
        await on_page(page["items"])
        response._body = to_json({**page, "items": []})  # noqa: SLF001 - there is no other way to answer something else
