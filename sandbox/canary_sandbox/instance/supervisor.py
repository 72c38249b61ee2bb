"""The process that is the cluster: starts it, keeps its state on disk, and ends it when asked."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from canary.errors import ApiError, NotFound, SandboxError
from canary.kube import DEPLOYMENTS, GATEWAYS, ROLLOUTS
from canary_sandbox.apiserver import Snapshot
from canary_sandbox.app import Faults, Override
from canary_sandbox.cluster import CONTROLLERS, GatewayKind, Ports, Sandbox
from canary_sandbox.gateway import EnvoyGateway
from canary_sandbox.instance import rights, world
from canary_sandbox.instance.control import Control
from canary_sandbox.instance.folder import Folder, birth_of, report_of, settings_of, turn, write
from canary_sandbox.instance.manager import Manager
from canary_sandbox.manifests import wanted_replicas
from canary_sandbox.process import free_or_any, free_port
from canary_sandbox.prometheus import NO_PROMETHEUS, find_prometheus
from canary_sandbox.traefik import TraefikGateway

log = logging.getLogger(__name__)

Json = dict[str, Any]

SAVE_AFTER = 0.5
"""Seconds after a change until it is on disk, at most; what takes the machine longer comes on top."""
_PATIENCE = 60.0
"""Seconds that the example gets to be there the first time; a cluster that is resumed is not waited for that long."""
_RESUMED = 15.0


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` was asked for. `gateway` None: the one of before, or the usual one."""

    gateway: str | None = None
    controller: bool = True
    example: bool = True


class Supervisor:
    """One instance of a sandbox. Whoever runs it holds the folder's lock."""

    def __init__(
        self,
        folder: Folder,
        options: Options,
        say: Callable[[str], None] | None = None,
        ready: Callable[[Json], None] | None = None,
    ) -> None:
        self._folder = folder
        self._options = options
        self._say = say or (lambda _: None)
        self._ready = ready or (lambda _: None)
        self._steps: list[str] = []
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._token = secrets.token_urlsafe(24)
        self._settings: Json = {}
        self._written = b""
        self._manager: Manager | None = None
        self._control = Control(self, self._token)
        self._trouble = ""
        self._saved_enough = False
        self._faults: dict[str, Override] = {}
        self._measures = True

    # --- an instance ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until somebody asks for the end. Raises SandboxError when it cannot start, or cannot save at the end."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop.set)
        async with AsyncExitStack() as stack:
            if not await self._unless_stopped(self._start(stack)):
                return
            saving = asyncio.create_task(self._keep_saving())
            stack.push_async_callback(self._end_saving, saving)
            info = await self.info()
            await self._report("ready", info=info)
            self._ready(info)
            await self._stop.wait()
            await self._report("stopping")
        # Nobody writes any more, and the store is still in memory.
        await self._save()

    def stop(self) -> None:
        """End this instance, in good order."""
        self._stop.set()

    async def _unless_stopped(self, starting: Coroutine[Any, Any, None]) -> bool:
        """Run `starting` to its end; False when somebody asks for the end of everything meanwhile."""
        task = asyncio.create_task(starting)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            return task.done()
        finally:
            stop.cancel()
            task.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _start(self, stack: AsyncExitStack) -> None:
        await self._report("starting")
        self._folder.clear_run()
        self._folder.run.mkdir(mode=0o700)
        # Whatever Envoy, Prometheus and replicas need for a while goes here: found and removed even after a hard kill.
        tempfile.tempdir = str(self._folder.run)
        stack.callback(self._folder.clear_run)
        self._measures = find_prometheus() is not None
        snapshot = self._load()
        resumed = snapshot is not None
        if resumed:
            await self._step("resuming the cluster of before")
        with_it = " and Prometheus" if self._measures else ""
        await self._step(f"API server{' and' if not with_it else ','} gateway ({self.gateway}){with_it}")
        if not self._measures:
            await self._step(f"{NO_PROMETHEUS}; checks of `scrape` and `web` work, those of `prometheus` do not")
        self._cluster = await stack.enter_async_context(self._sandbox(snapshot))
        self._cluster.server.store.subscribe_all(lambda _: self._changed.set())
        await self._cluster.workloads.override(self._faults)
        self._cluster.api.kubeconfig(
            self._folder.kubeconfig, namespace=world.NAMESPACE if self._wants_example else "default"
        )
        await self._cluster.apply(rights.documents())
        first = self._options.example and not (resumed and self._settings.get("example"))
        if first:
            await self._step("the example: Gateway, Services, HTTPRoute, Deployments and a Rollout of team-shop")
            port = self._cluster.gateway.listener_port
            await self._cluster.apply(world.documents(self.gateway, port, scraped=not self._measures))
            self._settings["example"] = True
        await self._until(self._replicas_are_ready, "the replicas to be ready", fatal=first)
        manager = Manager(self._cluster, self._folder, int(self._ports.get("metrics") or 0))
        await manager.prepare()
        if self._options.controller:
            await self._step("the controller")
            self._manager = await stack.enter_async_context(manager)
        if first and self._options.controller:
            await self._until(self._rollout_is_seen, "the controller to see the Rollout", fatal=True)
        await stack.enter_async_context(self._control)

    def _sandbox(self, snapshot: Snapshot | None) -> Sandbox:
        for port in self._asked_ports.traefik:
            if self.gateway == "traefik" and not free_or_any(port):
                raise SandboxError(
                    f"Gateways of this cluster name port {port} of Traefik, and another program listens there; "
                    f"end that one, or begin anew with `canary sandbox down --delete{self._folder.flag}`"
                )
        return Sandbox(
            gateway=self.gateway,
            prometheus=self._measures,
            processes=True,
            authorization="RBAC",
            snapshot=snapshot,
            ports=self._asked_ports,
        )

    @property
    def gateway(self) -> GatewayKind:
        return "traefik" if (self._settings.get("gateway") or self._options.gateway) == "traefik" else "envoy"

    @property
    def _ports(self) -> Json:
        ports: Json = self._settings.get("ports") or {}
        return ports

    @property
    def _wants_example(self) -> bool:
        return self._options.example or bool(self._settings.get("example"))

    # --- waiting for the world ---------------------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], Coroutine[Any, Any, bool]], what: str, *, fatal: bool) -> None:
        """Wait for it. A world that somebody else has changed may never be so: then it is only said in the log."""
        patience = _PATIENCE if fatal else _RESUMED
        try:
            async with asyncio.timeout(patience):
                while not await condition():  # noqa: ASYNC110  processes come up without telling us
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            words = f"waited {patience:g} s in vain for {what}"
            if fatal:
                last = self._manager.last_words() if self._manager else ""
                raise SandboxError(f"{words}{last and f'; the controller said last: {last}'}") from error
            log.warning("%s", words)

    async def _replicas_are_ready(self) -> bool:
        """By the processes themselves: statuses that were resumed speak of another instance."""
        for item in (await self._cluster.kube.list(DEPLOYMENTS))["items"]:
            live = self._cluster.workloads.replicas(item["metadata"]["namespace"], item["metadata"]["name"])
            if len(live) < wanted_replicas(item) or not all(replica.ready for replica in live):
                return False
        return True

    async def _rollout_is_seen(self) -> bool:
        found = await self._cluster.kube.get(ROLLOUTS, world.ROLLOUT, world.NAMESPACE)
        return bool((found.get("status") or {}).get("phase"))

    # --- what is told ------------------------------------------------------------------------------------------------

    async def _step(self, text: str) -> None:
        self._steps.append(text)
        self._say(text)
        await self._report("starting")

    async def _report(self, phase: str, **more: Any) -> None:
        control = {"url": self._control.url, "token": self._token} if self._control.url else None
        document = {"phase": phase, "steps": self._steps, "control": control, **more}
        await asyncio.to_thread(self._folder.write_report, report_of(document))

    async def info(self) -> Json:
        """Where everything is, and how it is; for `up`, `status` and scripts."""
        return {
            "folder": str(self._folder.path),
            "kubeconfig": str(self._folder.kubeconfig),
            "log": str(self._folder.log),
            "apiServer": self._cluster.api.url,
            "gateway": {"kind": self.gateway, "listeners": await self._listeners(), **await self._way_in()},
            "prometheus": self._cluster.prometheus_url,
            "controller": self._manager.info() if self._manager else None,
            "controllerKubeconfig": str(self._folder.controller_kubeconfig),
            "example": await self._has_example(),
            "versions": self._cluster.workloads.versions(),
            "faults": self.faults(),
            "troubles": [text for text in (self._trouble, *self._ended()) if text],
        }

    async def _listeners(self) -> Json:
        """URLs of the listeners that serve now."""
        found = {}
        for gateway in (await self._cluster.kube.list(GATEWAYS))["items"]:
            namespace, name = gateway["metadata"]["namespace"], gateway["metadata"]["name"]
            for listener in gateway["spec"]["listeners"]:
                with suppress(SandboxError):
                    host, port = await self._cluster.gateway.address(namespace, name, listener["name"], wait=0.1)
                    found[f"{namespace}/{name}/{listener['name']}"] = f"http://{host}:{port}"
        return found

    async def _way_in(self) -> Json:
        """The example's URL and Host header, while its Gateway is there and serves."""
        with suppress(NotFound, SandboxError):
            await self._cluster.kube.get(GATEWAYS, world.GATEWAY, world.NAMESPACE)
            return {"url": await self._cluster.gateway_url(world.NAMESPACE, world.GATEWAY), "host": world.HOST}
        return {"url": None, "host": None}

    async def _has_example(self) -> bool:
        try:
            await self._cluster.kube.get(ROLLOUTS, world.ROLLOUT, world.NAMESPACE)
        except NotFound:
            return False
        return True

    def _ended(self) -> list[str]:
        again = f"`canary sandbox down{self._folder.flag}`, then `up`, starts it again"
        parts = {"the gateway": self._cluster.gateway.pid}
        if self._measures:
            parts["Prometheus"] = self._cluster.prometheus.process.pid
        return [f"{name} has ended by itself; {again}" for name, pid in parts.items() if not birth_of(pid)]

    # --- faults ------------------------------------------------------------------------------------------------------

    def faults(self) -> Json:
        """Shares and seconds by version."""
        return {
            version: {"errors": override.errors, "latency": override.latency}
            for version, override in sorted(self._faults.items())
        }

    def versions(self) -> Json:
        return dict(sorted(self._cluster.workloads.versions().items()))

    async def set_fault(self, version: str, errors: float | None, latency: float | None) -> None:
        """Put a fault on a version; what is None stays as it is. Raises SandboxError for what is no share or time."""
        before = self._faults.get(version, Override())
        override = Override(before.errors if errors is None else errors, before.latency if latency is None else latency)
        override.over(Faults())  # raises
        self._faults[version] = override
        await self._apply_faults()

    async def clear_faults(self, version: str | None) -> list[str]:
        """Take the faults of a version away, or all; returns of which versions there were some."""
        gone = [name for name in sorted(self._faults) if version in {None, name}]
        for name in gone:
            del self._faults[name]
        await self._apply_faults()
        return gone

    async def _apply_faults(self) -> None:
        await self._cluster.workloads.override(self._faults)
        self._changed.set()

    # --- state -------------------------------------------------------------------------------------------------------

    def _load(self) -> Snapshot | None:
        """What an earlier instance left. Raises SandboxError when that cannot be resumed as it is."""
        self._settings = self._folder.load_settings()
        wanted, was = self._options.gateway, self._settings.get("gateway")
        if was not in {None, *CONTROLLERS}:
            raise self._folder.broken(self._folder.settings, f"there is no gateway {was!r}")
        if wanted and was and wanted != was:
            raise SandboxError(
                f"the cluster in {self._folder.path} has the gateway {was}; for {wanted} choose another --folder, "
                f"or begin anew with `canary sandbox down --delete{self._folder.flag}`"
            )
        try:
            self._faults = {name: Override(**fault) for name, fault in (self._settings.get("faults") or {}).items()}
            self._asked_ports = Ports(
                free_or_any(int(self._ports.get("api") or 0)) or free_port(),
                int(self._ports.get("prometheus") or 0),
                {name: int(port) for name, port in (self._ports.get("listeners") or {}).items()},
                tuple(int(port) for port in self._ports.get("traefik") or ()),
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise self._folder.broken(self._folder.settings, f"faults or ports make no sense: {error}") from error
        try:
            return Snapshot.load(self._folder.cluster.read_bytes())
        except FileNotFoundError:
            return None
        except SandboxError as error:
            raise self._folder.broken(self._folder.cluster, str(error)) from error

    async def _keep_saving(self) -> None:
        while not self._saved_enough:
            self._changed.clear()
            try:
                await self._save()
                self._trouble = ""
            except SandboxError as error:
                if str(error) != self._trouble:
                    log.error("%s", error)  # noqa: TRY400  the sentence says it all
                self._trouble = str(error)
                self._changed.set()
            await self._changed.wait()
            await asyncio.sleep(SAVE_AFTER)

    async def _end_saving(self, saving: asyncio.Task[None]) -> None:
        """A thread that writes cannot be cancelled, and the last word is still to come: let it end."""
        self._saved_enough = True
        self._changed.set()
        await asyncio.gather(saving, return_exceptions=True)

    async def _save(self) -> None:
        """The cluster first: without its word, the settings make a new world, which does no harm."""
        cluster, settings = self._cluster.server.save(), settings_of(self._settings_now())
        try:
            await asyncio.to_thread(write, self._folder.cluster, cluster)
            if settings != self._written:
                await asyncio.to_thread(self._folder.save_settings, settings)
                self._written = settings
        except OSError as error:
            raise SandboxError(
                f"the state is not saved: {error}; what changes now is lost with this sandbox"
            ) from error

    def _settings_now(self) -> Json:
        gateway = self._cluster.gateway
        listeners = gateway.ports if isinstance(gateway, EnvoyGateway) else {}
        self._settings["ports"] = {
            "api": int(self._cluster.api.url.rpartition(":")[2]),
            "prometheus": int(
                (self._cluster.prometheus_url or "").rpartition(":")[2] or self._ports.get("prometheus") or 0
            ),
            "metrics": self._manager.port if self._manager else self._ports.get("metrics") or 0,
            "listeners": {**(self._ports.get("listeners") or {}), **listeners},
            "traefik": list(gateway.ports) if isinstance(gateway, TraefikGateway) else [],
        }
        return {
            "gateway": self.gateway,
            "example": bool(self._settings.get("example")),
            "ports": dict(self._settings["ports"]),
            "faults": self.faults(),
        }


async def supervise(
    folder: Folder,
    options: Options,
    say: Callable[[str], None] | None = None,
    ready: Callable[[Json], None] | None = None,
) -> str:
    """A whole instance in a folder whose lock we hold. Returns what went wrong, in a sentence; empty after a clean end.

    `say` gets each step of the start, `ready` where everything is once it is up.
    """
    try:
        turn(folder.controller_log)
        await Supervisor(folder, options, say, ready).run()
    except (SandboxError, ApiError, OSError) as error:
        log.exception("ended")
        failure = str(error)
    except Exception as error:
        log.exception("ended")
        failure = f"unexpected {type(error).__name__}: {error}"
    else:
        folder.forget_report()
        return ""
    folder.report({"phase": "failed", "error": failure})
    return failure
