"""A real API server behind a front desk: the same tokens, audit and faults as the sandbox has, before any server.

Whoever presents one of our tokens is impersonated at the real server by its admin, so a test may be as many people as
it likes. What a test has created through the desk is deleted when the desk closes.
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
from upstream import Upstream
from yarl import URL

from canary.errors import SandboxError
from canary.sandbox.apiserver import auth
from canary.sandbox.apiserver.desk import FrontDesk, utc_now
from canary.sandbox.apiserver.errors import StatusError, not_implemented
from canary.sandbox.apiserver.faults import Fault, WatchLostError, faulty
from canary.sandbox.apiserver.rbac import Mode
from canary.sandbox.apiserver.requests import Request
from canary.sandbox.apiserver.server import definitions

Json = dict[str, Any]
Headers = list[tuple[str, str]]

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}
_NOT_PASSED_ON = _HOP_BY_HOP | {"authorization"}
_OWN_HEADERS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_OURS = "canary.dev"
_SECONDS = 30.0

_installed: dict[str, str] = {}
"""Definitions that this session has put on the real server: by name, as JSON."""


class RealServer(FrontDesk):
    """Passes requests on to `upstream`. `authorization` "AlwaysAllow" makes everybody an admin there."""

    def __init__(self, upstream: Upstream, *, authorization: Mode = "AlwaysAllow") -> None:
        super().__init__(tokens=auth.Tokens(None, utc_now, lambda _namespace, _name: None))
        self._upstream = upstream
        self._anonymous = authorization == "RBAC"
        self._extra = () if self._anonymous else (auth.MASTERS,)
        self._streams: set[aiohttp.ClientResponse] = set()
        self._created: list[str] = []

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
        await self._clean_up()
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
        headers: Headers = [(name, value) for name, value in http.headers.items() if name.lower() not in _NOT_PASSED_ON]
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
        in_path, path = auth.split_path(http.rel_url.raw_path)
        session, headers = self._headers(http, user, in_path)
        url = f"{self._upstream.url}{path}" + (f"?{http.rel_url.raw_query_string}" if http.query_string else "")
        body = await http.read()
        async with session.request(
            http.method,
            URL(url, encoded=True),
            data=body or None,
            headers=headers,
            skip_auto_headers=_OWN_HEADERS,
            allow_redirects=False,
        ) as answer:
            if request.verb == "watch" and answer.status == 200:
                return await self._stream(http, answer, fault)
            content = await answer.read()
            if answer.status == 201 and request.is_resource:
                self._remember(path, request, content)
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            return web.Response(body=content, status=answer.status, headers=kept)

    async def _stream(
        self, http: web.Request, answer: aiohttp.ClientResponse, fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": answer.headers.get("Content-Type", "application/json")})
        response.enable_chunked_encoding()
        await response.prepare(http)
        self._streams.add(answer)
        try:
            async for line in faulty(_lines(answer), fault):
                await response.write(line)
        except WatchLostError:
            if http.transport is not None:
                http.transport.abort()
            return response
        except aiohttp.ClientError:
            pass  # dropped by `drop_watches`, or by the server: for a client the end of the stream
        except ConnectionResetError:
            return response
        finally:
            self._streams.discard(answer)
        with contextlib.suppress(ConnectionResetError):  # the client left first, as watchers do
            await response.write_eof()
        return response

    @property
    def watching(self) -> int:
        """How many watches are in progress."""
        return len(self._streams)

    def drop_watches(self) -> None:
        """End every watch in progress; clients are expected to come back."""
        for stream in tuple(self._streams):
            stream.close()

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
        code, _ = await self._admin("GET", f"{_CRDS}/{name}")
        if code == 200 and name not in _installed and document["spec"]["group"] != _OURS:
            return
        document.pop("status", None)
        path = f"{_CRDS}/{name}?fieldManager=canary-tests&force=true"
        code, said = await self._admin("PATCH", path, document, "application/apply-patch+yaml")
        if code not in {200, 201}:
            raise SandboxError(f"the server refuses the definition {name}: {said}")
        _installed[name] = text

    async def _served(self, document: Json) -> None:
        """Wait until the server serves each version that a definition says it serves."""
        spec = document["spec"]
        for version in spec["versions"]:
            if not version["served"]:
                continue
            path = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}?limit=1"
            async with asyncio.timeout(_SECONDS):
                while (await self._admin("GET", path))[0] != 200:  # noqa: ASYNC110 - another process tells nobody
                    await asyncio.sleep(0.05)

    async def _admin(self, method: str, path: str, body: Json | None = None, media: str = "") -> tuple[int, Any]:
        headers = {"Authorization": self._upstream.authorization} if self._upstream.authorization else {}
        if body is not None:
            headers["Content-Type"] = media or "application/json"
        data = json.dumps(body) if body is not None else None
        async with self._session.request(method, self._upstream.url + path, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] == "{" else text

    # -- leaving nothing behind

    def _remember(self, path: str, request: Request, content: bytes) -> None:
        if request.verb == "create" and not request.subresource and "dryRun" not in path:
            with contextlib.suppress(ValueError, KeyError):
                path = f"{path.rstrip('/')}/{json.loads(content)['metadata']['name']}"
                self._created.append(path)
        elif request.verb in {"patch", "update"} and not request.subresource:
            self._created.append(path)

    async def _clean_up(self) -> None:
        """Delete what was created through this desk, the latest first; finalizers are taken off."""
        for path in reversed(self._created):
            code, left = await self._admin("DELETE", f"{path}?propagationPolicy=Background")
            if code >= 400 or not isinstance(left, dict):
                continue
            if (left.get("metadata") or {}).get("finalizers"):
                free = {"metadata": {"finalizers": None}}
                await self._admin("PATCH", path, free, "application/merge-patch+json")
            if left.get("kind") == "Namespace":
                await self._admin("PUT", f"{path}/finalize", {**left, "spec": {"finalizers": []}})


async def _lines(answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """Whole lines: one event each, however long."""
    buffer = b""
    async for chunk in answer.content.iter_any():
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            yield line + b"\n"


def _subject(header: str) -> str:
    """Whom a JWT is about, unverified; empty when it is no JWT."""
    with contextlib.suppress(ValueError, KeyError, IndexError):
        payload = header.partition(" ")[2].split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])
    return ""


def remove_installed(upstream: Upstream) -> None:
    """Take the definitions of this session off the server again."""
    if not _installed:
        return

    async def remove() -> None:
        async with RealServer(upstream) as server:
            for name in _installed:
                await server._admin("DELETE", f"{_CRDS}/{name}")

    asyncio.run(remove())
    _installed.clear()
