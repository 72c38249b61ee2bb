"""/metrics, /healthz and /readyz over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Self

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from canary.telemetry.metrics import Telemetry

_STALE_SECONDS = 30.0


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
        self._telemetry = telemetry
        self._host, self._port = host, port
        self._beat, self._waiting_for, self._clock = beat, waiting_for, clock
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
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # In a thread: with thousands of active Rollouts this takes long enough to delay a rollback.
        body = await asyncio.to_thread(encode, self._telemetry.registry)
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
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
