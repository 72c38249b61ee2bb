"""Scaling on an API server: by the scale subresource alone, against no autoscaler, and given back at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from controller_kit import CONTROLLER, World, check, clean, deployment_document

from canary.kube import DEPLOYMENTS, HPAS, ROLLOUTS
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = [{"weight": 10, "hold": "2s"}, {"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "2s"}]


def deployment(world: World, name: str = "canary") -> Any:
    found = world.find(DEPLOYMENTS, name)
    assert found is not None
    return found


def replicas(world: World, name: str = "canary") -> int:
    return int(deployment(world, name)["spec"]["replicas"])


async def scale(world: World, number: int, name: str = "canary") -> None:
    """Somebody scales a Deployment."""
    body = {"spec": {"replicas": number}}
    await world.alice.merge_patch(DEPLOYMENTS, name, world.namespace, body, subresource="scale")
    await world.settle()


async def release(world: World) -> None:
    """A new image; of replicas the manifest says nothing, as with an autoscaler."""
    template = deployment_document("canary", 2)["spec"]["template"]
    await world.gitops.merge_patch(DEPLOYMENTS, "canary", world.namespace, {"spec": {"template": template}})


async def begin(world: World, *, canary: int = 0, stable: int = 4, **declared: Any) -> None:
    """A world whose canary has so many replicas at rest."""
    await world.begin(scale={"canary": "MatchShare", **declared}, steps=STEPS, checks=[check()])
    await scale(world, stable, "stable")
    await scale(world, canary)


def ours(world: World) -> list[Any]:
    """What is on record as written by the controller."""
    entries = deployment(world)["metadata"].get("managedFields") or []
    return [entry for entry in entries if entry["manager"] == "canary"]


async def test_a_canary_at_zero_grows_with_its_share_and_goes_after_the_run(world: World) -> None:
    """Every share has its replicas before it is written; in the end there are none, and nothing of ours is on record."""
    await begin(world)
    await release(world)
    seen: list[tuple[int, int]] = []
    await world.until(lambda: seen.append((world.weights()[1], replicas(world))) or world.phase() == "Succeeded")
    for share, there in seen:
        assert there >= {0: 0, 10: 1, 50: 2, 100: 4}[share]
    assert (replicas(world), replicas(world, "stable")) == (4, 4)
    await world.pass_(29)
    assert replicas(world) == 4
    await world.pass_(3)
    assert replicas(world) == 0
    assert ours(world) == []
    assert list(clean(world)) == []
    assert "scale" not in world.status()
    written = {
        entry.subresource for entry in world.writes() if entry.resource == "deployments" and entry.name == "canary"
    }
    assert written - {""} == {"scale"}, (
        "what is not by the subresource gives the ownership back, where a write of none has not done that"
    )
    assert (await world.reasons()).count("CanaryScaled") == 4


async def test_the_owner_applies_replicas_after_a_run_without_a_conflict(world: World) -> None:
    """What a run took is the owner's again: nobody has to force anything."""
    await begin(world, canary=1)
    await release(world)
    await world.until(lambda: world.weights()[1] == 50)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.pass_(35)
    assert (replicas(world), ours(world)) == (0, [])
    await scale(world, 2)
    await world.pass_(60)
    assert replicas(world) == 2, "at rest it is its owner's"


async def test_an_autoscaler_that_targets_the_canary_is_left_alone(world: World) -> None:
    """The run waits until it has made the canary large enough, and says who is waited for."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "canary"}
    scaler = {
        "apiVersion": HPAS.api_version,
        "kind": HPAS.kind,
        "metadata": {"name": "canary"},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10},
    }
    await begin(world, canary=1)
    await world.create(HPAS, scaler)
    await release(world)
    await world.until(lambda: "scales it, so we do not" in world.message())
    assert "HorizontalPodAutoscaler canary" in world.message()
    assert world.weights()[1] == 10
    assert not [entry for entry in world.writes() if entry.subresource == "scale"]
    await scale(world, 4)
    await world.until(lambda: world.phase() == "Succeeded")
    await world.pass_(60)
    assert replicas(world) == 4


async def test_without_scale_nobody_asks_for_autoscalers(world: World) -> None:
    """Neither a list nor a watch, nor a write of replicas."""
    await world.begin(steps=STEPS)
    await release(world)
    await world.until(lambda: world.phase() == "Succeeded")
    asked = {entry.resource for entry in world.audited(CONTROLLER)}
    assert "horizontalpodautoscalers" not in asked
    assert not [entry for entry in world.writes() if entry.subresource == "scale"]


async def test_a_refused_write_of_replicas_is_said_and_holds_nothing_else_up(world: World) -> None:
    """Without the right the Rollout says which is missing; an abort goes through all the same."""
    denied = Fault(verb="patch", resource="deployments", subresource="scale", status=403, times=None)
    await begin(world, canary=1)
    world.api.faults.add(denied)
    await release(world)
    await world.until(lambda: "cannot be scaled" in world.message())
    assert "2 replicas" in world.message()
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.weights() == (1, 0)


async def test_a_controller_that_dies_at_the_scaling_is_followed_by_one_that_goes_on(world: World) -> None:
    """Before the write or after it: no number is asked for twice, and none is forgotten."""

    def cut(_index: int, request: Any) -> str:
        return "after" if request.path.endswith("/scale") else ""

    await world.begin(scale={"canary": "MatchShare"}, steps=STEPS, checks=[check()], cut=cut)
    await scale(world, 4, "stable")
    await release(world)
    await world.pass_(10)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Succeeded")
    await world.pass_(40)
    assert (replicas(world), ours(world)) == (0, [])


async def test_a_drain_outlives_the_controller(world: World) -> None:
    """Whoever comes next takes the replicas away, late as it is, and lets the Rollout go."""
    instance = await world.begin(scale={"canary": "MatchShare"}, steps=STEPS, checks=[check()])
    await release(world)
    await world.until(lambda: world.weights()[1] == 10)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack")
    await world.settle()
    await instance.stop()
    await world.pass_(300, pace=30)
    assert replicas(world) == 1
    await world.start_controller()
    await world.until(lambda: replicas(world) == 0)
    await world.pass_(5)
    assert list(clean(world)) == []


async def test_a_deletion_in_the_middle_of_a_run_leaves_no_replicas(world: World) -> None:
    """The route is back at once; the Rollout goes when its canary has drained."""
    await begin(world)
    await release(world)
    await world.until(lambda: world.weights()[1] == 50)
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.weights() == (1, 0), within=5)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=60)
    assert (replicas(world), ours(world)) == (0, [])


def patches(world: World, resource: str, subresource: str = "") -> int:
    """How many patches were sent so far."""
    return sum(entry.resource == resource and entry.subresource == subresource for entry in world.writes())


@pytest.mark.parametrize("how", ["changed", "refused"])
async def test_a_policy_that_holds_the_replicas_is_named_and_not_besieged(world: World, how: str) -> None:
    """Ever more rarely it is tried again; nobody says that the canary has, or is about to have, what it has not."""

    def one(body: bytes) -> bytes:
        ops = json.loads(body)
        return json.dumps([op | {"value": 1} if op["path"] == "/spec/replicas" else op for op in ops]).encode()

    where: Any = {"verb": "patch", "resource": "deployments", "subresource": "scale", "times": None}
    policy = Fault(**where, rewrite=one) if how == "changed" else Fault(**where, status=403)
    await begin(world, canary=1)
    world.api.faults.add(policy)
    await release(world)
    await world.until(lambda: "cannot be scaled" in world.message())
    before = patches(world, "deployments", "scale")
    await world.pass_(300)
    assert (world.weights()[1], replicas(world)) == (10, 1)
    assert 2 <= patches(world, "deployments", "scale") - before <= 20, (
        "at the pace of a write that somebody may mend: once a minute"
    )
    if how == "changed":
        assert "keeps 1 replicas" in world.message()
    await world.until(lambda: world.phase() == "RolledBack")
    before = patches(world, "deployments", "scale")
    await world.pass_(600)
    assert patches(world, "deployments", "scale") - before <= 4
    assert "canary cannot be scaled to 0" in world.message()
    world.api.faults.remove(policy)
    await world.until(lambda: replicas(world) == 0)
    await world.until(lambda: "cannot be scaled" not in world.message().partition("rolled back")[2], within=5)
    await world.pass_(5)
    assert (ours(world), list(clean(world))) == ([], [])


async def test_a_policy_that_sets_the_weights_is_nobody_elses_hand(world: World) -> None:
    """What the API server makes of our own write, no person has raised: the run says so, ends at once, and gets its rollback through."""

    def half(body: bytes) -> bytes:
        ops = json.loads(body)
        return json.dumps([op | {"value": 50} if op["path"].endswith("/weight") else op for op in ops]).encode()

    await world.begin(steps=STEPS, onFailure="Pause")
    policy = world.api.faults.add(Fault(verb="patch", resource="httproutes", times=None, rewrite=half, user=CONTROLLER))
    await release(world)
    await world.until(lambda: "admission webhook or policy changes our write" in world.message())
    before = patches(world, "httproutes")
    await world.pass_(50)
    assert patches(world, "httproutes") - before <= 60  # a rollback keeps its own pace
    assert (world.phase(), world.status()["run"]["reason"]) == ("RollingBack", "NotAccepted")
    assert "RaisedByOther" not in await world.reasons()
    world.api.faults.remove(policy)
    await world.until(lambda: world.weights()[1] == 0 and world.phase() == "RolledBack", within=60)


async def test_of_a_share_that_a_policy_holds_nobody_says_that_it_was_put_back(world: World) -> None:
    """A person has raised it, and our write is refused: both are said, and the run goes no further."""
    await world.begin(steps=[{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1s"}], acceptTimeout="10m")
    await release(world)
    await world.until(lambda: world.weights()[1] == 10)
    await world.settle()
    refusing = Fault(verb="patch", resource="httproutes", status=403, times=None, user=CONTROLLER)
    world.api.faults.add(refusing)
    await world.set_weights(world.alice, 50, 50)
    await world.pass_(60)
    told = [event for event in await world.events() if event["reason"] in {"RaisedByOther", "WriteFailed"}]
    assert [event["reason"] for event in told][:2] in (
        ["RaisedByOther", "WriteFailed"],
        ["WriteFailed", "RaisedByOther"],
    )
    (raised,) = [event["message"] for event in told if event["reason"] == "RaisedByOther"]
    assert raised.startswith("alice changed the canary's share")
    assert raised.endswith("; putting it back to 10 %")
    before = patches(world, "httproutes")
    await world.pass_(120)
    assert 1 <= patches(world, "httproutes") - before <= 30
    world.api.faults.remove(refusing)
    await world.until(lambda: world.weights()[1] == 10, within=15)


@pytest.mark.parametrize("scaled", [True, False], ids=["with scale", "without"])
@pytest.mark.parametrize("how", ["applied", "scaled"])
async def test_who_takes_the_canary_to_zero_in_a_run_is_named(world: World, scaled: bool, how: str) -> None:
    """Argo CD puts its own 0 back, or somebody scales: its weight goes at once, and whoever reads it knows who it was, and when."""
    await world.begin(scale={"canary": "MatchShare"} if scaled else None, steps=[{"weight": 50, "hold": "1h"}])
    await release(world)
    await world.until(lambda: world.weights()[1] == 50)
    argo = await world.person("argocd-controller")
    body, where = {"spec": {"replicas": 0}}, "scale" if how == "scaled" else None
    await argo.merge_patch(DEPLOYMENTS, "canary", world.namespace, body, subresource=where)
    await world.until(lambda: world.weights()[1] == 0, within=5)
    entries = deployment(world)["metadata"]["managedFields"]
    times = [entry["time"] for entry in entries if entry["manager"] == "argocd-controller"]
    assert times or how == "scaled", "of a scale subresource that is written to none a real server keeps no record"
    named = f"argocd-controller set its replicas to 0 at {times[0][11:19]} UTC on {times[0][:10]}" if times else ""
    (told,) = [event["message"] for event in await world.events() if event["reason"] == "CanaryUnavailable"]
    assert named in told
    assert bool(times) is ("set its replicas" in told)
    await world.until(lambda: "has no ready replica" in world.message(), within=5)
    assert named in world.message()
    await world.until(lambda: world.phase() == "RolledBack")
    assert named in world.message()
