"""CloudEvents to a receiver on loopback: what it gets, and what becomes of receivers that mean harm."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from notify_kit import notice_of, target_of
from receiver_kit import Receiver, endless, hang, receiver

from canary.errors import Forbidden, NotFound
from canary.metrics.hosts import Hosts
from canary.metrics.secrets import Content, Secrets
from canary.notify.http import HttpSender
from canary.notify.outcome import Delivered, Outcome, Undelivered
from canary.notify.secrets import TargetSecrets
from canary.notify.signing import secret_of

Json = dict[str, Any]

SECRET = b"a secret of thirty-two bytes, ok"
NOW = 1_772_442_000.5


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


class Vault:
    """Secrets by namespace and name."""

    def __init__(self) -> None:
        self.content: dict[tuple[str, str], Content | Exception] = {}

    def put(
        self, name: str, hosts: str = "127.0.0.1", namespace: str = "team", kind: str = "Opaque", **data: bytes
    ) -> None:
        self.content[namespace, name] = Content(kind, hosts, data)

    async def read(self, name: str, namespace: str) -> Content:
        found = self.content.get((namespace, name), NotFound("not found", status=404))
        if isinstance(found, Exception):
            raise found
        return found


async def send(
    hook: Receiver,
    vault: Vault | None = None,
    *,
    allowed: str = "127.0.0.1",
    seconds: float = 10.0,
    cluster: bool = False,
    **http: Any,
) -> Outcome:
    vault = vault or Vault()
    sender = HttpSender(
        Hosts.read(allowed.split()),
        Secrets(vault.read, "canary-system"),
        TargetSecrets(vault.read, "canary-system"),
        clock=lambda: NOW,
        seconds=seconds,
    )
    target = target_of(cluster=cluster, http={"url": f"{hook.url}/in?to=ops", **http})
    assert target.spec is not None
    assert target.spec.http is not None
    return await sender.send(target, target.spec.http, notice_of())


SIGNING = {"secretRef": {"name": "hook"}}


async def test_a_cloud_event_as_it_arrives(hook: Receiver) -> None:
    """Structured mode, in UTF-8; the same bytes and the same id each time."""
    assert await send(hook) == Delivered(f"{hook.url} answered 204")
    assert isinstance(await send(hook), Delivered)
    headers, body = hook.got[0]
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert body == hook.got[1][1]
    assert "webhook-signature" not in {name.lower() for name in headers}
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "uid-shop-7-RunStarted",
        "source": "/apis/canary.dev/v1alpha1/namespaces/team/rollouts/shop",
        "type": "dev.canary.rollout.RunStarted",
        "subject": "team/shop",
        "time": "2026-03-02T09:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {
            "namespace": "team",
            "name": "shop",
            "uid": "uid-shop",
            "event": "RunStarted",
            "phase": "Progressing",
            "reason": "RunStarted",
            "message": "started by alice: why not",
            "weights": {"desired": 50, "written": 50, "accepted": 50},
            "run": {"number": 7, "revision": "6c9f", "trigger": {"by": "alice", "reason": "why not"}},
            "step": {"index": 3, "total": 6},
        },
    }


@pytest.mark.parametrize("value", [SECRET, SECRET + b"\n", b"whsec_" + base64.b64encode(SECRET)])
async def test_the_signature_is_over_id_time_and_body(hook: Receiver, value: bytes) -> None:
    """So neither can be exchanged, and what is sent again later shows its age: as Standard Webhooks has it."""
    vault = Vault()
    vault.put("hook", signing=value)
    assert isinstance(await send(hook, vault, signing=SIGNING), Delivered)
    headers, body = hook.got[0]
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("uid-shop-7-RunStarted", "1772442000")
    meant = hmac.new(SECRET, b"uid-shop-7-RunStarted.1772442000." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(meant).decode()}"


@pytest.mark.parametrize("value", [b"", b"short", b"whsec_!!!", b"whsec_c2hvcnQ=", b"x" * 2000])
def test_secrets_that_sign_nothing(value: bytes) -> None:
    """What can be guessed is refused, in words that do not repeat it."""
    with pytest.raises(ValueError, match=r"16 to 1024 bytes|no base64") as refused:
        secret_of(value)
    assert not value or value.decode() not in str(refused.value)


async def test_what_the_receiver_is_shown(hook: Receiver) -> None:
    """A token from the Secret; of a ClusterNotificationTarget, one of the controller's namespace."""
    vault = Vault()
    vault.put("token", token=b"teams")
    vault.put("token", token=b"platforms", namespace="canary-system")
    auth = {"secretRef": {"name": "token"}}
    await send(hook, vault, auth=auth)
    await send(hook, vault, auth=auth, cluster=True)
    assert [headers["Authorization"] for headers, _ in hook.got] == ["Bearer teams", "Bearer platforms"]


SERVICE_ACCOUNT = "kubernetes.io/service-account-token"


@pytest.mark.parametrize(
    ("what", "put", "reason"),
    [
        ("it does not name the receiver", {"hosts": "hooks.example.com", "signing": SECRET}, "SecretForOthers"),
        ("it names nobody", {"hosts": "", "signing": SECRET}, "SecretForOthers"),
        ("it names everybody", {"hosts": "*", "signing": SECRET}, "SecretForOthers"),
        ("it is the token of a service account", {"kind": SERVICE_ACCOUNT, "signing": SECRET}, "BadSecret"),
        ("it has no such key", {"other": SECRET}, "BadSecret"),
        ("it can be guessed", {"signing": b"secret"}, "BadSecret"),
        ("there is none", None, "NoSecret"),
    ],
)
async def test_secrets_that_are_not_for_this(hook: Receiver, what: str, put: Json | None, reason: str) -> None:
    """Nothing is sent then, signed or not; and nothing of the Secret is said."""
    vault = Vault()
    if put is not None:
        vault.put("hook", **put)
    outcome = await send(hook, vault, signing=SIGNING)
    assert isinstance(outcome, Undelivered)
    assert (outcome.reason, outcome.retryable) == (reason, False)
    assert "secret of thirty" not in outcome.message
    assert hook.got == []


async def test_without_the_right_to_read_it_that_is_said(hook: Receiver) -> None:
    """Which component gives it."""
    vault = Vault()
    vault.content["team", "hook"] = Forbidden("no", status=403)
    outcome = await send(hook, vault, signing=SIGNING)
    assert isinstance(outcome, Undelivered)
    assert (outcome.reason, "component secrets" in outcome.message) == ("SecretForbidden", True)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("hooks.example.com", None),
        ("*", None),
        ("0.0.0.0/0", None),
        ("localhost.example", "http://127.1:{port}/"),
        ("127.0.0.1", "http://user:hunter2@127.0.0.1:{port}/"),
    ],
)
async def test_nothing_is_sent_to_hosts_that_are_not_allowed(hook: Receiver, allowed: str, url: str | None) -> None:
    """This machine only where it is listed itself, in every spelling; nobody even connects."""
    target = url.format(port=hook.port) if url else f"{hook.url}/in"
    outcome = await send(hook, allowed=allowed, url=target)
    assert isinstance(outcome, Undelivered)
    assert not outcome.retryable
    assert "hunter2" not in outcome.message
    assert hook.got == []


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (500, "Refused", True),
        (503, "Refused", True),
        (429, "Refused", True),
        (400, "Refused", False),
        (404, "Refused", False),
    ],
)
async def test_what_an_answer_means(hook: Receiver, status: int, reason: str, retryable: bool) -> None:
    """Whether it is worth another try."""
    hook.answers = [status]
    outcome = await send(hook)
    assert isinstance(outcome, Undelivered)
    assert (outcome.reason, outcome.retryable) == (reason, retryable)


async def test_redirects_are_not_followed(hook: Receiver) -> None:
    """An answer leads nowhere, with or without what was shown."""

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{hook.url}/elsewhere"})

    hook.answers = [elsewhere]
    outcome = await send(hook)
    assert isinstance(outcome, Undelivered)
    assert (outcome.reason, outcome.retryable, len(hook.got)) == ("Redirected", False, 1)


async def test_a_receiver_that_hangs_is_given_up(hook: Receiver) -> None:
    """Within the seconds of an attempt."""
    hook.answers = [hang]
    outcome = await send(hook, seconds=0.3)
    assert isinstance(outcome, Undelivered)
    assert (outcome.reason, outcome.retryable) == ("Timeout", True)


async def test_an_answer_without_end_is_not_read(hook: Receiver) -> None:
    """Its status counts; of its body nothing is taken."""
    hook.answers = [endless]
    assert isinstance(await send(hook), Delivered)


async def test_headers_without_end_are_given_up(hook: Receiver) -> None:
    """What is received before the first byte of a body is bounded, too."""

    async def heads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                writer.write(b"x: " + b"y" * 8000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(heads, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await send(hook, url=f"http://127.0.0.1:{port}/")
    assert isinstance(outcome, Undelivered)
    assert outcome.reason == "Unreachable"


@pytest.mark.parametrize(("said", "meant"), [("7", 7.0), ("99999", 300.0), ("soon", None), ("-1", None)])
async def test_a_receiver_may_ask_for_a_pause(hook: Receiver, said: str, meant: float | None) -> None:
    """As long as that makes sense."""

    async def later(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": said})

    hook.answers = [later]
    outcome = await send(hook)
    assert isinstance(outcome, Undelivered)
    assert outcome.retry_after == meant


async def test_nobody_there(hook: Receiver) -> None:
    """It may come up later."""
    began = time.monotonic()
    outcome = await send(hook, url="http://127.0.0.1:9/")
    assert isinstance(outcome, Undelivered)
    assert (outcome.reason, outcome.retryable) == ("Unreachable", True)
    assert time.monotonic() - began < 30
