"""Rollouts on Traefik, a Gateway implementation that nobody here wrote: real statuses, real splits, real metrics."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from cluster_kit import sandbox

from canary.checks.render import render
from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import DEPLOYMENTS, HTTPROUTES, PODS, ROLLOUTS
from canary_sandbox.cluster import Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.load import LoadGenerator
from canary_sandbox.traefik import CONTROLLER_NAME, TraefikGateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = manifests.NAMESPACE
REQUESTS = 1200


class Team:
    """A sandbox behind Traefik with the demo's world in it, and a controller."""

    def __init__(self, cluster: Sandbox, url: str) -> None:
        self.cluster = cluster
        self.url = url

    @property
    def traefik(self) -> TraefikGateway:
        assert isinstance(self.cluster.gateway, TraefikGateway)
        return self.cluster.gateway

    async def route(self) -> Json:
        return await self.cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)

    async def until(self, what: str, condition: Callable[[Json], bool], within: float = 60) -> Json:
        """The Rollout's status once it is so."""
        last: Json = {}
        try:
            async with asyncio.timeout(within):
                while True:
                    last = (await self.cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}
                    if condition(last):
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{what}: never; the status says {json.dumps(last, indent=1)}")

    async def request(self, verb: str) -> None:
        annotation = {"metadata": {"annotations": {"canary.dev/request": verb}}}
        await self.cluster.kube.merge_patch(ROLLOUTS, "shop", NAMESPACE, annotation)

    async def serves(self, stable: int, canary: int, within: float = 10) -> None:
        """Wait until Traefik's data path has these weights; its status may be a moment ahead of that."""
        found: dict[str, int] = {}
        try:
            async with asyncio.timeout(within):
                while (found.get("stable"), found.get("canary")) != (stable, canary):
                    await asyncio.sleep(0.02)
                    services = await self.traefik.services()
                    parts = [part for one in services.values() for part in one.get("weighted", {}).get("services", [])]
                    found = {
                        "canary" if "-shop-canary-" in part["name"] else "stable": part["weight"] for part in parts
                    }
        except TimeoutError:
            pytest.fail(f"Traefik never had {stable}:{canary}, it has {found}")

    async def drained(self, app: str, replicas: int) -> None:
        """Wait until replicas on their way out are gone; until then connections that Traefik keeps stay with them."""

        async def gone() -> bool:
            pods = await self.cluster.kube.list(PODS, NAMESPACE, label_selector=f"app={app}")
            return len(pods["items"]) == replicas

        await self.eventually(f"{replicas} pods of {app}", gone)

    async def seen_by_prometheus(self, share: float) -> None:
        """Wait until the counters, rendered as the controller does, have risen by that share in the last seconds."""
        template = manifests.rollout("traefik")["spec"]["traffic"]["prometheus"]["query"]
        canary, stable = (
            f"increase({query.removeprefix('sum(').removesuffix(')')}[5s])"
            for query in (
                render(template, {"backend": {"service": f"shop-{side}", "namespace": NAMESPACE, "port": 8080}})
                for side in ("canary", "stable")
            )
        )
        query = f"sum({canary}) / (sum({canary}) + sum({stable}))"

        async def seen() -> bool:
            found = await self.cluster.prometheus.query(query)
            return bool(found) and abs(float(found[0]["value"][1]) - share) < 0.05

        await self.eventually(f"a share of {share} in Prometheus", seen, 30)

    async def eventually(self, what: str, condition: Callable[[], Awaitable[bool]], within: float = 10) -> None:
        try:
            async with asyncio.timeout(within):
                while not await condition():  # noqa: ASYNC110 - other processes have no event to give
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{what}: never")

    async def only(self, version: str, headers: dict[str, str]) -> bool:
        """Whether twenty requests in a row are answered by that version: Traefik's status is ahead of its data path."""
        return set(await self.measure(headers, 20)) == {(200, version)}

    async def measure(
        self, headers: dict[str, str] | None = None, requests: int = REQUESTS
    ) -> Counter[tuple[int, str]]:
        """Who answers that many real requests, and how: counts of (status, version).

        Sixteen at a time, each sent when one before it was answered, so that a busy machine is slow and nothing else.
        """
        answers: Counter[tuple[int, str]] = Counter()
        left = iter(range(requests))
        async with aiohttp.ClientSession(headers={"Host": manifests.HOST}) as http:

            async def worker() -> None:
                for _ in left:
                    async with http.get(self.url, headers=headers) as response:
                        answers[response.status, response.headers.get("x-version", "")] += 1

            await asyncio.gather(*(worker() for _ in range(16)))
        return answers

    async def accepted_by_traefik(self) -> None:
        """The route's only parent status is Traefik's own, and about the generation that is written."""
        route = await self.route()
        (parent,) = route["status"]["parents"]
        assert parent["controllerName"] == CONTROLLER_NAME
        conditions = {one["type"]: (one["status"], one["observedGeneration"]) for one in parent["conditions"]}
        now = ("True", route["metadata"]["generation"])
        assert conditions == {"Accepted": now, "ResolvedRefs": now}
        writers = {
            entry.user
            for entry in self.cluster.api.audit
            if (entry.resource, entry.subresource) == ("httproutes", "status")
        }
        assert writers == {"traefik"}


@pytest.fixture
async def team(request: pytest.FixtureRequest) -> AsyncGenerator[Team]:
    """`indirect` True also runs a Prometheus that scrapes Traefik."""
    prometheus = bool(getattr(request, "param", False))
    async with sandbox(gateway="traefik", prometheus=prometheus, scrape_interval="500ms") as cluster:
        await cluster.apply(manifests.world(cluster.gateway.listener_port))
        stop = asyncio.Event()
        settings = Settings(
            metrics_address="127.0.0.1:0", prometheus_url=cluster.prometheus.url if prometheus else None
        )
        token = cluster.api.add_token("canary-controller")
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))
        try:
            yield Team(cluster, await cluster.gateway_url(NAMESPACE, "public"))
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)


def rollout(*steps: Json, checks: bool = False) -> Json:
    document = manifests.rollout("traefik")
    document["spec"]["steps"] = list(steps)
    if not checks:
        document["spec"]["checks"] = []
        document["spec"].pop("traffic")
    return document


COUNTED = {"metric": "app_requests_total", "label": "outcome", "failed": "failed"}
"""What the sandbox's applications count, as arguments of the templates for applications."""


def shipped(folder: str) -> list[Json]:
    """The templates that we ship for a data plane."""
    return [*yaml.safe_load_all((ROOT / "deploy" / "checks" / folder / "templates.yaml").read_text())]


def named(template: str, **args: str) -> Json:
    """A line of a Rollout that uses one of them."""
    return {"template": {"name": template, "kind": "ClusterCheckTemplate"}, **({"args": args} if args else {})}


def deploy(version: str, errors: int = 0) -> Json:
    return manifests.deployment("shop-canary", version, errors=errors)


def passing(status: Json) -> int:
    return sum(check["verdict"] == "Pass" for check in status.get("checks") or [])


async def start(team: Team, document: Json, version: str, errors: int = 0) -> None:
    """Declare the Rollout, wait until it has seen the world as it is, then deploy a version."""
    await team.cluster.apply([document])
    await team.until("the first look", lambda status: status.get("phase") == "Idle")
    await team.cluster.apply([deploy(version, errors)])


async def test_traefik_splits_traffic_as_every_step_asks(team: Team) -> None:
    """10, 50, 100 %: Traefik accepts each weight, real requests are split by it, and none fails; then v2 is stable."""
    steps = [step for weight in (10, 50, 100) for step in ({"weight": weight}, {"approval": {}})]
    await start(team, rollout(*steps), "v2")
    for number, weight in enumerate((10, 50, 100), start=1):
        status = await team.until(
            f"{weight} %",
            lambda status, at=2 * number, weight=weight: (
                status.get("step", {}).get("index") == at and status["split"]["accepted"] == weight
            ),
        )
        assert status["split"]["desired"] == status["split"]["written"] == weight
        await team.accepted_by_traefik()
        await team.serves(100 - weight, weight)
        answers = await team.measure()
        assert answers[200, "v1"] + answers[200, "v2"] == REQUESTS
        assert 100 * answers[200, "v2"] / REQUESTS == pytest.approx(weight, abs=5)
        await team.request("promote")
    await team.until("success", lambda status: status.get("phase") == "Succeeded")
    await team.serves(1, 0)
    await team.drained("shop-stable", 2)
    assert await team.measure() == {(200, "v2"): REQUESTS}
    stable = await team.cluster.kube.get(DEPLOYMENTS, "shop-stable", NAMESPACE)
    assert {"name": "VERSION", "value": "v2"} in stable["spec"]["template"]["spec"]["containers"][0]["env"]
    await team.accepted_by_traefik()


def standing_still(pid: int) -> bool:
    """Whether every thread of a process is stopped: on a busy machine one that waits for its turn stops when it gets it."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in threads} == {"T"}


async def test_a_weight_that_traefik_has_not_seen_is_not_accepted(team: Team) -> None:
    """Traefik stands still: the weight is written, not accepted, and its step does not begin to hold. It goes on: it does."""
    await start(team, rollout({"weight": 50}, {"approval": {}}, {"weight": 100}, {"approval": {}}), "v2")
    await team.until("50 %", lambda status: status.get("split", {}).get("accepted") == 50)
    os.kill(team.traefik.pid, signal.SIGSTOP)
    try:
        await team.eventually("Traefik to stand still", partial(asyncio.to_thread, standing_still, team.traefik.pid))
        await team.request("promote")
        await team.until("100 % written", lambda status: status["split"]["written"] == 100)
        route = await team.route()
        (parent,) = route["status"]["parents"]
        assert all(one["observedGeneration"] < route["metadata"]["generation"] for one in parent["conditions"])
        status = (await team.cluster.kube.get(ROLLOUTS, "shop", NAMESPACE))["status"]
        assert (status["split"]["accepted"], status["step"]["index"]) == (50, 3)
        assert not status["step"].get("reachedAt")
    finally:
        os.kill(team.traefik.pid, signal.SIGCONT)
    await team.until("100 % accepted", lambda status: status["split"]["accepted"] == 100)
    await team.accepted_by_traefik()


@pytest.mark.parametrize("team", [True], indirect=True)
async def test_errors_in_traefiks_metrics_roll_back(team: Team) -> None:
    """At 50 % v3 begins to fail 30 % of its requests; Traefik's metrics say so; then not one request reaches v3.

    What is asked is what we ship for Traefik, and for applications: the templates tell errors, latency and the share.
    """
    await team.cluster.prometheus.scraping()
    await team.cluster.apply([*shipped("traefik"), *shipped("application")])
    document = rollout({"weight": 50, "hold": "10m"}, checks=True)
    document["spec"]["checks"] = [
        {**named("traefik-error-rate"), "interval": "2s", "window": "5s"},
        {**named("traefik-latency", max="30s"), "interval": "2s"},
        {**named("application-error-rate", **COUNTED), "interval": "2s", "dryRun": True},
    ]
    document["spec"]["traffic"] = {**named("traefik-traffic"), "interval": "2s", "lag": "2s"}
    # Few at a time and patient: when it has stopped, nothing of it is still on its way to a replica.
    async with LoadGenerator(team.url, manifests.HOST, rps=100, max_in_flight=20, timeout=60, max_seconds=600) as load:
        await start(team, document, "v3")
        status = await team.until("a good verdict", lambda status: passing(status) == 3)
        failing, latency, failing_too = (check["value"] for check in status["checks"])
        assert (failing, failing_too) == (0, 0)
        assert 0 < latency < 30
        status = await team.until("the share that it got", lambda status: "observed" in status["split"])
        assert status["split"]["observed"] == pytest.approx(50, abs=5)
        await team.seen_by_prometheus(0.5)
        await team.cluster.workloads.set_fault(NAMESPACE, "shop-canary", errors=0.3)
        status = await team.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        assert "traefik-error-rate" in json.dumps(status["conditions"]) + status["message"]
        await team.serves(1, 0)
        assert load.counts().by_version["v3"] > 0
    before = await team.cluster.workloads.served(NAMESPACE, "shop-canary")
    assert await team.measure() == {(200, "v1"): REQUESTS}
    assert await team.cluster.workloads.served(NAMESPACE, "shop-canary") == before


async def test_a_step_that_mirrors_is_refused(team: Team) -> None:
    """On Traefik it would be an outage: its GatewayClass does not list mirrors, so no run begins, and nothing is written."""
    step = {"mirror": {"percent": 20, "allowUnsafeMethods": True}}
    await team.cluster.apply([rollout(step, {"weight": 10})])
    await team.until("the first look", lambda status: "UnsupportedFeature" in json.dumps(status.get("conditions")))
    await team.cluster.apply([deploy("v2")])
    status = await team.until("why not", lambda status: (status.get("message") or "").startswith("revision "))
    assert "HTTPRouteRequestMirror" in status["message"]
    assert "run" not in status
    route = await team.route()
    assert "filters" not in route["spec"]["rules"][0]
    await team.eventually("the route to be served", lambda: team.only("v1", {}))
    assert await team.measure() == {(200, "v1"): REQUESTS}


async def test_a_rule_that_was_prepared_is_moved_and_the_other_is_not(team: Team) -> None:
    """The share of the rule for a header goes to 100 %: whoever sends the header is served by the canary, nobody else is."""
    route = await team.route()
    pair = route["spec"]["rules"][0]["backendRefs"]
    beta = {"name": "beta", "matches": [{"headers": [{"name": "x-beta", "value": "yes"}]}], "backendRefs": pair}
    rules = {"spec": {"rules": [{"name": "all", "backendRefs": pair}, beta]}}
    await team.cluster.kube.merge_patch(HTTPROUTES, "shop", NAMESPACE, rules)
    document = rollout({"weight": 100}, {"approval": {}})
    document["spec"]["routes"] = [{"name": "shop", "rules": ["beta"]}]
    await start(team, document, "v2")
    await team.until("100 %", lambda status: (status.get("step") or {}).get("index") == 2)
    await team.eventually("the header to count", lambda: team.only("v2", {"x-beta": "yes"}))
    assert await team.measure({"x-beta": "yes"}) == {(200, "v2"): REQUESTS}
    assert await team.measure() == {(200, "v1"): REQUESTS}
    await team.request("abort")
    await team.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    await team.eventually("the header not to count", lambda: team.only("v1", {"x-beta": "yes"}))
    assert await team.measure({"x-beta": "yes"}) == {(200, "v1"): REQUESTS}


async def test_a_rule_that_is_added_serves_those_who_opt_in(team: Team) -> None:
    """Whoever sends the header is served by the canary, nobody else is; and the rule is gone when the step ends."""
    before = (await team.route())["spec"]
    opts_in = {"match": [{"headers": [{"name": "x-beta", "value": "yes"}]}]}
    await start(team, rollout({**opts_in, "approval": {}}, {"approval": {}}), "v2")
    await team.until("the rule", lambda status: bool((status.get("step") or {}).get("reachedAt")))
    await team.accepted_by_traefik()
    await team.eventually("the header to count", lambda: team.only("v2", {"x-beta": "yes"}))
    assert await team.measure({"x-beta": "yes"}) == {(200, "v2"): REQUESTS}
    assert await team.measure() == {(200, "v1"): REQUESTS}
    await team.request("promote")
    await team.until("the second step", lambda status: (status.get("step") or {}).get("index") == 2)
    await team.eventually("the header not to count", lambda: team.only("v1", {"x-beta": "yes"}))
    assert (await team.route())["spec"] == before
    assert await team.measure({"x-beta": "yes"}) == {(200, "v1"): REQUESTS}
