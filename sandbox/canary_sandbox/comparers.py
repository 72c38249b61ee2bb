"""A comparer as a replica of a sandbox Deployment: the very program, `canary comparer run`, as a process of its own.

A container whose arguments begin with `comparer run` is one. There are no names of Services to be looked up in the sandbox, so
those in its URLs are replaced by ClusterIPs, at which the forwarder listens; and it listens on free loopback ports.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from canary.errors import SandboxError
from canary.model.comparer_results import ComparerResults
from canary_sandbox.app import Faults, Finished
from canary_sandbox.process import ManagedProcess, answers

PROGRAM = ["comparer", "run"]
RESULTS = "results"
"""What the port of a Service is called that leads to /results, /metrics and /healthz."""
_LISTEN = ("--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=text", "--log-level=INFO")
_URL = re.compile(r"http://([a-z0-9-]+)(?:\.([a-z0-9-]+)(?:\.svc(?:\.cluster\.local)?)?)?:([0-9]+)")
_READY = re.compile(r"mirrored requests at http://127\.0\.0\.1:([0-9]+) .*health at http://127\.0\.0\.1:([0-9]+)")

Resolve = Callable[[str, str], str]
"""The ClusterIP of a Service, by name and namespace (empty: that of the Deployment). Raises SandboxError."""


def arguments(pod_spec: Mapping[str, Any]) -> list[str] | None:
    """The arguments of a comparer, as the first container has them; None: it is none."""
    containers = pod_spec.get("containers")
    first = containers[0] if isinstance(containers, list) and containers else {}
    args = [str(word) for word in first.get("args") or ()]
    return args if args[: len(PROGRAM)] == PROGRAM else None


def resolved(args: Sequence[str], resolve: Resolve) -> list[str]:
    """The arguments with addresses instead of names of Services. Raises SandboxError."""

    def address(found: re.Match[str]) -> str:
        return f"http://{resolve(found[1], found[2] or '')}:{found[3]}"

    return [_URL.sub(address, word) for word in args]


class Comparer:
    """One replica of a comparer."""

    def __init__(self, pod: str, args: Sequence[str], folder: Path) -> None:
        self._log = folder / f"{pod}.log"
        command = [sys.executable, "-m", "canary", *args, *_LISTEN]
        self._process = ManagedProcess(command, log=self._log, name=pod)
        self._port = self._admin = 0

    @property
    def port(self) -> int:
        return self._port

    @property
    def ports(self) -> Mapping[str, int]:
        return {RESULTS: self._admin}

    async def start(self) -> None:
        await self._process.__aenter__()
        try:
            await self._process.wait_until(self._has_told_ports, within=30)
        except BaseException:
            await self._process.stop()
            raise

    async def _has_told_ports(self) -> bool:
        found = _READY.search(self._log.read_text())
        if found is not None:
            self._port, self._admin = int(found[1]), int(found[2])
        return found is not None

    async def is_ready(self) -> bool:
        if not self._process.running:
            return False
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            return await answers(http, f"http://127.0.0.1:{self._admin}/healthz")

    async def set_faults(self, faults: Faults) -> None:
        if faults != Faults():
            raise SandboxError(f"{self._process.name} is a comparer, and nothing goes wrong with one on demand")

    async def served(self) -> int:
        return await self.copies()

    async def copies(self) -> int:
        """Mirrored requests that arrived, compared or not: nothing else is sent to one."""
        url = f"http://127.0.0.1:{self._admin}/results"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http, http.get(url) as response:
            return ComparerResults.read(await response.read()).received

    async def finished(self) -> Finished:
        return Counter()

    async def stop(self) -> None:
        await self._process.stop()

    async def crash(self) -> None:
        self._process.kill()
        await self._process.stop()
