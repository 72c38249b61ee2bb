"""Tells people, through Events. In the background, bounded, and never in the way of a write that matters."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from datetime import datetime
from typing import Any, Self

from canary.decide.actions import Tell
from canary.errors import AlreadyExists, CanaryError
from canary.kube import EVENTS, Kube
from canary.kube.events import build_event
from canary.kube.retry import EVENT_WRITE

log = logging.getLogger("canary.events")

Json = dict[str, Any]

AT_ONCE = 4
"""Events on their way at a time; few, since writes of routes share the API server with them."""

MAX_WAITING = 5000
"""A thousand runs that start at once and fail at once fit in."""


class Teller:
    """Posts Events: those of one object in order, those of several at once.

    One that says what the last one waiting says is counted there instead. When more than 5,000 wait, new ones are
    dropped (and logged).
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._waiting: dict[str, deque[Json]] = {}
        self._turns: asyncio.Queue[str] = asyncio.Queue()
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []

    def tell(self, rollout: Json, tell: Tell, now: datetime) -> None:
        """Queue an Event on a Rollout."""
        event = build_event(
            {"apiVersion": "canary.dev/v1alpha1", "kind": "Rollout", "metadata": rollout.get("metadata", {})},
            type_=tell.type,
            reason=tell.reason,
            message=tell.message,
            now=now,
            name_suffix=uuid.uuid4().hex[:16],
        )
        about = event["involvedObject"].get("uid", event["metadata"]["name"])
        waiting = self._waiting.get(about)
        if waiting and _same(waiting[-1], event):
            waiting[-1] |= {"count": waiting[-1]["count"] + 1, "lastTimestamp": event["lastTimestamp"]}
            return
        if self._count >= MAX_WAITING:
            log.warning("too many Events wait; dropped: %s", tell.message)
            return
        self._count += 1
        self._idle.clear()
        if waiting is None:
            self._waiting[about] = deque([event])
            self._turns.put_nowait(about)
        else:
            waiting.append(event)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(), name="events") for _ in range(AT_ONCE)]
        return self

    async def __aexit__(self, *_: object) -> None:
        # What was told last is what people look for after a stop.
        try:
            async with asyncio.timeout(2):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d Events were not posted before the stop", self._count)
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel(self) -> None:
        """Let go of everything that waits."""
        for task in self._tasks:
            task.cancel()

    async def _run(self) -> None:
        """Take turns: an object with more to say goes to the end of the queue, and is in it once."""
        while True:
            about = await self._turns.get()
            waiting = self._waiting[about]
            event = waiting.popleft()
            await self._post(event)
            if waiting:
                self._turns.put_nowait(about)
            else:
                del self._waiting[about]
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def _post(self, event: Json) -> None:
        try:
            await EVENT_WRITE.call(lambda: self._kube.create(EVENTS, event))
        except AlreadyExists:
            pass  # an earlier try took effect after all
        except CanaryError as error:
            log.warning("an Event could not be posted (%s): %s", error, event["message"])


def _same(one: Json, other: Json) -> bool:
    return all(one[name] == other[name] for name in ("type", "reason", "message"))
