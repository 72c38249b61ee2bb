"""A real HTTP server that plays an API server from a script, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from canary.kube import Kube, KubeClient

Handler = Callable[[web.Request], Any]


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedApi:
    """Answers requests in the order of the script; an entry is (code, body, headers) or a handler."""

    url: str = ""
    script: list[Any] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def answer(self, code: int, body: object = None, **headers: str) -> None:
        self.script.append((code, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    def refuse(self, code: int, reason: str, message: str, *, of: str = "", **headers: str) -> None:
        """A Status that is about the object `of`; without, about none."""
        body = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}
        self.answer(code, body | ({"details": {"name": of}} if of else {}), **headers)

    def stream(self, *lines: object) -> None:
        """A watch that sends these events and ends."""

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for line in lines:
                await response.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
            return response

        self.script.append(handler)

    def hang(self) -> None:
        """Never answers."""

        async def handler(request: web.Request) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError

        self.script.append(handler)

    def call(self, handler: Handler) -> None:
        self.script.append(handler)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.seen.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body))
        if not self.script:
            return await _forever()
        step = self.script.pop(0)
        if callable(step):
            return await step(request)
        code, answer, headers = step
        if isinstance(answer, bytes):
            return web.Response(status=code, body=answer, headers=headers)
        return web.json_response(answer, status=code, headers=headers)


async def _forever() -> web.StreamResponse:
    """What is not in the script waits: a test that asks too often fails by its own time-out, not by chance."""
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    scripted = ScriptedApi()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", scripted.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


@pytest.fixture
async def kube(api) -> AsyncIterator[Kube]:
    async with await KubeClient.connect(server=api.url, token="secret", timeout=2.0) as kube:
        yield kube
