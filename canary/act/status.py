"""Writes the status of one Rollout: when it is worth it, one write at a time, over nothing but what it was decided upon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from canary.act.aging import Aging, counts
from canary.act.backoff import Backoffs
from canary.act.executor import PATIENCE
from canary.act.gate import Gate
from canary.act.reading import Confirmation
from canary.act.unkept import Unkept
from canary.decide.actions import EmitEvent
from canary.decide.reasons import STATUS_REFUSED
from canary.errors import CanaryError, Conflict, NotFound, StaleDecision
from canary.fair import Limit
from canary.kube import ROLLOUTS, Kube
from canary.kube.retry import REFUSED_WRITE, STATUS_WRITE
from canary.model.status import RolloutStatus
from canary.model.times import format_time
from canary.observe.objects import Key, earlier, version
from canary.observe.rollout import Rollout
from canary.observe.store import Store
from canary.routes.key import RouteKey
from canary.status.write import Urgency, merge_patch, urgency

log = logging.getLogger("canary.act.status")

Json = dict[str, Any]

_STATUS = "status"

TELLING = 3
"""Refusals in a row after which people are told: one may be of a moment, as when a token is renewed."""


class StatusWriter:
    """Keeps what is on record, so far as this controller has read or written it, and what it still owes to the record."""

    def __init__(
        self,
        key: Key,
        kube: Kube,
        store: Store,
        limit: Limit,
        now: Callable[[], datetime],
        on_moved: Callable[[], None],
        on_gone: Callable[[], None],
        on_recorded: Callable[[Json, Json], None] = lambda *_: None,
        *,
        on_refused: Callable[[Json, EmitEvent], None] = lambda *_: None,
    ) -> None:
        """`on_moved` is called when it is worth deciding again, `on_gone` when there is no such Rollout.

        `on_recorded` gets the status before a write and the Rollout as it was answered, `on_refused` the Rollout and what to
        tell people once, when its status may not be written.

        `limit` bounds the writes of all Rollouts together that move no traffic.
        """
        self._key = key
        self._kube = kube
        self._store = store
        self._limit = limit
        self._now = now
        self._on_moved = on_moved
        self._on_gone = on_gone
        self._on_recorded = on_recorded
        self._on_refused = on_refused
        self._backoff = Backoffs(STATUS_WRITE.backoff)
        self._refusals = Backoffs(REFUSED_WRITE)
        self._refused: Any = None
        """The news of the status that was refused last."""
        self._writing: asyncio.Task[bool] | None = None
        self._step: tuple[int, int] = (0, 0)
        self._writes_in_step = 0
        self._settling_since: datetime | None = None
        self._due: datetime | None = None
        self.recorded: Json = {}
        """The status on record that the one in mind rests on."""
        self.version = ""
        """Of the Rollout that said so."""
        self._replaced: Json | None = None
        """The status that writes of ours replace of which nobody has said yet whether they took effect."""
        self._stamps: set[str] = set()
        """How these are known on record."""
        self._confirmation: Confirmation | None = None
        self._unkept = Unkept()
        self._aging = Aging()

    @property
    def busy(self) -> bool:
        """Whether a write is under way."""
        return self._writing is not None

    @property
    def owes(self) -> bool:
        """Whether something of the status was not kept, and will be tried again."""
        return bool(self._unkept)

    @property
    def run(self) -> object:
        """The number of the run on record, as far as that was known when it was read or written last."""
        run = self.recorded.get("run")
        return run.get("number") if isinstance(run, dict) else 0

    def confirms(self, route: RouteKey, document: Json, rollout: Json) -> bool:
        """Whether our last write has just proved that nobody else decides for a run, as far as a route is concerned."""
        return self._confirmation is not None and self._confirmation.holds(route, document, rollout, self._now())

    def read(self, document: Json) -> bool:
        """Take note of what is on record; returns whether that is something else than what was known of it."""
        recorded = document.get("status") or {}
        another = version(document) != self.version and recorded != self.recorded
        self.recorded, self.version = recorded, version(document)
        self._found(document)
        return another

    def _found(self, document: Json) -> None:
        """What is on record may be of a write of ours whose answer was lost: then we have recorded it."""
        replaced, recorded = self._replaced, document.get("status") or {}
        if replaced is None or recorded == replaced:
            return
        ours = recorded.get("recordedAt") in self._stamps
        if not ours and self.busy:
            return  # the answer may still come
        self._replaced = None
        self._stamps.clear()
        if ours:
            self._on_recorded(replaced, document)

    def start_over(self, *, active: bool = False) -> None:
        """The status in mind is another one now: what was to settle is so no more. `active`: it is of a run that another controller has begun."""
        self._settling_since = self._due = None
        if active:
            self._aging.taken_over(self._now())

    def next_try(self, now: datetime) -> datetime | None:
        """When there is something to write, or to try again."""
        times = (
            self._due,
            self._backoff.next_try(now),
            self._refusals.next_try(now),
            self._unkept.next_try(now),
            self._aging.next_due(now),
        )
        return min((at for at in times if at is not None), default=None)

    def urgency(self, rollout: Rollout, status: RolloutStatus) -> Urgency:
        """How soon this status has to be written, after what was written for its step already."""
        now = self._now()
        step = (status.run.number if status.run else 0, status.step.index if status.step else 0)
        if step != self._step:
            self._step, self._writes_in_step = step, 0
        how = urgency(self._unkept.granted(rollout.status, status, now), status, self._writes_in_step)
        self._aging.goes_on(now, counts=counts(status))
        again = self._unkept.again(rollout.status, status, now) or self._aging.is_due(now)
        return Urgency.NOW if how is Urgency.NONE and again else how

    async def write(self, status: RolloutStatus, how: Urgency, gate: Gate, interrupt: asyncio.Event) -> bool:
        """Write the status if it is worth it now; the rest of the run does not depend on whether that works.

        Returns whether it was written by the time that this ends: with the write, with `interrupt`, or after PATIENCE.
        """
        now = self._now()
        if how is Urgency.NONE:
            self._settling_since = self._due = None
            return False
        self._settling_since = self._settling_since or now
        self._due = self._settling_since + how.patience
        if now < self._due:
            return False
        self._settling_since = self._due = None
        if self._writing is not None or self._backoff.resting(_STATUS, now):
            return False
        if self._refusals.resting(_STATUS, now) and _news(status) == self._refused:
            return False
        self._writing = asyncio.create_task(self._patch(status, self.recorded, now, gate))
        self._writing.add_done_callback(self._written)
        return await self._patience(self._writing, interrupt)

    async def stop(self) -> None:
        """Let go of what is under way."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    @staticmethod
    async def _patience(writing: asyncio.Task[bool], interrupt: asyncio.Event) -> bool:
        """Wait for a status write, unless a sample comes in: nothing that a run does stands behind words about it."""
        sample = asyncio.ensure_future(interrupt.wait())
        try:
            await asyncio.wait({writing, sample}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sample.cancel()
        return writing.done() and writing.result()

    def _written(self, _: asyncio.Task[bool]) -> None:
        self._writing = None
        self._on_moved()

    async def _patch(self, status: RolloutStatus, recorded: Json, now: datetime, gate: Gate) -> bool:
        """Write a status over `recorded`, which it was decided upon; not over what came in while this stood in line."""
        namespace, name = self._key
        try:
            async with self._limit.held(namespace):
                kept = self._store.rollouts.get(self._key)
                if kept is None:
                    return False
                before = kept.document.get("status") or {}
                if before != recorded:
                    self._on_moved()  # somebody else has recorded something meanwhile: decide again
                    return False
                meant = status.dump()
                patch = merge_patch(before, meant)
                if not patch.keys() - {"recordedAt"} and not self._aging.is_due(now):
                    return False
                patch["recordedAt"] = format_time(now)
                # Only what is as we have read it is written over: a controller that comes too late changes nothing.
                body = {"metadata": {"resourceVersion": kept.version}, "status": patch}
                routes = (RouteKey.of(route, namespace) for route in status.routes)
                versions = {key: self._store.routes[key].version for key in routes if key in self._store.routes}
                gate(False)
                self._confirmation, sent = None, self._now()
                self._replaced = before if self._replaced is None else self._replaced
                self._stamps.add(patch["recordedAt"])
                fresh = await self._kube.merge_patch(ROLLOUTS, name, namespace, body, subresource="status")
        except NotFound as error:
            await self._read_again()
            there = self._store.rollouts.get(self._key)
            if kept is not None and there is not None and there.version == kept.version:
                self._failed(status, now, error)  # whoever said so, it is there
            return False
        except StaleDecision:
            self._on_moved()
            return False
        except Conflict:
            return await self._read_again()
        except CanaryError as error:
            self._failed(status, now, error)
            return False
        self._backoff.succeeded(_STATUS)
        self._refusals.succeeded(_STATUS)
        self._writes_in_step += not self._aging.written(self._now())
        self._store.stamps[self._key] = patch["recordedAt"]
        self._confirmation = Confirmation(sent, version(fresh), versions)
        replaced, self._replaced = self._replaced, None
        self._stamps.clear()
        self.read(fresh)
        self._store.put_rollout(fresh, answer=True)
        if replaced is not None:  # else the watch has told of it before the answer came
            self._on_recorded(replaced, fresh)
        words = self._unkept.compare(meant, fresh.get("status") or {}, now, active=status.active)
        if words:
            log.warning("status of %s/%s: %s", namespace, name, words)
            self._on_refused(fresh, EmitEvent("Warning", STATUS_REFUSED, words[:1024]))
        return True

    def _failed(self, status: RolloutStatus, now: datetime, error: CanaryError) -> None:
        namespace, name = self._key
        if error.retryable:
            count = self._backoff.failed(_STATUS, now, error)
        else:
            count, self._refused = self._refusals.failed(_STATUS, now, error), _news(status)
        if count in {1, 10, 100}:
            log.warning("status of %s/%s could not be written (%d times): %s", namespace, name, count, error)
        kept = self._store.rollouts.get(self._key)
        if count == TELLING and not error.retryable and kept is not None:
            words = f"its status may not be written, so what happens is not on record; tried again, at last once a minute: {error}"
            self._on_refused(kept.document, EmitEvent("Warning", STATUS_REFUSED, words[:1024]))

    async def _read_again(self) -> bool:
        """Somebody wrote the Rollout in between: the next tick decides by what is there now."""
        kept = self._store.rollouts.get(self._key)
        try:
            fresh = await self._kube.get(ROLLOUTS, self._key[1], self._key[0])
            if kept is not None and earlier(fresh, kept.uid, kept.version):
                self._store.on_set_back()
            if not self._store.put_rollout(fresh, answer=True):
                raise Conflict("the Rollout is another one than the watch has told of")
        except NotFound:
            self._on_gone()
        except CanaryError as error:
            self._backoff.failed(_STATUS, self._now(), error)
        self._on_moved()
        return False


def _news(status: RolloutStatus) -> Any:
    """What of a status is worth a try at once, also after others were refused: a policy may object to one phase and not to another."""
    run, step, asked = status.run, status.step, status.last_request
    return (
        status.phase,
        (run.number, run.outcome) if run is not None else None,
        step.index if step is not None else 0,
        asked.which if asked is not None else None,
    )
