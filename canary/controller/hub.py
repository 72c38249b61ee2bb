"""The hub: takes what the watches say, keeps the store, and gives every Rollout with something to do a driver.

A Rollout at rest is looked at in passing, when something it refers to changes: no task, no timer, no request. Looks are
taken one at a time, in the order of `looks.py`, and between two of them everybody else gets a turn: ten thousand that wait
to be looked at (after a start, or when a template changes that all use) hold up no rollback.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Self

from canary.controller.driver import Deps, Driver, look
from canary.controller.looks import DRIVE, FEW, Call, Looks, Turn
from canary.controller.vetting import Vetting
from canary.observe.facts import News
from canary.observe.objects import key_of, uid_of
from canary.observe.rollout import Rollout
from canary.observe.store import Key
from canary.status.write import Urgency, urgency

log = logging.getLogger("canary.hub")

Json = dict[str, Any]


class Hub:
    """All Rollouts of one controller. An async context: leaving it ends every driver, wherever it is.

    One that is made `held` only takes in what it is told, until `begin`: nothing is judged by half of the world.
    """

    def __init__(self, deps: Deps, *, held: bool = False) -> None:
        self.deps = deps
        self._held = held
        self._looks = Looks()
        self._looking: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._drivers: dict[Key, tuple[Driver, asyncio.Task[None]]] = {}
        self._vetting = Vetting(deps, self._vetted)
        self._restarts: set[asyncio.Task[None]] = set()
        self.last_sign = time.monotonic()
        deps.store.rivals.on_moved = self._moved

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._held = True  # what is still to come wakes nobody
        if self._later is not None:
            self._later.cancel()
        tasks = [*(task for _, task in self._drivers.values()), *self._restarts]
        if self._looking is not None:
            tasks.append(self._looking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._vetting.stop()

    @property
    def driving(self) -> frozenset[Key]:
        """The Rollouts that have a driver now."""
        return frozenset(self._drivers)

    @property
    def busy_namespaces(self) -> frozenset[str]:
        """Where a run is under way, or somebody waits for an answer or a deletion."""
        return frozenset(key[0] for key in self._drivers if self.deps.store.pressing(key))

    def rollout(self, kind: str | None, document: Json) -> None:
        """A Rollout appeared, changed or vanished (`kind` DELETED)."""
        key = key_of(document)
        if kind != "DELETED":
            # What our own write has answered already is no news, but may have left something to be settled.
            self.wake({key} if self.deps.store.put_rollout(document) else set(), own=True)
            return
        self.deps.store.drop_rollout(key, uid_of(document))
        if key in self.deps.store.rollouts:
            return  # another Rollout has this name already, and its news overtook that of the old one's end
        self._vetting.forget(key)
        self.deps.telemetry.forget(*key)
        self.wake({key}, own=True)

    def route(self, kind: str | None, document: Json) -> None:
        """An HTTPRoute appeared, changed or vanished."""
        store, key = self.deps.store, key_of(document)
        self.wake(store.drop_route(key, uid_of(document)) if kind == "DELETED" else store.put_route(document))

    def workload(self, kind: str | None, document: Json) -> None:
        """A Deployment appeared, changed or vanished."""
        store, key = self.deps.store, key_of(document)
        self.wake(store.drop_workload(key, uid_of(document)) if kind == "DELETED" else store.put_workload(document))

    def template(self, resource: str, kind: str | None, document: Json) -> None:
        """A check template appeared, changed or vanished; `resource` is its kind."""
        store, key = self.deps.store, key_of(document)
        deleted = kind == "DELETED"
        if deleted:
            self.wake(store.drop_template(resource, key, uid_of(document)))
        else:
            self.wake(store.put_template(resource, document))

    async def begin(self) -> None:
        """Everything that Rollouts refer to is known: look at all of them. Returns when that is done."""
        self._held = False
        self.wake(set(self.deps.store.rollouts), own=True)
        if self._looking is not None:
            await asyncio.wait({self._looking})

    def wake(self, keys: set[Key], *, own: bool = False) -> None:
        """These Rollouts have to be looked at: something that they refer to has changed, or `own`, they have themselves."""
        if self._held:
            return
        paced = len(keys) > FEW and not own
        for key in keys:
            running = self._drivers.get(key)
            if running is not None:
                self.last_sign = time.monotonic()
                running[0].wake()
            else:
                pressing = self.deps.store.pressing(key)
                self._looks.call(key, Call.PACED if paced else Call.PRESSING if pressing else Call.ALONE)
        self._go_on_looking()

    def _moved(self, owners: set[Key], others: set[Key]) -> None:
        """Rules have another owner: who has waited for one has it now, the others have to say who has it."""
        self.wake(owners, own=True)
        self.wake(others)

    def _go_on_looking(self) -> None:
        for namespace in self.deps.store.rivals.unsettled():
            self._looks.settle(namespace)
        if self._looking is not None:
            return
        if self._later is not None:
            self._later.cancel()
        pause, self._later = self._looks.pause(time.monotonic()), None
        if pause is not None:
            self._looking = asyncio.create_task(self._look(), name="look at Rollouts")

    async def _look(self) -> None:
        try:
            while (turn := self._looks.next(time.monotonic())) is not None:
                began, driven = time.thread_time(), len(self._drivers)
                self._take(turn)
                spent = time.thread_time() - began
                self._looks.took(turn, spent + DRIVE if len(self._drivers) > driven else spent, time.monotonic())
                await asyncio.sleep(0)
        finally:
            self._looking = None
        pause = self._looks.pause(time.monotonic())
        if pause is not None:
            self._later = asyncio.get_running_loop().call_later(pause, self._go_on_looking)

    def _take(self, turn: Turn) -> None:
        try:
            if turn.key is not None:
                self._consider(turn.key)
            elif self.deps.store.rivals.settle_one(turn.namespace):
                self._looks.settle(turn.namespace)
        except Exception:  # a bug of ours in one of them is none of the others' business
            log.exception("looking at %s/%s failed", turn.namespace, turn.key[1] if turn.key else "")

    def _consider(self, key: Key) -> None:
        if self._held:
            return  # it ends: nobody would wait for a driver that began now
        self.last_sign = time.monotonic()
        rollout = self.deps.store.rollout(key)
        running = self._drivers.get(key)
        if rollout is None:
            if running is not None:
                running[0].wake()
            return
        vetted = self._vetting.check(key, rollout)
        if running is not None:
            running[0].wake()
        elif rollout.spec is None or rollout.status.active or (vetted and self._has_something_to_do(key, rollout)):
            self._drive(key)

    def _has_something_to_do(self, key: Key, rollout: Rollout) -> bool:
        if rollout.spec is None:
            return True
        news = News(refusals=self._vetting.refusals(key))
        seen = look(self.deps, key, rollout, rollout.spec, rollout.status, news)
        return bool(seen.decision.actions) or urgency(rollout.status, seen.status, 0) is not Urgency.NONE

    def _drive(self, key: Key) -> None:
        driver = Driver(key, self.deps, lambda: self._gone(key))
        driver.refuse(self._vetting.refusals(key))
        task = asyncio.create_task(driver.run(), name=f"drive {key[0]}/{key[1]}")
        self._drivers[key] = (driver, task)
        task.add_done_callback(lambda task: self._done(key, driver, task))
        self.deps.telemetry.active_runs(len(self._drivers))

    def _gone(self, key: Key) -> None:
        """The API server does not have this Rollout, whatever the watch has or has not said."""
        kept = self.deps.store.rollouts.get(key)
        if kept is not None:
            self.rollout("DELETED", kept.document)

    def _done(self, key: Key, driver: Driver, task: asyncio.Task[None]) -> None:
        if self._drivers.get(key, (None, None))[1] is task:
            del self._drivers[key]
        self.deps.telemetry.active_runs(len(self._drivers))
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # A bug of ours must not leave a run without a driver; the next look starts from the cluster's state.
            log.error("driver of %s/%s failed, starting anew in 5 s", *key, exc_info=error)
            again = asyncio.create_task(self._again(key), name=f"restart {key[0]}/{key[1]}")
            self._restarts.add(again)
            again.add_done_callback(self._restarts.discard)
            return
        if driver.woken:
            self._consider(key)
        self.wake(set())  # a run that ends lets go of its rules: what follows from that is to be settled

    async def _again(self, key: Key) -> None:
        await self.deps.clock.sleep(5)
        self._consider(key)

    def _vetted(self, key: Key) -> None:
        """The metrics provider has looked at the queries of a Rollout."""
        running = self._drivers.get(key)
        if running is not None:
            running[0].refuse(self._vetting.refusals(key))
        else:
            self._consider(key)
