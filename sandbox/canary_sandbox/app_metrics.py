"""What replicas counted, for Prometheus: one page for all of them, labelled as a scrape of each Service would."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiohttp import web

from canary_sandbox.app_page import HEAD, counted
from canary_sandbox.composite import Composite
from canary_sandbox.replicas import Replica


class AppMetrics(Composite):
    """Serves `app_requests_total{namespace,service,pod,version,mirrored,outcome}` at `url`.

    `selected` gives every replica with every Service that selects it; a pod of two Services is in the page under both.
    `outcome` is `ok` or `failed`.
    """

    def __init__(self, selected: Callable[[], Iterable[tuple[dict[str, Any], Replica]]]) -> None:
        self._selected = selected
        self.url = ""

    async def _enter(self, stack: AsyncExitStack) -> None:
        app = web.Application()
        app.add_routes([web.get("/metrics", self._answer)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"

    async def _answer(self, _: web.Request) -> web.Response:
        lines = [line async for line in self._lines()]
        return web.Response(text=HEAD + "".join(sorted(lines)), content_type="text/plain")

    async def _lines(self) -> AsyncGenerator[str]:
        for service, replica in tuple(self._selected()):
            try:
                finished = await replica.server.finished()
            except (aiohttp.ClientError, TimeoutError):  # it died
                continue
            meta = service["metadata"]
            for one in counted(
                finished,
                namespace=meta["namespace"],
                service=meta["name"],
                pod=replica.name,
                version=replica.behaviour.version,
            ):
                yield one
