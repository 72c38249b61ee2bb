"""A Prometheus with a certificate of its own, a token and a tenant header; and files that change while we run."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from certificates import Authority
from fake_prometheus import FakePrometheus, vector
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.sources.prometheus import Prometheus
from canary.controller.run import credentials
from canary.controller.settings import Settings
from canary.errors import ConfigError
from canary.metrics.credentials import Credentials
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Measurement, NoData, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Mount:
    """A volume of a Secret, as the kubelet keeps it: the names are links into `..data`, a link that is swapped."""

    def __init__(self, folder: Path, **files: str) -> None:
        self._folder, self._turn = folder, 0
        self._files: dict[str, str] = {}
        folder.mkdir()
        self.write(**files)
        for name in files:
            (folder / name).symlink_to(Path("..data") / name)

    def write(self, **files: str) -> None:
        self._turn += 1
        self._files |= files
        data = self._folder / f"..turn_{self._turn}"
        data.mkdir()
        for name, content in self._files.items():
            (data / name).write_text(content)
        fresh = self._folder / "..data_tmp"
        fresh.symlink_to(data.name)
        fresh.rename(self._folder / "..data")

    def __getitem__(self, name: str) -> str:
        return str(self._folder / name)


class Secure(FakePrometheus):
    """Over TLS. Connections that begin from now on get the certificate of `present`."""

    context: ssl.SSLContext
    folder: Path

    def present(self, authority: Authority) -> None:
        pem = self.folder / "server.pem"
        pem.write_text(authority.server())
        self.context.load_cert_chain(pem)

    @property
    def told(self) -> list[tuple[str | None, str | None]]:
        return [(headers.get("Authorization"), headers.get("X-Scope-OrgID")) for headers in self.headers]


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Secure]:
    fake = Secure(answers={"x": vector})
    fake.folder, fake.context = tmp_path, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    fake.present(Authority())
    app = web.Application()
    app.router.add_get("/api/v1/query", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=fake.context).start()
    fake.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def asked() -> AsyncIterator[Callable[..., PrometheusProvider]]:
    """Makes providers, and closes them."""
    made: list[PrometheusProvider] = []

    def make(url: str, **files: str) -> PrometheusProvider:
        made.append(PrometheusProvider(url, credentials=Credentials(**files)))
        return made[-1]

    yield make
    for provider in made:
        await provider.close()


async def answer(provider: PrometheusProvider) -> Measurement:
    return await provider.measure(Query(Prometheus("x"), timeout=5), NOW)


async def test_token_header_and_authority(secure, asked, tmp_path: Path) -> None:
    """The server is known by our authority, and sees the token and the header."""
    authority = Authority()
    secure.present(authority)
    mount = Mount(tmp_path / "mount", token="abc.def\n", ca=authority.pem, headers="# ours\n\nX-Scope-OrgID: team-a\n")
    provider = asked(secure.url, token_file=mount["token"], ca_file=mount["ca"], header_file=mount["headers"])
    assert isinstance(await answer(provider), NoData)
    assert secure.told == [("Bearer abc.def", "team-a")]


async def test_all_of_it_is_exchanged_while_we_run(secure, asked, tmp_path: Path) -> None:
    """New token, new tenant, then a new authority on both sides: the next query knows, and nothing is started anew."""
    first, second = Authority("first"), Authority("second")
    secure.present(first)
    mount = Mount(tmp_path / "mount", token="one", ca=first.pem, headers="X-Scope-OrgID: a")
    provider = asked(secure.url, token_file=mount["token"], ca_file=mount["ca"], header_file=mount["headers"])
    assert isinstance(await answer(provider), NoData)
    mount.write(token="two", headers="X-Scope-OrgID: b")
    assert isinstance(await answer(provider), NoData)
    secure.present(second)
    mount.write(ca=second.pem)
    assert isinstance(await answer(provider), NoData)
    assert secure.told == [("Bearer one", "a"), ("Bearer two", "b"), ("Bearer two", "b")]
    # The first authority is trusted no longer, and a connection of its time is not kept.
    secure.present(first)
    mount.write(ca=second.pem + Authority("third").pem)
    assert isinstance(await answer(provider), Unreachable)
    assert len(secure.told) == 3


async def test_both_authorities_in_one_file_while_they_change(secure, asked, tmp_path: Path) -> None:
    """As one exchanges them without a gap: both, then the server's, then the new one alone."""
    first, second = Authority("first"), Authority("second")
    secure.present(first)
    mount = Mount(tmp_path / "mount", ca=first.pem)
    provider = asked(secure.url, ca_file=mount["ca"])
    for content, presents in ((first.pem, first), (first.pem + second.pem, second), (second.pem, second)):
        mount.write(ca=content)
        secure.present(presents)
        assert isinstance(await answer(provider), NoData)


@pytest.mark.parametrize("bundled", [False, True])
async def test_nobody_else_is_trusted(secure, asked, tmp_path: Path, monkeypatch, bundled: bool) -> None:
    """A server whose authority is another one is told nothing, not even if that is one of the bundled ones."""
    theirs = Authority("theirs")
    secure.present(theirs)
    if bundled:
        (tmp_path / "bundle.pem").write_text(theirs.pem)
        monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "bundle.pem"))
        assert isinstance(await answer(asked(secure.url)), NoData)
        secure.headers.clear()
    mount = Mount(tmp_path / "mount", token="secret", ca=Authority("ours").pem)
    got = await answer(asked(secure.url, token_file=mount["token"], ca_file=mount["ca"]))
    assert isinstance(got, Unreachable)
    assert "certificate verify failed" in got.message
    assert "secret" not in got.message
    assert secure.headers == []


async def test_a_file_that_is_gone_for_a_moment(secure, asked, tmp_path: Path, caplog) -> None:
    """What it said last is good, the log says once what is wrong, and once that it is over."""
    caplog.set_level(logging.INFO, "canary.files")
    authority = Authority()
    secure.present(authority)
    token, ca = tmp_path / "token", tmp_path / "ca"
    token.write_text("one")
    ca.write_text(authority.pem)
    provider = asked(secure.url, token_file=str(token), ca_file=str(ca))
    token.unlink()
    for _ in range(3):
        assert isinstance(await answer(provider), NoData)
    token.write_text("\n")
    ca.write_text("half a certificate")
    for _ in range(3):
        assert isinstance(await answer(provider), NoData)
    token.write_text("two")
    ca.write_text(authority.pem)
    for _ in range(3):
        assert isinstance(await answer(provider), NoData)
    assert secure.told == [("Bearer one", None)] * 6 + [("Bearer two", None)] * 3
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"the token file {token}: No such file or directory; going on with what it said before",
        f"the CA file {ca}: it holds no PEM certificate; going on with what it said before",
        f"the token file {token}: it is empty; going on with what it said before",
        f"the CA file {ca} is readable again",
        f"the token file {token} is readable again",
    ]


BAD = (
    ("token", None, "No such file or directory"),
    ("token", "", "it is empty"),
    ("token", "s3cret\nand more", "it must hold the token and nothing else"),
    ("token", "s3cret\x07", "it must hold the token and nothing else"),
    ("ca", "s3cret", "it holds no PEM certificate"),
    ("ca", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n", "a certificate in it cannot be read"),
    ("header", "X-A: 1\ns3cret\n", "line 2 is no `NAME: VALUE`"),
    ("header", "X A: s3cret", "line 1 is no `NAME: VALUE`"),
    ("header", "X-A:", "line 1 is no `NAME: VALUE`"),
    ("header", "X-A: s3cret\x00", "line 1 is no `NAME: VALUE`"),
    ("header", "Host: s3cret", "line 1: Host belongs to the connection"),
    ("header", "X-A: 1\nx-a: s3cret", "line 2: x-a is there twice"),
    ("header", "x" * (1024 * 1024 + 1), "it is larger than 1048576 bytes"),
)


@pytest.mark.parametrize(("kind", "content", "words"), BAD, ids=str)
def test_a_file_that_cannot_be_used_at_the_start(tmp_path: Path, kind: str, content: str | None, words: str) -> None:
    """Which setting, which file, what is wrong and what to do; and nothing of what it says."""
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Credentials(
            **{f"{kind}_file": str(path)},
            settings={"token_file": "--token", "ca_file": "--ca", "header_file": "--header"},
        )
    assert str(caught.value).startswith(f"cannot use {path} (--{kind}): {words}")
    assert "s3cret" not in str(caught.value)
    assert "leave the setting out" in str(caught.value)


def test_two_ways_to_say_who_we_are(tmp_path: Path) -> None:
    """A token and an Authorization line exclude each other; a line alone may be anything (Basic, say)."""
    token, headers = tmp_path / "token", tmp_path / "headers"
    token.write_text("abc")
    headers.write_text("authorization: Basic dTpw")
    assert Credentials(header_file=str(headers)).headers() == {"authorization": "Basic dTpw"}
    with pytest.raises(ConfigError, match="exclude each other"):
        Credentials(token_file=str(token), header_file=str(headers))


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_whatever_a_header_file_says(tmp_path_factory, text: str) -> None:
    """It is refused, or gives headers that end where they should."""
    path = tmp_path_factory.mktemp("headers") / "headers"
    path.write_text(text)
    try:
        headers = Credentials(header_file=str(path)).headers()
    except ConfigError:
        return
    for name, value in headers.items():
        assert name.isascii()
        assert value
        assert not set(name + value) & set("\r\n\0")


def test_settings_of_the_controller(tmp_path: Path) -> None:
    """None without files; an error that names the settings when nobody would be shown them, or a file is missing."""
    token = tmp_path / "token"
    token.write_text("abc")
    assert credentials(Settings(prometheus_url="http://p")) is None
    found = credentials(Settings(prometheus_url="http://p", prometheus_bearer_token_file=str(token)))
    assert found is not None
    assert found.headers() == {"Authorization": "Bearer abc"}
    with pytest.raises(
        ConfigError, match="--prometheus-bearer-token-file: they are for the address of --prometheus-url"
    ):
        credentials(Settings(prometheus_bearer_token_file=str(token)))
    with pytest.raises(ConfigError, match=r"cannot use .*gone \(--prometheus-ca-file\): No such file"):
        credentials(Settings(prometheus_url="http://p", prometheus_ca_file=str(tmp_path / "gone")))
