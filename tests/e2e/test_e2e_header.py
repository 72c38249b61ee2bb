"""Requests that opt in, on a real Envoy: who is served by which version, counted by those who asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

import pytest
from cluster_kit import sandbox

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import HTTPROUTES, ROLLOUTS
from canary.routes.acceptance import acceptance
from canary.routes.added_refusals import Refused
from canary.routes.added_rule import added_rules
from canary.routes.edit import edit
from canary.routes.entry import Entry
from canary.routes.matching import Condition, FieldMatch
from canary.routes.pair import Backend, Pair
from canary.routes.plan import RoutePlan
from canary.routes.rules import every_pair
from canary_sandbox.cluster import Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.load import LoadGenerator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE
ROOT: Json = {"path": {"type": "PathPrefix", "value": "/"}}
OPTED_IN: Json = {**ROOT, "headers": [{"type": "Exact", "name": "x-beta", "value": "yes"}]}
PAIR = Pair(Backend("shop-stable", NAMESPACE, 8080), Backend("shop-canary", NAMESPACE, 8080))


class Users:
    """Those who opt in and everybody else, fifty requests a second each."""

    def __init__(self, url: str) -> None:
        self._beta = LoadGenerator(url, manifests.HOST, 50, {"x-beta": "yes"}, max_seconds=100)
        self._others = LoadGenerator(url, manifests.HOST, 50, max_seconds=100)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(self._beta)
        await self._stack.enter_async_context(self._others)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def versions(self, seconds: float) -> tuple[dict[str, int], dict[str, int]]:
        """Who answers from now on: those who opt in, and everybody else; answers by version."""
        loads = (self._beta, self._others)
        before = [load.counts().by_version for load in loads]
        await asyncio.sleep(seconds)
        after = [load.counts().by_version for load in loads]
        beta, others = (
            {version: count - old.get(version, 0) for version, count in new.items() if count > old.get(version, 0)}
            for old, new in zip(before, after, strict=True)
        )
        return beta, others

    @property
    def failed(self) -> int:
        """Requests of everybody else that failed."""
        return self._others.counts().failed


@pytest.fixture
async def cluster() -> AsyncGenerator[Sandbox]:
    async with sandbox() as cluster:
        yield cluster


async def furnish(cluster: Sandbox, *matches: Json) -> str:
    """The demo's world with a named rule for each match, if any, stable at v1 and the canary at v2; the URL of its gateway."""
    world = manifests.world(cluster.gateway.listener_port)
    for document in world:
        if document["kind"] == "HTTPRoute" and matches:
            (rule,) = document["spec"]["rules"]
            document["spec"]["rules"] = [
                {**rule, "name": name, "matches": [match]}
                for name, match in zip(("everybody", "beta"), matches, strict=False)
            ]
    await cluster.apply(world)
    return await cluster.gateway_url(NAMESPACE, "public")


async def until(what: str, look: Callable[[], Any], condition: Callable[[Json], bool]) -> Json:
    last: Json = {}
    try:
        async with asyncio.timeout(40):
            while True:
                last = await look()
                if condition(last):
                    return last
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{what}: never; last seen: {json.dumps(last, indent=1)}")


class Run:
    """A controller, and the run that it drives."""

    def __init__(self, cluster: Sandbox) -> None:
        self._cluster = cluster

    @classmethod
    @asynccontextmanager
    async def of(cls, cluster: Sandbox, *steps: Json) -> AsyncGenerator[Run]:
        """A run of these steps, of which each waits for a person, has begun."""
        token = cluster.api.add_token("canary-controller")
        stop = asyncio.Event()
        serving = serve(Settings(metrics_address="127.0.0.1:0"), stop=stop, server=cluster.api.url, token=token)
        controller = asyncio.create_task(serving)
        run = cls(cluster)
        try:
            document = manifests.rollout()
            document["spec"] |= {"steps": [{**step, "approval": {}} for step in steps], "checks": []}
            document["spec"].pop("traffic")
            await cluster.apply([document])
            await until("the first look", run.status, lambda status: status.get("phase") == "Idle")
            await cluster.apply([manifests.deployment("shop-canary", "v2")])
            yield run
        finally:
            stop.set()
            await asyncio.wait_for(controller, 10)

    async def status(self) -> Json:
        found: Json = (await self._cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}
        return found

    async def ask(self, verb: str) -> None:
        annotation = {"metadata": {"annotations": {"canary.dev/request": verb}}}
        await self._cluster.kube.merge_patch(ROLLOUTS, "shop", NAMESPACE, annotation)

    async def reached(self, index: int) -> Json:
        """The status once a step is reached, and half a second later: data planes follow their status."""

        def there(status: Json) -> bool:
            return (status.get("step") or {}).get("index") == index and status["phase"] == "Paused"

        found = await until(f"step {index}", self.status, there)
        await asyncio.sleep(0.5)
        return found

    async def aborted(self) -> None:
        await self.ask("abort")
        await until("the rollback", self.status, lambda status: status.get("phase") == "RolledBack")
        await asyncio.sleep(0.5)


async def test_a_prepared_rule_serves_those_who_opt_in_and_nobody_else(cluster: Sandbox) -> None:
    """The controller moves the weights of one rule by its name: opted-in requests get the new version, all others the old one."""
    url = await furnish(cluster, ROOT, OPTED_IN)
    async with Run.of(cluster, {"weight": 0, "rules": {"beta": 100}}, {"weight": 50}) as run, Users(url) as users:
        await run.reached(1)
        beta, others = await users.versions(4)
        assert (set(beta), set(others)) == ({"v2"}, {"v1"})
        assert sum(beta.values()) > 100
        await run.ask("promote")
        seen = await run.reached(2)
        assert (seen["split"]["written"], seen["routes"][0]["shares"]) == (50, {"beta": 100})
        beta, others = await users.versions(6)
        assert set(beta) == {"v2"}
        assert others["v2"] / sum(others.values()) == pytest.approx(0.5, abs=0.12)
        await run.aborted()
        beta, others = await users.versions(2)
        assert (set(beta), set(others)) == ({"v1"}, {"v1"})
        assert users.failed == 0


async def test_a_match_step_adds_a_rule_for_those_who_opt_in_and_takes_it_away(cluster: Sandbox) -> None:
    """Where no rule is prepared: nobody else notices that it comes, that a weight is given beside it, or that it goes."""
    url = await furnish(cluster)
    opts_in = {"match": [{"headers": [{"name": "X-Beta", "value": "yes"}]}]}

    async def route() -> Json:
        return await cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)

    before = (await route())["spec"]
    async with Run.of(cluster, opts_in, {**opts_in, "weight": 50}, {"weight": 0}) as run, Users(url) as users:
        await run.reached(1)
        early = users.failed  # before stable had a replica that was ready
        beta, others = await users.versions(4)
        assert (set(beta), set(others)) == ({"v2"}, {"v1"})
        assert sum(beta.values()) > 100
        await run.ask("promote")
        await run.reached(2)
        beta, others = await users.versions(6)
        assert set(beta) == {"v2"}
        assert others["v2"] / sum(others.values()) == pytest.approx(0.5, abs=0.12)
        await run.ask("promote")
        await run.reached(3)
        beta, others = await users.versions(2)
        assert (set(beta), set(others)) == ({"v1"}, {"v1"})
        assert len((await route())["spec"]["rules"]) == 1
        await run.aborted()
        assert users.failed == early
    assert (await route())["spec"] == before


async def test_an_added_rule_serves_those_who_opt_in_and_its_removal_leaves_the_route_as_it_was(
    cluster: Sandbox,
) -> None:
    """A copy behind all rules wins where a request opts in, on a gateway that ranks rules as the Gateway API says."""
    url = await furnish(cluster, ROOT)
    await cluster.apply([manifests.deployment("shop-canary", "v2")])

    async def route() -> Json:
        return await cluster.kube.get(HTTPROUTES, "shop", NAMESPACE)

    async def write(*entries: Entry) -> None:
        document = await route()
        ops = edit(document, RoutePlan(PAIR, entries), None, rollout="shop")
        answer = await cluster.kube.json_patch(HTTPROUTES, "shop", NAMESPACE, ops, strict=True)
        assert RoutePlan(PAIR, entries).kept(answer) == ""
        await until("acceptance", route, lambda found: acceptance(found).accepted)
        await asyncio.sleep(0.5)

    before = await until("acceptance", route, lambda found: acceptance(found).accepted)
    added = added_rules("HTTPRoute", before, every_pair(before, PAIR), [Condition((FieldMatch("X-Beta", "yes"),))])
    assert not isinstance(added, Refused)
    async with Users(url) as users:
        await until_version(users, "v1")
        early = users.failed  # before stable had a replica that was ready
        await write(*added)
        beta, others = await users.versions(3)
        assert (set(beta), set(others)) == ({"v2"}, {"v1"})
        await write(*(entry.removal for entry in added))
        beta, others = await users.versions(3)
        assert (set(beta), set(others)) == ({"v1"}, {"v1"})
        assert users.failed == early
    assert (await route())["spec"] == before["spec"]


async def until_version(users: Users, version: str) -> None:
    """The gateway serves everybody by one version."""
    for _ in range(40):
        if set((await users.versions(0.5))[1]) == {version}:
            return
    pytest.fail(f"the gateway never served {version} alone")
