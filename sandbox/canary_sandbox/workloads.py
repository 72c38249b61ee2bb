"""The sandbox's Deployment controller: runs replicas, rolls them over, and writes statuses and EndpointSlices.

Differences from a real cluster, all of them deliberate: there are no ReplicaSets; every pod has a port of its own, so a
Service has one EndpointSlice per pod, and unless there is a `pod_network` every pod has the address 127.0.0.1; only the
first container's plain environment is read, and arguments only where they are those of a comparer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from canary.errors import AlreadyExists, ApiError, NotFound, SandboxError
from canary.kube import DEPLOYMENTS, ENDPOINTSLICES, PODS, SERVICES, Kube, Resource
from canary_sandbox import comparers
from canary_sandbox.addresses import LOOPBACK, Locate, PodNetwork, as_written
from canary_sandbox.app import Behaviour, Faults, Override
from canary_sandbox.comparers import Comparer
from canary_sandbox.composite import Composite
from canary_sandbox.manifests import (
    MANAGED_BY_LABEL,
    PORT_ANNOTATION,
    Strategy,
    deployment_status,
    endpoint_slice,
    pod_manifest,
    pod_status,
    template_hash,
    wanted_replicas,
)
from canary_sandbox.replicas import InProcess, OwnProcess, Replica, Server, environment
from canary_sandbox.watching import Cache, Json, Key, running, watch_all

log = logging.getLogger(__name__)

MANAGED_BY = "canary-sandbox-workloads"
_READ: dict[str, Resource] = {"deployments": DEPLOYMENTS, "services": SERVICES}
_TICK = 0.03
"""Seconds between looks at replicas while something is on its way."""
_PATIENCE = 10.0
"""Seconds after which something that is still on its way is looked at less often."""


@dataclass(slots=True)
class _Workload:
    """What runs for one Deployment."""

    replicas: list[Replica] = field(default_factory=list)
    faults: Faults | None = None
    faults_of: str = ""
    trouble: str = ""
    template: str = ""
    since: float = 0.0
    """When (loop time) something last moved."""
    status: Json = field(default_factory=dict)

    def live(self) -> list[Replica]:
        return [replica for replica in self.replicas if not replica.terminating]


class Workloads(Composite):
    """Runs every Deployment of the API server. `processes`: each replica as a process of its own, not in ours.

    `drain` is how many seconds a replica keeps serving after it left its EndpointSlices, so that proxies can follow.
    `pods=False` writes no Pod objects. `pod_network` (such as 10.244.0.0/16) gives every pod an address of its own, for
    an API server that refuses loopback addresses; `locate` then says where a pod really listens.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        processes: bool = False,
        drain: float = 0.5,
        pods: bool = True,
        pod_network: str | None = None,
    ) -> None:
        self._kube = kube
        self._network = PodNetwork(pod_network) if pod_network else None
        self._processes = processes
        self._drain = drain
        self._write_pods = pods
        self._cache = Cache()
        self._workloads: dict[Key, _Workload] = {}
        self._slices: dict[Key, Json] = {}
        self._overrides: dict[str, Override] = {}
        self._changed = asyncio.Event()
        self._stopping: set[asyncio.Task[None]] = set()

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-apps-")))
        stack.push_async_callback(self._stop_all)
        await self._clear_leftovers()
        await stack.enter_async_context(watch_all(self._cache, self._kube, _READ, self._changed.set))
        await stack.enter_async_context(running(self._run()))

    async def _clear_leftovers(self) -> None:
        """What an earlier instance wrote about its replicas, in a cluster that was resumed: none of them runs any more."""
        slices = await self._kube.list(ENDPOINTSLICES, label_selector=f"{MANAGED_BY_LABEL}={MANAGED_BY}")
        pods = await self._kube.list(PODS)
        ours = [pod for pod in pods["items"] if PORT_ANNOTATION in (pod["metadata"].get("annotations") or {})]
        for resource, items in ((ENDPOINTSLICES, slices["items"]), (PODS, ours)):
            for item in items:
                with suppress(NotFound):
                    await self._kube.delete(resource, item["metadata"]["name"], item["metadata"]["namespace"])

    # --- what tests and the demo ask for -----------------------------------------------------------------------------

    @property
    def locate(self) -> Locate:
        """Where the addresses of EndpointSlices really lead."""
        return self._network.locate if self._network else as_written

    def replicas(self, namespace: str, deployment: str) -> tuple[Replica, ...]:
        """The replicas of a Deployment that are not on their way out."""
        workload = self._workloads.get((namespace, deployment))
        return tuple(workload.live()) if workload else ()

    async def served(self, namespace: str, deployment: str) -> int:
        """How many requests the live replicas have answered, copies from mirrors included."""
        live = self._find(namespace, deployment).live()
        return sum([await replica.server.served() for replica in live if not replica.crashed])

    async def copies(self, namespace: str, deployment: str) -> int:
        """How many of those were copies from mirrors, as far as a replica can tell: Envoy says so to its backends."""
        live = self._find(namespace, deployment).live()
        return sum([await replica.server.copies() for replica in live if not replica.crashed])

    async def set_fault(
        self,
        namespace: str,
        deployment: str,
        *,
        errors: float | None = None,
        latency: float | None = None,
        ready: bool | None = None,
    ) -> None:
        """Change what goes wrong, at once: `errors` is a share (0..1), `latency` in seconds; None leaves it as it is.

        Lasts until the Deployment's pod template changes. Raises SandboxError when no such Deployment runs.
        """
        workload = self._find(namespace, deployment)
        if workload.faults is None or workload.faults_of != workload.template:
            workload.faults = self._initial_faults((namespace, deployment))
            workload.faults_of = workload.template
        workload.faults = Override(errors, latency, ready).over(workload.faults)
        for replica in workload.live():
            if replica.template == workload.template and not replica.crashed:
                await replica.server.set_faults(self._faults(workload, replica))
        self._changed.set()

    def versions(self) -> dict[str, int]:
        """How many live replicas there are of each version, in all Deployments."""
        live = (replica for workload in self._workloads.values() for replica in workload.live())
        return dict(Counter(replica.behaviour.version for replica in live if not replica.crashed))

    async def override(self, overrides: Mapping[str, Override]) -> None:
        """What goes wrong by version, in every Deployment, at once and for replicas that start later.

        Goes over what pod templates and `set_fault` say; replaces the overrides of before.
        """
        self._overrides = dict(overrides)
        # Those of now: Deployments come and go while replicas are told, and who starts meanwhile reads the overrides.
        live = [(workload, one) for workload in self._workloads.values() for one in workload.live() if not one.crashed]
        for workload, replica in live:
            try:
                await replica.server.set_faults(self._faults(workload, replica))
            except SandboxError as error:  # it died meanwhile; the one that takes its place is told
                log.warning("faults: %s", error)
        self._changed.set()

    def _faults(self, workload: _Workload, replica: Replica) -> Faults:
        """What should go wrong with a replica now."""
        faults = replica.behaviour.faults
        if workload.faults is not None and workload.faults_of == replica.template:
            faults = workload.faults
        override = self._overrides.get(replica.behaviour.version)
        return faults if override is None else override.over(faults)

    async def crash(self, namespace: str, deployment: str) -> None:
        """Kill every replica; they stay down (as in a crash loop) until `recover` or a new pod template."""
        for replica in self._find(namespace, deployment).live():
            replica.crashed = True
            await replica.server.crash()
        self._changed.set()

    async def recover(self, namespace: str, deployment: str) -> None:
        """Put new replicas in the place of crashed ones."""
        for replica in self._find(namespace, deployment).live():
            if replica.crashed:
                self._retire(self._find(namespace, deployment), replica, (namespace, deployment))
        self._changed.set()

    def _find(self, namespace: str, deployment: str) -> _Workload:
        workload = self._workloads.get((namespace, deployment))
        if workload is None:
            raise SandboxError(f"no Deployment {namespace}/{deployment} runs in this sandbox")
        return workload

    def _initial_faults(self, key: Key) -> Faults:
        env, image = environment(self._cache.of("deployments")[key]["spec"]["template"]["spec"])
        return Behaviour.from_env(env, image=image).faults

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                pause = await self._reconcile()
            except ApiError as error:
                # An API server that is told to fail, a namespace that goes away: try again with what is true then.
                log.warning("workloads: %s", error)
                pause = 0.3
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _reconcile(self) -> float:
        """One round: replicas, EndpointSlices, statuses. Returns for how many seconds nothing new is expected."""
        deployments = dict(self._cache.of("deployments"))
        for key in [key for key in self._workloads if key not in deployments]:
            gone = self._workloads.pop(key)
            for replica in gone.live():
                self._retire(gone, replica, key)
        for key, deployment in deployments.items():
            await self._roll(key, deployment, self._workloads.setdefault(key, _Workload()))
        await self._write_slices()
        # A process may die at any moment without a watch event, so even a settled sandbox is looked at now and then.
        return min([await self._report(key, item, self._workloads[key]) for key, item in deployments.items()] or [1.0])

    async def _roll(self, key: Key, deployment: Json, workload: _Workload) -> None:
        """Bring the replicas of one Deployment one move nearer to what it wants."""
        template, now = template_hash(deployment), asyncio.get_running_loop().time()
        if template != workload.template:
            workload.template, workload.since, workload.trouble = template, now, ""
        for replica in workload.live():
            if await replica.refresh():
                workload.since = now
                await self._report_pod(key, deployment, replica)
        live = workload.live()
        new = [replica for replica in live if replica.template == template]
        old = [replica for replica in live if replica.template != template]
        wanted, strategy = wanted_replicas(deployment), Strategy.of(deployment)
        excess = len(new) - wanted
        for replica in sorted(new, key=lambda one: one.ready)[: max(0, excess)]:
            self._retire(workload, replica, key)
        # Old replicas that serve nobody go first; those that serve go as new ones become available.
        for replica in [one for one in old if not one.ready]:
            self._retire(workload, replica, key)
            old.remove(replica)
        ready_after = float(deployment["spec"].get("minReadySeconds") or 0)
        available = sum(replica.available(ready_after) for replica in (*new, *old))
        for replica in old[: max(0, available - (wanted - strategy.unavailable))]:
            self._retire(workload, replica, key)
            old.remove(replica)
        room = wanted + strategy.surge - len(new) - len(old)
        if strategy.recreate and any(one.template != template for one in workload.replicas):
            return  # the old ones must be gone first, those that drain too
        missing = max(0, min(room, wanted - len(new)))
        await asyncio.gather(*(self._start(key, deployment, workload) for _ in range(missing)))

    async def _start(self, key: Key, deployment: Json, workload: _Workload) -> None:
        template = workload.template
        name = f"{key[1]}-{template}-{secrets.token_hex(3)}"
        pod_template = deployment["spec"]["template"]
        try:
            env, image = environment(pod_template["spec"])
            args = comparers.arguments(pod_template["spec"])
            server: Server
            if args is not None:
                server = Comparer(name, comparers.resolved(args, partial(self._cluster_ip, key[0])), self._folder)
            elif self._processes:
                server = OwnProcess(name, env, image, self._folder)
            else:
                server = InProcess(name, env, image)
            await server.start()
            labels = (pod_template.get("metadata") or {}).get("labels") or {}
            address = self._network.allocate() if self._network else LOOPBACK
            replica = Replica(name, template, labels, server, Behaviour.from_env(env, image=image), address)
            told = replica.behaviour.faults
            while (faults := self._faults(workload, replica)) != told:  # they may change while it is being told
                await server.set_faults(faults)
                told = faults
        except SandboxError as error:
            workload.trouble = str(error)
            return
        workload.trouble = ""
        workload.replicas.append(replica)
        await replica.refresh()
        if self._write_pods:
            await self._kube.create(PODS, pod_manifest(deployment, replica), key[0])
            await self._report_pod(key, deployment, replica)

    def _cluster_ip(self, home: str, service: str, namespace: str) -> str:
        """Raises SandboxError."""
        found = self._cache.of("services").get((namespace or home, service))
        address = found["spec"].get("clusterIP") if found is not None else None
        if not address or address == "None":
            raise SandboxError(f"there is no Service {service} in namespace {namespace or home} with a ClusterIP")
        return str(address)

    async def _report_pod(self, key: Key, deployment: Json, replica: Replica) -> None:
        if not self._write_pods:
            return
        status = pod_status(replica, deployment["spec"]["template"]["spec"]["containers"][0]["name"])
        with suppress(NotFound):  # somebody deleted the object; the replica runs on
            await self._kube.merge_patch(PODS, replica.name, key[0], {"status": status}, subresource="status")

    def _retire(self, workload: _Workload, replica: Replica, key: Key) -> None:
        """Take a replica out of its Services now, and stop it once proxies had time to follow."""
        replica.terminating = True

        async def stop() -> None:
            if not replica.crashed:
                await asyncio.sleep(self._drain)
            await replica.server.stop()
            workload.replicas.remove(replica)
            if self._write_pods:
                with suppress(ApiError):  # gone with its namespace, or the API server is told to fail: only a display
                    await self._kube.delete(PODS, replica.name, key[0])
            self._changed.set()

        task = asyncio.create_task(stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop_all(self) -> None:
        for task in tuple(self._stopping):
            task.cancel()
        await asyncio.gather(*self._stopping, return_exceptions=True)
        replicas = [replica for workload in self._workloads.values() for replica in workload.replicas]
        await asyncio.gather(*(replica.server.stop() for replica in replicas))

    # --- what others read --------------------------------------------------------------------------------------------

    async def _write_slices(self) -> None:
        """One EndpointSlice per Service and replica, because every replica has a port of its own."""
        wanted = {(body["metadata"]["namespace"], body["metadata"]["name"]): body for body in self._wanted_slices()}
        for key, body in wanted.items():
            if self._slices.get(key) == body:
                continue
            change = {"endpoints": body["endpoints"], "ports": body["ports"]}
            try:
                if key in self._slices:
                    await self._kube.merge_patch(ENDPOINTSLICES, key[1], key[0], change)
                else:
                    await self._kube.create(ENDPOINTSLICES, body)
            except AlreadyExists:
                await self._kube.merge_patch(ENDPOINTSLICES, key[1], key[0], change)
            except NotFound:  # gone with its namespace or its Service, of which we hear in a moment
                self._slices.pop(key, None)
                continue
            self._slices[key] = body
        for key in self._slices.keys() - wanted.keys():
            with suppress(NotFound):
                await self._kube.delete(ENDPOINTSLICES, key[1], key[0])
            del self._slices[key]

    def _wanted_slices(self) -> Iterator[Json]:
        for service, replica in self.selected():
            yield endpoint_slice(service, replica, MANAGED_BY)

    def selected(self) -> Iterator[tuple[Json, Replica]]:
        """Every live replica with every Service that selects it."""
        for (namespace, _), service in self._cache.of("services").items():
            selector: dict[str, str] = service["spec"].get("selector") or {}
            if not selector:
                continue
            for (where, _), workload in self._workloads.items():
                if where != namespace:
                    continue
                for replica in workload.live():
                    if selector.items() <= replica.labels.items():
                        yield service, replica

    async def _report(self, key: Key, deployment: Json, workload: _Workload) -> float:
        """Write the Deployment's status if it differs; returns after how many seconds to look again."""
        idle = asyncio.get_running_loop().time() - workload.since
        overdue = idle > float(deployment["spec"].get("progressDeadlineSeconds") or 600)
        # What we wrote last, because the cache may not have heard of it yet.
        old = workload.status or deployment.get("status") or {}
        status, complete = deployment_status(
            deployment, old.get("conditions") or [], workload.live(), workload.trouble, overdue=overdue
        )
        if any(old.get(name) != value for name, value in status.items()):
            with suppress(NotFound):
                await self._kube.merge_patch(DEPLOYMENTS, key[1], key[0], {"status": status}, subresource="status")
                workload.status = status
        if complete:
            return 1.0
        return _TICK if idle < _PATIENCE else 0.3
