"""The performer against a real API server that is told to fail."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from act_kit import NOW, TEAM, Bench, until, write

from canary.decide.actions import (
    AddFinalizer,
    ClearRequest,
    CopyPodSpec,
    ForgetPodSpec,
    RemoveFinalizer,
    RestorePodSpec,
    StampRequest,
    Tell,
)
from canary.errors import Conflict, Unavailable, Unprocessable
from canary.gateway.intent import Mode, parse_intent, run_annotation
from canary.kube import DEPLOYMENTS, HTTPROUTES, ROLLOUTS
from canary.model.requests import REQUEST_ANNOTATION, parse_request
from canary.observe.objects import FINALIZER, POD_SPEC_ANNOTATION, revision

RUN_ANNOTATION = run_annotation("shop")


async def test_weights_and_annotation_in_one_patch(bench: Bench) -> None:
    """One patch sets the weights and says why; what we know of the route is the answer to it."""
    done = await bench.performer.perform([write()], await bench.see(), NOW)
    assert done.performed == ["WriteRoute(shop, step)"]
    assert done.moved
    assert await bench.weights() == [50, 50]
    kept = bench.store.routes[TEAM, "shop"].document
    intent = parse_intent(kept["metadata"]["annotations"][RUN_ANNOTATION])
    assert intent is not None
    assert intent.mode is Mode.STEP
    patches = [entry for entry in bench.api.audit if entry.verb == "patch"]
    assert len(patches) == 1


async def test_nothing_to_change_is_no_request(bench: Bench) -> None:
    """A route that says already what it should costs no request."""
    await bench.performer.perform([write()], await bench.see(), NOW)
    world = await bench.see()
    before = len(bench.api.audit)
    await bench.performer.perform([write()], world, NOW)
    assert len(bench.api.audit) == before


async def test_release_takes_the_annotation_away(bench: Bench) -> None:
    """Without an intent the annotation goes, and everybody else's stays."""
    patch = {"metadata": {"annotations": {"example.org/owner": "team"}}}
    await bench.other.merge_patch(HTTPROUTES, "shop", TEAM, patch)
    await bench.performer.perform([write()], await bench.see(), NOW)
    await bench.performer.perform([write("shop", 90, 10, None)], await bench.see(), NOW)
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert document["metadata"]["annotations"] == {"example.org/owner": "team"}


@pytest.mark.parametrize("field", ["weights", "annotation"])
async def test_somebody_was_there_first(bench: Bench, field: str) -> None:
    """A write against a route that has moved changes nothing: it is read again, and counts as no failure."""
    world = await bench.see()
    seen = world.routes["shop"]
    if field == "weights":
        refs = [{**ref, "weight": 7} for ref in seen["spec"]["rules"][0]["backendRefs"]]
        patch: dict[str, Any] = {"spec": {"rules": [{"backendRefs": refs}]}}
    else:
        patch = {"metadata": {"annotations": {RUN_ANNOTATION: "{}"}}}
    theirs = await bench.other.merge_patch(HTTPROUTES, "shop", TEAM, patch)
    done = await bench.performer.perform([write()], world, NOW)
    assert done.stale == ["WriteRoute(shop, step)"]
    assert done.moved
    assert not done.failed
    assert bench.backoffs.next_try(NOW) is None
    now = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert now["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    assert (
        bench.store.routes[TEAM, "shop"].document["metadata"]["resourceVersion"]
        == theirs["metadata"]["resourceVersion"]
    )


async def test_a_refusal_of_the_content_stands(bench: Bench) -> None:
    """422 although nothing had moved is about what we wrote: it fails, rests, and is told to people once."""
    world = await bench.see()
    done = await bench.performer.perform([write("shop", -1, 101)], world, NOW)
    assert isinstance(done.failed["WriteRoute(shop, step)"], Unprocessable)
    assert not done.moved
    assert bench.backoffs.resting("WriteRoute(shop, step)", NOW)
    before = len(bench.api.audit)
    again = await bench.performer.perform([write("shop", -1, 101)], world, NOW)
    assert len(bench.api.audit) == before, "it rests"
    assert not again.failed
    events = await bench.events()
    assert [event["reason"] for event in events] == ["WriteFailed"]


@pytest.mark.parametrize(("status", "error"), [(500, Unavailable), (409, Conflict), (503, Unavailable)])
async def test_a_fault_fails_one_route_only(bench: Bench, status: int, error: type[Exception]) -> None:
    """A route that cannot be written rests; the other one is written."""
    bench.fault(resource="httproutes", name="shop", status=status)
    done = await bench.performer.perform([write(), write("api")], await bench.see(), NOW)
    assert isinstance(done.failed["WriteRoute(shop, step)"], error)
    assert done.performed == ["WriteRoute(api, step)"]
    assert await bench.weights("api") == [50, 50]
    assert await bench.weights() == [90, 10]


async def test_an_answer_that_got_lost(bench: Bench) -> None:
    """A write that took effect although its answer was 500 fails now, and is found done afterwards."""
    bench.fault(resource="httproutes", name="shop", status=500, after_effect=True)
    done = await bench.performer.perform([write()], await bench.see(), NOW)
    assert list(done.failed) == ["WriteRoute(shop, step)"]
    assert await bench.weights() == [50, 50]
    bench.backoffs.succeeded("WriteRoute(shop, step)")
    before = len(bench.api.audit)
    world = await bench.see()
    lists = len(bench.api.audit) - before
    await bench.performer.perform([write()], world, NOW)
    assert len(bench.api.audit) == before + lists


async def test_a_route_that_is_gone(bench: Bench) -> None:
    """404 drops the route from what we know; the next decision sees that it is missing."""
    world = await bench.see()
    await bench.other.delete(HTTPROUTES, "shop", TEAM)
    done = await bench.performer.perform([write()], world, NOW)
    assert done.stale == ["WriteRoute(shop, step)"]
    assert (TEAM, "shop") not in bench.store.routes


async def test_what_hangs_holds_up_nobody(bench: Bench) -> None:
    """A write without an answer goes on by itself: perform returns, is not sent twice, and its landing is told."""
    hanging = bench.fault(resource="httproutes", name="shop", latency=1.0)
    world = await bench.see()
    started = time.monotonic()
    done = await bench.performer.perform([write(), write("api")], world, NOW)
    assert time.monotonic() - started < 0.9
    assert done.performed == ["WriteRoute(api, step)"]
    assert bench.performer.busy
    await bench.performer.perform([write()], world, NOW)
    assert hanging.hits == 1
    await until(lambda: bool(bench.landed))
    assert not bench.performer.busy
    assert await bench.weights() == [50, 50]
    assert len([entry for entry in bench.api.audit if entry.verb == "patch" and entry.name == "shop"]) == 1


async def test_an_interrupt_ends_the_waiting(bench: Bench) -> None:
    """When a sample comes in, perform returns at once, whatever is under way."""
    bench.fault(resource="httproutes", name="shop", latency=1.0)
    world = await bench.see()
    interrupt = asyncio.Event()
    interrupt.set()
    started = time.monotonic()
    await bench.performer.perform([write()], world, NOW, interrupt=interrupt)
    assert time.monotonic() - started < 0.2


async def test_an_older_plan_goes_no_further(bench: Bench) -> None:
    """Actions that stand behind a hanging one are dropped when there is a newer decision."""
    bench.fault(resource="rollouts", latency=0.6)
    world = await bench.see()
    revised = revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    await bench.performer.perform([AddFinalizer(), CopyPodSpec("canary", "stable", revised)], world, NOW)
    await bench.performer.perform([write("shop", 100, 0, Mode.ROLLBACK)], world, NOW)
    await until(lambda: not bench.performer.busy)
    stable = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert stable["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"
    assert await bench.weights() == [100, 0]


async def test_a_rollback_overtakes_a_hanging_raise(bench: Bench) -> None:
    """A raise that is still on its way cannot land on top of the rollback that was sent after it."""
    bench.fault(resource="httproutes", name="shop", latency=0.6)
    world = await bench.see()
    await bench.performer.perform([write()], world, NOW)
    done = await bench.performer.perform([write("shop", 100, 0, Mode.ROLLBACK)], world, NOW, time.monotonic())
    assert done.performed == ["WriteRoute(shop, rollback)"]
    await until(lambda: not bench.performer.busy)
    assert await bench.weights() == [100, 0]
    assert len(bench.rollbacks) == 1
    assert 0 <= bench.rollbacks[0] < 1


async def test_stop_ends_what_is_under_way(bench: Bench) -> None:
    """After stop nothing of ours is under way."""
    bench.fault(resource="httproutes", name="shop", latency=30.0)
    await bench.performer.perform([write()], await bench.see(), NOW)
    assert bench.performer.busy
    await bench.performer.stop()
    assert not bench.performer.busy


@pytest.mark.parametrize("others", [None, ["example.org/other"]])
async def test_finalizer(bench: Bench, others: list[str] | None) -> None:
    """Ours comes and goes, everybody else's stays."""
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, {"metadata": {"finalizers": others}})
    for _ in range(2):  # the second time there is nothing to do
        await bench.performer.perform([AddFinalizer()], await bench.see(), NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert document["metadata"]["finalizers"] == [*(others or []), FINALIZER]
    for _ in range(2):
        await bench.performer.perform([RemoveFinalizer()], await bench.see(), NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert document["metadata"].get("finalizers", []) == (others or [])


async def test_the_last_finalizer_lets_the_object_go(bench: Bench) -> None:
    """The answer to the patch that lets a Rollout go does not bring it back into what we know."""
    await bench.performer.perform([AddFinalizer()], await bench.see(), NOW)
    await bench.other.delete(ROLLOUTS, "shop", TEAM)
    world = await bench.see()
    bench.store.drop_rollout((TEAM, "shop"))  # the news of the end came before the answer
    done = await bench.performer.perform([RemoveFinalizer()], world, NOW)
    assert not done.failed
    assert (TEAM, "shop") not in bench.store.rollouts


async def test_a_rollout_that_is_gone_is_no_failure(bench: Bench) -> None:
    """404 on the Rollout itself means that nothing is left to do."""
    world = await bench.see()
    await bench.other.delete(ROLLOUTS, "shop", TEAM)
    done = await bench.performer.perform([AddFinalizer()], world, NOW)
    assert not done.failed


async def test_stamp_and_clear(bench: Bench) -> None:
    """A plain verb gets an id and the name of who set it; what is cleared is exactly what was served."""
    annotate = {"metadata": {"annotations": {REQUEST_ANNOTATION: "abort"}}}
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, annotate)
    await bench.performer.perform([StampRequest("abort")], await bench.see(), NOW)
    raw = (await bench.kube.get(ROLLOUTS, "shop", TEAM))["metadata"]["annotations"][REQUEST_ANNOTATION]
    request = parse_request(raw)
    assert request is not None
    assert (request.verb, request.by) == ("abort", "other")
    assert request.id
    done = await bench.performer.perform([ClearRequest("abort")], await bench.see(), NOW)
    assert list(done.failed) == ["ClearRequest"], "the annotation says something else by now"
    bench.backoffs.succeeded("ClearRequest")
    await bench.performer.perform([ClearRequest(raw)], await bench.see(), NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert REQUEST_ANNOTATION not in (document["metadata"].get("annotations") or {})


async def test_a_request_that_changed_meanwhile(bench: Bench) -> None:
    """A request that was replaced before it could be stamped or cleared is left alone."""
    world = await bench.see()
    annotate = {"metadata": {"annotations": {REQUEST_ANNOTATION: "resume"}}}
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, annotate)
    await bench.performer.perform([StampRequest("abort"), ClearRequest("abort")], world, NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert document["metadata"]["annotations"][REQUEST_ANNOTATION] == "resume"


async def test_copy_restore_forget(bench: Bench) -> None:
    """A copy keeps the pod spec that it replaced; restoring brings it back, forgetting keeps the copy."""
    wanted = revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))

    async def stable() -> tuple[str, bool]:
        document = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
        image = document["spec"]["template"]["spec"]["containers"][0]["image"]
        return image, POD_SPEC_ANNOTATION in (document["metadata"].get("annotations") or {})

    copy = CopyPodSpec("canary", "stable", wanted)
    await bench.performer.perform([copy], await bench.see(), NOW)
    assert await stable() == ("shop:2", True)
    assert bench.store.workloads[TEAM, "stable"].view.revision == wanted
    await bench.performer.perform([RestorePodSpec("stable")], await bench.see(), NOW)
    assert await stable() == ("shop:1", False)
    await bench.performer.perform([copy], await bench.see(), NOW)
    await bench.performer.perform([ForgetPodSpec("stable")], await bench.see(), NOW)
    assert await stable() == ("shop:2", False)
    for action in (RestorePodSpec("stable"), ForgetPodSpec("stable")):
        before = [entry for entry in bench.api.audit if entry.verb == "patch"]
        await bench.performer.perform([action], await bench.see(), NOW)
        assert [entry for entry in bench.api.audit if entry.verb == "patch"] == before


async def test_a_copy_of_another_revision_is_not_made(bench: Bench) -> None:
    """When the canary has moved on, nothing is copied, and we know what it runs now."""
    world = await bench.see()
    done = await bench.performer.perform([CopyPodSpec("canary", "stable", "0123456789")], world, NOW)
    assert done.stale == ["CopyPodSpec(stable)"]
    document = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert document["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"


async def test_a_workload_that_moves_under_the_copy(bench: Bench) -> None:
    """A Deployment written between our read and our patch is not overwritten."""
    wanted = revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    world = await bench.see()
    bench.fault(resource="deployments", name="stable", latency=0.15)
    performing = asyncio.create_task(bench.performer.perform([CopyPodSpec("canary", "stable", wanted)], world, NOW))
    await until(lambda: any(entry.verb == "get" and entry.name == "stable" for entry in bench.api.audit))
    await bench.other.merge_patch(DEPLOYMENTS, "stable", TEAM, {"spec": {"replicas": 3}})
    done = await performing
    assert done.stale == ["CopyPodSpec(stable)"]
    document = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert document["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"


async def test_events_are_told_and_retried(bench: Bench) -> None:
    """An Event names the Rollout and who reports it; one that got a 500 after it was made exists once."""
    bench.fault(verb="create", resource="events", status=500, after_effect=True)
    world = await bench.see()
    await bench.performer.perform([Tell("Warning", "CheckFailed", "check errors failed")], world, NOW)
    events = await bench.events()
    assert [(event["type"], event["reason"], event["message"]) for event in events] == [
        ("Warning", "CheckFailed", "check errors failed")
    ]
    about = events[0].get("involvedObject") or events[0]["regarding"]
    assert (about["kind"], about["name"], about["namespace"]) == ("Rollout", "shop", TEAM)


async def test_an_event_never_hinders(bench: Bench) -> None:
    """When Events cannot be posted, nothing else notices."""
    bench.fault(verb="create", resource="events", status=403, times=None)
    done = await bench.performer.perform([Tell("Normal", "A", "a"), write()], await bench.see(), NOW)
    assert done.performed == ["WriteRoute(shop, step)"]
    assert await bench.events() == []
