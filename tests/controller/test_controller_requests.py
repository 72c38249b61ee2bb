"""Requests: one annotation, done once, answered, and taken away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from controller_kit import CONTROLLER, World, check, clean

from canary.kube import ROLLOUTS
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = [{"weight": 10, "hold": "10m"}, {"weight": 50, "approval": {}}, {"weight": 100, "hold": "2s"}]
MANUAL = {"trigger": "Manual"}


async def answered(world: World, id_: str = "") -> dict[str, Any]:
    """Wait until the last request was answered and its annotation is gone; the answer."""
    await world.until(
        lambda: world.pending_request() is None and bool(world.request()) and world.request()["id"].startswith(id_),
        within=30,
    )
    return world.request()


async def ask(world: World, verb: str, form: str, number: int = 1) -> dict[str, Any]:
    """Ask as a plain verb or as JSON, and wait for the answer."""
    if form == "plain":
        before = world.request().get("id")
        await world.ask(verb)
        await world.until(lambda: world.pending_request() is None and world.request().get("id") != before, within=30)
        return world.request()
    await world.ask({"id": f"id-{number}", "verb": verb, "by": "bob", "reason": "because"})
    return await answered(world, f"id-{number}")


FORMS = pytest.mark.parametrize("form", ["plain", "json"])


@FORMS
async def test_start(world: World, form: str) -> None:
    """`start` begins a run where only requests do; it is recorded with who asked, and the annotation goes."""
    await world.begin(**MANUAL)
    await world.deploy(2)
    await world.pass_(30)
    assert world.phase() == "Idle"
    answer = await ask(world, "start", form)
    assert answer["words"] == "done: run 1 started"
    assert answer["by"] == ("alice" if form == "plain" else "bob")
    assert answer["id"]
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.run_number() == 1
    assert world.status()["run"]["trigger"]["by"] == answer["by"]


@FORMS
async def test_promote(world: World, form: str) -> None:
    """`promote` approves the step that waits for it, and no other."""
    await world.begin(steps=[{"weight": 10, "approval": {}}, {"weight": 50, "approval": {}}])
    await world.deploy(2)
    await world.until(lambda: world.condition("Reconciling").get("reason") == "AwaitingApproval")
    answer = await ask(world, "promote", form)
    assert answer["words"] == "done: step 1/2 is approved"
    await world.until(lambda: world.step() == 2)
    await world.pass_(60)
    assert (world.step(), world.phase()) == (2, "Paused")


@FORMS
async def test_promote_full(world: World, form: str) -> None:
    """`promote-full` skips the holds and approvals that are left."""
    await world.begin(steps=SLOW)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    answer = await ask(world, "promote-full", form)
    assert answer["words"].startswith("done")
    await world.until(lambda: world.phase() == "Succeeded", within=30)


@FORMS
async def test_pause_and_resume(world: World, form: str) -> None:
    """`pause` keeps the weight for as long as it takes; `resume` enters the step again."""
    await world.begin(checks=[check(interval="30s")])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    assert (await ask(world, "pause", form, 1))["words"].startswith("done: paused")
    await world.pass_(600, pace=60)
    assert (world.phase(), world.weights()) == ("Paused", (90, 10))
    assert (await ask(world, "resume", form, 2))["words"].startswith("done")
    await world.until(lambda: world.phase() == "Succeeded")


@FORMS
async def test_abort(world: World, form: str) -> None:
    """`abort` rolls back, and says who wanted it."""
    await world.begin(steps=SLOW)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    answer = await ask(world, "abort", form)
    assert answer["words"] == "done: rolling back"
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.status()["run"]["reason"] == "Aborted"
    assert answer["by"] in world.status()["run"]["message"]
    assert world.weights() == (1, 0)
    assert list(clean(world)) == []


@FORMS
async def test_retry(world: World, form: str) -> None:
    """`retry` runs a rolled-back revision again; `start` refuses to."""
    await world.begin()
    await world.deploy(2)
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack")
    world.provider.answers["errors"] = 0.0
    refused = await ask(world, "start", form, 1)
    assert refused["words"].startswith("refused: revision")
    assert (await ask(world, "retry", form, 2))["words"] == "done: run 2 started"
    await world.until(lambda: world.phase() == "Succeeded")


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("promote", "no run is active"),
        ("promote-full", "no run is active"),
        ("pause", "no run is active"),
        ("resume", "no run is paused"),
        ("abort", "no run is active"),
        ("retry", "no run was rolled back"),
        ("start", "nothing to roll out"),
        ("explode", "there is no verb 'explode'"),
        ("{not json", "there is no verb"),
        ('{"id": "x"}', "there is no verb ''"),
    ],
)
async def test_refused_at_rest(world: World, verb: str, words: str) -> None:
    """What cannot be done is refused with a reason, recorded, told by an Event, and taken away."""
    await world.begin()
    await world.ask(verb)
    await world.until(lambda: world.pending_request() is None and bool(world.request()), within=30)
    await world.settle()
    assert world.request()["words"].startswith("refused")
    assert words in world.request()["words"]
    assert world.phase() == "Idle"
    assert world.finalizers() == []
    assert world.untouched()
    assert (await world.reasons()).count("RequestRefused") == 1


async def test_refused_during_a_run(world: World) -> None:
    """During a run `start`, `retry`, `resume` and a promotion that nothing waits for are refused; the run goes on."""
    await world.begin(steps=SLOW)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    for number, verb in enumerate(["start", "retry", "resume", "promote"]):
        answer = await ask(world, verb, "json", number)
        assert answer["words"].startswith("refused"), verb
    assert (world.step(), world.weights()) == (1, (90, 10))


async def test_a_plain_verb_gets_an_id_before_it_is_done(world: World) -> None:
    """A plain verb is stamped with an id first, so that a restart cannot do it twice."""
    instance = await world.begin(**MANUAL)
    await world.deploy(2)
    await world.settle()
    before = len(instance.line.sent)
    await world.ask("start")
    await world.until(lambda: world.run_number() == 1)
    stamp, *later = instance.line.sent[before:]
    assert stamp.resource == "rollouts"
    stamped = json.loads(next(op["value"] for op in stamp.body if op["op"] == "replace"))
    assert stamped["verb"] == "start"
    assert stamped["id"]
    assert stamped["by"] == "alice"
    assert later


@pytest.mark.parametrize("verb", ["start", "abort", "pause"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_done_once_across_restarts(world: World, verb: str, moment: str) -> None:
    """Killed at each write that a plain request leads to, the request is done once all the same."""
    number = 0
    while True:
        number += 1
        target: list[int] = []
        where = world.namespace

        def cut(index: int, _request: Any, number: int = number, target: list[int] = target) -> str:
            return moment if target and index == target[0] + number - 1 else ""

        async with World(world.clients) as fresh:
            assert fresh.namespace != where
            instance = await fresh.begin(cut=cut, steps=SLOW, **(MANUAL if verb == "start" else {}))
            await fresh.deploy(2)
            if verb != "start":
                await fresh.until(lambda: fresh.step() == 1 and bool(fresh.status()["step"].get("reachedAt")))
            await fresh.settle()
            target.append(len(instance.line.sent))
            await fresh.ask(verb)
            await fresh.until(
                lambda instance=instance, fresh=fresh: (
                    instance.dead or (fresh.pending_request() is None and bool(fresh.request()))
                ),
                within=5,
            )
            died = instance.dead
            if died:
                await instance.kill()
                await fresh.start_controller()
            await fresh.until(lambda: fresh.pending_request() is None and bool(fresh.request()), within=5)
            expected = {"start": "Progressing", "abort": "RolledBack", "pause": "Paused"}[verb]
            await fresh.until(lambda fresh=fresh, expected=expected: fresh.phase() == expected, within=5)
            assert fresh.run_number() == 1
            assert fresh.request()["verb"] == verb
            assert fresh.request()["words"].startswith("done"), (number, fresh.request())
            if not died:
                break
    assert number > 3


@pytest.mark.parametrize("fault", [{"status": 403}, {"latency": 4.0}], ids=["refused", "slow"])
async def test_a_plain_abort_is_served_while_the_annotation_cannot_be_written(
    world: World, fault: dict[str, Any]
) -> None:
    """A policy lets the controller write no metadata of Rollouts, or a webhook takes its time: traffic goes back at once, and no later run is aborted."""
    instance = await world.begin(steps=SLOW)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    held = {"verb": "patch", "resource": "rollouts", "subresource": "", "namespace": world.namespace}
    world.api.faults.add(Fault(**held, user=CONTROLLER, times=None, **fault))
    await world.ask("abort")
    await world.until(lambda: world.weights()[1] == 0, within=1)
    if "status" in fault:
        await world.until(lambda: world.phase() == "RolledBack", within=5)
        before = len(instance.line.sent)
        await world.pass_(120)
        again = [sent for sent in instance.line.sent[before:] if sent.resource == "rollouts"]
        assert len(again) < 45
        await world.deploy(3)
        await world.pass_(5)
        assert (world.run_number(), world.pending_request()) == (1, "abort")
    world.api.faults.clear()
    if "status" not in fault:
        await world.deploy(3)
    await world.until(lambda: world.run_number() == 2 and world.weights() == (90, 10), within=90)
    assert world.pending_request() is None
    assert world.request()["words"] == "done: rolling back"
    await world.pass_(20)
    assert (world.run_number(), world.weights()) == (2, (90, 10))


async def test_two_requests_one_after_the_other(world: World) -> None:
    """A second request that overwrites the first before it was seen is the one that counts; ids tell them apart."""
    await world.begin(steps=SLOW)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.ask({"id": "1", "verb": "pause"})
    await answered(world, "1")
    await world.ask({"id": "1", "verb": "resume"})
    await world.until(lambda: world.pending_request() is None, within=10)
    assert world.phase() == "Paused", "the same id is the same request"
    await world.ask({"id": "2", "verb": "resume"})
    await answered(world, "2")
    assert world.phase() == "Progressing"


async def test_spec_paused_keeps_a_run_where_it_is(world: World) -> None:
    """spec.paused pauses a run and starts none; set to false, everything goes on."""
    await world.begin(steps=SLOW)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.edit(paused=True)
    await world.until(lambda: world.phase() == "Paused", within=5)
    assert world.status()["paused"]["reason"] == "PausedBySpec"
    assert (await ask(world, "resume", "json", 1))["words"].startswith("refused: spec.paused")
    await world.edit(paused=False)
    await world.until(lambda: world.phase() == "Progressing", within=5)
    await ask(world, "abort", "json", 2)
    await world.until(lambda: world.phase() == "RolledBack")
    await world.edit(paused=True)
    await world.deploy(3)
    await world.pass_(30)
    assert world.run_number() == 1
    assert (await ask(world, "start", "json", 3))["words"].startswith("refused: spec.paused")
    await world.edit(paused=False)
    await world.until(lambda: world.run_number() == 2, within=30)


async def test_a_request_on_a_rollout_that_goes(world: World) -> None:
    """A request on a Rollout that is being deleted hinders nobody."""
    await world.begin(steps=SLOW)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.ask("pause")
    await world.gitops.delete(ROLLOUTS, "shop", world.namespace)
    await world.until(lambda: world.find(ROLLOUTS, "shop") is None, within=10)
    assert world.weights() == (1, 0)
    assert world.intent() is None


@pytest.mark.parametrize("reason", ["R&D wants it", "p99 > 300ms, see <the board>", "c'est prêt → 日本"])
async def test_a_reason_may_be_any_text(world: World, reason: str) -> None:
    """A request is done and taken off whatever its reason says: an API server compares texts as they are spelt."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1)
    await world.ask({"id": "r-1", "verb": "pause", "by": "alice", "reason": reason})
    await world.until(lambda: world.phase() == "Paused" and world.pending_request() is None)
    assert world.request()["reason"] == reason
    await world.ask({"id": "r-2", "verb": "abort", "by": "alice", "reason": reason})
    await world.until(lambda: world.phase() == "RolledBack")
    assert list(clean(world)) == []
