"""Steps that mirror, on a real Envoy: copies counted by those who got them, users by those who asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from cluster_kit import sandbox

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import GATEWAYCLASSES, HTTPROUTES, ROLLOUTS, SERVICES
from canary_sandbox.cluster import GATEWAY_CLASS, Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.gateway import LIES_ANNOTATION, Lie
from canary_sandbox.load import LoadGenerator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE
GET: Json = {"path": {"type": "PathPrefix", "value": "/"}, "method": "GET"}


class Team:
    """A sandbox with the demo's world in it, its rule limited to GET, and a controller."""

    def __init__(self, cluster: Sandbox, url: str) -> None:
        self.cluster = cluster
        self.url = url

    async def status(self) -> Json:
        found: Json = (await self.cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}
        return found

    async def until(self, what: str, condition: Callable[[Json], bool], within: float = 40) -> Json:
        """The Rollout's status once it is so."""
        last: Json = {}
        try:
            async with asyncio.timeout(within):
                while True:
                    last = await self.status()
                    if condition(last):
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{what}: never; the status says {json.dumps(last, indent=1)}")

    async def filters(self) -> list[Json]:
        route = await self.cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)
        found: list[Json] = route["spec"]["rules"][0].get("filters", [])
        return found

    async def begin(self, *steps: Json, **spec: Any) -> None:
        """Declare the Rollout, without checks, and deploy v2 once it is seen."""
        document = manifests.rollout()
        document["spec"] |= {"steps": list(steps), "checks": [], **spec}
        document["spec"].pop("traffic")
        await self.cluster.apply([document])
        await self.until("the first look", lambda status: status.get("phase") == "Idle")
        await self.cluster.apply([manifests.deployment("shop-canary", "v2")])
        await self.until("the mirror", _mirroring)

    async def copies(self) -> int:
        return await self.cluster.workloads.copies(NAMESPACE, "shop-canary")


def _mirroring(status: Json) -> bool:
    step = status.get("step") or {}
    return step.get("index") == 1 and bool(step.get("reachedAt"))


@pytest.fixture
async def team() -> AsyncGenerator[Team]:
    async with sandbox() as cluster:
        world = manifests.world(cluster.gateway.listener_port)
        for document in world:
            if document["kind"] == "HTTPRoute":
                document["spec"]["rules"][0]["matches"] = [GET]
        await cluster.apply(world)
        stop = asyncio.Event()
        token = cluster.api.add_token("canary-controller")
        settings = Settings(metrics_address="127.0.0.1:0")
        controller = asyncio.create_task(serve(settings, stop=stop, server=cluster.api.url, token=token))
        try:
            yield Team(cluster, await cluster.gateway_url(NAMESPACE, "public"))
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)


def load(team: Team) -> LoadGenerator:
    return LoadGenerator(team.url, manifests.HOST, rps=100, max_seconds=100)


@pytest.mark.parametrize(
    ("mirror", "share"), [({"percent": 20}, 0.2), ({"fraction": {"numerator": 3, "denominator": 4}}, 0.75)]
)
async def test_copies_are_the_share_and_no_user_is_served_by_the_canary(team: Team, mirror: Json, share: float) -> None:
    """For as long as the step lasts; an abort ends it, and from then on not one copy is made."""
    await team.begin({"mirror": mirror, "approval": {}}, {"weight": 10})
    async with load(team) as users:
        before = await team.copies()
        await asyncio.sleep(8)
        counts, after = users.counts(), await team.copies()
        assert counts.total > 400
        assert (dict(counts.by_version), counts.failed) == ({"v1": counts.total}, 0)
        assert (after - before) / counts.total == pytest.approx(share, abs=0.08)
        annotation = {"metadata": {"annotations": {"canary.dev/request": "abort"}}}
        await team.cluster.kube.merge_patch(ROLLOUTS, "shop", NAMESPACE, annotation)
        status = await team.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        assert "no user was served by it" in status["message"]
        assert await team.filters() == []
        await asyncio.sleep(1)  # what was on its way
        over = await team.copies()
        await asyncio.sleep(2)
        assert await team.copies() == over
        assert users.counts().failed == 0


async def test_a_service_that_vanishes_takes_the_mirror_along_at_once(team: Team) -> None:
    """A gateway that answers every user of such a rule with 500, as Envoy Gateway does: they see it for a moment, not for a step."""
    lies = {"metadata": {"annotations": {LIES_ANNOTATION: Lie.MISSING_MIRROR_ANSWERS_500.value}}}
    await team.cluster.kube.merge_patch(GATEWAYCLASSES, GATEWAY_CLASS, None, lies)
    await team.begin(
        {"mirror": {"percent": 100}, "hold": "10m"}, {"weight": 10}, onFailure="Pause", acceptTimeout="60s"
    )
    async with load(team) as users:
        await asyncio.sleep(1)
        await team.cluster.kube.delete(SERVICES, "shop-canary", NAMESPACE)
        status = await team.until("the end of it", lambda status: bool((status.get("run") or {}).get("outcome")), 10)
        assert status["run"]["reason"] == "MirrorUnresolved"
        assert await team.filters() == []
        await asyncio.sleep(1)
        before = users.counts()
        await asyncio.sleep(2)
        after = users.counts()
        assert after.failed == before.failed
        assert after.by_version["v1"] > before.by_version["v1"]
        assert before.failed < 150, "users were answered with 500 for longer than a moment"
