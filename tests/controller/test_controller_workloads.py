"""Workloads other than Deployments: each kind is followed while somebody names it, and whoever cannot be seen is no one else's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from controller_kit import CONTROLLER, Workloads, World, check, clean, route_document, workload_document
from test_controller_whole import served

from canary.act.workloads import WorkloadWriter
from canary.decide.actions import ForgetPodSpec
from canary.errors import NotFound, NotServed
from canary.kube import CRDS, DAEMONSETS, DEPLOYMENTS, HTTPROUTES, STATEFULSETS, Resource
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

STEPS = [{"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "2s"}]


def both(kind: str, **more: str) -> Json:
    return {role: {"kind": kind, "name": role, **more} for role in ("stable", "canary")}


async def furnish(world: World, resource: Resource, *names: str) -> None:
    """Workloads of a kind beside what a world has anyway."""
    for name in names or ("stable", "canary"):
        document = workload_document(resource, name)
        if resource is DAEMONSETS:
            del document["spec"]["replicas"]
        await world.create(resource, document)
    await world.settle()


def watched(world: World, plural: str) -> int:
    """How often the controller has begun to watch, or has listed, resources of a name in this namespace."""
    return sum(entry.resource == plural and entry.verb in {"list", "watch"} for entry in world.audited())


@pytest.mark.parametrize("resource", [STATEFULSETS, DAEMONSETS], ids=lambda resource: resource.kind)
async def test_a_pair_of_another_kind_goes_through_a_run(world: World, resource: Resource) -> None:
    """A new pod template starts it, Copy makes stable what the canary is; Deployments of the same names are left alone."""
    await world.workload_kind(resource)
    await furnish(world, resource)
    await world.begin(workloads=both(resource.kind), steps=STEPS)
    await world.deploy(2, resource=resource)
    await world.until(lambda: world.phase() == "Succeeded")
    assert (world.image("stable", resource), world.image("stable"), world.weights()) == ("shop:2", "shop:1", (1, 0))
    stable = world.find(resource, "stable")
    assert stable is not None
    assert not [name for name in stable["metadata"].get("annotations") or {} if "canary.dev" in name]
    assert list(clean(world)) == []
    assert not [entry for entry in world.writes() if entry.resource == DEPLOYMENTS.plural]
    await world.deploy(3)
    await world.pass_(10)
    assert world.run_number() == 1, "a Deployment of that name is another workload"


async def test_a_copy_over_a_stateful_set_is_undone(world: World) -> None:
    """The run fails while it promotes: stable is put back to what it was."""
    sets = await world.workload_kind(STATEFULSETS)
    await furnish(world, STATEFULSETS)
    await world.begin(workloads=both("StatefulSet"), steps=STEPS)
    sets.hold("stable")
    await world.deploy(2, resource=STATEFULSETS)
    await world.until(lambda: world.image("stable", STATEFULSETS) == "shop:2")
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    assert (world.image("stable", STATEFULSETS), world.weights()) == ("shop:1", (1, 0))


async def copied_over(world: World) -> Workloads:
    """A run has copied its pod spec to a StatefulSet, which does not get ready."""
    sets = await world.workload_kind(STATEFULSETS)
    await furnish(world, STATEFULSETS)
    await world.begin(workloads=both("StatefulSet"), steps=STEPS[:1])
    sets.hold("stable")
    await world.deploy(2, resource=STATEFULSETS)
    await world.until(lambda: world.image("stable", STATEFULSETS) == "shop:2")
    await world.settle()
    return sets


async def test_what_a_copy_has_left_on_a_stateful_set_is_forgotten_there(world: World) -> None:
    """By a run that gives way to another, whose write fails at first; and by `resume`. A Deployment of that name is not even read."""
    sets = await copied_over(world)
    world.api.faults.add(Fault("patch", "statefulsets", status=500, times=1, user=CONTROLLER))
    await world.deploy(3, resource=STATEFULSETS)
    await world.until(lambda: world.run_number() == 2)
    await sets.release("stable")
    await world.until(lambda: world.phase() == "Succeeded")
    assert (world.run_number(), world.image("stable", STATEFULSETS)) == (2, "shop:3")
    assert not [entry for entry in world.audited() if entry.verb == "get" and entry.resource == DEPLOYMENTS.plural]


async def test_a_change_of_a_stateful_set_under_a_copy_is_resumed_over(world: World) -> None:
    """Somebody has seen it, and says so: the record of the copy goes, and what is there is replaced."""
    sets = await copied_over(world)
    await world.deploy(4, "stable", resource=STATEFULSETS)
    await world.until(lambda: world.phase() == "Paused")
    await world.ask("resume")
    await sets.release("stable")
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.image("stable", STATEFULSETS) == "shop:2"


async def test_an_action_that_is_done_again_and_again_has_a_pace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes it seem done and leaves it to be done: others are served in between, and the API server is not asked all the time."""
    done = 0

    async def as_if(_self: WorkloadWriter, _action: ForgetPodSpec) -> bool:
        nonlocal done
        done += 1
        await asyncio.sleep(0)
        return True

    await copied_over(world)
    monkeypatch.setattr(WorkloadWriter, "forget", as_if)
    await world.deploy(3, resource=STATEFULSETS)
    for _ in range(20):
        await asyncio.sleep(0.01)
        await world.settle()
    assert 1 <= done < 15


async def test_two_kinds_and_replicas_of_a_stateful_set(world: World) -> None:
    """A StatefulSet beside a Deployment grows with its share, by its scale subresource, and goes after the run."""
    await world.workload_kind(STATEFULSETS)
    await furnish(world, STATEFULSETS, "canary")
    workloads = {"stable": {"name": "stable"}, "canary": {"kind": "StatefulSet", "name": "canary"}}
    await world.begin(workloads=workloads, scale={"canary": 3, "drain": "1s"}, steps=STEPS)
    template = workload_document(STATEFULSETS, "canary", 2)["spec"]["template"]
    await world.gitops.merge_patch(STATEFULSETS, "canary", world.namespace, {"spec": {"template": template}})
    seen: list[int] = []

    def replicas() -> int:
        found = world.find(STATEFULSETS, "canary")
        assert found is not None
        return int(found["spec"]["replicas"])

    await world.until(lambda: seen.append(replicas()) or world.phase() == "Succeeded")
    await world.until(lambda: replicas() == 0)
    assert max(seen) == 3
    assert world.image("stable") == "shop:2"
    scaled = {entry.resource for entry in world.writes() if entry.subresource == "scale"}
    assert scaled == {"statefulsets"}


async def test_pods_that_do_not_follow_hold_the_run_before_it_begins(world: World) -> None:
    """A partition: its status says that pods are old, so nothing is claimed of them; lowered, the run goes on."""
    sets = await world.workload_kind(STATEFULSETS)
    await furnish(world, STATEFULSETS)
    await world.begin(workloads=both("StatefulSet"), steps=STEPS)
    sets.hold("canary")
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await world.gitops.merge_patch(STATEFULSETS, "canary", world.namespace, {"spec": {"updateStrategy": strategy}})
    await world.deploy(2, resource=STATEFULSETS)
    await world.settle()
    found = world.find(STATEFULSETS, "canary")
    assert found is not None
    said = {
        "observedGeneration": found["metadata"]["generation"],
        "updatedReplicas": 0,
        "updateRevision": "revision-new",
    }
    await world.admin.merge_patch(STATEFULSETS, "canary", world.namespace, {"status": said}, subresource="status")
    await world.until(lambda: "the partition 1 of its updateStrategy keeps pods as they are" in world.message())
    await world.pass_(60)
    assert (world.step(), world.weights()) == (0, (1, 0))
    strategy["rollingUpdate"] = {"partition": 0}
    await world.gitops.merge_patch(STATEFULSETS, "canary", world.namespace, {"spec": {"updateStrategy": strategy}})
    await world.settle()
    await sets.release("canary")
    await world.until(lambda: world.phase() == "Succeeded")


async def test_a_kind_is_followed_while_somebody_names_it(world: World) -> None:
    """Nobody names StatefulSets: nothing is asked of them, and no right is needed. Named, they are known before anybody is judged by them."""
    await furnish(world, STATEFULSETS)
    await world.workload_kind(STATEFULSETS)
    instance = await world.begin()
    assert watched(world, "statefulsets") == 0
    await world.edit(workloads=both("StatefulSet"))
    await world.until(lambda: world.rollout()["metadata"]["generation"] == world.status()["observedGeneration"])
    await world.settle()
    assert world.phase() == "Idle"
    assert "does not exist" not in world.message()
    assert watched(world, "statefulsets") == 2
    assert instance.store.references.employed() == {("StatefulSet", world.namespace)}
    await world.edit(workloads=both("Deployment"))
    await world.settle()
    assert instance.store.references.employed() == set()
    assert not [key for key in instance.store.workloads if key.kind == "StatefulSet"]


async def test_a_right_that_is_missing_is_named_and_hurts_nobody_else(world: World) -> None:
    """The Rollout that names StatefulSets is Invalid; its neighbour runs. Granted, it works."""
    await world.workload_kind(STATEFULSETS)
    await furnish(world, STATEFULSETS)
    denial = world.api.faults.add(Fault("list", "statefulsets", status=403, times=None, user=CONTROLLER))
    await world.furnish()
    await world.declare(checks=[check()], steps=STEPS)
    await world.create(HTTPROUTES, route_document("db"))
    await world.declare("db", routes=[{"name": "db"}], workloads=both("StatefulSet"), steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase("db") == "Invalid")
    assert "spec.workloads.stable: the controller may not see any StatefulSet here" in world.message("db")
    assert "allow it to list and watch statefulsets.apps" in world.message("db")
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    world.api.faults.remove(denial)
    await really_until(world, lambda: world.phase("db") == "Idle")
    await world.deploy(2, resource=STATEFULSETS)
    await world.until(lambda: world.phase("db") == "Succeeded")


async def test_a_restart_takes_no_workload_for_gone(world: World) -> None:
    """A run with StatefulSets goes on where it was: nobody says of a kind that is not listed yet that it has no replica."""
    await world.workload_kind(STATEFULSETS)
    await furnish(world, STATEFULSETS)
    instance = await world.begin(workloads=both("StatefulSet"), steps=[{"weight": 50, "hold": "1h"}])
    await world.deploy(2, resource=STATEFULSETS)
    await world.until(lambda: world.weights() == (50, 50) and world.status()["split"]["accepted"] == 50)
    await instance.kill()
    slow = world.api.faults.add(Fault("list", "statefulsets", latency=0.3, user=CONTROLLER))
    async with served(world):
        await world.pass_(5)
        assert slow.hits == 1
        assert (world.phase(), world.weights(), world.run_number()) == ("Progressing", (50, 50), 1)
        assert "CanaryUnavailable" not in await world.reasons()


CLONE_SETS = Resource("apps.example.org", "v1alpha1", "clonesets", "CloneSet")
NAMED = both("CloneSet", apiVersion=CLONE_SETS.api_version)


def clone_sets() -> Json:
    """The definition of a kind that has a pod template, and a status as Deployments have it."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"plural": CLONE_SETS.plural, "singular": "cloneset", "kind": CLONE_SETS.kind, "listKind": "CloneSetList"}
    version = {
        "name": CLONE_SETS.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema, "status": schema}}},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": CRDS.api_version,
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CLONE_SETS.definition},
        "spec": {"group": CLONE_SETS.group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


async def gone(world: World) -> None:
    """The definition is not there, and the server knows."""
    async with asyncio.timeout(20):
        while True:
            try:
                await world.admin.delete(CRDS, CLONE_SETS.definition)
            except NotFound:
                return
            await asyncio.sleep(0.02)


async def installed(world: World) -> None:
    """The definition is there, and the server knows."""
    await world.admin.create(CRDS, clone_sets())
    async with asyncio.timeout(20):
        while not await lists(world):  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.02)


async def lists(world: World) -> bool:
    try:
        await world.admin.list(CLONE_SETS, world.namespace)
    except NotServed:
        return False
    return True


async def test_a_foreign_kind_that_comes_later(world: World) -> None:
    """Not served, it is the Rollout's problem alone, who is told what to do. Served, it is read and never written."""
    await world.furnish()
    await world.declare(workloads=NAMED, steps=STEPS)
    await world.create(HTTPROUTES, route_document("other"))
    await world.declare("other", routes=[{"name": "other"}], steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid")
    assert "spec.workloads.stable: this cluster serves no CloneSet of apps.example.org; install what defines it" in (
        world.message()
    )
    assert world.phase("other") == "Idle"
    try:
        await installed(world)
        await world.workload_kind(CLONE_SETS)
        await furnish(world, CLONE_SETS)
        await really_until(world, lambda: world.phase() == "Idle")
        await world.deploy(2, resource=CLONE_SETS)
        await world.until(lambda: "waiting for stable to run revision" in world.message())
        assert world.weights() == (0, 100)
        await world.deploy(2, "stable", resource=CLONE_SETS)
        await world.until(lambda: world.phase() == "Succeeded")
        assert world.run_number() == 1
        assert not [entry for entry in world.writes() if entry.resource == CLONE_SETS.plural]
        assert (world.phase("other"), world.run_number("other")) == ("Idle", 0)
    finally:
        await gone(world)


async def really_until(world: World, condition: Callable[[], bool]) -> None:
    """What goes by the wall clock, while the world's goes on a little."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)
            await world.pass_(0.5)
