"""An API server at which admission of one namespace takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from canary.kube import KubeClient, resources

Json = dict[str, Any]

KINDS = {one.plural: one.kind for one in vars(resources).values() if isinstance(one, resources.Resource)}
CONNECTIONS = 150
"""More than a client has."""


@dataclass
class Slow:
    """What is written in the namespace `noisy` waits for `go_on`; the next `refuse` writes are refused."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    most: int = 0
    refuse: int = 0
    written: list[tuple[str, Json]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.refuse:
            self.refuse -= 1
            raise web.HTTPForbidden
        if "/namespaces/noisy/" in request.path:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await self.go_on.wait()
            self.waiting -= 1
        self.written.append((request.path, body))
        *_, namespaces, namespace, plural, name = request.path.removesuffix("/status").split("/")
        assert namespaces == "namespaces"
        metadata = {"name": name, "namespace": namespace, "resourceVersion": "2"}
        return web.json_response({"kind": KINDS[plural], "metadata": metadata})


async def _who(_: web.Request) -> web.Response:
    """Who asks who they are: which no admission of a namespace holds up."""
    return web.json_response(
        {"status": {"userInfo": {"username": "system:serviceaccount:canary-system:canary-controller"}}}
    )


@asynccontextmanager
async def slow_server() -> AsyncIterator[tuple[Slow, KubeClient]]:
    """The server, and a client of it."""
    slow, app = Slow(), web.Application()
    app.router.add_route("PATCH", "/{path:.*}", slow.answer)
    app.router.add_route("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", _who)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with await KubeClient.connect(server=f"http://127.0.0.1:{runner.addresses[0][1]}", token="x") as kube:
            yield slow, kube
    finally:
        slow.go_on.set()
        await runner.cleanup()


async def until(done: Callable[[], bool]) -> None:
    """Wait until something holds that tells nobody."""
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.005)
