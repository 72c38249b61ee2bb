"""The executor against a real API server that is told to fail."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from act_kit import NOW, PAIR, TEAM, Bench, Json, key, route, until, write

from canary.act.backoff import OFTEN
from canary.controller.fence import Fence
from canary.decide.actions import (
    Action,
    AddFinalizer,
    ClearRequest,
    CopyPodSpec,
    EmitEvent,
    ForgetPodSpec,
    RemoveFinalizer,
    RestorePodSpec,
    StampRequest,
    WriteRoute,
)
from canary.decide.facts import CopyView
from canary.errors import Conflict, NotServed, Unavailable, Unprocessable, WriteAltered
from canary.kube import DEPLOYMENTS, HTTPROUTES, REPLICASETS, ROLLOUTS, Resource
from canary.model.requests import REQUEST_ANNOTATION, parse_request
from canary.model.workloads import DEPLOYMENT
from canary.observe.copies import copy_annotation, read_copy
from canary.observe.objects import FINALIZER
from canary.observe.workloads import revision
from canary.routes.intent import Mode, parse_intent, run_annotation
from canary.routes.pair import Weights
from canary.routes.plan import RoutePlan

RUN_ANNOTATION = run_annotation("shop")


async def replaced(bench: Bench) -> str:
    """What the stable workload runs now."""
    return revision(await bench.kube.get(DEPLOYMENTS, "stable", TEAM))


async def test_weights_and_annotation_in_one_patch(bench: Bench) -> None:
    """One patch sets the weights and says why; what we know of the route is the answer to it."""
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert done.performed == ["WriteRoute(HTTPRoute shop, step)"]
    assert done.moved
    assert await bench.weights() == [50, 50]
    kept = bench.store.routes[key("shop")].document
    intent = parse_intent(kept["metadata"]["annotations"][RUN_ANNOTATION])
    assert intent is not None
    assert intent.mode is Mode.STEP
    patches = [entry for entry in bench.api.audit if entry.verb == "patch"]
    assert len(patches) == 1


async def test_nothing_to_change_is_no_request(bench: Bench) -> None:
    """A route that says already what it should costs no request."""
    await bench.executor.execute([write()], await bench.see(), NOW)
    world = await bench.see()
    before = len(bench.api.audit)
    await bench.executor.execute([write()], world, NOW)
    assert len(bench.api.audit) == before


async def test_what_moves_no_traffic_can_wait(bench: Bench) -> None:
    """A turn that is put on a route and an annotation that is taken off it stand behind those who move traffic."""
    moving = write(stable=100, canary=0, mode=Mode.ROLLBACK)
    await bench.executor.execute([moving], await bench.see(), NOW)
    assert bench.patient == 0
    assert moving.intent is not None
    turn = WriteRoute(moving.key, RoutePlan(PAIR), replace(moving.intent, turn="another"))
    await bench.executor.execute([turn], await bench.see(), NOW)
    assert bench.patient == 1
    await bench.executor.execute([write(stable=90, canary=10, mode=None)], await bench.see(), NOW)
    assert bench.patient == 1, "weights that are put back wait for nobody"
    await bench.executor.execute([write(stable=90, canary=10)], await bench.see(), NOW + timedelta(minutes=1))
    await bench.executor.execute(
        [write(stable=90, canary=10, mode=None)], await bench.see(), NOW + timedelta(minutes=1)
    )
    assert bench.patient == 2
    assert await bench.weights() == [90, 10]


async def test_release_takes_the_annotation_away(bench: Bench) -> None:
    """Without an intent the annotation goes, and everybody else's stays."""
    patch = {"metadata": {"annotations": {"example.org/owner": "team"}}}
    await bench.other.merge_patch(HTTPROUTES, "shop", TEAM, patch)
    await bench.executor.execute([write()], await bench.see(), NOW)
    await bench.executor.execute([write("shop", 90, 10, None)], await bench.see(), NOW)
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert document["metadata"]["annotations"] == {"example.org/owner": "team"}


@pytest.mark.parametrize("field", ["weights", "annotation"])
async def test_somebody_was_there_first(bench: Bench, field: str) -> None:
    """A write against a route that has moved changes nothing: it is read again, and counts as no failure."""
    world = await bench.see()
    seen = world.routes[key("shop")].document
    if field == "weights":
        refs = [{**ref, "weight": 7} for ref in seen["spec"]["rules"][0]["backendRefs"]]
        patch: dict[str, Any] = {"spec": {"rules": [{"backendRefs": refs}]}}
    else:
        patch = {"metadata": {"annotations": {RUN_ANNOTATION: "{}"}}}
    theirs = await bench.other.merge_patch(HTTPROUTES, "shop", TEAM, patch)
    done = await bench.executor.execute([write()], world, NOW)
    assert done.stale == ["WriteRoute(HTTPRoute shop, step)"]
    assert done.moved
    assert not done.failed
    assert bench.backoffs.next_try(NOW) is None
    now = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert now["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    assert (
        bench.store.routes[key("shop")].document["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    )


async def test_a_refusal_of_the_content_stands(bench: Bench) -> None:
    """422 although nothing had moved is about what we wrote: it fails, rests, and is told to people once."""
    world = await bench.see()
    done = await bench.executor.execute([write("shop", -1, 101)], world, NOW)
    assert isinstance(done.failed["WriteRoute(HTTPRoute shop, step)"], Unprocessable)
    assert not done.moved
    assert bench.backoffs.resting("WriteRoute(HTTPRoute shop, step)", NOW)
    before = len(bench.api.audit)
    again = await bench.executor.execute([write("shop", -1, 101)], world, NOW)
    assert len(bench.api.audit) == before, "it rests"
    assert not again.failed
    events = await bench.events()
    assert [event["reason"] for event in events] == ["WriteFailed"]


@pytest.mark.parametrize(("status", "error"), [(500, Unavailable), (409, Conflict), (503, Unavailable)])
async def test_a_fault_fails_one_route_only(bench: Bench, status: int, error: type[Exception]) -> None:
    """A route that cannot be written rests; the other one is written."""
    bench.fault(resource="httproutes", name="shop", status=status)
    done = await bench.executor.execute([write(), write("api")], await bench.see(), NOW)
    assert isinstance(done.failed["WriteRoute(HTTPRoute shop, step)"], error)
    assert done.performed == ["WriteRoute(HTTPRoute api, step)"]
    assert await bench.weights("api") == [50, 50]
    assert await bench.weights() == [90, 10]


async def test_an_answer_that_got_lost(bench: Bench) -> None:
    """A write that took effect although its answer was 500 fails now, and is found done afterwards."""
    bench.fault(resource="httproutes", name="shop", status=500, after_effect=True)
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert list(done.failed) == ["WriteRoute(HTTPRoute shop, step)"]
    assert await bench.weights() == [50, 50]
    bench.backoffs.succeeded("WriteRoute(HTTPRoute shop, step)")
    before = len(bench.api.audit)
    world = await bench.see()
    lists = len(bench.api.audit) - before
    await bench.executor.execute([write()], world, NOW)
    assert len(bench.api.audit) == before + lists


async def test_a_route_that_is_gone(bench: Bench) -> None:
    """404 drops the route from what we know; the next decision sees that it is missing."""
    world = await bench.see()
    await bench.other.delete(HTTPROUTES, "shop", TEAM)
    done = await bench.executor.execute([write()], world, NOW)
    assert done.stale == ["WriteRoute(HTTPRoute shop, step)"]
    assert key("shop") not in bench.store.routes


@pytest.mark.alone("how fast it returns")
@pytest.mark.usefixtures("impatient")
async def test_what_hangs_holds_up_nobody(bench: Bench) -> None:
    """A write without an answer goes on by itself: perform returns, is not sent twice, and its landing is told."""
    hanging = bench.fault(resource="httproutes", name="shop", latency=1.0)
    world = await bench.see()
    started = time.monotonic()
    done = await bench.executor.execute([write(), write("api")], world, NOW)
    assert time.monotonic() - started < 0.9
    assert done.performed == ["WriteRoute(HTTPRoute api, step)"]
    assert bench.executor.busy
    await bench.executor.execute([write()], world, NOW)
    assert hanging.hits == 1
    await until(lambda: bool(bench.landed))
    assert not bench.executor.busy
    assert await bench.weights() == [50, 50]
    assert len([entry for entry in bench.api.audit if entry.verb == "patch" and entry.name == "shop"]) == 1


@pytest.mark.alone("how fast it returns")
async def test_an_interrupt_ends_the_waiting(bench: Bench) -> None:
    """When a sample comes in, perform returns at once, whatever is under way."""
    bench.fault(resource="httproutes", name="shop", latency=1.0)
    world = await bench.see()
    interrupt = asyncio.Event()
    interrupt.set()
    started = time.monotonic()
    await bench.executor.execute([write()], world, NOW, interrupt=interrupt)
    assert time.monotonic() - started < 0.2


@pytest.mark.usefixtures("impatient")
async def test_an_older_plan_goes_no_further(bench: Bench) -> None:
    """Actions that stand behind a hanging one are dropped when there is a newer decision."""
    bench.fault(resource="rollouts", latency=0.6)
    world = await bench.see()
    revised = revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    await bench.executor.execute(
        [
            AddFinalizer(),
            CopyPodSpec("canary", "stable", revised, await replaced(bench), "uid", 1, DEPLOYMENT, DEPLOYMENT),
        ],
        world,
        NOW,
    )
    await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], world, NOW)
    await until(lambda: not bench.executor.busy)
    stable = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert stable["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"
    assert await bench.weights() == [100, 0]


@pytest.mark.usefixtures("impatient")
async def test_a_rollback_overtakes_a_hanging_raise(bench: Bench) -> None:
    """A raise that is still on its way cannot land on top of the rollback that was sent after it."""
    bench.fault(resource="httproutes", name="shop", latency=0.6)
    world = await bench.see()
    await bench.executor.execute([write()], world, NOW)
    done = await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], world, NOW, time.monotonic())
    assert done.performed == ["WriteRoute(HTTPRoute shop, rollback)"]
    await until(lambda: not bench.executor.busy)
    assert await bench.weights() == [100, 0]
    assert len(bench.rollbacks) == 1
    assert 0 <= bench.rollbacks[0] < 1


SHOPS = tuple(f"shop-{number}" for number in range(4))


@pytest.mark.alone("how long a write waits")
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("mode", [Mode.STEP, Mode.ROLLBACK])
async def test_slow_admission_of_one_namespace_holds_up_no_other(bench: Bench, mode: Mode) -> None:
    """However many routes of a namespace take their time, another one is written at once; and a rollback of the same one is, too."""
    for name in SHOPS:
        await bench.other.create(HTTPROUTES, route(name))
        bench.fault(resource="httproutes", name=name, latency=1.0)
    world = await bench.see()
    await bench.executor.execute([write(name, 100, 0, mode) for name in SHOPS], world, NOW)
    patches = [entry.name for entry in bench.api.audit if entry.verb == "patch" and entry.resource == "httproutes"]
    assert len(patches) <= 2
    neighbour = bench.make_executor("neighbour")
    done = await neighbour.execute([write("api", 100, 0, mode)], world, NOW)
    assert done.performed == [f"WriteRoute(HTTPRoute api, {mode})"]
    if mode is Mode.STEP:
        done = await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], world, NOW)
        assert done.performed == ["WriteRoute(HTTPRoute shop, rollback)"]
    else:
        await until(lambda: not bench.executor.busy)
        assert [await bench.weights(name) for name in SHOPS] == [[100, 0]] * 4


@pytest.mark.usefixtures("impatient")
async def test_what_stood_in_line_is_sent_only_if_it_is_still_wanted(bench: Bench) -> None:
    """A step that waits for a place is not written when the run has been decided about anew; one that is decided again is."""
    for name in SHOPS:
        await bench.other.create(HTTPROUTES, route(name))
    for name in SHOPS[:2]:
        bench.fault(resource="httproutes", name=name, latency=0.6)
    world = await bench.see()
    await bench.executor.execute([write(name) for name in SHOPS], world, NOW)
    await bench.executor.execute([write(SHOPS[3])], world, NOW)
    await until(lambda: not bench.executor.busy)
    assert [await bench.weights(name) for name in SHOPS[2:]] == [[90, 10], [50, 50]]


@pytest.mark.usefixtures("impatient")
async def test_a_write_that_is_ended_is_no_bug(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reads the log of a controller that was told to stop finds no error in it."""
    bench.fault(resource="httproutes", name="shop", latency=30.0)
    seen = await bench.see()
    landing = asyncio.create_task(bench.executor.execute([write()], seen, NOW))
    await until(lambda: bench.executor.busy)
    await landing
    assert bench.executor.busy
    await bench.executor.stop()
    await asyncio.sleep(0)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_tick_that_is_ended_while_it_writes_is_no_bug(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The same where the tick still waits for its write: nothing of it is left for the garbage collector to complain about."""
    bench.fault(resource="httproutes", name="shop", latency=30.0)
    tick = asyncio.create_task(bench.executor.execute([write()], await bench.see(), NOW))
    await until(lambda: bench.executor.busy)
    tick.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tick
    await bench.executor.stop()
    del tick
    await asyncio.sleep(0)
    gc.collect()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.usefixtures("impatient")
async def test_stop_ends_what_is_under_way(bench: Bench) -> None:
    """After stop nothing of ours is under way."""
    bench.fault(resource="httproutes", name="shop", latency=30.0)
    await bench.executor.execute([write()], await bench.see(), NOW)
    assert bench.executor.busy
    await bench.executor.stop()
    assert not bench.executor.busy


@pytest.mark.parametrize("others", [None, ["example.org/other"]])
async def test_finalizer(bench: Bench, others: list[str] | None) -> None:
    """Ours comes and goes, everybody else's stays."""
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, {"metadata": {"finalizers": others}})
    for _ in range(2):  # the second time there is nothing to do
        await bench.executor.execute([AddFinalizer()], await bench.see(), NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert document["metadata"]["finalizers"] == [*(others or []), FINALIZER]
    for _ in range(2):
        await bench.executor.execute([RemoveFinalizer()], await bench.see(), NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert document["metadata"].get("finalizers", []) == (others or [])


async def test_the_last_finalizer_lets_the_object_go(bench: Bench) -> None:
    """The answer to the patch that lets a Rollout go does not bring it back into what we know."""
    await bench.executor.execute([AddFinalizer()], await bench.see(), NOW)
    await bench.other.delete(ROLLOUTS, "shop", TEAM)
    world = await bench.see()
    bench.store.drop_rollout((TEAM, "shop"))  # the news of the end came before the answer
    done = await bench.executor.execute([RemoveFinalizer()], world, NOW)
    assert not done.failed
    assert (TEAM, "shop") not in bench.store.rollouts


@pytest.mark.parametrize("mode", [Mode.ROLLBACK, None])
async def test_a_version_that_is_not_served_tells_nothing_of_a_route(bench: Bench, mode: Mode | None) -> None:
    """A 404 that names no object: the write fails and is tried again, and the route is not taken for deleted."""
    await bench.executor.execute([write()], await bench.see(), NOW)
    bench.store.kinds.served(replace(HTTPROUTES, version="v1alpha9"))
    done = await bench.executor.execute([write(stable=90, canary=10, mode=mode)], await bench.see(), NOW)
    assert [type(error) for error in done.failed.values()] == [NotServed]
    assert key("shop") in bench.store.routes
    assert key("shop") in bench.executor.unwritten
    bench.store.kinds.served(HTTPROUTES)
    later = NOW + timedelta(seconds=5)
    done = await bench.executor.execute([write(stable=90, canary=10, mode=mode)], await bench.see(), later)
    assert done.failed == {}
    assert await bench.weights() == [90, 10]


async def test_a_rollout_that_is_gone_is_no_failure(bench: Bench) -> None:
    """404 on the Rollout itself means that nothing is left to do."""
    world = await bench.see()
    await bench.other.delete(ROLLOUTS, "shop", TEAM)
    done = await bench.executor.execute([AddFinalizer()], world, NOW)
    assert not done.failed


async def test_stamp_and_clear(bench: Bench) -> None:
    """A plain verb gets an id and the name of who set it; what is cleared is exactly what was served."""
    annotate = {"metadata": {"annotations": {REQUEST_ANNOTATION: "abort"}}}
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, annotate)
    await bench.executor.execute([StampRequest("abort")], await bench.see(), NOW)
    raw = (await bench.kube.get(ROLLOUTS, "shop", TEAM))["metadata"]["annotations"][REQUEST_ANNOTATION]
    request = parse_request(raw)
    assert request is not None
    assert (request.verb, request.by) == ("abort", "other")
    assert request.id
    done = await bench.executor.execute([ClearRequest("abort")], await bench.see(), NOW)
    assert list(done.failed) == ["ClearRequest"], "the annotation says something else by now"
    bench.backoffs.succeeded("ClearRequest")
    await bench.executor.execute([ClearRequest(raw)], await bench.see(), NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert REQUEST_ANNOTATION not in (document["metadata"].get("annotations") or {})


async def test_a_request_that_changed_meanwhile(bench: Bench) -> None:
    """A request that was replaced before it could be stamped or cleared is left alone."""
    world = await bench.see()
    annotate = {"metadata": {"annotations": {REQUEST_ANNOTATION: "resume"}}}
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, annotate)
    await bench.executor.execute([StampRequest("abort"), ClearRequest("abort")], world, NOW)
    document = await bench.kube.get(ROLLOUTS, "shop", TEAM)
    assert document["metadata"]["annotations"][REQUEST_ANNOTATION] == "resume"


async def test_copy_restore_forget(bench: Bench) -> None:
    """A copy keeps the pod spec that it replaced; restoring brings it back, forgetting keeps the copy."""
    wanted = revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))

    async def stable() -> tuple[str, bool]:
        document = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
        image = document["spec"]["template"]["spec"]["containers"][0]["image"]
        return image, copy_annotation("shop") in (document["metadata"].get("annotations") or {})

    async def perform(action: Action) -> None:
        """As a reconciler does: again when somebody, a status controller as like as not, wrote the object in between."""
        for _ in range(50):
            done = await bench.executor.execute([action], await bench.see(), NOW)
            await until(lambda: not bench.executor.busy)
            if not done.stale:
                return
        raise AssertionError(f"{action} was never performed")

    copy = CopyPodSpec("canary", "stable", wanted, await replaced(bench), "uid", 7, DEPLOYMENT, DEPLOYMENT)
    await perform(copy)
    assert await stable() == ("shop:2", True)
    kept = bench.store.workloads["Deployment", TEAM, "stable"].seen_by("shop")
    assert (kept.revision, kept.copied) == (wanted, CopyView("uid", 7, wanted, copy.replaces))
    restore = RestorePodSpec("stable", DEPLOYMENT, 7, wanted, copy.replaces)
    await perform(restore)
    assert await stable() == ("shop:1", True), "what is put back is on record until it is forgotten"
    await perform(ForgetPodSpec("stable", DEPLOYMENT))
    assert await stable() == ("shop:1", False)
    await perform(copy)
    await perform(ForgetPodSpec("stable", DEPLOYMENT))
    assert await stable() == ("shop:2", False)
    for action in (
        RestorePodSpec("stable", DEPLOYMENT, 7, "0123456789", copy.replaces),
        ForgetPodSpec("stable", DEPLOYMENT),
    ):
        before = [entry for entry in bench.api.audit if entry.verb == "patch"]
        await bench.executor.execute([action], await bench.see(), NOW)
        await until(lambda: not bench.executor.busy)
        assert [entry for entry in bench.api.audit if entry.verb == "patch"] == before


async def test_a_copy_of_another_revision_is_not_made(bench: Bench) -> None:
    """When the canary has moved on, nothing is copied, and we know what it runs now."""
    world = await bench.see()
    copy = CopyPodSpec("canary", "stable", "0123456789", await replaced(bench), "uid", 1, DEPLOYMENT, DEPLOYMENT)
    done = await bench.executor.execute([copy], world, NOW)
    assert done.stale == ["CopyPodSpec(stable)"]
    document = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert document["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"


async def test_a_workload_that_moves_under_the_copy(bench: Bench) -> None:
    """A Deployment written between our read and our patch is not overwritten."""
    wanted = revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    world = await bench.see()
    bench.fault(resource="deployments", name="stable", latency=0.15)
    copy = CopyPodSpec("canary", "stable", wanted, await replaced(bench), "uid", 1, DEPLOYMENT, DEPLOYMENT)
    before = len(bench.api.audit)
    performing = asyncio.create_task(bench.executor.execute([copy], world, NOW))
    await until(lambda: any(entry.verb == "get" and entry.name == "stable" for entry in list(bench.api.audit)[before:]))
    await bench.other.merge_patch(DEPLOYMENTS, "stable", TEAM, {"spec": {"replicas": 3}})
    done = await performing
    assert done.stale == ["CopyPodSpec(stable)"]
    document = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert document["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"


async def test_events_are_told_and_retried(bench: Bench) -> None:
    """An Event names the Rollout and who reports it; one that got a 500 after it was made exists once."""
    bench.fault(verb="create", resource="events", status=500, after_effect=True)
    world = await bench.see()
    await bench.executor.execute([EmitEvent("Warning", "CheckFailed", "check errors failed")], world, NOW)
    events = await bench.events()
    assert [(event["type"], event["reason"], event["message"]) for event in events] == [
        ("Warning", "CheckFailed", "check errors failed")
    ]
    about = events[0].get("involvedObject") or events[0]["regarding"]
    assert (about["kind"], about["name"], about["namespace"]) == ("Rollout", "shop", TEAM)


async def test_an_event_never_hinders(bench: Bench) -> None:
    """When Events cannot be posted, nothing else notices."""
    bench.fault(verb="create", resource="events", status=403, times=None)
    done = await bench.executor.execute([EmitEvent("Normal", "A", "a"), write()], await bench.see(), NOW)
    assert done.performed == ["WriteRoute(HTTPRoute shop, step)"]
    assert await bench.events() == []


# -- what the API server keeps is what was written ----------------------------------------------------------------------


def also(*operations: dict[str, Any]) -> Callable[[bytes], bytes]:
    """Admission that adds operations to a JSON Patch."""
    return lambda body: json.dumps([*json.loads(body), *operations]).encode()


async def test_admission_that_changes_a_weight_is_noticed(bench: Bench) -> None:
    """A patch that is taken and not kept has failed: it rests, is told, and what is there now is known."""
    weight = {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 77}
    bench.fault(resource="httproutes", name="shop", rewrite=also(weight), times=None)
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert isinstance(done.failed["WriteRoute(HTTPRoute shop, step)"], WriteAltered)
    assert "keeps 50/77" in bench.executor.unwritten[key("shop")]
    assert await bench.weights() == [50, 77]
    refs = bench.store.routes[key("shop")].document["spec"]["rules"][0]["backendRefs"]
    assert [ref["weight"] for ref in refs] == [50, 77]


async def test_admission_that_takes_our_annotation_away_is_noticed(bench: Bench) -> None:
    """Weights without their meaning would be forgotten by a crash."""
    gone = {"op": "remove", "path": "/metadata/annotations"}
    bench.fault(resource="httproutes", name="shop", rewrite=also(gone))
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert isinstance(done.failed["WriteRoute(HTTPRoute shop, step)"], WriteAltered)


async def test_routes_are_written_strictly(bench: Bench) -> None:
    """A field that the definitions do not know is refused, not dropped in silence."""
    unknown = {"op": "add", "path": "/spec/rules/0/colour", "value": "red"}
    bench.fault(resource="httproutes", name="shop", rewrite=also(unknown))
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert list(done.failed) == ["WriteRoute(HTTPRoute shop, step)"]
    assert await bench.weights() == [90, 10]


@pytest.mark.parametrize("same", [True, False], ids=["alike each time", "another each time"])
async def test_what_admission_makes_of_a_copy_counts_as_copied(bench: Bench, same: bool) -> None:
    """The record says what the workload runs now; and a restore still knows that it is ours."""
    count = itertools.count()

    def admit(body: bytes) -> bytes:
        image = f"mirror.example.org/shop:2{'' if same else f'-{next(count)}'}"
        operations = json.loads(body)
        if not any(operation["path"] == "/spec/template/spec" for operation in operations):
            return body
        change = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}
        return json.dumps([*operations, change]).encode()

    bench.fault(resource="deployments", name="stable", rewrite=admit, times=None)
    before, wanted = await replaced(bench), revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    copy = CopyPodSpec("canary", "stable", wanted, before, "uid", 1, DEPLOYMENT, DEPLOYMENT)
    done = await bench.executor.execute([copy], await bench.see(), NOW)
    assert done.performed == ["CopyPodSpec(stable)"]
    bench.api.faults.clear()
    stable = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    record = read_copy(stable, "shop")
    assert record is not None
    assert (record.copied, revision(stable) != wanted) == (revision(stable), True)
    restore = RestorePodSpec("stable", DEPLOYMENT, 1, record.copied, before)
    await bench.executor.execute([restore], await bench.see(), NOW)
    assert await replaced(bench) == before


async def test_what_somebody_changed_after_the_copy_is_not_put_back(bench: Bench) -> None:
    """A hotfix on stable stays; so does everything when the record is of nobody."""
    before, wanted = await replaced(bench), revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    await bench.executor.execute(
        [CopyPodSpec("canary", "stable", wanted, before, "uid", 1, DEPLOYMENT, DEPLOYMENT)], await bench.see(), NOW
    )
    fix = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "shop:2-hotfix"}]
    await bench.other.json_patch(DEPLOYMENTS, "stable", TEAM, fix)
    hotfix = await replaced(bench)
    restore = RestorePodSpec("stable", DEPLOYMENT, 1, wanted, before)
    await bench.executor.execute([restore], await bench.see(), NOW)
    assert await replaced(bench) == hotfix
    assert bench.store.workloads["Deployment", TEAM, "stable"].view.writer == "other"


def without_record(body: bytes) -> bytes:
    """As admission that takes annotations away which it does not know."""
    kept = [op for op in json.loads(body) if not op["path"].startswith("/metadata/annotations")]
    return json.dumps(kept).encode()


def as_it_was(body: bytes) -> bytes:
    """As admission that lets nobody change a pod spec."""
    return json.dumps([op for op in json.loads(body) if op["path"] != "/spec/template/spec"]).encode()


@pytest.mark.parametrize(
    ("rewrite", "words"),
    [
        (without_record, "the API server does not keep the annotation copy.canary.dev/shop on stable"),
        (as_it_was, "the API server keeps the pod spec of stable as it was"),
    ],
)
@pytest.mark.parametrize("dry", [True, False], ids=["a dry run tells", "webhooks that take no dry run"])
async def test_a_copy_that_is_not_kept_as_it_was_sent_is_none(
    bench: Bench, rewrite: Callable[[bytes], bytes], words: str, dry: bool
) -> None:
    """Without its record it could not be put back: the workload is as before, and what is wrong is said."""
    before, wanted = await replaced(bench), revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    if not dry:
        bench.fault(resource="deployments", name="stable", status=400)
    bench.fault(resource="deployments", name="stable", rewrite=rewrite)
    copy = CopyPodSpec("canary", "stable", wanted, before, "uid", 1, DEPLOYMENT, DEPLOYMENT)
    done = await bench.executor.execute([copy], await bench.see(), NOW)
    assert words in str(done.failed["CopyPodSpec(stable)"])
    assert words in bench.executor.uncopied
    stable = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert revision(stable) == before
    assert copy_annotation("shop") not in (stable["metadata"].get("annotations") or {})


def kept_by(workload: dict[str, Any], resource: Resource, pod_spec: dict[str, Any], **owner: Any) -> dict[str, Any]:
    """An entry in the history of a workload."""
    labels = workload["spec"]["selector"]["matchLabels"]
    owned = {
        "apiVersion": "apps/v1",
        "kind": workload["kind"],
        "name": workload["metadata"]["name"],
        "uid": workload["metadata"]["uid"],
        "controller": True,
        **owner,
    }
    metadata = {"generateName": "kept-", "namespace": TEAM, "labels": labels, "ownerReferences": [owned]}
    template = {"metadata": {"labels": labels}, "spec": pod_spec}
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    if resource is REPLICASETS:
        return {**document, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}}
    return {**document, "revision": 1, "data": {"spec": {"template": {"$patch": "replace", **template}}}}


@pytest.mark.parametrize("owner", [{}, {"uid": "another"}, {"controller": False}])
async def test_what_a_copy_replaced_is_in_the_history_too(bench: Bench, owner: dict[str, Any]) -> None:
    """Its record is stripped: the ReplicaSet that the workload owns has the same pod spec. Of others none counts."""
    before, wanted = await replaced(bench), revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    old = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    other = {"containers": [{"name": "shop", "image": "shop:0"}]}
    await bench.other.create(REPLICASETS, kept_by(old, REPLICASETS, other))
    await bench.other.create(REPLICASETS, kept_by(old, REPLICASETS, old["spec"]["template"]["spec"], **owner))
    copy = CopyPodSpec("canary", "stable", wanted, before, "uid", 1, DEPLOYMENT, DEPLOYMENT)
    await bench.executor.execute([copy], await bench.see(), NOW)
    assert await replaced(bench) == wanted
    await bench.other.merge_patch(
        DEPLOYMENTS, "stable", TEAM, {"metadata": {"annotations": {copy_annotation("shop"): None}}}
    )
    restore = RestorePodSpec("stable", DEPLOYMENT, 1, wanted, before)
    await bench.executor.execute([restore], await bench.see(), NOW)
    assert await replaced(bench) == (wanted if owner else before)
    assert bool(bench.executor.unrestored) == bool(owner)


async def test_a_history_that_may_not_be_read_is_named(bench: Bench) -> None:
    """By somebody who installed a version that had no such right."""
    before, wanted = await replaced(bench), revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    bench.fault(verb="list", resource="replicasets", status=403)
    restore = RestorePodSpec("stable", DEPLOYMENT, 1, before, wanted)
    await bench.executor.execute([restore], await bench.see(), NOW)
    assert "its replicasets cannot be listed" in bench.executor.unrestored[1]
    assert "kubectl rollout undo deployment/stable" in bench.executor.unrestored[1]
    bench.executor.unrestored.clear()
    bench.fault(verb="list", resource="replicasets", status=500)
    done = await bench.executor.execute([restore], await bench.see(), NOW)
    assert (list(done.failed), bench.executor.unrestored) == (["RestorePodSpec(stable)"], {}), "nobody can tell now"


@pytest.mark.parametrize(
    "raw", ["", "{}", "null", "[" * 5000, '{"uid":"","run":1,"copied":"a","replaced":{}}', "\udcff"[:0]]
)
async def test_a_record_that_makes_no_sense_is_forgotten(bench: Bench, raw: str) -> None:
    """It is nobody's: nothing is put back by it, and it goes."""
    patch = {"metadata": {"annotations": {copy_annotation("shop"): raw}}}
    await bench.other.merge_patch(DEPLOYMENTS, "stable", TEAM, patch)
    world, before = await bench.see(), await replaced(bench)
    assert bench.store.workloads["Deployment", TEAM, "stable"].seen_by("shop").copied is not None
    restore = RestorePodSpec("stable", DEPLOYMENT, 1, before, "0123456789")
    done = await bench.executor.execute([restore], world, NOW)
    assert (done.stale, done.failed) == (["RestorePodSpec(stable)"], {})
    assert "of revision 0123456789 its record is gone" in bench.executor.unrestored[1]
    await bench.executor.execute([ForgetPodSpec("stable", DEPLOYMENT)], world, NOW)
    stable = await bench.kube.get(DEPLOYMENTS, "stable", TEAM)
    assert (revision(stable), copy_annotation("shop") in (stable["metadata"].get("annotations") or {})) == (
        before,
        False,
    )


# -- another controller -------------------------------------------------------------------------------------------------


async def another_turn(bench: Bench) -> None:
    """Another controller puts its turn on the route."""
    said = parse_intent((await bench.see()).routes[key("shop")].document["metadata"]["annotations"][RUN_ANNOTATION])
    assert said is not None
    text = replace(said, turn="another").dump()
    await bench.other.merge_patch(HTTPROUTES, "shop", TEAM, {"metadata": {"annotations": {RUN_ANNOTATION: text}}})


@pytest.mark.parametrize("status", [{"outcome": "RolledBack"}, {"number": 2}])
async def test_a_route_without_our_turn_is_not_raised_before_the_rollout_was_read(
    bench: Bench, status: dict[str, Any]
) -> None:
    """Another controller has ended this run, or begun the next, and we have not been told: nothing is written."""
    world = await bench.see()
    run = {"number": 1, "startedAt": "2026-01-01T00:00:00Z", **status}
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, {"status": {"run": run}}, subresource="status")
    done = await bench.executor.execute([write()], world, NOW)
    assert (done.performed, done.stale) == ([], ["WriteRoute(HTTPRoute shop, step)"])
    assert await bench.weights() == [90, 10]
    kept = bench.store.rollout((TEAM, "shop"))
    assert kept is not None
    assert kept.status.run is not None, "and now it is known"


@pytest.mark.parametrize("told", [True, False], ids=["on record", "nobody can tell"])
async def test_what_another_controller_has_given_in_a_run_is_not_taken_back_before_the_rollout_was_read(
    bench: Bench, told: bool
) -> None:
    """It has gone on with the run while we were cut off; we hear of its route first, and are a step behind."""
    await bench.executor.execute([write("shop", 20, 80)], await bench.see(), NOW)
    await another_turn(bench)
    world = await bench.see()
    run = {"number": 1, "startedAt": "2026-01-01T00:00:00Z"}
    await bench.other.merge_patch(ROLLOUTS, "shop", TEAM, {"status": {"run": run}}, subresource="status")
    if not told:
        bench.fault(verb="get", resource="rollouts", status=503, times=None)
    done = await bench.executor.execute([write("shop", 90, 10)], world, NOW)
    await until(lambda: not bench.executor.busy)
    assert await bench.weights() == ([20, 80] if told else [90, 10]), "trouble holds up nothing that gives less"
    if told:
        assert done.stale == ["WriteRoute(HTTPRoute shop, step)"]
        await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], world, NOW)
        assert await bench.weights() == [100, 0], "a rollback waits for nobody's word"


async def test_a_late_raise_is_refused_when_another_has_taken_its_turn(bench: Bench) -> None:
    """A patch that was on its way while another controller put its turn on the route: the API server refuses it."""
    await bench.executor.execute([write("shop", 90, 10)], await bench.see(), NOW)
    world = await bench.see()
    await another_turn(bench)
    done = await bench.executor.execute([write("shop", 50, 50)], world, NOW)
    assert done.stale == ["WriteRoute(HTTPRoute shop, step)"]
    assert await bench.weights() == [90, 10]


async def test_a_decision_from_before_we_slept_is_not_sent(bench: Bench) -> None:
    """Neither a weight nor anything else; it counts as no failure, and is decided anew."""
    now = [0.0]
    fence = Fence(lambda: now[0])
    fence.beat()
    gate = fence.gate()
    now[0] += 20
    world, before = await bench.see(), len(bench.api.audit)
    done = await bench.executor.execute([write(), AddFinalizer()], world, NOW, gate=gate)
    assert sorted(done.stale) == ["AddFinalizer", "WriteRoute(HTTPRoute shop, step)"]
    assert {entry.verb for entry in list(bench.api.audit)[before:]} <= {"get"}
    done = await bench.executor.execute([write()], world, NOW, gate=fence.gate())
    assert done.performed == ["WriteRoute(HTTPRoute shop, step)"]


async def test_without_a_certain_lease_weights_only_go_down(bench: Bench) -> None:
    """Nobody can say that another has not taken over; but nothing holds up a rollback."""
    fence = Fence()
    fence.confirmed = lambda: False
    done = await bench.executor.execute([write()], await bench.see(), NOW, gate=fence.gate())
    assert done.stale == ["WriteRoute(HTTPRoute shop, step)"]
    down = write("shop", 100, 0, Mode.ROLLBACK)
    done = await bench.executor.execute([down], await bench.see(), NOW, gate=fence.gate())
    assert done.performed == ["WriteRoute(HTTPRoute shop, rollback)"]


# -- whose fields ---------------------------------------------------------------------------------------------------------


def managers(document: Json) -> list[str]:
    return [entry["manager"] for entry in document["metadata"]["managedFields"] if not entry.get("subresource")]


async def test_the_last_patch_gives_the_fields_back(bench: Bench) -> None:
    """After it, the owner's server-side apply is not refused any more; the weights stay what they are."""
    await bench.executor.execute([write("shop", 90, 10)], await bench.see(), NOW)
    await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], await bench.see(), NOW)
    assert "canary" in managers(await bench.kube.get(HTTPROUTES, "shop", TEAM))
    release = WriteRoute(key("shop"), RoutePlan.dividing(PAIR, {"#0": Weights(100, 0)}), None)
    world, before = await bench.see(), len(bench.api.audit)
    await bench.executor.execute([release], world, NOW)
    assert [entry.verb for entry in list(bench.api.audit)[before:]] == ["patch"], (
        "what a watch has told is not read again"
    )
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert "canary" not in managers(document)
    assert RUN_ANNOTATION not in (document["metadata"].get("annotations") or {})
    assert await bench.weights() == [100, 0]


async def test_weights_and_ownership_never_change_in_one_patch(bench: Bench) -> None:
    """A leftover is put back by one patch, and its fields are given back by the next."""
    await bench.executor.execute([write("shop", 50, 50)], await bench.see(), NOW)
    release = WriteRoute(key("shop"), RoutePlan.dividing(PAIR, {"#0": Weights(100, 0)}), None)
    await bench.executor.execute([release], await bench.see(), NOW)
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert ("canary" in managers(document), await bench.weights()) == (False, [100, 0])


async def test_who_comes_after_the_first_of_two_patches_does_the_second(bench: Bench) -> None:
    """The annotation stays until the fields are given back: it is all that tells that they are ours."""
    await bench.executor.execute([write("shop", 50, 50)], await bench.see(), NOW)
    release = WriteRoute(key("shop"), RoutePlan.dividing(PAIR, {"#0": Weights(100, 0)}), None)
    sent: list[None] = []

    def second(body: bytes) -> bytes:
        sent.append(None)
        return body if len(sent) < 2 else json.dumps([{"op": "test", "path": "/kind", "value": "another"}]).encode()

    bench.fault(resource="httproutes", name="shop", rewrite=second, times=None)
    await bench.executor.execute([release], await bench.see(), NOW)
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert (len(sent), await bench.weights()) == (2, [100, 0])
    assert RUN_ANNOTATION in document["metadata"]["annotations"]
    assert "canary" in managers(document)
    bench.api.faults.clear()
    await bench.executor.execute([release], await bench.see(), NOW + timedelta(minutes=10))
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert (await bench.weights(), document["metadata"].get("annotations") or {}) == ([100, 0], {})
    assert "canary" not in managers(document)


async def apply(bench: Bench, manager: str, subresource: str | None = None, **fields: Any) -> None:
    """Server-side apply by somebody else. Their entry in managedFields comes before ours, which has another place from then on."""
    document = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        **fields,
    }
    url = bench.api.url + HTTPROUTES.path(TEAM, "shop", subresource)
    headers = {
        "Authorization": f"Bearer {bench.api.add_token(manager)}",
        "Content-Type": "application/apply-patch+yaml",
    }
    async with httpx.AsyncClient() as client:
        query = {"fieldManager": manager, "force": "true"}
        answer = await client.patch(url, params=query, headers=headers, json=document)
        answer.raise_for_status()


@pytest.mark.parametrize("times", [1, 2])
async def test_who_says_nothing_of_the_run_between_the_two_patches_holds_up_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A gateway says how it took the first one: the second one is refused by it, and sent again at once."""
    await bench.executor.execute([write("shop", 50, 50)], await bench.see(), NOW)
    release = WriteRoute(key("shop"), RoutePlan.dividing(PAIR, {"#0": Weights(100, 0)}), None)
    world, patch, sent = await bench.see(), bench.kube.json_patch, itertools.count()

    async def between(*args: Any, **options: Any) -> Json:
        match next(sent):
            case 1:
                await apply(bench, "gateway", "status", status={"parents": []})
            case 2 if times == 2:
                await apply(bench, "labels", metadata={"name": "shop", "labels": {"team": "us"}})
        return await patch(*args, **options)

    monkeypatch.setattr(bench.kube, "json_patch", between)
    done = await bench.executor.execute([release], world, NOW)
    assert done.performed == ["WriteRoute(HTTPRoute shop, release)"]
    assert next(sent) == 2 + times
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert (await bench.weights(), document["metadata"].get("annotations") or {}) == ([100, 0], {})
    assert "canary" not in managers(document)


async def test_who_changes_the_route_between_the_two_patches_is_heard_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the second patch was decided upon is not there any more: it is not sent again."""
    await bench.executor.execute([write("shop", 50, 50)], await bench.see(), NOW)
    release = WriteRoute(key("shop"), RoutePlan.dividing(PAIR, {"#0": Weights(100, 0)}), None)
    world, patch, sent = await bench.see(), bench.kube.json_patch, itertools.count()

    async def between(*args: Any, **options: Any) -> Json:
        if next(sent) == 1:
            await apply(bench, "owner", spec={**route()["spec"], "hostnames": ["shop.example.org"]})
        return await patch(*args, **options)

    monkeypatch.setattr(bench.kube, "json_patch", between)
    done = await bench.executor.execute([release], world, NOW)
    assert done.stale == ["WriteRoute(HTTPRoute shop, release)"]
    assert next(sent) == 2
    assert RUN_ANNOTATION in (await bench.kube.get(HTTPROUTES, "shop", TEAM))["metadata"]["annotations"]


async def test_fields_that_another_run_of_ours_has_written_stay_ours(bench: Bench) -> None:
    """Two Rollouts on two rules of a route: the first that ends takes nothing from the second."""
    await bench.executor.execute([write("shop", 50, 50)], await bench.see(), NOW)
    body = {"metadata": {"annotations": {run_annotation("second"): "x"}}}
    await bench.kube.merge_patch(HTTPROUTES, "shop", TEAM, body)
    await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], await bench.see(), NOW)
    release = WriteRoute(key("shop"), RoutePlan(PAIR), None)
    await bench.executor.execute([release], await bench.see(), NOW)
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert list(document["metadata"]["annotations"]) == [run_annotation("second")]
    assert "canary" in managers(document)


async def test_fields_stay_ours_when_another_run_of_ours_has_written_them_since(bench: Bench) -> None:
    """It has not been heard of yet: the patch that would give its fields away is refused, and the route is read again."""
    await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], await bench.see(), NOW)
    world, release = await bench.see(), WriteRoute(key("shop"), RoutePlan(PAIR), None)
    body = {"metadata": {"annotations": {run_annotation("second"): "x"}}}
    await bench.kube.merge_patch(HTTPROUTES, "shop", TEAM, body)
    done = await bench.executor.execute([release], world, NOW)
    assert done.stale == ["WriteRoute(HTTPRoute shop, release)"]
    await bench.executor.execute([release], await bench.see(), NOW)
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert list(document["metadata"]["annotations"]) == [run_annotation("second")]
    assert "canary" in managers(document)


async def test_fields_are_given_back_while_a_gateway_writes_its_status(bench: Bench) -> None:
    """Its entry may stand before ours or behind it by now: at the latest the second try takes ours, and nothing of the gateway's."""
    await bench.executor.execute([write("shop", 100, 0, Mode.ROLLBACK)], await bench.see(), NOW)
    world, release = await bench.see(), WriteRoute(key("shop"), RoutePlan(PAIR), None)
    accepted = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": "2026-01-01T12:00:00Z",
    }
    parent = {"parentRef": {"name": "gw"}, "controllerName": "example.org/gateway", "conditions": [accepted]}
    await bench.other.merge_patch(HTTPROUTES, "shop", TEAM, {"status": {"parents": [parent]}}, subresource="status")
    done = await bench.executor.execute([release], world, NOW)
    if done.stale:
        done = await bench.executor.execute([release], await bench.see(), NOW)
    assert done.performed == ["WriteRoute(HTTPRoute shop, release)"]
    document = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    assert "canary" not in managers(document)
    assert [one["conditions"] for one in document["status"]["parents"]] == [[accepted]]


async def test_a_copy_that_is_forgotten_gives_its_fields_back(bench: Bench) -> None:
    """Also on the stable workload: its owner's apply works again."""
    before, wanted = await replaced(bench), revision(await bench.kube.get(DEPLOYMENTS, "canary", TEAM))
    await bench.executor.execute(
        [CopyPodSpec("canary", "stable", wanted, before, "uid", 1, DEPLOYMENT, DEPLOYMENT)], await bench.see(), NOW
    )
    assert "canary" in managers(await bench.kube.get(DEPLOYMENTS, "stable", TEAM))
    await bench.executor.execute([ForgetPodSpec("stable", DEPLOYMENT)], await bench.see(), NOW)
    assert "canary" not in managers(await bench.kube.get(DEPLOYMENTS, "stable", TEAM))


async def test_a_rollback_that_is_fought_slows_down_and_does_not_end(bench: Bench) -> None:
    """Somebody raises the weight as fast as we lower it: we go on, at a pace that fights nobody to death."""
    rollback = write("shop", 100, 0, Mode.ROLLBACK)
    for _ in range(OFTEN):
        await bench.executor.execute([rollback], await bench.see(), NOW)
        refs = [{"op": "replace", "path": f"/spec/rules/0/backendRefs/{i}/weight", "value": 50} for i in (0, 1)]
        await bench.other.json_patch(HTTPROUTES, "shop", TEAM, refs)
    done = await bench.executor.execute([rollback], await bench.see(), NOW)
    assert not done.performed
    later = bench.backoffs.next_try(NOW)
    assert later is not None
    assert later - NOW <= timedelta(seconds=1)
    done = await bench.executor.execute([rollback], await bench.see(), later)
    assert done.performed == ["WriteRoute(HTTPRoute shop, rollback)"]
