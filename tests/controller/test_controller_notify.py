"""Notifications of a whole controller on an API server: who is told what, and that nobody is told twice."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from controller_kit import ControllerInstance, World, check, really
from receiver_kit import Receiver, receiver

from canary.cli.notify import answer, ask
from canary.controller.notifications import Notifications
from canary.controller.run import secret
from canary.kube import (
    CLUSTERNOTIFICATIONTARGETS,
    NAMESPACES,
    NOTIFICATIONTARGETS,
    ROLLOUTS,
    SECRETS,
    Kube,
    Resource,
    WatchEvent,
)
from canary.later import Later
from canary.metrics.hosts import Hosts
from canary.metrics.secrets import Secrets
from canary.notify.apprise import AppriseSender
from canary.notify.http import HttpSender
from canary.notify.secrets import TargetSecrets
from canary.notify.sender import AnySender
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

SECRET = b"a secret of thirty-two bytes, ok"
STEPS = [{"weight": 10, "hold": "2s"}, {"weight": 50, "hold": "2s"}]
ALL = ["RunStarted", "StepStarted", "AwaitingApproval", "RolledBack", "Succeeded", "Paused", "Contested", "Invalid"]


@pytest_asyncio.fixture(loop_scope="module")
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


def target_document(url: str, name: str = "hook", kind: str = "NotificationTarget", **spec: Any) -> Json:
    spec = {"events": ALL, "http": {"url": url}, **spec}
    return {"apiVersion": "canary.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


async def declare(world: World, url: str, **spec: Any) -> None:
    await world.create(NOTIFICATIONTARGETS, target_document(url, **spec))


async def sign(world: World) -> Json:
    """A Secret to sign with, and how a target names it."""
    data = {"signing": base64.b64encode(SECRET).decode()}
    annotations = {"canary.dev/hosts": "127.0.0.1"}
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hook", "annotations": annotations},
        "data": data,
    }
    await world.create(SECRETS, document, by=world.admin)
    return {"secretRef": {"name": "hook"}}


class Listing:
    """A Kube whose targets are listed when it is told so."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.may = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def list_and_watch(self, resource: Resource, *args: Any, **more: Any) -> AsyncIterator[WatchEvent]:
        await self.may.wait()
        async for event in self._kube.list_and_watch(resource, *args, **more):
            yield event


@asynccontextmanager
async def notifying(
    world: World, instance: ControllerInstance, *, own: str = "nowhere", kube: Any = None, patience: float = 10.0
) -> AsyncIterator[Notifications]:
    """The notifications of a controller: with the Secrets of the cluster, and to this machine. `kube` follows the targets."""
    read = partial(secret, world.admin)
    secrets, hosts = TargetSecrets(read, own), Hosts.read(["127.0.0.1"])
    http = Later(lambda: lambda: HttpSender(hosts, Secrets(read, own), secrets))
    send = AnySender(http, AppriseSender(secrets, (), ()))
    found = Notifications(kube or instance.kube, instance.manager, (world.namespace,), send, patience=patience)
    begun = asyncio.Event()
    begun.set()
    task = asyncio.create_task(found.run(begun))
    await really(lambda: instance.manager.deps.notices.ways is not None)
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def told(world: World, name: str = "shop") -> list[str]:
    """What is on record as told."""
    return [event for entry in world.status(name).get("notified") or [] for event in entry["events"]]


def verify(headers: dict[str, str], body: bytes, secret_: bytes = SECRET) -> bool:
    """As a receiver does."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    meant = base64.b64encode(hmac.new(secret_, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{meant}")


async def test_each_event_arrives_once_over_a_restart(world: World, hook: Receiver) -> None:
    """A run that fails: started, two steps, rolled back; signed. Another controller after it has nothing to add."""
    await world.furnish()
    await world.declare(steps=STEPS)
    await declare(world, hook.url, http={"url": f"{hook.url}/in", "signing": await sign(world)})
    first = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    async with notifying(world, first):
        await world.deploy(2)
        await world.until(lambda: world.step() == 2)
        await really(lambda: len(hook.got) == 3)
        world.provider.answers["errors"] = 0.5
        await world.until(lambda: world.phase() == "RolledBack")
        await really(lambda: len(hook.got) == 4)
        await really(lambda: "RolledBack/1" in told(world))
        await first.kill()
    assert hook.kinds == ["RunStarted", "StepStarted", "StepStarted", "RolledBack"]
    assert len({event["id"] for event in hook.events}) == 4
    assert all(
        verify(*got) and got[0]["webhook-id"] == event["id"] for got, event in zip(hook.got, hook.events, strict=True)
    )
    last = hook.events[-1]
    uid = world.rollout()["metadata"]["uid"]
    assert last["specversion"] == "1.0"
    assert last["source"] == f"/apis/canary.dev/v1alpha1/namespaces/{world.namespace}/rollouts/shop"
    assert (last["id"], last["data"]["reason"]) == (f"{uid}-1-RolledBack", "CheckFailed")
    assert (last["data"]["run"]["number"], last["data"]["namespace"]) == (1, world.namespace)
    second = await world.start_controller()
    async with notifying(world, second) as notifications:
        await world.pass_(5)
        await really(lambda: notifications.idle)
        assert len(hook.got) == 4
        world.provider.answers["errors"] = 0.0
        await world.ask("retry")
        await world.until(lambda: world.phase() == "Succeeded")
        await really(lambda: len(hook.got) == 8)
        await really(lambda: told(world) == ["RolledBack/1", "RunStarted/1", "RunStarted/2", "Succeeded/2"])
    assert hook.kinds[4:] == ["RunStarted", "StepStarted", "StepStarted", "Succeeded"]
    said = (await world.admin.get(NOTIFICATIONTARGETS, "hook", world.namespace))["status"]["conditions"][0]
    assert (said["type"], said["status"], said["reason"]) == ("Delivered", "True", "Delivered")


@pytest.mark.sandbox_only("answers get lost")
@pytest.mark.parametrize("status", [None, 409, 504])
async def test_what_was_written_is_told_though_the_answer_was_lost(
    world: World, hook: Receiver, status: int | None
) -> None:
    """Whoever wrote it is who tells: that it is on record, and by whom, comes by the watch then. Once, as ever."""
    await world.furnish()
    await world.declare(steps=STEPS)
    await declare(world, hook.url, events=["RolledBack", "RunStarted"])
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    async with notifying(world, instance):
        instance.manager.deps.notices._began_there = datetime(2020, 1, 1, tzinfo=UTC)  # it has been at work for long
        await world.deploy(2)
        await world.until(lambda: world.step() == 2)
        lost = Fault(
            "patch", "rollouts", status, drop=status is None, subresource="status", after_effect=True, times=None
        )
        world.api.faults.add(lost)
        world.provider.answers["errors"] = 0.5
        await world.until(lambda: world.phase() == "RolledBack")
        world.api.faults.remove(lost)
        await world.pass_(30)
        await really(lambda: sorted(hook.kinds) == ["RolledBack", "RunStarted"], 10, says=lambda: hook.kinds)
        await really(lambda: sorted(told(world)) == ["RolledBack/1", "RunStarted/1"])


async def test_what_a_controller_could_not_tell_any_more_its_successor_tells(world: World, hook: Receiver) -> None:
    """It dies after a rollback is on record, and before anybody was told; of an old one nobody is."""
    await world.furnish()
    await world.declare(steps=STEPS)
    first = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await declare(world, hook.url, events=["RolledBack"])
    await world.deploy(2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    await first.kill()
    second = await world.start_controller()
    async with notifying(world, second):
        await really(lambda: hook.kinds == ["RolledBack"])
        await really(lambda: told(world) == ["RolledBack/1"])
        await second.kill()
    # Of somebody who came later, and was told of nothing yet.
    await world.create(NOTIFICATIONTARGETS, target_document(hook.url, "late", events=["RolledBack"]))
    world.clock.advance(3600)
    third = await world.start_controller()
    async with notifying(world, third) as notifications:
        await world.settle()
        await really(lambda: notifications.idle)
    assert hook.kinds == ["RolledBack"]


async def rolled_back_and_told_to_nobody(world: World, url: str) -> None:
    """A run is rolled back, and who was to tell the target dies."""
    await world.furnish()
    await world.declare(steps=STEPS)
    first = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await declare(world, url, events=["RunStarted", "RolledBack"])
    await world.deploy(2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    await first.kill()


async def test_what_is_owed_is_told_if_the_rollouts_are_listed_last(world: World, hook: Receiver) -> None:
    """The successor has its targets, and has begun, before it sees the first Rollout. Seen once more, and by a third, nothing is told again."""
    await rolled_back_and_told_to_nobody(world, hook.url)
    second = await world.start_controller(rollouts=False)
    async with notifying(world, second) as notifications:
        await really(lambda: len(second.manager.deps.notices.targets) == 1)
        await world.settle()
        assert not second.store.rollouts
        assert hook.kinds == []
        await second.follow_rollouts(world.namespace)
        await really(lambda: notifications.idle)
        assert hook.kinds == ["RunStarted", "RolledBack"]
        await really(lambda: told(world) == ["RolledBack/1", "RunStarted/1"])
        second.manager.rollout("DELETED", world.rollout())  # as if it had been out of sight
        second.manager.rollout(None, world.rollout())
        await world.settle()
        await really(lambda: notifications.idle)
        await second.kill()
    third = await world.start_controller(rollouts=False)
    async with notifying(world, third) as notifications:
        await really(lambda: len(third.manager.deps.notices.targets) == 1)
        await third.follow_rollouts(world.namespace)
        await world.settle()
        await really(lambda: notifications.idle)
    assert len(hook.got) == 2


async def test_what_is_owed_is_told_if_the_targets_are_listed_last(world: World, hook: Receiver) -> None:
    """Later than anybody waited for them. A target that is made after that is told what happens from then on."""
    await rolled_back_and_told_to_nobody(world, hook.url)
    second = await world.start_controller()
    listing = Listing(second.kube)
    async with notifying(world, second, kube=listing, patience=0.0) as notifications:
        await world.settle()
        assert (hook.kinds, len(second.manager.deps.notices.targets)) == ([], 0)
        listing.may.set()
        await really(lambda: told(world) == ["RolledBack/1", "RunStarted/1"])
        await world.create(NOTIFICATIONTARGETS, target_document(hook.url, "late", events=["RolledBack"]))
        await really(lambda: len(second.manager.deps.notices.targets) == 2)
        await world.settle()
        await really(lambda: notifications.idle)
    assert hook.kinds == ["RunStarted", "RolledBack"]


async def test_how_a_run_ended_is_told_though_the_next_one_has_begun(world: World, hook: Receiver) -> None:
    """A revision came while nobody was there: the successor begins with it before it knows whom to tell of anything."""
    await rolled_back_and_told_to_nobody(world, hook.url)
    world.provider.answers["errors"] = 0.0
    await world.deploy(3)
    second = await world.start_controller()
    await world.until(lambda: world.run_number() == 2)
    async with notifying(world, second):
        await really(lambda: len(hook.got) == 3)
    ran = [(event["data"]["run"]["number"], event["data"]["event"]) for event in hook.events]
    assert sorted(ran) == [(1, "RolledBack"), (1, "RunStarted"), (2, "RunStarted")]


@pytest.mark.parametrize("skew", [-1200, 1200], ids=["behind", "ahead"])
async def test_what_is_owed_is_told_though_clocks_differ(world: World, hook: Receiver, skew: int) -> None:
    """The controller that died before it could tell had a clock that is wrong by more than what makes news old."""
    await world.furnish()
    await world.declare(steps=STEPS)
    first = await world.start_controller(skew=skew)
    await world.until(lambda: world.phase() == "Idle")
    await declare(world, hook.url, events=["RolledBack"])
    await world.deploy(2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    await first.kill()
    world.clock.advance(60)
    second = await world.start_controller()
    async with notifying(world, second):
        await really(lambda: hook.kinds == ["RolledBack"])


async def test_how_a_run_ended_is_told_by_who_comes_after_the_next_one_began(world: World, hook: Receiver) -> None:
    """The receiver is down, the next run begins, and the controller dies: its successor knows of both runs by what is on record."""
    await world.furnish()
    await world.declare(steps=STEPS)
    await declare(world, hook.url, events=["RolledBack", "RunStarted"])
    first = await world.start_controller()
    async with notifying(world, first):
        await world.until(lambda: world.phase() == "Idle")
        hook.answers = [503] * 200
        await world.deploy(2)
        world.provider.answers["errors"] = 0.5
        await world.until(lambda: world.phase() == "RolledBack")
        world.provider.answers["errors"] = 0.0
        await world.deploy(3)
        await world.until(lambda: world.run_number() == 2)
        await first.kill()
    hook.answers = []
    hook.got.clear()
    second = await world.start_controller()
    async with notifying(world, second):
        await really(lambda: len({event["id"] for event in hook.events}) == 3)
    # The sender of the first one lives on in this process, and may get through by now: the same ids once more.
    ran = {(event["data"]["run"]["number"], event["data"]["event"]) for event in hook.events}
    assert ran == {(1, "RolledBack"), (1, "RunStarted"), (2, "RunStarted")}


async def test_who_waits_for_a_person_is_told_once_and_a_second_pause_is_another_event(
    world: World, hook: Receiver
) -> None:
    """An approval is asked for; a pause, and after it another one, are two events with two ids."""
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "2s"}, {"weight": 10, "approval": {}}])
    await declare(world, hook.url, events=["AwaitingApproval", "Paused"])
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    async with notifying(world, instance):
        await world.deploy(2)
        for number in (1, 2):
            await world.until(lambda: world.step() == 1 and world.phase() == "Progressing")
            await world.ask("pause")
            await world.until(lambda: world.phase() == "Paused")
            await really(lambda number=number: len(hook.got) == number)  # type: ignore[misc]
            await really(lambda: told(world) == ["Paused/1/1/PausedByRequest"])
            await world.ask("resume")
            await world.until(lambda: world.phase() == "Progressing")
            await world.pass_(0.1)
        await world.until(lambda: (world.status().get("paused") or {}).get("reason") == "AwaitingApproval")
        await really(lambda: len(hook.got) == 3)
        await really(lambda: told(world) == ["AwaitingApproval/1/2/AwaitingApproval"])
    assert hook.kinds == ["Paused", "Paused", "AwaitingApproval"]
    assert len({event["id"] for event in hook.events}) == 3


async def test_nobody_is_told_of_another_teams_rollouts(world: World, hook: Receiver) -> None:
    """A target of another namespace, and one whose selector chooses others, hear nothing; one of the cluster does."""
    other = f"{world.namespace}-other"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    await world.admin.create(NAMESPACES, namespace)
    await world.admin.create(NOTIFICATIONTARGETS, target_document(f"{hook.url}/other", "spy"), other)
    await declare(world, f"{hook.url}/unlabelled", selector={"matchLabels": {"tier": "gold"}})
    platform = target_document(f"{hook.url}/platform", world.namespace, "ClusterNotificationTarget", events=["Invalid"])
    await world.create(CLUSTERNOTIFICATIONTARGETS, platform, by=world.admin)
    await world.furnish()
    instance = await world.start_controller()
    async with notifying(world, instance):
        await really(lambda: len(instance.manager.deps.notices.targets) >= 2)
        await world.declare(checks=[check(prometheus={"query": "{{ nobody }}"})])
        await world.until(lambda: world.phase() == "Invalid")
        await really(lambda: len(hook.got) == 1)
        await really(lambda: any(key.startswith("Invalid/") for key in told(world)))
        await world.pass_(2)
    assert hook.kinds == ["Invalid"]
    assert world.status()["notified"][0]["target"] == f"ClusterNotificationTarget/{world.namespace}"


async def test_a_failed_message_is_an_event_a_metric_and_a_condition(world: World, hook: Receiver) -> None:
    """The run goes on as if nobody had been to be told."""
    hook.answers = [400] * 10
    await world.furnish()
    await world.declare(steps=STEPS)
    await declare(world, hook.url, events=["RunStarted"])
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    async with notifying(world, instance):
        await world.deploy(2)
        await world.until(lambda: world.phase() == "Succeeded")
        await really(lambda: len(hook.got) == 1)
        await world.settle()
    await instance.stop()
    assert "NotificationFailed" in await world.reasons()
    assert told(world) == []
    said = (await world.admin.get(NOTIFICATIONTARGETS, "hook", world.namespace))["status"]["conditions"][0]
    assert (said["status"], said["reason"]) == ("False", "Refused")
    labels = {"kind": "NotificationTarget", "namespace": world.namespace, "target": "hook", "result": "failed"}
    assert instance.telemetry.registry.get_sample_value("canary_notifications_total", labels) == 1


@pytest.mark.parametrize("targets", [0, 1])
async def test_what_was_told_costs_no_write_of_a_step(world: World, hook: Receiver, targets: int) -> None:
    """Two status patches a step, with a target as without one: what was told rides along, or uses what is left of them."""
    await world.furnish()
    await world.declare(steps=STEPS)
    if targets:
        await declare(world, hook.url)
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    async with notifying(world, instance):
        before = _statuses(world)
        await world.deploy(2)
        await world.until(lambda: world.step() == 2)
        await really(lambda: len(hook.got) == 3 * targets)
        await world.until(lambda: world.phase() == "Succeeded")
        await really(lambda: len(hook.got) == 4 * targets)
        await really(lambda: told(world) == ["RunStarted/1", "Succeeded/1"][: 2 * targets])
    assert _statuses(world) - before <= 2 * len(STEPS) + 3 + targets, (
        "the start, two for each step, what is copied over, the end, and at rest"
    )


async def test_of_a_rollout_that_is_gone_nothing_is_owed(world: World, hook: Receiver) -> None:
    """It was deleted while somebody was told of its end: that is told, and there is nowhere to put it on record."""
    told_, answer_ = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        told_.set()
        await answer_.wait()
        return web.Response()

    hook.answers = [slow]
    await world.furnish()
    await world.declare(checks=[check(prometheus={"query": "{{ nobody }}"})])
    await declare(world, hook.url, events=["Invalid"])
    instance = await world.start_controller()
    async with notifying(world, instance) as notifications:
        await world.until(lambda: world.phase() == "Invalid")
        await asyncio.wait_for(told_.wait(), 60)
        await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
        await really(lambda: not instance.store.rollouts)
        answer_.set()
        await really(lambda: notifications.idle)
        assert not instance.manager.deps.notices.owing


async def test_a_test_is_sent_by_the_controller_and_answered_in_the_status(world: World, hook: Receiver) -> None:
    """As `canary notify test` asks, and waits; once more for another id, and not again for the same."""
    await world.furnish()
    await declare(world, hook.url)
    instance = await world.start_controller()
    async with notifying(world, instance):
        id_ = await ask(world.alice, "hook", world.namespace)
        said = await answer(world.alice, "hook", world.namespace, id_, 60)
        assert (said["outcome"], hook.kinds) == ("Delivered", ["Test"])
        hook.answers = [400]
        id_ = await ask(world.alice, "hook", world.namespace)
        said = await answer(world.alice, "hook", world.namespace, id_, 60)
        assert (said["outcome"], said["message"]) == ("Failed", f"{hook.url} answered 400")
    third = await world.start_controller()
    async with notifying(world, third) as notifications:
        await world.settle()
        await really(lambda: notifications.idle)
    assert hook.kinds == ["Test", "Test"]
    assert hook.events[1]["id"] == id_


def _statuses(world: World) -> int:
    return sum(entry.subresource == "status" for entry in world.writes() if entry.resource == "rollouts")
