"""The sandbox's kube-proxy: listens on every ClusterIP and forwards TCP connections to ready endpoints.

What a real cluster does in the kernel is done here with sockets, which is possible because the sandbox's ClusterIPs
are loopback addresses. As there, a connection stays with its endpoint, connections take turns, and a Service without
a ready endpoint refuses connections: its listener is closed until there is one. Different from there: only TCP, no
session affinity, and a Service port below 1024 needs the right to bind it (the log says so once).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import struct
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import cast

from canary.kube import ENDPOINTSLICES, SERVICES, Kube, Resource
from canary_sandbox.addresses import Address, Locate, as_written
from canary_sandbox.composite import Composite
from canary_sandbox.gateway.objects import SERVICE_NAME_LABEL, Backend, Json, Key, Objects, endpoints
from canary_sandbox.watching import Cache, running, watch_all

log = logging.getLogger(__name__)

_READ: dict[str, Resource] = {"services": SERVICES, "slices": ENDPOINTSLICES}
_CONNECT_TIMEOUT = 3.0
"""Seconds that one endpoint gets to take a connection before the next one is tried."""


class ServiceForwarder(Composite):
    """Forwards for every Service with a ClusterIP in 127.0.0.0/8 while the context is open.

    `locate` says where an endpoint really listens. More than `max_connections` at a time are cut off as they come.
    """

    def __init__(self, kube: Kube, *, locate: Locate = as_written, max_connections: int = 2000) -> None:
        self._kube = kube
        self._locate = locate
        self._max_connections = max_connections
        self._cache = Cache()
        self._changed = asyncio.Event()
        self._listeners: dict[Address, _Listener] = {}
        self._told: set[Address] = set()
        self.connections: set[asyncio.Task[None]] = set()
        """A task for each connection that is open now."""

    async def _enter(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self._close)
        await stack.enter_async_context(watch_all(self._cache, self._kube, _READ, self._changed.set))
        await stack.enter_async_context(running(self._run()))

    def admit(self, client: _Client, connection: socket.socket) -> None:
        """Let a new connection find its endpoint, or cut it off when there are too many."""
        if len(self.connections) >= self._max_connections:
            # Zero seconds to linger: closing resets, so that nobody takes it for an answer.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return
        task = asyncio.create_task(client.run(connection))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            self._reconcile()
            await self._changed.wait()

    def _reconcile(self) -> None:
        wanted = wanted_listeners(self._cache.of("services"), self._cache.of("slices"), self._locate)
        for address in self._listeners.keys() - wanted.keys():
            self._listeners.pop(address).close()
        for address, targets in wanted.items():
            if address in self._listeners:
                self._listeners[address].targets = targets
            else:
                self._listen(address, targets)

    def _listen(self, address: Address, targets: tuple[Address, ...]) -> None:
        listener = _Listener(self, targets)
        try:
            listener.open(address)
        except OSError as error:
            # Somebody else has the port, it needs a privilege, or the system has no such loopback address.
            if address not in self._told:
                self._told.add(address)
                log.warning("no forwarding for ClusterIP %s port %s: %s", *address, error.strerror or error)
            return
        self._listeners[address] = listener

    async def _close(self) -> None:
        for listener in self._listeners.values():
            listener.close()
        for task in self.connections:
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)


def wanted_listeners(
    services: Mapping[Key, Json], slices: Mapping[Key, Json], locate: Locate = as_written
) -> dict[Address, tuple[Address, ...]]:
    """For every TCP port of a loopback ClusterIP that has ready endpoints: where those listen. Pure."""
    by_service: dict[Key, dict[Key, Json]] = defaultdict(dict)
    for key, piece in slices.items():
        name = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL)
        if name:
            by_service[key[0], name][key] = piece
    wanted: dict[Address, tuple[Address, ...]] = {}
    for key, service in services.items():
        if not is_loopback(service["spec"].get("clusterIP")):
            continue
        objects = Objects(services={key: service}, slices=by_service[key])
        for port in service["spec"].get("ports") or []:
            if (port.get("protocol") or "TCP") != "TCP":
                continue
            found = endpoints(objects, Backend(*key, port["port"]))
            if found:
                wanted[service["spec"]["clusterIP"], port["port"]] = tuple(locate(*address) for address in found)
    return wanted


def is_loopback(address: str | None) -> bool:
    """Whether a ClusterIP is one that we may listen on; "None" (headless) and no address are not."""
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


class _Listener:
    """One port of one ClusterIP."""

    def __init__(self, forwarder: ServiceForwarder, targets: tuple[Address, ...]) -> None:
        self._forwarder = forwarder
        self._loop = asyncio.get_running_loop()
        self.targets = targets
        self._turn = 0

    def open(self, address: Address) -> None:
        self._socket = socket.create_server(address, backlog=128)
        self._socket.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Take no more connections; those that are open go on, as on a real cluster."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    # Not a server of asyncio's: closing one between an accept and its handling leaves that connection hanging.

    def _watch(self) -> None:
        if self._socket.fileno() != -1:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no file descriptor left: those who wait stay in the queue
            log.warning("cannot take a connection for now: %s", error)
            self._loop.remove_reader(self._socket)
            self._loop.call_later(1, self._watch)
            return
        connection.setblocking(False)
        self._forwarder.admit(_Client(self), connection)

    def in_turn(self) -> tuple[Address, ...]:
        """Every target once, beginning with the one whose turn it is."""
        self._turn = (self._turn + 1) % len(self.targets)
        return self.targets[self._turn :] + self.targets[: self._turn]


class _Side(asyncio.Protocol):
    """One half of a forwarded connection. Protocols, not streams: half the work per request, and it is all ours."""

    transport: asyncio.Transport
    other: _Side | None = None
    ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass a half-close on, and end when both halves have."""
        self.ended = True
        if self.other is None or self.other.ended or self.other.transport.is_closing():
            return False
        self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        other, self.other = self.other, None
        if other is None:
            return
        if error is None:
            other.transport.close()
        else:
            other.transport.abort()


class _Client(_Side):
    """The half that came to us; nothing is read from it before it has its endpoint."""

    def __init__(self, listener: _Listener) -> None:
        self._listener = listener
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Not at once: asyncio of 3.11.2 (Debian 12) begins to read right after this, paused or not, and what came would be lost.
        asyncio.get_running_loop().call_soon(self.transport.pause_reading)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(error)

    async def run(self, connection: socket.socket) -> None:
        """From the accepted socket to the end of the connection."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: self, connection)
        try:
            await self._connect()
            await self.gone.wait()
        finally:
            self.transport.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        for host, port in self._listener.in_turn():
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    await loop.create_connection(lambda: _Upstream(self), host, port)
                return
        self.transport.abort()


class _Upstream(_Side):
    """The half that leads to the endpoint; linked before either half can read a byte."""

    def __init__(self, client: _Client) -> None:
        self.other = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        client = self.other
        if client is None or client.transport.is_closing():
            self.transport.abort()
            return
        client.other = self
        client.transport.resume_reading()
