"""The only code that performs an action. One attempt each; what fails rests for a moment and is decided anew.

A write is only ever made against the document that the decision saw: every patch carries `test` operations on what was
read, so an answer of 409 or 422 means that somebody else was there, and the caller reads and decides again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol, assert_never

from canary.act.backoff import Backoffs
from canary.act.events import EventRecorder
from canary.act.gate import Gate, always_open
from canary.act.reading import moved
from canary.act.replicas import ReplicaWriter
from canary.act.routes import RouteWriter
from canary.act.workloads import WorkloadWriter
from canary.backoff import Backoff
from canary.decide.actions import (
    Action,
    AddFinalizer,
    ClearRequest,
    CopyPodSpec,
    EmitEvent,
    ForgetPodSpec,
    ReleaseReplicas,
    RemoveFinalizer,
    RestorePodSpec,
    ScaleWorkload,
    StampRequest,
    WriteRoute,
)
from canary.decide.facts import DENIED_FOR, Untidied
from canary.errors import (
    CanaryError,
    Conflict,
    NotFound,
    NothingToRestore,
    StaleDecision,
    Unprocessable,
    WriteAltered,
    refusal,
)
from canary.fair import Limit
from canary.json_patch import Operation, add, annotation, pointer, remove, replace, test, unmoved
from canary.kube import ROLLOUTS, Kube
from canary.kube.retry import HELD_ROUTE, REFUSED_WRITE
from canary.model.requests import AS_ANNOTATION, REQUEST_ANNOTATION, Request
from canary.observe.objects import FINALIZER, Key, Packed, Route, request_of
from canary.observe.store import Store
from canary.routes.intent import Mode
from canary.routes.key import RouteKey

log = logging.getLogger("canary.act")

Json = dict[str, Any]

Scaled = tuple[str, str]
"""Kind and name of a workload whose replicas are written."""

PATIENCE = 0.25
"""Seconds that a tick waits for its writes. What takes longer goes on by itself; a rollback must not stand behind it."""

_TIDYING = RestorePodSpec | ForgetPodSpec
"""What puts things in order after a copy."""

_HELD = ScaleWorkload | ReleaseReplicas | CopyPodSpec | _TIDYING | StampRequest | ClearRequest
"""What waits longer after a refusal, since nothing is at stake but words, or somebody's own release."""

_CHAIN = "everything but routes"

_REQUEST = annotation(REQUEST_ANNOTATION)
_REQUEST_AS = annotation(AS_ANNOTATION)
_FINALIZERS = pointer("metadata", "finalizers")


@dataclass(frozen=True, slots=True)
class World:
    """What the decision saw: the Rollout and its routes as the store has them, opened when somebody writes."""

    kept: Packed
    routes: Mapping[RouteKey, Route]

    @property
    def rollout(self) -> Json:
        """The Rollout as a document."""
        return self.kept.document


class Places(Protocol):
    """So many may be at it at a time."""

    def held(self, namespace: str, /) -> AbstractAsyncContextManager[None]:
        """A place for the length of the block."""


ROLLBACKS = 256
ROUTE_WRITES = 64
"""Writes of routes that may be under way at a time, of all runs together. What takes traffic back has places of its own."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Places for what moves traffic: admission that is slow for the routes of one namespace holds up no other."""

    rollbacks: Places = field(default_factory=lambda: Limit(ROLLBACKS))
    others: Places = field(default_factory=lambda: Limit(ROUTE_WRITES))

    def of(self, action: WriteRoute) -> Places:
        """The places for a write."""
        return self.rollbacks if action.intent is not None and action.intent.mode is Mode.ROLLBACK else self.others


@dataclass(slots=True)
class Result:
    """What came of the actions of one tick."""

    performed: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    failed: dict[str, CanaryError] = field(default_factory=dict)

    @property
    def moved(self) -> bool:
        """Whether the world is another one now, so that it is worth deciding again at once."""
        return bool(self.performed or self.stale)


class Executor:
    """Performs the actions of one Rollout. Keeps only its backoffs, and what is still under way, between ticks."""

    def __init__(
        self,
        key: Key,
        kube: Kube,
        store: Store,
        recorder: EventRecorder,
        backoffs: Backoffs,
        on_rollback: Callable[[float], None],
        on_landed: Callable[[], None] = lambda: None,
        limit: Limit | None = None,
        *,
        takeovers: Places | None = None,
        traffic: Traffic | None = None,
        confirms: Callable[[RouteKey, Json, Json], bool] = lambda *_: False,
    ) -> None:
        """`on_landed` is called when a write ends that `execute` has not waited for.

        `limit` bounds the writes of all executors together that move no traffic: a thousand runs that start at once
        would otherwise stand before the API server, and a rollback behind them. `takeovers` is the same for routes that
        are written only to put our turn on them, `traffic` for all other writes of routes. `confirms` see `RouteWriter`.
        """
        self._key = key
        self._kube = kube
        self._store = store
        self._recorder = recorder
        self._backoffs = backoffs
        self._on_landed = on_landed
        self._limit = limit or Limit(1)
        self._takeovers: Places = takeovers or self._limit
        self._traffic = traffic or Traffic()
        self._routes = RouteWriter(key, kube, store, on_rollback, confirms)
        self._workloads = WorkloadWriter(key, kube, store)
        self._replicas = ReplicaWriter(key, kube, store)
        self.unwritten: dict[RouteKey, str] = {}
        """Why the last write of a route failed, as long as it does."""
        self.altered: dict[RouteKey, int] = {}
        """Of these the API server kept something else than was written last: the generation that they had after that."""
        self.uncopied = ""
        """Why the last copy of a pod spec failed, as long as it does."""
        self.unrestored: dict[int, str] = {}
        """By the number of a run: why what its copy replaced is nowhere to be found."""
        self.untidied: Untidied | None = None
        """Why the last try to put a copy in order failed, and since when each does."""
        self._untidied_of = ""
        self._unscaled: dict[Scaled, tuple[CanaryError, datetime]] = {}
        self.unstamped = ""
        """The plain request that was to get an id in the last round, and has none."""
        self._told: set[tuple[str, str]] = set()
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._round = 0
        self._decided: Sequence[Action] = ()

    def scaling_trouble(self, now: datetime) -> dict[Scaled, CanaryError]:
        """Why replicas of which workloads cannot be written. What was refused long ago is tried again, and so no trouble."""
        return {of: error for of, (error, at) in self._unscaled.items() if not refusal(error) or now - at < DENIED_FOR}

    @property
    def busy(self) -> bool:
        """Whether a write is still under way. What it changes is not known yet."""
        return bool(self._in_flight)

    async def execute(
        self,
        actions: Sequence[Action],
        world: World,
        now: datetime,
        failing_since: float | None = None,
        interrupt: asyncio.Event | None = None,
        gate: Gate = always_open,
    ) -> Result:
        """Perform every action that neither rests nor is under way; routes at once and each on its own, first of all.

        Returns when all is done, when `interrupt` is set, or after PATIENCE. Writes that have no answer by then go on;
        they hold up nobody, since each is guarded by what it was decided upon.

        `failing_since` is when (time.monotonic) the measurement came in that this decision may rest on: it is timed
        until the first rollback patch is sent. `gate` is asked right before each write.
        """
        result = Result()
        self._round += 1
        self._decided = actions
        if self.untidied is not None and self._untidied_of not in map(_name, actions):
            self.untidied = None
        started = [
            self._launch(_name(action), self._one(action, world, now, result, gate, failing_since))
            for action in actions
            if isinstance(action, WriteRoute) and self._free(_name(action), now)
        ]
        others = [action for action in actions if not isinstance(action, WriteRoute | EmitEvent)]
        if others and _CHAIN not in self._in_flight:
            started.append(self._launch(_CHAIN, self._in_order(others, tuple(started), world, now, result, gate)))
        await self._wait(started, interrupt)
        self._note_unstamped(actions, result)
        for action in actions:
            if isinstance(action, EmitEvent) and self._news(action):
                self._recorder.event(world.rollout, action, now)
        return result

    def _note_unstamped(self, actions: Sequence[Action], result: Result) -> None:
        """Some requests can be served without an id: who could not give one says so at once."""
        before, done = self.unstamped, {*result.performed, *result.stale}
        wanted = (action for action in actions if isinstance(action, StampRequest))
        self.unstamped = next((action.raw for action in wanted if _name(action) not in done), "")
        if self.unstamped and self.unstamped != before:
            self._on_landed()

    def _news(self, event: EmitEvent) -> bool:
        """Whether this has to be told: what is about a state is told once."""
        if not event.once:
            return True
        said = (event.reason, event.message)
        if said in self._told:
            return False
        self._told.add(said)
        return True

    async def stop(self) -> None:
        """Let go of everything under way."""
        in_flight = list(self._in_flight.values())
        for flight in in_flight:
            flight.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)

    def _free(self, name: str, now: datetime) -> bool:
        return name not in self._in_flight and not self._backoffs.resting(name, now)

    def _launch(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        flight = asyncio.create_task(work, name=f"{name} of {self._key[0]}/{self._key[1]}")
        self._in_flight[name] = flight
        flight.add_done_callback(lambda _: self._in_flight.pop(name, None))
        return flight

    async def _wait(self, started: list[asyncio.Task[None]], interrupt: asyncio.Event | None) -> None:
        if not started:
            return
        await asyncio.sleep(0)  # what is written is sent before anything is arranged for its answers
        landing = asyncio.gather(*started)
        watching = asyncio.ensure_future((interrupt or asyncio.Event()).wait())
        both: set[asyncio.Future[Any]] = {landing, watching}
        try:
            await asyncio.wait(both, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            landing.add_done_callback(_note)
            landing.cancel()
            raise
        finally:
            watching.cancel()
        if landing.done():
            landing.result()
        else:
            landing.add_done_callback(self._landed)

    def _landed(self, landing: asyncio.Future[Any]) -> None:
        if landing.cancelled():
            return
        error = landing.exception()
        if error is not None and not isinstance(error, asyncio.CancelledError):
            log.error("a write of %s/%s failed for a reason of ours", *self._key, exc_info=error)
        self._on_landed()

    async def _in_order(
        self,
        actions: Sequence[Action],
        routes: tuple[asyncio.Task[None], ...],
        world: World,
        now: datetime,
        result: Result,
        gate: Gate,
    ) -> None:
        """One after the other, since most are about the same object, and after the routes."""
        mine = self._round
        if routes:
            await asyncio.wait(routes, timeout=PATIENCE)
        for action in actions:
            async with self._limit.held(self._key[0]):
                if self._round != mine:
                    return  # decided anew since then: what this round still wanted may be wrong by now
                if not self._backoffs.resting(_name(action), now):
                    await self._one(action, world, now, result, gate, None)

    async def _one(
        self, action: Action, world: World, now: datetime, result: Result, gate: Gate, failing_since: float | None
    ) -> None:
        name = _name(action)
        try:
            if not isinstance(action, WriteRoute | CopyPodSpec):
                gate(False)
            if isinstance(action, WriteRoute):
                fresh = await self._write_in_turn(action, world, gate, failing_since)
            else:
                fresh = await self._write(action, world, gate, failing_since)
        except StaleDecision as error:
            log.info("%s of %s/%s was not sent: %s", name, *self._key, error)
            result.stale.append(name)
            return
        except CanaryError as error:
            self._note_failed(action, error, now)
            if isinstance(error, NothingToRestore):  # that is to be decided upon, and not to be tried again
                result.stale.append(name)
                return
            count = self._backoffs.failed(name, now, error, _pauses(action, error))
            result.failed[name] = error
            if count == 1 or count % 50 == 0:
                what = f"{name} failed{'' if count == 1 else f' {count} times'}: {error}"
                self._recorder.event(world.rollout, EmitEvent("Warning", "WriteFailed", what), now)
            return
        self._backoffs.succeeded(name)
        self._note_done(action)
        if isinstance(action, WriteRoute) and fresh:
            self._backoffs.paced(name, now)
        if fresh is not None:
            (result.performed if fresh else result.stale).append(name)

    def _note_failed(self, action: Action, error: CanaryError, now: datetime) -> None:
        """Keep why a write failed, where a decision rests on that."""
        match action:
            case WriteRoute():
                self.unwritten[action.key] = str(error)
                if isinstance(error, WriteAltered) and action.key in self._store.routes:
                    kept = self._store.routes[action.key].document
                    self.altered[action.key] = kept.get("metadata", {}).get("generation", 0)
            case ScaleWorkload() | ReleaseReplicas():
                self._unscaled[action.kind, action.target] = error, now
            case CopyPodSpec():
                self.uncopied = str(error)
            case RestorePodSpec() if isinstance(error, NothingToRestore):
                self.unrestored[action.run] = str(error)
            case RestorePodSpec() | ForgetPodSpec():
                since = self.untidied.since if self.untidied is not None else now
                self.untidied, self._untidied_of = Untidied(since, str(error)), _name(action)

    def _note_done(self, action: Action) -> None:
        """What was done fails no more."""
        match action:
            case WriteRoute():
                self.unwritten.pop(action.key, None)
                self.altered.pop(action.key, None)
            case ScaleWorkload() | ReleaseReplicas():
                self._unscaled.pop((action.kind, action.target), None)
            case CopyPodSpec():
                self.uncopied = ""
            case RestorePodSpec() | ForgetPodSpec():
                self.untidied = None

    async def _write_in_turn(
        self, action: WriteRoute, world: World, gate: Gate, failing_since: float | None
    ) -> bool | None:
        """Write a route when there is a place for it, if that is still what is decided then. Raises StaleDecision."""
        mine = self._round
        if _moves_nothing(action, world):
            # A thousand runs that are taken over, or that end, at once would stand before a rollback.
            async with self._takeovers.held(self._key[0]):
                return await self._write(action, world, gate, failing_since)
        async with self._traffic.of(action).held(self._key[0]):
            if self._round != mine and action not in self._decided:
                raise StaleDecision("it stood in line, and by now something else is decided")
            return await self._write(action, world, gate, failing_since)

    async def _write(self, action: Action, world: World, gate: Gate, failing_since: float | None) -> bool | None:
        """Perform one action; False when the world had moved on and was read again instead, None when it is so already."""
        match action:
            case WriteRoute():
                seen = world.routes[action.key].reading
                return await self._routes.write(action, seen, world.rollout, gate, failing_since)
            case AddFinalizer():
                return await self._rollout(world, _add_finalizer(world.rollout), "the finalizer", _held)
            case RemoveFinalizer():
                return await self._rollout(world, _remove_finalizer(world.rollout))
            case StampRequest():
                return await self._stamp(action, world)
            case ClearRequest():
                # With it goes who wrote it, or that could be said of another one some day.
                as_ = [remove(_REQUEST_AS)] if request_of(world.rollout, AS_ANNOTATION) is not None else []
                cleared = [test(_REQUEST, action.raw), remove(_REQUEST), *as_]
                gone = partial(_without_request, action.raw)
                return await self._rollout(world, cleared, f"{REQUEST_ANNOTATION} taken off", gone)
            case CopyPodSpec():
                return await self._workloads.copy(action, world.rollout, gate)
            case RestorePodSpec():
                return await self._workloads.restore(action)
            case ForgetPodSpec():
                return await self._workloads.forget(action)
            case ScaleWorkload():
                return await self._replicas.scale(action, world.rollout, gate)
            case ReleaseReplicas():
                return await self._replicas.release(action)
            case EmitEvent():
                return True
            case _:
                assert_never(action)

    async def _rollout(
        self, world: World, ops: list[Operation], what: str = "", kept: Callable[[Json], bool] = lambda _: True
    ) -> bool | None:
        """Patch the Rollout. Raises ApiError; WriteAltered: in the answer there is not `what` was to be `kept`."""
        namespace, name = self._key
        if not ops:
            return None

        async def again() -> Json:
            return await self._kube.get(ROLLOUTS, name, namespace)

        keep = partial(self._store.put_rollout, answer=True)
        try:
            keep(answer := await self._kube.json_patch(ROLLOUTS, name, namespace, ops))
        except (Conflict, Unprocessable, NotFound) as error:
            gone: list[bool] = []  # which is what its last finalizer was for
            return await moved(error, world.rollout, again, keep, partial(gone.append, True)) or bool(gone)
        if not kept(answer):
            raise WriteAltered(f"the API server took the patch of {name} and does not keep {what}: a policy changes it")
        return True

    async def _stamp(self, action: StampRequest, world: World) -> bool | None:
        namespace, name = self._key
        fresh = await self._kube.get(ROLLOUTS, name, namespace)
        stamped = Request(verb=action.raw.strip()[:64], id=uuid.uuid4().hex, by=_annotator(fresh))
        ops = [test(_REQUEST, action.raw), replace(_REQUEST, stamped.dump())]
        kept = partial(_without_request, action.raw)
        return await self._rollout(World(Packed.of(fresh), world.routes), ops, f"the id in {REQUEST_ANNOTATION}", kept)


def _note(landing: asyncio.Future[Any]) -> None:
    """What is let go of has ended, however it did: it is nobody's mistake."""
    if not landing.cancelled():
        landing.exception()


def _moves_nothing(action: WriteRoute, world: World) -> bool:
    """Whether a write is about our annotation alone: our turn is put on it, or it is taken off what is as it should be."""
    if not action.plan.entries:
        return True
    return action.intent is None and not action.plan.patch(world.routes[action.key].reading).changes


def _pauses(action: Action, error: CanaryError) -> Backoff | None:
    """How long to wait where a policy, a rule or a right is in the way, which somebody has to edit first; None: as ever."""
    if not refusal(error):
        return None
    if isinstance(action, WriteRoute):
        rollback = action.intent is not None and action.intent.mode is Mode.ROLLBACK
        return None if rollback else HELD_ROUTE
    if isinstance(action, AddFinalizer | RemoveFinalizer):
        return HELD_ROUTE
    return REFUSED_WRITE if isinstance(action, _HELD) else None


def _name(action: Action) -> str:
    match action:
        case WriteRoute():
            mode = action.intent.mode if action.intent is not None else "release"
            return f"WriteRoute({action.key.label}, {mode})"
        case CopyPodSpec() | RestorePodSpec() | ForgetPodSpec():
            return f"{type(action).__name__}({action.target})"
        case ScaleWorkload() | ReleaseReplicas():  # the workload of another kind that has this name is another one
            return f"{type(action).__name__}({action.kind} {action.target})"
        case _:
            return type(action).__name__


def _add_finalizer(rollout: Json) -> list[Operation]:
    finalizers = rollout.get("metadata", {}).get("finalizers")
    if FINALIZER in (finalizers or []):
        return []
    if finalizers:
        return [test(_FINALIZERS, finalizers), add(_FINALIZERS + pointer("-"), FINALIZER)]
    return [unmoved(rollout), add(_FINALIZERS, [FINALIZER])]


def _remove_finalizer(rollout: Json) -> list[Operation]:
    finalizers = rollout.get("metadata", {}).get("finalizers") or []
    if FINALIZER not in finalizers:
        return []
    return [test(_FINALIZERS, finalizers), remove(_FINALIZERS + pointer(finalizers.index(FINALIZER)))]


def _held(rollout: Json) -> bool:
    return FINALIZER in (rollout.get("metadata", {}).get("finalizers") or [])


def _without_request(raw: str, rollout: Json) -> bool:
    return (rollout.get("metadata", {}).get("annotations") or {}).get(REQUEST_ANNOTATION) != raw


def _annotator(rollout: Json) -> str:
    """The field manager that set the request annotation."""
    for entry in rollout.get("metadata", {}).get("managedFields") or []:
        fields = (entry.get("fieldsV1") or {}).get("f:metadata", {}).get("f:annotations", {})
        if f"f:{REQUEST_ANNOTATION}" in fields:
            return str(entry.get("manager", ""))
    return ""
