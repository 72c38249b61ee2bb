"""/metrics, /healthz and /readyz over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Collection
from typing import Self

from aiohttp import web

from canary.telemetry.exposition import Exposition, Format
from canary.telemetry.metrics import Telemetry

_STALE_SECONDS = 30.0

MOST_SCRAPES = 64
"""Scrapes under way. One more, and the oldest is broken off: a scraper that reads is done in milliseconds."""

SCRAPE_SECONDS = 10.0
"""Time to read a page in, which is Prometheus' own default."""


class TelemetryServer:
    """Serves while its `async with` block runs. Port 0 takes a free one; `.url` says which.

    `beat()` gives the time (by `clock`) at which the controller last proved to be alive: /healthz is 503 when that is
    more than 30 s ago. `waiting_for()` names what is not synced yet: /readyz is 503 while that is not empty.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        beat: Callable[[], float],
        waiting_for: Callable[[], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host, self._port = host, port
        self._beat, self._waiting_for, self._clock = beat, waiting_for, clock
        self._exposition = Exposition(telemetry.process, telemetry.rollouts)
        self._scrapes: dict[int, web.Request] = {}
        self._numbers = itertools.count()
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    @property
    def url(self) -> str:
        """Such as http://127.0.0.1:8081; only while serving."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except BaseException:  # __aexit__ is not called for what fails here
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exposition.close()
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if len(self._scrapes) >= MOST_SCRAPES:
            _break_off(self._scrapes.pop(min(self._scrapes)))
        number = next(self._numbers)
        self._scrapes[number] = request
        try:
            async with asyncio.timeout(SCRAPE_SECONDS):
                return await self._answer(request)
        except (TimeoutError, ConnectionError):  # it does not read, or has gone
            _break_off(request)
            return web.Response(status=503)  # which nobody gets
        finally:
            self._scrapes.pop(number, None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        wanted = Format.wanted(request.headers.get("Accept", ""), request.headers.get("Accept-Encoding", ""))
        page = await self._exposition.page(wanted)
        response = web.StreamResponse(headers={"Content-Type": wanted.content_type, "Vary": "Accept, Accept-Encoding"})
        if wanted.gzip:
            response.headers["Content-Encoding"] = "gzip"
        response.content_length = sum(map(len, page))
        await response.prepare(request)
        if request.method != "HEAD":
            for chunk in page:  # each waits until the one before is on its way: a page is kept once, not per scraper
                await response.write(chunk)
        await response.write_eof()
        return response

    async def _healthz(self, _: web.Request) -> web.Response:
        age = self._clock() - self._beat()
        if age > _STALE_SECONDS:
            return web.Response(status=503, text=f"the last sign of life was {age:.0f} s ago\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        missing = sorted(self._waiting_for())
        if missing:
            return web.Response(status=503, text=f"waiting for {', '.join(missing)}\n")
        return web.Response(text="ok\n")


def _break_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
