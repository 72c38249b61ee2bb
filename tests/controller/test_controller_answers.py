"""What the API server answers to a write of the status: that nothing is there, or something else than was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import cast

import pytest
from controller_kit import CONTROLLER, Json, Line, World, check

from canary.kube.transport import Request
from canary_sandbox.apiserver import Fault

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.sandbox_only("the server answers what a balancer, or one with other definitions, would"),
]

SLOW = [{"weight": 10, "hold": "30m"}, {"weight": 50, "hold": "5m"}]


def status_fault(world: World, times: int | None, **what: object) -> Fault:
    fault = Fault("patch", "rollouts", subresource="status", user=CONTROLLER, times=times, **what)  # type: ignore[arg-type]
    return world.api.faults.add(fault)


async def test_an_answer_that_names_no_object_makes_nobody_forget_a_failed_run(world: World) -> None:
    """As of a balancer that knows no way. The rollback stays, is put on record, and nothing gives the canary its share again."""
    await world.begin(steps=SLOW, checks=[check(interval="1s")])
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10) and world.step() == 1)
    await world.settle()
    lost = status_fault(world, 3, status=404)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.weights() == (1, 0))
    world.provider.answers["errors"] = 0.0
    await world.until(lambda: world.phase() == "RolledBack", within=120)
    assert lost.hits == 3
    assert "LeftoverRestored" not in await world.reasons()
    await world.edit(paused=False)
    await world.pass_(120)
    assert (world.run_number(), world.phase(), world.weights()) == (1, "RolledBack", (1, 0))


async def test_nor_one_that_has_begun(world: World) -> None:
    """Whatever is recorded is tried again: the run goes on."""
    await world.begin(steps=[{"weight": 10, "hold": "60s"}])
    lost = status_fault(world, 5, status=404)
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded", within=600)
    assert lost.hits == 5
    assert "LeftoverRestored" not in await world.reasons()


def without(field: str, body: bytes) -> bytes:
    """A body as a server keeps it whose definitions do not know a field of the status."""
    document: Json = json.loads(body)
    holder = document.get("status") or {}
    *path, last = field.split(".")
    for name in path:
        holder = holder.get(name) or {}
    holder.pop(last, None)
    return json.dumps(document).encode()


async def swaps(world: World) -> None:
    """At rest, with a version that serves users on each side: who is stable is to be recorded."""
    await world.begin(promotion="Swap", workloads=None)


async def fails_twice(world: World) -> None:
    """Which revisions have failed is to be recorded."""
    await world.begin(checks=[check(interval="1s")])
    world.provider.answers["errors"] = 0.5
    for version in (2, 3):
        await world.deploy(version)
        await world.until(lambda: world.phase() == "RolledBack" and world.run_number() == version - 1, within=300)  # noqa: B023


@pytest.mark.parametrize(("field", "life"), [("rolesKnown", swaps), ("revisions", fails_twice)])
async def test_a_field_that_is_not_kept_is_not_written_for_ever(
    world: World, field: str, life: Callable[[World], object]
) -> None:
    """Definitions of an earlier version: the run goes as it would, people are told once, and the pace slows to a few an hour."""
    dropping = status_fault(world, None, rewrite=partial(without, field))
    await life(world)  # type: ignore[misc]
    await world.pass_(600)
    at_first = dropping.hits
    await world.pass_(3600)
    assert dropping.hits - at_first <= 3600 / 300 + 1
    told = [event for event in await world.reasons() if event == "StatusRefused"]
    assert len(told) == 1
    world.api.faults.remove(dropping)
    await world.until(lambda: field in world.status(), within=1200)
    written = world.status()
    await world.pass_(3600)
    assert world.status() == written


def erased(field: str, body: bytes) -> bytes:
    """A body as a policy makes it that takes a field out of every status."""
    document: Json = json.loads(body)
    holder = document.setdefault("status", {})
    *path, last = field.split(".")
    for name in path:
        holder = holder.setdefault(name, {})
    holder[last] = None
    return json.dumps(document).encode()


@pytest.mark.parametrize("field", ["step", "conditions", "message", "split", "checks", "run.unavailableSince", "run"])
async def test_nor_in_the_middle_of_a_run_in_which_something_is_always_measured(world: World, field: str) -> None:
    """What may ride along with a write makes none of what is not kept; what the run comes to is still on record at once."""
    await world.begin(steps=SLOW, checks=[check(interval="1s")])
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10) and world.step() == 1)
    await world.settle()
    dropping = status_fault(world, None, rewrite=partial(erased, field))
    await world.pass_(120)
    at_first = dropping.hits
    await world.pass_(900)
    assert dropping.hits - at_first <= 900 / 30 + 1
    world.api.faults.remove(dropping)
    await world.until(lambda: world.step() == 1 and bool(world.status().get("message")), within=90)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.weights() == (1, 0), within=5)
    await world.until(lambda: world.phase() == "RolledBack", within=20)


def unkept(names: str, body: bytes) -> bytes:
    """A JSON Patch as admission makes it ineffective: what it does to some fields is undone."""
    operations = json.loads(body)
    return json.dumps([one for one in operations if one["op"] == "test" or names not in one["path"]]).encode()


@pytest.mark.parametrize("field", ["/metadata/finalizers", "canary.dev~1request"])
async def test_what_does_not_stick_keeps_nothing_off_the_record(world: World, field: str) -> None:
    """A policy takes finalizers off Rollouts, or keeps their annotations: what happens is on record, and said; the pace slows."""
    rewriting = Fault("patch", "rollouts", subresource="", user=CONTROLLER, times=None, rewrite=partial(unkept, field))
    await world.begin(steps=SLOW, checks=[check(interval="1s")])
    world.api.faults.add(rewriting)
    await world.deploy(2)
    await world.until(lambda: world.phase() in {"Progressing", "Paused"} or "finalizer" in world.message(), within=60)
    await world.ask({"id": "one", "verb": "start", "by": "alice", "reason": ""})
    await world.until(lambda: world.request().get("message") is not None, within=60)
    await world.pass_(60)
    assert "WriteFailed" in await world.reasons()
    at_first = rewriting.hits
    await world.pass_(600)
    assert rewriting.hits - at_first <= 600 / 5 + 1
    if world.weights()[1]:
        world.provider.answers["errors"] = 0.5
        await world.until(lambda: world.weights()[1] == 0, within=10)
        await world.until(lambda: world.status()["run"].get("outcome") == "RolledBack", within=30)


GARBAGE: dict[str, object] = {
    "a Status": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"},
    "no metadata": {"metadata": None, "spec": None, "status": None},
    "numbers": {"metadata": {"name": 5, "namespace": 7, "resourceVersion": [], "uid": {}, "generation": "x"}},
}


@pytest.mark.parametrize("resource", ["httproutes", "rollouts/status"])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_an_answer_that_is_no_object_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, resource: str, garbage: object
) -> None:
    """Something answers a patch in the API server's place, and it never took effect: it is tried again at once, and nothing fails."""
    await world.begin(steps=SLOW, checks=[check(interval="1s")])
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10) and world.step() == 1)
    await world.settle()
    ask, lies = Line.json, [garbage]

    async def json(line: Line, request: Request) -> Json:
        if lies and (request.method, request.resource) == ("PATCH", resource):
            return cast("Json", lies.pop())
        return await ask(line, request)

    monkeypatch.setattr(Line, "json", json)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack" and world.weights() == (1, 0), within=4)
    assert not lies
    assert not [record for record in caplog.records if record.exc_info]
