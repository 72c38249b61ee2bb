"""Kube against an API server: what a scripted server cannot tell, such as whether a patch means what we think."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cluster_kit import api_server, own_namespace

from canary import errors
from canary.kube import DEPLOYMENTS, EVENTS, LEASES, NAMESPACES, SERVICES, Kube, KubeClient, Resource, WatchEvent
from canary.kube.events import build_event
from canary.kube.retry import ROUTE_WRITE
from canary_sandbox.apiserver import Fault
from canary_sandbox.apiserver.generic import GenericApiServer


@pytest.fixture
async def server() -> AsyncIterator[GenericApiServer]:
    async with api_server() as server:
        yield server


@pytest.fixture
async def cluster(server) -> AsyncIterator[Kube]:
    async with await KubeClient.connect(server=server.url, token=server.token) as kube:
        yield kube


@pytest.fixture
async def shop(cluster) -> str:
    """A namespace."""
    name = own_namespace("shop")
    await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def service(namespace: str, name: str, port: int = 80, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"ports": [{"port": port}], "selector": {"app": name}},
    }


async def test_an_object_over_its_life(cluster, shop: str) -> None:
    """Created, read, refused a second time, deleted, and not found."""
    created = await cluster.create(SERVICES, service(shop, "a"))
    assert (await cluster.get(SERVICES, "a", shop))["metadata"]["uid"] == created["metadata"]["uid"]
    with pytest.raises(errors.AlreadyExists, match='"a" already exists'):
        await cluster.create(SERVICES, service(shop, "a"))
    await cluster.delete(SERVICES, "a", shop, propagation="Background")
    with pytest.raises(errors.NotFound, match='"a" not found'):
        await cluster.get(SERVICES, "a", shop)


async def test_our_writes_are_known_as_ours(cluster, shop: str) -> None:
    """The server books our writes under our field manager."""
    created = await cluster.create(SERVICES, service(shop, "a"))
    managers = [entry["manager"] for entry in created["metadata"]["managedFields"]]
    assert managers == ["canary"]


async def test_json_patch_with_tests(cluster, shop: str) -> None:
    """A patch whose tests hold is applied; one whose test fails is Unprocessable and changes nothing."""
    await cluster.create(SERVICES, service(shop, "a", app="x"))
    replace = {"op": "replace", "path": "/metadata/labels/app", "value": "y"}
    patched = await cluster.json_patch(
        SERVICES, "a", shop, [{"op": "test", "path": "/metadata/labels/app", "value": "x"}, replace]
    )
    assert patched["metadata"]["labels"] == {"app": "y"}
    stale = [{"op": "test", "path": "/metadata/labels/app", "value": "x"}, {**replace, "value": "z"}]
    with pytest.raises(errors.Unprocessable) as caught:
        await cluster.json_patch(SERVICES, "a", shop, stale)
    assert not caught.value.retryable
    now = await cluster.get(SERVICES, "a", shop)
    assert now["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]


TEXTS = ["R&D", "a < b > c", "été, 日本 😀", "line\u2028end", 'say "no"\n\t\\ \x7f \x01', ""]


@pytest.mark.parametrize("text", TEXTS)
async def test_json_patch_with_a_test_of_any_text(cluster, shop: str, text: str) -> None:
    """A text that was read can be tested for, whatever is in it: the server compares how it is spelt."""
    await cluster.create(SERVICES, {**service(shop, "a"), "metadata": {"name": "a", "annotations": {"x": text}}}, shop)
    read = (await cluster.get(SERVICES, "a", shop))["metadata"]["annotations"]
    assert read["x"] == text
    patched = await cluster.json_patch(
        SERVICES,
        "a",
        shop,
        [
            {"op": "test", "path": "/metadata/annotations/x", "value": read["x"]},
            {"op": "test", "path": "/metadata/annotations", "value": read},
            {"op": "add", "path": "/metadata/annotations/y", "value": text},
        ],
    )
    assert patched["metadata"]["annotations"] == {"x": text, "y": text}


async def test_invalid_objects_name_their_fields(cluster, shop: str) -> None:
    """What the schema refuses is Unprocessable with its causes."""
    await cluster.create(SERVICES, service(shop, "a"))
    with pytest.raises(errors.Unprocessable) as caught:
        await cluster.merge_patch(SERVICES, "a", shop, {"spec": {"ports": [{"port": 99_999_999}]}})
    assert caught.value.reason == "Invalid"


async def test_conflicts(cluster, shop: str) -> None:
    """A write that carries an old resourceVersion is a Conflict, which a retry (after reading again) may help."""
    old = await cluster.create(LEASES, {"metadata": {"name": "l", "namespace": shop}, "spec": {}})
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {"holderIdentity": "me"}}
    await cluster.merge_patch(LEASES, "l", shop, stale)
    with pytest.raises(errors.Conflict) as caught:
        await cluster.merge_patch(LEASES, "l", shop, {**stale, "spec": {"holderIdentity": "you"}})
    assert caught.value.retryable
    assert (await cluster.get(LEASES, "l", shop))["spec"]["holderIdentity"] == "me"


async def test_status_is_a_resource_of_its_own(cluster, shop: str) -> None:
    """A patch of the status changes the status only, and not the generation."""
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template}
    created = await cluster.create(DEPLOYMENTS, {"metadata": {"name": "a", "namespace": shop}, "spec": spec})
    body = {"spec": {"replicas": 5}, "status": {"observedGeneration": 1}}
    patched = await cluster.merge_patch(DEPLOYMENTS, "a", shop, body, subresource="status")
    assert patched["status"]["observedGeneration"] == 1
    assert patched["spec"]["replicas"] == 0
    assert patched["metadata"]["generation"] == created["metadata"]["generation"]


async def test_paging_and_selectors(cluster, shop: str) -> None:
    """A list in pages of two is the same as a list in one; selectors choose."""
    for number in range(5):
        await cluster.create(SERVICES, service(shop, f"s{number}", parity=f"{'odd' if number % 2 else 'even'}-{shop}"))
    paged = await cluster.list(SERVICES, shop, limit=2)
    assert [item["metadata"]["name"] for item in paged["items"]] == [f"s{number}" for number in range(5)]
    assert "continue" not in paged["metadata"]
    even = await cluster.list(SERVICES, label_selector=f"parity in (even-{shop})", limit=1)
    assert [item["metadata"]["name"] for item in even["items"]] == ["s0", "s2", "s4"]
    one = await cluster.list(SERVICES, shop, field_selector="metadata.name=s3")
    assert [item["metadata"]["name"] for item in one["items"]] == ["s3"]


async def test_events_are_accepted_once(cluster, shop: str) -> None:
    """The Events that we build are taken by the server; the same one again already exists."""
    target = await cluster.create(SERVICES, service(shop, "a"))
    event = build_event(
        {"apiVersion": "v1", "kind": "Service", **target},
        type_="Warning",
        reason="CheckFailed",
        message="x" * 5000,
        now=datetime.now(UTC),
        name_suffix="run-7",
    )
    created = await cluster.create(EVENTS, event)
    assert created["involvedObject"]["uid"] == target["metadata"]["uid"]
    with pytest.raises(errors.AlreadyExists):
        await cluster.create(EVENTS, event)


async def test_a_stranger_is_refused(server) -> None:
    """A token that the server does not know is Forbidden, at once."""
    async with await KubeClient.connect(server=server.url, token="wrong") as kube:
        with pytest.raises(errors.Forbidden) as caught:
            await kube.list(SERVICES)
    assert caught.value.status == 401


async def test_kubeconfig_of_the_sandbox(server, cluster, tmp_path: Path, shop: str) -> None:
    """The sandbox's kubeconfig leads to the sandbox, as the user and in the namespace that it names."""
    path = server.kubeconfig(tmp_path / "config", namespace=shop)
    async with await KubeClient.connect(kubeconfig=str(path)) as kube:
        assert (kube.namespace, kube.user) == (shop, "admin")
        assert (await kube.get(NAMESPACES, shop))["kind"] == "Namespace"


async def test_discovery(cluster) -> None:
    """What is installed resolves; what is not resolves to nothing, and listing it is NotServed."""
    assert await cluster.resolve("apps", "Deployment") == DEPLOYMENTS
    assert await cluster.resolve("apps", "Nonesuch") is None
    assert await cluster.resolve("nonesuch.example.com", "Nonesuch") is None
    with pytest.raises(errors.NotServed):
        await cluster.list(Resource("nonesuch.example.com", "v1", "nonesuches", "Nonesuch", True))
    assert "gitVersion" in await cluster.raw("/version")


async def until(events: AsyncIterator[WatchEvent], kind: str, name: str = "") -> list[str]:
    """What came up to and with the event that is waited for, as "TYPE name"."""
    came = []
    async with asyncio.timeout(10):
        async for event in events:
            came.append(f"{event.type} {event.object.get('metadata', {}).get('name', '')}".strip())
            if came[-1] == f"{kind} {name}".strip():
                return came
    raise AssertionError(came)


async def test_following_through_drops_and_compaction(server, cluster, shop: str) -> None:
    """Dropped watches lose nothing; after a compaction, the list tells what happened meanwhile."""
    await cluster.create(SERVICES, service(shop, "a"))
    await cluster.create(SERVICES, service(shop, "b"))
    async with aclosing(cluster.list_and_watch(SERVICES, shop)) as events:
        assert await until(events, "SYNCED") == ["ADDED a", "ADDED b", "SYNCED"]
        await cluster.create(SERVICES, service(shop, "c"))
        assert await until(events, "ADDED", "c") == ["ADDED c"]

        server.drop_watches()
        await cluster.delete(SERVICES, "a", shop)
        await cluster.create(SERVICES, service(shop, "d"))
        assert await until(events, "ADDED", "d") == ["DELETED a", "ADDED d"]

        server.faults.add(Fault(verb="watch", status=503, times=2))
        server.drop_watches()
        await cluster.delete(SERVICES, "b", shop)
        await cluster.merge_patch(SERVICES, "c", shop, {"metadata": {"labels": {"x": "y"}}})
        await cluster.create(SERVICES, service(shop, "e"))
        server.compact()
        came = await until(events, "DELETED", "b")
        assert came == ["MODIFIED c", "ADDED e", "DELETED b"]


async def test_following_one_object(cluster, shop: str) -> None:
    """With a name, only that object is followed."""
    await cluster.create(SERVICES, service(shop, "a"))
    await cluster.create(SERVICES, service(shop, "b"))
    async with aclosing(cluster.list_and_watch(SERVICES, shop, name="b")) as events:
        assert await until(events, "SYNCED") == ["ADDED b", "SYNCED"]
        await cluster.merge_patch(SERVICES, "a", shop, {"metadata": {"labels": {"x": "y"}}})
        await cluster.delete(SERVICES, "b", shop)
        assert await until(events, "DELETED", "b") == ["DELETED b"]


async def test_a_patch_with_tests_is_safe_to_send_again(server, cluster, shop: str) -> None:
    """The answer to a patch is lost after it took effect: sent again, its test tells, and it is not applied twice."""
    await cluster.create(SERVICES, service(shop, "a", app="x"))
    server.faults.add(Fault(verb="patch", resource="services", drop=True, after_effect=True))
    ops = [
        {"op": "test", "path": "/metadata/labels/app", "value": "x"},
        {"op": "replace", "path": "/metadata/labels/app", "value": "y"},
    ]
    with pytest.raises(errors.Unprocessable):
        await ROUTE_WRITE.call(lambda: cluster.json_patch(SERVICES, "a", shop, ops))
    assert (await cluster.get(SERVICES, "a", shop))["metadata"]["labels"] == {"app": "y"}
    assert [entry.verb for entry in server.audit].count("patch") == 2


async def test_throttling_is_waited_out(server, cluster, shop: str) -> None:
    """429 and 503 before a write took effect cost a pause, and the write is made."""
    await cluster.create(SERVICES, service(shop, "a"))
    server.faults.add(Fault(verb="patch", status=429))
    server.faults.add(Fault(verb="patch", status=503))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    body = {"metadata": {"labels": {"app": "y"}}}
    patched = await ROUTE_WRITE.call(lambda: cluster.merge_patch(SERVICES, "a", shop, body), sleep=sleep)
    assert patched["metadata"]["labels"] == {"app": "y"}
    assert len(pauses) == 2
