"""One reconciler per active run: observe, decide, act, status; then wait for news, for its timer, or for a retry."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from canary.act.backoff import Backoffs
from canary.act.events import EventRecorder
from canary.act.executor import Executor, Result, World
from canary.act.reading import still_so
from canary.act.status import StatusWriter
from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.queries import Backend, gate_query
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source
from canary.checks.sources.web import Web
from canary.checks.traffic import TRAFFIC
from canary.controller.asking import Asking, Question
from canary.controller.clock import Alarm, Clock
from canary.controller.conditions import Conditions
from canary.controller.fence import Fence
from canary.controller.job_documents import RunOf
from canary.controller.jobs import Jobs
from canary.controller.measure import Measurements, Pace
from canary.controller.priority_queue import PriorityQueue
from canary.controller.rendering import Rendering
from canary.controller.sight import Sight
from canary.controller.vouching import AT_ONCE, vouched_if_known
from canary.decide.actions import Action, EmitEvent, WriteRoute
from canary.decide.approval import APPROVING
from canary.decide.comparing import settled_from
from canary.decide.engine import decide
from canary.decide.facts import Facts, Problem, Recorded
from canary.decide.gates import asked, declared
from canary.decide.once import once
from canary.decide.reasons import CONTESTED, LOWERED_BY_HAND
from canary.decide.recovery import adopt
from canary.decide.scope import Decision, Scope, measuring
from canary.decide.timing import delayed, rebased
from canary.decide.unread import unread
from canary.decide.writes import foreign
from canary.errors import CanaryError
from canary.fair import FairLimit, Limit
from canary.kube import Kube
from canary.kube.retry import ROUTE_WRITE
from canary.metrics.port import Provider
from canary.model.gates import HttpGate
from canary.model.measurement import Answered, Compared, Counts, Measured, Reading, Sample, Timed
from canary.model.rollout import RolloutSpec
from canary.model.status import ACTIVE, Phase, RolloutStatus
from canary.notify.notices import Notices
from canary.observe.checks import Resolver, resolve_checks
from canary.observe.facts import LOOKING_ON, Received, Standing, gather
from canary.observe.rollout import Rollout, rescue
from canary.observe.routes import Views
from canary.observe.store import Key, Store
from canary.routes.intent import parse_intent, run_annotation
from canary.routes.key import RouteKey
from canary.status.project import project, unreadable
from canary.status.write import Urgency
from canary.telemetry import Telemetry, tick_line, waits_for

log = logging.getLogger("canary.reconciler")

Json = dict[str, Any]


class End(Enum):
    """Said by a tick after which nothing is left to do."""

    FINISHED = "finished"


FINISHED = End.FINISHED


MOST_IN_VAIN = 3
"""Ticks in a row that only read again, or did what was done before, after which the next one waits."""

TRY_AGAIN = 5.0
"""Seconds until it is tried again whether requests are checked, where the API server did not say."""

OTHER_WRITES = 32
"""Writes that move no traffic that may be under way at a time, of all runs together; namespaces take turns."""


@dataclass(frozen=True, slots=True)
class Deps:
    """What every reconciler shares.

    `limit` keeps the API server free for writes of routes, which need none, `tries` does of dry runs; `queue` the event loop for measurements. `sight`
    knows how long the cluster could not be seen.
    """

    kube: Kube
    store: Store
    recorder: EventRecorder
    provider: Provider
    telemetry: Telemetry
    clock: Clock
    limit: Limit = field(default_factory=lambda: Limit(OTHER_WRITES))
    tries: FairLimit = field(default_factory=lambda: FairLimit(AT_ONCE))
    fence: Fence = field(default_factory=Fence)
    sight: Sight = field(default_factory=Sight)
    pace: Pace = field(default_factory=Pace)
    queue: PriorityQueue = field(default_factory=PriorityQueue)
    conditions: Conditions = field(default_factory=Conditions)
    notices: Notices = field(default_factory=Notices)
    jobs: Jobs | None = None

    async def close(self) -> None:
        """Lets go of workers, and of what is still to be done for runs that are over."""
        self.conditions.close()
        if self.jobs is not None:
            await self.jobs.close()


@dataclass(slots=True)
class Inbox:
    """What came in since the last tick. `failing_since` times the oldest measurement in it (time.monotonic)."""

    measurements: list[tuple[str, Measured]] = field(default_factory=list)
    traffic: Reading | None = None
    since: float | None = None

    def put(self, name: str, measurement: Measured | Reading) -> None:
        if name == TRAFFIC:
            self.traffic = None if isinstance(measurement, Sample | Compared | Timed | Answered) else measurement
        if name == TRAFFIC or isinstance(measurement, Counts):
            return
        self.measurements.append((name, measurement))
        if self.since is None:
            self.since = time.monotonic()

    def take(self) -> tuple[tuple[tuple[str, Measured], ...], Reading | None, float | None]:
        taken = tuple(self.measurements), self.traffic, self.since
        self.measurements, self.traffic, self.since = [], None, None
        return taken

    def put_back(
        self, measurements: tuple[tuple[str, Measured], ...], traffic: Reading | None, since: float | None
    ) -> None:
        """What was taken counts in the next tick, before what has come in meanwhile."""
        self.measurements[:0] = measurements
        self.traffic = self.traffic or traffic
        self.since = self.since if since is None else since


@dataclass(frozen=True)
class Observation:
    """One look at a Rollout: what it declares, the facts, and the decision."""

    rollout: Rollout
    spec: RolloutSpec
    facts: Facts
    decision: Decision
    world: World

    @once
    def status(self) -> RolloutStatus:
        """What people and tools are to read. Run, pause and phase are those of the decision; nothing is sent later for the rest."""
        return project(self.spec, self.decision, self.facts)


def observe(
    deps: Deps,
    key: Key,
    rollout: Rollout,
    spec: RolloutSpec,
    status: RolloutStatus,
    received: Received,
    resolver: Resolver | None = None,
    standing: Standing = LOOKING_ON,
    *,
    views: Views | None = None,
) -> Observation:
    """Observe and decide, without any effect. `resolver` and `views` are for those who look often."""
    checks = (resolver or resolve_checks)(deps.store, rollout.namespace, rollout.name, spec)
    # What the decision sees and what a write is guarded by must be one and the same document.
    named = {RouteKey.of(route, key[0]) for route in spec.routes}
    named |= {RouteKey.of(route, key[0]) for route in status.routes}
    routes = {name: deps.store.routes[name] for name in named if name in deps.store.routes}
    kept = deps.store.rollouts[key]
    facts = gather(deps.store, rollout, spec, status, checks, received, deps.clock.now(), standing, views=views)
    decision = decide(spec, status, facts)
    return Observation(rollout, spec, facts, decision, World(kept, routes))


class Reconciler:
    """Drives one Rollout until nothing is left to do for it."""

    def __init__(self, key: Key, deps: Deps, on_gone: Callable[[], None] = lambda: None) -> None:
        """`on_gone` is called when the API server says that the Rollout does not exist: nobody may ever tell us else."""
        self.key = key
        self._deps = deps
        self._wake = asyncio.Event()
        self._alarm = Alarm(deps.clock, self._wake)
        self._inbox = Inbox()
        self._uid = ""
        self._status: RolloutStatus | None = None
        self._spec: RolloutSpec | None = None
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
            confirms=self._record.confirms,
        )
        self._resolver = Resolver()
        self._views = Views()
        self._rendering = Rendering(key)
        self._urgent = asyncio.Event()
        self._turn: asyncio.Future[None] | None = None
        weigh = deps.conditions.of(*key)
        self._measurements = Measurements(
            deps.clock, deps.provider, self._render, self.post, key, weigh=weigh, pace=deps.pace, jobs=deps.jobs
        )
        self._asking = Asking(deps.clock, deps.provider, self._render_gate, self.wake, key, pace=deps.pace)
        self._looked_through: tuple[tuple[ResolvedCheck, ...], bool] = (), False
        self._vouched: bool | None = None
        self._vouching: tuple[str, asyncio.Task[None]] | None = None
        self._taken_over: RolloutStatus | None = None
        self._fresh = True
        self._since: datetime | None = None
        self._epoch = deps.fence.epoch
        self._unseen = deps.sight.total
        self._vain = 0
        self._did: tuple[Action, ...] = ()
        self._waits: str | None = None

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
                    self._turn = self._deps.queue.queue(self.key[0], first=self._status is None)
                    await self._turn
                self._wake.clear()
                until = await self._tick()
                if until is FINISHED:
                    return
                self._alarm.set(until)
                await self._wake.wait()
        finally:
            self._alarm.cancel()
            await self._measurements.stop()
            await self._asking.stop()
            if self._vouching is not None:
                self._vouching[1].cancel()
            await self._executor.stop()
            await self._record.stop()

    async def _tick(self) -> datetime | End | None:
        """One round. Returns when to look again at the latest, or FINISHED."""
        started = time.perf_counter()
        key, deps = self.key, self._deps
        rollout = deps.store.rollout(key)
        if rollout is None:
            return FINISHED
        if self._status is None:
            self._uid = rollout.uid
        elif rollout.uid != self._uid:
            self._wake.set()
            return FINISHED  # another Rollout under the same name: nothing that we remember is about it
        status = self._state(rollout)
        if status.notified or deps.notices.owes(key):
            status = self._status = deps.notices.acknowledged(key, rollout.uid, status, rollout.status)
        if rollout.spec is not None:
            self._spec = rollout.spec
        measurements, traffic, since = self._inbox.take()
        self._urgent.clear()
        if self._spec is None and (rollout.deleting or status.active):
            # We have begun: nobody remembers what it was before.
            self._spec = rescue(deps.store.rollouts[key].document, status)
        if self._spec is None:
            return await self._unreadable(rollout)
        received = Received(measurements, traffic, self._refusals)
        gate = deps.fence.gate()
        observation = observe(
            deps, key, rollout, self._spec, status, received, self._resolver, self._standing(rollout), views=self._views
        )
        decided = observation.decision.status
        if _number(decided) != _number(status) and not deps.store.around.complete:
            return FINISHED  # a run would begin: the manager looks again when it is known what it would find
        if self._blames(status, decided) and not await self._still_so(observation):
            self._inbox.put_back(measurements, traffic, since)
            self._wake.set()
            return None
        if self._executor.busy and not decided.active:
            self._inbox.put_back(measurements, traffic, since)
            return None  # a run does not end while a write of it may still take effect: its landing wakes us
        now = deps.clock.now()
        result = await self._executor.execute(
            observation.decision.actions, observation.world, now, since, self._urgent, gate
        )
        self._status = observation.status
        self._fresh = self._fresh and bool(foreign(Scope(observation.spec, observation.status, observation.facts)))
        self._telemeter(status, observation)
        how = self._record.urgency(rollout, observation.status)
        wrote = False if result.moved else await self._write_status(observation.status, how)
        self._measure(observation)
        deps.telemetry.tick(time.perf_counter() - started)
        if result.moved or result.failed or wrote:
            _say(rollout, observation, result, wrote=wrote, seconds=time.perf_counter() - started)
        later = self._pace(observation.decision, result)
        if later is not None:
            return later
        if result.moved or wrote:
            self._wake.set()
            return None
        return self._next(observation, owed=how is not Urgency.NONE)

    def _pace(self, decision: Decision, result: Result) -> datetime | None:
        """When to look again where rounds lead to nothing; None: they do, or not for long yet.

        What is read again and again is still not what is there: the watch is behind, and has to catch up. Or it is done, and to be done again.
        """
        self._vain = self._vain + 1 if self._changed_nothing(decision, result) else 0
        if self._vain <= MOST_IN_VAIN:
            return None
        return self._deps.clock.now() + timedelta(seconds=min(2.0, 0.05 * 2.0 ** min(self._vain, 10)))

    def _changed_nothing(self, decision: Decision, result: Result) -> bool:
        """Whether a round has led to nothing: all was read again only, or what was done is what the round before had done.

        Not said of routes: what somebody raises again is put back, and that has a pace of its own.
        """
        before, self._did = self._did, decision.actions if result.performed else ()
        if not result.performed:
            return bool(result.stale)
        return before == decision.actions and not any(isinstance(action, WriteRoute) for action in decision.actions)

    # -- what is believed ---------------------------------------------------------------------------------------

    def _state(self, rollout: Rollout) -> RolloutStatus:
        """The state to go on from: what we have in mind, or what another has put on record meanwhile.

        What was recorded is by the clock of who recorded it. Time in which nothing could be seen counts against nobody.
        """
        deps, status = self._deps, self._status
        on_record = self._record.run == _number(status)
        kept = deps.store.rollouts[self.key]
        another = kept.version != self._record.version and self._record.read(kept.document)
        now = deps.clock.now()
        if deps.fence.epoch != self._epoch:  # we slept: another may have been at work, and what was measured is old
            self._epoch, self._fresh, self._since = deps.fence.epoch, True, now
        if status is None or another:
            taken = (
                rollout.status
                if status is None
                else adopt(status, rollout.status, another=self._another(rollout.status), on_record=on_record)
            )
            if taken is not status:
                if status is not None and taken.active:
                    log.info("%s/%s: going on from what another controller has put on record", *self.key)
                taken = rebased(taken, now, self._away())
                self._fresh, self._since = True, now
                self._taken_over = taken
                self._record.start_over()
            status = taken
        status = delayed(status, deps.sight.total - self._unseen)
        self._unseen = deps.sight.total
        self._status = status
        return status

    def _another(self, recorded: RolloutStatus) -> bool:
        """Whether some route of the run names the turn of another controller."""
        turns = (_turn(self._deps.store, self.key, RouteKey.of(route, self.key[0])) for route in recorded.routes)
        return any(turn not in {"", self._deps.fence.turn, *self._deps.fence.over} for turn in turns)

    def _away(self) -> timedelta | None:
        """How long ago the status was recorded, by the API server's clock; None: nobody can tell."""
        at, now = self._deps.store.recorded_at(self.key), self._deps.kube.server_time
        return max(now - at, timedelta(0)) if at is not None and now is not None else None

    def _standing(self, rollout: Rollout) -> Standing:
        deps = self._deps
        if self._spec is not None and self._spec.names_approvers:
            self._vouch(rollout)
        return Standing(
            turn=deps.fence.turn,
            over=deps.fence.over,
            fresh=self._fresh,
            since=self._since,
            blind=deps.sight.blind,
            blind_since=deps.sight.since,
            unwritten=self._executor.unwritten,
            altered=self._executor.altered,
            unscaled=self._executor.scaling_trouble(deps.clock.now()),
            time_of_day=deps.kube.server_time if self._spec is not None and self._spec.gated else None,
            gate=self._asking.answer,
            vouched=self._vouched,
            good=self._measurements.good,
        )

    @staticmethod
    def _blames(before: RolloutStatus, after: RolloutStatus) -> bool:
        """Whether a decision says of somebody that they changed the weights: that another controller ended the run looks alike."""
        reason = after.paused.reason if after.paused else ""
        known = before.paused.reason if before.paused else ""
        return reason != known and reason in {LOWERED_BY_HAND, CONTESTED}

    async def _still_so(self, observation: Observation) -> bool:
        try:
            return await still_so(self._deps.kube, self._deps.store, self.key, observation.world.rollout)
        except CanaryError:
            return True  # nobody can tell now; the status write is guarded

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

    async def _unreadable(self, rollout: Rollout) -> datetime | End | None:
        """The spec cannot be read, we know no earlier one, and nothing is under way: say so, touch nothing.

        Whoever asks for something is answered.
        """
        if self._status is None or rollout.problem is None:
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
        decision = unread(self._status, facts)
        world = World(deps.store.rollouts[self.key], {})
        result = await self._executor.execute(decision.actions, world, now, gate=deps.fence.gate())
        self._status = unreadable(decision.status, rollout.problem, rollout.generation, now)
        deps.telemetry.waits(*self.key, waits_for(self._status))
        wrote = not result.moved and await self._write_status(self._status, self._record.urgency(rollout, self._status))
        later = self._pace(decision, result)
        if later is not None:
            return later
        if result.moved or wrote:
            self._wake.set()
            return None
        now = deps.clock.now()
        times = [at for at in (self._backoffs.next_try(now), self._record.next_try(now)) if at is not None]
        waiting = self._executor.busy or self._record.busy or rollout.request is not None
        return min(times) if times else None if waiting else FINISHED

    # -- measuring ----------------------------------------------------------------------------------------------

    def _measure(self, observation: Observation) -> None:
        if observation.spec.asks_gates:
            self._ask(observation)
        self._drop_jobs(observation)
        counters = observation.facts.counters
        also = () if counters is None else (counters.check,)
        run = observation.status.run
        since = run.traffic_since if run is not None else None
        if not observation.status.active or run is None or run.outcome is not None:
            self._measurements.sync((), None)
            self._tidy_jobs(observation)
        elif since is None:
            self._measurements.sync(also, None)  # what the canary gets before the routes send it anything
        elif measuring(observation.spec, observation.status):
            settled = self._settled(observation)
            checks = (
                check
                for check in observation.facts.checks
                if check.name in settled or not (isinstance(check.judge, Against | Answers) or check.lasts is not None)
            )
            step = observation.status.step
            evidence_since = step.evidence_since if step is not None else None
            run_of = self._jobs_for(observation)
            self._measurements.sync((*checks, *also), since, settled, observation.facts.settle, evidence_since, run_of)

    def _runs_jobs(self, checks: tuple[ResolvedCheck, ...]) -> bool:
        """Whether any of them is a Job; the same checks are looked through once."""
        if self._looked_through[0] is not checks:
            self._looked_through = checks, any(check.lasts is not None for check in checks)
        return self._looked_through[1]

    def _tidy_jobs(self, observation: Observation) -> None:
        """What a run that is over has left running is removed, whoever has begun it."""
        if self._deps.jobs is not None:
            self._deps.jobs.tidy(self.key[0], observation.facts.uid, observation.status)

    def _drop_jobs(self, observation: Observation) -> None:
        """Once, of what was taken over: those of checks that were declared until nobody looked, for nobody asks any more what they find."""
        recorded, self._taken_over = self._taken_over, None
        if recorded is None or self._deps.jobs is None or not recorded.active:
            return
        declared = {check.name for check in observation.facts.checks}
        for check in recorded.checks:
            if check.job_seconds is not None and check.name not in declared:
                self._deps.jobs.remove(self.key[0], observation.facts.uid, check.name)

    def _jobs_for(self, observation: Observation) -> RunOf | None:
        """For whom Jobs of checks run now; None: there are no such checks."""
        run, step = observation.status.run, observation.status.step
        if run is None or step is None or not self._runs_jobs(observation.facts.checks):
            return None
        return RunOf(*self.key, observation.facts.uid, run.number, step.started_at)

    def _vouch(self, rollout: Rollout) -> None:
        """Try, for each request that may approve something, whether its word on who asks can be taken."""
        raw = rollout.request.raw if rollout.request is not None and rollout.request.known in APPROVING else ""
        if raw == (self._vouching[0] if self._vouching is not None else ""):
            return
        if self._vouching is not None:
            self._vouching[1].cancel()
        self._vouched, self._vouching = None, None
        if raw:
            self._vouching = raw, asyncio.create_task(self._try(), name="try whether requests are checked")

    async def _try(self) -> None:
        while (found := await vouched_if_known(self._deps.kube, self._deps.tries, *self.key)) is None:
            log.warning("%s/%s: nobody can tell whether it is checked who asks, so an approval waits", *self.key)
            await self._deps.clock.sleep(TRY_AGAIN)
        self._vouched = found
        self.wake()

    def _ask(self, observation: Observation) -> None:
        """Ask the system that the gate of the step names, where the run waits for nothing else that takes its time."""
        scope = Scope(observation.spec, observation.status, observation.facts)
        whom, gate = asked(scope), declared(scope)
        if whom is None or gate is None:
            self._asking.sync(None)
            return
        interval = gate.pause.total_seconds()
        self._asking.sync(Question(whom, interval, scope.run.number, scope.step.started_at))

    @staticmethod
    def _settled(observation: Observation) -> dict[str, datetime]:
        """By comparison, from when on its counters may be read; by Job, since when its step lasts, once that is reached."""
        settle, found, step = observation.facts.settle, dict[str, datetime](), observation.status.step
        for check in observation.facts.checks:
            if check.lasts is not None and step is not None and step.evidence_since is not None:
                found[check.name] = step.started_at
            if isinstance(check.judge, Against | Answers):
                at = settled_from(check.judge, observation.status.check(check.name), settle)
                if at is not None:
                    found[check.name] = at
        return found

    def _render(self, check: ResolvedCheck, backend: Backend | None = None) -> Source:
        if self._spec is None or self._status is None:
            raise AssertionError("measuring only follows a tick")
        return self._rendering(check, backend, self._spec, self._status)

    def _render_gate(self, gate: HttpGate) -> Web:
        if self._spec is None or self._status is None:
            raise AssertionError("asking only follows a tick")
        namespace, name = self.key
        status = self._status
        revision = status.run.revision if status.run is not None else ""
        index = status.step.index if status.step is not None else 0
        kind = self._spec.steps[index - 1].kind if 0 < index <= len(self._spec.steps) else "gate"
        return gate_query(
            gate,
            self._spec,
            namespace,
            name,
            weight=float(status.split.desired),
            step=kind,
            revision=revision,
            swapped=status.swapped,
        )

    def _telemeter(self, before: RolloutStatus, observation: Observation) -> None:
        namespace, name = self.key
        telemetry, status = self._deps.telemetry, observation.status
        waits = waits_for(status)
        if waits != self._waits:
            telemetry.waits(namespace, name, waits)
            self._waits = waits
        if status.active:
            split = status.split
            telemetry.run_active(namespace, name)
            telemetry.weights(namespace, name, desired=split.desired, written=split.written, accepted=split.accepted)
            for check in status.checks:
                if check.measured_at is not None:
                    telemetry.verdict(namespace, name, check.name, check.verdict)
                    telemetry.value(namespace, name, check.name, check.value)
        if before.phase in ACTIVE and not status.active and status.run is not None and status.run.outcome is not None:
            telemetry.weights(namespace, name, desired=0, written=status.split.written, accepted=status.split.accepted)
            telemetry.run_finished(namespace, name, status.run.outcome)


def _number(status: RolloutStatus | None) -> int:
    return status.run.number if status is not None and status.run is not None else 0


def _turn(store: Store, key: Key, route: RouteKey) -> str:
    """Whose turn a route names for a Rollout; empty when it names none."""
    kept = store.routes.get(route)
    annotations = (kept.document.get("metadata", {}).get("annotations") or {}) if kept is not None else {}
    intent = parse_intent(annotations.get(run_annotation(key[1])))
    return intent.turn if intent is not None else ""


def _say(rollout: Rollout, observation: Observation, result: Result, *, wrote: bool, seconds: float) -> None:
    status = observation.status
    bad = bool(result.failed) or status.phase in {Phase.ROLLING_BACK, Phase.INVALID}
    failed = [f"{name} failed: {error}" for name, error in result.failed.items()]
    tick_line(
        namespace=rollout.namespace,
        rollout=rollout.name,
        run=status.run.number if status.run else None,
        phase=str(status.phase or ""),
        step=status.step.display if status.step else "",
        reason=observation.decision.reason,
        message="; ".join([status.message, *failed]),
        actions=[
            *result.performed,
            *(f"{name} (read again)" for name in result.stale),
            *(["WriteStatus"] if wrote else []),
        ],
        routes=[route.label for route in observation.facts.routes],
        duration_ms=seconds * 1000,
        level=logging.WARNING if bad else logging.INFO,
    )
