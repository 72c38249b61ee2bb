"""Jobs of checks: created in the Rollout's own namespace, owned by it, watched to their end, and removed with the run.

Whoever may write a Rollout could have anything run by us that the controller may create. So what is created is built from a
few declared fields, and not taken over: one container without volumes, without a way to the node, as no root, and without a token
of any ServiceAccount but one whose owner allows that (`job_documents.py`). What is found is not believed, whatever it says of itself:
a Job speaks for the canary if this process created it, and knows its uid from the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from canary.backoff import Backoff
from canary.checks.sources.job import Job
from canary.controller.clock import Clock
from canary.controller.job_documents import (
    RunOf,
    ended,
    ending,
    left_until,
    manifest,
    owned,
    reason,
    run_of,
    worded,
)
from canary.controller.job_requests import JobRequests
from canary.errors import (
    AlreadyExists,
    ApiError,
    Forbidden,
    NotFound,
    Refused,
    Unavailable,
    Unprocessable,
    WriteAltered,
)
from canary.fair import Tenant
from canary.kube import Kube
from canary.metrics.port import Query, Refusal
from canary.model.measurement import Malformed, Measurement, Sample, Unreachable
from canary.model.status import RolloutStatus

log = logging.getLogger("canary.jobs")

Json = dict[str, Any]

ALLOWED = "canary.dev/jobs"
"""The annotation of a ServiceAccount that lets Jobs of checks run as it: `allowed`."""

JOBS_ACCOUNT = "canary-jobs"
"""The ServiceAccount, without rights, that Jobs run as which name none, where there is one: the component `jobs` brings it. `default` may
have rights of its own, which clouds give to pods without a token."""

NEEDED = (
    ("batch", "jobs", ("create", "get", "list", "delete")),
    ("", "pods", ("list",)),
)
"""What the controller has to be allowed to in a namespace. ServiceAccounts are read where one is named."""
FOR_ACCOUNTS = ("", "serviceaccounts", ("get",))

POLL = 1.0
SLOWEST_POLL = 5.0
GRACE = 60.0
"""Seconds after its time in which a Job has to be ended by the API server."""
NOT_RUN = frozenset({"JobRefused", "JobUnknown", "JobAltered"})
"""Why nothing is known of a Job that has not been run to its end."""
ONCE = ("backoffLimit", "completions", "parallelism")
"""What of a Job says that its test is run once, so that one exit code is its answer."""
AT_THE_END = 0.3
"""Seconds that a controller which ends gives to what is to be removed."""
NAMES = 8
"""Names that are tried, where they are taken."""
TIDY = 5.0, 300.0
"""Seconds until it is tried again to remove what a run left, at first and at the longest."""
LOOKS = (0.0, 15.0, 50.0)
"""Pauses between looks for a Job that is to go: a request whose answer nobody has may take effect for as long as the API server
gives a request, which is a minute."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A Job that this process has created, and what for. Nobody waits for it any more from `until` on."""

    namespace: str
    name: str
    uid: str
    question: str
    began: datetime
    until: datetime


class Jobs:
    """Runs Jobs, and says what came of them. It is also who is asked whether they could be run. For one event loop."""

    def __init__(self, kube: Kube, clock: Clock) -> None:
        self._requests, self._clock = JobRequests(kube), clock
        self._made: dict[tuple[str, str], _Made] = {}
        """By Rollout's uid and check."""
        self._naming: Counter[tuple[str, str]] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over: dict[str, int] = {}
        """By Rollout's uid, up to which run nothing is left, or is being removed."""

    async def run(self, job: Job, run_of: RunOf) -> Measurement:
        """Run it to its end. Nothing raises; a task that is cancelled leaves the Job to the next one that asks the same, to `remove` or `tidy`."""
        now, tenant = self._clock.now(), (run_of.namespace, run_of.uid)
        try:
            refusal = await self._refused_account(job, tenant)
            if refusal:
                return Malformed(now, "ServiceAccountNotAllowed", refusal, job.text)
            made = await self._begun(job, run_of, tenant)
            if made is None:
                words = f"Jobs with all names that it could have are there in namespace {run_of.namespace}, and none is ours"
                return Malformed(now, "JobNameTaken", words, job.text)
            return await self._watched(job, run_of, made, now)
        except Forbidden as error:
            return await self._forbidden(job, tenant, error, now)
        except WriteAltered as error:
            return Unreachable(now, "JobAltered", str(error), job.text)
        except (Unprocessable, Refused) as error:
            return Malformed(now, "JobRefused", f"the API server refuses the Job: {worded(error)}", job.text)
        except ApiError as error:
            return Unreachable(now, "JobUnknown", f"nobody can tell what the Job does: {worded(error)}", job.text)

    def remove(self, namespace: str, uid: str, check: str) -> None:
        """Remove the Jobs of a check, in the background: what they would say is asked no more.

        Those that are created after this call stay. Who waits for one that is to go is cancelled by whoever calls.
        """
        made = self._made.pop((uid, check), None)
        self._spawn(self._removed((namespace, uid), check, made), f"remove jobs of {uid}")

    def tidy(self, namespace: str, uid: str, status: RolloutStatus) -> None:
        """Remove, in the background and once, what a run has left that is over by its status: whoever created it, and may be dead.

        Nothing of a later run goes. It is tried again for as long as Jobs of the run may be there.
        """
        until, run = left_until(status), status.run
        if until is None or run is None or self._clock.now() > until or self._over.get(uid, 0) >= run.number:
            return
        self._over[uid] = run.number
        known = [self._made.pop(key) for key in [key for key in self._made if key[0] == uid]]
        self._spawn(self._tidied((namespace, uid), run.number, known, until), f"remove jobs of {uid}")

    def forget(self, uid: str) -> None:
        """A Rollout is gone, and with it what it owned."""
        self._over.pop(uid, None)

    async def close(self) -> None:
        """Until what is to be removed is removed, or a moment has passed: what is left goes by itself."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=AT_THE_END)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # -- as a provider ------------------------------------------------------------------------------------------------

    async def measure(self, query: Query, now: datetime) -> Measurement:
        """A Job takes its time, and has an owner: see `run`."""
        return Malformed(now, "NoProvider", "a Job is run by a controller, and not asked", query.text)

    async def validate(self, query: Query) -> Refusal | None:
        """Why it could not be run: a right is missing, or its ServiceAccount is not for that. Nothing is created."""
        namespace = query.tenant[0]
        try:
            if missing := await self._missing(query.tenant):
                return Refusal(_missing(namespace, missing), asked=False)
            if isinstance(query.source, Job) and (words := await self._refused_account(query.source, query.tenant)):
                return Refusal(words, asked=False)
        except Forbidden as error:
            return Refusal(f"{_missing(namespace, 'run Jobs')} ({worded(error)})", asked=False)
        except ApiError:
            return None  # nobody can tell now
        return None

    async def _missing(self, tenant: Tenant, *, account: bool = False) -> str:
        """The first right that the controller does not have in a namespace; empty: it has them all."""
        for group, resource, verbs in (*NEEDED, FOR_ACCOUNTS) if account else NEEDED:
            for verb in verbs:
                if not await self._requests.may(tenant, group, resource, verb):
                    return f"{verb} {resource}"
        return ""

    async def _forbidden(self, job: Job, tenant: Tenant, error: Forbidden, now: datetime) -> Measurement:
        """Of a 403, which means a missing right as well as a quota or a policy: the API server is asked which, and no text is read for it."""
        if error.status == 401:
            return Malformed(now, "JobForbidden", "the API server does not know the controller", job.text)
        try:
            missing = await self._missing(tenant, account=bool(job.account))
        except ApiError as unknown:
            words = f"{worded(error)}; nobody can tell whether a right is missing: {worded(unknown)}"
            return Unreachable(now, "JobUnknown", words, job.text)
        if missing:
            return Malformed(now, "JobForbidden", f"{_missing(tenant[0], missing)} ({worded(error)})", job.text)
        words = f"a quota or an admission policy of namespace {tenant[0]} refuses the Job: {worded(error)}"
        return Unreachable(now, "JobRefused", words, job.text)

    # -- one Job ------------------------------------------------------------------------------------------------------

    async def _refused_account(self, job: Job, tenant: Tenant) -> str:
        """Why it may not run as the ServiceAccount that it names; empty: it may."""
        if not job.account:
            return ""
        namespace = tenant[0]
        try:
            found = await self._requests.account(tenant, job.account)
        except NotFound:
            return f"there is no ServiceAccount {job.account} in namespace {namespace}; create it, or correct the name"
        annotations = (found.get("metadata") or {}).get("annotations") or {}
        if annotations.get(ALLOWED) == "allowed":
            return ""
        return (
            f"ServiceAccount {job.account} in namespace {namespace} is not for Jobs of checks; whoever owns it can allow that by "
            f"`kubectl -n {namespace} annotate serviceaccount {job.account} {ALLOWED}=allowed`"
        )

    async def _account_of_jobs(self, tenant: Tenant) -> str:
        """That of Jobs which name none; empty: there is none, or none that may be seen, and they run as `default`."""
        try:
            await self._requests.account(tenant, JOBS_ACCOUNT)
        except (NotFound, Forbidden):
            return ""
        return JOBS_ACCOUNT

    async def _begun(self, job: Job, run_of: RunOf, tenant: Tenant) -> _Made | None:
        """The Job that this process has created for this very question, or a new one. All others of this check go. None: no name is free."""
        key, question = (run_of.uid, run_of.check), run_of.question(job)
        kept = self._made.get(key)
        if kept is not None and (kept.question != question or not await self._there(kept, tenant)):
            await self._gone(kept, tenant)
            self._made.pop(key, None)
            kept = None
        for one in await self._requests.owned(tenant, run_of.uid, run_of.check):
            if kept is None or one["metadata"]["uid"] != kept.uid:
                await self._delete(tenant, one)
        if kept is not None:
            return kept
        account = job.account or await self._account_of_jobs(tenant)
        for number in range(run_of.attempt, run_of.attempt + NAMES):
            body = manifest(job, run_of, number, account)
            name = body["metadata"]["name"]
            with self._named(run_of.namespace, name):
                try:
                    created = await self._created(body, run_of, tenant)
                except AlreadyExists:
                    continue  # of somebody else, or one of ours that is on its way out
                began = self._clock.now()
                until = began + timedelta(seconds=job.timeout + GRACE)
                self._made = {each: made for each, made in self._made.items() if made.until > began}
                made = _Made(run_of.namespace, name, created["metadata"]["uid"], question, began, until)
                altered = _altered(body, created)
                if altered:
                    await self._gone(made, tenant)
                    raise WriteAltered(
                        f"an admission policy changes {altered} of Job {name}, so what it ends with may not be what its test has said; "
                        "let it leave Jobs of checks alone"
                    )
                self._made[key] = made
                return made
        return None

    async def _created(self, body: Json, run_of: RunOf, tenant: Tenant) -> Json:
        """What the API server has created. Where nobody waits for its answer, or has it, what comes of the request is removed."""
        posting = await self._requests.posting(tenant, body)
        self._keep(posting)
        name = body["metadata"]["name"]
        try:
            return await asyncio.shield(posting)
        except asyncio.CancelledError:
            if not posting.cancelled():
                self._spawn(self._undone(posting, run_of.uid, name, tenant), f"remove job {name}")
            raise
        except Unavailable:
            self._spawn(self._swept(run_of.uid, name, tenant), f"remove job {name}")
            raise

    async def _watched(self, job: Job, run_of: RunOf, made: _Made, now: datetime) -> Measurement:
        found = await self._end(job, run_of, made, now)
        if self._made.get((run_of.uid, run_of.check)) == made:
            del self._made[run_of.uid, run_of.check]  # it has said what it had to say, once
        return found

    async def _end(self, job: Job, run_of: RunOf, made: _Made, now: datetime) -> Measurement:
        name, tenant, pause = made.name, (run_of.namespace, run_of.uid), POLL
        while True:
            await self._clock.sleep(pause)
            spent = (self._clock.now() - made.began).total_seconds()
            pause = min(SLOWEST_POLL, max(POLL, spent / 10))
            try:
                found = await self._requests.job(tenant, name)
            except NotFound:
                return Malformed(now, "JobGone", f"Job {name} was removed by somebody before it ended", job.text)
            except Forbidden:
                raise
            except ApiError:
                if spent > job.timeout + GRACE:
                    raise
                continue
            if found["metadata"]["uid"] != made.uid:
                return Malformed(now, "JobGone", f"Job {name} was replaced by somebody before it ended", job.text)
            how = ended(found)
            if how:
                return await self._outcome(job, found, how, tenant, now)
            if spent > job.timeout + GRACE:
                await self._delete(tenant, found)
                return self._late(job, name, now)

    async def _outcome(self, job: Job, found: Json, how: str, tenant: Tenant, now: datetime) -> Measurement:
        name = found["metadata"]["name"]
        end = ending(await self._requests.pods(tenant, name), found["metadata"]["uid"])
        if how == "Complete":
            return Sample(1.0, now, job.text, (1.0,), note=f"Job {name} succeeded", said=end.last)
        if reason(found) == "DeadlineExceeded":
            return self._late(job, name, now, end.last)
        broken = end.broken
        if not broken and end.code is None:
            broken = "its container has not said how it ended"
        if not broken and end.code == 0:
            broken = "its container ended with exit code 0, and something else that admission adds to its pod did not"
        if broken:
            return Unreachable(now, "JobBroken", f"Job {name} failed, and not by its test: {broken}", job.text)
        return Sample(0.0, now, job.text, (0.0,), note=f"Job {name} failed with exit code {end.code}", said=end.last)

    @staticmethod
    def _late(job: Job, name: str, now: datetime, last: str = "") -> Measurement:
        words = ": ".join(filter(None, (f"Job {name} did not end within {job.timeout:g} s", last)))
        return Unreachable(now, "JobTimedOut", words, job.text)

    # -- what is there, and what is to go -----------------------------------------------------------------------------

    @contextmanager
    def _named(self, namespace: str, name: str) -> Iterator[None]:
        """While a Job of this name may be ours, and nobody knows its uid yet."""
        self._naming[namespace, name] += 1
        try:
            yield
        finally:
            self._naming[namespace, name] -= 1
            if not self._naming[namespace, name]:
                del self._naming[namespace, name]

    def _wanted(self, found: Json, namespace: str) -> bool:
        """Whether somebody waits for it, or may do so in a moment."""
        uid = found["metadata"]["uid"]
        named = (namespace, found["metadata"]["name"]) in self._naming
        return named or any(made.uid == uid for made in self._made.values())

    async def _there(self, made: _Made, tenant: Tenant) -> bool:
        try:
            found = await self._requests.job(tenant, made.name)
            return bool(found["metadata"]["uid"] == made.uid)
        except NotFound:
            return False

    async def _gone(self, made: _Made, tenant: Tenant) -> None:
        if await self._there(made, tenant):
            await self._requests.delete(tenant, made.name, made.uid)

    async def _delete(self, tenant: Tenant, found: Json) -> None:
        await self._requests.delete(tenant, found["metadata"]["name"], found["metadata"]["uid"])

    async def _removed(self, tenant: Tenant, check: str, made: _Made | None) -> None:
        """The one that we know by its name: however many others have our labels, it is found. Then what an earlier process left."""
        if made is not None:
            await self._swept(tenant[1], made.name, tenant, made.uid)
        try:
            for one in await self._requests.owned(tenant, tenant[1], check):
                if not self._wanted(one, tenant[0]):
                    await self._delete(tenant, one)
        except ApiError as error:
            _stay(tenant, error)

    async def _tidied(self, tenant: Tenant, run: int, known: list[_Made], until: datetime) -> None:
        """What a run left, and those before it."""
        for made in known:
            await self._swept(tenant[1], made.name, tenant, made.uid)
        backoff, in_vain = Backoff(*TIDY), 0
        while True:
            try:
                for one in await self._requests.owned(tenant, tenant[1], None):
                    of = run_of(one)
                    if of is not None and of <= run and not self._wanted(one, tenant[0]):
                        await self._delete(tenant, one)
            except ApiError as error:
                in_vain += 1
                pause = backoff.pause(in_vain, error)
                if isinstance(error, Forbidden) or self._clock.now() + timedelta(seconds=pause) > until:
                    _stay(tenant, error)
                    return
                await self._clock.sleep(pause)
            else:
                return

    async def _undone(self, posting: asyncio.Task[Json], uid: str, name: str, tenant: Tenant) -> None:
        """Remove what nobody waits for any more, as soon as its creation has been answered, or given up."""
        try:
            created = await posting
        except Unavailable:
            await self._swept(uid, name, tenant)
        except ApiError:
            return  # refused: nothing has been created
        else:
            await self._swept(uid, name, tenant, created["metadata"]["uid"])

    async def _swept(self, owner: str, name: str, tenant: Tenant, uid: str = "") -> None:
        """Remove the Job of this name that nobody waits for, and that this process has created.

        That is told by its uid, whatever a policy makes of its owner. Without that it may yet appear, and is the one that the Rollout owns.
        """
        error: ApiError | None = None
        for pause in LOOKS:
            if pause:
                await self._clock.sleep(pause)
            try:
                found = await self._requests.job(tenant, name)
                ours = found["metadata"]["uid"] == uid if uid else owned(found, owner)
                if ours and not self._wanted(found, tenant[0]):
                    await self._delete(tenant, found)
            except NotFound:
                error = None
                if uid:
                    return
            except ApiError as again:
                error = again
            else:
                return
        if error is not None:
            log.warning("job %s in %s could not be removed, and goes by itself: %s", name, tenant[0], worded(error))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._keep(asyncio.create_task(work, name=name))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _altered(sent: Json, kept: Json) -> str:
    """Which of the fields that say how often it is tried are others than was sent; empty: none."""
    found = kept.get("spec") or {}
    return ", ".join(f"spec.{name}" for name in ONCE if found.get(name) != sent["spec"][name])


def _stay(tenant: Tenant, error: ApiError) -> None:
    log.warning("jobs of checks in %s could not be removed, and go by themselves: %s", tenant[0], worded(error))


def _missing(namespace: str, what: str) -> str:
    return (
        f"the controller may not {what} in namespace {namespace}, which checks with job need; a platform team gives it that by the "
        "component jobs (Helm: rbac.jobs.namespaces), see docs/sources.md"
    )
