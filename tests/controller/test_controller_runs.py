"""Whole runs: controller, API server, scripted metrics, a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from contextlib import AsyncExitStack

import pytest
from controller_kit import CONTROLLER, START, World, backend, check, clean, pair_weights, route_document, rule

from canary.act.executor import PATIENCE
from canary.controller.deps import OTHER_WRITES
from canary.errors import AlreadyExists, NotFound
from canary.kube import ROLLOUTS
from canary.kube.outage import WATCH
from canary.model.times import format_time, parse_time
from canary.observe.objects import FINALIZER
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_copy_runs_to_the_end(world: World) -> None:
    """A good version goes through every step, is copied to stable, and leaves nothing behind."""
    await world.begin()
    before = world.route()["spec"]
    await world.deploy(2)
    seen = []
    await world.until(lambda: seen.append(world.weights()) or world.phase() == "Succeeded")
    await world.settle()
    shares = [canary for index, (_, canary) in enumerate(seen) if index == 0 or seen[index - 1][1] != canary]
    assert shares == [0, 10, 50, 100, 0]
    assert world.image("stable") == "shop:2"
    assert list(clean(world)) == []
    refs = world.route()["spec"]["rules"][0]["backendRefs"]
    assert [ref["weight"] for ref in refs] == [1, 0]
    assert world.route()["spec"] == before
    assert world.condition("Ready")["status"] == "True"


async def test_a_failing_version_is_rolled_back(world: World) -> None:
    """A failing check puts all traffic back on stable; the revision is not tried again by itself."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    assert world.weights() == (1, 0)
    assert list(clean(world)) == []
    assert world.status()["run"]["reason"] == "CheckFailed"
    assert world.image("stable") == "shop:1"
    await world.pass_(60)
    assert world.phase() == "RolledBack"


async def test_await_returns_traffic_when_stable_has_it(world: World) -> None:
    """Await leaves everything on the canary until somebody brings stable to the same revision."""
    await world.begin(promotion="Await")
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Promoting")
    await world.pass_(300, pace=30)
    assert (world.phase(), world.weights()) == ("Promoting", (0, 100))
    assert "waiting for stable to run revision" in world.message()
    world.workloads.hold("stable")
    await world.deploy(2, "stable")
    await world.pass_(60)
    assert world.weights() == (0, 100), "it is rolled out only when its replicas are ready"
    await world.workloads.release("stable")
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.weights() == (1, 0)
    assert "CopyPodSpec" not in str(await world.events())


async def test_await_without_workloads(world: World) -> None:
    """With routes alone a run is started and ended by requests."""
    await world.begin(workloads=None)
    await world.ask("start")
    await world.until(lambda: world.phase() == "Promoting")
    await world.pass_(60)
    assert world.weights() == (0, 100)
    await world.ask("promote")
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.weights() == (1, 0)
    assert list(clean(world)) == []


async def test_swap_twice(world: World) -> None:
    """After Swap the two have changed roles: the next run is about the other workload, in the other direction."""
    await world.begin(promotion="Swap")
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.weights() == (0, 1)
    assert world.status()["swapped"] is True
    await world.pass_(60)
    assert world.run_number() == 1
    await world.deploy(3, "stable")
    seen: list[int] = []
    await world.until(
        lambda: seen.append(world.weights()[0]) or (world.phase() == "Succeeded" and world.run_number() == 2)
    )  # type: ignore[func-returns-value]
    assert [share for index, share in enumerate(seen) if index == 0 or share != seen[index - 1]] == [0, 10, 50, 100, 1]
    assert world.weights() == (1, 0)
    assert not world.status().get("swapped")
    assert list(clean(world)) == []


async def test_a_swapped_run_that_fails(world: World) -> None:
    """A rollback in changed roles puts everything on what is stable now."""
    await world.begin(promotion="Swap")
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    await world.deploy(3, "stable")
    await world.until(lambda: world.run_number() == 2 and world.step() == 2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.weights() == (0, 1)
    assert world.status()["swapped"] is True


async def test_approval(world: World) -> None:
    """A step with approval waits for `canary promote` for as long as it takes."""
    await world.begin(steps=[{"weight": 10}, {"approval": {}}, {"weight": 100}], checks=[check(interval="30s")])
    await world.deploy(2)
    await world.until(lambda: world.condition("Reconciling").get("reason") == "AwaitingApproval")
    await world.pass_(3600, pace=60)
    assert (world.step(), world.weights()) == (2, (90, 10))
    await world.ask("promote")
    await world.until(lambda: world.phase() == "Succeeded")


async def test_hold_begins_with_acceptance(world: World) -> None:
    """A step holds its time from when the gateway accepted it, not from when it was written."""
    await world.begin(steps=[{"weight": 10, "hold": "30s"}, {"weight": 100}])
    await world.gateway.wait("shop")
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10))
    await world.pass_(20)
    await world.gateway.accept("shop")
    await world.settle()
    accepted = world.clock.now()
    await world.until(lambda: world.weights() == (0, 100))
    assert 30 <= (world.clock.now() - accepted).total_seconds() < 32


async def test_a_canary_that_is_not_ready_gets_nothing(world: World) -> None:
    """No traffic before the new revision is rolled out."""
    await world.begin()
    world.workloads.hold("canary")
    await world.deploy(2)
    await world.pass_(300, pace=30)
    assert world.weights() == (1, 0)
    assert "waiting for canary to roll out" in world.message()
    await world.workloads.release("canary")
    await world.until(lambda: world.phase() == "Succeeded")


async def test_copy_waits_for_stable(world: World) -> None:
    """Traffic returns only when every replica of stable runs the copied pod spec; `abort` before that puts it back."""
    await world.begin()
    world.workloads.hold("stable")
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Promoting" and world.image("stable") == "shop:2")
    await world.pass_(120, pace=10)
    assert (world.phase(), world.weights()) == ("Promoting", (0, 100))
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.image("stable") == "shop:1"
    assert world.weights() == (1, 0)


async def test_a_new_revision_takes_over(world: World) -> None:
    """A new revision during a run sends traffic back to stable and starts again at step one, as the next run."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
    world.workloads.hold("canary")
    await world.deploy(3)
    await world.until(lambda: world.run_number() == 2)
    await world.settle()
    assert world.weights()[1] == 0
    await world.workloads.release("canary")
    seen: list[int] = []
    await world.until(lambda: seen.append(world.weights()[1]) or world.phase() == "Succeeded")  # type: ignore[func-returns-value]
    assert 10 in seen
    assert world.image("stable") == "shop:3"
    assert "Superseded" in await world.reasons()


async def test_an_edit_of_the_plan_starts_again(world: World) -> None:
    """Other steps during a run: traffic back to stable, and from step one with the new ones."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
    await world.edit(steps=[{"weight": 20, "hold": "2s"}, {"weight": 100}])
    await world.until(lambda: world.run_number() == 2 and world.step() >= 0)
    seen: list[int] = []
    await world.until(lambda: seen.append(world.weights()[1]) or world.phase() == "Succeeded")  # type: ignore[func-returns-value]
    assert {20, 100} <= set(seen)
    assert 50 not in seen[1:]


async def test_an_edit_of_the_checks_does_not(world: World) -> None:
    """Checks may be edited in the middle of a run: the next measurement is by the new ones, the step stays."""
    await world.begin(steps=[{"weight": 10, "hold": "10m"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.pass_(5)
    world.provider.answers["errors"] = 0.005
    await world.edit(checks=[check(threshold={"max": "0.1%"})])
    await world.until(lambda: world.phase() == "RolledBack", within=10)
    assert world.run_number() == 1


async def test_deletion_during_a_run(world: World) -> None:
    """A Rollout deleted during a run puts the route back as it was, and goes."""
    await world.begin()
    before = world.route()["spec"]
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
    assert world.finalizers() == [FINALIZER]
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=5)
    assert world.route()["spec"] == before
    assert world.intent() is None


async def test_deletion_while_no_controller_runs(world: World) -> None:
    """A Rollout deleted while the controller is away stays until it is back, and is then tidied up."""
    instance = await world.begin()
    before = world.route()["spec"]
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
    await instance.kill()
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.settle()
    assert world.find(ROLLOUTS, "shop") is not None
    await world.start_controller()
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=5)
    assert world.route()["spec"] == before


async def test_deletion_during_the_copy(world: World) -> None:
    """A Rollout deleted while it copies also takes the copy back: stable runs what it ran before."""
    await world.begin()
    world.workloads.hold("stable")
    await world.deploy(2)
    await world.until(lambda: world.image("stable") == "shop:2")
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=5)
    assert world.image("stable") == "shop:1"
    assert world.weights() == (1, 0)


async def test_deleted_and_declared_again(world: World) -> None:
    """A Rollout under the same name is another Rollout: nothing of the old one is remembered."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.declare(trigger="Manual")
    await world.until(lambda: world.phase() == "Idle")
    await world.settle()
    assert world.run_number() == 0


async def test_the_finalizer_is_there_only_during_a_run(world: World) -> None:
    """An idle Rollout can be deleted without asking us; during a run it cannot."""
    await world.begin()
    assert world.finalizers() == []
    await world.deploy(2)
    held: list[bool] = []
    await world.until(
        lambda: held.append(world.weights()[1] == 0 or FINALIZER in world.finalizers()) or world.phase() == "Succeeded"  # type: ignore[func-returns-value]
    )
    await world.settle()
    assert all(held)
    assert world.finalizers() == []


async def test_a_restart_in_the_middle_of_a_hold(world: World) -> None:
    """A controller that is killed during a hold goes on with that very hold, from where it was on record."""
    instance = await world.begin(steps=[{"weight": 10, "hold": "60s"}, {"weight": 100}])
    await world.deploy(2)
    await world.until(lambda: bool((world.status().get("step") or {}).get("holdUntil")) and world.step() == 1)
    until = parse_time(world.status()["step"]["holdUntil"])
    await world.pass_(20)
    await instance.kill()
    before = len(world.writes())
    await world.start_controller()
    await world.pass_(5)
    assert len([entry for entry in world.writes()[before:] if entry.resource == "httproutes"]) == 1, (
        "it puts its turn there"
    )
    assert world.weights() == (90, 10)
    await world.until(lambda: world.weights() == (0, 100))
    assert 0 <= (world.clock.now() - until).total_seconds() <= 28, "what nobody saw pass is held once more"
    await world.until(lambda: world.phase() == "Succeeded")


async def test_a_restart_while_somebody_deploys(world: World) -> None:
    """A version deployed while no controller ran starts its run when one is back."""
    instance = await world.begin()
    await instance.stop()
    await world.deploy(2)
    await world.settle()
    await world.start_controller()
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.run_number() == 1


async def test_first_sight_starts_nothing(world: World) -> None:
    """On first sight of a Rollout the canary's revision is taken as settled, also when it differs from stable's."""
    await world.furnish()
    await world.deploy(2)
    await world.declare()
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.pass_(60)
    assert (world.phase(), world.weights(), world.run_number()) == ("Idle", (1, 0), 0)


async def test_fractional_shares_are_exact(world: World) -> None:
    """Half a percent of the pair is not rounded away, and third backends keep their weight."""
    before = {"third": 25, "stable": 200, "canary": 0}
    await world.begin(
        route_document("shop", rule(*(backend(name, weight) for name, weight in before.items()))),
        steps=[{"weight": "0.5%", "hold": "5s"}],
    )
    await world.deploy(2)

    def weights() -> dict[str, int]:
        return {ref["name"]: ref["weight"] for ref in world.route()["spec"]["rules"][0]["backendRefs"]}

    await world.until(lambda: world.step() == 1 and world.weights()[1] > 0)
    assert weights() == {"third": 25, "stable": 199, "canary": 1}
    await world.until(lambda: world.phase() == "Succeeded")
    assert weights() == before


async def test_an_api_server_that_loses_its_watches(world: World) -> None:
    """Dropped watches and forgotten history in the middle of a run change nothing but time."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    world.api.compact()
    world.api.drop_watches()
    world.horizon = WATCH.longest  # they come back by the real clock: the other one waits for that
    await world.until(lambda: world.phase() == "Succeeded")


async def test_an_api_server_that_fails_at_random(world: World) -> None:
    """With every third write of the controller failing, some after they took effect, the run still ends well."""
    await world.begin()
    for status, after in ((500, False), (409, False), (503, True), (429, False), (500, True)):
        world.api.faults.add(
            Fault(verb="patch", user=CONTROLLER, namespace=world.namespace, status=status, after_effect=after, times=3)
        )
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")
    await world.settle()
    assert list(clean(world)) == []
    assert world.weights() == (1, 0)


async def test_another_rollout_of_the_same_name(world: World) -> None:
    """A Rollout torn out of a run and declared again is another one: the run is over, and its weights are taken back."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50))
    document = world.rollout()
    await world.gitops.merge_patch(ROLLOUTS, "shop", world.namespace, {"metadata": {"finalizers": None}})
    with contextlib.suppress(NotFound):
        await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    while True:  # our finalizer may be back already
        try:
            await world.declare()
            break
        except AlreadyExists:
            await world.settle()
    await world.until(
        lambda: (
            (world.find(ROLLOUTS, "shop") or document)["metadata"]["uid"] != document["metadata"]["uid"]
            and world.phase() == "Idle"
        )
    )
    await world.settle()
    assert world.weights() == (1, 0)
    assert world.intent() is None


async def test_news_of_an_end_may_come_late(world: World) -> None:
    """The end of an old Rollout that is told after the beginning of its successor takes nothing away."""
    instance = await world.begin()
    old = world.rollout()
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None)
    await world.declare()
    await world.until(lambda: world.phase() == "Idle")
    instance.manager.rollout("DELETED", old)
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Succeeded")


async def test_no_raise_without_acceptance(world: World) -> None:
    """As long as a gateway has not accepted a step, no measurement however good leads to the next one."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    await world.gateway.wait("shop")
    await world.until(lambda: world.weights() == (50, 50))
    asked = len(world.provider.calls)
    await world.pass_(30)
    assert world.weights() == (50, 50)
    assert len(world.provider.calls) - asked > 10
    await world.gateway.accept("shop")
    await world.until(lambda: world.phase() == "Succeeded")


async def test_another_uid_in_the_middle_of_a_run(world: World) -> None:
    """When a reconciler finds another Rollout under its name, it forgets the run it had; the routes are put back."""
    instance = await world.begin(steps=[{"weight": 10, "hold": "1h"}], checks=[check(interval="60s")])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    other = copy.deepcopy(world.rollout())
    metadata = other["metadata"]
    metadata.update(uid="another", resourceVersion=str(int(metadata["resourceVersion"]) + 1), finalizers=[])
    del other["status"]
    instance.manager.rollout("ADDED", other)
    await world.until(lambda: world.weights() == (1, 0), within=30)
    await world.pass_(5)
    assert world.phase() == "Progressing", "what is on record of the Rollout that is really there is not written over"


async def test_a_status_that_waited_for_its_place_writes_over_nothing(world: World) -> None:
    """A status is decided, and stands in line behind thirty-two slow writes. Meanwhile another controller records how the run
    has ended, which ours takes note of: what stood in line was decided before that."""
    instance = await world.begin(steps=[{"weight": 10, "approval": {}}], checks=[])
    limit = instance.manager.deps.limit
    async with AsyncExitStack() as places:
        for number in range(OTHER_WRITES):
            await places.enter_async_context(limit.held(f"elsewhere-{number}"))
        await world.ask({"id": "1", "verb": "start", "by": "alice"})
        await world.settle()
        await asyncio.sleep(2 * PATIENCE)  # real time: so long a tick waits for what it has under way
        await world.settle()
        run = {
            "number": 1,
            "startedAt": format_time(START),
            "outcome": "RolledBack",
            "reason": "Aborted",
            "message": "so",
        }
        ended = {"phase": "RolledBack", "run": run | {"endedAt": format_time(START)}, "message": "so"}
        await world.admin.merge_patch(ROLLOUTS, "shop", world.namespace, {"status": ended}, subresource="status")
        await world.ask("resume")  # anything at all that makes it look
        await world.settle()
        await asyncio.sleep(2 * PATIENCE)
    await world.settle()
    outcomes = [
        (version["status"].get("phase"), (version["status"].get("run") or {}).get("outcome"))
        for version in world.records.versions["rollouts"]
        if version.get("status")
    ]
    recorded = outcomes.index(("RolledBack", "RolledBack"))
    assert set(outcomes[recorded:]) == {("RolledBack", "RolledBack")}


async def test_a_prepared_rule_is_moved_by_its_name(world: World) -> None:
    """Who opts in gets the canary first, everybody else follows step by step, and at the end both rules are as they were."""
    matches = [{"path": {"type": "PathPrefix", "value": "/"}}]
    opted_in = [{**matches[0], "headers": [{"type": "Exact", "name": "x-beta", "value": "yes"}]}]
    route = route_document("shop", rule(name="beta", matches=opted_in), rule(name="everybody", matches=matches))
    steps = [{"weight": 0, "rules": {"beta": 100}, "hold": "2s"}, {"weight": 50, "hold": "2s"}]
    await world.begin(route, steps=steps)
    before = world.route()["spec"]
    await world.deploy(2)
    seen: list[list[tuple[int, int]]] = []

    def shares() -> list[tuple[int, int]]:
        return [pair_weights(each) for each in world.route()["spec"]["rules"]]

    await world.until(lambda: seen.append(shares()) or world.step() == 1)
    await world.settle()
    assert shares() == [(0, 100), (1, 0)]
    assert (world.status()["split"]["written"], world.status()["routes"][0]["shares"]) == (0, {"beta": 100})
    await world.until(lambda: seen.append(shares()) or world.phase() == "Succeeded")
    await world.settle()
    assert [found for found, last in zip(seen, [None, *seen], strict=False) if found != last] == [
        [(1, 0), (1, 0)],
        [(0, 100), (1, 0)],
        [(0, 100), (50, 50)],
        [(1, 0), (1, 0)],
    ]
    assert world.route()["spec"] == before
    assert list(clean(world)) == []


async def test_a_failure_among_those_who_opt_in_is_rolled_back(world: World) -> None:
    """Nobody else ever had the canary, and nobody has it after."""
    route = route_document("shop", rule(name="beta"), rule(name="everybody"))
    await world.begin(route, steps=[{"rules": {"beta": 100}, "hold": "60s"}, {"weight": 50}])
    await world.deploy(2)
    await world.until(
        lambda: world.step() == 1 and world.route()["spec"]["rules"][0]["backendRefs"][1]["weight"] == 100
    )
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    assert [pair_weights(each) for each in world.route()["spec"]["rules"]] == [(1, 0), (1, 0)]
    assert list(clean(world)) == []
