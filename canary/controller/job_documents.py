"""Jobs of checks as documents: how one is created, and what a found one says.

Everything in a Job is said here; nothing is taken over as it was declared but words and amounts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from canary.checks.sources.job import Job
from canary.kube import JOBS
from canary.model.bounded import MAX_RUNS
from canary.model.rollout import API_VERSION
from canary.model.status import RolloutStatus

Json = dict[str, Any]

OWNER = "canary.dev/rollout-uid"
CHECK = "canary.dev/check"
RUN = "canary.dev/run"
QUESTION = "canary.dev/question"
"""Labels of a Job: whose it is, of which check, in which run, and what exactly was to be found out, for which step of it."""

CONTAINER = "check"
"""The one container. Admission may put others beside it, and what becomes of those says nothing of the test."""

LAST_WORDS = 400
"""Characters of the end of a Job's output that are shown, or of the beginning of what the API server says of it."""
LINGERS = 600
"""Seconds after which the API server removes a Job that has ended, where nobody else does."""
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


def manifest(job: Job, run_of: RunOf, number: int = 1, account: str = "") -> Json:
    """The Job as it is created; `account` is the ServiceAccount that it runs as (empty: `default`). It has a token of one that it names only."""
    question = run_of.question(job)
    labels = {
        "app.kubernetes.io/managed-by": "canary",
        OWNER: run_of.uid,
        CHECK: run_of.check,
        RUN: str(run_of.run),
        QUESTION: question,
    }
    container: Json = {
        "name": CONTAINER,
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
    if account:
        spec["serviceAccountName"] = account
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


def worded(error: Exception) -> str:
    """The beginning of what the API server, or somebody whom it asks, says of a request: on one line, and nothing that steers a terminal."""
    words = " ".join(
        "".join(letter if letter.isprintable() else " " for letter in str(error)[: 4 * LAST_WORDS]).split()
    )
    return words if len(words) <= LAST_WORDS else f"{words[:LAST_WORDS]}…"


@dataclass(frozen=True, slots=True)
class Ending:
    """What its pod says of the end of a Job: the exit code of its container, the end of its output, and who broke it off, if anybody."""

    code: int | None = None
    last: str = ""
    broken: str = ""


def ending(pods: list[Json], job_uid: str) -> Ending:
    """Of the pods that a Job owns; of its own container alone, whatever else admission has put into them."""
    code, last, broken = None, "", ""
    for pod in pods:
        if not any(owner.get("uid") == job_uid for owner in _owners(pod)):
            continue
        status = pod.get("status") or {}
        if status.get("reason") in _DISRUPTED:
            broken = f"its pod was {str(status['reason']).lower()}"
        for container in status.get("containerStatuses") or ():
            if container.get("name") != CONTAINER:
                continue
            state = container.get("state") or {}
            ended = state.get("terminated")
            if isinstance(ended, dict):
                code = ended.get("exitCode") if isinstance(ended.get("exitCode"), int) else None
                last = cleaned(str(ended.get("message") or ended.get("reason") or ""))
            elif isinstance(waits := state.get("waiting"), dict):
                last = cleaned(f"{waits.get('reason') or ''} {waits.get('message') or ''}")
    return Ending(code, last, broken)


def owned(found: Json, uid: str) -> bool:
    """Whether the Rollout is its controller."""
    return any(
        owner.get("uid") == uid and owner.get("kind") == "Rollout" and owner.get("controller") is True
        for owner in _owners(found)
    )


def run_of(found: Json) -> int | None:
    """In which run it was created, by its label; None: it says of none."""
    said = str(((found.get("metadata") or {}).get("labels") or {}).get(RUN) or "")
    return int(said) if said.isdecimal() and len(said) <= len(str(MAX_RUNS)) else None


def left_until(status: RolloutStatus) -> datetime | None:
    """Until when Jobs of a run that is over may be there, if nobody removes them; None: it is not over, or has run none.

    By the longest time that one of them may take, as it is on record, from when its outcome was decided.
    """
    lasts = [check.job_seconds for check in status.checks if check.job_seconds is not None]
    if status.run is None or status.run.ended_at is None or not lasts:
        return None
    return status.run.ended_at + timedelta(seconds=max(lasts) + LINGERS)


def ended(found: Json) -> str:
    """`Complete` or `Failed`; empty: it runs."""
    return next((str(one["type"]) for one in _conditions(found) if one.get("type") in {"Complete", "Failed"}), "")


def reason(found: Json) -> str:
    """Why it failed, in the API's word; empty: it has not."""
    return next((str(one.get("reason") or "") for one in _conditions(found) if one.get("type") == "Failed"), "")


def _owners(found: Json) -> Iterator[Json]:
    for owner in (found.get("metadata") or {}).get("ownerReferences") or ():
        if isinstance(owner, dict):
            yield owner


def _conditions(found: Json) -> Iterator[Json]:
    for condition in (found.get("status") or {}).get("conditions") or ():
        if isinstance(condition, dict) and condition.get("status") == "True":
            yield condition
