"""How an API server is reached over TLS, and what it is shown, on a real server."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from certificates import Authority

from canary.errors import ConfigError, Unavailable
from canary.kube import KubeClient
from canary.kube.access import ServiceAccount
from canary.kube.connection import load
from canary.kube.transport import Transport


class Secure:
    """An API server with TLS. It answers what it was shown, and only to `token` if that is set."""

    def __init__(self, folder: Path, signs: Authority, *, clients: Authority | None = None) -> None:
        self.token = ""
        (folder / "server.pem").write_text(signs.server())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server.pem")
        if clients is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(cadata=clients.pem)
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "")
        if self.token and shown != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "code": 401, "message": "who is that?"}, status=401)
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        return web.json_response({"shown": shown, "certificate": bool(certificate)})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Secure]:
        app = web.Application()
        app.router.add_get("/version", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.context).start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()


def pod(folder: Path, authority: str, token: str = "one") -> Path:
    """What the kubelet puts into a pod."""
    folder.mkdir()
    (folder / "token").write_text(token)
    (folder / "ca.crt").write_text(authority)
    return folder


@asynccontextmanager
async def in_pod(folder: Path, server: Secure) -> AsyncIterator[KubeClient]:
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    connection = await load(service_account=folder, environ=environ)
    async with KubeClient(Transport(connection, user_agent="tests", timeout=5.0)) as kube:
        yield kube


@asynccontextmanager
async def by_kubeconfig(
    folder: Path, server: str, user: dict[str, Any] | None = None, **cluster: Any
) -> AsyncIterator[KubeClient]:
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(document))
    async with await KubeClient.connect(kubeconfig=str(folder / "config"), timeout=5.0) as kube:
        yield kube


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_a_pod_believes_the_authority_it_was_given_and_shows_its_token(tmp_path: Path) -> None:
    """By TLS, with the token of its service account; one that was exchanged is read when the old one is refused."""
    authority = Authority()
    account = pod(tmp_path / "account", authority.pem)
    async with Secure(tmp_path, authority).serving() as server, in_pod(account, server) as kube:
        assert (await kube.raw("/version"))["shown"] == "Bearer one"
        server.token = "two"
        (account / "token").write_text("two\n")
        assert (await kube.raw("/version"))["shown"] == "Bearer two"


async def test_no_other_authority_is_believed(tmp_path: Path) -> None:
    """Whoever answers in place of the API server is sent nothing."""
    account = pod(tmp_path / "account", Authority().pem)
    async with Secure(tmp_path, Authority()).serving() as server, in_pod(account, server) as kube:
        with pytest.raises(Unavailable, match="its certificate is not to be trusted"):
            await kube.raw("/version")


async def test_a_token_that_cannot_be_read_is_no_trouble_of_the_connection(tmp_path: Path) -> None:
    """The kubelet has taken it away: said as that, and tried again with the next request."""
    authority = Authority()
    account = pod(tmp_path / "account", authority.pem)
    async with Secure(tmp_path, authority).serving() as server, in_pod(account, server) as kube:
        server.token = "two"
        (account / "token").write_text("")
        with pytest.raises(Unavailable, match=r"no credentials: .*token is empty") as caught:
            await kube.raw("/version")
        assert caught.value.reason == "NoCredentials"
        (account / "token").write_text("two")
        assert (await kube.raw("/version"))["shown"] == "Bearer two"


def test_a_token_is_read_again_after_a_minute(tmp_path: Path) -> None:
    """Whether or not the API server still takes the one before."""
    now = 100.0
    account = pod(tmp_path / "account", "an authority")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    known = ServiceAccount(account, environ, clock=lambda: now)
    (account / "token").write_text("two")
    now += 59
    assert known.token() == "one"
    assert known.token(now=True) == "two"
    (account / "token").write_text("three")
    now += 61
    assert known.token() == "three"


@pytest.mark.parametrize(("missing", "content"), [("token", None), ("token", " \n"), ("ca.crt", None), ("ca.crt", "")])
async def test_a_service_account_of_which_something_is_missing(
    tmp_path: Path, missing: str, content: str | None
) -> None:
    """One sentence names the folder and the file."""
    account = pod(tmp_path / "account", "an authority")
    (account / missing).unlink()
    if content is not None:
        (account / missing).write_text(content)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    with pytest.raises(ConfigError, match=f"^the service account in {account} cannot be used: .*{missing}"):
        ServiceAccount(account, environ)


async def test_a_kubeconfig_says_how_a_server_is_believed(tmp_path: Path) -> None:
    """By its authority, by the name that it is to be asked by, or not at all."""
    authority = Authority()
    async with Secure(tmp_path, authority).serving() as server:
        by_address, by_name = (f"https://{host}:{server.port}" for host in ("127.0.0.1", "localhost"))
        known = {"certificate-authority-data": encoded(authority.pem)}
        async with by_kubeconfig(tmp_path, by_address, **known) as kube:
            assert await kube.raw("/version")
        async with by_kubeconfig(tmp_path, by_name, **known) as kube:
            with pytest.raises(Unavailable, match="not to be trusted"):  # it is signed for the address alone
                await kube.raw("/version")
        async with by_kubeconfig(tmp_path, by_name, **known, **{"tls-server-name": "127.0.0.1"}) as kube:
            assert await kube.raw("/version")
        async with by_kubeconfig(tmp_path, by_name, **{"insecure-skip-tls-verify": True}) as kube:
            assert await kube.raw("/version")


async def test_a_kubeconfig_gives_a_certificate_to_show(tmp_path: Path) -> None:
    """What a server that asks for one is shown."""
    authority, clients = Authority(), Authority()
    both = clients.server()
    certificate, _, key = both.partition("-----BEGIN EC")
    user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(f"-----BEGIN EC{key}")}
    known = {"certificate-authority-data": encoded(authority.pem)}
    async with Secure(tmp_path, authority, clients=clients).serving() as server:
        address = f"https://127.0.0.1:{server.port}"
        async with by_kubeconfig(tmp_path, address, user, **known) as kube:
            assert (await kube.raw("/version"))["certificate"]
        async with by_kubeconfig(tmp_path, address, **known) as kube:
            with pytest.raises(Unavailable):
                await kube.raw("/version")
