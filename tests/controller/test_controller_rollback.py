"""Promise 3: once a run fails, its canary gets no more traffic, whatever else goes wrong."""

from __future__ import annotations

import asyncio
import time

import pytest
from controller_kit import (
    CONTROLLER,
    RUN_ANNOTATION,
    ControllerInstance,
    World,
    clean,
    pair_weights,
    really,
    route_document,
)

from canary.controller import observation, rereading
from canary.decide.actions import WriteRoute
from canary.decide.facts import Facts
from canary.decide.scope import Decision
from canary.kube import DEPLOYMENTS, HTTPROUTES
from canary.metrics.port import Query
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO = {"routes": [{"name": "shop"}, {"name": "api"}]}


def two() -> tuple[dict[str, object], ...]:
    return route_document("shop"), route_document("api")


def fault(world: World, **what: object) -> Fault:
    """A fault that hits the controller's writes in this namespace only."""
    return world.api.faults.add(Fault(**{"verb": "patch", "user": CONTROLLER, "namespace": world.namespace, **what}))  # type: ignore[arg-type]


async def test_the_rollback_is_the_first_write_after_the_failing_sample(world: World) -> None:
    """The patch that takes the traffic away is the first thing that is written after the sample, in the same tick."""
    instance = await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and bool(world.status()["step"].get("reachedAt")))
    await world.settle()
    marks: list[int] = []

    def bad(_query: Query, _now: object) -> float:
        marks.append(len(instance.line.sent))
        return 0.5

    world.provider.answers["errors"] = bad
    await world.until(lambda: world.phase() == "RolledBack")
    first = instance.line.sent[marks[0]]
    assert (first.method, first.resource) == ("PATCH", "httproutes")
    changes = {op["path"]: op["value"] for op in first.body if op["op"] != "test"}
    assert changes["/spec/rules/0/backendRefs/1/weight"] == 0
    assert '"mode":"rollback"' in changes["/metadata/annotations/run.canary.dev~1shop"]
    assert len(marks) == 1, "measured on although the run had failed"


async def test_a_rollback_waits_for_no_words_about_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a bug of ours in what people are to read of it comes after the patch that takes the traffic away."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and bool(world.status()["step"].get("reachedAt")))
    await world.settle()
    project, failures = observation.project, []

    def speechless(spec: RolloutSpec, decision: Decision, facts: Facts) -> RolloutStatus:
        if not failures and any(isinstance(action, WriteRoute) for action in decision.actions):
            failures.append(world.weights())
            raise AssertionError("no words")
        return project(spec, decision, facts)

    monkeypatch.setattr(observation, "project", speechless)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: bool(failures))
    assert failures == [(1, 0)]
    await world.until(lambda: world.phase() == "RolledBack")


@pytest.mark.parametrize(
    "trouble",
    [{"status": 500}, {"status": 409}, {"status": 429}, {"drop": True}, {"status": 500, "after_effect": True}],
    ids=["500", "409", "429", "connection lost", "500 after the effect"],
)
async def test_a_stuck_route_delays_no_other(world: World, trouble: dict[str, object]) -> None:
    """A route that cannot be written stays behind alone, and is written as soon as it can be."""
    await world.begin(*two(), **TWO)
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and world.weights("api") == (50, 50))
    stuck = fault(world, resource="httproutes", name="shop", times=None, **trouble)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.weights("api") == (1, 0) and stuck.hits > 0, pace=0.2)
    if "after_effect" not in trouble:
        await world.until(lambda: stuck.hits > 3, pace=0.2)
        assert world.phase() == "RollingBack"
        assert world.weights("shop") == (50, 50)
    world.api.faults.remove(stuck)
    await world.until(lambda: world.phase() == "RolledBack", within=120)
    await world.settle()
    assert world.weights("shop") == (1, 0)
    assert list(clean(world, "shop", "shop", "api")) == []


async def test_a_hanging_route_delays_no_other(world: World) -> None:
    """While the API server keeps the patch of one route waiting, the other one is back on stable."""
    await world.begin(*two(), **TWO)
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and world.weights("api") == (50, 50))
    await world.settle()
    fault(world, resource="httproutes", name="shop", latency=1.5)
    world.provider.answers["errors"] = 0.5
    world.clock.advance(2)
    await really(lambda: world.weights("api") == (1, 0), within=1)
    assert world.weights("shop") == (50, 50)
    await really(lambda: world.weights("shop") == (1, 0))
    await world.until(lambda: world.phase() == "RolledBack")


@pytest.mark.parametrize(
    "slow",
    [{"resource": "rollouts", "subresource": "status"}, {"resource": "httproutes", "name": "shop"}],
    ids=["status", "route"],
)
async def test_a_write_under_way_does_not_hold_up_a_rollback(world: World, slow: dict[str, object]) -> None:
    """A sample that fails while the API server keeps some other write waiting takes the traffic away at once."""
    await world.begin(*two(), **TWO)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    await world.settle()
    hanging = fault(world, latency=4, times=None, **slow)
    samples = 0

    def answer(_query: Query, _now: object) -> float:
        nonlocal samples
        samples += 1
        return 0.5 if hanging.hits else 0.0

    world.provider.answers["errors"] = answer
    deadline = time.monotonic() + 3
    while not (hanging.hits and world.weights("api") == (1, 0)):
        world.clock.advance(0.25)
        await asyncio.sleep(0.02)
        assert time.monotonic() < deadline, f"the rollback waited for another write ({hanging.hits} hits)"
    assert samples > 1
    world.api.faults.clear()
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.weights("shop") == (1, 0)


async def in_doubt(world: World, doubt: str) -> Fault:
    """A run at 50 % of which the controller wants to read its Rollout once more, where such a reading gets no answer."""
    instance = await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 2 and bool(world.status()["step"].get("reachedAt")))
    await world.settle()
    hanging = fault(world, verb="get", resource="rollouts", latency=6, times=None)
    match doubt:
        case "slept":
            instance.manager.deps.fence.epoch += 1
        case "raised":
            await world.set_weights(world.alice, 20, 80)
        case "lowered":
            await world.set_weights(world.alice, 80, 20)
    world.clock.advance(1.5)
    await really(lambda: hanging.hits > 0)
    return hanging


@pytest.mark.parametrize("why", ["measured", "asked"])
@pytest.mark.parametrize("doubt", ["slept", "raised", "lowered"])
async def test_a_rollback_waits_for_no_reading(world: World, doubt: str, why: str) -> None:
    """Who has slept, or would blame somebody, reads the Rollout first. A check that fails meanwhile, or an abort, is acted upon at once."""
    hanging = await in_doubt(world, doubt)
    if why == "measured":
        world.provider.answers["errors"] = 0.5
        world.clock.advance(31)
    else:
        await world.ask({"id": "1", "verb": "abort", "by": "alice"})
    begun = time.monotonic()
    await really(lambda: world.weights() == (1, 0), within=2, says=world._state)
    assert time.monotonic() - begun < rereading.PATIENCE / 2
    world.api.faults.remove(hanging)
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.status()["run"]["reason"] == ("CheckFailed" if why == "measured" else "Aborted")
    assert list(clean(world, "shop", "shop")) == []


@pytest.mark.parametrize("doubt", ["slept", "raised", "lowered"])
async def test_a_reading_that_gets_no_answer_holds_nothing_up_for_long(
    world: World, doubt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nobody can tell, and the run goes on by what is known."""
    monkeypatch.setattr(rereading, "PATIENCE", 0.5)
    hanging = await in_doubt(world, doubt)
    if doubt == "raised":
        await really(lambda: world.weights() == (50, 50), within=3, says=world._state)
    elif doubt == "lowered":
        await really(lambda: world.phase() == "Paused", within=3, says=world._state)
    else:
        await world.until(lambda: world.phase() == "Succeeded", within=600)
    hits = hanging.hits
    await world.pass_(20)
    assert hanging.hits - hits < 3, "it is asked once, and not again and again"


async def test_a_canary_without_replicas_loses_its_traffic(world: World) -> None:
    """When no replica of the canary is ready while it has traffic, the run is rolled back at once."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    now = world.clock.now()
    await world.workloads.lose("canary")
    await world.settle()
    assert world.weights()[1] == 0
    assert world.clock.now() == now
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.status()["run"]["reason"] == "CanaryUnavailable"
    assert "no ready replica" in world.message()


async def test_a_deleted_canary_loses_its_traffic(world: World) -> None:
    """The same when the workload is deleted."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.gitops.delete(DEPLOYMENTS, "canary", world.namespace)
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.weights() == (1, 0)


async def test_a_route_deleted_during_a_run_ends_it(world: World) -> None:
    """A run whose route is gone is rolled back on the others, and ends."""
    await world.begin(*two(), **TWO)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights("api") == (90, 10))
    await world.gitops.delete(HTTPROUTES, "shop", world.namespace)
    await world.until(lambda: world.phase() in {"RolledBack", "Invalid"})
    assert world.weights("api") == (1, 0)
    assert world.status()["run"]["reason"] == "RouteMissing"


async def test_a_gateway_that_never_answers_fails_the_run(world: World) -> None:
    """A weight that is not accepted within acceptTimeout is taken back; the hold never starts."""
    await world.begin(acceptTimeout="20s")
    await world.gateway.wait("shop")
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10))
    await world.pass_(15)
    assert world.weights() == (90, 10)
    assert "has not answered for generation" in world.message()
    await world.until(lambda: world.weights()[1] == 0, within=10)
    await world.gateway.accept("shop")
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.status()["run"]["reason"] == "NotAccepted"
    assert "within 20s" in world.status()["run"]["message"]


async def test_a_gateway_that_refuses_is_quoted(world: World) -> None:
    """The status says in the gateway's own words why a weight is not served."""
    await world.begin(acceptTimeout="20s")
    world.gateway.refusing["shop"] = "weights above 9 are not supported here"
    await world.deploy(2)
    await world.until(lambda: "weights above 9 are not supported here" in world.message())
    assert world.condition("RoutesAccepted")["status"] == "False"
    assert world.condition("RoutesAccepted")["reason"] == "Refused"
    await world.until(lambda: world.weights()[1] == 0)
    await world.gateway.accept("shop")
    await world.until(lambda: world.phase() == "RolledBack")


async def test_on_failure_pause_leaves_the_weight(world: World) -> None:
    """With onFailure Pause a failed check stops the run where it is, and says so; `abort` then takes the traffic away."""
    await world.begin(onFailure="Pause")
    await world.deploy(2)
    await world.until(lambda: world.step() == 2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "Paused")
    assert world.weights() == (50, 50)
    assert world.condition("Stalled")["status"] == "True"
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.weights() == (1, 0)


async def test_the_deadline_ends_a_run(world: World) -> None:
    """A run longer than its deadline is rolled back, also while it waits for a person."""
    await world.begin(deadline="1m", steps=[{"weight": 10, "approval": {}}, {"weight": 100}])
    await world.deploy(2)
    await world.until(lambda: world.condition("Reconciling").get("reason") == "AwaitingApproval")
    await world.until(lambda: world.phase() == "RolledBack", within=70)
    assert world.status()["run"]["reason"] == "DeadlineExceeded"


async def test_a_rolled_back_revision_waits_for_a_word(world: World) -> None:
    """What was rolled back is not tried again by itself, also not after a restart; `retry` tries it, a new revision too."""
    instance = await world.begin()
    await world.deploy(2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    await instance.kill()
    await world.start_controller()
    await world.pass_(120)
    assert (world.phase(), world.run_number()) == ("RolledBack", 1)
    world.provider.answers["errors"] = 0.0
    await world.ask("retry")
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.run_number() == 2


class Late(ControllerInstance):
    """One whose watches bring nothing: it knows what it is told by hand."""

    async def look_after(self, namespace: str) -> None:
        pass


async def test_a_controller_that_knows_half_of_what_happened_does_no_request_twice(world: World) -> None:
    """Its watch of routes is ahead of its watch of Rollouts: a retry waits that another has done, and whose run is lost again.

    The route tells of that run, so a next one would be its number's; what is on record by then says that it has ended.
    """
    first = await world.begin()
    world.provider.answers["errors"] = 0.5
    await world.deploy(2)
    await world.until(lambda: world.phase() == "RolledBack")
    await world.ask({"id": "again", "verb": "retry", "by": "alice"})
    await world.until(lambda: world.run_number() == 2 and world.phase() == "RolledBack")
    await world.settle()
    await first.stop()
    asked = next(
        version
        for version in world.records.versions["rollouts"]
        if REQUEST_ANNOTATION in version["metadata"].get("annotations", {}) and version["status"]["run"]["number"] == 1
    )
    lost = [
        version
        for version in world.records.versions["httproutes"]
        if '"run":2,"mode":"rollback"' in version["metadata"].get("annotations", {}).get(RUN_ANNOTATION, "")
    ][-1]
    late = await Late(world, held=True).start()
    for name in ("stable", "canary"):
        late.manager.workload("ADDED", await world.admin.get(DEPLOYMENTS, name, world.namespace))
    late.manager.route("ADDED", lost)
    late.manager.rollout("ADDED", asked)
    await late.manager.begin()
    await world.settle()
    await world.pass_(30)
    await late.stop()
    assert (world.run_number(), world.phase(), world.weights()) == (2, "RolledBack", (1, 0))
    given = [
        version for version in world.records.versions["httproutes"] if pair_weights(version["spec"]["rules"][0])[1]
    ]
    assert all('"run":3' not in version["metadata"]["annotations"][RUN_ANNOTATION] for version in given)


async def test_a_record_that_is_refused_is_tried_ever_more_rarely_and_said_once(world: World) -> None:
    """As an admission policy does. The rollback waits for none of it, what is new is tried at once; when it may be written, it is, and all of it."""
    await world.begin(steps=[{"weight": 10, "hold": "1h"}])
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10) and bool(world.status()["step"].get("settledAt")))
    await world.settle()
    denial = fault(world, resource="rollouts", subresource="status", status=422, times=None)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.weights()[1] == 0)
    await world.pass_(60)
    at_first = denial.hits
    await world.pass_(600)
    assert denial.hits - at_first <= 600 / 30 + 1
    assert world.phase() == "Progressing"
    before = denial.hits
    await world.ask("retry")
    await world.settle()
    assert denial.hits > before, "somebody has asked for something: that is tried at once"
    world.api.faults.remove(denial)
    await world.until(lambda: bool(world.status()["run"].get("outcome")) or world.run_number() == 2, within=120)
    assert (await world.reasons()).count("StatusRefused") == 1
