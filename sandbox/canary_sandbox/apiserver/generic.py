"""What every API server has before its handlers: authentication, faults on demand, the audit log.

Behind it the sandbox's own handlers answer, or, by a proxy of the tests, any other server.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

import yaml
from aiohttp import web

from canary.errors import SandboxError
from canary_sandbox.apiserver import auth, requests
from canary_sandbox.apiserver.audit import AuditEntry
from canary_sandbox.apiserver.errors import StatusError, injected
from canary_sandbox.apiserver.faults import Fault, Faults
from canary_sandbox.apiserver.requests import Request
from canary_sandbox.apiserver.responses import json_response

log = logging.getLogger(__name__)

_AUDIT_LENGTH = 100_000
_OPENED = web.RequestKey("canary_opened", partial)
"""What to do when the stream of a watch opens."""
BODY_LIMIT = 3 * 1024 * 1024
"""The longest body of a request, in bytes."""


def utc_now() -> datetime:
    """The time, as a clock of the server."""
    return datetime.now(UTC)


class GenericApiServer(ABC):
    """Listens on 127.0.0.1 while its context is open, keeps the audit, and lets faults strike.

    `clock` gives the times of the audit, `port` 0 takes a free one. Whoever stands behind it says who asks
    (`authenticate`) and answers (`answer`).
    """

    def __init__(self, *, tokens: auth.Tokens, clock: Callable[[], datetime] = utc_now, port: int = 0) -> None:
        self._clock = clock
        self._tokens = tokens
        self._wanted_port = port
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._in_progress = 0
        self.audit: deque[AuditEntry] = deque(maxlen=_AUDIT_LENGTH)
        self.faults = Faults()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._serve)
        app.on_response_prepare.append(_note_opened)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._wanted_port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise SandboxError(f"the API server cannot listen on 127.0.0.1:{self._wanted_port}: {error}") from error
        self._url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @abstractmethod
    def authenticate(self, http: web.Request, in_path: str, path: str) -> auth.User:
        """Who sends a request; `in_path` is the authorization that the path carried. Raises StatusError."""

    @abstractmethod
    async def answer(
        self, http: web.Request, request: Request, user: auth.User, fault: Fault | None = None
    ) -> web.StreamResponse:
        """The answer to one authenticated request; `fault` strikes its watch. Raises StatusError."""

    @property
    @abstractmethod
    def behind(self) -> int:
        """How many watches in progress have yet to tell of something that was written; 0: none."""

    @property
    def busy(self) -> int:
        """How many requests are not answered yet, and watches behind; 0: everybody has heard everything."""
        return self._in_progress + self.behind

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:41234`."""
        return self._url

    @property
    def token(self) -> str:
        """The bearer token of the admin."""
        return self._tokens.admin

    def add_token(self, user: str, groups: Sequence[str] = ()) -> str:
        """A further bearer token, for a user in `groups` or a service account (`system:serviceaccount:NAMESPACE:NAME`)."""
        return self._tokens.add(user, groups)

    def kubeconfig(
        self,
        path: Path,
        *,
        user: str = "admin",
        namespace: str = "default",
        groups: Sequence[str] = (),
        token: str = "",
    ) -> Path:
        """Write a kubeconfig with a bearer token for `user` in `groups`, or with `token`; returns its path.

        The server's address in it carries the token a second time: kubectl and every Go client that reads a kubeconfig
        drop bearer tokens unless the server speaks TLS.
        """
        token = token or (self.token if user == "admin" else self.add_token(user, groups))
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": {"server": self.url + auth.path_prefix(token)}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": user, "namespace": namespace}}],
            "current-context": "sandbox",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        """One request: who, what, which fault, the answer, and the entry in the audit."""
        watch = http.query.get("watch", "") in {"1", "true", "True", "t"}
        in_path, path = auth.split_path(http.path)
        request = requests.parse(http.method, path, watch=watch)
        user = auth.ANONYMOUS
        counted = request.verb != "watch"
        self._in_progress += counted
        try:
            user = self.authenticate(http, in_path, path)
            response = await self._with_faults(http, request, user)
        except StatusError as error:
            response = json_response(error.body(), error.code, error.headers)
        except web.HTTPRequestEntityTooLarge:
            refusal = StatusError(413, "RequestEntityTooLarge", f"limit is {BODY_LIMIT}")
            response = json_response(refusal.body(), refusal.code)
        except (ConnectionResetError, asyncio.CancelledError):
            # The client went away. A watch is in the books since it began.
            if request.verb != "watch":
                self._note(http, request, user, 0)
            raise
        except Exception as error:
            log.exception("%s %s", http.method, http.path_qs)
            failure = StatusError(500, "InternalError", f"Internal error occurred: {error!r}")
            response = json_response(failure.body(), 500)
        finally:
            self._in_progress -= counted
        if request.verb != "watch" or response.status != 200:
            lost = http.transport is None or http.transport.is_closing()
            self._note(http, request, user, 0 if lost else response.status)
        return response

    async def _with_faults(self, http: web.Request, request: Request, user: auth.User) -> web.StreamResponse:
        fault = self.faults.take(request, user.name)
        if fault is None:
            return await self._answer(http, request, user)
        if fault.after_events is not None:
            await asyncio.sleep(fault.latency)
            return await self._answer(http, request, user, fault)
        if fault.rewrite is not None:
            http._read_bytes = fault.rewrite(await http.read())  # noqa: SLF001 - what `read` gives from now on
            return await self._answer(http, request, user)
        if fault.after_effect:
            response = await self._answer(http, request, user)
            await asyncio.sleep(fault.latency)
            _strike(fault, http)
            return response
        await asyncio.sleep(fault.latency)
        _strike(fault, http)
        return await self._answer(http, request, user)

    async def _answer(
        self, http: web.Request, request: Request, user: auth.User, fault: Fault | None = None
    ) -> web.StreamResponse:
        if request.verb == "watch":
            http[_OPENED] = partial(self._note, http, request, user, 200)
        return await self.answer(http, request, user, fault)

    def _note(self, http: web.Request, request: Request, user: auth.User, code: int) -> None:
        self.audit.append(
            AuditEntry(
                at=self._clock(),
                user=user.name,
                user_agent=http.headers.get("User-Agent", ""),
                verb=request.verb,
                group=request.group,
                resource=request.resource,
                subresource=request.subresource,
                namespace=request.namespace,
                name=request.name,
                code=code,
            )
        )


async def _note_opened(http: web.BaseRequest, response: web.StreamResponse) -> None:
    """A watch goes into the audit when its stream opens, because it may never end; a refused one when it is refused."""
    note = http.get(_OPENED)
    if note is not None and response.status == 200:
        note()


def _strike(fault: Fault, http: web.Request) -> None:
    """Break the connection or refuse, as the fault wants."""
    if fault.drop and http.transport is not None:
        http.transport.abort()
    if fault.drop or fault.status is not None:
        raise injected(fault.status or 503)
