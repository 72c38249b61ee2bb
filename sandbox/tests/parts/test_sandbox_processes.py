"""Nothing stays behind: children end with us, politely, by force, or because the kernel says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from cluster_kit import sandbox
from sandbox_kit import alive, until

from canary.errors import SandboxError
from canary_sandbox.process import LASTING, ManagedProcess, free_or_any, free_port

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
# Starts a whole sandbox, prints the process ids of its children, and waits.
SANDBOX_SCRIPT = """
import asyncio, json
from canary_sandbox.cluster import Sandbox

async def main():
    async with Sandbox(workloads=False, crds=()) as cluster:
        print(json.dumps([cluster.gateway.pid]), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def started(process: ManagedProcess) -> None:
    async def up() -> bool:
        return "up" in process.tail()

    await process.wait_until(up, within=10)


async def test_leaving_the_context_ends_the_child(tmp_path: Path) -> None:
    """Also when the block raises."""
    with pytest.raises(RuntimeError, match="boom"):  # noqa: PT012 - what leaving the block does is the point
        async with ManagedProcess(SLEEPER, log=tmp_path / "log") as process:
            await started(process)
            raise RuntimeError("boom")
    assert process.returncode == -signal.SIGTERM
    assert not alive(process.pid)


@pytest.mark.alone("how fast a process ends")
async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """After the stop time-out comes SIGKILL."""
    async with ManagedProcess(STUBBORN, log=tmp_path / "log", stop_timeout=0.2) as process:
        await started(process)
        began = time.monotonic()
    assert process.returncode == -signal.SIGKILL
    assert 0.2 <= time.monotonic() - began < 2


async def test_a_child_that_dies_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """wait_until does not wait for what cannot come."""

    async def never() -> bool:
        return False

    command = [sys.executable, "-c", "import sys; sys.exit('no such luck')"]
    async with ManagedProcess(command, log=tmp_path / "log", name="child") as process:
        with pytest.raises(SandboxError, match=r"child exited with code 1:\nno such luck"):
            await process.wait_until(never, within=10)


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(SandboxError, match="nowhere did not start"):
        async with ManagedProcess([tmp_path / "nowhere"], log=tmp_path / "log"):
            pass


@pytest.mark.e2e
@pytest.mark.alone("how fast a sandbox starts")
async def test_nothing_is_left_after_a_sandbox() -> None:
    """Envoy is gone and the temporary folder too, also after an exception; and it was up within 3 s."""
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="boom"):  # noqa: PT012 - what leaving the block does is the point
        async with sandbox(crds=()) as cluster:
            assert time.monotonic() - began < 3
            pid, folder = cluster.gateway.pid, cluster.folder
            assert alive(pid)
            raise RuntimeError("boom")
    assert not alive(pid)
    assert not folder.exists()


@pytest.mark.parametrize("udp", [False, True])
def test_a_free_port_is_nobodys_and_stays_so(udp: bool) -> None:
    """Who takes any port never gets it; who listens keeps his."""
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with socket.socket(type=kind) as lasting, socket.socket(type=kind) as any_:
        lasting.bind(("127.0.0.1", free_port(udp=udp)))
        any_.bind(("127.0.0.1", 0))
        assert lasting.getsockname()[1] in range(*LASTING)
        assert any_.getsockname()[1] not in range(*LASTING)
        assert not free_or_any(lasting.getsockname()[1], udp=udp)


@pytest.mark.sandbox_only("a process of its own starts a sandbox of its own")
@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets the kernel end children with their parent")
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_children_die_with_a_parent_that_is_killed(signum: signal.Signals, tmp_path: Path) -> None:
    """kill -9, Ctrl-C or a plain kill of the process that runs the sandbox: Envoy goes with it."""
    output = tmp_path / "output"
    with output.open("wb") as sink:
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SANDBOX_SCRIPT),
            stdout=sink,
            stderr=sink,
            env={**os.environ, "TMPDIR": str(tmp_path)},  # files do outlive a kill -9; here they go with the test
        )
    try:

        async def told() -> list[int] | None:
            assert parent.returncode is None, output.read_text()
            first, newline, _ = output.read_text().partition("\n")
            return json.loads(first) if newline else None

        pids: list[int] = await until(told, within=20, what="the sandbox")
        assert all(alive(pid) for pid in pids)
        os.kill(parent.pid, signum)
        await asyncio.wait_for(parent.wait(), 10)
    finally:
        if parent.returncode is None:
            parent.kill()
            await parent.wait()

    async def all_gone() -> bool:
        return not any(alive(pid) for pid in pids)

    await until(all_gone, what="the end of the children")
