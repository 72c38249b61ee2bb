"""The program on a real terminal (a pty): the other screen and the way back from it, sizes, and lines that are cut."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_kit import PHASES, canary, rollout, status
from cluster_kit import api_server, install_all, own_namespace

from canary.kube import DEPLOYMENTS, HTTPROUTES, NAMESPACES, ROLLOUTS, Kube, KubeClient
from canary.model.status import Phase, RolloutStatus
from canary_sandbox.apiserver import Fault
from canary_sandbox.apiserver.generic import GenericApiServer

NS = own_namespace("team-shop")

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
SHOW_CURSOR = "\x1b[?25h"
_STEERING = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A process on a pty of some size, and everything that it wrote there."""

    def __init__(self, process: asyncio.subprocess.Process, control: int) -> None:
        self.process = process
        self.raw = ""
        self._control = control
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(control, self._read)

    def _read(self) -> None:
        try:
            found = os.read(self._control, 65536)
        except OSError:  # the process has gone, and with it the other side
            found = b""
        if not found:
            asyncio.get_running_loop().remove_reader(self._control)
        self.raw += found.decode(errors="replace")
        self._more.set()

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._control, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    async def until(self, holds: Callable[[str], bool]) -> str:
        """What was written until now, once it `holds`."""
        async with asyncio.timeout(20):
            while not holds(self.raw):
                self._more.clear()
                await self._more.wait()
        return self.raw

    async def end(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()

    @property
    def pictures(self) -> list[list[str]]:
        """The lines of each whole picture that was drawn on the other screen."""
        drawn = self.raw.partition(ENTER)[2].partition(LEAVE)[0]
        return [_STEERING.sub("", part).replace("\r", "").split("\n") for part in drawn.split("\x1b[H")[1:]]


@asynccontextmanager
async def on_terminal(config: Path, *arguments: str, columns: int = 80, lines: int = 24) -> AsyncIterator[Terminal]:
    control, side = os.openpty()
    fcntl.ioctl(control, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    dropped = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    env |= {"KUBECONFIG": str(config), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "canary", *arguments),
        stdin=side, stdout=side, stderr=side, env=env,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
    )  # fmt: skip
    os.close(side)
    terminal = Terminal(process, control)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(control)
        os.close(control)


class Cluster:
    """An API server with a Rollout."""

    def __init__(self, api: GenericApiServer, kube: Kube, config: Path) -> None:
        self.api, self.kube, self.config = api, kube, config

    async def create(self, found: RolloutStatus, name: str = "shop", stable: str = "shop-stable") -> None:
        document = rollout(None)
        document["spec"]["workloads"]["stable"]["name"] = stable
        document["metadata"] = {"name": name, "namespace": NS}
        await self.kube.create(ROLLOUTS, document)
        await self.set(found, name)

    async def set(self, found: RolloutStatus, name: str = "shop") -> None:
        body = {"status": found.model_copy(update={"observed_generation": 1}).dump()}
        await self.kube.merge_patch(ROLLOUTS, name, NS, body, subresource="status")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api_server() as api:
        await install_all(api)
        config = api.kubeconfig(tmp_path / "config", namespace=NS)
        async with await KubeClient.connect(kubeconfig=str(config)) as kube:
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
            yield Cluster(api, kube, config)


async def test_watch_leaves_the_terminal_as_it_was(cluster: Cluster) -> None:
    """Ctrl-C: the other screen is left, the cursor is back, and one line says where things stood."""
    await cluster.create(status())
    async with on_terminal(cluster.config, "watch", "shop") as terminal:
        await terminal.until(lambda raw: "Progressing" in raw)
        assert terminal.raw.count(ENTER) == 1
        assert LEAVE not in terminal.raw
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.end() == 130
        await terminal.until(lambda raw: "3/5" in raw.partition(LEAVE)[2])
    _, _, after = terminal.raw.partition(LEAVE)
    assert terminal.raw.rindex(SHOW_CURSOR) > terminal.raw.rindex("\x1b[?25l")
    (line,) = _STEERING.sub("", after).split("\r\n")[:-1]
    assert line.startswith(f"{NS}/shop  ▶ Progressing  step 3/5  weight 50 %")


async def test_a_watch_that_is_ended_leaves_the_other_screen_first(cluster: Cluster) -> None:
    """SIGTERM has its usual effect, but not on a terminal that stays behind on the wrong screen."""
    await cluster.create(status())
    async with on_terminal(cluster.config, "watch", "shop") as terminal:
        await terminal.until(lambda raw: "Progressing" in raw)
        terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.end() == -signal.SIGTERM
        await terminal.until(lambda raw: LEAVE in raw and SHOW_CURSOR in raw)


async def test_watch_fills_the_terminal_and_follows_its_size(cluster: Cluster) -> None:
    """At 80x24 as many lines and no more, none of them broken; a new size is drawn at once."""
    await cluster.create(status())
    async with on_terminal(cluster.config, "watch", "shop", columns=80, lines=24) as terminal:
        await terminal.until(lambda raw: "Progressing" in raw and len(terminal.pictures) > 2)
        first = next(lines for lines in terminal.pictures if len(lines) > 1)
        assert len(first) == 24
        assert {len(line) for line in first} == {80}
        terminal.resize(100, 30)
        await terminal.until(lambda raw: any(len(lines) == 30 for lines in terminal.pictures[:-1]))
        larger = next(lines for lines in terminal.pictures if len(lines) == 30)
        assert {len(line) for line in larger} == {100}


async def test_the_end_of_a_run_stays_as_a_picture(cluster: Cluster) -> None:
    """With --exit: after the other screen comes the whole picture, so that it can be scrolled back to."""
    await cluster.create(status())
    async with on_terminal(cluster.config, "watch", "shop", "--exit") as terminal:
        await terminal.until(lambda raw: "Progressing" in raw)
        await cluster.set(PHASES[Phase.ROLLED_BACK])
        assert await terminal.end() == 3
        await terminal.until(lambda raw: "Conditions" in raw.partition(LEAVE)[2])
    after = _STEERING.sub("", terminal.raw.partition(LEAVE)[2])
    assert f"↺ {NS}/shop  RolledBack" in after
    assert "histogram_quantile" in after


async def test_what_is_not_there_takes_no_screen(cluster: Cluster) -> None:
    """An error is a line, and not a flicker with a line after it."""
    async with on_terminal(cluster.config, "watch", "nope") as terminal:
        assert await terminal.end() == 5
        await terminal.until(lambda raw: "no Rollout nope" in raw)
    assert "\x1b" not in terminal.raw


async def test_forced_colours_make_no_terminal_of_a_pipe(cluster: Cluster) -> None:
    """A pipeline with FORCE_COLOR gets coloured lines, and no screen."""
    await cluster.create(PHASES[Phase.SUCCEEDED])
    ran = await canary("watch", "shop", "--exit", KUBECONFIG=str(cluster.config), FORCE_COLOR="1")
    assert ran.code == 0
    assert ENTER not in ran.out
    assert len(ran.out.splitlines()) == 1


LONG = "a sentence that is much longer than what is left of a line on a usual terminal after all the columns"


async def test_a_list_is_cut_on_a_terminal_and_nowhere_else(cluster: Cluster) -> None:
    """At 80 columns a Rollout is one line; `-o wide` and a pipe have all of it."""
    await cluster.create(status(message=LONG))
    async with on_terminal(cluster.config, "list") as terminal:
        assert await terminal.end() == 0
        await terminal.until(lambda raw: "shop" in raw and raw.endswith("\n"))
    lines = _STEERING.sub("", terminal.raw).replace("\r", "").splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) == 80
    assert lines[1].endswith("…")
    async with on_terminal(cluster.config, "list", "-o", "wide") as wide:
        assert await wide.end() == 0
        await wide.until(lambda raw: LONG in raw.replace("\r\n", "\n"))
    piped = await canary("list", KUBECONFIG=str(cluster.config), FORCE_COLOR="1", COLUMNS="80")
    assert LONG in piped.out


async def test_a_wide_list_shows_what_runs_now(cluster: Cluster) -> None:
    """Images and replicas of both workloads are read from the Deployments; else they are as on record."""
    await cluster.create(status())
    template = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "app", "image": "shop:v9"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "shop"}}, "template": template}
    body: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
    await cluster.kube.create(DEPLOYMENTS, {**body, "metadata": {"name": "shop-canary", "namespace": NS}})
    heading, line = (await canary("list", "-o", "wide", KUBECONFIG=str(cluster.config))).out.splitlines()
    assert line[heading.index("CANARY-IMAGES") :].startswith("shop:v9 ")
    assert line[heading.index("CANARY-READY") :].startswith("0/3 ")
    assert line[heading.index("STABLE-IMAGES") :].startswith("ghcr.io/shop:v6,proxy:2 ")
    cluster.api.faults.add(Fault(verb="get", resource="deployments", status=403, times=None))
    heading, line = (await canary("list", "-o", "wide", KUBECONFIG=str(cluster.config))).out.splitlines()
    assert line[heading.index("CANARY-IMAGES") :].startswith("ghcr.io/shop:v7,proxy:2 ")
    assert line[heading.index("CANARY-READY") :].startswith("2/2 ")
    await cluster.create(status(), "other", "other-stable")
    heading, *lines = (await canary("list", "-A", "-o", "wide", KUBECONFIG=str(cluster.config))).out.splitlines()
    assert all(line[heading.index("CANARY-READY") :].startswith("0/3 ") for line in lines)
    asked = [entry.verb for entry in cluster.api.audit if entry.resource == "deployments" and "cli" in entry.user_agent]
    assert asked == ["get"] * 4 + ["list"]  # of two Rollouts at once, however many there are


async def test_lint_shows_on_a_terminal_how_far_it_has_come(cluster: Cluster) -> None:
    """Thousands of routes take a while; what is shown meanwhile is gone when there is something to say."""
    for index in range(3):
        spec = {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "shop", "port": 80}]}]}
        body = {
            "apiVersion": HTTPROUTES.api_version,
            "kind": "HTTPRoute",
            "metadata": {"name": f"r{index}", "namespace": NS},
        }
        await cluster.kube.create(HTTPROUTES, {**body, "spec": spec})
    async with on_terminal(cluster.config, "lint", "--routes", "--no-color") as terminal:
        assert await terminal.end() == 1
        raw = await terminal.until(lambda seen: "errors in 3 objects" in seen)
    shown, _, rest = raw.partition("\r\x1b[K")
    assert shown == "\rroutes looked at: 3"
    assert rest.startswith("error: HTTPRoute")
