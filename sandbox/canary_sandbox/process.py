"""Child processes that never outlive us: Envoy, Prometheus, workloads that run as processes.

Three things make sure of it. Leaving the context asks politely (SIGTERM), then insists (SIGKILL). Children live in a
session of their own, so a Ctrl-C in the terminal reaches us first and we decide the order. And on Linux the kernel
kills a child when the thread that started it dies, so `kill -9` on us leaves nothing behind either.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from canary.errors import SandboxError

PR_SET_PDEATHSIG = 1

# Resolved before any fork: between fork and exec only calls that are already loaded are safe.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


LASTING = 15000, 32768
"""From here (inclusive) to there: no system gives these ports to a connection, or to a listener that takes any (see ip(7))."""


def free_port(*, udp: bool = False) -> int:
    """Return a loopback port that nobody listens on, and that none gets by chance later.

    For programs that cannot bind port 0 and tell, and for addresses that shall be the same after a while.
    """
    for _ in range(100):
        if port := free_or_any(random.randrange(*LASTING), udp=udp):
            return port
    raise SandboxError("none of 100 loopback ports is free; end the programs that listen on them")


def free_or_any(port: int, *, udp: bool = False) -> int:
    """The loopback TCP port (or UDP port) if nobody listens there now, else 0."""
    with socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as probe:
        if not udp:
            # As servers do: connections of before that are still being forgotten are in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child of `parent` runs between fork and exec to die with it; None where the kernel offers no such promise."""
    if _prctl is None:
        return None
    prctl = _prctl

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died between fork and prctl: the signal will never come
            os._exit(1)

    return in_child


async def answers(http: aiohttp.ClientSession, url: str) -> bool:
    """Whether a GET is answered with 200; for `ManagedProcess.wait_until`."""
    try:
        async with http.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


class ManagedProcess:
    """One child process with its output in a log file; an async context manager.

    `stop_timeout` is how many seconds the child gets between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        name: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_timeout: float = 5.0,
    ) -> None:
        self.command = [str(word) for word in command]
        self.name = name or Path(self.command[0]).name
        self.log = log
        self._env = None if env is None else {**os.environ, **env}
        self._cwd = cwd
        self._stop_timeout = stop_timeout
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.returncode if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    preexec_fn=die_with_parent(os.getpid()),
                )
            except OSError as error:
                raise SandboxError(f"{self.name} did not start: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def wait(self) -> int:
        """Wait until it ends by itself; its exit code, 0 when it was never started."""
        return await self._process.wait() if self._process is not None else 0

    async def stop(self) -> None:
        """Ask, wait `stop_timeout`, then kill. Safe to call twice; a cancellation on the way still kills."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            process.terminate()
            async with asyncio.timeout(self._stop_timeout):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def kill(self) -> None:
        """Kill at once, as a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def tail(self, lines: int = 12) -> str:
        """The last lines of its output, for an error message."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    async def wait_until(self, ready: Callable[[], Awaitable[bool]], *, within: float, interval: float = 0.02) -> None:
        """Poll `ready` until it says True. Raises SandboxError with the log's tail if the child exits or is late."""
        try:
            async with asyncio.timeout(within):
                while not await ready():
                    if not self.running:
                        raise SandboxError(f"{self.name} exited with code {self.returncode}:\n{self.tail()}")
                    await asyncio.sleep(interval)
        except TimeoutError as error:
            raise SandboxError(f"{self.name} was not ready after {within:g} s:\n{self.tail()}") from error
