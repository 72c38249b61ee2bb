"""Bad canaries on a real Envoy and a real Prometheus, one after the other, and when each lost its share."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.decide import engine
from canary.decide.comparing import compare
from canary.kube import ROLLOUTS
from canary.model.measurement import Compared
from canary_sandbox.apiserver.store import Event
from canary_sandbox.cluster import Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.load import LoadGenerator

Json = dict[str, Any]
Case = Literal["from the start", "in the step"]
CASES: tuple[Case, ...] = ("from the start", "in the step")

ROUTES = ("gateway.networking.k8s.io", "httproutes")
NAMESPACE = manifests.NAMESPACE
TEN = 10
"""Times the errors of stable that a bad canary has."""

OF_BACKEND = 'namespace="{{ backend.namespace }}",service="{{ backend.service }}"'


@dataclass(frozen=True, slots=True)
class Setting:
    """What is tried: seconds between scrapes, percent of stable's answers that are errors, the canary's weight, requests a second."""

    scrape: int
    stable: int
    weight: int
    rps: float

    @property
    def lag(self) -> int:
        """What a team would declare, in seconds: the scrape interval and a little more."""
        return self.scrape + 1

    @property
    def patience(self) -> float:
        """Seconds after which a canary counts as not found."""
        return 60.0 + 10 * self.scrape

    def rollout(self) -> Json:
        """With one comparison, the check interval and alpha as they are where nobody sets them."""
        counters = {
            "requests": f"envoy_cluster_upstream_rq_completed{{{OF_BACKEND}}}",
            "failures": f'envoy_cluster_upstream_rq_xx{{{OF_BACKEND},envoy_response_code_class="5"}}',
        }
        document = manifests.rollout()
        check = {"name": "errors", "compare": {"prometheus": counters, "lag": f"{self.lag}s"}}
        document["spec"] |= {"steps": [{"weight": self.weight, "hold": "1h"}], "checks": [check]}
        document["spec"].pop("traffic")
        return document


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds since the canary was bad, and to whom anything was sent, until three things had happened."""

    seen: float
    """A look had failures of it in it: settle time and lag, if it began with the weight; then scrapes and looks."""
    proved: float
    """The looks proved it."""
    gone: float
    """The weight 0 was written to the route."""


class Trials:
    """A sandbox, a controller and traffic. Times are monotonic."""

    def __init__(self, cluster: Sandbox, setting: Setting) -> None:
        self._cluster = cluster
        self._setting = setting
        self._version = 1
        self._weights: list[tuple[float, int]] = []
        self._looks: list[tuple[float, Compared]] = []
        cluster.server.store.subscribe(ROUTES, self._written)

    def looked(self, found: Iterable[Compared]) -> None:
        """A look is about to be judged."""
        self._looks += [(time.monotonic(), one) for one in found]

    def _written(self, event: Event) -> None:
        refs = event.after.doc["spec"]["rules"][0]["backendRefs"]
        weight = next(ref["weight"] for ref in refs if ref["name"] == "shop-canary")
        if not self._weights or self._weights[-1][1] != weight:
            self._weights.append((time.monotonic(), weight))

    async def run(self, case: Case) -> Trial | None:
        """One canary; None if it was not found in time. One that is failed before it is bad, as alpha allows, is no trial."""
        setting, late = self._setting, case == "in the step"
        self._weights.clear()
        self._looks.clear()
        errors = setting.stable * (1 if late else TEN)
        self._version += 1
        await self._cluster.apply([manifests.deployment("shop-canary", f"v{self._version}", errors=errors)])
        await self._until(lambda: bool(self._weights) and self._weights[-1][1] > 0)
        bad = self._weights[-1][0]
        if late:
            await self._until(lambda: self._weights[-1][1] == 0 or sum(one.canary > 0 for _, one in self._looks) >= 3)
            await asyncio.sleep(random.uniform(0, 2 * setting.scrape + 2))
            if self._weights[-1][1] == 0:
                sys.stderr.write("  failed before it was bad: once more\n")
                await self._until_phase("RolledBack")
                return await self.run(case)
            await self._cluster.workloads.set_fault(NAMESPACE, "shop-canary", errors=setting.stable * TEN / 100)
            bad = time.monotonic()
        found = await self._until(lambda: self._weights[-1][1] == 0, must=False)
        await self._until_phase("RolledBack" if found else "Progressing")
        if not found:
            await self._give_up()
            return None
        failing = [at for at, one in self._looks if at >= bad and one.canary_failed > 0]
        gone = self._weights[-1][0]
        return Trial(failing[0] - bad, failing[-1] - bad, gone - bad)

    async def _give_up(self) -> None:
        metadata = {"name": "shop", "namespace": NAMESPACE, "annotations": {"canary.dev/request": "abort"}}
        document = {"apiVersion": "canary.dev/v1alpha1", "kind": "Rollout", "metadata": metadata}
        await self._cluster.apply([document])
        await self._until_phase("RolledBack")

    async def begin(self) -> None:
        """Declare the Rollout, and wait until the controller has seen it."""
        await self._cluster.apply([self._setting.rollout()])
        await self._until_phase("Idle")

    async def _until(self, condition: Callable[[], bool], *, must: bool = True) -> bool:
        deadline = time.monotonic() + self._setting.patience
        while not condition():
            if time.monotonic() > deadline:
                if must:
                    raise SystemExit("the trial does not get anywhere")
                return False
            await asyncio.sleep(0.01)
        return True

    async def _until_phase(self, phase: str) -> None:
        deadline = time.monotonic() + self._setting.patience
        while True:
            status = (await self._cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}
            if status.get("phase") == phase:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"the Rollout is never {phase}: {status.get('message')}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def trials(setting: Setting) -> AsyncGenerator[Trials]:
    """Everything, up and running."""
    async with Sandbox(prometheus=True, scrape_interval=f"{setting.scrape}s") as cluster:
        world = manifests.world(cluster.gateway.listener_port)
        await cluster.apply([*world, manifests.deployment("shop-stable", "v1", errors=setting.stable)])
        await cluster.prometheus.scraping(within=30 + 2 * setting.scrape)
        made = Trials(cluster, setting)

        def watched(scope: Any, check: Any, rule: Any, before: Any, measurements: Iterable[Any]) -> Any:
            seen = tuple(measurements)
            made.looked(one for one in seen if isinstance(one, Compared))
            return compare(scope, check, rule, before, seen)

        stop = asyncio.Event()
        token = cluster.api.add_token("canary-controller")
        settings = Settings(metrics_address="127.0.0.1:0", prometheus_url=cluster.prometheus.url)
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))
        url = await cluster.gateway_url(NAMESPACE, "public")
        load = LoadGenerator(url, manifests.HOST, rps=setting.rps, max_requests=10**9, max_seconds=10**6)
        try:
            with patch.object(engine, "compare", watched):
                async with load:
                    await made.begin()
                    yield made
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)


async def measured(setting: Setting, cases: Iterable[Case], number: int) -> list[Json]:
    """So many trials of each case at one setting, as data."""
    found = []
    async with trials(setting) as tried:
        for case in cases:
            done = [await _told(tried, case) for _ in range(number)]
            found.append(
                {
                    "scrape_seconds": setting.scrape,
                    "stable_percent": setting.stable,
                    "weight": setting.weight,
                    "requests_per_second": setting.rps,
                    "lag_seconds": setting.lag,
                    "case": case,
                    "trials": [None if one is None else _rounded(one) for one in done],
                }
            )
    return found


async def _told(tried: Trials, case: Case) -> Trial | None:
    trial = await tried.run(case)
    words = "not found" if trial is None else f"weight 0 after {trial.gone:.2f} s"
    sys.stderr.write(f"  bad {case}: {words}\n")
    return trial


def _rounded(trial: Trial) -> Json:
    return {name: round(getattr(trial, name), 3) for name in ("seen", "proved", "gone")}
