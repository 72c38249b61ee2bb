"""A controller whose connections to the API server die: it says so, sees again at once, and hears what was said meanwhile.

Connections die in real time, so these tests take some seconds; the controller's own clock stands still meanwhile.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from controller_kit import CONTROLLER, World
from test_controller_whole import served
from wire import Wire

from canary.kube import ROLLOUTS
from canary.kube.pace import BRISK, GRACE
from canary.telemetry import configure
from canary_sandbox.apiserver import ApiServer, Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def wire(world: World) -> AsyncIterator[Wire]:
    async with Wire(world.api.url) as wire:
        yield wire


class Log(io.StringIO):
    """What a person reads in the controller's log, as it is set up by default."""

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()

    def forget(self) -> None:
        self.truncate(0)
        self.seek(0)


@pytest.fixture
def said() -> Iterator[Log]:
    root = logging.getLogger()
    names = [name for name, logger in root.manager.loggerDict.items() if isinstance(logger, logging.Logger)]
    before, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in names}
    log = Log()
    configure(stream=log)
    yield log
    root.handlers[:] = before
    root.setLevel(level)
    for name in names:
        logging.getLogger(name).setLevel(levels[name])


async def really(condition: Callable[[], bool], within: float) -> float:
    """Wait in real time; returns how many seconds it took."""
    begun = time.monotonic()
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def run_begins(world: World) -> None:
    """A run that holds its first step, and time for the controller to look after it."""
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.status()["split"]["accepted"] == 10)
    await asyncio.sleep(1.5)


@pytest.mark.alone("how soon a request is heard", waits=True)
async def test_an_abort_is_heard_over_a_connection_that_died_in_silence(world: World, wire: Wire, said: Log) -> None:
    """All connections freeze, and nobody is told; the request is heard within ten seconds, and the rollback written."""
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "1h"}])
    async with served(world, server=wire.url):
        await run_begins(world)
        said.forget()
        wire.freeze(only_open=True)
        await world.ask("abort")
        assert await really(lambda: world.phase() in {"RollingBack", "RolledBack"}, 10) < BRISK + GRACE + 1.5
        await world.until(lambda: world.phase() == "RolledBack")
        await really(lambda: "can be watched again" in said.getvalue(), 10)
        assert_said_once(said, "nothing came for")


@pytest.mark.alone("how soon a request is heard", waits=True)
async def test_sight_is_back_right_after_an_outage(world: World, wire: Wire, said: Log) -> None:
    """Refused for some seconds: said in one line, and over within two seconds of the server's return."""
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "1h"}])
    async with served(world, server=wire.url):
        await run_begins(world)
        said.forget()
        await wire.cut()
        await world.ask("abort")
        await asyncio.sleep(5)
        await wire.mend()
        assert await really(lambda: world.phase() in {"RollingBack", "RolledBack"}, 10) < 2.5
        await world.until(lambda: world.phase() == "RolledBack")
        await really(lambda: "can be watched again" in said.getvalue(), 10)
        assert_said_once(said, "the connection broke off|the connection was closed|cannot connect to 127.0.0.1")


async def test_kopf_gives_up_and_is_started_again(world: World, said: Log) -> None:
    """An error in the stream that kopf does not know ends kopf, and nothing else: the Rollouts are listed, and heard."""
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "1h"}])
    async with served(world):
        await run_begins(world)
        said.forget()
        world.api.faults.add(Fault(verb="watch", resource="rollouts", status=500, after_events=0, user=CONTROLLER))
        await really(lambda: "the watch of the Rollouts broke off" in said.getvalue(), BRISK + 3)
        await world.ask("abort")
        await really(lambda: world.phase() in {"RollingBack", "RolledBack"}, 5)
        (line,) = [line for line in loud(said) if " canary.sight " not in line]
        assert "canary.watching the watch of the Rollouts broke off (injected fault: 500)" in line


@pytest.mark.parametrize("code", [401, 403, 404, 410, 429, 503])
async def test_refusals_do_not_end_a_controller_that_runs(world: World, said: Log, code: int) -> None:
    """Credentials that ran out, rights or definitions that are taken away, a server in trouble: one line, until it works."""
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "1h"}])
    async with served(world) as controller:
        await run_begins(world)
        said.forget()
        faults = [Fault(verb=verb, status=code, times=None, user=CONTROLLER) for verb in ("watch", "list")]
        for fault in faults:
            world.api.faults.add(fault)
        await really(lambda: "cannot be watched" in said.getvalue(), BRISK + 3)
        await asyncio.sleep(2)
        assert not controller.task.done()
        for fault in faults:
            world.api.faults.remove(fault)
        await world.ask("abort")
        await really(lambda: world.phase() in {"RollingBack", "RolledBack"}, 5)
        await really(lambda: "can be watched again" in said.getvalue(), 5)
        await really(lambda: "can be watched again" in said.getvalue(), 10)
        assert_said_once(said, f"injected fault: {code}")


def loud(said: Log) -> list[str]:
    """Warnings and worse, tracebacks included, but for those that a run makes."""
    return [line for line in said.lines if " INFO " not in line and " canary.tick " not in line]


def assert_said_once(said: Log, why: str) -> None:
    """One warning with its reason, one line when it is over, nothing of kopf's, no traceback."""
    (lost,) = loud(said)
    assert " canary.sight the API server cannot be watched (" in lost
    assert any(word in lost for word in why.split("|")), lost
    ours = [line for line in said.lines if " canary.sight " in line]
    assert len(ours) == 2, ours
    assert "the API server can be watched again, after " in ours[1]


async def test_watches_are_brisk_while_a_run_is_under_way_and_calm_at_rest(world: World) -> None:
    """At rest nothing is asked; during a run each of the three watches is renewed every few seconds, and nothing listed."""
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "1h"}])
    async with served(world):
        await world.until(lambda: world.phase() == "Idle")
        await asyncio.sleep(BRISK + 2)  # a look at the start may have made them brisk for a moment
        world.api.audit.clear()
        await asyncio.sleep(BRISK + 1)
        assert [(entry.verb, entry.resource) for entry in world.audited(CONTROLLER)] == []
        await run_begins(world)
        renewed = ["deployments", "httproutes", "rollouts"]
        asked = [(entry.verb, entry.resource) for entry in world.audited(CONTROLLER)]
        assert sorted(resource for verb, resource in asked if verb == "watch") == renewed
        world.api.audit.clear()
        await asyncio.sleep(BRISK + 0.5)
        assert sorted((entry.verb, entry.resource) for entry in world.audited(CONTROLLER)) == [
            ("watch", resource) for resource in renewed
        ]


@pytest.mark.sandbox_only("forgets history at will")
async def test_what_was_deleted_in_an_outage_that_nobody_remembers_is_missed_at_once(world: World, wire: Wire) -> None:
    """Too long ago for the server, so everything is listed, and what is gone has no event: it bars its rule no longer."""
    await world.furnish()
    await world.declare()
    async with served(world, server=wire.url):
        await world.until(lambda: world.phase() == "Idle")
        await world.declare("zeta")
        await world.until(lambda: world.phase("zeta") == "Invalid")
        await wire.cut()
        await world.admin.delete(ROLLOUTS, "shop", world.namespace)
        await world.settle()
        sandbox_of(world).compact()
        await wire.mend()
        await really(lambda: world.phase("zeta") == "Idle", 5)


def sandbox_of(world: World) -> ApiServer:
    assert isinstance(world.api, ApiServer)
    return world.api
