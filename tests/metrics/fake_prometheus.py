"""A real HTTP server that answers /api/v1/query as Prometheus does, from a table of query to answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def vector(*series: tuple[dict[str, str], float | str]) -> web.Response:
    moment = round(time.time(), 3)
    result = [{"metric": labels, "value": [moment, str(value)]} for labels, value in series]
    return success("vector", result)


def success(kind: str, result: Any) -> web.Response:
    """As of when it says to be, if it says so at all."""
    sent = {}
    with contextlib.suppress(KeyError, TypeError, ValueError, IndexError, OverflowError, OSError):
        one = result[0] if kind == "vector" else {"value": result}
        sent["Date"] = formatdate(float(one["histogram" if "histogram" in one else "value"][0]), usegmt=True)
    return web.json_response({"status": "success", "data": {"resultType": kind, "result": result}}, headers=sent)


def failure(code: int, kind: str, error: str) -> web.Response:
    return web.json_response({"status": "error", "errorType": kind, "error": error}, status=code)


@dataclass
class FakePrometheus:
    url: str = ""
    answers: dict[str, Callable[[], web.Response] | Handler] = field(default_factory=dict)
    queries: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    running: int = 0
    most_running: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        self.headers.append(dict(request.headers))
        self.connections.add(request.transport.get_extra_info("peername"))
        answer = self.answers[request.query["query"].partition(" #")[0]]  # questions that a comment tells apart
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await answer(request) if asyncio.iscoroutinefunction(answer) else answer()
        finally:
            self.running -= 1

    async def hang(self, request: web.Request) -> web.StreamResponse:
        """Answers 1 once the test lets it."""
        await self.release.wait()
        return vector(({}, 1))


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a thread or a server changes it, neither knows of our event
            await asyncio.sleep(0.005)
