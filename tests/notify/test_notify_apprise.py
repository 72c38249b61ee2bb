"""Chats and mail by apprise, in a process of its own: where it leads, and what it cannot do there."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from notify_kit import notice_of, status_of, target_of
from receiver_kit import Receiver, endless, receiver

from canary.metrics.hosts import Hosts
from canary.metrics.secrets import Content
from canary.notify.apprise import AppriseSender
from canary.notify.outcome import Delivered, Outcome, Undelivered
from canary.notify.secrets import TargetSecrets
from canary.notify.services import DEFAULT, SERVICES, scheme_of, service_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


class Chats:
    """A sender, and the Secret that it finds. One process for all tests: its start takes most of their time."""

    def __init__(self, seconds: float = 60) -> None:
        self.content = Content("Opaque", "", {})
        self.sender = AppriseSender(TargetSecrets(self.read, "canary-system"), DEFAULT, ["127.0.0.1"], seconds=seconds)

    async def read(self, _name: str, _namespace: str) -> Content:
        return self.content

    async def send(self, url: str, hosts: str = "127.0.0.1") -> Outcome:
        self.content = Content("Opaque", hosts, {"url": url.encode()})
        target = target_of(http=None, apprise={"secretRef": {"name": "chat"}})
        assert target.spec is not None
        assert target.spec.apprise is not None
        return await self.sender.send(target, target.spec.apprise, notice_of())

    async def reason(self, url: str, hosts: str = "127.0.0.1") -> str:
        return (await self.send(url, hosts)).reason


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chats() -> AsyncIterator[Chats]:
    found = Chats()
    yield found
    await found.sender.close()


@pytest_asyncio.fixture(loop_scope="module")
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def test_a_message_arrives(chats: Chats, hook: Receiver) -> None:
    """Title, text and how bad it is, as a service of apprise has them."""
    assert await chats.send(f"json://127.0.0.1:{hook.port}/ops") == Delivered("the service took it")
    (event,) = hook.events
    assert (event["title"], event["type"]) == ("team/shop: run 7 started", "info")
    assert "`canary explain shop -n team`" in event["message"]


async def test_mail_arrives(chats: Chats) -> None:
    """By a mail server on loopback: the same words, and from what the URL says."""
    lines: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        data = False
        while raw := await reader.readline():
            line = raw.decode().rstrip("\r\n")
            lines.append(line)
            if data and line != ".":
                continue
            data = line.upper() == "DATA"
            writer.write(b"354 go on\r\n" if data else b"221 bye\r\n" if line.upper() == "QUIT" else b"250 ok\r\n")
            if line.upper() == "QUIT":
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"mailto://example.com:{port}?smtp=127.0.0.1&from=canary@example.com&to=ops@example.com&mode=insecure"
        assert await chats.reason(url) == "Delivered", lines
    assert [line for line in lines if line.lower().startswith("rcpt to:<ops@example.com>")]
    assert any(line.startswith("Subject: team/shop: run 7 started") for line in lines), lines


async def test_it_reaches_only_hosts_that_are_allowed_and_that_the_secret_names(chats: Chats, hook: Receiver) -> None:
    """Whatever the URL says; a service's own hosts need no list, and the Secret's word all the same."""
    url = f"json://127.0.0.1:{hook.port}/ops"
    assert await chats.reason(url, "") == "SecretForOthers"
    assert await chats.reason(url, "*") == "SecretForOthers"
    assert await chats.reason(url, "example.com") == "SecretForOthers"
    assert await chats.reason(f"json://127.0.0.2:{hook.port}/ops", "127.0.0.2") == "NotAllowed"
    assert await chats.reason("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops", "") == "SecretForOthers"
    assert hook.got == []


async def test_a_redirect_leads_nowhere(chats: Chats, hook: Receiver) -> None:
    """requests would follow it."""

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    hook.answers = [elsewhere]
    assert await chats.reason(f"json://127.0.0.1:{hook.port}/ops") == "Failed"
    assert len(hook.got) == 1


async def test_a_process_that_is_slow_to_start_serves_a_later_attempt(hook: Receiver) -> None:
    """It gives way to everything else on the machine: were it ended with the attempt, none would ever get to its message."""
    chats = Chats(seconds=0.1)
    try:
        assert await chats.reason(f"json://127.0.0.1:{hook.port}/ops") == "NotStarted"
        async with asyncio.timeout(60):
            while (outcome := await chats.send(f"json://127.0.0.1:{hook.port}/ops")).reason != "Delivered":
                assert isinstance(outcome, Undelivered)
                assert outcome.retryable
    finally:
        await chats.sender.close()
    assert hook.got


async def test_the_end_waits_for_no_start() -> None:
    """And leaves no process."""
    chats = Chats(seconds=0.01)
    assert await chats.reason("json://127.0.0.1:9/ops") == "NotStarted"
    (start,) = chats.sender._starting
    async with asyncio.timeout(5):
        await chats.sender.close()
    assert start.cancelled()


async def test_an_answer_without_end_ends(chats: Chats, hook: Receiver) -> None:
    """At the memory that the process may have; the next message is sent."""
    hook.answers = [endless]
    assert await chats.reason(f"json://127.0.0.1:{hook.port}/ops") in {"TooLarge", "Failed"}
    assert await chats.reason(f"json://127.0.0.1:{hook.port}/ops") == "Delivered"


async def test_what_it_says_tells_nothing_of_the_url(chats: Chats, hook: Receiver) -> None:
    """Not even the host, which may be a token where somebody has mistyped one."""
    hook.answers = [500]
    for url in (
        f"json://user:hunter2@127.0.0.1:{hook.port}/ops",
        "json://hunter2.invalid/",
        "ftp://hunter2/",
        "slack://hunter2",
    ):
        outcome = await chats.send(url, "127.0.0.1 hunter2.invalid")
        assert isinstance(outcome, Undelivered)
        assert "hunter2" not in outcome.message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hello",
        "exec://x",
        "syslog://",
        "file:///etc/passwd",
        "https://hooks.slack.com/services/x",
        "json://a\njson://b",
    ],
)
async def test_only_services_that_were_looked_at(chats: Chats, url: str) -> None:
    """apprise knows more than a hundred; what they do with a URL is theirs to say."""
    assert await chats.reason(url) == "BadSecret"


async def test_services_are_named_by_the_operator() -> None:
    """One that is not allowed is none."""
    assert service_of("slack://a/b/c", ["slack"]) is SERVICES["slack"]
    assert scheme_of("JSONS://x") == "jsons"
    with pytest.raises(ValueError, match="these begin with mailto://, mailtos://"):
        service_of("slack://a/b/c", ["mailto"])


GUARDED = """
import os, socket, subprocess, sys, json
from canary.metrics.hosts import Hosts
from canary.notify.guard import Guard, program
guard = Guard(program()); guard.install()
guard.open_to(Hosts.read(["127.0.0.1"]), Hosts.read(["127.0.0.1"]))
def tried(work):
    try:
        work()
    except PermissionError as error:
        return str(error).startswith("refused: ")
    except OSError:
        return False
    return False
print(json.dumps({
    "a token of the controller": tried(lambda: open("/var/run/secrets/kubernetes.io/serviceaccount/token")),
    "a file of the machine": tried(lambda: open("/etc/passwd")),
    "the same by another name": tried(lambda: os.open(os.path.join("/proc/self/cwd", os.path.relpath("/etc/passwd")), os.O_RDONLY)),
    "a file to write": tried(lambda: open("/tmp/canary-guard", "w")),
    "a program": tried(lambda: subprocess.run(["true"])),
    "another one": tried(lambda: os.system("true")),
    "a fork": tried(os.fork),
    "a socket of the machine": tried(lambda: socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock")),
    "a datagram": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))),
    "another host": tried(lambda: socket.create_connection(("127.0.0.2", 9))),
    "another name": tried(lambda: socket.getaddrinfo("metadata.google.internal", 80)),
    "an address without a look-up": tried(lambda: socket.socket().connect(("169.254.169.254", 80))),
    "this machine by IPv6": tried(lambda: socket.socket(socket.AF_INET6).connect(("::ffff:127.0.0.2", 9))),
    "another import": tried(lambda: __import__("wave")),
    "what is allowed": tried(lambda: socket.create_connection(("127.0.0.1", 9))),
}))
"""


async def test_what_the_process_may_not_do() -> None:
    """Some services read files that a URL names (templates of messages): what is no part of the program is not read, or sent."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", GUARDED, stdout=PIPE)
    said, _ = await child.communicate()
    refused = json.loads(said)
    assert not refused.pop("what is allowed")
    assert not refused.pop("another import")
    assert all(refused.values()), refused


ASKED = """
import json, socket, sys
from canary.notify.apprise_child import _Apprise
notifier, asked = _Apprise(), []

def nobody(host, port, *_, **__):
    asked.append(f"{host}:{port}")
    raise socket.gaierror("nobody is asked")

socket.getaddrinfo = nobody
for url in json.load(sys.stdin):
    asked.append(notifier.send(url, "title", "body", "info", 1.0))
print(json.dumps(asked))
"""

URLS = {
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops",
    "msteams": "workflows://prod-1.westeurope.logic.azure.com:443/643e69f83c8944/4uj-ou6KZVHoOA/",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
}


async def test_services_ask_the_hosts_that_are_theirs() -> None:
    """By the plugins of the apprise that is installed: what they look up is what we say of them, and no name else."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", ASKED, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    said, _ = await child.communicate(json.dumps([*URLS.values()]).encode())
    found = json.loads(said)
    assert len(found) >= 2 * len(URLS), found
    for name in URLS:
        hosts = []
        while (host := found.pop(0)) != "Failed":
            hosts.append(host)
        assert hosts
        allowed = Hosts.read(SERVICES[name].hosts)
        assert all(allowed.names_it(f"https://{host}") for host in hosts), (name, hosts)
    assert found == []


SENT = """
import json, requests, sys
from canary.notify.apprise_child import _Apprise
notifier, sent = _Apprise(), []

def request(self, method, url, **more):
    sent.append(more["data"] if isinstance(more["data"], str) else more["data"].decode())
    raise requests.ConnectionError("nobody is asked")

requests.Session.request = request
for asked in json.load(sys.stdin):
    notifier.send(*asked, "info", 1.0)
print(json.dumps(sent))
"""
HOSTILE = (
    "[ok](https://evil.example) @everyone <@42> <@&7> <!channel> <https://evil.example|ok> @123456 a@b.example [ok][1]"
)


async def test_what_somebody_wrote_calls_nobody_and_hides_no_link_whatever_a_plugin_makes_of_it() -> None:
    """By the plugins of the apprise that is installed, with the format of the service and with Markdown: what they would send."""
    notice = notice_of(status=status_of(run={"trigger": {"by": HOSTILE, "reason": HOSTILE}}))
    urls = [
        url + more for url in URLS.values() for more in ("", "&format=markdown" if "?" in url else "?format=markdown")
    ]
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", SENT, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    said, _ = await child.communicate(json.dumps([[url, *notice.chat] for url in urls]).encode())
    found = json.loads(said)
    assert len(found) >= len(urls)
    for text in found:
        assert "evil" in text, "what is shown is honest"
        sent = json.loads(text)
        assert not sent.get("allow_mentions"), sent
        assert not re.search(r"(?<!\\)\](\(|\[)", sent.get("content", "")), sent
        for call in ("@everyone", "<@42", "<@&7", "<!channel", "<https", "@123456", "](https"):
            assert call not in text, (call, text)
