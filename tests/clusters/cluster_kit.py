"""The API server of a test: the sandbox's, or the real one that the session was given (see `upstream`)."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import upstream
from real_server import RealServer

from canary_sandbox.apiserver import ApiServer
from canary_sandbox.apiserver.generic import GenericApiServer
from canary_sandbox.apiserver.rbac import Mode
from canary_sandbox.cluster import Sandbox, gateway_api_crds

ROOT = Path(__file__).resolve().parents[2]
OUR_CRDS = ROOT / "crds"
REAL = upstream.REAL
POD_NETWORK = "10.244.0.0/16"


def api_server(*, authorization: Mode = "AlwaysAllow", **sandbox: Any) -> GenericApiServer:
    """The server, to be opened with `async with`. `sandbox`: how the sandbox's own is made; a real one is as it is.

    Real or not, it has `url`, `token`, `add_token`, `kubeconfig`, `audit`, `faults`, `install_crds`, `watching` and
    `drop_watches`. What else the sandbox's server offers is for tests marked `sandbox_only`.
    """
    if REAL:
        return RealServer(upstream.upstream(), authorization=authorization)
    return ApiServer(authorization=authorization, **sandbox)


@asynccontextmanager
async def sandbox(
    *, crds: Sequence[Path] | None = None, authorization: Mode = "AlwaysAllow", **parts: Any
) -> AsyncIterator[Sandbox]:
    """A sandbox on the API server of this session: its own, or around the real one, with all definitions there.

    `crds`, `authorization` and `parts` as for `Sandbox`. On a real server pods have addresses of their own, because it refuses loopback
    addresses in EndpointSlices.
    """
    if not REAL:
        async with Sandbox(crds=crds, authorization=authorization, **parts) as cluster:
            yield cluster
        return
    async with api_server(authorization=authorization) as api:
        await install_all(api)
        async with Sandbox(api=api, **{"pod_network": POD_NETWORK, **parts}) as cluster:
            yield cluster


async def install_all(api: GenericApiServer) -> None:
    """The Gateway API (GATEWAY_API_CRDS names a folder, else our concise definitions) and our own definitions."""
    await api.install_crds(gateway_api_crds())
    await api.install_crds(OUR_CRDS)


def own_namespace(word: str = "test") -> str:
    """The name of a namespace that nobody else has: of another test, another session, another user of the cluster."""
    return f"{word}-{uuid.uuid4().hex[:8]}"


def description(*, workers: bool = False) -> str:
    """What the tests run on, for the head of the report. With `workers` the server of none of them is here to be asked."""
    crds = os.environ.get("GATEWAY_API_CRDS")
    definitions = f"Gateway API of {Path(crds).name}/" if crds else "our concise Gateway API definitions"
    if not REAL:
        return f"API server: the sandbox's own; {definitions}"
    if workers:
        return f"API server: each worker's own, of {Path(upstream.ASSETS).name}/; {definitions}"
    runs = " (it runs Deployments itself)" if upstream.runs_deployments() else ""
    return f"API server: {upstream.upstream().description} {upstream.version()}{runs}; {definitions}"
