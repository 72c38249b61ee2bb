"""kill -9 of the controller in the middle of a run: who is told what, and what becomes of a test that runs. All of it real processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from deployed_kit import NAMESPACE, Deployed, component, deployed
from receiver_kit import Receiver, receiver

from canary.kube import JOBS
from canary_sandbox.demo import manifests

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

Json = dict[str, Any]
EVENTS = ["RunStarted", "StepStarted", "RolledBack", "Succeeded", "Paused"]


class Tracker:
    """An error tracker, which a check asks over HTTP."""

    def __init__(self) -> None:
        self.total, self.url = 0, ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async def issues(request: web.Request) -> web.Response:
            assert request.query["of"] == "shop-canary"
            return web.json_response({"total": self.total})

        app = web.Application()
        app.router.add_get("/issues", issues)
        async with TestServer(app, host="127.0.0.1") as server:
            self.url = f"http://127.0.0.1:{server.port}/issues?of={{{{ canary.service }}}}"
            yield

    @property
    def check(self) -> Json:
        found = {"url": self.url, "jsonPath": "$.total"}
        return {"name": "new-errors", "web": found, "window": "10s", "interval": "1s", "threshold": {"max": 0}}


def declared(*checks: Json, steps: list[Json]) -> Json:
    document = manifests.rollout()
    document["spec"] |= {"steps": steps, "checks": list(checks)}
    del document["spec"]["traffic"]
    return document


def target(hook: Receiver) -> Json:
    spec = {"events": EVENTS, "http": {"url": f"{hook.url}/events"}}
    metadata = {"name": "hook", "namespace": NAMESPACE}
    return {"apiVersion": "canary.dev/v1alpha1", "kind": "NotificationTarget", "metadata": metadata, "spec": spec}


async def until(what: str, condition: Callable[[], bool], town: Deployed, within: float = 60) -> None:
    try:
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{what}: never\n{town.logs[-4000:]}")


def on_record(*events: str) -> Callable[[Json], bool]:
    """Whether these are recorded as told, among others perhaps."""

    def so(status: Json) -> bool:
        return set(events) <= {event for entry in status.get("notified") or [] for event in entry["events"]}

    return so


async def refuse(_: web.Request) -> web.Response:
    return web.Response(status=503)


async def at_half(town: Deployed, hook: Receiver, tracker: Tracker) -> None:
    """A run that is told to a receiver, and judged by what an error tracker says, is at its second step."""
    steps = [{"weight": 10, "hold": "1s"}, {"weight": 50, "hold": "10m"}]
    await town.start()
    await town.cluster.apply([target(hook), declared(tracker.check, steps=steps)])
    await town.until("the first look", lambda status: status.get("phase") == "Idle")
    await town.release("v2")
    await town.until("half of it", lambda status: (status.get("split") or {}).get("accepted") == 50)
    await until("three messages", lambda: len(hook.got) == 3, town)
    await town.until("that they are on record", on_record("RunStarted/1", "StepStarted/1/2"))


RAN = ["RunStarted", "StepStarted", "StepStarted", "RolledBack"]


async def test_a_receiver_gets_each_event_exactly_once(tmp_path: Path) -> None:
    """Killed in mid-run, and once more after the rollback: four events, four deliveries, and a run that knows nothing of it."""
    tracker = Tracker()
    async with receiver() as hook, tracker.serving(), deployed(tmp_path) as town:
        await at_half(town, hook, tracker)
        await town.kill()
        await town.start()
        tracker.total = 3
        status = await town.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        assert (status["run"]["number"], status["run"]["reason"]) == (1, "CheckFailed")
        assert "new-errors failed: 3 is above 0" in status["message"]
        assert await town.weights() == [1, 0]
        await town.until("that it is on record", on_record("RolledBack/1"))
        await town.kill()
        await town.start()
        tracker.total = 0
        await town.edit(steps=[{"weight": 10, "hold": "1s"}])
        await town.ask("retry")  # its successor works, and has had all the time in the world to tell something again
        await town.until("the next run", lambda status: status.get("phase") == "Succeeded")
        await town.until("that it is on record", on_record("Succeeded/2"))
        assert hook.kinds == [*RAN, "RunStarted", "StepStarted", "Succeeded"]
        ids = [event["id"] for event in hook.events]
        assert len(set(ids)) == len(ids)
        assert all(headers["Content-Type"].startswith("application/cloudevents+json") for headers, _ in hook.got)


async def test_what_was_not_told_any_more_the_next_one_tells_once(tmp_path: Path) -> None:
    """The receiver is down when the run is rolled back, and the controller is killed before it is up again."""
    tracker = Tracker()
    async with receiver() as hook, tracker.serving(), deployed(tmp_path) as town:
        await at_half(town, hook, tracker)
        hook.answers = [refuse] * 1000
        tracker.total = 3
        await town.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        await until("an attempt", lambda: len(hook.got) > 3, town)
        await town.kill()
        hook.answers.clear()
        in_vain = len(hook.got)
        await town.start()
        await until("the message", lambda: len(hook.got) > in_vain, town)
        await town.until("that it is on record", on_record("RolledBack/1"))
        assert hook.kinds[in_vain:] == ["RolledBack"]
        assert len({event["id"] for event in hook.events[3:]}) == 1


async def test_between_delivery_and_record_it_comes_once_more_with_the_same_id(tmp_path: Path) -> None:
    """The receiver has it, and the controller is killed before it hears that: who looks at ids has each event once."""
    tracker = Tracker()
    async with receiver() as hook, tracker.serving(), deployed(tmp_path) as town:
        await at_half(town, hook, tracker)
        held = asyncio.Event()

        async def hold(_: web.Request) -> web.StreamResponse:
            await held.wait()
            return web.Response(status=204)

        hook.answers = [hold]
        tracker.total = 3
        await until("the message", lambda: len(hook.got) == 4, town)
        await town.until("the rollback, which waits for nobody", lambda status: status.get("phase") == "RolledBack")
        await town.kill()
        held.set()
        await town.start()
        await town.until("that it is on record", on_record("RolledBack/1"))
        assert hook.kinds == [*RAN, "RolledBack"]
        told = [(event["id"], event["time"]) for event in hook.events]
        assert told[3] == told[4]
        assert len(set(told)) == 4


async def test_a_gate_is_asked_anew_by_the_next_controller(tmp_path: Path) -> None:
    """It says no, the controller is killed, and nobody asks; its successor asks itself, keeps the share, and goes on with a yes."""
    says: Json = {"allowed": False, "reason": "freeze until Monday"}
    asked: list[str] = []

    async def may_i(request: web.Request) -> web.Response:
        asked.append(request.query["of"])
        return web.json_response(says)

    app = web.Application()
    app.router.add_get("/may-i", may_i)
    async with TestServer(app, host="127.0.0.1") as server, deployed(tmp_path) as town:
        http = {
            "url": f"http://127.0.0.1:{server.port}/may-i?of={{{{ canary.service }}}}",
            "expect": {"jsonPath": "$.allowed", "equals": "true"},
            "message": "$.reason",
        }
        steps: list[Json] = [{"weight": 10, "gate": {"http": http, "interval": "1s"}}, {"weight": 50, "hold": "10m"}]
        await town.start()
        await town.cluster.apply([declared(steps=steps)])
        await town.until("the first look", lambda status: status.get("phase") == "Idle")
        await town.release("v2")
        before = await town.until("a no", lambda status: "freeze until Monday" in status.get("message", ""))
        await town.kill()
        heard = len(asked)
        await town.start()
        await until("that it is asked", lambda: len(asked) > heard + 1, town)
        assert await town.weights() == [90, 10]
        says |= {"allowed": True, "reason": "go on"}
        status = await town.until("half of it", lambda status: (status.get("split") or {}).get("accepted") == 50)
        assert status["run"]["startedAt"] == before["run"]["startedAt"]
        assert await town.weights() == [50, 50]
        assert set(asked) == {"shop-canary"}


LONG = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""


async def test_a_test_that_a_dead_controller_left_running_is_ended_by_the_next(tmp_path: Path) -> None:
    """Nobody may remove Jobs when the run ends, then the controller is killed; its successor may, and the process is gone."""
    file = tmp_path / "pid"
    job = {"image": "none", "command": ["python", "-c", LONG, str(file)], "timeout": "20m"}
    async with deployed(tmp_path) as town:
        await town.cluster.apply(component("jobs"))
        await town.start()
        check = {"name": "load", "job": job, "interval": "1h"}
        await town.cluster.apply([declared(check, steps=[{"weight": 10, "hold": "1s"}])])
        await town.until("the first look", lambda status: status.get("phase") == "Idle")
        await town.release("v2")
        await until("the test", lambda: file.exists() and bool(file.read_text()), town)
        lean = component("jobs")
        for rule in lean[0]["rules"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "delete"]
        await town.cluster.apply(lean)
        await town.ask("abort")
        await town.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        await town.kill()
        pid = int(file.read_text())
        assert alive(pid)
        assert len((await town.cluster.kube.list(JOBS, NAMESPACE))["items"]) == 1
        await town.cluster.apply(component("jobs"))
        await town.start()
        await until("its end", lambda: not alive(pid), town)
        assert (await town.cluster.kube.list(JOBS, NAMESPACE))["items"] == []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
