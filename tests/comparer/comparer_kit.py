"""A comparer between two real backends, and who mirrors to it."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from canary.comparer.guard import LEAST
from canary.comparer.run import serve
from canary.comparer.settings import Settings
from canary.model.comparer_results import ComparerResults

Handler = Callable[["Got"], Awaitable[web.StreamResponse]]

PATIENCE = 10.0


@dataclass(frozen=True)
class Got:
    """A request as a backend received it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


async def fine(_: Got) -> web.StreamResponse:
    return web.json_response({"fine": True})


async def hangs(_: Got) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@dataclass
class Backend:
    """A server that remembers what it got. `answer` may be replaced at any time."""

    answer: Handler = fine
    got: list[Got] = field(default_factory=list)
    url: str = ""
    answering: set[asyncio.Future[web.StreamResponse]] = field(default_factory=set)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = tuple((name, value) for name, value in request.headers.items())
        got = Got(request.method, request.raw_path, headers, await request.read())
        self.got.append(got)
        task = asyncio.ensure_future(self.answer(got))
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)
        return await task

    async def got_so_many(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < number:  # noqa: ASYNC110 - for a few milliseconds
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def serving(self, identity: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        runner = web.ServerRunner(
            web.Server(self.handle, access_log=None, auto_decompress=False, max_line_size=2**16, max_field_size=2**16),
            shutdown_timeout=0,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=identity).start()
            self.url = f"{'https' if identity else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            for task in self.answering:
                task.cancel()
            await runner.cleanup()


@dataclass
class Bench:
    """A comparer that serves at `url`, its pages at `admin`, and its backends."""

    stable: Backend
    canary: Backend
    session: aiohttp.ClientSession
    url: str = ""
    admin: str = ""

    async def mirror(self, target: str = "/", method: str = "GET", *, body: bytes | None = None, **headers: str) -> int:
        """Send what a gateway would send; the status of the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(f"{self.url}{target}", encoded=True)
        async with asyncio.timeout(PATIENCE), self.session.request(method, url, data=body, headers=named) as answer:
            await answer.read()
            return answer.status

    async def raw(self, data: bytes) -> bytes:
        """Send bytes, and read the first line of an answer; nothing if there is none."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            async with asyncio.timeout(PATIENCE):
                return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def page(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"{self.admin}{path}") as answer:
            return answer.status, await answer.text()

    async def results(self) -> ComparerResults:
        """What is counted by now: of a page that was made after this was called, since pages are kept for a moment."""
        asked = datetime.now(UTC) + timedelta(milliseconds=1)  # a page says when it was made in milliseconds
        async with asyncio.timeout(PATIENCE):
            while True:
                _, text = await self.page("/results")
                if (found := ComparerResults.read(text)).now >= asked:
                    return found
                await asyncio.sleep(0.002)

    async def settled(self) -> ComparerResults:
        """What was counted, when each request that arrived was compared or dropped."""
        return await self.until(lambda found: found.received == found.compared + sum(found.dropped.values()))

    async def until(self, true: Callable[[ComparerResults], bool]) -> ComparerResults:
        """The first results of which something is true."""
        async with asyncio.timeout(PATIENCE):
            while not true(results := await self.results()):  # noqa: ASYNC110 - for a few milliseconds
                await asyncio.sleep(0.005)
            return results


@asynccontextmanager
async def comparer(
    stable: Handler = fine,
    canary: Handler = fine,
    *,
    at_stable: str = "",
    at_canary: str = "",
    connections: int = 100,
    sparing: bool = False,
    **settings: Any,
) -> AsyncIterator[Bench]:
    """A comparer of its own for one test, on free ports. `at_stable` and `at_canary` are other backends than ours.

    It lets everything through, unless it is to spare a stable that is slow (`sparing`): on a machine with other things to do ours is.
    """
    most = 1.0 if sparing else LEAST
    async with AsyncExitStack() as stack:
        backends = Backend(stable), Backend(canary)
        for backend in backends:
            await stack.enter_async_context(backend.serving())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        bench = Bench(*backends, session)
        origins = (at_stable or backends[0].url, at_canary or backends[1].url)
        chosen = replace(Settings(*origins, "127.0.0.1:0", "127.0.0.1:0", max_rps=0), **settings)
        stop, ready = asyncio.Event(), asyncio.Event()

        def on_ready(url: str, admin: str) -> None:
            bench.url, bench.admin = url, admin
            ready.set()

        task = asyncio.create_task(
            serve(
                chosen, stop, grace=0.2, connections=connections, draw=lambda: most * random.random(), on_ready=on_ready
            )
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if not ready.is_set():
                waiting.cancel()
                await task
            yield bench
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)


def documents(*answers: Any) -> Handler:
    """Answers with one document after the other, and with the last one for ever."""
    rest = list(answers)

    async def answer(_: Got) -> web.StreamResponse:
        document = rest.pop(0) if len(rest) > 1 else rest[0]
        return web.Response(text=json.dumps(document), content_type="application/json")

    return answer
