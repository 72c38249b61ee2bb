"""A server that is resumed from a snapshot: the same objects and tokens, an end to old watches, nothing half done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from apiserver_kit import CONFIG_MAPS, CRDS, WIDGETS, Client, config_map, definition, eventually, widget

from canary.errors import SandboxError
from canary_sandbox.apiserver import ApiServer, Snapshot
from canary_sandbox.apiserver.store import RESTORE_GAP, Store

pytestmark = pytest.mark.sandbox_only

Json = dict[str, Any]
SERVICES = "/api/v1/namespaces/default/services"


@asynccontextmanager
async def server(saved: bytes | None = None, **more: Any) -> AsyncIterator[Client]:
    snapshot = None if saved is None else Snapshot.load(saved)
    timeout = aiohttp.ClientTimeout(total=20)
    async with ApiServer(snapshot=snapshot, **more) as api, aiohttp.ClientSession(timeout=timeout) as session:
        yield Client(api, session)


async def test_objects_are_the_same() -> None:
    """uid, resourceVersion, generation, managedFields and status of every object; deleted ones stay deleted."""
    async with server() as before:
        await before("POST", CRDS, definition({"type": "object", "x-kubernetes-preserve-unknown-fields": True}))
        await before("POST", WIDGETS, widget("one", size=1))
        await before("PATCH", f"{WIDGETS}/one", {"spec": {"size": 2}}, patch="merge")
        await before("POST", CONFIG_MAPS, config_map("gone"))
        await before("DELETE", f"{CONFIG_MAPS}/gone")
        everything = {stored.key: stored.doc for _, stored in before.api.store.everything()}
        saved = before.api.save()
    async with server(saved) as after:
        assert {stored.key: stored.doc for _, stored in after.api.store.everything()} == everything
        found = (await after("GET", f"{WIDGETS}/one")).body
        assert found["metadata"]["generation"] == 2
        assert found["spec"] == {"size": 2}
        assert (await after("GET", f"{CONFIG_MAPS}/gone")).code == 404


async def test_what_goes_on_goes_on_from_there() -> None:
    """A write with the resourceVersion of before is no conflict; definitions validate; a new revision is a later one."""
    async with server() as before:
        await before("POST", CRDS, definition({"type": "object", "properties": {"size": {"type": "integer"}}}))
        made = (await before("POST", WIDGETS, widget("one", size=1))).body
        saved = before.api.save()
    async with server(saved) as after:
        written = await after("PUT", f"{WIDGETS}/one", {**made, "spec": {"size": 5}})
        assert written.code == 200
        assert written.body["metadata"]["uid"] == made["metadata"]["uid"]
        assert int(written.body["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"]) + RESTORE_GAP
        assert (await after("PUT", f"{WIDGETS}/one", made)).code == 409
        assert (await after("POST", WIDGETS, widget("two", size="large"))).code == 422


async def test_watches_of_before_are_gone() -> None:
    """410 for a revision of before, for resources with and without objects; a list gives one that can be watched."""
    async with server() as before:
        await before("POST", CONFIG_MAPS, config_map("one"))
        seen = (await before("GET", CONFIG_MAPS)).body["metadata"]["resourceVersion"]
        saved = before.api.save()
        # What is seen after the snapshot is lost with the server, and must not be taken for something later.
        late = (await before("POST", CONFIG_MAPS, config_map("late"))).body["metadata"]["resourceVersion"]
    async with server(saved) as after:
        for revision in (seen, late):
            for path in (CONFIG_MAPS, SERVICES):
                (event,) = await after.watch(f"{path}?watch=1&resourceVersion={revision}", 1)
                assert event["type"] == "ERROR"
                assert event["object"]["code"] == 410
        now = (await after("GET", CONFIG_MAPS)).body["metadata"]["resourceVersion"]
        await after("POST", CONFIG_MAPS, config_map("two"))
        (event,) = await after.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={now}", 1)
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "two")


async def test_tokens_stay_good() -> None:
    """The admin's, a service account's and a user's; nobody else gets in, and rights are those of before."""
    async with server(authorization="RBAC") as before:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
        await before("POST", "/api/v1/namespaces/OWN/serviceaccounts", account)
        asked = await before("POST", "/api/v1/namespaces/OWN/serviceaccounts/robot/token", {"spec": {}})
        robot, alice = asked.body["status"]["token"], before.api.add_token("alice", ["team"])
        admin, saved = before.api.token, before.api.save()
    async with server(saved, authorization="RBAC") as after:
        assert after.api.token == admin
        reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        names = {}
        for token in (robot, alice):
            answer = await after("POST", reviews, {}, Authorization=f"Bearer {token}")
            names[answer.body["status"]["userInfo"]["username"]] = answer.body["status"]["userInfo"]["groups"]
        assert set(names) == {"system:serviceaccount:OWN:robot", "alice"}
        assert "team" in names["alice"]
        assert (await after("GET", CONFIG_MAPS, Authorization=f"Bearer {robot}")).code == 403
        assert (await after("GET", CONFIG_MAPS, Authorization=f"Bearer {robot}x")).code == 401


async def test_a_deletion_that_was_under_way_ends() -> None:
    """A namespace and a definition that were terminating are gone in the end; so is what had lost its owner."""
    async with server() as before:
        await before("POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
        await before("POST", "/api/v1/namespaces/team/configmaps", config_map("inside"))
        owner = (await before("POST", CONFIG_MAPS, config_map("owner"))).body
        owned = config_map("owned")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        owned["metadata"]["ownerReferences"] = [reference]
        await before("POST", CONFIG_MAPS, owned)
        saved = before.api.save()
    # As a hard kill leaves it: the deletions are in, the collector has not come to them.
    whole = json.loads(saved)
    kept = [one for one in whole["objects"] if one["object"]["metadata"]["name"] != "owner"]
    for one in kept:
        if one["plural"] == "namespaces" and one["object"]["metadata"]["name"] == "team":
            one["object"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    async with server(json.dumps({**whole, "objects": kept}).encode()) as after:

        async def gone() -> bool:
            paths = ("/api/v1/namespaces/team", f"{CONFIG_MAPS}/owned")
            return [(await after("GET", path)).code for path in paths] == [404, 404]

        await eventually(gone)


async def test_addresses_of_services_are_given_once() -> None:
    """A Service of after does not get the ClusterIP of one of before; a headless one is no obstacle."""
    async with server() as before:
        for name, spec in (("one", {}), ("headless", {"clusterIP": "None"})):
            body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}
            made = await before("POST", SERVICES, body)
            assert made.code == 201, made.body
        taken = (await before("GET", f"{SERVICES}/one")).body["spec"]["clusterIP"]
        saved = before.api.save()
    async with server(saved) as after:
        new = await after("POST", SERVICES, {"metadata": {"name": "two"}, "spec": {"ports": [{"port": 80}]}})
        assert new.body["spec"]["clusterIP"] != taken


async def test_default_roles_that_are_missing_come_back() -> None:
    """As a real server does on each start; those that somebody has changed are left alone."""
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    async with server() as before:
        await before("DELETE", f"{roles}/system:basic-user")
        await before("PATCH", f"{roles}/system:discovery", {"rules": []}, patch="merge")
        saved = before.api.save()
    async with server(saved) as after:
        assert (await after("GET", f"{roles}/system:basic-user")).code == 200
        assert not (await after("GET", f"{roles}/system:discovery")).body["rules"]


def _saved() -> Json:
    whole: Json = json.loads(ApiServer().save())
    return whole


def _changed(**more: Any) -> bytes:
    return json.dumps({**_saved(), **more}).encode()


async def test_what_is_no_snapshot_is_refused_with_a_sentence() -> None:
    """Cut short, of another format or version, with objects twice, too new, or without what every object has."""
    raw, whole = ApiServer().save(), _saved()
    (first, *_) = whole["objects"]
    broken = {
        "no JSON": raw[:-20],
        "not of the format": b'{"format": "something"}',
        "of version 2": _changed(version=2),
        "there twice": _changed(objects=[first, first]),
        "but the whole is of revision 1": _changed(revision=1),
        "KeyError": _changed(objects=[{**first, "object": {"kind": "X"}}]),
        "missing or wrong": _changed(tokens={"admin": "x", "key": "no hex"}),
    }
    for words, content in broken.items():
        with pytest.raises(SandboxError, match=words):
            Snapshot.load(content)
    assert Snapshot.load(raw).revision == whole["revision"]


def test_only_an_empty_store_can_be_restored() -> None:
    """What is there already would otherwise be mixed with what comes."""
    store = Store()
    store.put(("", "configmaps"), config_map("one"))
    with pytest.raises(ValueError, match="empty"):
        store.restore(7, [])
