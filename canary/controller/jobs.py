"""Jobs of checks: created in the Rollout's own namespace, owned by it, watched to their end, and removed with the run.

Whoever may write a Rollout could have anything run by us that the controller may create. So what is created is built here from a
few declared fields, and not taken over: one container without volumes, without a way to the node, as no root, and without a token
of any ServiceAccount but one whose owner allows that. What is found is not believed for its name: it is ours if the Rollout owns
it, and only what would be created again is waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from canary.checks.sources.job import Job
from canary.controller.clock import Clock
from canary.errors import AlreadyExists, ApiError, Forbidden, NotFound, Unprocessable
from canary.kube import JOBS, PODS, SELF_REVIEWS, SERVICEACCOUNTS, Kube
from canary.metrics.port import Query, Refusal
from canary.model.measurement import Malformed, Measurement, Sample, Unreachable
from canary.model.rollout import API_VERSION

log = logging.getLogger("canary.jobs")

Json = dict[str, Any]

ALLOWED = "canary.dev/jobs"
"""The annotation of a ServiceAccount that lets Jobs of checks run as it: `allowed`."""
OWNER = "canary.dev/rollout-uid"
CHECK = "canary.dev/check"
QUESTION = "canary.dev/question"
"""Labels of a Job: whose it is, of which check, and what exactly was to be found out, for which step of which run."""

NEEDED = (
    ("batch", "jobs", ("create", "get", "list", "delete")),
    ("", "pods", ("list",)),
)
"""What the controller has to be allowed to in a namespace. ServiceAccounts are read where one is named."""

LAST_WORDS = 400
"""Characters of the end of a Job's output that are shown."""
POLL = 1.0
SLOWEST_POLL = 5.0
LINGERS = 600
"""Seconds after which the API server removes a Job that has ended, where nobody else does."""
GRACE = 60.0
"""Seconds after its time in which a Job has to be ended by the API server."""
AT_THE_END = 0.3
"""Seconds that a controller which ends gives to what is to be removed."""
NAMES = 8
"""Names that are tried, where they are taken."""
_DISRUPTED = frozenset({"Evicted", "Preempting", "NodeLost", "NodeShutdown", "Terminated", "UnexpectedAdmissionError"})


@dataclass(frozen=True, slots=True)
class RunOf:
    """For whom a Job runs: a check of a Rollout at a step of a run, and the attempt, from 1."""

    namespace: str
    rollout: str
    uid: str
    run: int
    entered: datetime
    check: str = ""
    attempt: int = 1

    def question(self, job: Job) -> str:
        """What is asked, for which step of which run: another one has another Job."""
        what = [self.uid, self.run, self.entered.isoformat(), self.check, repr(job)]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def named(self, question: str, number: int) -> str:
        return f"{self.rollout[:20].rstrip('-.')}-{self.check[:16].rstrip('-.')}-{question}-{number}".replace(".", "-")


class Jobs:
    """Runs Jobs, and says what came of them. It is also who is asked whether they could be run. For one event loop."""

    def __init__(self, kube: Kube, clock: Clock) -> None:
        self._kube, self._clock = kube, clock
        self._removing: dict[str, set[asyncio.Task[None]]] = {}

    async def run(self, job: Job, run_of: RunOf) -> Measurement:
        """Run it to its end. Nothing raises; a task that is cancelled leaves the Job to whoever removes or finds it."""
        now = self._clock.now()
        # What is removed is removed before: it could be taken for one that is to go, too.
        await asyncio.gather(*self._removing.get(run_of.uid, ()), return_exceptions=True)
        try:
            refusal = await self._refused_account(job, run_of.namespace)
            if refusal:
                return Malformed(now, "ServiceAccountNotAllowed", refusal, job.text)
            created = await self._begun(job, run_of)
            if created is None:
                words = f"Jobs with all names that it could have are there in namespace {run_of.namespace}, and none is ours"
                return Malformed(now, "JobNameTaken", words, job.text)
            return await self._watched(job, run_of, created, now)
        except Forbidden as error:
            return Malformed(now, "JobForbidden", _right(run_of.namespace, error), job.text)
        except Unprocessable as error:
            return Malformed(now, "JobRefused", f"the API server refuses the Job: {error}", job.text)
        except ApiError as error:
            return Unreachable(now, "JobUnknown", f"nobody can tell what the Job does: {error}", job.text)

    def remove(self, namespace: str, uid: str, check: str | None = None) -> None:
        """Remove the Jobs of a check, or of all checks of a Rollout, in the background: what they would say is asked no more."""
        task = asyncio.create_task(self._removed(namespace, uid, check), name=f"remove jobs of {uid}")
        self._removing.setdefault(uid, set()).add(task)
        task.add_done_callback(lambda done: self._forget(uid, done))

    def _forget(self, uid: str, done: asyncio.Task[None]) -> None:
        left = self._removing.get(uid, set())
        left.discard(done)
        if not left:
            self._removing.pop(uid, None)

    async def close(self) -> None:
        """Until what is to be removed is removed, or a moment has passed: what is left goes by itself."""
        tasks = [task for some in self._removing.values() for task in some]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=AT_THE_END)
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
            for group, resource, verbs in NEEDED:
                for verb in verbs:
                    if not await self._may(group, resource, verb, namespace):
                        return Refusal(_missing(namespace, f"{verb} {resource}"), asked=False)
            if isinstance(query.source, Job) and (words := await self._refused_account(query.source, namespace)):
                return Refusal(words, asked=False)
        except Forbidden as error:
            return Refusal(_right(namespace, error), asked=False)
        except ApiError:
            return None  # nobody can tell now
        return None

    async def _may(self, group: str, resource: str, verb: str, namespace: str) -> bool:
        wanted = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
        body = {
            "apiVersion": SELF_REVIEWS.api_version,
            "kind": SELF_REVIEWS.kind,
            "spec": {"resourceAttributes": wanted},
        }
        answer = await self._kube.create(SELF_REVIEWS, body)
        return (answer.get("status") or {}).get("allowed") is True

    # -- one Job ------------------------------------------------------------------------------------------------------

    async def _refused_account(self, job: Job, namespace: str) -> str:
        """Why it may not run as the ServiceAccount that it names; empty: it may."""
        if not job.account:
            return ""
        try:
            found = await self._kube.get(SERVICEACCOUNTS, job.account, namespace)
        except NotFound:
            return f"there is no ServiceAccount {job.account} in namespace {namespace}; create it, or correct the name"
        annotations = (found.get("metadata") or {}).get("annotations") or {}
        if annotations.get(ALLOWED) == "allowed":
            return ""
        return (
            f"ServiceAccount {job.account} in namespace {namespace} is not for Jobs of checks; whoever owns it can allow that by "
            f"`kubectl -n {namespace} annotate serviceaccount {job.account} {ALLOWED}=allowed`"
        )

    async def _begun(self, job: Job, run_of: RunOf) -> Json | None:
        """Our Job: the one of this very question that runs already, or a new one. Others of this check are removed. None: no name is free."""
        question = run_of.question(job)
        ours = [one async for one in self._ours(run_of.namespace, run_of.uid, run_of.check)]
        running = [
            one
            for one in ours
            if _label(one, QUESTION) == question and not _ended(one) and _same(one, manifest(job, run_of))
        ]
        for one in ours:
            if one not in running[:1]:
                await self._delete(one, run_of.namespace)
        if running:
            return running[0]
        for number in range(run_of.attempt, run_of.attempt + NAMES):
            body = manifest(job, run_of, number)
            try:
                return await self._kube.create(JOBS, body, run_of.namespace)
            except AlreadyExists:
                continue  # of somebody else, or one of ours that is on its way out
        return None

    async def _watched(self, job: Job, run_of: RunOf, created: Json, now: datetime) -> Measurement:
        name, uid = created["metadata"]["name"], created["metadata"]["uid"]
        began, pause = self._clock.now(), POLL
        while True:
            await self._clock.sleep(pause)
            spent = (self._clock.now() - began).total_seconds()
            pause = min(SLOWEST_POLL, max(POLL, spent / 10))
            try:
                found = await self._kube.get(JOBS, name, run_of.namespace)
            except NotFound:
                return Malformed(now, "JobGone", f"Job {name} was removed by somebody before it ended", job.text)
            except Forbidden:
                raise
            except ApiError:
                if spent > job.timeout + GRACE:
                    raise
                continue
            if found["metadata"]["uid"] != uid or not _owned(found, run_of.uid):
                return Malformed(now, "JobGone", f"Job {name} was replaced by somebody before it ended", job.text)
            ended = _ended(found)
            if ended:
                return await self._outcome(job, run_of, found, ended, now)
            if spent > job.timeout + GRACE:
                await self._delete(found, run_of.namespace)
                return self._late(job, name, now)

    async def _outcome(self, job: Job, run_of: RunOf, found: Json, ended: str, now: datetime) -> Measurement:
        name = found["metadata"]["name"]
        code, last, broken = await self._last_words(found, run_of.namespace)
        if ended == "Complete":
            return Sample(1.0, now, job.text, (1.0,), note=f"Job {name} succeeded", said=last)
        if _reason(found) == "DeadlineExceeded":
            return self._late(job, name, now, last)
        if code is None or broken:
            why = broken or "no container of it has said how it ended"
            return Unreachable(now, "JobBroken", f"Job {name} failed, and not by its test: {why}", job.text)
        return Sample(0.0, now, job.text, (0.0,), note=f"Job {name} failed with exit code {code}", said=last)

    @staticmethod
    def _late(job: Job, name: str, now: datetime, last: str = "") -> Measurement:
        words = ": ".join(filter(None, (f"Job {name} did not end within {job.timeout:g} s", last)))
        return Unreachable(now, "JobTimedOut", words, job.text)

    async def _last_words(self, found: Json, namespace: str) -> tuple[int | None, str, str]:
        """The exit code, the end of what it said, and why it was not the test that failed (empty: it was, as far as anybody knows)."""
        name, uid = found["metadata"]["name"], found["metadata"]["uid"]
        listed = await self._kube.list(PODS, namespace, label_selector=f"job-name={name}", limit=8)
        code, last, broken = None, "", ""
        for pod in listed.get("items") or ():
            if not any(owner.get("uid") == uid for owner in _owners(pod)):
                continue
            status = pod.get("status") or {}
            if status.get("reason") in _DISRUPTED:
                broken = f"its pod was {str(status['reason']).lower()}"
            for container in status.get("containerStatuses") or ():
                state = container.get("state") or {}
                ended = state.get("terminated")
                if isinstance(ended, dict):
                    code = ended.get("exitCode") if isinstance(ended.get("exitCode"), int) else None
                    last = cleaned(str(ended.get("message") or ended.get("reason") or ""))
                elif isinstance(waits := state.get("waiting"), dict):
                    last = cleaned(f"{waits.get('reason') or ''} {waits.get('message') or ''}")
        return code, last, broken

    # -- what is there ------------------------------------------------------------------------------------------------

    async def _ours(self, namespace: str, uid: str, check: str | None) -> AsyncIterator[Json]:
        selector = f"{OWNER}={uid}" + (f",{CHECK}={check}" if check else "")
        listed = await self._kube.list(JOBS, namespace, label_selector=selector, limit=100)
        for one in listed.get("items") or ():
            if _owned(one, uid):
                yield one

    async def _removed(self, namespace: str, uid: str, check: str | None) -> None:
        try:
            async for one in self._ours(namespace, uid, check):
                await self._delete(one, namespace)
        except ApiError as error:
            log.warning("jobs of checks in %s could not be removed, and go by themselves: %s", namespace, error)

    async def _delete(self, found: Json, namespace: str) -> None:
        try:
            await self._kube.delete(JOBS, found["metadata"]["name"], namespace, propagation="Background")
        except NotFound:
            return


def manifest(job: Job, run_of: RunOf, number: int = 1) -> Json:
    """The Job as it is created. Everything in it is said here; nothing is taken over as it was declared but words and amounts."""
    question = run_of.question(job)
    labels = {
        "app.kubernetes.io/managed-by": "canary",
        OWNER: run_of.uid,
        CHECK: run_of.check,
        QUESTION: question,
    }
    container: Json = {
        "name": "check",
        "image": job.image,
        "env": [{"name": name, "value": value} for name, value in job.env],
        "resources": {
            kind: dict(amounts) for kind, amounts in (("requests", job.requests), ("limits", job.limits)) if amounts
        },
        # What it says at its end is all that is read of it: no right to read logs is needed for that.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            **({} if job.user is None else {"runAsUser": job.user}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    container |= {"command": list(job.command)} if job.command else {}
    container |= {"args": list(job.args)} if job.args else {}
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": bool(job.account),
        "enableServiceLinks": False,
        "containers": [container],
    }
    if job.account:
        spec["serviceAccountName"] = job.account
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": run_of.named(question, number),
            "namespace": run_of.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "Rollout",
                    "name": run_of.rollout,
                    "uid": run_of.uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": max(1, math.ceil(job.timeout)),
            "ttlSecondsAfterFinished": LINGERS,
            "template": {"metadata": {"labels": dict(labels)}, "spec": spec},
        },
    }


def cleaned(text: str) -> str:
    """The end of what somebody said, on one line, without anything that steers a terminal."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text[-4 * LAST_WORDS :]).split())
    return words if len(words) <= LAST_WORDS else f"…{words[-LAST_WORDS:]}"


def _missing(namespace: str, what: str) -> str:
    return (
        f"the controller may not {what} in namespace {namespace}, which checks with job need; a platform team gives it that by the "
        "component jobs (Helm: rbac.jobs.namespaces), see docs/sources.md"
    )


def _right(namespace: str, error: Forbidden) -> str:
    if error.status == 401:
        return "the API server does not know the controller"
    return f"{_missing(namespace, 'run Jobs')} ({error})"


def _owners(found: Json) -> Iterator[Json]:
    for owner in (found.get("metadata") or {}).get("ownerReferences") or ():
        if isinstance(owner, dict):
            yield owner


def _owned(found: Json, uid: str) -> bool:
    """Whether the Rollout is its controller."""
    return any(
        owner.get("uid") == uid and owner.get("kind") == "Rollout" and owner.get("controller") is True
        for owner in _owners(found)
    )


def _label(found: Json, name: str) -> str:
    return str(((found.get("metadata") or {}).get("labels") or {}).get(name) or "")


def _conditions(found: Json) -> Iterator[Json]:
    for condition in (found.get("status") or {}).get("conditions") or ():
        if isinstance(condition, dict) and condition.get("status") == "True":
            yield condition


def _ended(found: Json) -> str:
    """`Complete` or `Failed`; empty: it runs."""
    return next((str(one["type"]) for one in _conditions(found) if one.get("type") in {"Complete", "Failed"}), "")


def _reason(found: Json) -> str:
    return next((str(one.get("reason") or "") for one in _conditions(found) if one.get("type") == "Failed"), "")


def _same(found: Json, wanted: Json) -> bool:
    """Whether a Job that is there is what would be created: all that we say, and no container or volume besides."""
    spec, pod = found.get("spec") or {}, ((found.get("spec") or {}).get("template") or {}).get("spec") or {}
    if pod.get("initContainers") or pod.get("volumes") or pod.get("hostNetwork") or pod.get("ephemeralContainers"):
        return False
    return _within(wanted["spec"], spec)


def _within(wanted: Any, found: Any) -> bool:
    """Whether everything that is wanted is there; empty members may be left out, and what is filled in beside them is no difference."""
    match wanted:
        case dict():
            if not isinstance(found, dict):
                return not wanted
            return all(_within(value, found.get(name)) for name, value in wanted.items())
        case list():
            if not isinstance(found, list):
                return not wanted
            return len(wanted) == len(found) and all(map(_within, wanted, found))
        case _:
            return bool(wanted == found)
