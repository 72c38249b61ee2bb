"""The controller as it is deployed: with kopf, its HTTP server, and a clean end. Only its clock and its metrics are ours."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from cluster_kit import OUR_CRDS
from controller_kit import CONTROLLER, REAL_SECONDS, World, clean, really
from receiver_kit import receiver

from canary.controller import garbage
from canary.controller.handlers import listed
from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.errors import ConfigError
from canary.kube import DEPLOYMENTS, HTTPROUTES, NOTIFICATIONTARGETS, ROLLOUTS, SECRETS
from canary_sandbox.apiserver import ApiServer, Fault, auth
from canary_sandbox.cluster import gateway_api_crds

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


@dataclass
class Served:
    """A controller under way."""

    task: asyncio.Task[None]
    stop: asyncio.Event
    address: str

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.address}{path}") as answer:
            return answer.status, await answer.text()

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(REAL_SECONDS):
            await self.task


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def served(
    world: World,
    namespaces: tuple[str, ...] | None = None,
    lease: tuple[str, str] | None = None,
    server: str | None = None,
    allow_hosts: tuple[str, ...] = (),
    meanwhile: Callable[[asyncio.Event], Awaitable[None]] | None = None,
) -> AsyncIterator[Served]:
    """A whole controller for this world's namespace, ready; stopped at the end if the test has not.

    `server` is where it finds the API server, if not where everybody else does. `meanwhile` is done while it starts; it gets what
    is set when it is ready.
    """
    # kopf gathers events for a tenth of a second before it passes them on.
    world.horizon = 0.15
    stop, ready = asyncio.Event(), asyncio.Event()
    address = free_address()
    watched = (world.namespace,) if namespaces is None else namespaces
    settings = Settings(metrics_address=address, namespaces=watched, lease=lease, allow_hosts=allow_hosts)
    task = asyncio.create_task(
        serve(
            settings,
            provider=world.provider,
            clock=world.clock,
            stop=stop,
            ready=ready,
            server=server or world.api.url,
            token=world.clients.token(CONTROLLER),
            identity=address,
        )
    )
    if meanwhile is not None:
        await meanwhile(ready)
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, timeout=REAL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    controller = Served(task, stop, address)
    try:
        yield controller
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await controller.end()


async def test_nobody_at_rest_is_judged_before_all_rollouts_are_known(world: World) -> None:
    """By half of them, the younger of two on one rule would find it free and begin. That they are there is counted, whoever lists them."""
    await world.furnish()
    await world.declare()
    world.clock.advance(2)
    await world.declare("younger")
    denial = world.api.faults.add(Fault("list", "rollouts", status=503, times=None, user=CONTROLLER))

    async def late(ready: asyncio.Event) -> None:
        surveyed = {"gateways", "services", "referencegrants", "gatewayclasses", "namespaces"}
        while not surveyed <= {entry.resource for entry in world.api.audit if entry.user == CONTROLLER}:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await world.settle()
        assert not ready.is_set()
        assert not world.phase("younger")
        world.api.faults.remove(denial)

    async with served(world, meanwhile=late):
        await world.until(lambda: world.phase() == "Idle" and world.phase("younger") == "Invalid")
    told = [version["status"].get("phase") for version in world.records.versions["rollouts"] if version.get("status")]
    assert sorted(set(told)) == ["Idle", "Invalid"]


async def test_a_receiver_gets_each_event_once_over_a_restart(world: World) -> None:
    """A chat by apprise, and CloudEvents: told by one controller, and by the next one nothing but what happens then."""
    async with receiver() as hook:
        for name, way in (
            ("events", {"http": {"url": f"{hook.url}/events"}}),
            ("chat", {"apprise": {"secretRef": {"name": "chat"}}}),
        ):
            spec = {"events": ["RunStarted", "RolledBack", "Succeeded"], **way}
            metadata = {"name": name}
            document = {
                "apiVersion": ROLLOUTS.api_version,
                "kind": "NotificationTarget",
                "metadata": metadata,
                "spec": spec,
            }
            await world.create(NOTIFICATIONTARGETS, document)
        url = base64.b64encode(f"json://127.0.0.1:{hook.port}/chat".encode()).decode()
        metadata = {"name": "chat", "annotations": {"canary.dev/hosts": "127.0.0.1"}}
        await world.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"url": url}})

        def told() -> list[str]:
            """Titles in the chat, and events."""
            return sorted(str(event.get("title") or event.get("type")).rpartition(".")[2] for event in hook.events)

        lease = (world.namespace, "canary")
        where = f"{world.namespace}/shop"
        first = [f"{where}: run 1 is rolled back", f"{where}: run 1 started", "RolledBack", "RunStarted"]
        await world.furnish()
        await world.declare()
        async with served(world, lease=lease, allow_hosts=("127.0.0.1",)) as controller:
            await world.until(lambda: world.phase() == "Idle")
            world.provider.answers["errors"] = 0.5
            await world.deploy(2)
            await world.until(lambda: world.phase() == "RolledBack")
            await really(lambda: told() == sorted(first), says=told)
            events = ["RolledBack/1", "RunStarted/1"]
            await really(lambda: [one["events"] for one in world.status().get("notified") or []] == [events, events])
            _, page = await controller.get("/metrics")
            assert len(re.findall(r'canary_notifications_total\{[^}]*result="delivered"[^}]*\} 2\.0', page)) == 2
        world.provider.answers["errors"] = 0.0
        async with served(world, lease=lease, allow_hosts=("127.0.0.1",)):
            await world.ask("retry")
            await world.until(lambda: world.phase() == "Succeeded")
            second = [f"{where}: run 2 started", f"{where}: run 2 succeeded", "RunStarted", "Succeeded"]
            await really(lambda: told() == sorted([*first, *second]), says=lambda: (told(), world.status()))


async def test_a_good_and_a_bad_version(world: World) -> None:
    """One version succeeds, the next is rolled back; nothing of kopf is on any object; metrics tell the story."""
    await world.furnish()
    await world.declare()
    async with served(world) as controller:
        assert await controller.get("/healthz") == (200, "ok\n")
        assert await controller.get("/readyz") == (200, "ok\n")
        await world.until(lambda: world.phase() == "Idle")
        await world.deploy(2)
        await world.until(lambda: world.step() == 2 and world.status()["split"]["accepted"] == 50)
        await world.until(lambda: (world.status().get("checks") or [{}])[0].get("verdict") == "Pass")
        _, during = await controller.get("/metrics")
        await world.until(lambda: world.phase() == "Succeeded")
        world.provider.answers["errors"] = lambda query, _now: 0.5 if 'weight="50' in query.text else 0.0
        await world.deploy(3)
        await world.until(lambda: world.phase() == "RolledBack")
        await world.settle()
        _, after = await controller.get("/metrics")
    labels = f'namespace="{world.namespace}"'
    for stage in ("desired", "written", "accepted"):
        assert number(during, "canary_rollout_weight_percent", labels, f'stage="{stage}"') == 50
    assert number(during, "canary_check_verdict", labels, 'check="errors"', 'verdict="Pass"') == 1
    assert number(during, "canary_check_value", labels, 'check="errors"') == 0
    assert number(during, "canary_active_runs") == 1
    assert number(after, "canary_active_runs") == 0
    assert number(after, "canary_runs_finished_total", labels, 'result="Succeeded"') == 1
    assert number(after, "canary_runs_finished_total", labels, 'result="RolledBack"') == 1
    assert number(after, "canary_rollback_latency_seconds_count") == 1
    assert number(after, "canary_rollback_latency_seconds_sum") < 1
    patches = number(
        after, "canary_api_request_duration_seconds_count", 'code="200"', 'resource="httproutes"', 'verb="patch"'
    )
    assert patches == len([entry for entry in world.writes() if entry.resource == "httproutes"])
    assert world.weights() == (1, 0)
    assert list(clean(world)) == []
    for resource in (ROLLOUTS, HTTPROUTES, DEPLOYMENTS):
        for item in (await world.admin.list(resource, world.namespace))["items"]:
            assert "kopf" not in json.dumps(item["metadata"])
            assert not item["metadata"].get("finalizers")
    assert not any("kopf" in entry.resource or "kopf" in entry.group for entry in world.writes())


async def test_a_clean_stop_lets_a_run_go_on(world: World) -> None:
    """A controller that stops in the middle of a run leaves no task behind, and the next one goes on from there."""
    await world.furnish()
    await world.declare()
    before = asyncio.all_tasks()
    async with served(world) as controller:
        await world.until(lambda: world.phase() == "Idle")
        await world.deploy(2)
        await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
        await controller.end()
        with pytest.raises(aiohttp.ClientError):
            await controller.get("/healthz")
    await world.settle()
    left = {task for task in asyncio.all_tasks() - before if not task.done() and "canary" in repr(task.get_coro())}
    assert left == set()
    assert world.weights() == (50, 50)
    async with served(world):
        await world.until(lambda: world.phase() == "Succeeded")
    assert world.run_number() == 1


async def test_one_that_stands_by_goes_on_when_the_other_stops(world: World) -> None:
    """Both are ready; one writes. When it has stopped, the other takes up the run where it is, in the same moment."""
    await world.furnish()
    await world.declare()
    lease = (world.namespace, "canary-controller")
    async with served(world, lease=lease) as first:
        await world.until(lambda: world.phase() == "Idle")
        async with served(world, lease=lease) as second:
            assert [(await one.get("/readyz"))[0] for one in (first, second)] == [200, 200]
            assert ["canary_leader 1.0" in (await one.get("/metrics"))[1] for one in (first, second)] == [True, False]
            await world.deploy(2)
            await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
            assert len([entry for entry in world.writes() if entry.resource == "httproutes"]) == 2
            now, before = world.clock.now(), len(world.writes())
            await first.end()
            await world.settle()
            assert "canary_leader 1.0" in (await second.get("/metrics"))[1]
            assert "canary_active_runs 1.0" in (await second.get("/metrics"))[1]
            assert world.clock.now() == now
            kinds = {entry.resource for entry in world.writes()[before:]}
            assert "httproutes" not in kinds, "what the first had under way is over: its turn needs no successor"
            await world.until(lambda: world.phase() == "Succeeded")
    assert world.run_number() == 1


async def test_the_garbage_collector_is_as_it_was_once_all_is_listed(world: World) -> None:
    """Its thresholds are raised for the start and no longer; what is known by then it leaves alone, and what stays after that until it is told."""
    frozen = gc.get_freeze_count()
    await world.furnish()
    async with served(world):
        await world.until(lambda: gc.get_threshold() == garbage.SETTLED)
        assert gc.get_freeze_count() > frozen
    assert gc.get_threshold() == garbage.USUAL


async def test_kopf_is_told_of_changes_and_not_of_lists(world: World) -> None:
    """It has a task for each object that it is told of: none for those that rest. What happens to them from then on, it tells."""

    def one_waits_for_the_other() -> bool:
        return (world.phase("first"), world.phase()) == ("Idle", "Invalid")

    await world.furnish()
    await world.declare("first")
    await world.declare()
    async with served(world):
        await world.until(one_waits_for_the_other)
    await world.settle()
    workers: set[str] = set()

    async def look(ready: asyncio.Event) -> None:
        while not ready.is_set():
            names = (task.get_name() for task in asyncio.all_tasks())
            workers.update(name for name in names if name.startswith("worker for (rollouts."))
            await asyncio.sleep(0)

    async with served(world, meanwhile=look):
        assert one_waits_for_the_other()
        assert workers == set()
        await world.gitops.delete(ROLLOUTS, "first", world.namespace)
        await world.until(lambda: world.phase() == "Idle")
        await world.deploy(2)
        await world.until(lambda: world.phase() == "Succeeded")


async def test_a_listed_rollout_that_cannot_be_taken_in_is_none_of_the_others_business(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bug of ours about one of them is logged, and the rest of the list is known."""
    known: list[tuple[str | None, Json]] = []

    def rollout(kind: str | None, document: Json) -> None:
        if document["metadata"]["uid"] == "2":
            raise KeyError("name")
        known.append((kind, document))

    page = [{"metadata": {"uid": str(number), "name": f"shop-{number}"}} for number in range(60)]
    await listed(SimpleNamespace(rollout=rollout), page)  # type: ignore[arg-type]
    assert [document["metadata"]["name"] for _, document in known] == [f"shop-{n}" for n in range(60) if n != 2]
    assert {(kind, document["kind"], document["apiVersion"]) for kind, document in known} == {
        (None, "Rollout", "canary.dev/v1alpha1")
    }
    assert "a listed Rollout cannot be taken in: 2" in caplog.text


async def test_deletion_with_kopf(world: World) -> None:
    """A Rollout deleted during a run lets go of its route and goes; declared again, it is a new one."""
    await world.furnish()
    await world.declare()
    async with served(world):
        await world.until(lambda: world.phase() == "Idle")
        await world.deploy(2)
        await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
        await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
        await world.until(lambda: world.find(ROLLOUTS, "shop") is None)
        assert world.weights() == (1, 0)
        await world.declare()
        await world.until(lambda: world.phase() == "Idle")
        await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
        await world.declare()
        await world.until(lambda: world.phase() == "Idle")
        await world.settle()
        await world.deploy(4)
        await world.until(lambda: world.phase() == "Succeeded")


async def test_only_its_namespaces(world: World) -> None:
    """A controller told to see some namespaces leaves the others alone."""
    await world.furnish()
    await world.declare()
    async with World(world.clients) as other:
        await other.furnish()
        await other.declare()
        async with served(world):
            await world.until(lambda: world.phase() == "Idle")
            await world.settle()
        assert other.status() == {}


@pytest.mark.sandbox_only("a server without our definitions: those of a real one are the whole session's")
async def test_an_api_server_without_our_crds(world: World) -> None:
    """A server that lacks our resources is refused in one sentence that says what to do."""
    async with ApiServer() as bare:
        with pytest.raises(ConfigError, match="kubectl apply -f crds/"):
            await serve(
                Settings(metrics_address="127.0.0.1:0"), provider=world.provider, server=bare.url, token=bare.token
            )
    with pytest.raises(ConfigError, match="cannot use the API server"):
        await serve(Settings(metrics_address="127.0.0.1:0"), provider=world.provider, server=bare.url, token="x")


@pytest.mark.sandbox_only("a server without the Gateway API: the definitions of a real one are the whole session's")
@pytest.mark.parametrize("part", [(), ("gateways",)], ids=["nothing", "a-part"])
async def test_an_api_server_without_the_gateway_api(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, part: tuple[str, ...]
) -> None:
    """HTTPRoutes are missing, with the whole group or without: one sentence, nothing of kopf's, no token of a URL."""
    for plural in part:
        # Found by its name: to parse them all would hold up everybody of the world for seconds.
        (file,) = gateway_api_crds().glob(f"*{plural}.yaml")
        (tmp_path / file.name).write_text(file.read_text())
    async with ApiServer() as bare:
        await bare.install_crds(OUR_CRDS)
        if part:
            await bare.install_crds(tmp_path)
        with pytest.raises(ConfigError) as caught:
            await serve(
                Settings(metrics_address="127.0.0.1:0"),
                provider=world.provider,
                server=bare.url + auth.path_prefix(bare.token),
            )
        assert str(caught.value).startswith(
            f"the API server {bare.url} serves no httproutes; install the Gateway API v1 CRDs: `kubectl apply"
        )
        assert bare.token not in str(caught.value) + caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def number(text: str, name: str, *labels: str) -> float:
    """The value of the one series of this name that has all these labels."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match and match[1] == name and all(label in (match[2] or "") for label in labels):
            found.append(float(match[3]))
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]
