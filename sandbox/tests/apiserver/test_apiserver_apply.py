"""Server-side apply: who owns which field, and what that means for the next write."""

from __future__ import annotations

import copy
import json
from typing import Any

import aiohttp
import pytest
import yaml
from apiserver_kit import (
    CONFIG_MAPS,
    ROUTES,
    WIDGETS,
    Answer,
    Client,
    Kubectl,
    config_map,
    definition,
    route,
    widget,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_sandbox.apiserver import ApiServer
from canary_sandbox.apiserver.errors import StatusError
from canary_sandbox.apiserver.fieldpaths import applied_paths, from_fields_v1, shown, to_fields_v1
from canary_sandbox.apiserver.generic import GenericApiServer
from canary_sandbox.apiserver.managed import Writer, apply, updated
from canary_sandbox.apiserver.merge import merged

SERVICES = "/api/v1/namespaces/OWN/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/OWN/deployments"


async def ssa(client: Client, path: str, body: Any, manager: str = "one", **query: str) -> Answer:
    asked = "&".join(f"{name}={value}" for name, value in {"fieldManager": manager, **query}.items() if value)
    return await client("PATCH", f"{path}?{asked}", body, Content_Type="application/apply-patch+yaml")


def owned(doc: dict[str, Any], manager: str, operation: str = "Apply") -> Any:
    """What a manager owns, as fieldsV1; None when nothing."""
    found = [
        entry["fieldsV1"]
        for entry in doc["metadata"].get("managedFields") or ()
        if (entry["manager"], entry["operation"]) == (manager, operation)
    ]
    return found[0] if found else None


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": list(containers)}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec},
    }  # fmt: skip


async def test_applying_makes_an_object_and_owns_what_was_named(client: Client) -> None:
    """201, then 200; defaults have no owner; an unchanged apply writes nothing."""
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "labels": {"a": "1"}},
        "spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "name": "web"}]},
    }  # fmt: skip
    made = await ssa(client, f"{SERVICES}/x", service)
    assert made.code == 201
    assert owned(made.body, "one") == {
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
            "f:selector": {},
        },
    }
    assert len(made.body["metadata"]["managedFields"]) == 1
    again = await ssa(client, f"{SERVICES}/x", service)
    assert (again.code, again.body) == (200, made.body)


async def test_a_conflict_names_the_owner_and_the_field(client: Client) -> None:
    """409 with one cause per field; `force` takes over; agreeing is sharing."""
    await client("POST", f"{CONFIG_MAPS}?fieldManager=two", config_map("a", x="1", y="1", z="1"))
    clash = await ssa(client, f"{CONFIG_MAPS}/a", config_map("a", x="2", z="1"))
    assert (clash.code, clash.body["reason"]) == (409, "Conflict")
    assert clash.body["message"] == 'Apply failed with 1 conflict: conflict with "two" using v1: .data.x'
    assert clash.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "two" using v1', "field": ".data.x"}
    ]
    both = await ssa(client, f"{CONFIG_MAPS}/a", config_map("a", x="2", y="2"))
    assert both.body["message"] == (
        'Apply failed with 2 conflicts: conflicts with "two" using v1:\n- .data.x\n- .data.y'
    )
    taken = await ssa(client, f"{CONFIG_MAPS}/a", config_map("a", x="2", z="1"), force="true")
    assert taken.body["data"] == {"x": "2", "y": "1", "z": "1"}
    assert owned(taken.body, "one") == {"f:data": {"f:x": {}, "f:z": {}}}
    assert owned(taken.body, "two", "Update") == {"f:data": {".": {}, "f:y": {}, "f:z": {}}}


async def test_what_is_applied_no_more_is_removed(client: Client) -> None:
    """A field goes when its only applier drops it, and stays while somebody else owns it."""
    await ssa(client, f"{CONFIG_MAPS}/a", config_map("a", x="1", shared="1"))
    await ssa(client, f"{CONFIG_MAPS}/a", config_map("a", shared="1", y="1"), "two")
    after = await ssa(client, f"{CONFIG_MAPS}/a", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    assert after.body["data"] == {"shared": "1", "y": "1"}
    assert owned(after.body, "one") is None
    nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    empty = await ssa(client, f"{CONFIG_MAPS}/a", nothing, "two")
    assert not empty.body.get("data")
    assert not empty.body["metadata"].get("managedFields")


async def test_containers_have_owners_of_their_own(client: Client) -> None:
    """Two appliers share a Deployment by containers and by fields; a scaler's Update takes replicas over."""
    one = deployment({"name": "app", "image": "app:1", "ports": [{"containerPort": 80}]}, replicas=2)
    side = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    side["spec"] = {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}
    path = f"{DEPLOYMENTS}/x"
    assert (await ssa(client, path, one)).code == 201
    both = (await ssa(client, path, side, "mesh")).body
    containers = both["spec"]["template"]["spec"]["containers"]
    assert [(c["name"], c["image"]) for c in containers] == [("app", "app:1"), ("side", "side:1")]
    scaled = await client("PATCH", f"{path}/scale?fieldManager=hpa", {"spec": {"replicas": 5}}, patch="merge")
    assert scaled.code == 200
    clash = await ssa(client, path, one)
    assert 'conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas' in clash.body["message"]
    del one["spec"]["replicas"]
    kept = (await ssa(client, path, one)).body
    assert kept["spec"]["replicas"] == 5
    assert len(kept["spec"]["template"]["spec"]["containers"]) == 2
    one["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    newer = (await ssa(client, path, one)).body
    assert [c["image"] for c in newer["spec"]["template"]["spec"]["containers"]] == ["app:2", "side:1"]
    assert newer["metadata"]["generation"] == kept["metadata"]["generation"] + 1
    del side["spec"]
    alone = (await ssa(client, path, side, "mesh")).body
    assert [c["name"] for c in alone["spec"]["template"]["spec"]["containers"]] == ["app"]


@pytest.mark.usefixtures("routes")
async def test_the_rules_of_a_route_are_one_field(client: Client) -> None:
    """Rules are an atomic list: who patches a weight owns all rules, and an applier of the route conflicts."""
    doc = route()
    path = f"{ROUTES}/shop"
    made = (await ssa(client, path, doc, "team")).body
    assert owned(made, "team") == {"f:spec": {"f:parentRefs": {}, "f:rules": {}}}
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 50}]
    weighed = (await client("PATCH", f"{path}?fieldManager=canary", patch, patch="json")).body
    assert owned(weighed, "canary", "Update") == {"f:spec": {"f:rules": {}}}
    assert owned(weighed, "team") == {"f:spec": {"f:parentRefs": {}}}
    clash = await ssa(client, path, doc, "team")
    assert clash.body["message"] == (
        'Apply failed with 1 conflict: conflict with "canary" using gateway.networking.k8s.io/v1: .spec.rules'
    )
    back = (await ssa(client, path, doc, "team", force="true")).body
    assert back["spec"]["rules"][0]["backendRefs"][1]["weight"] == 10
    assert owned(back, "canary", "Update") is None


async def test_status_has_owners_of_its_own(client: Client) -> None:
    """Applying to the status subresource owns and changes the status only; the main resource never owns it."""
    doc = definition({"type": "object", "properties": {"size": {"type": "integer"}}}, subresources={"status": {}})
    await client.define(doc)
    path = f"{WIDGETS}/one"
    early = await ssa(client, f"{path}/status", {**widget(), "status": {"ready": True}}, "controller")
    assert early.code == 404
    made = await ssa(client, path, {**widget(size=1), "status": {"ready": True}})
    assert made.code == 201
    assert "status" not in made.body
    assert owned(made.body, "one") == {"f:spec": {"f:size": {}}}
    told = await ssa(client, f"{path}/status", {**widget(size=9), "status": {"ready": True}}, "controller")
    assert (told.body["spec"], told.body["status"]) == ({"size": 1}, {"ready": True})
    (entry,) = [entry for entry in told.body["metadata"]["managedFields"] if entry["manager"] == "controller"]
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:ready": {}}})


async def test_apply_refuses_what_the_real_server_refuses(client: Client) -> None:
    """No manager 422, `force` elsewhere 422, unknown fields and doubled keys 500 with the path, managedFields 400."""
    path = f"{CONFIG_MAPS}/a"
    unnamed = await ssa(client, path, config_map("a"), "")
    assert "fieldManager: Required value: is required for apply patch" in unnamed.body["message"]
    await client("POST", CONFIG_MAPS, config_map("a"))
    forced = await client("PATCH", f"{path}?force=true", {}, patch="merge")
    assert "force: Forbidden: may not be specified for non-apply patch" in forced.body["message"]
    unknown = await ssa(client, path, {**config_map("a"), "dta": {}})
    assert (unknown.code, unknown.body["message"]) == (
        500,
        "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dta: field not declared in schema",
    )
    twice = await ssa(client, f"{DEPLOYMENTS}/x", deployment({"name": "a", "image": "1"}, {"name": "a", "image": "2"}))
    assert (twice.code, 'duplicate entries for key [name="a"]' in twice.body["message"]) == (500, True)
    marked = config_map("a")
    marked["metadata"]["managedFields"] = [{"manager": "x"}]
    assert (await ssa(client, path, marked)).code == 400
    assert (await ssa(client, path, config_map("other"))).code == 400
    nameless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
    assert (await ssa(client, f"{CONFIG_MAPS}/new", nameless)).code == 400
    stale = config_map("a", x="1")
    stale["metadata"]["resourceVersion"] = "1"
    assert (await ssa(client, path, stale)).body["reason"] == "Conflict"


async def test_a_dry_run_of_an_apply_writes_nothing(client: Client) -> None:
    """The answer is as if; the store is as before."""
    dry = await ssa(client, f"{CONFIG_MAPS}/a", config_map("a", x="1"), dryRun="All")
    assert (dry.code, dry.body["data"]) == (201, {"x": "1"})
    assert (await client("GET", f"{CONFIG_MAPS}/a")).code == 404


async def test_owners_can_be_forgotten_and_are_found_again(client: Client) -> None:
    """`managedFields: [{}]` clears the books; the next applier meets `before-first-apply` as owner of what differs."""
    await client("POST", CONFIG_MAPS, config_map("a", x="1"))
    cleared = await client("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"managedFields": [{}]}}, patch="merge")
    assert "managedFields" not in cleared.body["metadata"]
    clash = await ssa(client, f"{CONFIG_MAPS}/a", config_map("a", x="2"))
    assert 'conflict with "before-first-apply" using v1: .data.x' in clash.body["message"]


async def test_yaml_is_read_as_json_has_it(client: Client) -> None:
    """What looks like a date in an applied YAML stays a text."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {since: 2026-01-01}}\n"
    made = await ssa(client, f"{CONFIG_MAPS}/a", text)
    assert made.body["metadata"]["annotations"] == {"since": "2026-01-01"}


SCHEMA = {
    "type": "object",
    "properties": {
        "metadata": {"type": "object", "properties": {"labels": {"type": "object", "additionalProperties": {}}}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "whole": {"type": "array", "items": {"type": "integer"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "named": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "a": {}, "b": {}}},
        },
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}  # fmt: skip
_LETTER = st.sampled_from("abc")
_VALUE = st.integers(0, 2)
_NAMED = st.fixed_dictionaries({"name": _LETTER}, optional={"a": _VALUE, "b": _VALUE})
# An empty set or map list has no path to own it by, so the real server does not remember it either: none is drawn.
_CONFIG = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({}, optional={"labels": st.dictionaries(_LETTER, _LETTER, max_size=2)})},
    optional={
        "map": st.dictionaries(_LETTER, _LETTER, max_size=3),
        "whole": st.lists(_VALUE, max_size=2),
        "set": st.lists(_LETTER, min_size=1, max_size=3, unique=True),
        "named": st.lists(_NAMED, min_size=1, max_size=3, unique_by=lambda item: item["name"]),
        # What has parts in one configuration has parts in the other: a text and an object of one name are no conflict.
        "open": st.fixed_dictionaries(
            {}, optional={"a": _VALUE, "b": st.dictionaries(_LETTER, _VALUE, min_size=1, max_size=2)}
        ),
    },
)
EMPTY: dict[str, Any] = {"metadata": {}}


def by(name: str) -> Writer:
    return Writer(name, "v1", "2026-01-01T00:00:00Z")


def applied(live: dict[str, Any], config: dict[str, Any], name: str, *, force: bool = False) -> dict[str, Any]:
    new, owners = apply(live, copy.deepcopy(config), SCHEMA, by(name), force=force)
    return {**new, "metadata": {**new["metadata"], "managedFields": owners}}


def politely(live: dict[str, Any], config: dict[str, Any], name: str) -> dict[str, Any] | StatusError:
    """What comes of an apply without force: the object, or the conflict."""
    try:
        return applied(live, config, name)
    except StatusError as conflict:
        return conflict


def bare(doc: dict[str, Any]) -> dict[str, Any]:
    """A document without its books."""
    return {**doc, "metadata": {name: value for name, value in doc["metadata"].items() if name != "managedFields"}}


@given(_CONFIG, _CONFIG)
def test_applying_twice_is_applying_once(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Object and books are the same after a repetition, also with another manager's fields around."""
    live = applied(applied(EMPTY, first, "one"), second, "two", force=True)
    assert applied(live, second, "two") == live


@given(_CONFIG, _CONFIG)
def test_strangers_to_each_others_fields_do_not_conflict(first: dict[str, Any], second: dict[str, Any]) -> None:
    """No conflict without a common field; then both own all that they named, and both find it in the object."""
    mine, theirs = set(applied_paths(first, SCHEMA)), set(applied_paths(second, SCHEMA))
    live = applied(EMPTY, first, "one")
    if mine & theirs:
        return
    new = applied(live, second, "two")
    for config in (first, second):
        assert bare(merged(new, config, SCHEMA)) == bare(new)


@given(_CONFIG, _CONFIG)
def test_force_takes_what_differs(first: dict[str, Any], second: dict[str, Any]) -> None:
    """After a forced apply the object holds what was applied, and nobody owns a value that is not there."""
    live = applied(EMPTY, first, "one")
    polite = politely(live, second, "two")
    forced = applied(live, second, "two", force=True)
    assert isinstance(polite, StatusError) or polite == forced
    assert bare(merged(forced, second, SCHEMA)) == bare(forced)
    named = set(applied_paths(first, SCHEMA))
    still = from_fields_v1(owned(forced, "one") or {})
    assert still <= named
    if isinstance(polite, StatusError):
        assert polite.details
        fields = {cause["field"] for cause in polite.details["causes"]}
        lost = {shown(path) for path in from_fields_v1(owned(live, "one")) - still}
        assert fields  # parts of a field that goes are lost with it, and are no conflicts of their own
        assert fields <= lost
        assert isinstance(politely(forced, first, "one"), StatusError)


@given(_CONFIG, _CONFIG)
def test_taking_everything_back_leaves_the_others_work(first: dict[str, Any], second: dict[str, Any]) -> None:
    """When one manager applies nothing any more, the object holds what the other applied."""
    live = applied(applied(EMPTY, first, "one"), second, "two", force=True)
    left = applied(live, EMPTY, "one")
    assert bare(merged(left, second, SCHEMA)) == bare(left)
    assert owned(left, "one") is None
    assert {entry["manager"] for entry in left["metadata"]["managedFields"]} <= {"two"}


@given(_CONFIG, _CONFIG)
def test_an_update_owns_what_it_changed(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Unchanged, it owns nothing; changed, no other manager owns a changed field any more, and books are well formed."""
    live = applied(EMPTY, first, "one")
    assert updated(live, copy.deepcopy(live), SCHEMA, by("kubectl")) == live["metadata"]["managedFields"]
    new = copy.deepcopy(second)
    entries = updated(live, new, SCHEMA, by("kubectl"))
    sets = {entry["manager"]: from_fields_v1(entry["fieldsV1"]) for entry in entries}
    assert not sets.get("one", frozenset()) & sets.get("kubectl", frozenset())
    for entry in entries:
        assert to_fields_v1(from_fields_v1(entry["fieldsV1"])) == entry["fieldsV1"]


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_over_http_a_repetition_keeps_the_resource_version(data: Any) -> None:
    """Through the whole server: applying the same again is no write, whoever applied before."""
    import asyncio

    words = st.dictionaries(_LETTER, _LETTER, max_size=3)
    first, second = data.draw(words), data.draw(words)

    async def run() -> None:
        async with ApiServer() as api, aiohttp.ClientSession() as session:
            client = Client(api, session)
            path = f"{CONFIG_MAPS}/a"
            await ssa(client, path, config_map("a", **first))
            after = await ssa(client, path, config_map("a", **second), "two", force="true")
            again = await ssa(client, path, config_map("a", **second), "two")
            assert again.body == after.body

    asyncio.run(run())


async def test_kubectl_applies_on_the_server(kubectl: Kubectl, api: GenericApiServer) -> None:
    """--server-side, conflicts in kubectl's words, --force-conflicts, diff, and the way over from client-side apply."""
    doc = deployment({"name": "app", "image": "app:1"})
    text = yaml.safe_dump(doc)
    assert "created" in await kubectl("apply", "-f", "-", stdin=text)
    doc["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    newer = yaml.safe_dump(doc)
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=newer)
    managers = json.loads(await kubectl("get", "deployment", "x", "-o", "json", "--show-managed-fields"))
    assert {entry["operation"] for entry in managers["metadata"]["managedFields"]} == {"Apply"}
    await kubectl("set", "image", "deployment/x", "app=app:3")
    refused = await kubectl("apply", "--server-side", "-f", "-", stdin=newer, code=1)
    assert 'conflict with "kubectl-set" using apps/v1' in refused
    assert '.spec.template.spec.containers[name="app"].image' in refused
    changes = await kubectl("diff", "--server-side", "--force-conflicts", "-f", "-", stdin=newer, code=1)
    assert "+        image: app:2" in changes or "+      - image: app:2" in changes
    forced = await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=newer)
    assert "serverside-applied" in forced
    assert not await kubectl("diff", "--server-side", "-f", "-", stdin=newer)
    await kubectl("apply", "--server-side", "-f", "-", stdin=newer)
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deployment", "x", "-o", image) == "app:2"
