"""Two controllers of different versions, without a Lease: one of them cannot read a spec that the other one can."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from controller_kit import ControllerInstance, World, check, pair_weights, rollout_document

from canary.decide.facts import Problem
from canary.decide.scope import OVERRIDE_LIMIT
from canary.kube import ROLLOUTS
from canary.observe.rollout import Rollout

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

NEWER = "shields: this version of the controller does not know it, the definitions are newer"


async def an_older_one(world: World) -> ControllerInstance:
    """A controller that does not know a member of the spec."""
    instance = await world.start_controller(rollouts=False)
    reads = instance.store.rollout

    def rollout(key: Any) -> Rollout | None:
        found = reads(key)
        if found is None:
            return None
        return replace(found, spec=None, problem=Problem("spec.shields", NEWER), rescued=found.spec)

    instance.store.rollout = rollout  # type: ignore[method-assign]
    await instance.follow_rollouts(world.namespace)
    return instance


@pytest.mark.parametrize("first", ["older", "newer"])
async def test_at_rest_they_do_not_write_against_each_other_for_ever(world: World, first: str) -> None:
    """Each says what it knows; the one that cannot read gives way for longer and longer."""
    await world.furnish()
    await world.declare(checks=[check()])
    for each in (first, {"older": "newer", "newer": "older"}[first]):
        await (an_older_one(world) if each == "older" else world.start_controller())
    await world.pass_(60)
    before = len(world.writes())
    await world.pass_(600)
    assert len(world.writes()) - before <= 10
    said = [version["status"]["phase"] for version in world.records.versions["rollouts"] if version.get("status")]
    assert {"Idle", "Invalid"} <= set(said), "each has said it"
    assert world.phase() == "Idle", "and who can read it has the last word"


def rises(world: World) -> int:
    """How often the canary of the route was given more than 10 %."""
    shares = [pair_weights(version["spec"]["rules"][0])[1] for version in world.records.versions["httproutes"]]
    return sum(before <= 10 < after for before, after in pairwise(shares))


@pytest.mark.parametrize("good", [True, False])
async def test_in_a_run_neither_do_they(world: World, good: bool) -> None:
    """An older one comes along at 10 %. What it cannot read raises nothing there; a bad canary goes back, whoever sees it first.

    Which of the two is faster each time decides how often the newer one raises what the older one takes back, up to the limit.
    """
    steps = [{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "1h"}]
    await world.begin(steps=steps, checks=[check(interval="5s")])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await an_older_one(world)
    await world.pass_(30)
    before = len(world.writes())
    await world.pass_(600)
    assert 1 <= rises(world) <= OVERRIDE_LIMIT
    assert len(world.writes()) - before <= 20 + 12 * rises(world)
    assert world.run_number() == 1
    assert world.weights()[1] == 50 or (world.weights()[1], world.phase()) == (10, "Paused"), (
        "it is settled between them"
    )
    before, raised = len(world.writes()), rises(world)
    await world.pass_(600)
    assert len(world.writes()) - before <= 15
    assert rises(world) == raised
    if not good:
        world.provider.answers["errors"] = 0.5
        await world.until(lambda: world.weights() == (1, 0), within=30)
        await world.until(lambda: world.phase() in {"RolledBack", "Invalid"})
        assert world.status()["run"]["outcome"] == "RolledBack"
        await world.pass_(60)
        before = len(world.writes())
        await world.pass_(600)
        assert len(world.writes()) - before <= 15


async def test_a_pause_of_who_can_read_it_is_kept_by_who_cannot(world: World) -> None:
    """An older one has put its turn on the route last, taking a rise back. That the newer one has paused for that counts all the same."""
    newer = await world.begin(steps=[{"weight": 10, "hold": "60s"}, {"weight": 50, "hold": "1h"}], checks=[check()])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    older = await an_older_one(world)
    await world.pass_(10)
    await newer.kill()
    assert (world.intent() or {})["turn"] == older.manager.deps.fence.turn
    conditions = [
        {**said, "status": "False", "reason": "AsExpected", "message": ""} if said["type"] == "Stalled" else said
        for said in world.status()["conditions"]
    ]
    paused = {"reason": "LoweredByHand", "message": "somebody lowered it", "since": world.status()["recordedAt"]}
    status = {"phase": "Paused", "paused": paused, "conditions": conditions}
    await world.admin.merge_patch(ROLLOUTS, "shop", world.namespace, {"status": status}, subresource="status")
    await world.pass_(120)
    assert (world.phase(), world.status()["paused"]["reason"]) == ("Paused", "LoweredByHand")
    assert world.weights() == (90, 10)


MANY = 300


async def test_very_many_that_cannot_be_read_all_at_once_cost_one_write_each(world: World) -> None:
    """A controller that was downgraded: each is said to be Invalid once. Then they cost no request, and no task, whatever they refer to does."""
    await world.furnish()
    names = [f"shop-{number}" for number in range(MANY)]
    for name in names:
        document = rollout_document(name, workloads=None, checks=None, trigger="Manual")
        document["spec"]["canary"]["service"] = f"canary-{name}"
        await world.create(ROLLOUTS, document)
    instance = await an_older_one(world)
    await world.until(lambda: all(world.phase(name) == "Invalid" for name in names))
    await world.pass_(60)
    assert len(world.writes()) == MANY
    asked = len(world.audited())
    await world.pass_(600)
    for number in range(1, 10):
        await world.set_weights(world.alice, number, 0)
        await world.pass_(2)
    assert len(world.audited()) == asked
    assert instance.manager.reconciling == frozenset()
