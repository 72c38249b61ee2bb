"""The sandbox's Job controller: runs the command of a Job as a process of this machine, once, and says how that ended.

There are no images: a Job without a command fails, and `python` is the one that runs the sandbox. Of a container its command, its
arguments and its plain environment count. What it wrote last is its termination message where it failed, as
`terminationMessagePolicy: FallbackToLogsOnError` has it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from contextlib import AsyncExitStack, suppress

from canary.errors import ApiError
from canary.kube import JOBS, PODS, Kube
from canary_sandbox.composite import Composite
from canary_sandbox.manifests import timestamp
from canary_sandbox.watching import Cache, Json, Key, running, watch_into

log = logging.getLogger(__name__)

LAST_BYTES = 2048
"""Of the output, which become the termination message."""
_PYTHON = frozenset({"python", "python3"})


class JobRunner(Composite):
    """Runs every Job of the API server that has not ended."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._cache = Cache()
        self._changed = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def _enter(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self._stop_all)
        await stack.enter_async_context(watch_into(self._cache, "jobs", self._kube, JOBS, self._changed.set))
        await stack.enter_async_context(running(self._run()))

    async def _stop_all(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            there = {job["metadata"]["uid"]: (key, job) for key, job in self._cache.of("jobs").items()}
            for uid, task in self._running.items():
                if uid not in there:
                    task.cancel()
            for uid, (key, job) in there.items():
                if uid not in self._running and not (job.get("status") or {}).get("conditions"):
                    self._running[uid] = asyncio.create_task(self._play(key, job), name=f"job {key[1]}")
            await self._changed.wait()

    async def _play(self, key: Key, job: Json) -> None:
        """One Job from its beginning to its end; a task that is cancelled takes its process along."""
        began = timestamp()
        pod = f"{key[1]}-{secrets.token_hex(3)}"
        try:
            await self._kube.create(PODS, _pod(job, pod), key[0])
            await self._status(key, {"startTime": began, "active": 1})
            code, said = await _ran(job)
            await self._kube.merge_patch(PODS, pod, key[0], {"status": _pod_status(code, said)}, subresource="status")
            await self._status(key, _ended(code, began))
        except ApiError as error:  # it was removed meanwhile, or its namespace was
            log.warning("job %s/%s: %s", *key, error)

    async def _status(self, key: Key, status: Json) -> None:
        await self._kube.merge_patch(JOBS, key[1], key[0], {"status": status}, subresource="status")


async def _ran(job: Json) -> tuple[int | None, str]:
    """The exit code, None where it took too long, and the end of what it wrote."""
    spec = job["spec"]["template"]["spec"]
    container = spec["containers"][0]
    command = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not container.get("command"):
        return 127, f"the sandbox has no images, so a Job needs a command; this one has only {container.get('image')}"
    if command[0] in _PYTHON:
        command[0] = sys.executable
    env = {one["name"]: str(one.get("value") or "") for one in container.get("env") or ()}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"PATH": os.environ.get("PATH", ""), **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        return 127, str(error)
    if process.stdout is None:
        raise AssertionError("a pipe was asked for")
    last = bytearray()
    try:
        async with asyncio.timeout(job["spec"].get("activeDeadlineSeconds")):
            while piece := await process.stdout.read(4096):
                last = (last + piece)[-LAST_BYTES:]
            code: int | None = await process.wait()
    except TimeoutError:
        code = None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return code, last.decode("utf-8", "replace")


def _ended(code: int | None, began: str) -> Json:
    now = timestamp()
    if code == 0:
        conditions = [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
    else:
        reason = "DeadlineExceeded" if code is None else "BackoffLimitExceeded"
        conditions = [("FailureTarget", reason), ("Failed", reason)]
    said = [
        {"type": kind, "status": "True", "reason": reason, "lastProbeTime": now, "lastTransitionTime": now}
        for kind, reason in conditions
    ]
    done = {"succeeded": 1, "completionTime": now} if code == 0 else {"failed": 1}
    return {"startTime": began, "active": 0, "conditions": said, **done}


def _pod(job: Json, name: str) -> Json:
    metadata, template = job["metadata"], job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**((template.get("metadata") or {}).get("labels") or {}), "job-name": metadata["name"]},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
    }


def _pod_status(code: int | None, said: str) -> Json:
    ended = {"exitCode": 137 if code is None else code, "reason": "Completed" if code == 0 else "Error"}
    if code != 0:
        ended["message"] = said
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "containerStatuses": [
            {
                "name": "check",
                "ready": False,
                "restartCount": 0,
                "image": "",
                "imageID": "",
                "state": {"terminated": ended},
            }
        ],
    }
