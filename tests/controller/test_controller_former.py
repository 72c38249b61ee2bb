"""The canary's workload is edited while replicas of ours are on it: what we added is given back, traffic first, and what we own, too."""

from __future__ import annotations

from typing import Any

import pytest
from controller_kit import World, check, clean, deployment_document, rollout_document, workload_document
from gitops_kit import seen, shares

from canary.kube import DEPLOYMENTS, HPAS, ROLLOUTS, STATEFULSETS, Resource
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = [{"weight": 10, "hold": "2s"}, {"weight": 50, "hold": "1h"}]
NEXT = "canary-next"


def found(world: World, name: str = "canary", resource: Resource = DEPLOYMENTS) -> Any:
    document = world.find(resource, name)
    assert document is not None
    return document


def replicas(world: World, name: str = "canary", resource: Resource = DEPLOYMENTS) -> int:
    return int(found(world, name, resource)["spec"]["replicas"])


def ours(world: World, name: str = "canary", resource: Resource = DEPLOYMENTS) -> list[Any]:
    """What is on record there as written by the controller. A real server keeps no record once a workload was scaled to none."""
    return [
        entry for entry in found(world, name, resource)["metadata"]["managedFields"] if entry["manager"] == "canary"
    ]


async def scale(world: World, number: int, name: str) -> None:
    await world.alice.merge_patch(
        DEPLOYMENTS, name, world.namespace, {"spec": {"replicas": number}}, subresource="scale"
    )
    await world.settle()


async def at_half(world: World, **declared: Any) -> Any:
    """A run at 50 %, which has given the canary 2 replicas; and a workload that may be its next one."""
    await world.workload_kind(STATEFULSETS)
    instance = await world.begin(scale={"canary": "MatchShare", **declared}, steps=STEPS, checks=[check()])
    await scale(world, 4, "stable")
    await scale(world, 0, "canary")
    await world.create(DEPLOYMENTS, deployment_document(NEXT, 3))
    await world.create(STATEFULSETS, workload_document(STATEFULSETS, "canary", 3))
    template = deployment_document("canary", 2)["spec"]["template"]
    await world.gitops.merge_patch(DEPLOYMENTS, "canary", world.namespace, {"spec": {"template": template}})
    await world.until(lambda: world.weights()[1] == 50)
    await world.settle()
    assert replicas(world) == 2
    return instance


def workloads(**canary: str) -> dict[str, Any]:
    return {"stable": {"name": "stable"}, "canary": {"name": "canary", **canary}}


EDITS: dict[str, dict[str, str]] = {"another name": {"name": NEXT}, "another kind": {"kind": "StatefulSet"}}


def given(world: World, resource: Resource = DEPLOYMENTS, name: str = "canary") -> list[int]:
    """Replicas of a workload, each time that they changed."""
    there: list[int] = []
    for version in world.records.versions[resource.plural]:
        if version["metadata"]["name"] == name and there[-1:] != [version["spec"]["replicas"]]:
            there.append(version["spec"]["replicas"])
    return there


@pytest.mark.parametrize("edit", EDITS)
async def test_what_we_added_goes_once_its_traffic_is_gone(world: World, edit: str) -> None:
    """The next run is about the other workload, and goes on meanwhile; of the one before nothing of ours is left."""
    await at_half(world)
    since, versions = world.clock.now(), seen(world)
    await world.edit(workloads=workloads(**EDITS[edit]))
    await world.until(lambda: world.run_number() > 1 and world.weights()[1] == 50, within=60)
    assert shares(world, versions) == [0, 10, 50], "traffic first"
    assert replicas(world) == 2, "streams that are open have their time"
    await world.until(lambda: replicas(world) == 0 and not ours(world), within=60)
    assert (world.clock.now() - since).total_seconds() >= 30
    assert world.weights()[1] == 50
    await world.pass_(5)
    assert "formerCanaries" not in world.status()
    resource, name = (STATEFULSETS, "canary") if edit == "another kind" else (DEPLOYMENTS, NEXT)
    assert replicas(world, name, resource) == 2
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.pass_(40)
    assert (replicas(world, name, resource), ours(world, name, resource), list(clean(world))) == (0, [], [])


async def test_keep_leaves_the_replicas_and_gives_them_back(world: World) -> None:
    """As after a run."""
    await at_half(world, after="Keep")
    await world.edit(workloads=workloads(name=NEXT))
    await world.until(lambda: not ours(world), within=60)
    await world.pass_(60)
    assert (replicas(world), "formerCanaries" in world.status()) == (2, False)


@pytest.mark.parametrize("whose", ["stable of this Rollout", "another Rollout's", "an autoscaler's", "its owner's"])
async def test_what_is_somebody_elses_by_then_is_not_scaled(world: World, whose: str) -> None:
    """Whoever has it now wants its replicas: they are given back as they are."""
    await at_half(world)
    if whose == "another Rollout's":
        other = rollout_document("other", workloads=workloads(), trigger="Manual", checks=[], steps=[{"weight": 100}])
        await world.create(ROLLOUTS, other)
    if whose == "an autoscaler's":
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "canary"}
        spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3}
        named = {"apiVersion": HPAS.api_version, "kind": HPAS.kind, "metadata": {"name": "canary"}, "spec": spec}
        await world.create(HPAS, named)
    edited = workloads(name=NEXT)
    if whose == "stable of this Rollout":
        edited["stable"] = {"name": "canary"}
    await world.edit(workloads=edited)
    if whose == "its owner's":
        await scale(world, 3, "canary")
    await world.until(lambda: not ours(world), within=90)
    await world.pass_(60)
    assert replicas(world) == (3 if whose == "its owner's" else 2)
    assert "formerCanaries" not in world.status()


async def test_it_is_the_canary_again(world: World) -> None:
    """The edit was a mistake: nobody takes its replicas away."""
    await at_half(world)
    await world.edit(workloads=workloads(name=NEXT))
    await world.until(lambda: world.run_number() == 2, within=5)
    await world.edit(workloads=workloads())
    await world.until(lambda: world.run_number() == 3 and world.weights()[1] == 50, within=60)
    await world.pass_(120)
    assert replicas(world) == 2
    assert 0 not in given(world)[given(world).index(2) :]
    assert [entry["name"] for entry in world.status().get("formerCanaries", [])] in ([], [NEXT])


async def test_while_it_drains_at_rest(world: World) -> None:
    """After the run, before its replicas went: what is left to do is done for the workload that it is about."""
    await at_half(world)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.pass_(10)
    await world.edit(workloads=workloads(name=NEXT), paused=True)
    await world.pass_(10)
    assert replicas(world) == 2
    await world.until(lambda: replicas(world) == 0 and not ours(world), within=30)
    await world.pass_(5)
    assert ("formerCanaries" in world.status(), list(clean(world))) == (False, [])


async def test_a_deleted_rollout_takes_them_along(world: World) -> None:
    """Also those of a workload that is its canary no more; it goes when that is done."""
    await at_half(world)
    await world.edit(workloads=workloads(name=NEXT))
    await world.until(lambda: world.run_number() == 2, within=5)
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=90)
    assert (replicas(world), ours(world)) == (0, [])


async def test_a_deletion_does_not_wait_for_what_cannot_be_written(world: World) -> None:
    """Longer than the drain and acceptTimeout."""
    await at_half(world)
    await world.edit(workloads=workloads(name=NEXT))
    await world.until(lambda: world.run_number() == 2, within=5)
    denied = Fault(verb="patch", resource="deployments", subresource="scale", name="canary", status=403, times=None)
    world.api.faults.add(denied)
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=150)


@pytest.mark.parametrize("died", ["right after the edit", "while it drains"])
async def test_a_successor_does_what_is_left(world: World, died: str) -> None:
    """It is on record, with the kind: whoever comes next takes them away, late as it is."""
    first = await at_half(world)
    if died == "right after the edit":
        await first.kill()
        await world.edit(workloads=workloads(kind="StatefulSet"))
    else:
        await world.edit(workloads=workloads(kind="StatefulSet"))
        await world.until(lambda: bool(world.status().get("formerCanaries", [{}])[0].get("drainedSince")), within=30)
        await first.kill()
    await world.start_controller()
    await world.until(lambda: replicas(world) == 0 and not ours(world), within=120)
    assert replicas(world, "canary", STATEFULSETS) >= 1
