"""The application of the sandbox: one replica, a small server that can be told to fail and to be slow.

It speaks HTTP/1.1, or what PROTOCOL says; then its health, its faults and its counts are at an HTTP port besides. Runs inside our process (`AppServer`), or as a process of its own: `python -m canary_sandbox.app`, which reads its
behaviour from the environment and its faults from `PUT /-/faults`.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self
from zlib import crc32

from aiohttp import web

from canary.errors import SandboxError
from canary_sandbox.app_endpoints import Endpoint, TcpEndpoint, UdpEndpoint, Who, is_copy
from canary_sandbox.app_page import HEAD, counted

FAULTS_PATH = "/-/faults"
COUNTS_PATH = "/-/counts"
METRICS_PATH = "/metrics"
Finished = Counter[tuple[bool, bool]]
"""How many requests were answered, by (mirrored, succeeded)."""
Speech = Literal["http", "grpc", "tcp", "udp"]


@dataclass(slots=True)
class Faults:
    """What goes wrong: `errors` is the share of requests answered 500 (0..1), `latency` is in seconds.

    `wrong` is the share of catalogues (see `Behaviour`) with a wrong price and status 200.
    """

    errors: float = 0.0
    latency: float = 0.0
    ready: bool = True
    wrong: float = 0.0

    def __post_init__(self) -> None:
        for name, share in (("errors", self.errors), ("wrong", self.wrong)):
            if not 0 <= share <= 1:
                raise SandboxError(f"{name} is a share between 0 and 1, not {share:g}")
        if self.latency < 0:
            raise SandboxError(f"latency is in seconds and cannot be {self.latency:g}")


@dataclass(frozen=True, slots=True)
class Override:
    """Changes to faults, with their units; None leaves one as it is."""

    errors: float | None = None
    latency: float | None = None
    ready: bool | None = None

    def over(self, faults: Faults) -> Faults:
        """Raises SandboxError as Faults does."""
        return Faults(
            errors=faults.errors if self.errors is None else self.errors,
            latency=faults.latency if self.latency is None else self.latency,
            ready=faults.ready if self.ready is None else self.ready,
            wrong=faults.wrong,
        )


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a replica starts: from the environment of its pod template."""

    version: str = "unknown"
    errors: float = 0.0
    latency: float = 0.0
    startup: float = 0.0
    ready: bool = True
    protocol: Speech = "http"
    catalog: bool = False
    """Whether answers over HTTP also have a time, an id that is another one each time, and items with prices."""
    wrong: float = 0.0

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, image: str = "") -> Self:
        """VERSION (or the image's tag), FAULT_ERROR_PERCENT, FAULT_LATENCY_MS, STARTUP_SECONDS, READY, PROTOCOL.

        CATALOG=true gives catalogues, and FAULT_PRICE_PERCENT of them a wrong price.
        """
        _, colon, tag = image.rpartition("/")[2].partition(":")
        return cls(
            version=env.get("VERSION") or (tag if colon else "unknown"),
            errors=_number(env, "FAULT_ERROR_PERCENT") / 100,
            latency=_number(env, "FAULT_LATENCY_MS") / 1000,
            startup=_number(env, "STARTUP_SECONDS"),
            ready=env.get("READY", "true").lower() != "false",
            protocol=_speech(env.get("PROTOCOL") or "http"),
            catalog=env.get("CATALOG", "false").lower() == "true",
            wrong=_number(env, "FAULT_PRICE_PERCENT") / 100,
        )

    @property
    def faults(self) -> Faults:
        """What goes wrong from the start."""
        return Faults(self.errors, self.latency, self.ready, self.wrong)


def _number(env: Mapping[str, str], name: str) -> float:
    try:
        return float(env.get(name) or 0)
    except ValueError as error:
        raise SandboxError(f"{name}={env[name]!r} is not a number") from error


def _speech(name: str) -> Speech:
    speeches: dict[str, Speech] = {"http": "http", "grpc": "grpc", "tcp": "tcp", "udp": "udp"}
    if name not in speeches:
        raise SandboxError(f"PROTOCOL={name!r} is none of {', '.join(speeches)}")
    return speeches[name]


def spread(owed: float, share: float) -> tuple[float, bool]:
    """What is owed after one more request, and whether this one is due."""
    owed += share
    return (owed, False) if owed < 1 - 1e-9 else (owed - 1, True)


def head_start(pod: str) -> float:
    """How much of a failure a replica owes from the start (0..1, 1 excluded), by its name.

    Replicas that share requests evenly and all began with nothing would fail together each time. Failures in pairs look
    like one that is counted twice, and who judges them has to wait for twice as many.
    """
    return crc32(pod.encode()) / 2**32 * 0.999


class AppServer:
    """One replica on a loopback port (default: a free one); health, faults and counts are served at `control_port`.

    `served` counts its answers (of connections: how many were accepted; of UDP: datagrams), `failed` those with 500 or a gRPC error,
    `copies` those to mirrored requests, as far as it can tell.
    """

    def __init__(self, behaviour: Behaviour, *, pod: str = "app", port: int = 0, grace: float = 1.0) -> None:
        self.behaviour = behaviour
        self.pod = pod
        self.port = port
        self.faults = behaviour.faults
        self.served = 0
        self.failed = 0
        self.copies = 0
        self.finished: Finished = Counter()
        self.control_port = 0
        self._grace = grace
        self._owed = self._wrong = head_start(pod)
        self._who = Who(behaviour.version, pod)
        self._body = self._who.body
        self._endpoint: Endpoint | None = None
        self._runner: web.ServerRunner | None = None
        self._started_at = 0.0

    async def __aenter__(self) -> Self:
        self._started_at = asyncio.get_running_loop().time()
        server = web.Server(self._answer, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=self._grace)
        await self._runner.setup()
        self._endpoint = self._besides_http()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0 if self._endpoint else self.port)
        try:
            await self._site.start()
            self.control_port = self._runner.addresses[0][1]
            self.port = await self._endpoint.start(self.port) if self._endpoint else self.control_port
        except OSError as error:
            await self._runner.cleanup()
            raise SandboxError(f"{self.pod} cannot listen on port {self.port}: {error}") from error
        return self

    def _besides_http(self) -> Endpoint | None:
        match self.behaviour.protocol:
            case "http":
                return None
            case "grpc":
                from canary_sandbox.app_grpc import (
                    GrpcEndpoint,
                )  # loading HTTP/2 takes time that most replicas need not

                return GrpcEndpoint(self._who, self._take)
            case "tcp":
                return TcpEndpoint(self._who, self._take)
            case "udp":
                return UdpEndpoint(self._who, self._take)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening; requests in flight get the grace period (seconds) to finish. Safe to call twice."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            if self._endpoint is not None:
                await self._endpoint.stop(self._grace)
            await runner.cleanup()

    async def crash(self) -> None:
        """Stop listening and cut every connection in the middle of whatever it is doing."""
        if self._runner is not None and self._runner.server is not None:
            if self._endpoint is not None:
                self._endpoint.crash()
            await self._site.stop()
            await self._runner.server.shutdown(0)
        await self.stop()

    @property
    def ready(self) -> bool:
        """Whether the start-up time is over and nobody declared it unready."""
        started = asyncio.get_running_loop().time() - self._started_at >= self.behaviour.startup
        return started and self.faults.ready and self._runner is not None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = self._who.headers
        if request.path == "/healthz":
            ready = self.ready
            return web.Response(status=200 if ready else 503, text="ok" if ready else "not ready", headers=headers)
        if request.path == FAULTS_PATH and request.method == "PUT":
            return await self._set_faults(request)
        if request.path == COUNTS_PATH:
            return web.json_response(self._counts())
        if request.path == METRICS_PATH:
            page = HEAD + "".join(sorted(counted(self.finished, version=self.behaviour.version)))
            return web.Response(text=page, content_type="text/plain")
        if not await self._take(is_copy(request.headers, request.host)):
            return web.Response(status=500, body=b'{"error": "injected"}', headers=headers)
        body = self._catalogue() if self.behaviour.catalog else self._body
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _catalogue(self) -> bytes:
        """Who answers, what is new in each answer, and what is always the same, unless it is to be wrong."""
        self._wrong, due = spread(self._wrong, self.faults.wrong)
        price = 1250 if due else 12.5
        items = [{"name": "cup", "price": price, "stock": 3}, {"name": "plate", "price": 20, "stock": 7}]
        told = {"servedAt": datetime.now(UTC).isoformat(), "requestId": secrets.token_hex(8), "items": items}
        return json.dumps({"version": self.behaviour.version, "pod": self.pod, **told}).encode()

    async def _take(self, copy: bool) -> bool:
        """Count one request, be as slow as told, and say whether it succeeds."""
        self.served += 1
        self.copies += copy
        fails = self._is_due()
        if self.faults.latency:
            await asyncio.sleep(self.faults.latency)
        self.failed += fails
        self.finished[copy, not fails] += 1
        return not fails

    def _counts(self) -> dict[str, object]:
        finished = [[mirrored, succeeded, count] for (mirrored, succeeded), count in self.finished.items()]
        return {"served": self.served, "failed": self.failed, "copies": self.copies, "finished": finished}

    def _is_due(self) -> bool:
        """Spread failures evenly: after n requests, the failed ones differ from errors * n by less than one."""
        self._owed, due = spread(self._owed, self.faults.errors)
        return due

    async def _set_faults(self, request: web.BaseRequest) -> web.Response:
        try:
            self.faults = Faults(**{**asdict(self.faults), **json.loads(await request.text())})
        except (ValueError, TypeError, SandboxError) as error:
            return web.Response(status=400, text=str(error))
        return web.json_response(asdict(self.faults))


async def serve(env: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. PORT is where (default: a free one); the first line printed says it, and where its control is."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    behaviour = Behaviour.from_env(env)
    app = AppServer(behaviour, pod=env.get("POD_NAME") or f"app-{os.getpid()}", port=int(env.get("PORT") or 0))
    async with app:
        sys.stdout.write(json.dumps({"port": app.port, "control": app.control_port, "pod": app.pod}) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(os.environ))
