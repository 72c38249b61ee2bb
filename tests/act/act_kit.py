"""An executor over a real API server, and the world that its decisions have seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cluster_kit import api_server, install_all, own_namespace

from canary.act.backoff import Backoffs
from canary.act.events import EventRecorder
from canary.act.executor import Executor, Traffic, World
from canary.decide.actions import WriteRoute
from canary.fair import Limit
from canary.kube import DEPLOYMENTS, EVENTS, HTTPROUTES, NAMESPACES, ROLLOUTS, Kube, KubeClient
from canary.kube.retry import ROUTE_WRITE
from canary.model.rollout import RouteKind
from canary.observe.store import Store
from canary.routes.intent import Intent, Mode
from canary.routes.key import RouteKey
from canary.routes.pair import Backend, Pair, Weights
from canary.routes.plan import RoutePlan
from canary_sandbox.apiserver import Fault
from canary_sandbox.apiserver.generic import GenericApiServer

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TEAM = own_namespace("team")


async def until(condition: Callable[[], bool]) -> None:
    """Wait on the wall clock, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        await asyncio.sleep(0.005)


def route(name: str = "shop", **metadata: Any) -> Json:
    refs = [{"name": "stable", "port": 80, "weight": 90}, {"name": "canary", "port": 80, "weight": 10}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": TEAM, **metadata},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": refs}]},
    }


def rollout(**metadata: Any) -> Json:
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "shop", "namespace": TEAM, **metadata},
        "spec": {
            "routes": [{"name": "shop"}],
            "stable": {"service": "stable", "port": 80},
            "canary": {"service": "canary", "port": 80},
            "steps": [{"weight": 10}],
        },
    }


def deployment(name: str, image: str) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    }


PAIR = Pair(Backend("stable", TEAM, 80), Backend("canary", TEAM, 80))


def key(name: str) -> RouteKey:
    return RouteKey(RouteKind.HTTP, TEAM, name)


def write(name: str = "shop", stable: int = 50, canary: int = 50, mode: Mode | None = Mode.STEP) -> WriteRoute:
    """Give the only rule these weights; with a mode also the annotation, without one its removal."""
    weights = {"#0": Weights(stable, canary)}
    intent = Intent("shop", "uid", 1, mode, 1, weights, {"#0": Weights(90, 10)}) if mode is not None else None
    return WriteRoute(key(name), RoutePlan.dividing(PAIR, weights), intent)


@dataclass
class Bench:
    """What a test of the executor needs. `see` reads everything that is in the world now."""

    api: GenericApiServer
    kube: Kube
    other: Kube
    recorder: EventRecorder
    store: Store = field(default_factory=Store)
    rollbacks: list[float] = field(default_factory=list)
    landed: list[str] = field(default_factory=list)
    patient: int = 0
    """Writes that have stood in the line of those that can wait."""

    def __post_init__(self) -> None:
        self.backoffs = Backoffs(ROUTE_WRITE.backoff)
        self.traffic = Traffic(Limit(4), Limit(4))
        self.executor = self.make_executor(TEAM)

    def make_executor(self, namespace: str) -> Executor:
        """One that shares everything with the others."""
        return Executor(
            (namespace, "shop"),
            self.kube,
            self.store,
            self.recorder,
            self.backoffs,
            self.rollbacks.append,
            lambda: self.landed.append("landed"),
            takeovers=self,
            traffic=self.traffic,
        )

    @asynccontextmanager
    async def held(self, _: str) -> AsyncIterator[None]:
        """The line of those that can wait; nobody is in it."""
        self.patient += 1
        yield

    async def see(self) -> World:
        for document in (await self.kube.list(HTTPROUTES, TEAM))["items"]:
            self.store.put_route(document)
        for document in (await self.kube.list(ROLLOUTS, TEAM))["items"]:
            self.store.put_rollout(document)
        for document in (await self.kube.list(DEPLOYMENTS, TEAM))["items"]:
            self.store.put_workload(document)
        return World(self.store.rollouts[TEAM, "shop"], dict(self.store.routes))

    async def weights(self, name: str = "shop") -> list[int]:
        refs = (await self.kube.get(HTTPROUTES, name, TEAM))["spec"]["rules"][0]["backendRefs"]
        return [ref["weight"] for ref in refs]

    def fault(self, **what: Any) -> Fault:
        return self.api.faults.add(Fault(**{"verb": "patch", "user": "controller", **what}))

    async def events(self) -> list[Json]:
        await asyncio.wait_for(self.recorder._idle.wait(), 60)  # a stop waits less long than a busy machine may take
        await self.recorder.__aexit__()
        found = (await self.kube.list(EVENTS, TEAM))["items"]
        return [event for event in found if event["reportingComponent"] == "canary"]  # a cluster tells things, too


@asynccontextmanager
async def make_bench() -> AsyncIterator[Bench]:
    async with api_server() as api:
        await install_all(api)
        async with (
            await KubeClient.connect(server=api.url, token=api.add_token("controller")) as kube,
            await KubeClient.connect(server=api.url, token=api.add_token("other"), field_manager="other") as other,
            EventRecorder(kube) as recorder,
        ):
            await other.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
            for resource, document in (
                (HTTPROUTES, route()),
                (HTTPROUTES, route("api")),
                (ROLLOUTS, rollout()),
                (DEPLOYMENTS, deployment("stable", "shop:1")),
                (DEPLOYMENTS, deployment("canary", "shop:2")),
            ):
                await other.create(resource, document)
            yield Bench(api, kube, other, recorder)
