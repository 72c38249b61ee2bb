"""The server itself: a socket, a token, the books it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web

from canary.errors import SandboxError
from canary.sandbox.apiserver import access, auth, crd, requests
from canary.sandbox.apiserver.audit import AuditEntry
from canary.sandbox.apiserver.cluster import Cluster
from canary.sandbox.apiserver.collector import Collector
from canary.sandbox.apiserver.errors import Json, StatusError, injected
from canary.sandbox.apiserver.faults import Fault, Faults
from canary.sandbox.apiserver.handlers import Handlers
from canary.sandbox.apiserver.rbac import Authorizer, Mode
from canary.sandbox.apiserver.requests import Request
from canary.sandbox.apiserver.responses import json_response
from canary.sandbox.apiserver.rest import Options
from canary.sandbox.apiserver.snapshot import Snapshot, dump
from canary.sandbox.apiserver.store import Store
from canary.sandbox.apiserver.watch import Watches

log = logging.getLogger(__name__)

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # definitions are long, and the C parser ten times faster
_AUDIT_LENGTH = 100_000
_BODY_LIMIT = 3 * 1024 * 1024


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ApiServer:
    """An embedded Kubernetes API server on 127.0.0.1, in memory, for as long as its context is open.

    `clock` gives the time of timestamps; `token` is the admin's bearer token (random when None); `port` 0 takes a free
    one; `history` is how many changes per resource can still be watched or listed; `authorization` "RBAC" lets roles
    and bindings decide, and the anonymous in; `bookmark_interval` is the seconds between bookmarks. What it cannot do it refuses with 501; `limitations` lists rules of
    loaded CRDs that it does not evaluate. `snapshot` is what an earlier one gave away by `save()`: objects and tokens
    are as they were then, and watches from before get 410.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = _utc_now,
        token: str | None = None,
        port: int = 0,
        history: int = 10_000,
        authorization: Mode = "AlwaysAllow",
        bookmark_interval: float = 60.0,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._clock = clock
        self._cluster = Cluster(clock, history=history, snapshot=snapshot)
        self._watches = Watches(self._cluster.store, bookmark_interval)
        self._tokens = auth.Tokens(token, clock, self._cluster.account_uid, snapshot.tokens if snapshot else None)
        self._authorizer = Authorizer(self._cluster.store, authorization)
        self._handlers = Handlers(self._cluster, self._watches, self._authorizer, self._tokens)
        self._collector = Collector(self._cluster)
        self._wanted_port = port
        self._runner: web.AppRunner | None = None
        self._collecting: asyncio.Task[None] | None = None
        self._url = ""
        self.audit: deque[AuditEntry] = deque(maxlen=_AUDIT_LENGTH)
        self.faults = Faults()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._wanted_port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise SandboxError(f"the API server cannot listen on 127.0.0.1:{self._wanted_port}: {error}") from error
        port = self._runner.addresses[0][1]
        self._url = f"http://127.0.0.1:{port}"
        self._collecting = asyncio.create_task(self._collector.run(), name="apiserver-collector")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watches.drop()
        if self._collecting is not None:
            self._collecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._collecting
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:41234`."""
        return self._url

    @property
    def token(self) -> str:
        """The bearer token of the admin."""
        return self._tokens.admin

    @property
    def store(self) -> Store:
        """The objects, for measurements and tests; a client goes through HTTP."""
        return self._cluster.store

    @property
    def limitations(self) -> list[str]:
        """What loaded definitions ask for and this server does not evaluate."""
        return self._cluster.limitations

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

    async def install_crds(self, source: Path | str | Iterable[Path | str]) -> list[str]:
        """Create or replace every CustomResourceDefinition in a folder, a file, or several; returns their names.

        Raises StatusError when a definition is refused, SandboxError when a path holds none.
        """
        names = [self._install(doc) for path in _yaml_files(source) for doc in _definitions(path)]
        if not names:
            raise SandboxError(f"no CustomResourceDefinition in {source}")
        return names

    def _install(self, doc: Json) -> str:
        resource = self._cluster.registry.get(crd.GROUP, "v1", crd.KEY[1])
        assert resource is not None  # noqa: S101  built in
        name: str = doc["metadata"]["name"]
        options = Options(manager="sandbox", validation="Strict")
        doc.pop("status", None)
        if self.store.get(crd.KEY, ("", name)) is None:
            self._cluster.rest.create(resource, "", doc, options)
        else:
            self._cluster.rest.update(resource, ("", name), doc, options, patched=True)
        return name

    def define(self, definitions: Iterable[Json]) -> list[str]:
        """Create or replace CustomResourceDefinitions; returns their names. Raises StatusError when one is refused."""
        return [self._install(copy.deepcopy(doc)) for doc in definitions]

    def save(self) -> bytes:
        """All objects and tokens as of now, for `Snapshot.load`; a secret. Also after the server has ended."""
        return dump(self.store, self._tokens.save())

    def drop_watches(self) -> None:
        """End every watch in progress; clients are expected to come back."""
        self._watches.drop()

    @property
    def watching(self) -> int:
        """How many watches are in progress."""
        return len(self._watches)

    def compact(self) -> None:
        """Forget the history of changes: watches from an older resourceVersion get 410."""
        self.store.compact()

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        """One request: who, what, which fault, the answer, and the entry in the audit."""
        watch = http.query.get("watch", "") in {"1", "true", "True", "t"}
        in_path, path = auth.split_path(http.path)
        request = requests.parse(http.method, path, watch=watch)
        user = auth.ANONYMOUS
        try:
            user = self._user(http, in_path, path)
            response = await self._with_faults(http, request, user)
        except StatusError as error:
            response = json_response(error.body(), error.code, error.headers)
        except web.HTTPRequestEntityTooLarge:
            refusal = StatusError(413, "RequestEntityTooLarge", f"limit is {_BODY_LIMIT}")
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
        if request.verb != "watch" or response.status != 200:
            lost = http.transport is None or http.transport.is_closing()
            self._note(http, request, user, 0 if lost else response.status)
        return response

    def _user(self, http: web.Request, in_path: str, path: str) -> auth.User:
        anonymous = self._authorizer.mode == "RBAC"
        user = self._tokens.user(http.headers.get("Authorization") or in_path, path, anonymous=anonymous)
        groups = http.headers.getall("Impersonate-Group", [])
        return access.impersonated(user, http.headers, groups, self._authorizer)

    async def _with_faults(self, http: web.Request, request: Request, user: auth.User) -> web.StreamResponse:
        fault = self.faults.take(request, user.name)
        if fault is None:
            return await self._answer(http, request, user)
        if fault.after_events is not None:
            await asyncio.sleep(fault.latency)
            return await self._answer(http, request, user, fault)
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
            self._note(http, request, user, 200)
        return await self._handlers.answer(http, request, user, fault)

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


def _strike(fault: Fault, http: web.Request) -> None:
    """Break the connection or refuse, as the fault wants."""
    if fault.drop and http.transport is not None:
        http.transport.abort()
    if fault.drop or fault.status is not None:
        raise injected(fault.status or 503)


def _yaml_files(source: Path | str | Iterable[Path | str]) -> list[Path]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
        return [path]
    return [file for item in source for file in _yaml_files(item)]


def _definitions(path: Path) -> list[Any]:
    documents = yaml.load_all(path.read_text(), _LOADER)
    # Through JSON once: YAML knows dates and other types that a document of the API never has.
    return [
        json.loads(json.dumps(doc, default=str))
        for doc in documents
        if isinstance(doc, dict) and doc.get("kind") == "CustomResourceDefinition"
    ]
