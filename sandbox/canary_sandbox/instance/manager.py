"""The controller of the sandbox: a process of its own, as the service account that deploy/ makes."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from canary.kube import Resource
from canary_sandbox.cluster import Sandbox
from canary_sandbox.composite import Composite
from canary_sandbox.instance import rights
from canary_sandbox.instance.folder import Folder
from canary_sandbox.process import ManagedProcess, answers, free_or_any, free_port
from canary_sandbox.watching import running

log = logging.getLogger(__name__)

Json = dict[str, Any]

_TOKEN_SECONDS = 10 * 365 * 24 * 3600
_RESTART_AFTER = 1.0
"""Seconds between the end of one that died and the start of the next."""


class Manager(Composite):
    """Runs `canary controller run`, and again whenever it ends. The context begins once it says that it is ready."""

    def __init__(self, cluster: Sandbox, folder: Folder, port: int) -> None:
        self._cluster = cluster
        self._folder = folder
        self.port = free_or_any(port) or free_port()
        self._process: ManagedProcess | None = None
        self._restarts = 0

    async def prepare(self) -> None:
        """Write the kubeconfig of the service account, with a token as `kubectl create token` gets it."""
        request = Resource("", "v1", f"serviceaccounts/{rights.ACCOUNT}/token", "TokenRequest", namespaced=True)
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_SECONDS},
        }
        answer = await self._cluster.kube.create(request, body, rights.NAMESPACE)
        self._cluster.api.kubeconfig(
            self._folder.controller_kubeconfig,
            user=f"system:serviceaccount:{rights.NAMESPACE}:{rights.ACCOUNT}",
            token=answer["status"]["token"],
        )

    async def _enter(self, stack: AsyncExitStack) -> None:
        process = self._new()
        await stack.enter_async_context(process)
        self._process = process
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            await process.wait_until(lambda: answers(http, f"{self.url}/readyz"), within=60, interval=0.1)
        await stack.enter_async_context(running(self._keep(process)))

    @property
    def url(self) -> str:
        """Where its /metrics, /healthz and /readyz are."""
        return f"http://127.0.0.1:{self.port}"

    def info(self) -> Json:
        process = self._process
        return {
            "metrics": f"{self.url}/metrics",
            "log": str(self._folder.controller_log),
            "pid": process.pid if process and process.running else None,
            "restarts": self._restarts,
        }

    def last_words(self) -> str:
        """The end of its log."""
        return " / ".join(self._process.tail(3).splitlines()) if self._process else ""

    def _new(self) -> ManagedProcess:
        command = [sys.executable, "-m", "canary", "controller", "run"]
        flags = ["--kubeconfig", str(self._folder.controller_kubeconfig), "--metrics-address", f"127.0.0.1:{self.port}"]
        # Everything here is on this machine, so that is where checks may ask.
        flags += ["--allow-hosts", "127.0.0.0/8,localhost"]
        url = self._cluster.prometheus_url
        flags += [] if url is None else ["--prometheus-url", url]
        # What a shell of the user's may have set for another controller is not meant for this one.
        env = {"CANARY_NAMESPACES": "", "CANARY_LEASE": "", "CANARY_PROMETHEUS_HOSTS": "", "KUBECONFIG": ""}
        return ManagedProcess([*command, *flags], log=self._folder.controller_log, name="canary controller", env=env)

    async def _keep(self, process: ManagedProcess) -> None:
        while True:
            code = await process.wait()
            log.warning("the controller ended with code %s: it is started again", code)
            await asyncio.sleep(_RESTART_AFTER)
            self._restarts += 1
            process = self._process = self._new()
            await self._stack.enter_async_context(process)
