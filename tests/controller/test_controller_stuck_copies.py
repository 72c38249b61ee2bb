"""Copies that cannot be put back, or whose record cannot be taken off: neither a run nor a deletion waits for that for ever."""

from __future__ import annotations

import pytest
from controller_kit import CONTROLLER, World, deployment_document
from test_controller_copies import RECORD, annotated, copied_over

from canary.kube import DEPLOYMENTS, ROLLOUTS
from canary_sandbox.apiserver import Fault

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.sandbox_only("the server refuses what a policy would"),
]


def denied(world: World, name: str = "stable") -> Fault:
    """A policy that lets the controller change this Deployment no more."""
    return world.api.faults.add(
        Fault(
            verb="patch",
            resource="deployments",
            namespace=world.namespace,
            name=name,
            status=403,
            times=None,
            user=CONTROLLER,
        )
    )


async def test_a_run_ends_whose_copy_cannot_be_put_back(world: World) -> None:
    """Traffic is back at once, the run ends after acceptTimeout, and it is said what stable runs; restoring is tried on, slowly."""
    await copied_over(world)
    policy = denied(world)
    await world.ask("abort")
    await world.until(lambda: world.weights() == (1, 0), within=5)
    assert world.phase() == "RollingBack"
    await world.until(lambda: world.phase() == "RolledBack", within=90)
    assert (world.image("stable"), world.finalizers()) == ("shop:2", [])
    assert "stable still runs revision" in world.message()
    assert world.condition("Stalled")["status"] == "True"
    assert world.condition("Stalled")["reason"] == "StableNotRestored"
    assert world.condition("Reconciling")["status"] == "False"
    told = [event["message"] for event in await world.events() if event["reason"] == "StableNotRestored"]
    assert len(told) == 1
    await world.pass_(120)
    before = policy.hits
    await world.pass_(600)
    assert 8 <= policy.hits - before <= 21, "once a minute, or after half of one: the pause is drawn from that"
    assert "LeftoverRestored" not in await world.reasons()
    world.api.faults.remove(policy)
    await world.until(lambda: world.image("stable") == "shop:1" and not annotated(world), within=120)
    await world.settle()
    assert "still runs" not in world.message()
    assert world.condition("Stalled")["reason"] != "StableNotRestored"


async def test_a_deletion_ends_though_a_copy_cannot_be_put_back(world: World) -> None:
    await copied_over(world)
    denied(world)
    await world.admin.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.weights() == (1, 0), within=5)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=90)
    told = [event["message"] for event in await world.events() if event["reason"] == "StableNotRestored"]
    assert len(told) == 1
    assert (world.image("stable"), annotated(world)) == ("shop:2", True)


async def test_a_mend_may_be_released_over_what_cannot_be_put_back(world: World) -> None:
    """What failed is not tried again against itself; another revision is, and nothing is left of the old copy after that."""
    await copied_over(world)
    policy = denied(world)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=90)
    await world.ask("retry")
    await world.settle()
    assert world.status()["lastRequest"]["outcome"] == "Refused"
    assert (world.run_number(), world.phase()) == (1, "RolledBack")
    await world.deploy(3)
    await world.until(lambda: world.run_number() == 2)
    world.api.faults.remove(policy)
    await world.workloads.release("stable")
    await world.until(lambda: world.phase() == "Succeeded")
    assert (world.image("stable"), annotated(world), world.weights()) == ("shop:3", False, (1, 0))


async def test_a_won_run_ends_though_its_record_cannot_be_taken_off(world: World) -> None:
    await copied_over(world)
    policy = denied(world)
    await world.workloads.release("stable")
    await world.until(lambda: world.weights() == (1, 0), within=5)
    await world.until(lambda: world.phase() == "Succeeded", within=90)
    assert f"the annotation {RECORD} of stable cannot be taken off" in world.message()
    assert (world.image("stable"), world.finalizers()) == ("shop:2", [])
    world.api.faults.remove(policy)
    await world.until(lambda: not annotated(world), within=120)
    await world.settle()
    assert "cannot be taken off" not in world.message()


@pytest.mark.parametrize("killed", [False, True])
async def test_a_copy_over_a_workload_that_is_declared_no_more_is_put_back(world: World, killed: bool) -> None:
    """The Rollout names another stable workload in the middle of a Copy: the one of before gets back what it ran."""
    instance = await copied_over(world)
    await world.create(DEPLOYMENTS, deployment_document("other"))
    if killed:
        await instance.kill()
    await world.edit(
        workloads={
            "stable": {"kind": "Deployment", "name": "other"},
            "canary": {"kind": "Deployment", "name": "canary"},
        }
    )
    if killed:
        await world.start_controller()
    await world.until(lambda: world.image("stable") == "shop:1" and not annotated(world), within=120)
    await world.until(lambda: world.image("other") == "shop:1" and world.run_number() in {1, 2}, within=60)
    first = world.status()["run"] if world.run_number() == 1 else world.status()["previousRun"]
    assert first["outcome"] == "RolledBack"
