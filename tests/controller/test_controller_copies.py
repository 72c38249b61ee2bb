"""Copies on an API server: what somebody does to stable while it promotes, and what the controller knows of its own copy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from controller_kit import ControllerInstance, World, workload_document

from canary.kube import DEPLOYMENTS, REPLICASETS

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

STEPS = [{"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "2s"}]
RECORD = "copy.canary.dev/shop"


async def copied_over(world: World) -> ControllerInstance:
    """A run has copied shop:2 to stable, which does not get ready."""
    instance = await world.begin(steps=STEPS)
    world.workloads.hold("stable")
    await world.deploy(2)
    await world.until(lambda: world.image("stable") == "shop:2")
    await world.settle()
    assert world.status()["run"]["copied"]["kept"] == world.status()["run"]["revision"]
    return instance


def stable(world: World) -> Json:
    found = world.find(DEPLOYMENTS, "stable")
    assert found is not None
    return found


def copies(world: World) -> int:
    """How often the controller has changed stable, dry runs left out."""
    return sum(entry.resource == "deployments" and entry.name == "stable" for entry in world.writes())


async def kept(world: World, image: str = "shop:1") -> None:
    """The ReplicaSet that a Deployment of a real cluster keeps of what it ran before."""
    of = json.loads(json.dumps(stable(world)))
    template = of["spec"]["template"]
    template["spec"]["containers"][0]["image"] = image
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "stable",
        "uid": of["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "name": f"stable-{image.replace(':', '-')}",
        "namespace": world.namespace,
        "labels": template["metadata"]["labels"],
        "ownerReferences": [owner],
    }
    spec = {"replicas": 0, "selector": of["spec"]["selector"], "template": template}
    await world.admin.create(
        REPLICASETS, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}
    )


@pytest.mark.parametrize("how", ["as kubectl rollout undo does", "as kubectl replace does"])
async def test_an_undo_of_a_copy_is_nobody_elses_to_undo(world: World, how: str) -> None:
    """The template of before, and the annotations of before: the run pauses and names who, and copies nothing over it."""
    await copied_over(world)
    before, somebody = copies(world), await world.person("kubectl-rollout")
    template = workload_document(DEPLOYMENTS, "stable")["spec"]["template"]
    operations: list[Json] = [{"op": "replace", "path": "/spec/template", "value": template}]
    if how == "as kubectl rollout undo does":
        operations.append({"op": "replace", "path": "/metadata/annotations", "value": {}})
    else:
        operations.append({"op": "remove", "path": "/metadata/annotations"})
    for _ in range(3):
        await somebody.json_patch(
            DEPLOYMENTS, "stable", world.namespace, operations[:1] if not annotated(world) else operations
        )
        await world.until(lambda: world.phase() == "Paused")
        await world.pass_(30)
        assert (world.image("stable"), world.weights()) == ("shop:1", (0, 100))
    assert "kubectl-rollout changed stable after it was copied" in world.message()
    assert copies(world) == before
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    assert (world.image("stable"), world.weights()) == ("shop:1", (1, 0))


def annotated(world: World) -> bool:
    return RECORD in (stable(world)["metadata"].get("annotations") or {})


async def strip(world: World) -> None:
    """As a policy, or somebody who tidies up."""
    await world.gitops.merge_patch(
        DEPLOYMENTS, "stable", world.namespace, {"metadata": {"annotations": {RECORD: None}}}
    )
    await world.settle()


@pytest.mark.parametrize("killed", [False, True])
async def test_a_copy_whose_record_is_stripped_is_put_back(world: World, killed: bool) -> None:
    """Out of the history of the Deployment: it never goes on with what was rolled back."""
    instance = await copied_over(world)
    await kept(world, "shop:0")
    await kept(world)
    await strip(world)
    assert not annotated(world)
    if killed:
        await instance.kill()
        await world.start_controller()
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    assert (world.image("stable"), world.weights()) == ("shop:1", (1, 0))
    assert "UnreadableRecord" in await world.reasons()


async def test_a_copy_that_cannot_be_put_back_is_said(world: World) -> None:
    """No record, no history: traffic is back all the same, and whoever looks learns what stable runs and what to do."""
    await copied_over(world)
    await strip(world)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    assert (world.image("stable"), world.weights()) == ("shop:2", (1, 0))
    assert "stable itself runs revision" in world.message()
    assert world.condition("Stalled")["reason"] == "StableNotRestored"
    events = [event["message"] for event in await world.events() if event["reason"] == "StableNotRestored"]
    assert len(events) == 1
    assert "kubectl rollout undo deployment/stable" in events[0]
    before = len(world.audited())
    await world.pass_(120)
    assert not [entry for entry in world.audited()[before:] if entry.resource in {"deployments", "replicasets"}]


async def test_a_forged_record_is_not_executed(world: World) -> None:
    """Whoever annotates stable in the middle of a run puts nothing on it, neither then nor at rest."""
    await world.begin(steps=[{"weight": 50, "hold": "1h"}])
    await world.deploy(2)
    await world.until(lambda: world.weights() == (50, 50))
    status, evil = world.status(), {"containers": [{"name": "evil", "image": "evil:1"}]}
    record = {
        "uid": world.rollout()["metadata"]["uid"],
        "run": 1,
        "copied": status["revisions"]["stable"],
        "replaced": evil,
    }
    for _ in range(2):
        body = {"metadata": {"annotations": {RECORD: json.dumps(record)}}}
        await world.gitops.merge_patch(DEPLOYMENTS, "stable", world.namespace, body)
        await world.settle()
        if world.phase() == "Progressing":
            await world.ask("abort")
        await world.until(lambda: world.phase() == "RolledBack" and not annotated(world))
        assert world.image("stable") == "shop:1"
