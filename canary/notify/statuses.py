"""Says in a target's status whether its last message arrived: when that changes, and no more often than PACE allows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from canary.errors import CanaryError, NotFound
from canary.fair import FairLimit
from canary.kube import CLUSTERNOTIFICATIONTARGETS, NOTIFICATIONTARGETS, Kube
from canary.model.notifications import DeliveryOutcome, LastTest
from canary.model.status import Condition
from canary.notify.notice import clean
from canary.notify.outcome import Delivered, Outcome
from canary.notify.targets import DELIVERED, Target, TargetKey, Targets

log = logging.getLogger("canary.notify")

Json = dict[str, Any]

AT_ONCE = 8
"""Written at a time: few, since writes of routes share the connections, and admission of a namespace may be slow (`canary.fair`)."""

PACE = 5.0
"""Seconds between two writes of one target's status."""


class TargetStatuses:
    """Writes in the background; what cannot be written is said again with the next outcome."""

    def __init__(
        self,
        kube: Kube,
        targets: Targets,
        now: Callable[[], datetime],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kube, self._targets, self._now, self._sleep = kube, targets, now, sleep
        self._limit = FairLimit(AT_ONCE)
        self._pending: dict[TargetKey, Json] = {}
        self._writing: dict[TargetKey, asyncio.Task[None]] = {}

    def said(self, target: Target, outcome: Outcome) -> None:
        """A message arrived, or did not."""
        self._say(target, "True" if isinstance(outcome, Delivered) else "False", outcome.reason, outcome.message)

    def counts_again(self, target: Target) -> None:
        """A target that was told nothing, since there were too many, is told what happens from now on."""
        self._say(target, "Unknown", "NothingSent", "it counts again; nothing was sent to it since")

    def _say(self, target: Target, value: str, reason: str, message: str) -> None:
        known = self._targets.get(target.key)
        before = known.delivered if known is not None else None
        if known is None or (before is not None and (before.status, before.reason) == (value, reason)):
            return
        moved = before is None or before.status != value
        condition = Condition(
            type=DELIVERED,
            status=value,
            observed_generation=target.generation,
            last_transition_time=self._now().replace(microsecond=0)
            if moved or before is None
            else before.last_transition_time,
            reason=reason,
            message=clean(message),
        )
        self._targets.seen(target.key, condition)
        document = condition.model_dump(mode="json", by_alias=True)
        self._write(target.key, {"observedGeneration": target.generation, "conditions": [document]})

    def tested(self, target: Target, id_: str, outcome: Outcome) -> None:
        """A test is over."""
        found = LastTest(
            id=id_,
            at=self._now(),
            outcome=DeliveryOutcome.DELIVERED if isinstance(outcome, Delivered) else DeliveryOutcome.FAILED,
            message=clean(outcome.message),
        )
        self._write(target.key, {"lastTest": found.model_dump(mode="json", by_alias=True)})

    @property
    def busy(self) -> bool:
        """Whether something is written, or is to be."""
        return bool(self._writing)

    async def close(self) -> None:
        """Let go of what is not written yet."""
        tasks = [*self._writing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _write(self, key: TargetKey, fields: Json) -> None:
        self._pending[key] = {**self._pending.get(key, {}), **fields}
        if key not in self._writing:
            self._writing[key] = asyncio.create_task(self._write_all(key), name=f"status of {'/'.join(key)}")

    async def _write_all(self, key: TargetKey) -> None:
        kind, namespace, name = key
        resource = NOTIFICATIONTARGETS if namespace else CLUSTERNOTIFICATIONTARGETS
        try:
            while key in self._pending:
                try:
                    async with self._limit.held((namespace, name)):
                        fields = self._pending.pop(key)
                        await self._kube.merge_patch(
                            resource, name, namespace or None, {"status": fields}, subresource="status"
                        )
                except NotFound:
                    return
                except CanaryError as error:
                    log.warning("status of %s %s could not be written: %s", kind, name, error)
                    self._targets.seen(key, None)
                await self._sleep(PACE)
        finally:
            self._pending.pop(key, None)
            del self._writing[key]
