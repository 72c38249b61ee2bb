"""A real API server behind a proxy: the same tokens, audit and faults as the sandbox has, before any server.

Whoever presents one of our tokens is impersonated at the real server by its admin, so a test may be as many people as
it likes. What a test has created through the proxy is deleted when the proxy closes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from created import CreatedObjects
from upstream import Upstream
from watch_lag import Stream, WatchLag, version
from yarl import URL

from canary.errors import SandboxError
from canary_sandbox.apiserver import auth
from canary_sandbox.apiserver.errors import StatusError, expired, not_implemented
from canary_sandbox.apiserver.faults import Fault, WatchLostError, faulty
from canary_sandbox.apiserver.generic import GenericApiServer, utc_now
from canary_sandbox.apiserver.rbac import Mode
from canary_sandbox.apiserver.requests import Request
from canary_sandbox.apiserver.server import definitions
from canary_sandbox.apiserver.watch import error_line

Json = dict[str, Any]
Headers = list[tuple[str, str]]

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}
_NOT_PASSED_ON = _HOP_BY_HOP | {"authorization"}
_NOT_ON_WRITES = {"accept-encoding"}  # the proxy reads the answers
_OWN_HEADERS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_OURS = "canary.dev"
_SECONDS = 30.0

_JSON = "application/json"
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}

_ended: set[str] = set()
"""Namespaces that proxies of this session have deleted: a cluster takes its time over them."""
_installed: dict[str, str] = {}
"""Definitions that this session has put on the real server: by name, as JSON."""
_replaced: dict[str, Json] = {}
"""What stood there before, of definitions of ours that the cluster had: put back at the end."""


class RealServer(GenericApiServer):
    """Passes requests on to `upstream`. `authorization` "AlwaysAllow" makes everybody an admin there."""

    def __init__(self, upstream: Upstream, *, authorization: Mode = "AlwaysAllow") -> None:
        super().__init__(tokens=auth.Tokens(None, utc_now, lambda _namespace, _name: None))
        self._upstream = upstream
        self._anonymous = authorization == "RBAC"
        self._extra = () if self._anonymous else (auth.MASTERS,)
        self._streams: set[aiohttp.ClientResponse] = set()
        self._writing: set[asyncio.Task[web.StreamResponse]] = set()
        self._lag = WatchLag()
        self._created = CreatedObjects()
        self._forgotten = 0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._upstream.admin)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self._bare = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._upstream.bare), timeout=timeout, auto_decompress=False
        )
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        self.drop_watches()
        await super().__aexit__(*error)
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._created.clean_up(self._admin)
        for name in self._created.definitions:
            await self._forget(name)
        _ended.update(self._created.namespaces)
        await self._session.close()
        await self._bare.close()

    # -- who

    def authenticate(self, http: web.Request, in_path: str, path: str) -> auth.User:
        header = http.headers.get("Authorization") or in_path
        try:
            return self._tokens.user(header, path, anonymous=self._anonymous)
        except StatusError:
            subject = _subject(header)
            if not subject:
                raise
            return auth.User(subject)  # a token that the real server has issued: it will judge it

    def _headers(self, http: web.Request, user: auth.User, in_path: str) -> tuple[aiohttp.ClientSession, Headers]:
        """The session and the headers with which a request goes on."""
        dropped = _NOT_PASSED_ON if http.method in {"GET", "HEAD"} else _NOT_PASSED_ON | _NOT_ON_WRITES
        headers: Headers = [(name, value) for name, value in http.headers.items() if name.lower() not in dropped]
        if http.method not in {"GET", "HEAD"}:
            headers = [(name, _readable(value) if name.lower() == "accept" else value) for name, value in headers]
        token = (http.headers.get("Authorization") or in_path).partition(" ")[2].strip()
        if token and self._tokens.owner(token) is None:
            return self._bare, [*headers, ("Authorization", f"Bearer {token}")]
        if user.name != "admin":
            if any(name.lower().startswith("impersonate-") for name, _ in headers):
                raise not_implemented("impersonation by anybody but the admin, before a real server")
            groups = [group for group in (*user.groups, *self._extra) if group != auth.AUTHENTICATED]
            headers += [("Impersonate-User", user.name), *(("Impersonate-Group", group) for group in groups)]
        if self._upstream.authorization:
            headers.append(("Authorization", self._upstream.authorization))
        return self._session, headers

    # -- what

    async def answer(
        self, http: web.Request, request: Request, user: auth.User, fault: Fault | None = None
    ) -> web.StreamResponse:
        body = await http.read()
        if request.verb == "create" and (request.group, request.resource) == ("", "namespaces"):
            await self._until_gone(body)
        if request.verb not in _WRITES:
            return await self._ask(http, request, user, body, fault)
        # Once sent, a write may take effect whether its client waits or not: it is followed to its end.
        task = asyncio.create_task(self._ask(http, request, user, body))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await asyncio.shield(task)

    async def _until_gone(self, body: bytes) -> None:
        """Before a namespace is created: wait for the end of the one that a test before had under the same name."""
        with contextlib.suppress(ValueError, KeyError, TypeError):  # no JSON, or no namespace: the server will judge it
            path = f"/api/v1/namespaces/{json.loads(body)['metadata']['name']}"
            if path in _ended:
                async with asyncio.timeout(_SECONDS):
                    while (await self._admin("GET", path))[0] != 404:  # noqa: ASYNC110 - another process tells nobody
                        await asyncio.sleep(0.1)

    async def _ask(
        self, http: web.Request, request: Request, user: auth.User, body: bytes, fault: Fault | None = None
    ) -> web.StreamResponse:
        in_path, path = auth.split_path(http.rel_url.raw_path)
        session, headers = self._headers(http, user, in_path)
        url = f"{self._upstream.url}{path}" + (f"?{http.rel_url.raw_query_string}" if http.query_string else "")
        async with session.request(
            http.method,
            URL(url, encoded=True),
            data=body or None,
            headers=headers,
            skip_auto_headers=_OWN_HEADERS,
            allow_redirects=False,
        ) as answer:
            if request.verb == "watch" and answer.status == 200:
                if 0 < version(http.query.get("resourceVersion", "")) < self._forgotten:
                    return web.Response(body=error_line(expired("too old resource version")), content_type=_JSON)
                return await self._stream(http, request, answer, fault)
            content = await answer.read()
            if request.verb in _WRITES and answer.status < 300 and not http.query.get("dryRun"):
                self._lag.wrote(request, content)
                if answer.status == 201:
                    self._created.note(path, request, content)
            if in_path and path.partition("?")[0] == "/openapi/v3":
                # It says where the schemas are; for who is known by the path, they are there too.
                prefix = http.rel_url.raw_path.removesuffix("/openapi/v3")
                content = content.replace(b'"serverRelativeURL":"/', f'"serverRelativeURL":"{prefix}/'.encode())
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            return web.Response(body=content, status=answer.status, headers=kept)

    async def _stream(
        self, http: web.Request, request: Request, answer: aiohttp.ClientResponse, fault: Fault | None
    ) -> web.StreamResponse:
        media = answer.headers.get("Content-Type", _JSON)
        if fault is not None and _JSON not in media:
            raise not_implemented(f"a fault in a stream of {media}")
        response = web.StreamResponse(headers={"Content-Type": media})
        response.enable_chunked_encoding()
        await response.prepare(http)
        self._streams.add(answer)
        stream = self._lag.open(request, http.query)
        if _JSON in media:
            events = faulty(_lines(answer, stream), fault)
        else:  # protobuf, as Go clients ask for: nobody here reads it, so nobody knows what it has told of
            self._lag.close(stream)
            events = answer.content.iter_any()
        try:
            async for event in events:
                await response.write(event)
        except WatchLostError:
            if http.transport is not None:
                http.transport.abort()
            return response
        except aiohttp.ClientError:
            pass  # dropped by `drop_watches`, or by the server: for a client the end of the stream
        except ConnectionResetError:
            return response
        finally:
            self._lag.close(stream)
            self._streams.discard(answer)
        with contextlib.suppress(ConnectionResetError):  # the client left first, as watchers do
            await response.write_eof()
        return response

    @property
    def watching(self) -> int:
        """How many watches are in progress."""
        return len(self._streams)

    @property
    def behind(self) -> int:
        """How many watches have yet to tell of something that was written, or of a write that is under way."""
        return self._lag.behind + len(self._writing)

    def drop_watches(self) -> None:
        """End every watch in progress; clients are expected to come back."""
        for stream in tuple(self._streams):
            stream.close()

    def compact(self) -> None:
        """Watches from before the last write get 410, as after a compaction that nobody can order here."""
        self._forgotten = self._lag.latest

    # -- definitions

    async def install_crds(self, source: Path | str | Iterable[Path | str]) -> list[str]:
        """Create every CustomResourceDefinition in a folder, a file, or several, and wait until each is served.

        One that the cluster has already and this session did not bring is left as it is, except ours.
        """
        documents = list(definitions(source))
        if not documents:
            raise SandboxError(f"no CustomResourceDefinition in {source}")
        for document in documents:
            await self._install(document)
        for document in documents:
            await self._served(document)
        return [document["metadata"]["name"] for document in documents]

    async def _install(self, document: Json) -> None:
        name, text = document["metadata"]["name"], json.dumps(document, sort_keys=True)
        if _installed.get(name) == text:
            return
        code, there = await self._admin("GET", f"{_CRDS}/{name}")
        if code == 200 and name not in _installed:
            if document["spec"]["group"] != _OURS:
                return
            _replaced[name] = there
        document.pop("status", None)
        path = f"{_CRDS}/{name}?fieldManager=canary-tests&force=true"
        code, said = await self._admin("PATCH", path, document, "application/apply-patch+yaml")
        if code not in {200, 201}:
            raise SandboxError(f"the server refuses the definition {name}: {said}")
        _installed[name] = text

    async def _forget(self, name: str) -> None:
        """A test has defined this anew, and it was deleted with all that the test has made: who needs it installs it again."""
        _installed.pop(name, None)
        async with asyncio.timeout(_SECONDS):
            while (await self._admin("GET", f"{_CRDS}/{name}"))[0] != 404:  # noqa: ASYNC110 - another process tells nobody
                await asyncio.sleep(0.05)

    async def _served(self, document: Json) -> None:
        """Wait until the server serves each version that a definition says it serves."""
        spec = document["spec"]
        for served in (item["name"] for item in spec["versions"] if item["served"]):
            path = f"/apis/{spec['group']}/{served}/{spec['names']['plural']}?limit=1"
            async with asyncio.timeout(_SECONDS):
                while (await self._admin("GET", path))[0] != 200:  # noqa: ASYNC110 - another process tells nobody
                    await asyncio.sleep(0.05)

    async def _admin(self, method: str, path: str, body: Json | None = None, media: str = "") -> tuple[int, Any]:
        headers = {"Accept-Encoding": "identity"}
        if self._upstream.authorization:
            headers["Authorization"] = self._upstream.authorization
        if body is not None:
            headers["Content-Type"] = media or "application/json"
        data = json.dumps(body) if body is not None else None
        async with self._session.request(method, self._upstream.url + path, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] == "{" else text


async def _lines(answer: aiohttp.ClientResponse, stream: Stream) -> AsyncGenerator[bytes, None]:
    """Whole lines: one event each, however long. `stream` hears them, whatever a fault does to them afterwards."""
    buffer = b""
    async for chunk in answer.content.iter_any():
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            stream.heard(line)
            yield line + b"\n"


def _readable(accept: str) -> str:
    """What a client accepts, without protobuf if it takes anything else: the proxy reads the answers to writes."""
    return ",".join(one for one in accept.split(",") if _PROTOBUF not in one) or accept


def _subject(header: str) -> str:
    """Whom a JWT is about, unverified; empty when it is no JWT."""
    with contextlib.suppress(ValueError, KeyError, IndexError):
        payload = header.partition(" ")[2].split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])
    return ""


def remove_installed(upstream: Upstream) -> None:
    """Take the definitions of this session off the server again, and put back those that were there before."""
    if not _installed:
        return

    async def remove() -> None:
        async with RealServer(upstream) as server:
            for name in _installed:
                before = _replaced.get(name)
                if before is None:
                    await server._admin("DELETE", f"{_CRDS}/{name}")
                    continue
                _, now = await server._admin("GET", f"{_CRDS}/{name}")
                before["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
                code, said = await server._admin("PUT", f"{_CRDS}/{name}", before)
                if code != 200:
                    raise SandboxError(f"the server does not take the definition {name} back: {said}")

    asyncio.run(remove())
    _installed.clear()
    _replaced.clear()
