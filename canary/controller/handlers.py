"""What kopf tells us, passed on. The only file that knows kopf.

kopf follows the Rollouts, with an event handler and nothing else: it keeps no state on anybody's objects.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from canary.controller.absent import absent
from canary.controller.manager import Manager
from canary.controller.tasks import until_stopped
from canary.kube import ROLLOUTS
from canary.kube.courier import Courier

# kopf would import their models, and all else with them, to recognise objects of theirs. Nobody here gives it any.
with absent("kubernetes", "kubernetes_asyncio", "pykube"):
    import kopf
    from kopf._cogs.clients import watching as kopf_watching
    from kopf._cogs.structs.references import Insights, NamespaceName

FOREVER = 10.0**9

log = logging.getLogger("canary.watching")

Json = dict[str, Any]

PAUSE = 1.0
"""Seconds before kopf is started again after it has given up."""

AT_A_TIME = 25
"""Rollouts of a list after which everybody else has a turn; a millisecond."""


def build(manager: Manager, courier: Courier) -> kopf.OperatorRegistry:
    """Wire a manager to kopf, and kopf to our connections."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=courier.place, aiohttp_session=courier.session())

    @kopf.on.event(ROLLOUTS.group, ROLLOUTS.version, ROLLOUTS.plural, registry=registry)
    async def rollout(event: Any, **_: Any) -> None:
        manager.rollout(event["type"], event["object"])

    return registry


async def listed(manager: Manager, rollouts: list[Json]) -> None:
    """Take in a page of a list, which is none of kopf's business: it has a task, a queue and a memory for each object.

    For ten thousand at rest that is ten times the work of knowing them. A bug of ours about one is none of the others' business.
    """
    for number, item in enumerate(rollouts, start=1):
        try:
            manager.rollout(None, {"apiVersion": ROLLOUTS.api_version, "kind": ROLLOUTS.kind, **item})
        except Exception:
            log.exception("a listed Rollout cannot be taken in: %s", (item.get("metadata") or {}).get("uid"))
        if number % AT_A_TIME == 0:
            await asyncio.sleep(0)


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
    chosen.watching.chunk_size = 500
    # How long requests and watches take, and what is tried again, is the courier's business.
    chosen.watching.inactivity_timeout = FOREVER
    chosen.networking.request_timeout = None
    chosen.networking.error_backoffs = ()
    return chosen


async def watch(
    manager: Manager,
    courier: Callable[[], Courier],
    namespaces: tuple[str, ...],
    *,
    stop: asyncio.Event,
    ready: asyncio.Event,
) -> None:
    """Follow the cluster until `stop` is set. `ready` is set when the watches are up; `courier` makes one for each life of kopf.

    kopf gives up for good at what it does not expect in a stream. Once everything was up, that costs a list and no more.

    Raises:
        ApiError: the Rollouts cannot be listed, and no retry can help.

    """
    asyncio.get_running_loop().set_exception_handler(left_open)
    signals = asyncio.create_task(_take_signals(ready, stop))
    try:
        while not stop.is_set():
            try:
                await _operate(manager, courier(), namespaces, stop=stop, ready=ready)
            except Exception as error:
                if not ready.is_set():
                    raise
                # Where it happened is kopf's business, unless somebody is looking for it.
                trace = error if log.isEnabledFor(logging.DEBUG) else None
                log.warning(
                    "the watch of the Rollouts broke off (%s); they are listed again", _words(error), exc_info=trace
                )
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE):
                        await stop.wait()
    finally:
        signals.cancel()


def left_open(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For the loop: a stream of kopf's that it leaves open in the middle of an event cannot be closed, and is of no interest then."""
    if getattr(context.get("asyncgen"), "__qualname__", "") == kopf_watching.infinite_watch.__qualname__:
        log.debug("%s", context.get("message"), exc_info=context.get("exception"))
        return
    loop.default_exception_handler(context)


def _words(error: Exception) -> str:
    """What the API server said, where kopf gives its whole Status; else what kopf says."""
    found = re.search(r"'message': '([^']+)'", str(error))
    return found[1] if found else f"{type(error).__name__}: {error}"


async def _operate(
    manager: Manager, courier: Courier, namespaces: tuple[str, ...], *, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """One life of kopf, until `stop` is set or it gives up."""
    # Not `kopf.operator`: in the end that waits for, and then cancels, every task of the loop that it did not start.
    tasks = await kopf.spawn_tasks(
        registry=build(manager, courier),
        settings=settings(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        # What it finds at a start it would leave out where a namespace is being deleted, in which a run may have its finalizer.
        insights=Insights(namespaces=set[NamespaceName | None](map(NamespaceName, namespaces))),
        ready_flag=ready,
    )
    try:
        await until_stopped(stop, tasks)
    finally:
        await courier.close()


async def _take_signals(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Once kopf is up, SIGTERM and SIGINT are ours: kopf's own handling of them is the slow one."""
    await ready.wait()
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # where the loop knows no signals, kopf's way has to do
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
