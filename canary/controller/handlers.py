"""What kopf tells us, passed on. The only file that knows kopf.

kopf follows the Rollouts, with an event handler and nothing else: it keeps no state on anybody's objects.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import kopf

from canary.controller.hub import Hub

ROLLOUTS = ("canary.dev", "v1alpha1", "rollouts")

Connection = Callable[[], Awaitable[dict[str, Any]]]


def build(hub: Hub, connection: Connection) -> kopf.OperatorRegistry:
    """Wire a hub to kopf."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await connection())

    @kopf.on.event(*ROLLOUTS, registry=registry)
    async def rollout(event: Any, **_: Any) -> None:
        hub.rollout(event["type"], event["object"])

    return registry


class NoDiffs(kopf.DiffBaseStorage):
    """kopf copies every object of every event to compare it with what was handled last; nobody here asks for that."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def settings() -> kopf.OperatorSettings:
    """Kopf as a source of events and nothing else."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.persistence.diffbase_storage = NoDiffs()
    chosen.queueing.idle_timeout = 0.5  # each object has a task for so long after its last event
    chosen.watching.server_timeout = 300
    chosen.watching.chunk_size = 500
    chosen.networking.request_timeout = 30
    return chosen


async def watch(
    hub: Hub,
    connection: Connection,
    namespaces: tuple[str, ...],
    *,
    stop: asyncio.Event,
    ready: asyncio.Event,
) -> None:
    """Follow the cluster until `stop` is set. `ready` is set when the watches are up."""
    # Not `kopf.operator`: in the end that waits for, and then cancels, every task of the loop that it did not start.
    tasks = await kopf.spawn_tasks(
        registry=build(hub, connection),
        settings=settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        ready_flag=ready,
    )
    signals = asyncio.create_task(_take_signals(ready, stop))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (signals, stopping, *tasks):
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _take_signals(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Once kopf is up, SIGTERM and SIGINT are ours: kopf's own handling of them is the slow one."""
    await ready.wait()
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # where the loop knows no signals, kopf's way has to do
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
