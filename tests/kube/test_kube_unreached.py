"""Why there is no answer, in words that people know."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
import yaml

from canary.errors import ConfigError, Unavailable
from canary.kube import KubeClient
from canary.kube.connection import load
from canary.kube.unreached import address, why


@pytest.fixture
async def rude() -> str:
    """A server that hangs up on whoever asks."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


async def words(server: str) -> str:
    async with await KubeClient.connect(server=server) as kube:
        with pytest.raises(Unavailable) as caught:
            await kube.raw("/version")
    return str(caught.value)


async def test_each_way_of_not_being_reached_has_its_words(rude: str) -> None:
    """Nobody there, one that hangs up, one that speaks no TLS: what, where, and nothing of a library."""
    said = [
        await words("http://127.0.0.1:1"),
        await words(f"http://{rude}"),
        await words(f"https://{rude}"),
    ]
    assert said[0] == "no connection to http://127.0.0.1:1: connection refused"
    assert said[1] == f"no connection to http://{rude}: it closed the connection without an answer"
    assert said[2].startswith(f"no connection to https://{rude}: ")
    for text in said:
        assert not [word for word in ("Errno", "Cannot connect", "ssl:", "Error(", "None") if word in text]


def test_of_several_addresses_the_first_reason_counts_and_names_are_looked_up() -> None:
    """localhost is two addresses, and the library joins what happened at both; some names are no address at all."""
    both = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] Connect call")
    assert why(both) == "connection refused"
    assert why(socket.gaierror(-2, "Name or service not known")) == "there is no such host name"
    assert why(RuntimeError()) == "RuntimeError"


def test_a_certificate_that_is_not_trusted_is_told_from_a_broken_tls() -> None:
    """The two need different remedies."""
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    assert why(untrusted) == "its certificate is not to be trusted: self-signed certificate"
    broken = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    broken.reason = "WRONG_VERSION_NUMBER"
    assert why(broken) == "TLS failed: wrong version number"


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    """User, password, path and query stay out of messages."""
    assert address("https://bob:pw@10.0.0.1:6443/k8s?token=x") == "https://10.0.0.1:6443"
    assert address("http://[::1]:8080") == "http://[::1]:8080"
    assert address("https://api.example") == "https://api.example"


def contexts(path: Path, *names: str, current: str | None) -> Path:
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in names],
    }
    path.write_text(yaml.safe_dump(document | ({"current-context": current} if current else {})))
    return path


@pytest.mark.parametrize(
    ("current", "asked", "said"),
    [
        ("a", "x", "has no context x; there are a, b"),
        (None, None, "has no current context; choose one with --context: there are a, b"),
        ("gone", None, "has no context gone, which it calls the current one; there are a, b"),
    ],
)
async def test_a_context_that_is_not_there_lists_those_that_are(
    tmp_path: Path, current: str | None, asked: str | None, said: str
) -> None:
    """Whoever mistyped it sees what they meant."""
    path = contexts(tmp_path / "config", "a", "b", current=current)
    with pytest.raises(ConfigError) as caught:
        await load(kubeconfig=str(path), context=asked)
    assert str(caught.value) == f"the kubeconfig {path} {said}"


async def test_contexts_of_several_files_are_all_listed(tmp_path: Path) -> None:
    """KUBECONFIG may be a list; a file of it that cannot be read is none of the reader's business."""
    one, two = (contexts(tmp_path / name, name, current=None) for name in ("one", "two"))
    with pytest.raises(ConfigError, match=r"there are one, two$"):
        await load(kubeconfig=f"{one}:{two}", context="three")
    only = contexts(tmp_path / "only", "only", current="only")
    with pytest.raises(ConfigError, match=r"there is only$"):
        await load(kubeconfig=str(only), context="three")
