"""One replica of a sandbox Deployment: in our process (cheap), or as a process of its own (can be killed for real)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from canary.errors import SandboxError
from canary_sandbox.addresses import LOOPBACK
from canary_sandbox.app import COUNTS_PATH, FAULTS_PATH, AppServer, Behaviour, Faults, Finished
from canary_sandbox.process import ManagedProcess


class Server(Protocol):
    """What a replica needs of whatever serves its requests."""

    @property
    def port(self) -> int: ...

    @property
    def ports(self) -> Mapping[str, int]:
        """Where ports of a Service lead, by name, that do not lead to `port`."""
        ...

    async def start(self) -> None: ...

    async def is_ready(self) -> bool: ...

    async def set_faults(self, faults: Faults) -> None: ...

    async def served(self) -> int: ...

    async def copies(self) -> int: ...

    async def finished(self) -> Finished: ...

    async def stop(self) -> None: ...

    async def crash(self) -> None: ...


class InProcess:
    """A replica inside our process. A crash closes its port without waiting for requests in flight."""

    def __init__(self, pod: str, env: Mapping[str, str], image: str) -> None:
        self._app = AppServer(Behaviour.from_env(env, image=image), pod=pod)

    @property
    def port(self) -> int:
        return self._app.port

    @property
    def ports(self) -> Mapping[str, int]:
        return {}

    async def start(self) -> None:
        await self._app.__aenter__()

    async def is_ready(self) -> bool:
        return self._app.ready

    async def set_faults(self, faults: Faults) -> None:
        self._app.faults = faults

    async def served(self) -> int:
        return self._app.served

    async def copies(self) -> int:
        return self._app.copies

    async def finished(self) -> Finished:
        return self._app.finished

    async def stop(self) -> None:
        await self._app.stop()

    async def crash(self) -> None:
        await self._app.crash()


class OwnProcess:
    """A replica as `python -m canary_sandbox.app`. A crash is a SIGKILL."""

    def __init__(self, pod: str, env: Mapping[str, str], image: str, folder: Path) -> None:
        version = Behaviour.from_env(env, image=image).version
        environment = {**env, "VERSION": version, "PORT": "0", "POD_NAME": pod}
        command = [sys.executable, "-m", "canary_sandbox.app"]
        self._log = folder / f"{pod}.log"
        self._process = ManagedProcess(command, log=self._log, name=pod, env=environment)
        self._port = 0
        self._control = 0

    @property
    def port(self) -> int:
        return self._port

    @property
    def ports(self) -> Mapping[str, int]:
        return {}

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid

    async def start(self) -> None:
        await self._process.__aenter__()
        try:
            await self._process.wait_until(self._has_told_port, within=20)
        except BaseException:
            await self._process.stop()
            raise

    async def _has_told_port(self) -> bool:
        first, newline, _ = self._log.read_text().partition("\n")
        if newline and first.startswith('{"port"'):
            told = json.loads(first)
            self._port, self._control = int(told["port"]), int(told["control"])
        return self._port != 0

    async def is_ready(self) -> bool:
        if not self._process.running:
            return False
        try:
            async with self._session() as http, http.get("/healthz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def set_faults(self, faults: Faults) -> None:
        try:
            async with self._session() as http, http.put(FAULTS_PATH, json=asdict(faults)) as response:
                if response.status != 200:
                    raise SandboxError(f"{self._process.name}: {await response.text()}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SandboxError(f"{self._process.name} does not answer: {error}") from error

    async def served(self) -> int:
        return int((await self._counts())["served"])

    async def copies(self) -> int:
        return int((await self._counts())["copies"])

    async def finished(self) -> Finished:
        counts = (await self._counts())["finished"]
        return Counter({(mirrored, succeeded): count for mirrored, succeeded, count in counts})

    async def _counts(self) -> dict[str, Any]:
        async with self._session() as http, http.get(COUNTS_PATH) as response:
            counts: dict[str, Any] = await response.json()
            return counts

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=5)
        return aiohttp.ClientSession(f"http://127.0.0.1:{self._control}", timeout=timeout)

    async def stop(self) -> None:
        await self._process.stop()

    async def crash(self) -> None:
        self._process.kill()
        await self._process.stop()


class Replica:
    """A pod of the sandbox: a name, the template it came from, and a server. `ready` is as of the last `refresh`.

    `address` is what its Pod and its EndpointSlices say; where it really listens is `server.port` on 127.0.0.1.
    """

    def __init__(
        self,
        name: str,
        template: str,
        labels: Mapping[str, str],
        server: Server,
        behaviour: Behaviour,
        address: str = LOOPBACK,
    ) -> None:
        self.name = name
        self.behaviour = behaviour
        self.template = template
        self.labels = dict(labels)
        self.server = server
        self.address = address
        self.ready = False
        self.ready_since: float | None = None
        self.crashed = False
        self.terminating = False

    @property
    def serving(self) -> bool:
        return self.ready and not self.terminating

    async def refresh(self) -> bool:
        """Ask the server whether it is ready; True when that changed."""
        ready = not self.crashed and await self.server.is_ready()
        changed, self.ready = ready != self.ready, ready
        if changed:
            self.ready_since = asyncio.get_running_loop().time() if ready else None
        return changed

    def available(self, min_ready_seconds: float) -> bool:
        """Ready for at least `min_ready_seconds`."""
        if not self.serving or self.ready_since is None:
            return False
        return asyncio.get_running_loop().time() - self.ready_since >= min_ready_seconds


def environment(pod_spec: Mapping[str, object]) -> tuple[dict[str, str], str]:
    """Environment and image of a pod template's first container. Raises SandboxError for what cannot be run here."""
    containers = pod_spec.get("containers")
    if not isinstance(containers, list) or not containers:
        raise SandboxError("the pod template has no container")
    container = containers[0]
    env: dict[str, str] = {}
    for entry in container.get("env") or []:
        if entry.get("valueFrom"):
            raise SandboxError(f"env {entry['name']}: valueFrom is not supported by the sandbox")
        env[entry["name"]] = entry.get("value") or ""
    return env, container.get("image") or ""
