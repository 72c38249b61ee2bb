"""What every test relies on, whichever server it runs on: people, audit, faults, watches, definitions, no leftovers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from cluster_kit import api_server, install_all, own_namespace

from canary.errors import Forbidden, NotFound, Unavailable
from canary.kube import HTTPROUTES, NAMESPACES, ROLLOUTS, SERVICES, Kube, KubeClient
from canary_sandbox.apiserver import Fault
from canary_sandbox.apiserver.generic import GenericApiServer


@pytest.fixture
async def api() -> AsyncIterator[GenericApiServer]:
    async with api_server(authorization="RBAC") as server:
        await install_all(server)
        yield server


@pytest.fixture
async def admin(api: GenericApiServer) -> AsyncIterator[Kube]:
    async with await KubeClient.connect(server=api.url, token=api.token) as kube:
        yield kube


async def namespace(kube: Kube) -> str:
    name = own_namespace()
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def service(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}


async def test_definitions_are_served(api: GenericApiServer, admin: Kube) -> None:
    """Ours and those of the Gateway API can be listed as soon as they are installed."""
    for resource in (ROLLOUTS, HTTPROUTES):
        assert (await admin.list(resource))["items"] == []


async def test_the_audit_names_who_asked(api: GenericApiServer, admin: Kube) -> None:
    """Each request is in the books under the owner of its token, a refused one too."""
    async with await KubeClient.connect(server=api.url, token=api.add_token("alice")) as alice:
        with pytest.raises(Forbidden, match="alice"):
            await alice.list(ROLLOUTS)
    (entry,) = [entry for entry in api.audit if entry.user == "alice" and entry.resource == "rollouts"]
    assert (entry.verb, entry.group, entry.code) == ("list", "canary.dev", 403)


async def test_a_fault_strikes_once(api: GenericApiServer, admin: Kube) -> None:
    """The server answers 503 to one request, and the next one passes."""
    api.faults.add(Fault(verb="create", resource="services", status=503))
    where = await namespace(admin)
    with pytest.raises(Unavailable):
        await admin.create(SERVICES, service("shop"), where)
    assert (await admin.create(SERVICES, service("shop"), where))["spec"]["clusterIP"]


async def test_a_watch_survives_being_dropped(api: GenericApiServer, admin: Kube) -> None:
    """A follower hears what was created before and after every watch was ended."""
    where = await namespace(admin)
    heard: list[str] = []
    present = asyncio.Event()

    async def follow() -> None:
        async for event in admin.list_and_watch(SERVICES, where):
            if event.type == "ADDED":
                heard.append(event.object["metadata"]["name"])
                present.set()

    following = asyncio.create_task(follow())
    try:
        async with asyncio.timeout(20):
            await admin.create(SERVICES, service("one"), where)
            await present.wait()
            present.clear()
            while not api.watching:  # noqa: ASYNC110 - a server tells nobody who watches it
                await asyncio.sleep(0.01)
            api.drop_watches()
            await admin.create(SERVICES, service("two"), where)
            await present.wait()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert heard == ["one", "two"]


async def test_nothing_is_left_behind() -> None:
    """What was created through a server is gone when it has closed, finalizers or not; a cluster ends its namespace soon."""
    async with api_server() as server, await KubeClient.connect(server=server.url, token=server.token) as kube:
        where = await namespace(kube)
        held = service("held")
        held["metadata"] = {"name": "held", "finalizers": ["example.com/held"]}
        await kube.create(SERVICES, held, where)
    async with api_server() as server, await KubeClient.connect(server=server.url, token=server.token) as kube:
        with pytest.raises(NotFound):
            await kube.get(SERVICES, "held", where)
        left = [where]
        async with asyncio.timeout(30):
            while left:
                left = (await kube.list(NAMESPACES, field_selector=f"metadata.name={where}"))["items"]
                assert all(one["metadata"]["deletionTimestamp"] for one in left)
                await asyncio.sleep(0.05)
