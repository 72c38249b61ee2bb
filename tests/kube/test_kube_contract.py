"""What `canary.kube.port` promises, kept by the client before an API server, and by the twin that tests use instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from cluster_kit import api_server, own_namespace
from scripted_kube import Asked, ScriptedKube

from canary import json_patch as patch
from canary.errors import AlreadyExists, ApiError, Conflict, NotFound, NotServed, Throttled, Unavailable, Unprocessable
from canary.kube import DEPLOYMENTS, NAMESPACES, SERVICES, Kube, KubeClient

APP = patch.pointer("metadata", "labels", "app")


@pytest.fixture(params=["client", "twin"])
async def kube(request: pytest.FixtureRequest) -> AsyncIterator[Kube]:
    if request.param == "twin":
        yield ScriptedKube()
        return
    async with api_server() as api, await KubeClient.connect(server=api.url, token=api.token) as kube:
        yield kube


@pytest.fixture
async def shop(kube: Kube) -> str:
    """A namespace."""
    name = own_namespace("contract")
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def service(namespace: str, name: str, port: int = 80, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"ports": [{"port": port}], "selector": {"app": name}},
    }


async def test_an_object_over_its_life(kube: Kube, shop: str) -> None:
    """It is there once, under a uid and a version of its own, until it is deleted."""
    created = await kube.create(SERVICES, service(shop, "a"))
    assert (created["kind"], created["metadata"]["namespace"]) == ("Service", shop)
    assert await kube.get(SERVICES, "a", shop) == created
    assert json.loads(await kube.text(SERVICES, "a", shop)) == created
    with pytest.raises(AlreadyExists) as refused:
        await kube.create(SERVICES, service(shop, "a"))
    assert refused.value.status == 409
    await kube.delete(SERVICES, "a", shop)
    again = await kube.create(SERVICES, service(shop, "a"))
    assert again["metadata"]["uid"] != created["metadata"]["uid"]
    with pytest.raises(Conflict):
        await kube.delete(SERVICES, "a", shop, uid=created["metadata"]["uid"])
    assert await kube.get(SERVICES, "a", shop) == again
    await kube.delete(SERVICES, "a", shop, propagation="Background", uid=again["metadata"]["uid"])
    with pytest.raises(NotFound):
        await kube.get(SERVICES, "a", shop)


@pytest.mark.parametrize("verb", ["get", "delete", "json_patch", "merge_patch"])
async def test_what_is_not_there_is_not_found(kube: Kube, shop: str, verb: str) -> None:
    """Whatever is asked of it."""
    more = {"get": (), "delete": (), "json_patch": ([],), "merge_patch": ({},)}[verb]
    with pytest.raises(NotFound) as refused:
        await getattr(kube, verb)(SERVICES, "a", shop, *more)
    assert (refused.value.status, refused.value.retryable) == (404, False)
    with pytest.raises(ValueError, match="in which namespace"):
        await getattr(kube, verb)(SERVICES, "a", None, *more)


async def test_a_patch_is_done_whole_or_not_at_all(kube: Kube, shop: str) -> None:
    """A test that does not hold, or a member that is not there, refuses everything else with it."""
    created = await kube.create(SERVICES, service(shop, "a", app="x"))
    patched = await kube.json_patch(
        SERVICES, "a", shop, [patch.test(APP, "x"), patch.unmoved(created), patch.replace(APP, "y")]
    )
    assert patched["metadata"]["labels"] == {"app": "y"}
    assert int(patched["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    for refusal in (
        [patch.test(APP, "x")],
        [patch.unmoved(created)],
        [patch.remove(patch.pointer("metadata", "labels", "other"))],
    ):
        with pytest.raises(Unprocessable) as refused:
            await kube.json_patch(SERVICES, "a", shop, [patch.add(APP, "z"), *refusal])
        assert (refused.value.status, refused.value.retryable) == (422, False)
    assert await kube.get(SERVICES, "a", shop) == patched


async def test_a_dry_run_changes_nothing(kube: Kube, shop: str) -> None:
    """Its answer is what would be kept."""
    created = await kube.create(SERVICES, service(shop, "a"))
    answer = await kube.json_patch(SERVICES, "a", shop, [patch.annotate(created, "b/c", "d")], dry_run=True)
    assert answer["metadata"]["annotations"] == {"b/c": "d"}
    assert await kube.get(SERVICES, "a", shop) == created


async def test_a_merge_may_insist_on_a_version(kube: Kube, shop: str) -> None:
    """None removes, the rest is merged; the version of somebody who read too early is a conflict."""
    created = await kube.create(SERVICES, service(shop, "a", app="x", tier="web"))
    version = created["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version, "labels": {"app": None, "new": "1"}}}
    merged = await kube.merge_patch(SERVICES, "a", shop, body)
    assert merged["metadata"]["labels"] == {"tier": "web", "new": "1"}
    with pytest.raises(Conflict) as refused:
        await kube.merge_patch(SERVICES, "a", shop, body)
    assert (refused.value.status, refused.value.retryable) == (409, True)
    assert await kube.get(SERVICES, "a", shop) == merged


async def test_the_status_is_written_apart(kube: Kube, shop: str) -> None:
    """A patch of the status changes nothing else, one of the object no status; only the spec moves the generation."""
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": "a:1"}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template}
    await kube.create(DEPLOYMENTS, {"metadata": {"name": "a", "namespace": shop}, "spec": spec})
    both = {"spec": {"replicas": 3}, "status": {"replicas": 2}}
    written = await kube.merge_patch(DEPLOYMENTS, "a", shop, both, subresource="status")
    assert (written["spec"]["replicas"], written["status"]["replicas"]) == (0, 2)
    assert written["metadata"]["generation"] == 1
    written = await kube.merge_patch(DEPLOYMENTS, "a", shop, {"spec": {"replicas": 3}, "status": {"replicas": 9}})
    assert (written["spec"]["replicas"], written["status"]["replicas"]) == (3, 2)
    assert written["metadata"]["generation"] == 2


async def test_replicas_are_written_by_a_subresource(kube: Kube, shop: str) -> None:
    """It shows how many there are, of none nothing; and refuses what was read before somebody else wrote."""
    selector = {"matchLabels": {"app": "a"}}
    pods = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
    made = {"metadata": {"name": "a"}, "spec": {"replicas": 2, "selector": selector, "template": pods}}
    await kube.create(DEPLOYMENTS, made, shop)
    seen = await kube.get(DEPLOYMENTS, "a", shop, subresource="scale")
    assert (seen["kind"], seen["spec"]["replicas"]) == ("Scale", 2)
    ops = [patch.unmoved(seen), patch.add(patch.pointer("spec", "replicas"), 0)]
    answer = await kube.json_patch(DEPLOYMENTS, "a", shop, ops, subresource="scale")
    assert answer["spec"].get("replicas", 0) == 0
    assert answer["metadata"]["uid"] == seen["metadata"]["uid"]
    assert (await kube.get(DEPLOYMENTS, "a", shop))["spec"]["replicas"] == 0
    with pytest.raises((Conflict, Unprocessable)):
        await kube.json_patch(DEPLOYMENTS, "a", shop, ops, subresource="scale")


async def test_lists_are_narrowed_and_ordered(kube: Kube, shop: str) -> None:
    """By namespace, labels and fields; by name."""
    other = own_namespace("contract-other")
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    for namespace, name in ((shop, "b"), (shop, "a"), (other, "c")):
        await kube.create(SERVICES, service(namespace, name, app=name))

    async def names(namespace: str | None, **selectors: str) -> list[str]:
        found = (await kube.list(SERVICES, namespace, **selectors))["items"]
        return [one["metadata"]["name"] for one in found if one["metadata"]["namespace"] in {shop, other}]

    assert await names(shop) == ["a", "b"]
    assert sorted(await names(None)) == ["a", "b", "c"]
    assert await names(None, label_selector="app=c") == ["c"]
    assert await names(shop, field_selector="metadata.name=b") == ["b"]
    assert await names(shop, label_selector="app=c") == []


async def test_pages_say_how_many_are_left(kube: Kube, shop: str) -> None:
    """One at a time; an empty list is one page."""
    for name in ("a", "b", "c"):
        await kube.create(SERVICES, service(shop, name))
    pages = [page async for page in kube.pages(SERVICES, shop, limit=2)]
    assert [[item["metadata"]["name"] for item in page["items"]] for page in pages] == [["a", "b"], ["c"]]
    assert [page["metadata"].get("remainingItemCount") for page in pages] == [1, None]
    assert len([page async for page in kube.pages(DEPLOYMENTS, shop)]) == 1


async def test_following_begins_with_all_there_is(kube: Kube, shop: str) -> None:
    """ADDED, SYNCED, then every change of the one object that is followed."""
    for name in ("a", "b"):
        await kube.create(SERVICES, service(shop, name))
    seen = []
    async with asyncio.timeout(20), aclosing(kube.list_and_watch(SERVICES, shop, name="a")) as events:
        async for event in events:
            seen.append((event.type, event.object.get("metadata", {}).get("labels", {}).get("app")))
            if event.type == "SYNCED":
                for name in ("b", "a"):
                    await kube.merge_patch(SERVICES, name, shop, {"metadata": {"labels": {"app": "x"}}})
                await kube.delete(SERVICES, "a", shop)
            if event.type == "DELETED":
                break
    assert seen[:3] == [("ADDED", None), ("SYNCED", None), ("MODIFIED", "x")]
    assert [kind for kind, _ in seen] == ["ADDED", "SYNCED", "MODIFIED", "DELETED"]


async def test_discovery_knows_what_is_served(kube: Kube) -> None:
    """A kind is found in its group; a group or a path that nobody serves is told from one that is."""
    assert await kube.resolve("apps", "Deployment") == DEPLOYMENTS
    assert await kube.resolve("apps", "Ship") is None
    assert await kube.resolve("nobody.example.com", "Ship") is None
    found = await kube.discover("apps")
    assert found["Deployment"] == DEPLOYMENTS
    assert all(resource.kind == kind for kind, resource in found.items())
    assert await kube.discover("nobody.example.com") == {}
    with pytest.raises(NotServed):
        await kube.raw("/apis/nobody.example.com")


# -- what only the twin can do ----------------------------------------------------------------------------------------


@pytest.fixture
def twin() -> ScriptedKube:
    kube = ScriptedKube()
    kube.put(SERVICES, service("shop", "a"))
    return kube


async def test_the_script_decides_about_one_request_after_another(twin: ScriptedKube) -> None:
    """Errors come in their order, for the requests they are meant for; after that the twin is well again."""
    twin.script("get", "services", name="a", error=Throttled("slow down"))
    twin.script("get", "services", name="a", error=Unavailable("gone away"))
    for error in (Throttled, Unavailable):
        with pytest.raises(error):
            await twin.get(SERVICES, "a", "shop")
        assert (await twin.list(SERVICES, "shop"))["items"]
    assert (await twin.get(SERVICES, "a", "shop"))["metadata"]["name"] == "a"
    assert [asked.verb for asked in twin.asked] == ["get", "list", "get", "list", "get"]
    assert twin.asked[0] == Asked("get", "services", "shop", "a")


async def test_a_lost_answer_is_of_a_write_that_was_done(twin: ScriptedKube) -> None:
    """The caller cannot tell it from a write that never arrived."""
    twin.script("create", lost=True)
    twin.script("create", error=Unavailable("gone away"))
    for name in ("b", "c"):
        with pytest.raises(Unavailable):
            await twin.create(SERVICES, service("shop", name))
    assert [item["metadata"]["name"] for item in twin.kept(SERVICES)] == ["a", "b"]


async def test_others_may_come_first(twin: ScriptedKube) -> None:
    """What happens between an answer and what its reader does with it."""

    async def write() -> None:
        twin.put(SERVICES, service("shop", "a", app="theirs"))

    twin.script("get", then=write)
    read = await twin.get(SERVICES, "a", "shop")
    with pytest.raises(ApiError):
        await twin.json_patch(SERVICES, "a", "shop", [patch.unmoved(read), patch.add(patch.pointer("spec"), {})])
    assert twin.kept(SERVICES)[0]["metadata"]["labels"] == {"app": "theirs"}


async def test_a_request_may_take_its_time(twin: ScriptedKube) -> None:
    """It holds up no other, and an answer may be one that no server would give."""
    twin.script("raw", delay=60.0)
    twin.script("raw", answer={"gitVersion": "v9"})
    slow = asyncio.create_task(twin.raw("/version"))
    await asyncio.sleep(0)
    assert await twin.raw("/version") == {"gitVersion": "v9"}
    assert not slow.done()
    slow.cancel()


def test_the_twin_has_every_member_of_the_port() -> None:
    """Nothing of the port is forgotten when it grows."""
    members = {name for name in vars(Kube) if not name.startswith("_")}
    assert {name for name in members if not hasattr(ScriptedKube(), name)} == set()
