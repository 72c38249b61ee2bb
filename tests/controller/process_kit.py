"""Real controller processes beside a `World`, and a Prometheus for them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aiohttp import web
from controller_kit import CONTROLLER, World


@dataclass
class Metrics:
    """A Prometheus that answers every query with one number, but for those that contain a key of `others`.

    A cache before it keeps what was answered for `kept` seconds, with the moment that it was of; `cache` has that moment, and the number.
    """

    value: float = 0.0
    others: dict[str, float] = field(default_factory=dict)
    url: str = ""
    kept: float = 0.0
    cache: dict[str, tuple[float, float]] = field(default_factory=dict)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Metrics]:
        app = web.Application()
        for method in ("GET", "POST"):
            app.router.add_route(method, "/api/v1/query", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        query = str({**request.query, **await request.post()}.get("query"))
        value = next((number for key, number in self.others.items() if key in query), self.value)
        moment = now = time.time()
        if self.kept:
            kept = self.cache.get(query)
            if kept is None or now - kept[0] > self.kept:
                kept = self.cache[query] = now, value
            moment, value = kept
        result = [{"metric": {}, "value": [moment, str(value)]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@dataclass
class Controllers:
    """Controller processes for some namespaces (none: that of `world`); what they print goes to a file each."""

    world: World
    folder: Path
    metrics: Metrics
    lease: str = ""
    namespaces: tuple[str, ...] = ()
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self) -> asyncio.subprocess.Process:
        number = len(self.processes)
        config = self.world.api.kubeconfig(self.folder / f"kubeconfig-{number}", user=CONTROLLER)
        options = ["--lease", f"{self.world.namespace}/{self.lease}"] if self.lease else []
        with (self.folder / f"log-{number}").open("w") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "canary",
                "controller",
                "run",
                *("--kubeconfig", str(config), "--namespaces", ",".join(self.namespaces or (self.world.namespace,))),
                *("--prometheus-url", self.metrics.url, "--metrics-address", "127.0.0.1:0"),
                *options,
                stdout=log,
                stderr=log,
                env=os.environ | {"CANARY_LOG_FORMAT": "text"},
            )
        self.processes.append(process)
        return process

    def log(self, process: asyncio.subprocess.Process) -> str:
        return (self.folder / f"log-{self.processes.index(process)}").read_text()

    async def ready(self, process: asyncio.subprocess.Process, seconds: float) -> None:
        """Wait until a process has listed everything, and works or stands by."""
        await until(lambda: bool(self._address(process)), "its address", seconds)
        end = time.monotonic() + seconds
        async with httpx.AsyncClient() as client:
            while (await client.get(f"{self._address(process)}/readyz", timeout=seconds)).is_error:
                assert time.monotonic() < end, self.log(process)
                await asyncio.sleep(0.1)

    async def scrape(self, process: asyncio.subprocess.Process) -> dict[str, float]:
        """The series that a process exports, by name with labels."""
        address = self._address(process)
        assert address, self.log(process)
        async with httpx.AsyncClient() as client:
            page = (await client.get(f"{address}/metrics", timeout=20)).raise_for_status().text
        lines = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def _address(self, process: asyncio.subprocess.Process) -> str:
        found = re.search(r"metrics and health at (\S+)", self.log(process))
        return found[1] if found else ""

    async def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                await process.wait()


async def until(condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
    """Wait for a condition, on the wall clock."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"in vain: {what}"
        await asyncio.sleep(0.02)
