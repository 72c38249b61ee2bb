"""Runs the story and takes notes: who wrote what and when, what was served, what people would have seen."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from canary.errors import SandboxError
from canary.kube import DEPLOYMENTS, EVENTS, HTTPROUTES, ROLLOUTS
from canary.model.check_status import VerdictKind
from canary.model.status import Phase, RolloutStatus
from canary_sandbox.cluster import Sandbox
from canary_sandbox.composite import Composite
from canary_sandbox.demo import manifests
from canary_sandbox.demo.report import Catch, CopyCount, Moments, Report, Span, count, judge
from canary_sandbox.demo.screen import Screen
from canary_sandbox.load import Answer, LoadGenerator, is_bad
from canary_sandbox.process import ManagedProcess, free_port
from canary_sandbox.prometheus import NO_PROMETHEUS, find_prometheus

Json = dict[str, Any]

GOOD, CAUGHT, BAD = "v2", "v3", "v4"
BAD_ERRORS = 30
"""Percent of the answers of `BAD` that are 500, once it has users. Those of `CAUGHT` all have a wrong price."""
RPS = 300
CONTROLLER = "canary-controller"
SHOPS = ("shop-stable", "shop-canary")
LINGER_RPS, LINGER_SECONDS = 50, 1800
IN_FLIGHT = 1.0
"""Seconds that a request may still be on its way after the gateway took a new weight."""


@dataclass(slots=True)
class Notes:
    """What the watches said, with Unix times."""

    status: RolloutStatus = field(default_factory=RolloutStatus)
    written: list[tuple[float, float]] = field(default_factory=list)
    """(when, canary share in percent) of every change of the route's weights."""
    failing: list[datetime] = field(default_factory=list)
    """When a check failed, as measured; also what a run that is over has on record."""
    accepted: list[tuple[float, float]] = field(default_factory=list)
    """(when, canary share in percent) of every acceptance by the gateway."""
    mirrored: list[tuple[float, float]] = field(default_factory=list)
    """(when, percent of the requests that are mirrored) of every acceptance that changed it."""


@dataclass(frozen=True, slots=True)
class _Mirrored:
    """A mirror that is over: to which version, from when until when (Unix seconds), and what was counted a moment later.

    It was `written` at one moment and known to be accepted at another, `begin`: the gateway began in between.
    """

    version: str
    percent: float
    written: float
    begin: float
    end: float
    copies: int
    """Those that arrived at the comparer."""


class Story(Composite):
    """The whole demo as an async context: everything it started is gone when it is left."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._notes = Notes()
        self._changed = asyncio.Event()
        self._version = "v1"
        self._copies: list[_Mirrored] = []
        self._sampling: set[asyncio.Task[None]] = set()

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._began = time.time()
        measures = find_prometheus() is not None
        self._screen.say(
            f"starting: API server, Envoy gateway, {'Prometheus, ' if measures else ''}two Deployments, a comparer"
        )
        if not measures:
            self._screen.say(f"{NO_PROMETHEUS}; so the controller scrapes the pods itself")
        self._cluster = await stack.enter_async_context(Sandbox(prometheus=measures, processes=True))
        world = [one for one in manifests.world() if one["kind"] != "Deployment"]
        shops = [manifests.catalogue(name, "v1") for name in SHOPS]
        await self._cluster.apply([*world, *shops, *manifests.comparer()])
        await self._start_controller(stack)
        url = await self._cluster.gateway_url(manifests.NAMESPACE, "public")
        await self._rolled_out(*SHOPS, manifests.COMPARER)
        self._load = await stack.enter_async_context(
            LoadGenerator(url, manifests.HOST, rps=RPS, max_seconds=300, max_requests=90_000)
        )
        for watcher in (self._watch_rollout(), self._watch_route(), self._watch_events(), self._paint()):
            task = asyncio.create_task(watcher)
            stack.push_async_callback(_cancel, task)
        self._screen.open()
        stack.callback(self._screen.close)

    async def _start_controller(self, stack: AsyncExitStack) -> None:
        """The controller as users run it: a process of its own, under its own name."""
        config = self._cluster.api.kubeconfig(self._cluster.folder / "controller.kubeconfig", user=CONTROLLER)
        self._metrics = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "canary", "controller", "run"]
        url = self._cluster.prometheus_url
        # Pods here are on this machine, which no controller asks without being told to.
        asks = ["--prometheus-url", url] if url is not None else ["--allow-hosts", "127.0.0.0/8"]
        flags = [*asks, "--metrics-address", self._metrics]
        self._log = self._cluster.folder / "controller.log"
        self._controller = await stack.enter_async_context(
            ManagedProcess([*command, *flags, "--kubeconfig", str(config)], log=self._log, name="canary controller")
        )

    async def declare(self) -> None:
        """Apply the Rollout, once there are numbers for its checks, and wait until the controller has looked at it."""
        flows = f"{RPS} requests a second flow through Envoy to v1"
        scraped = self._cluster.prometheus_url is None
        self._screen.say(flows if scraped else f"{flows}; waiting for Prometheus' first look")
        if not scraped:
            await self._cluster.prometheus.scraping()
        await self._cluster.apply([manifests.compared(scraped=scraped)])
        await self._until("the controller to see the Rollout", lambda status: status.phase is Phase.IDLE, 30)

    async def run(self) -> Report:
        """Act one: a good version. Act two: one with wrong prices, found in copies. Act three: one that fails later. Then count."""
        await self.declare()
        self._screen.say(f"act one: {GOOD} is deployed. It is fine.")
        await self._deploy(GOOD)
        await self._until(f"{GOOD} to be promoted", lambda status: status.phase is Phase.SUCCEEDED, 150)
        good_run_ended = time.time()
        self._screen.say(
            f"act two: {CAUGHT} is deployed. It sells a cup for 1250 instead of 12.5, always with status 200: no error rate sees that, "
            "but a comparer that asks both versions does."
        )
        await self._deploy(CAUGHT, wrong=100)
        await self._until(f"{CAUGHT} to be rolled back", lambda status: status.phase is Phase.ROLLED_BACK, 90)
        second_ended, catch = time.time(), Catch.of(CAUGHT, self._notes.status)
        self._screen.say(
            f"act three: {BAD} is deployed. Its copies are fine; once it has users, {BAD_ERRORS} % of its answers are errors."
        )
        await self._deploy(BAD)
        await self._until(f"{BAD} to get users", lambda status: status.split.accepted > 0, 90)
        await self._cluster.workloads.set_fault(manifests.NAMESPACE, "shop-canary", errors=BAD_ERRORS / 100)
        await self._until(f"{BAD} to be rolled back", lambda status: status.phase is Phase.ROLLED_BACK, 60)
        await asyncio.sleep(2)  # a little more traffic, to see that nothing reaches it any more
        await self._load.stop()
        return await self._count(good_run_ended, second_ended, catch)

    async def linger(self) -> None:
        """Stay until Ctrl-C, with a little traffic, for at most half an hour."""
        url = await self._cluster.gateway_url(manifests.NAMESPACE, "public")
        path: Path = self._cluster.kubeconfig
        self._screen.note(
            "",
            f"The cluster runs on, with {LINGER_RPS} requests a second, for {LINGER_SECONDS // 60} minutes or until Ctrl-C. In another terminal:",
            f"  export KUBECONFIG={path}",
            f"  kubectl -n {manifests.NAMESPACE} get rollouts",
            f"  kubectl -n {manifests.NAMESPACE} set env deployment/shop-canary VERSION=v5 FAULT_PRICE_PERCENT=5",
            f"  canary -n {manifests.NAMESPACE} watch shop",
        )
        load = LoadGenerator(url, manifests.HOST, rps=LINGER_RPS, max_seconds=LINGER_SECONDS)
        async with load:
            await load.wait()

    # -- acting -------------------------------------------------------------------------------------------------

    async def _deploy(self, version: str, *, wrong: int = 0) -> None:
        self._version = version
        await self._cluster.apply([manifests.catalogue("shop-canary", version, wrong=wrong)])

    async def _rolled_out(self, *names: str) -> None:
        for name in names:
            async with asyncio.timeout(30):
                while True:
                    found = await self._cluster.kube.get(DEPLOYMENTS, name, manifests.NAMESPACE)
                    if (found.get("status") or {}).get("readyReplicas") == found["spec"]["replicas"]:
                        break
                    await asyncio.sleep(0.1)

    async def _until(self, what: str, condition: Any, within: float) -> None:
        """Wait for the Rollout's status to be so. SandboxError with the controller's last words if it never is."""
        try:
            async with asyncio.timeout(within):
                while not condition(self._notes.status):
                    if not self._controller.running:
                        raise SandboxError(f"the controller ended by itself: {self._last_words()}")
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(1):
                            await self._changed.wait()
                    except TimeoutError:
                        continue
        except TimeoutError as error:
            raise SandboxError(
                f"waited {within:g} s in vain for {what}; the Rollout says: {self._notes.status.message or 'nothing'}; "
                f"the controller: {self._last_words()}"
            ) from error

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return " / ".join(lines[-3:]) or "nothing"

    # -- taking notes -------------------------------------------------------------------------------------------

    async def _watch_rollout(self) -> None:
        async for event in self._cluster.kube.list_and_watch(ROLLOUTS, manifests.NAMESPACE):
            if event.type in {"ADDED", "MODIFIED"} and event.object.get("status"):
                status = self._notes.status = RolloutStatus.load(event.object["status"])
                failing = [check for check in status.checks if check.verdict is VerdictKind.FAIL]
                self._notes.failing += [check.measured_at for check in failing if check.measured_at is not None]
                self._screen.status(status)
                self._changed.set()

    async def _watch_route(self) -> None:
        async for event in self._cluster.kube.list_and_watch(HTTPROUTES, manifests.NAMESPACE):
            if event.type not in {"ADDED", "MODIFIED"}:
                continue
            share = _share(event.object)
            self._note_mirror(event.object)
            if not self._notes.written or self._notes.written[-1][1] != share:
                self._notes.written.append((time.time(), share))
            if _accepted(event.object) and (not self._notes.accepted or self._notes.accepted[-1][1] != share):
                self._notes.accepted.append((time.time(), share))
            self._screen.weight(share)

    def _note_mirror(self, route: Json) -> None:
        """When requests began to be mirrored, as accepted; and when that was over, as written."""
        notes, percent = self._notes.mirrored, _mirrored(route)
        before = notes[-1][1] if notes else 0.0
        if percent and not before and _accepted(route):
            notes.append((time.time(), percent))
        elif before and not percent:
            begin = notes[-1][0]
            notes.append((time.time(), 0.0))
            task = asyncio.create_task(self._sample(self._version, before, begin))
            self._sampling.add(task)
            task.add_done_callback(self._sampling.discard)

    async def _sample(self, version: str, percent: float, begin: float) -> None:
        """What the comparer has counted once no copy is on its way any more."""
        # The audit log has when it was written; the watch may have brought it later.
        end = max(at for at in self._patches() if at <= time.time())
        await asyncio.sleep(IN_FLIGHT)
        arrived = await self._cluster.workloads.copies(manifests.NAMESPACE, manifests.COMPARER)
        before = sum(mirrored.copies for mirrored in self._copies)
        written = max(at for at in self._patches() if at <= begin)
        self._copies.append(_Mirrored(version, percent, written, begin, end, arrived - before))

    def _patches(self) -> list[float]:
        """When the controller wrote the route."""
        return [
            entry.at.timestamp()
            for entry in self._cluster.api.audit
            if entry.user == CONTROLLER
            and entry.verb == "patch"
            and entry.resource == "httproutes"
            and entry.code == 200
        ]

    async def _watch_events(self) -> None:
        async for event in self._cluster.kube.list_and_watch(EVENTS, manifests.NAMESPACE):
            if event.type == "ADDED" and event.object.get("involvedObject", {}).get("kind") == "Rollout":
                self._screen.event(event.object)

    async def _paint(self) -> None:
        before = self._load.counts()
        while True:
            await asyncio.sleep(0.5)
            now = self._load.counts()
            self._screen.traffic(before, now, seconds=0.5)
            before = now

    # -- counting -----------------------------------------------------------------------------------------------

    async def _count(self, good_run_ended: float, third: float, catch: Catch) -> Report:
        offset = time.time() - time.monotonic()
        answers = [(answer.at + offset, answer) for answer in self._load.series()]
        report = Report(seconds=time.time() - self._began)
        report.steps = [count(span, answers) for span in self._spans(good_run_ended)]
        report.copies = [_counted(mirrored, answers) for mirrored in self._copies]
        report.catch, report.caught = catch, sum(answer.version == catch.version for _, answer in answers)
        totals = self._load.counts()
        report.sent, report.failed = totals.total, totals.failed
        report.failed_good_run = sum(is_bad(answer.status) for at, answer in answers if at <= good_run_ended)
        report.moments = self._moments(third, [(at, answer.version) for at, answer in answers if is_bad(answer.status)])
        of_bad = [at for at, answer in answers if answer.version == BAD]
        accepted = report.moments.accepted
        report.late = sum(at > accepted + IN_FLIGHT for at in of_bad) if accepted is not None else len(of_bad)
        report.rollback_latency = await self._rollback_latency()
        judge(report, GOOD, BAD)
        return report

    def _spans(self, good_run_ended: float) -> list[Span]:
        """From each acceptance to the next write: the times when one weight was served and no other."""
        spans = []
        for begin, weight in self._notes.accepted:
            end = min((at for at, _ in self._notes.written if at > begin), default=time.time())
            if weight > 0:
                version = GOOD if begin < good_run_ended else BAD
                spans.append(Span(f"{version} at {weight:g} %", version, weight, begin, end))
        return spans

    def _moments(self, began: float, bad: list[tuple[float, str]]) -> Moments:
        first_bad = min((at for at, version in bad if version == BAD), default=None)
        sampled = min((at.timestamp() for at in self._notes.failing if at.timestamp() > began), default=None)
        zero = [at for at, share in self._notes.accepted if share == 0 and at > began]
        patched = min((at for at in self._patches() if sampled is not None and at >= sampled), default=None)
        last = self._load.last_answer(BAD)
        return Moments(
            first_bad=first_bad,
            sampled=sampled,
            patched=patched,
            accepted=min(zero, default=None),
            last_answer=last.at + time.time() - time.monotonic() if last else None,
        )

    async def _rollback_latency(self) -> float | None:
        """The controller's own histogram, as any Prometheus would read it."""
        async with aiohttp.ClientSession() as http, http.get(f"http://{self._metrics}/metrics") as response:
            text = await response.text()
        values = dict(
            line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("canary_rollback_latency_seconds_")
        )
        number = float(values.get("canary_rollback_latency_seconds_count", 0))
        return float(values["canary_rollback_latency_seconds_sum"]) / number if number else None


def _share(route: Json) -> float:
    weights = {ref["name"]: ref.get("weight", 1) for ref in route["spec"]["rules"][0]["backendRefs"]}
    share: float = 100 * weights["shop-canary"] / sum(weights.values())
    return share


def _mirrored(route: Json) -> float:
    """The percentage of its requests that the rule mirrors to the comparer."""
    for item in route["spec"]["rules"][0].get("filters") or ():
        target = item.get("requestMirror") or {}
        if (target.get("backendRef") or {}).get("name") == manifests.COMPARER:
            percent: float = target.get("percent", 100)
            return percent
    return 0.0


def _counted(mirrored: _Mirrored, answers: list[tuple[float, Answer]]) -> CopyCount:
    """Copies as the comparer counted them, users as the load generator did."""
    inside, most = (
        count(Span(mirrored.version, mirrored.version, 0, begin, mirrored.end), answers)
        for begin in (mirrored.begin, mirrored.written)
    )
    return CopyCount(
        version=mirrored.version,
        percent=mirrored.percent,
        requests=inside.total,
        most=most.total,
        copies=mirrored.copies,
        users=inside.by_version.get(mirrored.version, 0),
    )


def _accepted(route: Json) -> bool:
    parents = (route.get("status") or {}).get("parents") or []
    generation = route["metadata"]["generation"]
    return bool(parents) and all(
        condition["status"] == "True" and condition.get("observedGeneration", 0) >= generation
        for parent in parents
        for condition in parent["conditions"]
        if condition["type"] in {"Accepted", "ResolvedRefs"}
    )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
