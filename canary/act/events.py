"""Tells people, through Events. In the background, bounded, and never in the way of a write that matters."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import datetime
from typing import Any, Self

from canary.decide.actions import Tell
from canary.errors import AlreadyExists, CanaryError
from canary.kube import EVENTS, Kube
from canary.kube.events import build_event
from canary.kube.retry import EVENT_WRITE

log = logging.getLogger("canary.events")

MAX_WAITING = 1000


class Teller:
    """Posts Events one after the other. When more than 1,000 wait, new ones are dropped (and logged)."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None

    def tell(self, rollout: dict[str, Any], tell: Tell, now: datetime) -> None:
        """Queue an Event on a Rollout."""
        event = build_event(
            {"apiVersion": "canary.dev/v1alpha1", "kind": "Rollout", "metadata": rollout.get("metadata", {})},
            type_=tell.type,
            reason=tell.reason,
            message=tell.message,
            now=now,
            name_suffix=uuid.uuid4().hex[:16],
        )
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("too many Events wait; dropped: %s", tell.message)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="events")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            # What was told last is what people look for after a stop.
            try:
                async with asyncio.timeout(2):
                    await self._queue.join()
            except TimeoutError:
                log.warning("%d Events were not posted before the stop", self._queue.qsize())
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await EVENT_WRITE.call(lambda event=event: self._kube.create(EVENTS, event))  # type: ignore[misc]
            except AlreadyExists:
                pass  # an earlier try took effect after all
            except CanaryError as error:
                log.warning("an Event could not be posted (%s): %s", error, event["message"])
            finally:
                self._queue.task_done()
