"""Checks that run a Job: whose it is, what becomes of a run by it, and what is never believed. Somebody here plays the kubelet."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from controller_kit import CONTROLLER, Clients, World, check

from canary.checks.sources.job import Job
from canary.controller.jobs import Jobs
from canary.kube import JOBS, PODS, ROLLOUTS, SERVICEACCOUNTS
from canary.metrics.port import Query
from canary_sandbox.apiserver.faults import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


def smoke(**changes: Any) -> Json:
    job = {"image": "registry.example.com/smoke:1", "args": ["--target=http://{{ canary.service }}"], "timeout": "2m"}
    return {"name": "smoke", "job": job | changes.pop("job", {}), "interval": "1h", **changes}


async def jobs(world: World) -> list[Json]:
    return list((await world.alice.list(JOBS, world.namespace))["items"])


async def the_job(world: World) -> Json:
    """The one that is there."""
    found: list[Json] = []

    async def look() -> None:
        found[:] = await jobs(world)

    for _ in range(20):
        await look()
        if len(found) == 1 and not found[0].get("status", {}).get("conditions"):
            return found[0]
        await world.pass_(1)
    raise AssertionError(f"there are {len(found)} Jobs")


async def end(world: World, job: Json, code: int, said: str = "", **pod_status: Any) -> None:
    """The kubelet and the Job controller: a pod that ended, and the Job that follows."""
    name, now = job["metadata"]["name"], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    pod_name = f"{name}-{job['metadata']['uid'][:5]}"
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod_name, "labels": {"job-name": name}, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "check", "image": "x"}], "restartPolicy": "Never"},
    }
    await world.gitops.create(PODS, pod, world.namespace)
    ended = {"exitCode": code, "message": said, "reason": "Completed" if code == 0 else "Error"}
    container = {
        "name": "check",
        "ready": False,
        "restartCount": 0,
        "image": "x",
        "imageID": "",
        "state": {"terminated": ended},
    }
    status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container], **pod_status}
    await world.gitops.merge_patch(PODS, pod_name, world.namespace, {"status": status}, subresource="status")
    kinds = ("SuccessCriteriaMet", "Complete") if code == 0 else ("FailureTarget", "Failed")
    why = "CompletionsReached" if code == 0 else "BackoffLimitExceeded"
    conditions = [
        {"type": kind, "status": "True", "reason": why, "lastProbeTime": now, "lastTransitionTime": now}
        for kind in kinds
    ]
    done = {"succeeded": 1, "completionTime": now} if code == 0 else {"failed": 1}
    said_of_it = {"status": {"startTime": now, "conditions": conditions, **done}}
    await world.gitops.merge_patch(JOBS, name, world.namespace, said_of_it, subresource="status")


STEPS = [{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "5s"}]


async def test_a_job_runs_at_each_step_and_is_removed_with_the_run(world: World) -> None:
    """Owned by the Rollout, with what was declared; the run goes on once it has succeeded, and not before."""
    await world.begin(steps=STEPS, checks=[smoke()], promotion="Await")
    await world.deploy(2)
    first = await the_job(world)
    metadata, pod = first["metadata"], first["spec"]["template"]["spec"]
    rollout = await world.alice.get(ROLLOUTS, "shop", world.namespace)
    owners = metadata["ownerReferences"]
    assert [(owner["kind"], owner["name"], owner["controller"]) for owner in owners] == [("Rollout", "shop", True)]
    assert owners[0]["uid"] == rollout["metadata"]["uid"]
    (container,) = pod["containers"]
    assert container["args"] == ["--target=http://canary"]
    assert first["spec"]["activeDeadlineSeconds"] == 120
    await world.pass_(30)
    assert world.weights()[1] == 10
    assert len(await jobs(world)) == 1
    await end(world, first, 0)
    await world.until(lambda: world.weights()[1] == 50, within=30)
    second = await the_job(world)
    assert second["metadata"]["uid"] != metadata["uid"]
    await end(world, second, 0)
    await world.until(lambda: world.phase() == "Promoting", within=60)
    await world.ask("promote")
    await world.until(lambda: world.phase() == "Succeeded", within=60)
    await world.settle()
    assert await jobs(world) == []


async def test_a_job_that_fails_ends_the_run_and_its_last_words_are_shown(world: World) -> None:
    """On one line, without what steers a terminal."""
    await world.begin(steps=STEPS, checks=[smoke()])
    await world.deploy(2)
    await end(world, await the_job(world), 3, "GET /cart: 500\n\x1b[31mexpected 200\n")
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    message = world.status()["run"]["message"]
    assert "failed with exit code 3: GET /cart: 500 [31mexpected 200" in message
    (check,) = world.status()["checks"]
    assert (check["verdict"], check["reason"]) == ("Fail", "JobFailed")
    await world.settle()
    assert await jobs(world) == []


async def test_an_abort_waits_for_no_job(world: World) -> None:
    """And takes it along."""
    await world.begin(steps=STEPS, checks=[smoke()])
    await world.deploy(2)
    await the_job(world)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=5)
    await world.settle()
    assert await jobs(world) == []


async def test_a_check_that_is_declared_no_more_takes_its_job_along(world: World) -> None:
    """Nobody wants to hear any more what it finds."""
    await world.begin(steps=STEPS, checks=[smoke(), check()])
    await world.deploy(2)
    await the_job(world)
    await world.edit(checks=[check()])
    await world.pass_(2)
    assert await jobs(world) == []
    await world.until(lambda: world.weights()[1] == 50, within=30)


async def test_a_check_that_went_while_nobody_looked_takes_its_job_along(world: World) -> None:
    """Its run goes on under another controller, which has never heard of the check."""
    first = await world.begin(steps=STEPS, checks=[smoke(), check()])
    await world.deploy(2)
    await the_job(world)
    await first.kill()
    await world.edit(checks=[check()])
    await world.start_controller()
    await world.pass_(2)
    assert await jobs(world) == []
    await world.until(lambda: world.weights()[1] == 50, within=30)


async def test_what_is_no_fault_of_the_canary_is_unknown(world: World) -> None:
    """A pod that was evicted, and a Job that took too long: onError says what that means."""
    await world.begin(steps=STEPS, checks=[smoke(interval="1s")])
    await world.deploy(2)
    await end(world, await the_job(world), 137, "", reason="Evicted")
    await world.until(lambda: "JobBroken" in world.message(), within=30)
    assert world.weights()[1] == 10
    await the_job(world)
    await world.until(lambda: "JobTimedOut" in world.message(), within=300, pace=10)
    assert world.weights()[1] == 10


@pytest.mark.parametrize("ends_meanwhile", [False, True])
async def test_a_killed_controllers_job_is_run_again(world: World, ends_meanwhile: bool) -> None:
    """One at a time: what another process created, or has made end, is no evidence, so it goes; only the one after it counts."""
    first = await world.begin(steps=STEPS, checks=[smoke()])
    await world.deploy(2)
    job = await the_job(world)
    await first.kill()
    if ends_meanwhile:
        await end(world, job, 0)
    await world.start_controller()
    await world.pass_(10)
    assert world.weights()[1] == 10
    again = await the_job(world)
    assert again["metadata"]["uid"] != job["metadata"]["uid"]
    await end(world, again, 0)
    await world.until(lambda: world.weights()[1] == 50, within=30)


def job_of(name: str, owner: Json | None = None, **labels: str) -> Json:
    """A Job that runs, as somebody writes it; `owner`: the Rollout that is its controller, by what it says."""
    metadata: Json = {"name": name, "labels": labels}
    if owner is not None:
        metadata["ownerReferences"] = [{"apiVersion": "canary.dev/v1alpha1", "controller": True, **owner}]
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


async def left_by_a_dead_one(world: World, *, denied: Fault) -> Json:
    """A run is on record as rolled back, and its controller dies before its Job could be removed."""
    first = await world.begin(steps=STEPS, checks=[smoke(), check()])
    world.api.faults.add(denied)
    await world.deploy(2)
    job = await the_job(world)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=5)
    await world.settle()
    await first.kill()
    assert [one["metadata"]["uid"] for one in await jobs(world)] == [job["metadata"]["uid"]]
    return job


def nobody_removes() -> Fault:
    """Of an API server that is slow, or whose admission is, nobody sees more than that nothing goes."""
    return Fault("delete", "jobs", status=503, times=None, user=CONTROLLER)


@pytest.mark.parametrize("edited", [False, True])
async def test_what_a_dead_controller_left_running_goes_once_its_run_is_over(world: World, edited: bool) -> None:
    """By what is on record of the run, declared as it was or not; and nothing goes that says it is another's, or of a later run."""
    denied = nobody_removes()
    job = await left_by_a_dead_one(world, denied=denied)
    labels, (owner,) = job["metadata"]["labels"], job["metadata"]["ownerReferences"]
    assert labels["canary.dev/run"] == "1"
    ours = {key: owner[key] for key in ("kind", "name", "uid")}
    another = await world.declare("another")
    for other in (
        job_of("nobodys", **labels),
        job_of("another-ones", {**ours, "name": "another", "uid": another["metadata"]["uid"]}, **labels),
        job_of("unlabelled", ours),
        job_of("of-the-next-run", ours, **{**labels, "canary.dev/run": "2"}),
        job_of("of-no-run", ours, **{**labels, "canary.dev/run": "first"}),
    ):
        await world.alice.create(JOBS, other, world.namespace)
    if edited:
        await world.edit(checks=[check()])
    world.api.faults.remove(denied)
    await world.start_controller()
    await world.pass_(5)
    left = {one["metadata"]["name"] for one in await jobs(world)}
    assert left == {"nobodys", "another-ones", "unlabelled", "of-the-next-run", "of-no-run"}


async def test_a_successor_tries_again_while_nothing_can_be_removed(world: World) -> None:
    """And is told once: what is gone is not looked for again."""
    denied = nobody_removes()
    await left_by_a_dead_one(world, denied=denied)
    await world.start_controller()
    await world.pass_(10)
    assert len(await jobs(world)) == 1
    world.api.faults.remove(denied)
    await world.pass_(60)
    assert await jobs(world) == []
    world.api.audit.clear()
    await world.edit(steps=[{"weight": 20, "hold": "5s"}])
    await world.pass_(60)
    assert [entry for entry in world.audited() if entry.resource == "jobs"] == []


@pytest.mark.parametrize(("checks", "later"), [([smoke()], 7 * 3600), ([check()], 0)])
async def test_nobody_looks_for_jobs_that_cannot_be_there(world: World, checks: list[Json], later: int) -> None:
    """Of a run without any, or so long ago that they have ended and are gone by themselves: at rest nothing is asked."""
    first = await world.begin(steps=STEPS, checks=checks)
    await world.deploy(2)
    await world.until(lambda: world.weights()[1] == 10, within=10)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=5)
    await world.settle()
    await first.kill()
    world.clock.advance(later)
    world.api.audit.clear()
    await world.start_controller()
    await world.pass_(60)
    assert [entry for entry in world.audited() if entry.resource == "jobs"] == []


@pytest.mark.parametrize("where", ["before", "after"])
async def test_no_job_outlives_its_run_wherever_a_controller_dies(clients: Clients, where: str) -> None:
    """Killed at each write from the abort on, before it leaves or when it has taken effect; its successor removes what is left."""
    index = 0
    while await aborted(clients, index, where):
        index += 1
    assert index >= 3, "a rollback, its end on record, and a Job to be removed"


async def aborted(clients: Clients, index: int, where: str) -> bool:
    """A run with a Job is aborted, and its controller dies at the write of that number. False: there are not so many."""
    begun: list[int] = []

    def dies(number: int, _request: Any) -> str:
        return where if begun and number - begun[0] == index else ""

    async with World(clients) as world:
        first = await world.begin(steps=STEPS, checks=[smoke()], cut=dies)
        await world.deploy(2)
        await the_job(world)
        await world.settle()
        begun.append(len(first.line.sent))
        await world.ask("abort")
        await world.until(lambda: first.dead or world.phase() == "RolledBack", within=60)
        await world.settle()
        dead = first.dead
        if dead:
            await first.kill()
            await world.start_controller()
            await world.until(lambda: world.phase() == "RolledBack", within=120)
        await world.pass_(5)
        assert await jobs(world) == [], f"killed {where} write {index}"
        return dead


async def test_a_job_of_somebody_else_is_not_believed(world: World) -> None:
    """By whatever name, with whatever labels; nor is it removed."""
    await world.begin(steps=STEPS, checks=[smoke()])
    await world.deploy(2)
    ours = await the_job(world)
    theirs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "theirs", "labels": ours["metadata"]["labels"]},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}},
    }
    made = await world.alice.create(JOBS, theirs, world.namespace)
    await end(world, made, 0)
    await world.pass_(20)
    assert world.weights()[1] == 10
    await end(world, ours, 1)
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    await world.settle()
    assert [one["metadata"]["name"] for one in await jobs(world)] == ["theirs"]


def admitted(body: bytes, change: Callable[[Json], object]) -> bytes:
    """A Job as a policy makes it."""
    document: Json = json.loads(body)
    change(document)
    return json.dumps(document).encode()


def disowned(job: Json) -> None:
    job["metadata"].pop("ownerReferences")


def not_controlled(job: Json) -> None:
    job["metadata"]["ownerReferences"][0]["controller"] = False


def tried_again(job: Json) -> None:
    job["spec"]["backoffLimit"] = 6


ADMISSION = pytest.mark.sandbox_only("a body is changed on its way, as a mutating policy would")


@ADMISSION
@pytest.mark.parametrize("change", [disowned, not_controlled])
async def test_a_job_of_ours_stays_ours_whatever_a_policy_makes_of_its_owner(
    world: World, change: Callable[[Json], object]
) -> None:
    """Its uid is known from the answer to its creation: it is believed, run once, and goes with the run."""
    world.api.faults.add(Fault("create", "jobs", user=CONTROLLER, times=None, rewrite=partial(admitted, change=change)))
    await world.begin(steps=STEPS, checks=[smoke(interval="10s")])
    await world.deploy(2)
    first = await the_job(world)
    await world.pass_(60)
    assert [one["metadata"]["uid"] for one in await jobs(world)] == [first["metadata"]["uid"]]
    await end(world, first, 0)
    await world.until(lambda: world.weights()[1] == 50, within=30)
    await the_job_besides(world, first)
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=5)
    await world.pass_(5)
    left = [one["metadata"]["uid"] for one in await jobs(world)]
    assert left in ([], [first["metadata"]["uid"]]), "what has ended goes by itself"


async def the_job_besides(world: World, other: Json) -> Json:
    """The one that is there besides one that has ended."""
    for _ in range(20):
        found = [one for one in await jobs(world) if one["metadata"]["uid"] != other["metadata"]["uid"]]
        if found:
            return found[0]
        await world.pass_(1)
    raise AssertionError("there is no other Job")


@ADMISSION
async def test_a_job_that_a_policy_lets_try_again_says_nothing(world: World) -> None:
    """A test that failed first and then did not has failed. So no such Job is left, and why is said; without the policy it runs."""
    again = Fault("create", "jobs", user=CONTROLLER, times=None, rewrite=partial(admitted, change=tried_again))
    world.api.faults.add(again)
    await world.begin(steps=STEPS, checks=[smoke(interval="10s")])
    await world.deploy(2)
    await world.until(lambda: "JobAltered" in world.message(), within=60)
    assert "spec.backoffLimit" in world.message()
    await world.pass_(60)
    assert (await jobs(world), world.weights()[1]) == ([], 10)
    world.api.faults.remove(again)
    await end(world, await the_job(world), 0)
    await world.until(lambda: world.weights()[1] == 50, within=30)


async def test_a_service_account_is_for_jobs_only_by_its_owners_word(world: World) -> None:
    """Else whoever may write a Rollout had the rights of every one in the namespace."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tests"}}
    await world.alice.create(SERVICEACCOUNTS, account, world.namespace)
    await world.begin(steps=STEPS, checks=[smoke(job={"serviceAccountName": "tests"}, interval="1s")])
    await world.deploy(2)
    await world.until(lambda: "ServiceAccountNotAllowed" in world.message(), within=60)
    assert f"kubectl -n {world.namespace} annotate serviceaccount tests canary.dev/jobs=allowed" in world.message()
    assert await jobs(world) == []
    allowed = {"metadata": {"annotations": {"canary.dev/jobs": "allowed"}}}
    await world.alice.merge_patch(SERVICEACCOUNTS, "tests", world.namespace, allowed)
    spec = (await the_job(world))["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("tests", True)


async def test_rights_that_are_missing_are_told_before_any_run(world: World) -> None:
    """By asking what the controller may do, and creating nothing; who may all is refused nothing."""
    job = Job("image")
    query = Query(job, tenant=(world.namespace, "shop"))
    assert await Jobs(world.gitops, world.clock).validate(query) is None
    assert await jobs(world) == []
    missing = await Jobs(world.gitops, world.clock).validate(Query(Job("image", account="nobody"), tenant=query.tenant))
    assert missing is not None
    assert "there is no ServiceAccount nobody" in missing.words
