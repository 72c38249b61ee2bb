"""Jobs of checks beside everything else that happens: others' Jobs, other containers, refusals, answers that come late, many at once."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from scripted_kube import ScriptedKube

from canary.checks.sources.job import Job
from canary.controller.clock import ManualClock, SystemClock
from canary.controller.job_documents import LAST_WORDS, RunOf, manifest
from canary.controller.job_requests import MOST_PAGES, PLACES
from canary.controller.jobs import JOBS_ACCOUNT, Jobs
from canary.errors import ApiError, Forbidden, Refused, Unavailable
from canary.kube import HTTPROUTES, JOBS, PODS, SELF_REVIEWS, SERVICEACCOUNTS, KubeClient
from canary.model.check_status import CheckStatus
from canary.model.measurement import Malformed, Measurement, Sample, Unreachable
from canary.model.run_status import Outcome, RunStatus
from canary.model.status import Phase, RolloutStatus

Json = dict[str, Any]

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMOKE = Job("registry.example.com/smoke:1")
FOR = RunOf("team", "shop", "uid-of-shop", 7, START, "smoke")


class Bench:
    """An API server, and a controller's Jobs on it. Whoever plays the kubelet is here, too."""

    def __init__(self) -> None:
        self.kube = ScriptedKube()
        self.clock = ManualClock(START)
        self.jobs = Jobs(self.kube, self.clock)
        self.runs: list[asyncio.Task[Measurement]] = []

    def begin(self, job: Job = SMOKE, run_of: RunOf = FOR) -> asyncio.Task[Measurement]:
        self.runs.append(asyncio.create_task(self.jobs.run(job, run_of)))
        return self.runs[-1]

    async def pass_(self, seconds: float = 0) -> None:
        """Time goes by, and whoever can do something does it."""
        for _ in range(max(1, round(seconds))):
            for _ in range(60):
                await asyncio.sleep(0)
            if seconds:
                self.clock.advance(1)
        for _ in range(60):
            await asyncio.sleep(0)

    def over(self) -> None:
        """The run is over by its status, which is passed on."""
        run = RunStatus(number=FOR.run, started_at=START, outcome=Outcome.ROLLED_BACK, ended_at=self.clock.now())
        check = CheckStatus(name=FOR.check, job_seconds=SMOKE.timeout)
        self.jobs.tidy("team", FOR.uid, RolloutStatus(phase=Phase.ROLLING_BACK, run=run, checks=(check,)))

    def there(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.kube.kept(JOBS)]

    def made(self) -> list[str]:
        """Names of those whose creation was asked for."""
        return [asked.name for asked in self.kube.asked if asked.verb == "create" and asked.plural == "jobs"]

    def end(self, name: str, kind: str = "Complete", containers: tuple[tuple[str, int], ...] = (("check", 0),)) -> None:
        (job,) = (one for one in self.kube.kept(JOBS) if one["metadata"]["name"] == name)
        states = [{"name": each, "state": {"terminated": {"exitCode": code}}} for each, code in containers]
        owner = {"kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
        metadata = {"name": f"{name}-x", "namespace": "team", "labels": {"job-name": name}, "ownerReferences": [owner]}
        self.kube.put(PODS, {"metadata": metadata, "status": {"containerStatuses": states}})
        self.kube.put(JOBS, {**job, "status": {"conditions": [{"type": kind, "status": "True"}]}})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    for task in made.runs:
        task.cancel()
    await asyncio.gather(*made.runs, return_exceptions=True)
    await made.jobs.close()


async def cancelled(task: asyncio.Task[Measurement]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def own_command(job: Json) -> None:
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["true"]


def environment(job: Json) -> None:
    job["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "x"}}]


def managed_elsewhere(job: Json) -> None:
    job["spec"]["managedBy"] = "example.com/forger"


def nothing_at_all(job: Json) -> None:
    job["metadata"]["annotations"] = {"as": "ours in every field"}


@pytest.mark.parametrize("forge", [own_command, environment, managed_elsewhere, nothing_at_all])
@pytest.mark.parametrize("name", ["their-name", manifest(SMOKE, FOR)["metadata"]["name"]])
async def test_a_job_speaks_only_if_this_process_has_created_it(
    bench: Bench, forge: Callable[[Json], None], name: str
) -> None:
    """Whatever another one says of itself, and whether or not it looks like ours; what claims to be ours is removed."""
    theirs = copy.deepcopy(manifest(SMOKE, FOR))
    theirs["metadata"]["name"] = name
    forge(theirs)
    uid = bench.kube.put(JOBS, theirs)["metadata"]["uid"]
    run = bench.begin()
    await bench.pass_(2)
    (ours,) = bench.kube.kept(JOBS)
    assert ours["metadata"]["uid"] != uid
    assert bench.made() == [ours["metadata"]["name"]]
    bench.end(ours["metadata"]["name"], "Failed", (("check", 3),))
    await bench.pass_(2)
    found = run.result()
    assert isinstance(found, Sample)
    assert found.value == 0


def account_of(bench: Bench) -> tuple[str | None, bool]:
    """As whom the Job that was created last runs, and whether it has a token of that."""
    job = [asked.body for asked in bench.kube.asked if (asked.verb, asked.plural) == ("create", "jobs")][-1]
    spec = job["spec"]["template"]["spec"]
    return spec.get("serviceAccountName"), spec["automountServiceAccountToken"]


async def test_who_names_no_account_gets_the_one_without_rights_where_a_platform_has_made_it(bench: Bench) -> None:
    """What clouds give to the pods of `default` is not theirs then. Without it, or the right to look, it is `default` as before."""
    metadata = {"name": JOBS_ACCOUNT, "namespace": "team"}
    bench.kube.put(SERVICEACCOUNTS, {"metadata": {**metadata, "namespace": "another"}})
    bench.begin()
    await bench.pass_(2)
    assert account_of(bench) == (None, False)
    bench.kube.script("get", "serviceaccounts", error=Forbidden("no", status=403))
    bench.begin(run_of=replace(FOR, uid="uid-2", rollout="other"))
    await bench.pass_(2)
    assert account_of(bench) == (None, False)
    bench.kube.put(SERVICEACCOUNTS, {"metadata": metadata})
    bench.begin(run_of=replace(FOR, uid="uid-3", rollout="third"))
    await bench.pass_(2)
    assert account_of(bench) == (JOBS_ACCOUNT, False)


async def test_nobody_runs_as_default_because_the_api_server_did_not_answer(bench: Bench) -> None:
    """Whether there is one is not known then, and the Job waits."""
    bench.kube.put(SERVICEACCOUNTS, {"metadata": {"name": JOBS_ACCOUNT, "namespace": "team"}})
    bench.kube.script("get", "serviceaccounts", error=Unavailable("not now"))
    run = bench.begin()
    await bench.pass_(2)
    found = run.result()
    assert isinstance(found, Unreachable)
    assert (found.reason, bench.made()) == ("JobUnknown", [])


async def test_a_job_of_an_earlier_process_is_run_again(bench: Bench) -> None:
    """One at a time: it goes before its successor comes."""
    first = bench.begin()
    await bench.pass_(2)
    (before,) = bench.kube.kept(JOBS)
    await cancelled(first)
    bench.jobs = Jobs(bench.kube, bench.clock)
    second = bench.begin()
    await bench.pass_(2)
    (after,) = bench.kube.kept(JOBS)
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    bench.end(after["metadata"]["name"])
    await bench.pass_(2)
    assert isinstance(second.result(), Sample)


@pytest.mark.parametrize("ends_meanwhile", [False, True])
async def test_a_task_that_asks_the_same_again_waits_for_the_same_job(bench: Bench, ends_meanwhile: bool) -> None:
    """Of this process, for the same step; what it has said is no answer to the next question."""
    first = bench.begin()
    await bench.pass_(2)
    (name,) = bench.there()
    await cancelled(first)
    if ends_meanwhile:
        bench.end(name)
    second = bench.begin()
    await bench.pass_(2)
    assert bench.made() == [name]
    if not ends_meanwhile:
        bench.end(name)
    await bench.pass_(2)
    assert isinstance(second.result(), Sample)
    bench.begin(run_of=RunOf("team", "shop", "uid-of-shop", 7, START, "smoke", attempt=2))
    await bench.pass_(2)
    assert bench.made() == [name, f"{name.removesuffix('-1')}-2"] == [name, *bench.there()]


async def test_another_question_has_another_job(bench: Bench) -> None:
    """The one for the step before goes."""
    first = bench.begin()
    await bench.pass_(2)
    (before,) = bench.there()
    await cancelled(first)
    bench.begin(run_of=RunOf("team", "shop", "uid-of-shop", 7, START.replace(hour=13), "smoke"))
    await bench.pass_(2)
    (after,) = bench.there()
    assert before != after


@pytest.mark.parametrize(
    ("containers", "value"),
    [
        ((("check", 3), ("istio-proxy", 0)), 0.0),
        ((("istio-proxy", 255), ("check", 3)), 0.0),
        ((("check", 3), ("istio-proxy", 255)), 0.0),
        ((("check", 0), ("istio-proxy", 255)), None),
        ((("istio-proxy", 255), ("check", 0)), None),
        ((("istio-proxy", 255),), None),
        ((), None),
    ],
)
async def test_only_its_own_container_speaks(
    bench: Bench, containers: tuple[tuple[str, int], ...], value: float | None
) -> None:
    """What admission puts beside it (a sidecar of a mesh) may end as it likes: that is nobody's failure. None: Unknown."""
    run = bench.begin()
    await bench.pass_(2)
    (name,) = bench.there()
    bench.end(name, "Failed", containers)
    await bench.pass_(2)
    found = run.result()
    if value is not None:
        assert isinstance(found, Sample)
        assert (found.value, found.note) == (value, f"Job {name} failed with exit code 3")
        return
    assert isinstance(found, Unreachable)
    assert found.reason == "JobBroken"


QUOTA = 'jobs.batch "smoke" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, used: count/jobs.batch=5'
HOOK = 'admission webhook "policy.example.com" denied the request: \x1b[31m' + "no\n" * 5000
RBAC = (
    'jobs.batch is forbidden: User "canary" cannot create resource "jobs" in API group "batch" in the namespace "team"'
)


@pytest.mark.parametrize(
    ("error", "allowed", "kind", "reason", "says"),
    [
        (Forbidden(QUOTA, status=403), True, Unreachable, "JobRefused", "exceeded quota: few"),
        (Forbidden(HOOK, status=403), True, Unreachable, "JobRefused", 'webhook "policy.example.com" denied'),
        (Refused(HOOK, status=400), True, Malformed, "JobRefused", 'webhook "policy.example.com" denied'),
        (Forbidden(RBAC, status=403), False, Malformed, "JobForbidden", "the controller may not create jobs"),
        (Forbidden(f"exceeded quota: {RBAC}", status=403), False, Malformed, "JobForbidden", "rbac.jobs.namespaces"),
        (Forbidden("Unauthorized", status=401), True, Malformed, "JobForbidden", "does not know the controller"),
        (Forbidden(QUOTA, status=403), None, Unreachable, "JobUnknown", "exceeded quota: few"),
    ],
)
async def test_why_a_job_is_refused(
    bench: Bench, error: ApiError, allowed: bool | None, kind: type[Measurement], reason: str, says: str
) -> None:
    """A right that is missing is told apart from a quota or a policy by asking for the right, and not by what a text says."""
    bench.kube.script("create", JOBS.plural, error=error)
    reviewed: Json = {"error": Unavailable("")} if allowed is None else {"answer": {"status": {"allowed": allowed}}}
    bench.kube.script("create", SELF_REVIEWS.plural, times=None, **reviewed)
    run = bench.begin()
    await bench.pass_(1)
    found = run.result()
    assert isinstance(found, kind)
    assert not isinstance(found, Sample)
    assert getattr(found, "reason", "") == reason
    message = getattr(found, "message", "")
    assert says in message
    assert message.isprintable()
    assert len(message) < LAST_WORDS + 400


@pytest.mark.parametrize("fate", ["answered late", "answer lost", "committed after its answer was given up"])
async def test_a_run_that_ends_while_a_job_is_being_created_leaves_none(bench: Bench, fate: str) -> None:
    """The request is on its way when the traffic is taken back; whatever becomes of it, the Job goes."""
    under_way, released = asyncio.Event(), asyncio.Event()

    async def held() -> None:
        under_way.set()
        await released.wait()

    if fate == "committed after its answer was given up":
        bench.kube.script("create", JOBS.plural, delay=0, answer={}, then=held, lost=True)
    else:
        bench.kube.script("create", JOBS.plural, then=held, lost=fate == "answer lost")
    run = bench.begin()
    await asyncio.wait_for(under_way.wait(), 20)
    kept = bench.kube.kept(JOBS)
    if kept:  # as one who lists now does not see it yet
        await bench.kube.delete(JOBS, kept[0]["metadata"]["name"], "team")
    run.cancel()
    bench.jobs.remove("team", FOR.uid, "smoke")
    bench.over()
    await bench.pass_(1)
    if kept:
        bench.kube.put(JOBS, kept[0])
    released.set()
    await bench.pass_(2)
    if not kept:
        bench.kube.put(JOBS, manifest(SMOKE, FOR))
        await bench.pass_(80)
    assert bench.made()
    assert bench.there() == []
    assert run.cancelled()


async def test_a_job_whose_creation_has_no_answer_is_removed_and_never_its_successor(bench: Bench) -> None:
    """The next attempt has a Job of its own; looks for the lost one leave it alone, by whatever name."""
    bench.kube.script("create", JOBS.plural, lost=True)
    run = bench.begin()
    await bench.pass_(1)
    found = run.result()
    assert isinstance(found, Unreachable)
    assert found.reason == "JobUnknown"
    assert bench.there() == []
    again = bench.begin()
    await bench.pass_(80)
    (name,) = bench.there()
    bench.end(name)
    await bench.pass_(10)
    assert isinstance(again.result(), Sample)


async def test_a_task_that_is_cancelled_cancels_no_removal(bench: Bench) -> None:
    """Whoever begins to wait for a Job while others are being removed, and gives up."""
    load = RunOf("team", "shop", "uid-of-shop", 7, START, "load")
    first = bench.begin(run_of=load)
    await bench.pass_(2)
    released = asyncio.Event()
    bench.kube.script("pages", JOBS.plural, then=released.wait)
    bench.kube.script("list", JOBS.plural, then=released.wait)
    bench.kube.script("get", JOBS.plural, then=released.wait)
    await cancelled(first)
    bench.jobs.remove("team", FOR.uid, "load")
    await bench.pass_()
    waits = bench.begin()
    await bench.pass_()
    await cancelled(waits)
    released.set()
    await bench.pass_(1)
    assert bench.there() == []


class Paged(ScriptedKube):
    """Counts the pages that are read."""

    read = 0

    async def pages(self, *args: Any, **selectors: Any) -> Any:
        async for page in super().pages(*args, **selectors):
            self.read += 1
            yield page


def strangers(kube: ScriptedKube, number: int) -> None:
    for each in range(number):
        labels = manifest(SMOKE, FOR)["metadata"]["labels"]
        kube.put(JOBS, {"metadata": {"name": f"a{each:04}", "namespace": "team", "labels": labels}})


@pytest.mark.parametrize(("number", "same_process"), [(150, True), (150, False), (700, True)])
async def test_jobs_of_others_with_our_labels_hide_none(bench: Bench, number: int, same_process: bool) -> None:
    """What this process has created it knows by name; of what an earlier one left, as many pages are read as are bearable."""
    bench.kube = Paged()
    bench.jobs = Jobs(bench.kube, bench.clock)
    run = bench.begin()
    await bench.pass_(2)
    strangers(bench.kube, number)
    await cancelled(run)
    if not same_process:
        bench.jobs = Jobs(bench.kube, bench.clock)
    bench.kube.read = 0
    bench.over()
    await bench.pass_(1)
    assert len(bench.there()) == number
    assert bench.kube.read <= MOST_PAGES


class SlowToCreate:
    """An API server whose admission never answers about Jobs. It knows whose are under way, the most there were, and who looked."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.most = self.looks = 0
        self._changed = asyncio.Condition()

    async def answer(self, request: web.Request) -> web.Response:
        about_jobs = request.path.endswith("/jobs")
        async with self._changed:
            if about_jobs and request.method == "POST":
                self.under_way.append(request.path.split("/")[-2])
                self.most = max(self.most, len(self.under_way))
            self.looks += about_jobs and request.method == "GET"
            self._changed.notify_all()
        if about_jobs and request.method == "POST":
            await asyncio.Event().wait()
        if request.method == "PATCH":
            metadata = {"name": "shop", "namespace": "victim", "resourceVersion": "2"}
            return web.json_response({"kind": "HTTPRoute", "metadata": metadata})
        *_, namespace, plural, name = request.path.split("/")
        if plural == "serviceaccounts":
            return web.json_response({"kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
        return web.json_response({"kind": "List", "items": [], "metadata": {}})

    async def until(self, so: Callable[[], bool]) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(so), 60)


@asynccontextmanager
async def served(api: SlowToCreate) -> AsyncIterator[KubeClient]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with await KubeClient.connect(server=url, token="t", timeout=60) as kube:
            yield kube
    finally:
        await runner.cleanup()


async def test_many_jobs_in_a_slow_webhook_take_no_connection_from_routes_or_other_teams() -> None:
    """Of one team's 150 a few are under way, another team's Job is, too, and who writes a route finds a connection."""
    api = SlowToCreate()
    async with served(api) as kube:
        jobs = Jobs(kube, SystemClock())

        def begin(team: str, number: int) -> asyncio.Task[Measurement]:
            return asyncio.create_task(jobs.run(SMOKE, RunOf(team, f"r{number}", f"{team}-{number}", 1, START, "load")))

        runs = [begin("slow", number) for number in range(150)]
        await api.until(lambda: api.looks == len(runs) and len(api.under_way) >= PLACES // 2)
        async with asyncio.timeout(30):
            await kube.json_patch(HTTPROUTES, "shop", "victim", [{"op": "add", "path": "/spec/x", "value": 0}])
        runs.append(begin("other", 1))
        await api.until(lambda: "other" in api.under_way)
        assert api.most <= PLACES
        assert api.under_way.count("slow") <= PLACES // 2
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        sent = len(api.under_way)
        await jobs.close()
        assert len(api.under_way) == sent  # what had not been sent is not sent any more
