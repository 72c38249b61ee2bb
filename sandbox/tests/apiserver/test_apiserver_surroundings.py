"""Discovery in both forms, lists that go on, watches that fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from apiserver_kit import CONFIG_MAPS, Client, Kubectl, config_map, eventually, sandbox

from canary_sandbox.apiserver import ApiServer, Fault
from canary_sandbox.apiserver.generic import GenericApiServer

OUR_CRDS = Path(__file__).resolve().parents[3] / "crds"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_everything_is_discovered_in_two_requests(client: Client, routes: GenericApiServer) -> None:
    """Asked for, discovery comes aggregated, and says the same as the plain form, group by group."""
    core = await client("GET", "/api", Accept=f"{AGGREGATED},application/json")
    rest = await client("GET", "/apis", Accept=f"{AGGREGATED},application/json")
    assert core.headers["Content-Type"] == AGGREGATED
    assert (rest.body["kind"], rest.body["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    plain = (await client("GET", "/apis")).body
    assert plain["kind"] == "APIGroupList"
    assert {group["name"] for group in plain["groups"]} == {item["metadata"]["name"] for item in rest.body["items"]}
    for item in (*core.body["items"], *rest.body["items"]):
        group = item["metadata"].get("name", "")
        for version in item["versions"]:
            path = f"/apis/{group}/{version['version']}" if group else f"/api/{version['version']}"
            listed = (await client("GET", path)).body["resources"]
            nested = {entry["resource"] for entry in version["resources"]} | {
                f"{entry['resource']}/{sub['subresource']}"
                for entry in version["resources"]
                for sub in entry.get("subresources", ())
            }
            assert nested == {entry["name"] for entry in listed}
    gateway = next(item for item in rest.body["items"] if item["metadata"]["name"] == "gateway.networking.k8s.io")
    routes_entry = next(entry for entry in gateway["versions"][0]["resources"] if entry["resource"] == "httproutes")
    assert routes_entry["scope"] == "Namespaced"
    assert routes_entry["responseKind"]["kind"] == "HTTPRoute"


async def test_who_knows_the_aggregated_form_gets_it(client: Client) -> None:
    """Wherever it stands among what is accepted; other versions than v2 fall through to the plain form."""
    late = await client("GET", "/apis", Accept=f"application/json,{AGGREGATED}")
    assert late.body["kind"] == "APIGroupDiscoveryList"
    for version in ("v2beta1", "v3"):
        other = await client("GET", "/apis", Accept=AGGREGATED.replace("v=v2", f"v={version}") + ",application/json")
        assert other.body["kind"] == "APIGroupList"


@pytest.mark.sandbox_only("forgets history at will")
async def test_a_list_cannot_go_on_after_its_revision_is_gone(client: Client) -> None:
    """410 Expired: the client begins anew. A token that makes no sense is 400."""
    for name in "abc":
        await client("POST", CONFIG_MAPS, config_map(name))
    page = (await client("GET", f"{CONFIG_MAPS}?limit=1")).body
    token = page["metadata"]["continue"]
    await client("DELETE", f"{CONFIG_MAPS}/b")
    assert [
        item["metadata"]["name"] for item in (await client("GET", f"{CONFIG_MAPS}?continue={token}")).body["items"]
    ] == ["b", "c"]
    sandbox(client).compact()
    gone = await client("GET", f"{CONFIG_MAPS}?limit=1&continue={token}")
    assert (gone.code, gone.body["reason"]) == (410, "Expired")
    assert (await client("GET", f"{CONFIG_MAPS}?continue=nonsense")).code == 400


async def test_a_patch_may_carry_preconditions(client: Client) -> None:
    """A resourceVersion in a patch must be the object's, else 409; so must a uid, else 422; nothing is written."""
    made = (await client("POST", CONFIG_MAPS, config_map("a"))).body
    version = made["metadata"]["resourceVersion"]
    change = {"metadata": {"resourceVersion": version}, "data": {"x": "1"}}
    assert (await client("PATCH", f"{CONFIG_MAPS}/a", change, patch="merge")).code == 200
    stale = await client("PATCH", f"{CONFIG_MAPS}/a", change | {"data": {"x": "2"}}, patch="merge")
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    other = {"metadata": {"uid": "not-it"}, "data": {"x": "2"}}
    wrong = await client("PATCH", f"{CONFIG_MAPS}/a", other, patch="merge")
    assert (wrong.code, wrong.body["details"]["causes"][0]["field"]) == (422, "metadata.uid")
    assert (await client("GET", f"{CONFIG_MAPS}/a")).body["data"] == {"x": "1"}


@pytest.mark.parametrize("patch", ["merge", "json"])
async def test_fields_are_validated_in_patches_too(client: Client, patch: str) -> None:
    """An unknown field in a patch is a warning, or with Strict an error; Ignore drops it silently."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    body: Any = {"dta": {"x": "1"}} if patch == "merge" else [{"op": "add", "path": "/dta", "value": {}}]
    warned = await client("PATCH", f"{CONFIG_MAPS}/a", body, patch=patch)
    assert (warned.code, warned.headers["Warning"]) == (200, '299 - "unknown field \\"dta\\""')
    strict = await client("PATCH", f"{CONFIG_MAPS}/a?fieldValidation=Strict", body, patch=patch)
    assert (strict.code, 'unknown field "dta"' in strict.body["message"]) == (422, True)
    ignored = await client("PATCH", f"{CONFIG_MAPS}/a?fieldValidation=Ignore", body, patch=patch)
    assert (ignored.code, "Warning" in ignored.headers) == (200, False)
    assert "dta" not in ignored.body


@pytest.mark.sandbox_only("a real server sends them once a minute")
async def test_bookmarks_come_at_intervals() -> None:
    """A watcher that allows them hears how far the server is although nothing of its own happens."""
    async with ApiServer(bookmark_interval=0.05) as api, aiohttp.ClientSession() as session:
        client = Client(api, session)
        path = f"{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={api.store.revision}"
        events = await client.watch(path, 2)
        assert [event["type"] for event in events] == ["BOOKMARK"] * 2
        made = await client("POST", "/api/v1/namespaces/OWN/secrets", {"metadata": {"name": "x"}})
        (later,) = await client.watch(path, 1)
        assert int(later["object"]["metadata"]["resourceVersion"]) >= int(made.body["metadata"]["resourceVersion"])


async def test_a_watch_can_be_cut_after_so_many_events(client: Client) -> None:
    """In good order, or with a broken connection; the next watch is whole again."""
    for name in "abc":
        await client("POST", CONFIG_MAPS, config_map(name))
    client.api.faults.add(Fault(verb="watch", resource="configmaps", after_events=2))
    assert len(await client.watch(f"{CONFIG_MAPS}?watch=1")) == 2
    client.api.faults.add(Fault(verb="watch", resource="configmaps", after_events=2, drop=True))
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.watch(f"{CONFIG_MAPS}?watch=1")
    assert len(await client.watch(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1")) == 3
    await eventually(lambda: client.api.watching == 0)


async def test_a_stale_watch_is_open_and_silent(client: Client) -> None:
    """It delivers so many events, then nothing, bookmarks neither, until its time is over; nothing is delivered late."""
    fault = client.api.faults.add(Fault(verb="watch", resource="configmaps", after_events=1, stale=True))
    now = await client.revision()
    path = f"{CONFIG_MAPS}?watch=1&timeoutSeconds=2&allowWatchBookmarks=true&resourceVersion={now}"
    following = asyncio.create_task(client.watch(path))
    await eventually(lambda: client.api.watching == 1)
    for name in "abc":
        await client("POST", CONFIG_MAPS, config_map(name))
    assert [event["object"]["metadata"]["name"] for event in await following] == ["a"]
    assert fault.hits == 1
    with pytest.raises(ValueError, match="watch"):
        Fault(verb="list", stale=True)


async def test_kubectl_explains_and_lists_our_own_resources(kubectl: Kubectl, api: GenericApiServer) -> None:
    """explain goes into rollout.spec.steps; api-resources knows short names, categories and verbs."""
    await api.install_crds(OUR_CRDS)
    steps = await kubectl("explain", "rollout.spec.steps")
    assert "FIELD: steps" in steps
    assert "weight" in steps
    assert "KIND:       Rollout" in await kubectl("explain", "ro", "--recursive")
    wide = await kubectl("api-resources", "--categories=canary", "-o", "wide")
    assert "rollouts" in wide
    assert "deletecollection" in wide
    listed = await kubectl("api-resources", "--no-headers", "-o", "name")
    assert {"events", "clusterroles.rbac.authorization.k8s.io"} <= set(listed.split())
    assert not await kubectl("get", "canary", "-o", "name")
