"""`canary wait`: what each goal means, as a table, and as a process that follows a watch."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_kit import NOW, PHASES, Run, awaiting_approval, canary, conditions, ended, rollout, status
from cluster_kit import api_server, install_all, own_namespace
from scripted_kube import ScriptedKube

from canary.cli.wait import Until, _Over
from canary.kube import DEPLOYMENTS, NAMESPACES, ROLLOUTS, STATEFULSETS, Kube, KubeClient, Resource
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.run_status import Outcome, StepStatus
from canary.model.status import Phase, RolloutStatus
from canary.model.workload_status import RevisionsStatus
from canary.observe.workloads import revision
from canary.view.goal import Goal, Missed, Reached, Waiting, judge
from canary.view.rollout import view
from canary_sandbox.apiserver import Fault
from canary_sandbox.apiserver.generic import GenericApiServer

NS = own_namespace("team-shop")
P = Phase

READY = {"conditions": conditions("Promoted", ready="True", reconciling="False")}
SUCCEEDED = PHASES[P.SUCCEEDED].model_copy(update=READY)

TABLE: list[tuple[str, RolloutStatus, type]] = [
    ("healthy", PHASES[P.IDLE], Reached),
    ("healthy", SUCCEEDED, Reached),
    ("healthy", PHASES[P.SUCCEEDED], Waiting),  # Ready is not True yet
    ("healthy", PHASES[P.PROGRESSING], Waiting),
    ("healthy", PHASES[P.PAUSED], Waiting),
    ("healthy", PHASES[P.PROMOTING], Waiting),
    ("healthy", PHASES[P.ROLLED_BACK], Missed),
    ("healthy", PHASES[P.INVALID], Missed),
    ("succeeded", SUCCEEDED, Reached),
    ("succeeded", PHASES[P.IDLE], Waiting),  # somebody may just have applied it
    ("succeeded", PHASES[P.PROMOTING], Waiting),
    ("succeeded", PHASES[P.ROLLING_BACK], Missed),  # decided, though traffic is still on its way back
    ("succeeded", PHASES[P.ROLLED_BACK], Missed),
    ("succeeded", PHASES[P.INVALID], Missed),
    ("rolledback", PHASES[P.ROLLED_BACK], Reached),
    ("rolledback", PHASES[P.ROLLING_BACK], Waiting),  # all traffic back first
    ("rolledback", PHASES[P.PROGRESSING], Waiting),
    ("rolledback", SUCCEEDED, Missed),
    ("paused", PHASES[P.PAUSED], Reached),
    ("paused", PHASES[P.PROGRESSING], Waiting),
    ("paused", PHASES[P.IDLE], Waiting),
    ("paused", SUCCEEDED, Missed),
    ("paused", PHASES[P.ROLLING_BACK], Missed),
    ("paused", awaiting_approval(), Reached),
    ("approval", awaiting_approval(), Reached),
    ("approval", PHASES[P.PROGRESSING], Waiting),  # step 4 will ask for one
    ("approval", PHASES[P.PAUSED], Waiting),  # by a hand; once it is resumed, step 4 is to come
    ("approval", PHASES[P.IDLE], Waiting),
    ("approval", status(step=StepStatus(index=4, total=5, started_at=NOW)), Waiting),
    ("approval", status(step=StepStatus(index=4, total=5, started_at=NOW, approved=True)), Missed),
    ("approval", status(step=StepStatus(index=5, total=5, started_at=NOW)), Missed),  # none is left that asks
    ("approval", status(run=status().run.model_copy(update={"full": True})), Missed),
    ("approval", PHASES[P.PROMOTING], Missed),
    ("approval", PHASES[P.ROLLING_BACK], Missed),
    ("approval", PHASES[P.INVALID], Missed),
    ("approval", SUCCEEDED, Missed),
    ("idle", PHASES[P.IDLE], Reached),
    ("idle", PHASES[P.ROLLED_BACK], Reached),
    ("idle", SUCCEEDED, Reached),
    ("idle", PHASES[P.INVALID], Reached),
    ("idle", PHASES[P.PAUSED], Waiting),
    ("idle", PHASES[P.ROLLING_BACK], Waiting),
    ("step=2", PHASES[P.PROGRESSING], Reached),  # it stands at step 3
    ("step=3", PHASES[P.PROGRESSING], Reached),
    ("step=4", PHASES[P.PROGRESSING], Waiting),
    ("step=3", status(step=StepStatus(index=3, total=5, started_at=NOW)), Waiting),  # written, not accepted yet
    ("step=5", PHASES[P.PROMOTING], Reached),
    ("step=5", SUCCEEDED, Reached),
    ("step=2", PHASES[P.ROLLING_BACK], Missed),
    ("step=1", PHASES[P.ROLLED_BACK], Missed),
    ("step=1", PHASES[P.IDLE], Waiting),
    ("step=6", PHASES[P.PROGRESSING], Missed),  # there are five
]


@pytest.mark.parametrize(("goal", "found", "judgement"), TABLE)
def test_each_goal_is_reached_missed_or_waited_for(goal: str, found: RolloutStatus, judgement: type) -> None:
    """For every phase."""
    said = judge(Goal.parse(goal), view(rollout(found)))
    assert type(said) is judgement
    assert said.words


GOALS = ["healthy", "succeeded", "rolledback", "paused", "approval", "idle", "step=1", "step=9"]


@pytest.mark.parametrize("goal", GOALS)
def test_a_stale_status_decides_nothing(goal: str) -> None:
    """Behind the spec, before the controller's first word, or with a request to be answered: wait, whatever it says."""
    for found in (*PHASES.values(), SUCCEEDED):
        behind = rollout(found, generation=4)
        asked = rollout(found, annotations={REQUEST_ANNOTATION: '{"id": "r-2", "verb": "start"}'})
        for document in (behind, asked, rollout(None)):
            assert isinstance(judge(Goal.parse(goal), view(document)), Waiting)


@pytest.mark.parametrize(
    ("goal", "reached", "missed"),
    [
        ("succeeded", "has succeeded", "will not succeed"),
        ("rolledback", "was rolled back", "will not be rolled back"),
        ("healthy", "is healthy", "will not be healthy"),
        ("step=2", "has reached step 2", "will not reach step 2"),
    ],
)
def test_a_goal_is_said_in_plain_words(goal: str, reached: str, missed: str) -> None:
    """Whatever the option calls it."""
    found = Goal.parse(goal)
    assert (found.reached, f"will not {found.infinitive}") == (reached, missed)


def test_without_an_approval_step_nothing_is_waited_for() -> None:
    """A pipeline that waits for an approval which no step asks for learns so at once."""
    document = rollout(PHASES[P.IDLE])
    document["spec"]["steps"] = [{"weight": 10}, {"weight": 100}]
    said = judge(Goal.parse("approval"), view(document))
    assert said == Missed("no step of it asks for an approval")


def test_an_answered_request_does_not_hold_it_up() -> None:
    """The annotation may outlive its answer for a moment."""
    document = rollout(SUCCEEDED, annotations={REQUEST_ANNOTATION: '{"id": "r-1", "verb": "start"}'})
    assert isinstance(judge(Goal.parse("healthy"), view(document)), Reached)


def test_ready_of_an_older_spec_is_not_ready() -> None:
    """The condition has its own observedGeneration, and a later controller may keep it behind for a while."""
    old = tuple(item.model_copy(update={"observed_generation": 2}) for item in READY["conditions"])
    found = SUCCEEDED.model_copy(update={"conditions": old})
    assert isinstance(judge(Goal.parse("healthy"), view(rollout(found))), Waiting)


@pytest.mark.parametrize("text", ["", "done", "step", "step=", "step=0", "step=x", "healthy=1"])
async def test_a_goal_that_there_is_not_ends_with_2(text: str) -> None:
    """And says which there are."""
    with pytest.raises(ValueError, match="healthy, paused, approval, rolledback, succeeded, idle, step=N"):
        Goal.parse(text)
    if text == "done":
        ran = await canary("wait", "shop", "--for", text)
        assert ran.code == 2
        assert "nothing to wait for" in " ".join(ran.err.split())


class Cluster:
    """An API server with a Rollout, whose status the test writes as a controller would."""

    def __init__(self, api: GenericApiServer, kube: Kube, config: Path) -> None:
        self.api, self.kube, self.config = api, kube, config

    async def wait(self, *arguments: str) -> Run:
        return await canary("wait", "shop", *arguments, KUBECONFIG=str(self.config))

    async def create(self, found: RolloutStatus | None = None) -> None:
        document = rollout(None)
        document["metadata"] = {"name": "shop", "namespace": NS}
        await self.kube.create(ROLLOUTS, document)
        if found is not None:
            await self.set(found)

    async def set(self, found: RolloutStatus, generation: int = 1) -> None:
        moved = tuple(item.model_copy(update={"observed_generation": generation}) for item in found.conditions)
        body = found.model_copy(update={"observed_generation": generation, "conditions": moved}).dump()
        await self.kube.merge_patch(ROLLOUTS, "shop", NS, {"status": body}, subresource="status")

    async def deploy(self, image: str) -> str:
        """Create or change the canary Deployment; answers its revision."""
        body: dict[str, Any] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "shop-canary", "namespace": NS},
            "spec": {
                "selector": {"matchLabels": {"app": "shop"}},
                "template": {
                    "metadata": {"labels": {"app": "shop"}},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            },
        }
        names = [item["metadata"]["name"] for item in (await self.kube.list(DEPLOYMENTS, NS))["items"]]
        if "shop-canary" in names:
            return revision(await self.kube.merge_patch(DEPLOYMENTS, "shop-canary", NS, body))
        return revision(await self.kube.create(DEPLOYMENTS, body))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api_server() as api:
        await install_all(api)
        config = api.kubeconfig(tmp_path / "config", namespace=NS)
        async with await KubeClient.connect(kubeconfig=str(config)) as kube:
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
            yield Cluster(api, kube, config)


class Waiter:
    """A running `canary wait` whose lines can be awaited."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line_with(self, words: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while True:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"ended without {words!r}"
                if words in line:
                    return

    async def end(self) -> tuple[int, str, str]:
        async with asyncio.timeout(20):
            out, err = await self.process.communicate()
        return self.process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def waiting(cluster: Cluster, *arguments: str) -> AsyncIterator[Waiter]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "canary", "wait", "shop", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": str(cluster.config), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    try:
        yield Waiter(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_follows_to_the_end_of_a_run(cluster: Cluster) -> None:
    """A line for each change, then the goal; one list and one watch, nothing is polled."""
    await cluster.create(status())
    async with waiting(cluster, "--for", "succeeded") as waiter:
        await waiter.line_with("step 3/5  weight 50 %")
        await cluster.set(PHASES[P.PROMOTING])
        await waiter.line_with("Promoting")
        await cluster.set(SUCCEEDED)
        code, out, err = await waiter.end()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{NS}/shop has succeeded: run 7 succeeded"
    asked = [entry for entry in cluster.api.audit if entry.resource == "rollouts" and "cli" in entry.user_agent]
    assert [entry.verb for entry in asked] == ["list", "watch"]


async def test_what_ended_otherwise_is_3_and_quiet_says_only_that(cluster: Cluster) -> None:
    """A pipeline's log with --quiet has the reason of the failure and nothing else."""
    await cluster.create(PHASES[P.ROLLED_BACK])
    ran = await cluster.wait("--for", "succeeded", "--quiet")
    assert (ran.code, ran.out) == (3, "")
    words = "run 7 was rolled back: error-rate: 0.12 > 0.01"
    assert ran.err == f"Error: {NS}/shop will not succeed: {words}\n"


async def test_too_late_is_4_and_not_there_is_5(cluster: Cluster) -> None:
    """Both with what there is to know; deletion while it waits is 5 as well."""
    await cluster.create(status())
    late, absent = await asyncio.gather(
        cluster.wait("--for", "healthy", "--timeout", "400ms", "-q"),
        canary("wait", "nope", "--for", "healthy", KUBECONFIG=str(cluster.config)),
    )
    assert late.code == 4
    assert "was not healthy within 0.4 s" in late.err
    assert absent.code == 5
    async with waiting(cluster, "--for", "idle") as waiter:
        await waiter.line_with("Progressing")
        await cluster.kube.delete(ROLLOUTS, "shop", NS)
        code, _, err = await waiter.end()
    assert (code, err) == (5, f"Error: the Rollout {NS}/shop was deleted\n")


async def test_a_server_that_was_never_reached_is_7_however_short_the_time(tmp_path: Path) -> None:
    """With what stood in the way: nothing is known of the Rollout, so it is not said to be late."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        config = tmp_path / "config"
        config.write_text(
            "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], "
            f'users: [{{name: u, user: {{}}}}], clusters: [{{name: c, cluster: {{server: "{address}"}}}}]}}'
        )
        ran = await canary("wait", "shop", "--for", "idle", "--timeout", "1s", KUBECONFIG=str(config))
    assert (ran.code, ran.out) == (7, "")
    assert ran.err.startswith(
        f"Error: the API server cannot be reached: no connection to {address}: connection refused"
    )


async def test_a_new_image_that_the_controller_has_not_seen_is_not_healthy(cluster: Cluster) -> None:
    """`kubectl set image` changes nothing in the Rollout: the old success must not pass for the new release's."""
    seen = await cluster.deploy("shop:1")
    known = SUCCEEDED.model_copy(update={"revisions": RevisionsStatus(stable=seen, canary=seen, settled=seen)})
    await cluster.create(known)
    assert (await cluster.wait("--for", "healthy")).code == 0
    new = await cluster.deploy("shop:2")
    late = await cluster.wait("--for", "succeeded", "--timeout", "2s", "-q")
    assert late.code == 4
    assert f"the controller has not seen revision {new} of Deployment shop-canary yet" in late.err
    async with waiting(cluster, "--for", "succeeded") as waiter:
        await waiter.line_with("Succeeded")
        revisions = RevisionsStatus(stable=seen, canary=new, settled=seen)
        await cluster.set(status(revisions=revisions))
        await waiter.line_with("Progressing")
        lost = ended(Outcome.ROLLED_BACK, number=8)
        await cluster.set(PHASES[P.ROLLED_BACK].model_copy(update={"revisions": revisions, "run": lost}))
        assert (await waiter.end())[0] == 3


CLONE_SETS = Resource("apps.kruise.io", "v1alpha1", "clonesets", "CloneSet")


@pytest.mark.parametrize("resource", [STATEFULSETS, CLONE_SETS], ids=lambda resource: resource.kind)
async def test_a_workload_of_any_kind_is_looked_at(resource: Resource) -> None:
    """One of another group is found by discovery. What a revision includes besides a pod spec, the controller alone reads."""
    kube = ScriptedKube(served=[STATEFULSETS, CLONE_SETS])
    pods = {"template": {"spec": {"containers": [{"name": "app", "image": "shop:2"}]}}}
    kept = kube.put(resource, {"metadata": {"name": "shop-canary", "namespace": NS}, "spec": pods})
    document = rollout(SUCCEEDED)
    document["metadata"]["namespace"] = NS
    ref = {"apiVersion": resource.api_version, "kind": resource.kind, "name": "shop-canary"}
    document["spec"]["workloads"] = {"stable": {"name": "shop-stable"}, "canary": ref}
    until = Until(kube, Goal.parse("healthy"), None)
    await until.change(document)
    assert until.last == Waiting(
        f"the controller has not seen revision {revision(kept)} of {resource.kind} shop-canary yet"
    )
    document["spec"]["revision"] = {"includes": ["configs"]}
    kube.asked.clear()
    with pytest.raises(_Over):
        await until.change(document)
    assert kube.asked == []


async def test_without_the_right_to_read_workloads_it_says_what_it_cannot_see(cluster: Cluster) -> None:
    """The answer is then the status's word alone, and a line says so."""
    await cluster.create(SUCCEEDED)
    cluster.api.faults.add(Fault(verb="get", resource="deployments", status=403))
    ran = await cluster.wait("--for", "healthy", "-q")
    assert ran.code == 0
    assert ran.err.startswith("Warning: cannot read Deployment shop-canary (")


async def test_a_dropped_watch_is_taken_up_again(cluster: Cluster) -> None:
    """What came meanwhile is not missed."""
    await cluster.create(status())
    async with waiting(cluster, "--for", "paused", "--timeout", "30s") as waiter:
        await waiter.line_with("Progressing")
        cluster.api.drop_watches()
        await cluster.set(PHASES[P.PAUSED])
        assert (await waiter.end())[0] == 0
