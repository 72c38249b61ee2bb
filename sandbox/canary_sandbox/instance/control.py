"""What a supervisor can be asked while it runs: HTTP on a loopback port, with a token that only the user can read."""

from __future__ import annotations

import hmac
import json
from types import TracebackType
from typing import Any, Protocol, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from canary.errors import SandboxError

Json = dict[str, Any]


class Supervised(Protocol):
    """What a supervisor lets itself be asked: see there."""

    async def info(self) -> Json: ...

    async def set_fault(self, version: str, errors: float | None, latency: float | None) -> None: ...

    async def clear_faults(self, version: str | None) -> list[str]: ...

    def faults(self) -> Json: ...

    def versions(self) -> Json: ...

    def stop(self) -> None: ...


class Control:
    """`GET /status`, `GET|PUT|DELETE /faults`, `POST /stop`. `url` is empty before it listens."""

    def __init__(self, supervisor: Supervised, token: str) -> None:
        self._supervisor = supervisor
        self._expected = f"Bearer {token}".encode()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/status", self._status),
                web.get("/faults", self._get_faults),
                web.put("/faults", self._put_faults),
                web.delete("/faults", self._delete_faults),
                web.post("/stop", self._stop),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.url = ""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), self._expected):
            return web.json_response({"error": "the token is not the one in the folder"}, status=401)
        try:
            return await handler(request)
        except SandboxError as error:
            return web.json_response({"error": str(error)}, status=400)

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(await self._supervisor.info())

    async def _get_faults(self, _: web.Request) -> web.Response:
        return self._table()

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            asked: Json = json.loads(await request.text())
            version = str(asked["version"])
            errors, latency = (
                None if asked.get(name) is None else float(asked[name]) for name in ("errors", "latency")
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SandboxError(f"that is no fault: {type(error).__name__} {error}") from error
        await self._supervisor.set_fault(version, errors, latency)
        return self._table()

    async def _delete_faults(self, request: web.Request) -> web.Response:
        cleared = await self._supervisor.clear_faults(request.query.get("version"))
        return self._table(cleared=cleared)

    def _table(self, **more: Any) -> web.Response:
        return web.json_response({"faults": self._supervisor.faults(), "versions": self._supervisor.versions(), **more})

    async def _stop(self, _: web.Request) -> web.Response:
        self._supervisor.stop()
        return web.json_response({})
