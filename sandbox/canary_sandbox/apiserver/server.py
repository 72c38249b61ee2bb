"""The server itself: its cluster behind authentication, faults and audit."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web

from canary.errors import SandboxError
from canary_sandbox.apiserver import access, auth, crd
from canary_sandbox.apiserver.cluster import Cluster
from canary_sandbox.apiserver.collector import Collector
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.faults import Fault
from canary_sandbox.apiserver.generic import GenericApiServer, utc_now
from canary_sandbox.apiserver.handlers import Handlers
from canary_sandbox.apiserver.rbac import Authorizer, Mode
from canary_sandbox.apiserver.requests import Request
from canary_sandbox.apiserver.rest import Options
from canary_sandbox.apiserver.snapshot import Snapshot, dump
from canary_sandbox.apiserver.store import Store
from canary_sandbox.apiserver.watch import Watches

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # definitions are long, and the C parser ten times faster


class ApiServer(GenericApiServer):
    """An embedded Kubernetes API server on 127.0.0.1, in memory, for as long as its context is open.

    `clock` gives the time of timestamps; `token` is the admin's bearer token (random when None); `port` 0 takes a free
    one; `history` is how many changes per resource can still be watched or listed; `authorization` "RBAC" lets roles
    and bindings decide, and the anonymous in; `bookmark_interval` is the seconds between bookmarks. What it cannot do it
    refuses with 501; `limitations` lists rules of loaded CRDs that it does not evaluate. `snapshot` is what an earlier
    one gave away by `save()`: objects and tokens are as they were then, and watches from before get 410.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utc_now,
        token: str | None = None,
        port: int = 0,
        history: int = 10_000,
        authorization: Mode = "AlwaysAllow",
        bookmark_interval: float = 60.0,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._cluster = Cluster(clock, history=history, snapshot=snapshot)
        saved = snapshot.tokens if snapshot else None
        super().__init__(tokens=auth.Tokens(token, clock, self._cluster.account_uid, saved), clock=clock, port=port)
        self._watches = Watches(self._cluster.store, bookmark_interval)
        self._authorizer = Authorizer(self._cluster.store, authorization)
        self._handlers = Handlers(self._cluster, self._watches, self._authorizer, self._tokens)
        self._collector = Collector(self._cluster)
        self._collecting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._collecting = asyncio.create_task(self._collector.run(), name="apiserver-collector")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watches.drop()
        if self._collecting is not None:
            self._collecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._collecting
        await super().__aexit__()

    @property
    def store(self) -> Store:
        """The objects, for measurements and tests; a client goes through HTTP."""
        return self._cluster.store

    @property
    def limitations(self) -> list[str]:
        """What loaded definitions ask for and this server does not evaluate."""
        return self._cluster.limitations

    async def install_crds(self, source: Path | str | Iterable[Path | str]) -> list[str]:
        """Create or replace every CustomResourceDefinition in a folder, a file, or several; returns their names.

        Raises StatusError when a definition is refused, SandboxError when a path holds none.
        """
        names = [self._install(doc) for doc in definitions(source)]
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

    @property
    def behind(self) -> int:
        """How many watches have yet to tell of something that was written."""
        return self._watches.behind

    def compact(self) -> None:
        """Forget the history of changes: watches from an older resourceVersion get 410."""
        self.store.compact()

    def authenticate(self, http: web.Request, in_path: str, path: str) -> auth.User:
        """The owner of the token, or whom an admin acts as."""
        anonymous = self._authorizer.mode == "RBAC"
        user = self._tokens.user(http.headers.get("Authorization") or in_path, path, anonymous=anonymous)
        groups = http.headers.getall("Impersonate-Group", [])
        return access.impersonated(user, http.headers, groups, self._authorizer)

    async def answer(
        self, http: web.Request, request: Request, user: auth.User, fault: Fault | None = None
    ) -> web.StreamResponse:
        return await self._handlers.answer(http, request, user, fault)


def definitions(source: Path | str | Iterable[Path | str]) -> Iterator[Json]:
    """Every CustomResourceDefinition in a folder, a file, or several."""
    return (doc for path in _yaml_files(source) for doc in _definitions(path))


def _yaml_files(source: Path | str | Iterable[Path | str]) -> list[Path]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
        return [path]
    return [file for item in source for file in _yaml_files(item)]


def _definitions(path: Path) -> list[Any]:
    return [json.loads(text) for text in _parsed(path.read_text())]


@lru_cache(maxsize=128)
def _parsed(text: str) -> tuple[str, ...]:
    """The definitions in a YAML text, each as JSON: long ones take long, and a process starts many servers."""
    documents = yaml.load_all(text, _LOADER)
    # To JSON: YAML knows dates and other types that a document of the API never has.
    return tuple(
        json.dumps(doc, default=str)
        for doc in documents
        if isinstance(doc, dict) and doc.get("kind") == "CustomResourceDefinition"
    )
