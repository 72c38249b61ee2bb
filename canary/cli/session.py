"""Runs a verb against the cluster: connects, reads with patience, and ends the way a Unix program should."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from canary.cli.exits import CliError, ExitCode
from canary.cli.options import Common, debugging, program
from canary.errors import ApiError, NotFound, NotServed
from canary.kube import EVENTS, ROLLOUTS, Kube, KubeClient
from canary.kube.unreached import address
from canary.view.words import event_time

Json = dict[str, Any]


def run(work: Coroutine[Any, Any, int | None]) -> int:
    """Run a verb's coroutine to its exit code. Log lines of the libraries appear with --debug only."""
    return run_here(lambda: asyncio.run(work))


def run_here(work: Callable[[], int | None]) -> int:
    """The same for a verb that asks one thing after the other, and that Ctrl-C has to end in the middle of a question."""
    if debugging():
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    else:
        logging.lastResort = None
    try:
        return work() or ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE


@asynccontextmanager
async def connected(options: Common) -> AsyncIterator[tuple[Kube, str]]:
    """The connection and the namespace to work in."""
    from canary import __version__

    # Said outright: inside a pod, somebody who set KUBECONFIG means that and not the pod's service account.
    kubeconfig = options.kubeconfig or os.environ.get("KUBECONFIG") or None
    on_request: Callable[[str, str, int, float], None] | None = _trace if debugging() else None
    kube = await KubeClient.connect(
        kubeconfig=kubeconfig,
        context=options.context,
        user_agent=f"canary-cli/{__version__}",
        field_manager="canary-cli",
        on_request=on_request,
    )
    async with kube:
        yield kube, options.namespace or kube.namespace


async def get_rollout(kube: Kube, name: str, namespace: str) -> Json:
    """The Rollout. A CliError says whether it, or canary as a whole, is missing."""
    from canary.kube.retry import READ

    async def read() -> Json:
        return await kube.get(ROLLOUTS, name, namespace)

    try:
        return await READ.call(read)
    except (NotFound, NotServed) as error:
        raise await missing(kube, name, namespace) from error


async def list_rollouts(kube: Kube, namespace: str | None, selector: str | None) -> Json:
    """The Rollouts of one namespace, or with None of all."""
    from canary.kube.retry import READ

    async def read() -> Json:
        return await kube.list(ROLLOUTS, namespace, label_selector=selector)

    try:
        return await READ.call(read)
    except (NotFound, NotServed) as error:
        raise await missing(kube, None, namespace or "") from error


async def missing(kube: Kube, name: str | None, namespace: str) -> CliError:
    """Why a Rollout was not found: there is none of that name, or no CRD."""
    try:
        installed = await kube.resolve(ROLLOUTS.group, ROLLOUTS.kind) is not None
    except ApiError:
        installed = True  # not allowed to look: the simpler reason is the likelier one
    if not installed or name is None:
        return CliError(
            f"this cluster ({address(kube.server)}) knows no Rollouts; install canary, or just its CRDs with "
            "`kubectl apply -f crds/`",
            ExitCode.NOT_FOUND,
        )
    return CliError(f"no Rollout {name} in namespace {namespace}; `{program()} list -A` shows all", ExitCode.NOT_FOUND)


async def events_of(kube: Kube, rollout: Json) -> list[Json] | None:
    """Events about this very Rollout, newest last. None when they may not be read: they are only an extra."""
    metadata = rollout["metadata"]
    fields = f"involvedObject.kind=Rollout,involvedObject.name={metadata['name']}"
    fields += f",involvedObject.namespace={metadata['namespace']}"
    try:
        found = await kube.list(EVENTS, metadata["namespace"], field_selector=fields)
    except ApiError:
        return None
    uid = metadata.get("uid")
    mine = [item for item in found["items"] if item.get("involvedObject", {}).get("uid") in {uid, None, ""}]
    # Of one second the finer time decides; without it they are in the order of their names, which is that of their times.
    return sorted(mine, key=lambda event: (event_time(event), str(event.get("eventTime") or "")))


def _trace(verb: str, resource: str, code: int, seconds: float) -> None:
    sys.stderr.write(f"{verb} {resource}: {code or 'no answer'} after {seconds * 1000:.0f} ms\n")
