"""Tells people, through Events. In the background, bounded, and never in the way of a write that matters."""

from __future__ import annotations

import asyncio
import logging
import platform
import uuid
from collections import Counter, deque
from datetime import datetime, timedelta
from typing import Any, Self

from canary.decide.actions import EmitEvent
from canary.errors import AlreadyExists, CanaryError
from canary.fair import FairLimit, Tenant
from canary.kube import EVENTS, Kube
from canary.kube.events import build_event, suffix_of
from canary.kube.retry import EVENT_WRITE

log = logging.getLogger("canary.events")

Json = dict[str, Any]

AT_ONCE = 4
"""Events on their way at a time; few, since writes of routes share the API server with them."""

MAX_WAITING = 5000
"""A thousand runs that start at once and fail at once fit in."""

MAX_OF_ONE = 100
"""Of one object: more than a run has to say, and less than one that has gone mad says in a second."""

TICK = timedelta(microseconds=1)


class EventRecorder:
    """Posts Events: those of one object in order, those of several at once, by turns (`canary.fair`).

    One that says what the last one waiting says is counted there instead. When more than 100 of an object wait, or more than
    5,000 in all, one is dropped: the oldest of the object with the most, in the namespace with the most. The log says how many.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._instance = f"canary-{platform.node()}"
        self._waiting: dict[Tenant, deque[Json]] = {}
        self._of_namespace: Counter[str] = Counter()
        self._dropped: Counter[Tenant] = Counter()
        self._limit = FairLimit(AT_ONCE)
        self._idle = asyncio.Event()
        self._idle.set()
        self._posting: dict[Tenant, asyncio.Task[None]] = {}
        self._last: datetime | None = None
        self._stopped = False

    def event(self, rollout: Json, action: EmitEvent, now: datetime) -> None:
        """Queue an Event on a Rollout."""
        if self._stopped:
            return
        at = self._distinct(now)
        event = build_event(
            {"apiVersion": "canary.dev/v1alpha1", "kind": "Rollout", "metadata": rollout.get("metadata", {})},
            type_=action.type,
            reason=action.reason,
            message=action.message,
            now=at,
            instance=self._instance,
            name_suffix=suffix_of(at, uuid.uuid4().hex[:6]),
        )
        about = event["metadata"]["namespace"], event["involvedObject"]["name"]
        waiting = self._waiting.setdefault(about, deque())
        if waiting and _same(waiting[-1], event):
            waiting[-1] |= {"count": waiting[-1]["count"] + 1, "lastTimestamp": event["lastTimestamp"]}
            return
        waiting.append(event)
        self._of_namespace[about[0]] += 1
        if about not in self._posting:
            self._idle.clear()
            self._posting[about] = asyncio.create_task(self._post_all(about), name=f"events {about[0]}/{about[1]}")
        if len(waiting) > MAX_OF_ONE:
            self._drop(about)
        elif self._of_namespace.total() > MAX_WAITING:
            loudest = max(self._of_namespace, key=lambda namespace: self._of_namespace[namespace])
            self._drop(
                max((one for one in self._waiting if one[0] == loudest), key=lambda one: len(self._waiting[one]))
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # What was told last is what people look for after a stop.
        try:
            async with asyncio.timeout(2):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d Events were not posted before the stop", self._of_namespace.total())
        self.cancel()
        await asyncio.gather(*self._posting.values(), return_exceptions=True)

    def cancel(self) -> None:
        """Let go of everything that waits, and take no more."""
        self._stopped = True
        for task in self._posting.values():
            task.cancel()

    def _distinct(self, now: datetime) -> datetime:
        """The time of an Event: what is said in one moment (a tick has one) is a microsecond apart, in the order of saying.

        A clock that was set back is followed.
        """
        if self._last is not None and timedelta(0) <= self._last - now < timedelta(seconds=1):
            now = self._last + TICK
        self._last = now
        return now

    def _drop(self, about: Tenant) -> None:
        self._take(about)
        if about not in self._dropped:
            log.warning("more Events of %s/%s wait than can be posted; the oldest are dropped", *about)
        self._dropped[about] += 1

    def _take(self, about: Tenant) -> Json:
        """The oldest that waits."""
        self._of_namespace[about[0]] -= 1
        if not self._of_namespace[about[0]]:
            del self._of_namespace[about[0]]
        return self._waiting[about].popleft()

    async def _post_all(self, about: Tenant) -> None:
        """One after the other, and a turn for each: others have something to say, too."""
        try:
            while self._waiting[about]:
                async with self._limit.held(about):
                    if self._waiting[about]:  # not dropped meanwhile
                        await self._post(self._take(about))
        finally:
            for _ in range(len(self._waiting[about])):
                self._take(about)
            del self._waiting[about], self._posting[about]
            dropped = self._dropped.pop(about, 0)
            if dropped:
                log.warning("%d Events of %s/%s were dropped", dropped, *about)
            if not self._posting:
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
