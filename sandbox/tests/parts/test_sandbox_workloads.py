"""Deployments of the sandbox: replicas, roll-overs, statuses, endpoints and faults, seen through the API and HTTP."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cluster_kit import sandbox
from sandbox_kit import Shop, alive, client, condition, deployment, manifest, namespace, service, until

from canary.errors import SandboxError
from canary.kube import DEPLOYMENTS, ENDPOINTSLICES, PODS, SERVICES
from canary_sandbox.app import Behaviour
from canary_sandbox.load import LoadGenerator
from canary_sandbox.manifests import Strategy, int_or_percent


@pytest_asyncio.fixture
async def bare() -> AsyncGenerator[Shop]:
    """A namespace and a Service, workloads without a gateway."""
    async with sandbox(gateway=None, crds=(), drain=0.05) as cluster:
        await cluster.apply([manifest(namespace("team-shop")), manifest(service("app"))])
        yield Shop(cluster)


async def addresses(shop: Shop, name: str = "app", *, ready: bool = True) -> list[str]:
    """URLs of a Service's endpoints that are (un)ready, from its EndpointSlices: where they really listen."""
    selector = f"kubernetes.io/service-name={name}"
    slices = await shop.cluster.kube.list(ENDPOINTSLICES, "team-shop", label_selector=selector)
    return sorted(
        "http://{}:{}".format(*shop.cluster.workloads.locate(endpoint["addresses"][0], piece["ports"][0]["port"]))
        for piece in slices["items"]
        for endpoint in piece["endpoints"]
        if endpoint["conditions"]["ready"] is ready
    )


async def version(shop: Shop) -> set[str]:
    found = set()
    for url in await addresses(shop):
        async with client(url) as get:
            found.add((await get()).headers["x-version"])
    return found


async def change_env(shop: Shop, name: str, **env: str) -> None:
    value = [{"name": key, "value": item} for key, item in env.items()]
    op = {"op": "replace", "path": "/spec/template/spec/containers/0/env", "value": value}
    await shop.cluster.kube.json_patch(DEPLOYMENTS, name, "team-shop", [op])


async def test_replicas_are_pods_endpoints_and_a_status(bare: Shop) -> None:
    """Three replicas: three endpoints that answer, three Pods, and the status of a finished rollout."""
    await bare.cluster.apply([deployment("app", {"VERSION": "v7"}, replicas=3)])
    status = (await bare.rolled_out("app"))["status"]
    assert condition(status["conditions"], "Available")["status"] == "True"
    assert condition(status["conditions"], "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert len(await addresses(bare)) == 3
    assert await version(bare) == {"v7"}
    pods = (await bare.cluster.kube.list(PODS, "team-shop"))["items"]
    slices = (await bare.cluster.kube.list(ENDPOINTSLICES, "team-shop"))["items"]
    said = sorted(piece["endpoints"][0]["addresses"][0] for piece in slices)
    assert sorted(pod["status"]["podIP"] for pod in pods) == said
    reached = (await bare.cluster.kube.get(SERVICES, "app", "team-shop"))["spec"]["clusterIP"]
    assert ipaddress.ip_address(reached).is_loopback


async def test_scaling_follows_the_spec(bare: Shop) -> None:
    """Up to three, down to none: endpoints, Pods and status follow."""
    await bare.cluster.apply([deployment("app", {}, replicas=1)])
    for wanted in (3, 0):
        await bare.cluster.kube.merge_patch(DEPLOYMENTS, "app", "team-shop", {"spec": {"replicas": wanted}})
        await bare.rolled_out("app")

        async def settled(wanted: int = wanted) -> bool:
            pods = (await bare.cluster.kube.list(PODS, "team-shop"))["items"]
            return len(pods) == wanted == len(await addresses(bare))

        await until(settled, what=f"{wanted} pods and endpoints")


async def test_the_image_tag_is_the_version_when_nothing_else_says(bare: Shop) -> None:
    """VERSION first, then the tag of the image."""
    await bare.cluster.apply([deployment("app", {})])
    await bare.rolled_out("app")
    assert await version(bare) == {"v1"}
    assert Behaviour.from_env({}, image="registry:5000/shop").version == "unknown"


async def test_a_replica_is_ready_after_its_start_up_time(bare: Shop) -> None:
    """STARTUP_SECONDS: unready endpoint and Available=False first, both true later."""
    await bare.cluster.apply([deployment("app", {"STARTUP_SECONDS": "0.6"})])

    async def starting() -> Any:
        found = (await bare.deployment("app")).get("status") or {}
        return found if found.get("replicas") == 1 else None

    status = await until(starting, what="the first replica")
    assert "readyReplicas" not in status  # none
    assert condition(status["conditions"], "Available")["status"] == "False"
    assert condition(status["conditions"], "Progressing")["reason"] == "ReplicaSetUpdated"
    assert await addresses(bare) == []
    assert len(await addresses(bare, ready=False)) == 1
    await bare.rolled_out("app")
    assert len(await addresses(bare)) == 1


async def test_a_version_that_never_gets_ready_leaves_the_old_one_serving(bare: Shop) -> None:
    """READY=false: the rollout stops at the surge, reports ProgressDeadlineExceeded, and v1 still serves."""
    await bare.cluster.apply([deployment("app", {"VERSION": "v1"}, replicas=2, progressDeadlineSeconds=1)])
    await bare.rolled_out("app")
    await change_env(bare, "app", VERSION="v2", READY="false")

    async def stuck() -> Any:
        status = (await bare.deployment("app"))["status"]
        reason = condition(status["conditions"], "Progressing")["reason"]
        return status if reason == "ProgressDeadlineExceeded" else None

    status = await until(stuck, what="ProgressDeadlineExceeded")
    assert (status["updatedReplicas"], status["availableReplicas"]) == (1, 2)
    assert await version(bare) == {"v1"}
    await change_env(bare, "app", VERSION="v3")
    await bare.rolled_out("app")
    assert await version(bare) == {"v3"}


async def test_recreate_never_runs_two_versions(bare: Shop) -> None:
    """strategy Recreate: the old replicas are gone before the new ones start."""
    await bare.cluster.apply([deployment("app", {"VERSION": "v1"}, replicas=2, strategy={"type": "Recreate"})])
    await bare.rolled_out("app")
    await change_env(bare, "app", VERSION="v2")
    seen: set[frozenset[str]] = set()

    async def replaced() -> bool:
        pods = bare.cluster.workloads.replicas("team-shop", "app")
        seen.add(frozenset(pod.template for pod in pods))
        try:
            return await version(bare) == {"v2"}
        except aiohttp.ClientConnectionError:
            return False  # what was listed a moment ago has gone

    await until(replaced, what="v2")
    assert all(len(templates) <= 1 for templates in seen)


async def test_faults_come_in_exactly_the_share_asked_for(bare: Shop) -> None:
    """20 % errors: 20 of 100 requests; latency: every request takes at least that long; until told otherwise."""
    await bare.cluster.apply([deployment("app", {"VERSION": "v1", "FAULT_ERROR_PERCENT": "20"})])
    await bare.rolled_out("app")
    (bare.url,) = await addresses(bare)
    assert await bare.fire(100) == {(200, "v1"): 80, (500, "v1"): 20}
    await bare.cluster.workloads.set_fault("team-shop", "app", errors=0, latency=0.2)
    async with LoadGenerator(bare.url, rps=50, max_requests=10) as load:
        await load.wait()
    assert load.counts().by_status == {200: 10}
    assert min(answer.seconds for answer in load.series()) >= 0.2


async def test_a_catalogue_has_what_is_new_in_each_answer_and_the_wrong_prices_that_were_asked_for(bare: Shop) -> None:
    """With status 200: no error rate can see it."""
    await bare.cluster.apply([deployment("app", {"CATALOG": "true", "FAULT_PRICE_PERCENT": "10"}, replicas=1)])
    await bare.rolled_out("app")
    (url,) = await addresses(bare)
    async with client(url) as get:
        answers = [await get() for _ in range(40)]
    told = [json.loads(answer.text) for answer in answers]
    assert {answer.status for answer in answers} == {200}
    assert [one["items"][0]["price"] for one in told].count(1250) == 4
    assert {one["items"][1]["price"] for one in told} == {20}
    assert len({one["requestId"] for one in told}) == 40


async def test_arguments_of_a_comparer_run_one(bare: Shop) -> None:
    """The very program, that finds Services by name; the port called `results` leads to what it counted."""
    urls = ["--stable=http://app:8080", "--canary=http://again.team-shop.svc.cluster.local:8080", "--ignore=$.pod"]
    again = manifest(service("again"))
    again["spec"]["selector"] = {"app": "app"}
    made = manifest(deployment("compare", {}))
    made["spec"]["template"]["spec"]["containers"][0]["args"] = ["comparer", "run", *urls]
    ports = [{"name": "http", "port": 8080}, {"name": "results", "port": 8081}]
    serving = manifest(service("compare"))
    serving["spec"]["ports"] = ports
    await bare.cluster.apply([deployment("app", {"CATALOG": "true"}, replicas=1), again, serving, made])
    await bare.rolled_out("app")
    await bare.rolled_out("compare")
    address = (await bare.cluster.kube.get(SERVICES, "compare", "team-shop"))["spec"]["clusterIP"]
    async with aiohttp.ClientSession(f"http://{address}:8080") as copies:
        for _ in range(5):
            async with copies.get("/cups") as answer:
                assert answer.status == 202
    async with aiohttp.ClientSession(f"http://{address}:8081") as admin:

        async def all_compared() -> Any:
            async with admin.get("/results") as answer:
                told = await answer.json()
                return told if told["compared"] == 5 else None

        found = await until(all_compared)
    assert {path["path"]: path["canaryOnly"] for path in found["paths"]} == {"$.servedAt": 0, "$.requestId": 0}
    assert await bare.cluster.workloads.copies("team-shop", "compare") == 5


async def test_a_comparer_of_a_service_that_is_not_there_is_trouble(bare: Shop) -> None:
    """Said in the Deployment's status; once the Service is there it runs."""
    made = manifest(deployment("compare", {}, replicas=1))
    made["spec"]["template"]["spec"]["containers"][0]["args"] = [
        "comparer",
        "run",
        "--stable=http://gone:1",
        "--canary=http://gone:1",
    ]
    await bare.cluster.apply([made])
    words = "there is no Service gone in namespace team-shop"

    async def said() -> bool:
        status = (await bare.cluster.kube.get(DEPLOYMENTS, "compare", "team-shop")).get("status") or {}
        return words in str(status)

    await until(said)


async def test_nonsense_is_refused(bare: Shop) -> None:
    """Shares beyond 1, unknown Deployments, environment that cannot be read: each says so."""
    await bare.cluster.apply([deployment("app", {"FAULT_LATENCY_MS": "slow"})])

    async def refused() -> Any:
        conditions = ((await bare.deployment("app")).get("status") or {}).get("conditions") or []
        return [item["message"] for item in conditions if item["type"] == "ReplicaFailure"]

    assert await until(refused, what="ReplicaFailure") == ["FAULT_LATENCY_MS='slow' is not a number"]
    await change_env(bare, "app", VERSION="v2")
    await bare.rolled_out("app")
    with pytest.raises(SandboxError, match="between 0 and 1"):
        await bare.cluster.workloads.set_fault("team-shop", "app", errors=20)
    with pytest.raises(SandboxError, match="no Deployment team-shop/nobody"):
        await bare.cluster.workloads.set_fault("team-shop", "nobody", errors=0.2)


async def test_a_deleted_deployment_leaves_nothing(bare: Shop) -> None:
    """Endpoints, Pods and the servers themselves are gone."""
    await bare.cluster.apply([deployment("app", {})])
    await bare.rolled_out("app")
    (url,) = await addresses(bare)
    await bare.cluster.kube.delete(DEPLOYMENTS, "app", "team-shop")

    async def gone() -> bool:
        pods = (await bare.cluster.kube.list(PODS, "team-shop"))["items"]
        return not pods and not await addresses(bare)

    await until(gone, what="the end of pods and endpoints")

    async def refused() -> bool:
        async with LoadGenerator(url, max_requests=1) as load:
            await load.wait()
        return load.counts().by_status == {0: 1}

    await until(refused, what="the end of the server")  # it serves on for the time that proxies get to follow


async def test_replicas_can_be_processes_that_are_really_killed() -> None:
    """processes=True: faults, a SIGKILL and the recovery work the same, and no process stays behind."""
    async with sandbox(gateway=None, crds=(), processes=True, drain=0.05) as cluster:
        shop = Shop(cluster)
        await cluster.apply([manifest(namespace("team-shop")), manifest(service("app"))])
        await cluster.apply([deployment("app", {"VERSION": "v1"})])
        await shop.rolled_out("app")
        (first,) = cluster.workloads.replicas("team-shop", "app")
        await cluster.workloads.set_fault("team-shop", "app", errors=1)
        (shop.url,) = await addresses(shop)
        assert await shop.fire(5) == {(500, "v1"): 5}
        assert await cluster.workloads.served("team-shop", "app") == 5
        await cluster.workloads.crash("team-shop", "app")
        assert not alive(first.server.pid)

        async def unready() -> bool:
            status = (await shop.deployment("app"))["status"]
            return await addresses(shop) == [] and "availableReplicas" not in status

        await until(unready, what="the crashed replica's end as an endpoint, and in the status")
        await cluster.workloads.recover("team-shop", "app")
        await shop.rolled_out("app")
        (second,) = cluster.workloads.replicas("team-shop", "app")
        assert alive(second.server.pid)
    assert not alive(second.server.pid)


@pytest.mark.e2e
@pytest.mark.timeout(60)
@pytest.mark.alone("the gateway has to follow within the time that a replica goes on serving")
async def test_a_rolling_update_under_load_loses_no_request(shop: Shop) -> None:
    """From v1 to v3 with two replicas, 200 requests a second through the gateway: not one fails."""
    await shop.cluster.kube.merge_patch(DEPLOYMENTS, "shop-stable", "team-shop", {"spec": {"replicas": 2}})
    await shop.rolled_out("shop-stable")
    await shop.accepted(await shop.weigh(1, 0))
    async with LoadGenerator(shop.url, "shop.example.com", rps=200) as load:

        async def answers_of(version: str) -> bool:
            return load.current().by_version.get(version, 0) >= 50

        await until(lambda: answers_of("v1"), what="v1")
        await change_env(shop, "shop-stable", VERSION="v3")
        await shop.rolled_out("shop-stable")
        load.mark("after")
        await until(lambda: answers_of("v3"), what="v3")
    counts = load.counts()
    assert counts.failed == 0, counts
    assert set(counts.by_version) == {"v1", "v3"}


@pytest.mark.parametrize(
    ("value", "total", "up", "expected"),
    [("25%", 1, True, 1), ("25%", 1, False, 0), ("25%", 10, True, 3), ("25%", 10, False, 2), (3, 10, True, 3)],
)
def test_percentages_round_as_kubernetes_does(value: Any, total: int, up: bool, expected: int) -> None:
    """maxSurge rounds up, maxUnavailable down."""
    assert int_or_percent(value, total, up=up) == expected


def test_a_strategy_can_always_move() -> None:
    """Neither surge nor unavailable left after rounding: one may be unavailable, as in the real controller."""
    rolling = {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "1%"}}
    assert Strategy.of(deployment("app", {}, replicas=2, strategy=rolling)) == Strategy(0, 1)
