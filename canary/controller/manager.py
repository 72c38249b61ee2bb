"""The manager: takes what the watches say, keeps the store, and gives every Rollout with something to do a reconciler.

A Rollout at rest is looked at in passing, when something it refers to changes: no task, no timer, no request. WorkQueue are
taken one at a time, in the order of `workqueue.py`, and between two of them everybody else gets a turn: ten thousand that wait
to be looked at (after a start, or when a template changes that all use) hold up no rollback.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Self

from canary.controller.arrivals import Arrival, Arrivals
from canary.controller.deps import Deps
from canary.controller.observation import observe, taken_in
from canary.controller.query_validation import QueryValidation
from canary.controller.reconciler import Reconciler
from canary.controller.workqueue import FEW, RECONCILE, Call, Turn, WorkQueue
from canary.model.status import Phase
from canary.model.workloads import DEPLOYMENT
from canary.observe.configs import Reckoned
from canary.observe.facts import Received, asks_gateways
from canary.observe.objects import Key, key_of, uid_of
from canary.observe.rollout import Rollout
from canary.observe.workloads import WorkloadKey
from canary.routes.key import RouteKey
from canary.status.write import Urgency, urgency
from canary.telemetry import waits_for

log = logging.getLogger("canary.manager")

Json = dict[str, Any]

STRETCH = 0.0005
"""Seconds of processor time after which somebody else has a turn, while what stands around routes is taken in."""


class Manager:
    """All Rollouts of one controller. An async context: leaving it ends every reconciler, wherever it is.

    One that is made `held` only takes in what it is told, until `begin`: nothing is judged by half of the world. Runs under
    way may `go_on` before that, as soon as everything is known that they move by.
    """

    def __init__(self, deps: Deps, *, held: bool = False) -> None:
        self.deps = deps
        self._held = held
        self._queue = WorkQueue()
        self._arrivals = Arrivals()
        deps.queue.starting = lambda: self._queue.pressing
        self._looking: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._reconcilers: dict[Key, tuple[Reconciler, asyncio.Task[None]]] = {}
        self._validation = QueryValidation(deps, self._validated)
        self._restarts: set[asyncio.Task[None]] = set()
        self._expected: tuple[int, asyncio.Event] | None = None
        self.last_sign = time.monotonic()
        self.ended = 0
        """How many reconcilers have."""
        deps.store.rivals.on_moved = self._moved
        deps.store.on_sent = self.wake

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._held = True  # what is still to come wakes nobody
        if self._later is not None:
            self._later.cancel()
        tasks = [*(task for _, task in self._reconcilers.values()), *self._restarts]
        if self._looking is not None:
            tasks.append(self._looking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._validation.stop()

    @property
    def reconciling(self) -> frozenset[Key]:
        """The Rollouts that have a reconciler now."""
        return frozenset(self._reconcilers)

    @property
    def busy_namespaces(self) -> frozenset[str]:
        """Where a run is under way, or somebody waits for an answer or a deletion."""
        return frozenset(key[0] for key in self._reconcilers if self.deps.store.active(key))

    def rollout(self, kind: str | None, document: Json) -> None:
        """A Rollout appeared, changed or vanished (`kind` DELETED)."""
        key = key_of(document)
        if kind != "DELETED":
            before = self.deps.store.rollouts.get(key)
            news = self.deps.store.put_rollout(document)
            if self._expected is not None and len(self.deps.store.rollouts) >= self._expected[0]:
                self._expected[1].set()
            if news:
                self.deps.notices.seen(document, first=before is None or before.uid != uid_of(document))
            # What our own write has answered already is no news, but may have left something to be settled.
            self.wake({key} if news else set(), own=True)
            return
        self.deps.store.drop_rollout(key, uid_of(document))
        if key in self.deps.store.rollouts:
            return  # another Rollout has this name already, and its news overtook that of the old one's end
        self._validation.forget(key)
        self.deps.telemetry.forget(*key)
        self.deps.store.roles.forget(uid_of(document))
        self.deps.disputes.forget(uid_of(document))
        self.deps.notices.forget(key)
        if self.deps.jobs is not None:
            self.deps.jobs.forget(uid_of(document))
        self.wake({key}, own=True)

    async def expect(self, count: int) -> None:
        """Return when so many Rollouts are known."""
        if len(self.deps.store.rollouts) >= count:
            return
        self._expected = count, asyncio.Event()
        try:
            await self._expected[1].wait()
        finally:
            self._expected = None

    def listed(self) -> None:
        """All Rollouts that exist are known: what a route says of one that is not bars nobody any more."""
        if not self.deps.store.listed:
            self.deps.store.listed = True
            self.wake(set(self.deps.store.rollouts), paced=True)

    def route(self, kind: str | None, document: Json) -> None:
        """A route appeared, changed or vanished."""
        store, key = self.deps.store, RouteKey.read(document)
        if kind == "DELETED":
            self.wake(store.drop_route(key, uid_of(document)))
            return
        try:
            dependents = store.put_route(document)
        except Exception:  # a bug of ours about one object is none of the business of others of its kind
            log.exception("%s %s/%s cannot be read", *key)
            dependents = store.misread_route(document)
        self.wake(dependents)

    def workload(self, kind: str | None, document: Json, of: str = DEPLOYMENT) -> None:
        """A workload of some kind appeared, changed or vanished."""
        store = self.deps.store
        if kind == "DELETED":
            self.wake(store.drop_workload(WorkloadKey(of, *key_of(document)), uid_of(document)))
            return
        try:
            dependents = store.put_workload(document, of)
        except Exception:  # a bug of ours about one object is none of the business of others of its kind
            log.exception("%s %s/%s cannot be read", of, *key_of(document))
            dependents = store.misread(document, of)
        self.wake(dependents)

    def workloads_seen(self, of: str, place: str | None) -> None:
        """All workloads of a kind are known, in a namespace or (None) everywhere."""
        if self.deps.store.workload_kinds.seen(of, place):
            self.wake(self.deps.store.references.employers(of, place))

    def workloads_unseen(self, of: str, place: str | None, why: str) -> None:
        """They cannot be, and why."""
        if self.deps.store.workload_kinds.unseen(of, place, why):
            self.wake(self.deps.store.references.employers(of, place))

    def configs(self, key: WorkloadKey, reckoned: Reckoned) -> None:
        """What the configs of a workload make of its revision was read."""
        self.wake(self.deps.store.put_configs(key, reckoned), paced=True)

    def template(self, resource: str, kind: str | None, document: Json) -> None:
        """A check template appeared, changed or vanished; `resource` is its kind."""
        store, key = self.deps.store, key_of(document)
        deleted = kind == "DELETED"
        if deleted:
            self.wake(store.drop_template(resource, key, uid_of(document)))
        else:
            self.wake(store.put_template(resource, document))

    def awaits(self, of: str, place: str | None) -> None:
        """It is being asked what there is of a kind in a namespace (None: in all): who refers to something of it waits for that."""
        self.deps.store.lists.awaited(of, place)

    def arrived(self, of: str, place: str | None) -> None:
        """It is known now."""
        if self.deps.store.lists.arrived(of, place):
            self.wake(self.deps.store.references.referring(of, place), own=True)

    def around(self, resource: str, kind: str | None, document: Json) -> None:
        """Something that stands around routes appeared, changed or vanished; `resource` is its kind. Runs are left alone."""
        arrival, key = Arrival(resource, document, kind == "DELETED"), key_of(document)
        if self._held or not self.deps.store.around.knows(resource, key[0]):
            # Nobody is to be woken for it: as long as its kind is not known here, nothing is said of it.
            self._arrivals.drop(resource, key)
            self._take_in(arrival)
            return
        namespace = self._arrivals.put(arrival)
        if namespace is not None:
            self._queue.settle(namespace)
            self._go_on_looking()

    def know(self, resource: str, place: str | None, *, known: bool) -> None:
        """Whether all objects of a kind around routes are known, in a namespace or (None) everywhere."""
        if not self.deps.store.around.know(resource, place, known=known):
            return
        for arrival in self._arrivals.of(resource, place) if known else ():
            self._take_in(arrival)  # else it would be missed until its namespace has a turn
        self.wake(self.deps.store.resting(place), paced=True)

    def forget(self, resource: str, place: str | None) -> None:
        """A kind around routes is listed anew, in a namespace or (None) everywhere: what was seen of it counts no more."""
        self._arrivals.of(resource, place)
        self.deps.store.around.forget(resource, place)

    def policy(self, definition: str, kind: str | None, document: Json) -> None:
        """A policy of a definition appeared, changed or vanished. Runs under way are looked at, too: it may guard what they copy."""
        store = self.deps.store
        gone = kind == "DELETED"
        key = key_of(document)
        self.wake(store.drop_policy(definition, key) if gone else store.put_policy(definition, document), paced=True)

    def policies_gone(self, definition: str, place: str | None) -> None:
        """What was seen of a definition of policies in a namespace (None: everywhere) counts no more."""
        self.wake(self.deps.store.drop_policies(definition, place))

    def policies_known(self, place: str | None, *, known: bool) -> None:
        """Whether all policies are known, in a namespace or (None) everywhere."""
        self.wake(self.deps.store.know_policies(place, known=known))

    def autoscaler(self, resource: str, kind: str | None, document: Json) -> None:
        """An autoscaler appeared, changed or vanished; `resource` is its kind."""
        store = self.deps.store
        gone = kind == "DELETED"
        found = store.drop_autoscaler(resource, key_of(document)) if gone else store.put_autoscaler(resource, document)
        self.wake(found, paced=True)

    def know_autoscalers(self, resource: str, place: str | None, why: str) -> None:
        """All autoscalers of a kind are known in a namespace (None: everywhere), or cannot be, and `why`."""
        self.wake(self.deps.store.know_autoscalers(resource, place, why))

    def forget_autoscalers(self, resource: str, place: str | None) -> None:
        """A kind of autoscaler is served no more: what was seen of it counts no more."""
        self.deps.store.autoscalers.forget(resource, place)

    def told(self, key: Key) -> None:
        """Somebody was told of a Rollout, which has to go on record: if there still is one."""
        if key in self.deps.store.rollouts:
            self.wake({key}, own=True)
        else:
            self.deps.notices.forget(key)

    async def go_on(self) -> None:
        """Everything is known that runs move by: look at those under way. Returns when that is done."""
        self.deps.store.around.complete = False
        await self._release()

    async def begin(self) -> None:
        """Everything that Rollouts refer to is known: look at all that nobody looks after. Returns when that is done."""
        self.deps.store.around.complete = True
        await self._release()

    async def _release(self) -> None:
        self._held = False
        self.wake(set(self.deps.store.rollouts) - self._reconcilers.keys(), own=True)
        if self._looking is not None:
            await asyncio.wait({self._looking})

    def _goes_on(self, key: Key) -> bool:
        """Whether somebody may be looked at: a run under way at any time, everybody else when all is known."""
        store = self.deps.store
        if store.awaits(key):
            return False  # as long as nobody knows what there is, nothing is taken to be gone
        if store.awaits_configs(key) and self._rests(key):
            return False
        if store.around.complete:
            return True
        rollout = store.rollout(key) if store.active(key) else None
        if rollout is None or not rollout.status.active:
            return False
        return rollout.spec is None or not asks_gateways(rollout.spec)

    def _rests(self, key: Key) -> bool:
        rollout = self.deps.store.rollout(key)
        return rollout is not None and not rollout.status.active and not rollout.deleting

    def wake(self, keys: set[Key], *, own: bool = False, paced: bool = False) -> None:
        """These Rollouts have to be looked at: something that they refer to has changed, or `own`, they have themselves.

        `paced`: somebody else may do that to them as often as he likes, and be they few.
        """
        if self._held:
            return
        paced = paced or (len(keys) > FEW and not own)
        for key in keys:
            running = self._reconcilers.get(key)
            if running is not None:
                self.last_sign = time.monotonic()
                running[0].wake()
            else:
                active = self.deps.store.active(key)
                self._queue.call(key, Call.PACED if paced else Call.PRESSING if active else Call.ALONE)
        self._go_on_looking()

    def _moved(self, owners: set[Key], others: set[Key]) -> None:
        """Rules have another owner: who has waited for one has it now, the others have to say who has it."""
        self.wake(owners, own=True)
        self.wake(others)

    def _go_on_looking(self) -> None:
        for namespace in self.deps.store.rivals.unsettled():
            self._queue.settle(namespace)
        if self._looking is not None:
            return
        if self._later is not None:
            self._later.cancel()
        pause, self._later = self._queue.pause(time.monotonic()), None
        if pause is not None:
            self._looking = asyncio.create_task(self._look(), name="look at Rollouts")

    async def _look(self) -> None:
        try:
            while (turn := self._queue.next(time.monotonic())) is not None:
                began, driven = time.thread_time(), len(self._reconcilers)
                self._take(turn)
                spent = time.thread_time() - began
                self._queue.took(
                    turn, spent + RECONCILE if len(self._reconcilers) > driven else spent, time.monotonic()
                )
                await asyncio.sleep(0)
        finally:
            self._looking = None
        pause = self._queue.pause(time.monotonic())
        if pause is not None:
            self._later = asyncio.get_running_loop().call_later(pause, self._go_on_looking)

    def _take(self, turn: Turn) -> None:
        try:
            if turn.key is not None:
                self._consider(turn.key)
            elif self._settle(turn.namespace):
                self._queue.settle(turn.namespace)
        except Exception:  # a bug of ours in one of them is none of the others' business
            log.exception("looking at %s/%s failed", turn.namespace, turn.key[1] if turn.key else "")

    def _settle(self, namespace: str) -> bool:
        """A bit of what is to be found out in a namespace before anybody is looked at; False when nothing is left."""
        until = time.thread_time() + STRETCH
        while (arrival := self._arrivals.take(namespace)) is not None:
            self.wake(self._take_in(arrival), paced=True)
            if time.thread_time() > until:
                return True
        return self.deps.store.rivals.settle_one(namespace)

    def _take_in(self, arrival: Arrival) -> set[Key]:
        store = self.deps.store
        if arrival.gone:
            return store.drop_around(arrival.kind, key_of(arrival.document))
        return store.put_around(arrival.kind, arrival.document)

    def _consider(self, key: Key) -> None:
        if self._held:
            return  # it ends: nobody would wait for a reconciler that began now
        self.last_sign = time.monotonic()
        running = self._reconcilers.get(key)
        if running is None and not self._goes_on(key):
            return
        rollout = self.deps.store.rollout(key)
        if rollout is None:
            if running is not None:
                running[0].wake()
            return
        if running is None and not rollout.status.active and self.deps.jobs is not None:
            self.deps.jobs.tidy(key[0], rollout.uid, rollout.status)
        if running is None and rollout.status.phase is Phase.INVALID:
            self.deps.telemetry.waits(*key, waits_for(rollout.status))
        validated = self._validation.check(key, rollout)
        if running is not None:
            running[0].wake()
        elif rollout.spec is None or rollout.status.active or (validated and self._has_something_to_do(key, rollout)):
            self._reconcile(key)

    def _has_something_to_do(self, key: Key, rollout: Rollout) -> bool:
        if rollout.spec is None:
            return True
        received = Received(refusals=self._validation.refusals(key))
        recorded, spec = rollout.status, rollout.spec
        rollout = taken_in(self.deps.store, rollout, spec)
        status = rollout.status
        if self.deps.notices.owes(key):
            status = self.deps.notices.acknowledged(key, rollout.uid, status, status)
        observation = observe(self.deps, key, rollout, spec, status, received)
        if observation.decision.wake_at is not None:
            return True  # something is left of a run that only takes time
        return bool(observation.decision.actions) or urgency(recorded, observation.status, 0) is not Urgency.NONE

    def _reconcile(self, key: Key) -> None:
        reconciler = Reconciler(key, self.deps, lambda: self._gone(key))
        reconciler.refuse(self._validation.refusals(key))
        task = asyncio.create_task(reconciler.run(), name=f"reconcile {key[0]}/{key[1]}")
        self._reconcilers[key] = (reconciler, task)
        task.add_done_callback(lambda task: self._done(key, reconciler, task))
        self.deps.telemetry.active_runs(len(self._reconcilers))

    def _gone(self, key: Key) -> None:
        """The API server does not have this Rollout, whatever the watch has or has not said."""
        kept = self.deps.store.rollouts.get(key)
        if kept is not None:
            self.rollout("DELETED", kept.document)

    def _done(self, key: Key, reconciler: Reconciler, task: asyncio.Task[None]) -> None:
        if self._reconcilers.get(key, (None, None))[1] is task:
            del self._reconcilers[key]
        self.ended += 1
        self.deps.telemetry.active_runs(len(self._reconcilers))
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # A bug of ours must not leave a run without a reconciler; the next look starts from the cluster's state.
            log.error("reconciler of %s/%s failed, starting anew in 5 s", *key, exc_info=error)
            again = asyncio.create_task(self._again(key), name=f"restart {key[0]}/{key[1]}")
            self._restarts.add(again)
            again.add_done_callback(self._restarts.discard)
            return
        if reconciler.woken:
            self._consider(key)
        self.wake(set())  # a run that ends lets go of its rules: what follows from that is to be settled

    async def _again(self, key: Key) -> None:
        await self.deps.clock.sleep(5)
        self._consider(key)

    def _validated(self, key: Key) -> None:
        """The metrics provider has looked at the queries of a Rollout."""
        running = self._reconcilers.get(key)
        if running is not None:
            running[0].refuse(self._validation.refusals(key))
        else:
            self._consider(key)
