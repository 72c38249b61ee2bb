"""Replicas are written once, against what was seen, for a decision that still holds; and given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from act_kit import NOW, TEAM, Bench, until, write

from canary.decide.actions import Action, ReleaseReplicas, ScaleWorkload
from canary.decide.facts import DENIED_FOR, WorkloadView
from canary.errors import Forbidden, StaleDecision
from canary.kube import DEPLOYMENTS, HTTPROUTES, ROLLOUTS
from canary.model.rollout import RouteKind
from canary.model.workloads import DEPLOYMENT
from canary.routes.intent import Mode
from canary.routes.key import RouteKey


async def perform(bench: Bench, action: Action, gate: Callable[[bool], None] = lambda _: None) -> list[str]:
    """What came of it: `performed`, `stale`, `failed`, or nothing."""
    world = await bench.see()
    result = await bench.executor.execute([action], world, NOW, gate=gate)
    await until(lambda: not bench.executor.busy)
    return [word for word in ("performed", "stale", "failed") if getattr(result, word)]


def seen(bench: Bench) -> WorkloadView:
    return bench.store.workloads["Deployment", TEAM, "canary"].view


async def replicas(bench: Bench) -> int:
    return int((await bench.kube.get(DEPLOYMENTS, "canary", TEAM))["spec"]["replicas"])


async def scale(bench: Bench, number: int) -> None:
    """Somebody else scales the canary."""
    await bench.other.merge_patch(DEPLOYMENTS, "canary", TEAM, {"spec": {"replicas": number}}, subresource="scale")


async def test_replicas_are_written_known_and_given_back(bench: Bench) -> None:
    """Up, down to none, and up from none. A real server names nobody from the first write of none on. In the end nothing is ours."""

    async def written(found: int, wanted: int) -> None:
        assert await perform(bench, ScaleWorkload("canary", found, wanted, DEPLOYMENT)) == ["performed"]
        assert await replicas(bench) == wanted
        assert (seen(bench).replicas, seen(bench).rolled_out) == (wanted, False), "known before any watch tells of it"
        assert seen(bench).scaled

    async def managers() -> set[str]:
        document = await bench.kube.get(DEPLOYMENTS, "canary", TEAM)
        return {entry["manager"] for entry in document["metadata"]["managedFields"]}

    await written(1, 3)
    assert await managers() == {"canary", "other"}
    assert await perform(bench, ReleaseReplicas("canary", DEPLOYMENT)) == ["performed"]
    assert (seen(bench).scaled, await managers()) == (False, {"other"})
    await written(3, 0)
    await written(0, 2)
    await perform(bench, ReleaseReplicas("canary", DEPLOYMENT))
    assert (seen(bench).scaled, await managers(), await replicas(bench)) == (False, {"other"}, 2)
    assert await perform(bench, ReleaseReplicas("canary", DEPLOYMENT)) == [], "there is nothing left to give back"


async def test_whoever_scaled_in_between_is_seen_and_left_alone(bench: Bench) -> None:
    """The decision knew of one replica: it is decided anew by what there is."""
    await bench.see()
    await scale(bench, 5)
    world = await bench.see()
    bench.store.put_scale(
        (TEAM, "canary"), {"metadata": {**world.rollout["metadata"], "uid": "other"}, "spec": {"replicas": 9}}
    )
    assert seen(bench).replicas == 5, "the answer about another object changes nothing"
    assert await perform(bench, ScaleWorkload("canary", 1, 3, DEPLOYMENT)) == ["stale"]
    assert (await replicas(bench), seen(bench).replicas) == (5, 5)


async def test_a_decision_of_another_time_scales_nothing(bench: Bench) -> None:
    """Somebody has aborted, edited or ended meanwhile: what is in the Rollout counts."""
    world = await bench.see()
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, {"spec": {"paused": True}})
    result = await bench.executor.execute([ScaleWorkload("canary", 1, 3, DEPLOYMENT)], world, NOW)
    await until(lambda: not bench.executor.busy)
    assert (result.stale, await replicas(bench)) == (["ScaleWorkload(Deployment canary)"], 1)


async def test_a_canary_that_somebody_gives_users_keeps_its_replicas_however_late_the_watch_is(bench: Bench) -> None:
    """The decision rests on a route that is another one by now; what is there is known then, and decided by."""
    world = await bench.see()
    key = RouteKey(RouteKind.HTTP, TEAM, "shop")
    weight = [{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 50}]
    await bench.other.json_patch(HTTPROUTES, "shop", TEAM, weight)
    action = ScaleWorkload("canary", 1, 0, DEPLOYMENT, (key,))
    result = await bench.executor.execute([action], world, NOW)
    await until(lambda: not bench.executor.busy)
    assert (result.stale, await replicas(bench)) == (["ScaleWorkload(Deployment canary)"], 1)
    assert bench.store.routes[key].document["spec"]["rules"][0]["backendRefs"][1]["weight"] == 50
    await bench.other.delete(HTTPROUTES, "shop", TEAM)
    assert await perform(bench, action) == ["performed"], "a route that is gone sends nothing"


async def test_a_process_that_slept_scales_nothing(bench: Bench) -> None:
    """The gate is asked once more right before the patch: it may have slept while it read."""
    asked: list[bool] = []

    def gate(rising: bool) -> None:
        asked.append(rising)
        if len(asked) > 1:
            raise StaleDecision("slept")

    assert await perform(bench, ScaleWorkload("canary", 1, 0, DEPLOYMENT), gate) == ["stale"]
    assert (await replicas(bench), len(asked)) == (1, 2)


async def test_a_refusal_is_kept_until_it_is_over(bench: Bench) -> None:
    """So that the Rollout can say which right is missing."""
    bench.fault(resource="deployments", subresource="scale", status=403)
    assert await perform(bench, ScaleWorkload("canary", 1, 3, DEPLOYMENT)) == ["failed"]
    (trouble,) = bench.executor.scaling_trouble(NOW + DENIED_FOR / 2).items()
    assert trouble[0] == (DEPLOYMENT, "canary")
    assert isinstance(trouble[1], Forbidden)
    assert bench.executor.scaling_trouble(NOW + DENIED_FOR) == {}, "somebody may have granted the right"
    bench.backoffs.succeeded("ScaleWorkload(Deployment canary)")
    assert await perform(bench, ScaleWorkload("canary", 1, 3, DEPLOYMENT)) == ["performed"]
    assert bench.executor.scaling_trouble(NOW) == {}


@pytest.mark.usefixtures("impatient")
async def test_a_rollback_stands_behind_no_scaling(bench: Bench) -> None:
    """A server that takes its time over replicas takes none of the route's."""
    bench.fault(resource="deployments", subresource="scale", latency=1.0)
    world = await bench.see()
    actions: list[Any] = [ScaleWorkload("canary", 1, 3, DEPLOYMENT)]
    scaling = asyncio.create_task(bench.executor.execute(actions, world, NOW))
    await asyncio.sleep(0)
    await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], await bench.see(), NOW)
    refs = (await bench.kube.get(HTTPROUTES, "shop", TEAM))["spec"]["rules"][0]["backendRefs"]
    assert [ref["weight"] for ref in refs] == [100, 0]
    assert await replicas(bench) == 1, "that is still on its way"
    await scaling
    await until(lambda: not bench.executor.busy)
