"""Statuses of targets: written by turns, few at a time, on connections that writes of routes need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from notify_kit import START, target_of

from canary.kube import HTTPROUTES, KubeClient
from canary.notify.outcome import Delivered, Undelivered
from canary.notify.statuses import AT_ONCE, TargetStatuses
from canary.notify.targets import Target, Targets

Json = dict[str, Any]

OTHERS = 150
"""More than there are connections."""


@dataclass
class Slow:
    """An API server at which admission holds up what is written in the namespace `noisy`."""

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
        return web.json_response({"metadata": {"name": "x", "resourceVersion": "2"}})


@asynccontextmanager
async def slow_server() -> AsyncIterator[tuple[Slow, KubeClient]]:
    slow, app = Slow(), web.Application()
    app.router.add_route("PATCH", "/{path:.*}", slow.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    try:
        async with await KubeClient.connect(server=f"http://127.0.0.1:{runner.addresses[0][1]}", token="x") as kube:
            yield slow, kube
    finally:
        slow.go_on.set()
        await runner.cleanup()


async def until(done: Any) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.005)


def statuses_of(kube: KubeClient, *targets: Target) -> TargetStatuses:
    known = Targets()
    for target in targets:
        known.put(target)
    return TargetStatuses(kube, known, lambda: START, sleep=lambda _: asyncio.sleep(0))


async def test_a_slow_webhook_of_one_team_holds_up_nobody_else() -> None:
    """Neither a write of a route nor the status of another team's target, however many targets of that team have something to say."""
    noisy = [target_of(f"t{number}", namespace="noisy") for number in range(OTHERS)]
    quiet = target_of(namespace="quiet")
    async with slow_server() as (slow, kube):
        statuses = statuses_of(kube, quiet, *noisy)
        for target in noisy:
            statuses.said(target, Undelivered("Refused", "no"))
        await until(lambda: slow.waiting)
        for _ in range(20):
            await asyncio.sleep(0.001)
        await kube.json_patch(HTTPROUTES, "shop", "quiet", [])
        statuses.said(quiet, Delivered("yes"))
        await until(lambda: len(slow.written) == 2)
        assert slow.waiting
        assert slow.most <= AT_ONCE // 2
        slow.go_on.set()
        await until(lambda: len(slow.written) == 2 + OTHERS)
        await statuses.close()


async def test_what_comes_to_be_known_while_it_waits_for_its_turn_is_written_once() -> None:
    """As it is then, and not as it was when the write was asked for."""
    noisy = [target_of(f"t{number}", namespace="noisy") for number in range(AT_ONCE + 1)]
    async with slow_server() as (slow, kube):
        statuses = statuses_of(kube, *noisy)
        for target in noisy:
            statuses.said(target, Undelivered("Refused", "no"))
        await until(lambda: slow.waiting)
        statuses.said(noisy[-1], Delivered("yes"))
        slow.go_on.set()
        await until(lambda: len(slow.written) == len(noisy))
        said = [body["status"]["conditions"][0]["reason"] for path, body in slow.written if f"/{noisy[-1].name}/" in path]
        assert said == ["Delivered"]
        await statuses.close()


async def test_what_could_not_be_written_is_said_again_with_the_next_outcome() -> None:
    """Also if that is the same as before."""
    target = target_of()
    async with slow_server() as (slow, kube):
        statuses = statuses_of(kube, target)
        slow.refuse = 1
        statuses.said(target, Delivered("yes"))
        await until(lambda: not slow.refuse and not statuses.busy)
        assert slow.written == []
        for _ in range(2):
            statuses.said(target, Delivered("yes"))
        await until(lambda: not statuses.busy)
        assert len(slow.written) == 1
        await statuses.close()
