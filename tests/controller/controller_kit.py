"""A namespace of an API server with everybody in it who is not the controller: a gateway, Deployments, people, a clock.

Time is a `ManualClock`: nothing here sleeps to let time pass. `World.until` lets everybody finish talking, and only then
moves the clock on to the next moment that somebody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from cluster_kit import own_namespace
from resting_loop import rest

from canary.act.events import EventRecorder
from canary.controller.autoscalers import AutoscalerInformers
from canary.controller.clock import Clock, ManualClock
from canary.controller.configs import ConfigReader
from canary.controller.deps import Deps
from canary.controller.jobs import Jobs
from canary.controller.manager import Manager
from canary.controller.workload_informers import WorkloadInformers
from canary.kube import (
    CHECKTEMPLATES,
    CLUSTERCHECKTEMPLATES,
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    GATEWAYS,
    HTTPROUTES,
    NAMESPACES,
    REFERENCEGRANTS,
    ROLLOUTS,
    SERVICES,
    STATEFULSETS,
    Kube,
    KubeClient,
    Resource,
)
from canary.metrics.scripted import Scripted
from canary.model.requests import REQUEST_ANNOTATION
from canary.observe.objects import FINALIZER
from canary.observe.store import Store
from canary.preflight.offers import Platform
from canary.routes.features import Feature
from canary.routes.intent import run_annotation
from canary.telemetry import Telemetry
from canary_sandbox.apiserver import AuditEntry
from canary_sandbox.apiserver.generic import GenericApiServer

RUN_ANNOTATION = run_annotation("shop")

Json = dict[str, Any]

START = datetime.now(UTC).replace(microsecond=0)
"""A real API server stamps objects with the time of day, so the controller's clock begins there."""
WRITES = frozenset({"patch", "update", "create", "delete", "deletecollection"})
PROMPT = {"poll": 0.05, "denied": 0.05, "soon": 0.01, "stale": 0.3, "fresh": 0.05}
"""Seconds after which it is asked again about kinds of workloads that cannot be seen, on the wall clock."""
CONTROLLER = "system:serviceaccount:canary:controller"
REAL_SECONDS = 60.0
"""How long anything may take on the wall clock before a test gives up: a machine that is shared may stand still for a while."""

# -- documents -------------------------------------------------------------------------------------------------------


def backend(name: str, weight: int | None, **more: Any) -> Json:
    document = {"name": name, "port": 80, **more}
    return document if weight is None else {**document, "weight": weight}


def rule(*refs: Json, **more: Any) -> Json:
    return {"backendRefs": list(refs) or [backend("stable", 1), backend("canary", 0)], **more}


def route_document(name: str = "shop", *rules: Json, **metadata: Any) -> Json:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, **metadata},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "hostnames": ["shop.example.org"],
            "rules": list(rules) or [rule(matches=[{"path": {"type": "PathPrefix", "value": "/"}}])],
        },
    }


def deployment_document(name: str, version: int = 1) -> Json:
    return workload_document(DEPLOYMENTS, name, version)


def workload_document(resource: Resource, name: str, version: int = 1) -> Json:
    """One of any kind that has replicas, a selector and a pod template."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": f"shop:{version}"}]},
            },
        },
    }


def service_document(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    }


def gateway_document(name: str = "gw", *listeners: Json) -> Json:
    """A Gateway that takes whatever is in its namespace."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {
            "gatewayClassName": "gateways-of-the-tests",
            "listeners": list(listeners) or [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    }


def grant_document(namespace: str, name: str = "shop") -> Json:
    return {
        "apiVersion": REFERENCEGRANTS.api_version,
        "kind": "ReferenceGrant",
        "metadata": {"name": name},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": namespace}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }


def check(**changes: Any) -> Json:
    document = {
        "name": "errors",
        "prometheus": {"query": 'errors{service="{{ canary.service }}",weight="{{ weight }}"}'},
        "interval": "1s",
        "threshold": {"max": "1%"},
        **changes,
    }
    return {key: value for key, value in document.items() if value is not None}


def rollout_document(name: str = "shop", **spec: Any) -> Json:
    document: Json = {
        "routes": [{"name": "shop"}],
        "stable": {"service": "stable", "port": 80},
        "canary": {"service": "canary", "port": 80},
        "workloads": {"stable": {"name": "stable"}, "canary": {"name": "canary"}},
        "steps": [{"weight": 10, "hold": "2s"}, {"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "2s"}],
        "checks": [check()],
        **spec,
    }
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {key: value for key, value in document.items() if value is not None},
    }


def template_document(name: str = "latency", kind: str = "CheckTemplate", **spec: Any) -> Json:
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "args": [{"name": "limit", "required": True}],
            "prometheus": {"query": 'latency{service="{{ canary.service }}"}'},
            "interval": "1s",
            "threshold": {"max": "{{ args.limit }}"},
            **spec,
        },
    }


def counter_document(query: str = "n {{ args.route }} {{ backend.service }}", kind: str = "CheckTemplate") -> Json:
    """A template of traffic."""
    counted = {"prometheus": {"query": query}, "interval": "1s", "lag": "2s"}
    found = template_document("traffic", kind)
    return {**found, "spec": {"args": [{"name": "route", "required": True}], "traffic": counted}}


# -- the line to the API server ---------------------------------------------------------------------------------------


@dataclass
class Traffic:
    """What is on the wires of everybody in a world."""

    in_flight: int = 0
    count: int = 0
    recorded: datetime | None = None
    """When the status of a Rollout was written last, by the world's clock."""
    ahead: timedelta = timedelta(0)
    """How much later than it is the API server says that it is, in the Date of its answers."""


@dataclass(frozen=True)
class Sent:
    """One write of the controller, as it left."""

    at: datetime
    method: str
    resource: str
    path: str
    body: Any


Cut = Callable[[int, Any], str]
"""From the index of a write and the request to "" (let it pass), "before" or "after": where the process dies.

"held before" and "held after": from there on nothing goes out and nothing comes in, until the line is released, and then all
of it does: as of a process that is stopped and goes on, or of a wire that was cut.
"""


class Line:
    """Stands in for a Kube's transport: counts what is under way, keeps writes, and can die at one of them.

    Once dead, nothing leaves any more and nothing that was asked is ever answered, as with a killed process.
    """

    def __init__(self, inner: Any, traffic: Traffic, clock: ManualClock, cut: Cut | None = None) -> None:
        self.connection = inner.connection
        self.sent: list[Sent] = []
        self.dead = asyncio.Event()
        self.held = asyncio.Event()
        self.released = asyncio.Event()
        self._inner = inner
        self._traffic = traffic
        self._clock = clock
        self._cut = cut

    @property
    def server_time(self) -> datetime | None:
        """By the clock of the server, as if it had gone on as the world's did since a status was written last."""
        found: datetime | None = self._inner.server_time
        if found is None or self._traffic.recorded is None:
            return found
        return found + (self._clock.now() - self._traffic.recorded) + self._traffic.ahead

    async def json(self, request: Any) -> Json:
        if self.dead.is_set():
            await _never()
        where = ""
        if request.method != "GET":
            where = self._cut(len(self.sent), request) if self._cut is not None else ""
            sent = Sent(self._clock.now(), request.method, request.resource, request.path, request.body)
            self.sent.append(sent)
            said = request.body.get("status") if isinstance(request.body, dict) else None
            if request.resource == "rollouts/status" and set(said or {}) & {
                "phase",
                "run",
                "step",
                "paused",
                "lastRequest",
            }:
                self._traffic.recorded = self._clock.now()
        if where == "before":
            self.dead.set()
            await _never()
        if where == "held before":
            self.held.set()
        await self._pass()
        self._traffic.in_flight += 1
        self._traffic.count += 1
        try:
            answer = await self._inner.json(request)
        finally:
            self._traffic.in_flight -= 1
            self._traffic.count += 1
            if where == "after":
                self.dead.set()
            if where == "held after":
                self.held.set()
        await self._pass()
        if self.dead.is_set():
            await _never()
        return answer

    async def text(self, request: Any) -> bytes:
        return json.dumps(await self.json(request)).encode()

    async def lines(self, request: Any, vigil: Any) -> AsyncIterator[bytes]:
        """A watch is under way until it is answered, as any request: a server may take its time for that, and then it is open."""
        with contextlib.ExitStack() as asked:
            self._traffic.in_flight += 1
            asked.callback(self._answered)
            vigil.opened = _first(asked.close, vigil.opened)
            async with contextlib.aclosing(self._inner.lines(request, vigil)) as lines:
                async for line in lines:
                    if self.dead.is_set():
                        await _never()
                    await self._pass()
                    self._traffic.count += 1
                    yield line

    def _answered(self) -> None:
        self._traffic.in_flight -= 1

    async def _pass(self) -> None:
        if self.held.is_set():
            await self.released.wait()
        if self.dead.is_set():
            await _never()

    async def close(self) -> None:
        """The inner transport is shared."""


def _first(one: Callable[[], None], other: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        one()
        other()

    return both


async def _never() -> None:
    await asyncio.Event().wait()


class Clients:
    """Everybody who talks to one API server, each with a token and a connection of their own, for all its worlds."""

    def __init__(self, api: GenericApiServer) -> None:
        self.api = api
        self._transports: dict[str, Any] = {}
        self._tokens: dict[str, str] = {}

    def token(self, user: str) -> str:
        if user not in self._tokens:
            self._tokens[user] = self.api.add_token(user)
        return self._tokens[user]

    async def transport(self, user: str) -> Any:
        """The transport of somebody. A connection costs 30 ms to set up, mostly for TLS that nobody needs here."""
        if user not in self._transports:
            kube = await KubeClient.connect(server=self.api.url, token=self.token(user), user_agent=user)
            self._transports[user] = kube._transport
        return self._transports[user]

    async def close(self) -> None:
        await asyncio.gather(*(transport.close() for transport in self._transports.values()))


# -- those who answer -------------------------------------------------------------------------------------------------


class Gateway:
    """Answers routes: Accepted and ResolvedRefs at their generation. Can be told to wait, or to refuse, by route name."""

    def __init__(self, kube: Kube, namespace: str, clock: ManualClock, resource: Resource = HTTPROUTES) -> None:
        self._kube, self._namespace, self._clock, self._resource = kube, namespace, clock, resource
        self._seen: dict[str, Json] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.waiting: set[str] = set()
        self.refusing: dict[str, str] = {}
        self.delay = 0.0
        """Seconds (of the world's clock) from a new generation to the answer."""
        self.accepted: dict[tuple[str, int], datetime] = {}
        """When which generation of which route was accepted."""

    async def run(self) -> None:
        async for event in self._kube.list_and_watch(self._resource, self._namespace):
            if event.type in {"ADDED", "MODIFIED"}:
                name, generation = event.object["metadata"]["name"], event.object["metadata"]["generation"]
                before = self._seen.get(name)
                self._seen[name] = event.object
                if self.delay and before is not None and before["metadata"]["generation"] != generation:
                    task = asyncio.create_task(self._later(name))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)
                elif not self.delay:
                    await self._answer(event.object)

    async def _later(self, name: str) -> None:
        await self._clock.sleep(self.delay)
        await self._answer(self._seen[name])

    async def wait(self, *names: str) -> None:
        """Answer nothing more for these routes."""
        self.waiting |= set(names)

    async def refuse(self, name: str, message: str) -> None:
        """Answer the next generations of a route with Accepted=False, and the present one too."""
        self.refusing[name] = message
        await self._answer(self._seen[name])

    async def accept(self, *names: str) -> None:
        """Go back to normal, and answer what is open."""
        for name in names:
            self.waiting.discard(name)
            self.refusing.pop(name, None)
            await self._answer(self._seen[name])

    async def _answer(self, route: Json) -> None:
        metadata = route["metadata"]
        name, generation = metadata["name"], metadata["generation"]
        if name in self.waiting:
            return
        refusal = self.refusing.get(name)
        parents = [self._report(parent, generation, refusal) for parent in route["spec"]["parentRefs"]]
        if (route.get("status") or {}).get("parents") == parents:
            return
        if refusal is None:
            self.accepted.setdefault((name, generation), self._clock.now())
        with contextlib.suppress(
            Exception
        ):  # deleted meanwhile, or a fault that the test asked for: the next event heals
            await self._kube.merge_patch(
                self._resource, name, self._namespace, {"status": {"parents": parents}}, subresource="status"
            )

    @staticmethod
    def _report(parent: Json, generation: int, refusal: str | None) -> Json:
        said = {"Accepted": refusal is None, "ResolvedRefs": True}
        conditions = [
            {
                "type": kind,
                "status": "True" if good else "False",
                "reason": kind if good else "UnsupportedValue",
                "message": "" if good else refusal,
                "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, good in said.items()
        ]
        ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", **parent}
        return {"parentRef": ref, "controllerName": "example.org/gateway", "conditions": conditions}


class Workloads:
    """Makes workloads of a kind ready as they are declared; can hold one back, or take away its replicas."""

    def __init__(self, kube: Kube, namespace: str, resource: Resource = DEPLOYMENTS) -> None:
        self._kube, self._namespace, self._resource = kube, namespace, resource
        self._seen: dict[str, Json] = {}
        self._held: set[str] = set()
        self._lost: set[str] = set()

    async def run(self) -> None:
        async for event in self._kube.list_and_watch(self._resource, self._namespace):
            if event.type in {"ADDED", "MODIFIED"}:
                self._seen[event.object["metadata"]["name"]] = event.object
                await self._roll(event.object)

    def hold(self, name: str) -> None:
        """Roll nothing more out."""
        self._held.add(name)

    async def release(self, name: str) -> None:
        self._held.discard(name)
        await self._roll(self._seen[name])

    async def lose(self, name: str) -> None:
        """Take every ready replica away."""
        self._lost.add(name)
        await self._roll(self._seen[name])

    async def _roll(self, deployment: Json) -> None:
        name = deployment["metadata"]["name"]
        if name in self._held:
            return
        replicas = deployment["spec"].get("replicas", 1)
        ready = 0 if name in self._lost else replicas
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        status = STATUSES[self._resource](deployment, ready) if self._resource in STATUSES else status
        now = deployment.get("status") or {}
        if all(now.get(key, 0) == value for key, value in status.items()):
            return
        with contextlib.suppress(Exception):
            await self._kube.merge_patch(
                self._resource, name, self._namespace, {"status": status}, subresource="status"
            )


def _stateful(document: Json, ready: int) -> Json:
    """What a StatefulSet's controller says of one that is rolled out."""
    replicas, generation = document["spec"].get("replicas", 1), document["metadata"]["generation"]
    counts = dict.fromkeys(("replicas", "currentReplicas", "updatedReplicas"), replicas)
    revisions = dict.fromkeys(("currentRevision", "updateRevision"), f"revision-{generation}")
    return {"observedGeneration": generation, "readyReplicas": ready, "availableReplicas": ready, **counts, **revisions}


def _on_each_node(document: Json, ready: int) -> Json:
    """What a DaemonSet's says, of two nodes."""
    nodes = 2 if ready else 0
    said = {
        "desiredNumberScheduled": 2,
        "currentNumberScheduled": 2,
        "updatedNumberScheduled": 2,
        "numberMisscheduled": 0,
    }
    return {
        "observedGeneration": document["metadata"]["generation"],
        "numberReady": nodes,
        "numberAvailable": nodes,
        **said,
    }


STATUSES: dict[Resource, Callable[[Json, int], Json]] = {STATEFULSETS: _stateful, DAEMONSETS: _on_each_node}
"""How controllers of other kinds than Deployments speak."""


@dataclass
class Records:
    """Every version of the routes and Rollouts of a namespace, as a watch told it."""

    versions: dict[str, list[Json]] = field(default_factory=dict)
    present: dict[tuple[str, str], Json] = field(default_factory=dict)

    async def follow(self, kube: Kube, resource: Resource, namespace: str, synced: asyncio.Event) -> None:
        async for event in kube.list_and_watch(resource, namespace):
            if event.type == "SYNCED":
                synced.set()
                continue
            key = (resource.plural, event.object["metadata"]["name"])
            if event.type == "DELETED":
                self.present.pop(key, None)
            else:
                self.present[key] = event.object
                self.versions.setdefault(resource.plural, []).append(event.object)


# -- a controller without kopf ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SkewedClock:
    """The clock of a machine that is set to another time of day than all others."""

    inner: Clock
    by: timedelta

    def now(self) -> datetime:
        return self.inner.now() + self.by

    async def sleep(self, seconds: float) -> None:
        await self.inner.sleep(seconds)


class ControllerInstance:
    """One instance of a controller: manager and reconcilers fed by plain watches. It ends by `stop`, or by `kill` or its `cut`."""

    def __init__(
        self,
        world: World,
        cut: Cut | None = None,
        *,
        held: bool = False,
        rollouts: bool = True,
        skew: float = 0.0,
    ) -> None:
        self._world = world
        self._clock: Clock = SkewedClock(world.clock, timedelta(seconds=skew)) if skew else world.clock
        self._cut = cut
        self._held = held
        self._rollouts = rollouts
        self._tasks: list[asyncio.Task[None]] = []
        self.telemetry = Telemetry()

    async def start(self) -> ControllerInstance:
        world = self._world
        transport = await world.clients.transport(CONTROLLER)
        transport.on_request = self.telemetry.api_request
        self.line = Line(transport, world.traffic, world.clock, self._cut)
        self.kube = KubeClient(self.line)  # type: ignore[arg-type]  # the same three methods
        self._recorder = EventRecorder(self.kube)
        await self._recorder.__aenter__()
        self.store = Store(platform=Platform({"*": frozenset(Feature)}))
        jobs = Jobs(self.kube, self._clock)
        deps = Deps(self.kube, self.store, self._recorder, world.provider, self.telemetry, self._clock, jobs=jobs)
        self.manager = Manager(deps, held=self._held)
        manager = self.manager
        await self._follow(CLUSTERCHECKTEMPLATES, lambda kind, obj: manager.template("ClusterCheckTemplate", kind, obj))
        await self.look_after(world.namespace)
        return self

    async def look_after(self, namespace: str) -> None:
        """Follow what is in a namespace."""
        manager = self.manager
        for resource in self._world.gateways:
            await self._follow(resource, manager.route, namespace)
        await self._follow(DEPLOYMENTS, manager.workload, namespace)
        await self._follow(CHECKTEMPLATES, lambda kind, obj: manager.template("CheckTemplate", kind, obj), namespace)
        self._tasks.append(asyncio.create_task(AutoscalerInformers(self.kube, manager, (namespace,)).run()))
        self._tasks.append(asyncio.create_task(WorkloadInformers(self.kube, manager, (namespace,), **PROMPT).run()))
        self._tasks.append(asyncio.create_task(ConfigReader(self.kube, manager).run()))
        if self._rollouts:
            await self.follow_rollouts(namespace)

    async def follow_rollouts(self, namespace: str, pass_on: Callable[[str, Json], None] | None = None) -> None:
        """Returns when those of a namespace are listed. `pass_on` gets the news instead of the manager."""
        await self._follow(ROLLOUTS, pass_on or self.manager.rollout, namespace)
        self.manager.listed()

    async def _follow(
        self, resource: Resource, pass_on: Callable[[str, Json], None], namespace: str | None = None
    ) -> None:
        synced = asyncio.Event()

        async def run() -> None:
            async for event in self.kube.list_and_watch(resource, namespace):
                if event.type == "SYNCED":
                    synced.set()
                else:
                    pass_on(event.type, event.object)

        task = asyncio.create_task(run())
        self._tasks.append(task)
        waiting = asyncio.ensure_future(synced.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            task.result()

    @property
    def dead(self) -> bool:
        return self.line.dead.is_set()

    async def kill(self) -> None:
        """Die on the spot: nothing is cleaned up, no request leaves any more."""
        self.line.dead.set()
        self._recorder.cancel()
        await self._end()

    async def stop(self) -> None:
        """End as SIGTERM does."""
        await self.manager.__aexit__()
        await self._recorder.__aexit__()
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.manager.__aexit__()
        await asyncio.gather(*self._tasks, return_exceptions=True)


# -- the world --------------------------------------------------------------------------------------------------------


class World:
    """A namespace with a gateway, Deployments, people and a clock.

    `horizon`: a timer of the real clock that is due within so many seconds is waited for when the world settles.
    """

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.api = clients.api
        self.namespace = own_namespace("team")
        self.clock = ManualClock(START)
        self.provider = Scripted({"errors": 0.0})
        self.traffic = Traffic()
        self.records = Records()
        self.horizon = 0.0
        self._stack = AsyncExitStack()
        self._instances: list[ControllerInstance] = []

    async def __aenter__(self) -> Self:
        self.admin = await self.person("admin-person")
        self.alice = await self.person("alice")
        self.gitops = await self.person("gitops")
        await self.admin.create(
            NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        )
        self.gateway = Gateway(await self.person("gateway"), self.namespace, self.clock)
        self.gateways = {HTTPROUTES: self.gateway}
        self.workloads = Workloads(await self.person("kubelet"), self.namespace)
        watcher = await self.person("watcher")
        for resource in (HTTPROUTES, ROLLOUTS, DEPLOYMENTS):
            synced = asyncio.Event()
            self._task(self.records.follow(watcher, resource, self.namespace, synced))
            await asyncio.wait_for(synced.wait(), REAL_SECONDS)
        self._task(self.gateway.run())
        self._task(self.workloads.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        for instance in self._instances:
            if not instance.dead:
                await instance.kill()
        await self._stack.aclose()

    def _task(self, work: Any) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)

    async def person(self, name: str) -> Kube:
        """A connection of somebody, whose name is user, user agent and field manager."""
        line = Line(await self.clients.transport(name), self.traffic, self.clock)
        return KubeClient(line, field_manager=name)  # type: ignore[arg-type]

    # -- set-up

    async def route_kind(self, resource: Resource) -> Gateway:
        """Have routes of another kind too: a gateway answers them, records keep them, a controller that starts follows them."""
        synced = asyncio.Event()
        self._task(self.records.follow(await self.person("watcher"), resource, self.namespace, synced))
        await asyncio.wait_for(synced.wait(), REAL_SECONDS)
        gateway = Gateway(await self.person("gateway"), self.namespace, self.clock, resource)
        self._task(gateway.run())
        self.gateways[resource] = gateway
        return gateway

    async def workload_kind(self, resource: Resource) -> Workloads:
        """Have workloads of another kind too: somebody makes them ready, records keep them."""
        synced = asyncio.Event()
        self._task(self.records.follow(await self.person("watcher"), resource, self.namespace, synced))
        await asyncio.wait_for(synced.wait(), REAL_SECONDS)
        workloads = Workloads(await self.person("kubelet"), self.namespace, resource)
        self._task(workloads.run())
        return workloads

    async def create(self, resource: Resource, document: Json, by: Kube | None = None) -> Json:
        """In this world's namespace; what belongs to no namespace is deleted at the end of the world."""
        namespace = self.namespace if resource.namespaced else None
        created = await (by or self.gitops).create(resource, document, namespace)
        if namespace is None:
            self._stack.push_async_callback(self.admin.delete, resource, created["metadata"]["name"])
        return created

    async def furnish(self, *routes: Json, version: int = 1) -> None:
        """A Gateway, two Services, two Deployments and routes (one named shop), all of it ready and accepted."""
        await self.create(GATEWAYS, gateway_document())
        for name in ("stable", "canary"):
            await self.create(SERVICES, service_document(name))
            await self.create(DEPLOYMENTS, deployment_document(name, version))
        for document in routes or (route_document(),):
            await self.create(HTTPROUTES, document)
        await self.settle()

    async def declare(self, name: str = "shop", **spec: Any) -> Json:
        return await self.create(ROLLOUTS, rollout_document(name, **spec))

    async def begin(self, *routes: Json, cut: Cut | None = None, **spec: Any) -> ControllerInstance:
        """Furnish, declare, start a controller, and let it find everything settled."""
        await self.furnish(*routes)
        await self.declare(**spec)
        instance = await self.start_controller(cut)
        await self.until(lambda: self.phase() in {"Idle", "Invalid"})
        return instance

    async def start_controller(
        self,
        cut: Cut | None = None,
        *,
        held: bool = False,
        rollouts: bool = True,
        skew: float = 0.0,
    ) -> ControllerInstance:
        """`held`: it only takes in what it is told, until its manager is told otherwise. Without `rollouts` it follows none yet.

        `skew` is how many seconds its clock is ahead of the others.
        """
        instance = await ControllerInstance(self, cut, held=held, rollouts=rollouts, skew=skew).start()
        self._instances.append(instance)
        return instance

    async def deploy(self, version: int, name: str = "canary", resource: Resource = DEPLOYMENTS) -> None:
        """A new image on a Deployment, or another workload, as CI does it."""
        containers = deployment_document(name, version)["spec"]["template"]["spec"]["containers"]
        spec = {"template": {"spec": {"containers": containers}}}
        await self.gitops.merge_patch(resource, name, self.namespace, {"spec": spec})

    async def ask(self, value: str | Json, by: Kube | None = None, name: str = "shop") -> None:
        """Set the request annotation."""
        text = value if isinstance(value, str) else json.dumps(value)
        body = {"metadata": {"annotations": {REQUEST_ANNOTATION: text}}}
        await (by or self.alice).merge_patch(ROLLOUTS, name, self.namespace, body)

    async def edit(self, name: str = "shop", by: Kube | None = None, **spec: Any) -> None:
        await (by or self.gitops).merge_patch(ROLLOUTS, name, self.namespace, {"spec": spec})

    async def set_rules(self, by: Kube, *rules: Json, name: str = "shop") -> None:
        """Write all rules of a route, as a GitOps tool does."""
        await by.merge_patch(HTTPROUTES, name, self.namespace, {"spec": {"rules": list(rules)}})

    async def set_weights(self, by: Kube, stable: int, canary: int, name: str = "shop") -> None:
        """Set the weights of our pair in the first rule."""
        rules = json.loads(json.dumps(self.route(name)["spec"]["rules"]))
        for ref in rules[0]["backendRefs"]:
            if ref["name"] in {"stable", "canary"}:
                ref["weight"] = stable if ref["name"] == "stable" else canary
        await self.set_rules(by, *rules, name=name)

    # -- what is there, by the watches

    def find(self, resource: Resource, name: str) -> Json | None:
        return self.records.present.get((resource.plural, name))

    def rollout(self, name: str = "shop") -> Json:
        found = self.find(ROLLOUTS, name)
        assert found is not None, f"no Rollout {name}"
        return found

    def status(self, name: str = "shop") -> Json:
        status = (self.find(ROLLOUTS, name) or {}).get("status")
        return status if isinstance(status, dict) else {}

    def phase(self, name: str = "shop") -> str:
        return str(self.status(name).get("phase", ""))

    def message(self, name: str = "shop") -> str:
        return str(self.status(name).get("message", ""))

    def step(self, name: str = "shop") -> int:
        return int((self.status(name).get("step") or {}).get("index", -1))

    def run_number(self, name: str = "shop") -> int:
        return int((self.status(name).get("run") or {}).get("number", 0))

    def condition(self, kind: str, name: str = "shop") -> Json:
        return next((item for item in self.status(name).get("conditions", []) if item["type"] == kind), {})

    def request(self, name: str = "shop") -> Json:
        last = self.status(name).get("lastRequest") or {}
        return {**last, "words": f"{last['outcome'].lower()}: {last['message']}"} if last else {}

    def pending_request(self, name: str = "shop") -> str | None:
        found: str | None = (self.rollout(name)["metadata"].get("annotations") or {}).get(REQUEST_ANNOTATION)
        return found

    def finalizers(self, name: str = "shop") -> list[str]:
        return list(self.rollout(name)["metadata"].get("finalizers") or [])

    def route(self, name: str = "shop", resource: Resource = HTTPROUTES) -> Json:
        found = self.find(resource, name)
        assert found is not None, f"no route {name}"
        return found

    def intent(self, name: str = "shop", resource: Resource = HTTPROUTES) -> Json | None:
        raw = (self.route(name, resource)["metadata"].get("annotations") or {}).get(RUN_ANNOTATION)
        return json.loads(raw) if raw else None

    def weights(self, name: str = "shop", resource: Resource = HTTPROUTES) -> tuple[int, int]:
        """Weights of stable and canary in the first rule."""
        return pair_weights(self.route(name, resource)["spec"]["rules"][0])

    def image(self, name: str, resource: Resource = DEPLOYMENTS) -> str:
        found = self.find(resource, name)
        assert found is not None
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def untouched(self, name: str = "shop") -> bool:
        """Whether the controller never wrote a route."""
        return not any(entry.resource == "httproutes" and entry.name == name for entry in self.writes())

    async def events(self) -> list[Json]:
        found = await self.admin.list(EVENTS, self.namespace)
        return sorted(found["items"], key=lambda event: int(event["metadata"]["resourceVersion"]))

    async def reasons(self) -> list[str]:
        return [event["reason"] for event in await self.events()]

    # -- what was asked of the API server

    def audited(self, user: str = CONTROLLER) -> list[AuditEntry]:
        """Requests of somebody about this namespace, oldest first."""
        return [entry for entry in self.api.audit if entry.user == user and entry.namespace == self.namespace]

    def writes(self, user: str = CONTROLLER) -> list[AuditEntry]:
        return [entry for entry in self.audited(user) if entry.verb in WRITES]

    # -- time

    async def settle(self) -> None:
        """Return when nobody has anything to say any more at this moment of the clock."""
        async with asyncio.timeout(REAL_SECONDS):
            await rest(self.horizon, lambda: bool(self.traffic.in_flight or self.api.busy))

    async def until(self, condition: Callable[[], bool], *, within: float = 900, pace: float = 1.0) -> None:
        """Let time pass (at most `pace` seconds at once, `within` seconds in all) until a condition holds."""
        end = self.clock.now().timestamp() + within
        begun, first, rests = time.monotonic(), self.clock.now(), 0
        deadline = begun + REAL_SECONDS
        while not condition():
            await self.settle()
            rests += 1
            if condition():
                return
            wake = self.clock.next_wake
            now = self.clock.now()
            late = time.monotonic() > deadline
            assert now.timestamp() < end, f"in vain until {now}: {self._state()}"
            assert not late, (
                f"too slow at {now}: the clock came from {first} in {time.monotonic() - begun:.1f} s, with {rests} rests, and is "
                f"to ring at {wake}; the last requests: {[str(entry) for entry in [*self.api.audit][-12:]]}; {self._state()}"
            )
            if wake is not None:
                self.clock.advance(min(pace, max((wake - now).total_seconds(), 0)))

    async def pass_(self, seconds: float, pace: float = 1.0) -> None:
        """Let this much time pass, everybody acting in it as they would."""
        end = self.clock.now().timestamp() + seconds
        await self.settle()
        while (left := end - self.clock.now().timestamp()) > 1e-6:
            wake = self.clock.next_wake
            near = pace if wake is None else max((wake - self.clock.now()).total_seconds(), 0.001)
            self.clock.advance(min(left, pace, near))
            await self.settle()

    def _state(self) -> str:
        return json.dumps(
            {"rollouts": [self.status(name) for kind, name in self.records.present if kind == "rollouts"]}
        )


async def really(
    condition: Callable[[], bool], within: float = REAL_SECONDS, *, says: Callable[[], object] | None = None
) -> None:
    """Wait on the wall clock; the world's clock stands still. `says`: what there is instead, for who has waited in vain."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {says() if says is not None else ''}"
        await asyncio.sleep(0.005)


def pair_weights(rule_: Json) -> tuple[int, int]:
    refs = {ref["name"]: ref.get("weight", 1) for ref in rule_["backendRefs"]}
    return refs["stable"], refs["canary"]


def clean(world: World, name: str = "shop", *routes: str) -> Iterator[str]:
    """What a run has left behind, in words; nothing is what it should be."""
    if FINALIZER in world.finalizers(name):
        yield "the finalizer is still there"
    if world.pending_request(name):
        yield "a request is still there"
    for route in routes or ("shop",):
        if world.intent(route) is not None:
            yield f"the annotation on {route} is still there"
