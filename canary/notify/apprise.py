"""Chats and mail, by apprise: in a process of its own, since it opens connections as it likes (see `guard`).

A process is started when the first message is to be sent, serves one message at a time, and ends when nobody has needed it for a
while. One that hangs, or whose answer makes no sense, is ended; the next message starts another. One that is slow to start is left to
it, and serves the next attempt: a start gives way to everything else on the machine, and to begin it anew each time would lead nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from canary.fair import FairLimit, LimitClosed
from canary.metrics.secrets import HOSTS, Content, Unshown, meant_for
from canary.model.notifications import AppriseTarget
from canary.notify.notice import Notice
from canary.notify.outcome import Delivered, Outcome, Undelivered
from canary.notify.secrets import TargetSecrets
from canary.notify.services import Service, service_of
from canary.notify.targets import Target

PROCESSES = 2
"""At a time. Each takes some 60 MB while it is there."""

SECONDS = 20.0
"""For all of one attempt, once it is its turn: with the start of a process, which takes a second where the machine is not busy."""

STARTING = 120.0
"""Seconds after which a process that is not ready hangs."""

OF_A_SOCKET = 8.0
IDLE = 30.0
"""Seconds after which a process that nobody needs is ended."""

LONGEST_URL = 4096
_CHILD = "canary.notify.apprise_child"

_WORDS = {
    "InvalidUrl": "apprise cannot use the URL; see https://appriseit.com for how those of the service are written",
    "TooLarge": "the answer was too large to be read",
    "NotStarted": "the process that sends it has not started in time; the next attempt finds it further",
    "Failed": "the service did not take it, or could not be reached",
}


class AppriseSender:
    """Sends by the `services` that the operator allows; where a URL names a host, to those of `allowed` (as in --allow-hosts)."""

    def __init__(
        self,
        secrets: TargetSecrets,
        services: Sequence[str],
        allowed: Sequence[str],
        *,
        seconds: float = SECONDS,
        idle: float = IDLE,
    ) -> None:
        self._secrets, self._services, self._allowed = secrets, tuple(services), tuple(allowed)
        self._seconds, self._idle = seconds, idle
        self._limit = FairLimit(PROCESSES)
        self._resting: list[_Child] = []
        self._starting: list[asyncio.Task[_Child]] = []
        """Starts that nobody waits for any more."""

    async def send(self, target: Target, declared: AppriseTarget, notice: Notice) -> Outcome:
        """One attempt. Raises nothing of what can go wrong on the way."""
        ref = declared.secret_ref
        place = target.namespace or self._secrets.own
        try:
            async with asyncio.timeout(self._seconds):
                content, value = await self._secrets.value(ref.name, ref.key, target.namespace)
            url, service = self._url(value)
            meant_for(content, ref.name)
        except TimeoutError:
            return Undelivered("SecretUnreadable", f"Secret {ref.name} could not be read in time", retryable=True)
        except Unshown as why:
            return Undelivered(why.reason, str(why), retryable=why.unreachable)
        except ValueError as error:
            return Undelivered("BadSecret", f"key {ref.key} of Secret {ref.name} in namespace {place}: {error}")
        title, body = notice.chat
        asked = {
            "url": url,
            "title": title,
            "body": body,
            "level": notice.level,
            "seconds": OF_A_SOCKET,
            "meant": content.hosts.replace(",", " ").split(),
            "allowed": [*self._allowed, *service.hosts],
        }
        try:
            async with self._limit.held((target.namespace, target.label)):
                said = await self._asked(asked)
        except LimitClosed:
            return Undelivered("Unreachable", "the controller ends", retryable=True)
        return self._outcome(said, service, content, ref.name, place)

    async def close(self) -> None:
        """End every process."""
        self._limit.close()
        starting, self._starting = self._starting, []
        for start in starting:
            start.cancel()
        for started in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(started, _Child):
                await started.end()
        while self._resting:
            await self._resting.pop().end()

    def _url(self, value: bytes) -> tuple[str, Service]:
        """Raises ValueError."""
        try:
            url = value.decode().strip()
        except UnicodeDecodeError:
            raise ValueError("it is no text") from None
        if not url or len(url) > LONGEST_URL or not url.isprintable():
            raise ValueError(f"it must hold a URL and nothing else, of at most {LONGEST_URL} characters")
        return url, service_of(url, self._services)

    @staticmethod
    def _outcome(said: str, service: Service, content: Content, name: str, place: str) -> Outcome:
        if said == "Delivered":
            return Delivered("the service took it")
        if said == "SecretForOthers":
            says = "does not name it" if content.hosts.strip() else "is missing"
            where = " and ".join(host.partition(":")[0] for host in service.hosts)
            which = f"one of {where}" if where else "the host of its URL"
            return Undelivered(
                said,
                f"Secret {name} in namespace {place} is not for {which}: its annotation {HOSTS} {says}; whoever owns it can allow "
                f"that by `kubectl -n {place} annotate secret {name} {HOSTS}=HOST`",
            )
        if said == "NotAllowed":
            return Undelivered(said, "the host that its URL leads to is not among the allowed hosts (--allow-hosts)")
        retryable = said not in {"InvalidUrl", "TooLarge"}
        return Undelivered(said, _WORDS.get(said, _WORDS["Failed"]), retryable=retryable)

    async def _asked(self, asked: dict[str, Any]) -> str:
        """What a process says of it, as a constant."""
        child: _Child | None = None
        try:
            async with asyncio.timeout(self._seconds):
                child = self._resting.pop() if self._resting else await self._started()
                said = await child.ask(asked)
        except (TimeoutError, OSError, ValueError, LookupError, TypeError):
            if child is None:
                return "NotStarted"
            await child.end()
            return "Failed"
        except BaseException:
            if child is not None:
                child.kill()
            raise
        child.rest(self._idle, self._resting)
        return said

    async def _started(self) -> _Child:
        """A process that is ready; who gives up waiting leaves its start to who comes next. Raises OSError and ValueError."""
        if self._starting:
            start = self._starting.pop(0)
        else:
            start = asyncio.create_task(_Child.start(), name="start a process of apprise")
            start.add_done_callback(self._ready)
        try:
            return await asyncio.shield(start)
        except asyncio.CancelledError:
            self._starting.append(start)
            if start.done():
                self._ready(start)
            raise

    def _ready(self, start: asyncio.Task[_Child]) -> None:
        """A start has ended; where nobody waits for it, its process rests."""
        if start not in self._starting:
            return
        self._starting.remove(start)
        if not start.cancelled() and start.exception() is None:
            start.result().rest(self._idle, self._resting)


class _Child:
    """One process that sends messages."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls) -> _Child:
        """One that is ready. Raises OSError and ValueError: it has ended, makes no sense, or hangs."""
        # Of our environment nothing: proxies and credentials in it are not for whatever a URL names.
        kept = {name: value for name in ("PATH", "PYTHONPATH", "LANG", "LC_ALL") if (value := os.environ.get(name))}
        environment = {**kept, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", _CHILD, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
        )
        child = cls(process)
        try:
            async with asyncio.timeout(STARTING):
                await child._said("ready")
        except BaseException:
            await child.end()
            raise
        return child

    async def ask(self, asked: dict[str, Any]) -> str:
        """Raises OSError and ValueError: it has ended, or makes no sense."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._process.stdin is None:
            raise ValueError("no pipes")
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        await self._process.stdin.drain()
        return await self._said("outcome")

    async def _said(self, what: str) -> str:
        """Raises ValueError, LookupError and TypeError: it has ended, or makes no sense."""
        if self._process.stdout is None:
            raise ValueError("no pipes")
        return str(json.loads(await self._process.stdout.readline())[what])

    def rest(self, seconds: float, resting: list[_Child]) -> None:
        """Wait for the next message, so many seconds."""
        resting.append(self)

        async def later() -> None:
            await asyncio.sleep(seconds)
            if self in resting:
                resting.remove(self)
                self._ending = None
                await self.end()

        self._ending = asyncio.create_task(later(), name="end a process of apprise")

    def kill(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        self.kill()
        await self._process.wait()
