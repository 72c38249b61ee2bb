"""A controller as it is deployed, on a sandbox with RBAC: a process with the rights that deploy/ gives it, which may be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from cluster_kit import ROOT, sandbox

from canary.kube import DEPLOYMENTS, EVENTS, HTTPROUTES, ROLLOUTS
from canary_sandbox.cluster import Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.instance import rights
from canary_sandbox.process import ManagedProcess, answers, free_port

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE
ACCOUNT = f"system:serviceaccount:{rights.NAMESPACE}:{rights.ACCOUNT}"
LEASE = f"{rights.NAMESPACE}/{rights.ACCOUNT}"


def component(name: str) -> list[Json]:
    """What a platform team adds for the namespace of the shop."""
    text = (ROOT / "deploy" / "kustomize" / "components" / name / "role.yaml").read_text()
    found = [one for one in yaml.safe_load_all(text) if one]
    return [{**one, "metadata": {**one["metadata"], "namespace": NAMESPACE}} for one in found]


@dataclass
class Deployed:
    """The demo's world, and the controllers that were started in it one after the other."""

    cluster: Sandbox
    folder: Path
    flags: tuple[str, ...]
    stack: AsyncExitStack
    processes: list[ManagedProcess] = field(default_factory=list)

    async def start(self) -> ManagedProcess:
        """One more controller; returns when it follows everything (with a Lease: whoever holds that)."""
        number, port = len(self.processes), free_port()
        config = self.cluster.api.kubeconfig(self.folder / f"kubeconfig-{number}", user=ACCOUNT)
        command = [sys.executable, "-m", "canary", "controller", "run", "--kubeconfig", str(config)]
        command += ["--metrics-address", f"127.0.0.1:{port}", "--allow-hosts", "127.0.0.0/8", "--lease", LEASE]
        process = ManagedProcess([*command, *self.flags], log=self.folder / f"log-{number}", name="canary controller")
        await self.stack.enter_async_context(process)
        self.processes.append(process)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            await process.wait_until(lambda: answers(http, f"http://127.0.0.1:{port}/readyz"), within=60, interval=0.1)
        return process

    async def kill(self) -> None:
        """As `kill -9`, the last one."""
        self.processes[-1].kill()
        await self.processes[-1].wait()

    @property
    def logs(self) -> str:
        return "\n".join(process.log.read_text(errors="replace") for process in self.processes)

    async def rollout(self) -> Json:
        return await self.cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)

    async def until(self, what: str, condition: Callable[[Json], bool], within: float = 60) -> Json:
        """The Rollout's status once it is so."""
        status: Json = {}
        try:
            async with asyncio.timeout(within):
                while not condition(status):
                    await asyncio.sleep(0.05)
                    status = (await self.rollout()).get("status") or {}
        except TimeoutError:
            pytest.fail(f"{what}: never; the status says {json.dumps(status, indent=1)}\n{self.logs[-4000:]}")
        return status

    async def edit(self, **spec: Any) -> None:
        await self.cluster.kube.merge_patch(ROLLOUTS, "shop", NAMESPACE, {"spec": spec})

    async def ask(self, verb: str) -> None:
        annotation = {"metadata": {"annotations": {"canary.dev/request": verb}}}
        await self.cluster.kube.merge_patch(ROLLOUTS, "shop", NAMESPACE, annotation)

    async def release(self, version: str, errors: int = 0) -> None:
        """A new version of the canary, so many percent of whose answers are errors."""
        template = manifests.deployment("shop-canary", version, errors=errors)["spec"]["template"]
        await self.cluster.kube.merge_patch(DEPLOYMENTS, "shop-canary", NAMESPACE, {"spec": {"template": template}})

    async def weights(self) -> list[int]:
        route = await self.cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)
        return [ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]]

    async def events(self) -> list[Json]:
        return list((await self.cluster.kube.list(EVENTS, NAMESPACE))["items"])


@asynccontextmanager
async def deployed(folder: Path, *flags: str, **parts: Any) -> AsyncIterator[Deployed]:
    """A sandbox with the shop and the controller's rights; `flags` are those of its controllers, `parts` are the sandbox's."""
    async with sandbox(authorization="RBAC", **parts) as cluster, AsyncExitStack() as stack:
        await cluster.apply([*rights.documents(), *manifests.world(cluster.gateway.listener_port)])
        yield Deployed(cluster, folder, flags, stack)
