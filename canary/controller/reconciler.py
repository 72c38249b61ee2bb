"""One reconciler per active run: observe, decide, act, status; then wait for news, for its timer, or for a retry."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum

from canary.act.backoff import Backoffs
from canary.act.executor import Executor, World
from canary.act.status import StatusWriter
from canary.checks.traffic import TRAFFIC
from canary.controller.clock import Alarm
from canary.controller.deps import Deps
from canary.controller.disputes import disputed, words_only
from canary.controller.evidence import Evidence
from canary.controller.inbox import Inbox
from canary.controller.livelock import Livelock
from canary.controller.observation import Observation, observe
from canary.controller.reporting import Reporting, say
from canary.controller.rereading import Rereading
from canary.controller.run_state import RunState, run_number
from canary.controller.vouching import Vouching
from canary.decide.actions import Action, EmitEvent
from canary.decide.facts import Facts, Problem, Recorded
from canary.decide.reasons import ABORTED, CHECK_FAILED, CONTESTED, LEFTOVER, LOWERED_BY_HAND
from canary.decide.scope import Scope
from canary.decide.unread import unread
from canary.decide.writes import foreign, left_behind
from canary.kube.retry import ROUTE_WRITE
from canary.model.measurement import Measured, Reading
from canary.model.run_status import Outcome
from canary.model.status import RolloutStatus
from canary.observe.checks import Checks, Resolver
from canary.observe.facts import Received, Standing, gather
from canary.observe.objects import Key
from canary.observe.rollout import Rollout, rescue
from canary.observe.routes import Views
from canary.status.project import unreadable
from canary.status.write import Urgency
from canary.telemetry import waits_for

log = logging.getLogger("canary.reconciler")


class End(Enum):
    """Said by a tick after which nothing is left to do."""

    FINISHED = "finished"


FINISHED = End.FINISHED


MOURNING = timedelta(minutes=10)
"""For how long it is tried to put back what a run has left whose Rollout is gone."""


class Reconciler:
    """Drives one Rollout until nothing is left to do for it."""

    def __init__(self, key: Key, deps: Deps, on_gone: Callable[[], None] = lambda: None) -> None:
        """`on_gone` is called when the API server says that the Rollout does not exist: nobody may ever tell us else."""
        self.key = key
        self._deps = deps
        self._wake = asyncio.Event()
        self._alarm = Alarm(deps.clock, self._wake)
        self._inbox = Inbox()
        self._refusals: tuple[Problem, ...] = ()
        self._backoffs = Backoffs(ROUTE_WRITE.backoff)
        self._record = StatusWriter(
            key,
            deps.kube,
            deps.store,
            deps.limit,
            deps.clock.now,
            self.wake,
            on_gone,
            deps.notices.recorded,
            on_refused=lambda document, tell: deps.recorder.event(document, tell, deps.clock.now()),
        )
        self._executor = Executor(
            key,
            deps.kube,
            deps.store,
            deps.recorder,
            self._backoffs,
            deps.telemetry.rollback_latency,
            self.wake,
            deps.limit,
            takeovers=deps.queue,
            traffic=deps.traffic,
            confirms=self._record.confirms,
        )
        self._resolver = Resolver()
        self._views = Views()
        self._urgent = asyncio.Event()
        self._turn: asyncio.Future[None] | None = None
        self._state = RunState(key, deps, self._record)
        self._evidence = Evidence(key, deps, self._state, self.post, self.wake)
        self._vouching = Vouching(key, deps.kube, deps.tries, deps.clock, self.wake)
        self._rereading = Rereading(key, deps.kube, deps.store, self.wake)
        self._livelock = Livelock(deps.clock)
        self._reporting = Reporting(key, deps.telemetry)
        self._last: tuple[Rollout, World] | None = None
        self._seen: Rollout | None = None
        self._gone_since: datetime | None = None

    @property
    def woken(self) -> bool:
        """Whether somebody called for a look that has not been taken."""
        return self._wake.is_set()

    def wake(self) -> None:
        """Something changed: look again at once."""
        self._wake.set()

    def post(self, name: str, measurement: Measured | Reading) -> None:
        """A measurement came in: look again at once."""
        self._inbox.put(name, measurement)
        self._wake.set()
        if name != TRAFFIC:
            self._urgent.set()
            if self._turn is not None and not self._turn.done():
                self._turn.set_result(None)

    def refuse(self, refusals: tuple[Problem, ...]) -> None:
        """The metrics provider refused queries of ours (empty: no more)."""
        self._refusals = refusals
        self._wake.set()

    async def run(self) -> None:
        """Tick until the Rollout rests, or is gone."""
        try:
            while True:
                if not self._urgent.is_set():
                    self._turn = self._deps.queue.queue(self.key[0], first=self._state.status is None)
                    await self._turn
                self._wake.clear()
                until = await self._tick()
                if until is FINISHED:
                    return
                self._alarm.set(until)
                await self._wake.wait()
        finally:
            self._alarm.cancel()
            await self._evidence.stop()
            self._vouching.stop()
            self._rereading.forget()
            await self._executor.stop()
            await self._record.stop()

    async def _tick(self) -> datetime | End | None:
        """One round. Returns when to look again at the latest, or FINISHED."""
        started = time.perf_counter()
        key, deps, state = self.key, self._deps, self._state
        rollout = self._rollout()
        if rollout is None:
            return await self._vanished()
        if state.status is None:
            state.uid = rollout.uid
        elif rollout.uid != state.uid:
            self._wake.set()
            return FINISHED  # another Rollout under the same name: nothing that we remember is about it
        recorded, rollout = rollout, state.believed(rollout)
        status = state.go_on(rollout)
        if status.notified or deps.notices.owes(key):
            status = state.status = deps.notices.acknowledged(key, rollout.uid, status, rollout.status)
        if rollout.spec is not None:
            state.spec = rollout.spec
        measurements, traffic, since = self._inbox.take()
        self._urgent.clear()
        if state.spec is None and (rollout.deleting or status.active):
            # We have begun: nobody remembers what it was before.
            state.spec = rescue(deps.store.rollouts[key].document, status)
        if state.spec is None:
            return await self._unreadable(rollout)
        received = Received(measurements, traffic, self._refusals)
        gate = deps.fence.gate()
        observation = observe(
            deps, key, rollout, state.spec, status, received, self._resolver, self._standing(rollout), views=self._views
        )
        decided = observation.decision.status
        if run_number(decided) != run_number(status) and not deps.store.around.complete:
            return FINISHED  # a run would begin: the manager looks again when it is known what it would find
        if not self._certain(status, observation):
            self._inbox.put_back(measurements, traffic, since)
            return None
        if self._executor.busy and not decided.active:
            self._inbox.put_back(measurements, traffic, since)
            return None  # a run does not end while a write of it may still take effect: its landing wakes us
        now = deps.clock.now()
        result = await self._executor.execute(
            observation.decision.actions, observation.world, now, since, self._urgent, gate
        )
        state.status, self._last = observation.status, (rollout, observation.world)
        state.fresh = state.fresh and bool(foreign(Scope(observation.spec, observation.status, observation.facts)))
        self._reporting.series(status, observation)
        deps.store.roles.note(state.uid, swapped=observation.status.swapped)
        how = self._record.urgency(recorded, observation.status)
        later = self._livelock.pause_until(observation.decision, result)
        waits = result.moved and not self._livelock.going
        quarrel = self._gives_way(recorded, observation.status, how) if not waits else None
        wrote = False if waits or quarrel else await self._write_status(observation.status, how)
        self._evidence.sync(observation)
        deps.telemetry.tick(time.perf_counter() - started)
        if result.moved or result.failed or wrote:
            say(rollout, observation, result, wrote=wrote, seconds=time.perf_counter() - started)
        if later is not None:
            return later
        if result.moved or wrote:
            self._wake.set()
            return None
        following = self._next(observation, owed=how is not Urgency.NONE or self._record.owes)
        return (
            min(quarrel, following) if quarrel is not None and isinstance(following, datetime) else quarrel or following
        )

    def _rollout(self) -> Rollout | None:
        """What is known of the Rollout. Its status on record is made of the one that we have in mind, where both say the same."""
        store, state = self._deps.store, self._state
        rollout = store.rollout(self.key)
        if rollout is not None and rollout is not self._seen and state.status is not None:
            store.share(self.key, state.status)
            rollout = store.rollout(self.key)
        self._seen = rollout
        return rollout

    def _standing(self, rollout: Rollout) -> Standing:
        deps, state, sight = self._deps, self._state, self._deps.sights.of(self.key[0])
        if state.spec is not None and state.spec.names_approvers:
            self._vouching.sync(rollout)
        return Standing(
            turn=deps.fence.turn,
            over=deps.fence.over,
            fresh=state.fresh,
            since=state.since,
            blind=sight.blind,
            blind_since=sight.since,
            unwritten=self._executor.unwritten,
            altered=self._executor.altered,
            uncopied=self._executor.uncopied,
            unrestored=self._executor.unrestored,
            untidied=self._executor.untidied,
            unscaled=self._executor.scaling_trouble(deps.clock.now()),
            time_of_day=deps.kube.server_time if state.spec is not None and state.spec.gated else None,
            gate=self._evidence.asking.answer,
            unstamped=self._executor.unstamped,
            vouched=self._vouching.known,
            good=self._evidence.measurements.good,
        )

    @staticmethod
    def _blames(before: RolloutStatus, after: RolloutStatus) -> bool:
        """Whether a decision says of somebody that they changed the weights: that another controller ended the run looks alike, or went on with it."""
        reason = after.paused.reason if after.paused else ""
        known = before.paused.reason if before.paused else ""
        put_back = bool({*after.overrides} - {*before.overrides})
        return put_back or (reason != known and reason in {LOWERED_BY_HAND, CONTESTED})

    def _certain(self, before: RolloutStatus, observation: Observation) -> bool:
        """Whether a decision may be acted upon: where it blames somebody, or the process has slept, once the Rollout was read; else it is taken anew then.

        What ends a run for what was measured, or because somebody asks for that, is true whatever another controller has done
        meanwhile, and so is what was decided before: that waits for no answer.
        """
        state, decided = self._state, observation.decision.status
        if not (state.unread or self._blames(before, decided)):
            self._rereading.forget()
            return True
        if _failing(decided) in {CHECK_FAILED, ABORTED} or (_failing(decided) and _failing(before)):
            return True
        certain = self._rereading.confirmed(observation.world)
        if certain is not None:
            state.unread = False
        if certain is False:
            self._wake.set()
        return bool(certain)

    def _next(self, observation: Observation, *, owed: bool) -> datetime | End | None:
        now = self._deps.clock.now()
        times = [observation.decision.wake_at, self._backoffs.next_try(now), self._record.next_try(now)]
        known = [at for at in times if at is not None]
        waiting = any(not isinstance(action, EmitEvent) for action in observation.decision.actions)
        busy = self._executor.busy or self._record.busy
        due = observation.decision.wake_at is not None
        if not observation.status.active and not (waiting or owed or busy or due) and not self._wake.is_set():
            return FINISHED
        return min(known, default=None)

    async def _write_status(self, status: RolloutStatus, how: Urgency) -> bool:
        return await self._record.write(status, how, self._deps.fence.gate(), self._urgent)

    def _gives_way(self, recorded: Rollout, status: RolloutStatus, how: Urgency) -> datetime | None:
        """Until when nothing is written, since somebody has who can read the spec; None: it is written now."""
        if how is Urgency.NONE or recorded.problem is None or not disputed(recorded.status, recorded.generation):
            return None
        if not words_only(recorded.status, status):
            return None
        now, disputes = self._deps.clock.now(), self._deps.disputes
        until = disputes.until(recorded.uid, recorded.generation, now)
        if until is None:
            disputes.said(recorded.uid, recorded.generation, now)
        return until

    async def _vanished(self) -> datetime | End | None:
        """The Rollout is gone. If that was in the middle of a run (somebody took its finalizer), what routes still say of that run is taken back.

        Nobody else would: a controller that starts now knows nothing of it.
        """
        state = self._state
        if self._last is None or state.status is None or state.spec is None or not state.status.active:
            return FINISHED
        deps, now, (rollout, seen) = self._deps, self._deps.clock.now(), self._last
        self._gone_since = self._gone_since or now
        self._evidence.suspend()
        facts = gather(deps.store, rollout, state.spec, state.status, Checks((), ()), Received(), now)
        writes = left_behind(Scope(state.spec, state.status, facts))
        if not writes:
            return None if self._executor.busy else FINISHED  # what is still under way wakes us when it has landed
        names = " and ".join(write.key.label for write in writes)
        if now >= self._gone_since + MOURNING:
            log.error("%s/%s is gone, and %s cannot be put back: that run is forgotten now", *self.key, names)
            return FINISHED
        told = f"the Rollout is gone in the middle of run {run_number(state.status)}: put {names} back to stable"
        actions: tuple[Action, ...] = (*writes, EmitEvent("Warning", LEFTOVER, told, once=True))
        routes = {write.key: deps.store.routes[write.key] for write in writes}
        result = await self._executor.execute(actions, World(seen.kept, routes), now, gate=deps.fence.gate())
        if result.performed:
            self._wake.set()
            return None
        return self._backoffs.next_try(now) or now + timedelta(seconds=1)

    async def _unreadable(self, rollout: Rollout) -> datetime | End | None:
        """The spec cannot be read, we know no earlier one, and nothing is under way: say so, touch nothing.

        Whoever asks for something is answered.
        """
        state = self._state
        if state.status is None or rollout.problem is None:
            return FINISHED
        deps, now = self._deps, self._deps.clock.now()
        facts = Facts(
            now=now,
            name=rollout.name,
            uid=rollout.uid,
            generation=rollout.generation,
            request=rollout.request,
            problems=(rollout.problem,),
            recorded=Recorded.of(rollout.status),
        )
        decision = unread(state.status, facts)
        world = World(deps.store.rollouts[self.key], {})
        result = await self._executor.execute(decision.actions, world, now, gate=deps.fence.gate())
        state.status = unreadable(decision.status, rollout.problem, rollout.generation, now)
        deps.telemetry.waits(*self.key, waits_for(state.status))
        later = self._livelock.pause_until(decision, result)
        waits = result.moved and not self._livelock.going
        how = self._record.urgency(rollout, state.status)
        quarrel = self._gives_way(rollout, state.status, how) if not waits else None
        wrote = not waits and quarrel is None and await self._write_status(state.status, how)
        if later is not None:
            return later
        if result.moved or wrote:
            self._wake.set()
            return None
        now = deps.clock.now()
        times = [at for at in (self._backoffs.next_try(now), self._record.next_try(now), quarrel) if at is not None]
        waiting = self._executor.busy or self._record.busy or rollout.request is not None
        return min(times) if times else None if waiting else FINISHED


def _failing(status: RolloutStatus) -> str:
    """Why the run of a status is rolled back; empty: it is not."""
    return status.run.reason if status.run is not None and status.run.outcome is Outcome.ROLLED_BACK else ""
