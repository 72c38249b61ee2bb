from __future__ import annotations

import copy
from typing import Any

import pytest
from apiserver_kit import ROUTES, Client, route
from hypothesis import given
from hypothesis import strategies as st

from canary_sandbox.apiserver.errors import StatusError
from canary_sandbox.apiserver.patch import json_patch, merge_patch, strategic_merge_patch

DOC = {"metadata": {"labels": {"a": "1"}}, "list": [1, 2], "none": None, "true": True, "one": 1}


@pytest.mark.parametrize(
    ("path", "value", "passes"),
    [
        ("/metadata/labels/a", "1", True),
        ("/metadata/labels/a", "2", False),
        ("/metadata/labels/missing", None, True),
        ("/metadata/missing/deeper", None, False),
        ("/metadata/labels/missing", "x", False),
        ("/none", None, True),
        ("/list/0", 1, True),
        ("/list/5", None, False),
        ("/true", 1, False),
        ("/one", True, False),
        ("/list", [1, 2], True),
    ],
)
def test_a_test_operation_is_the_real_servers(path: str, value: Any, passes: bool) -> None:
    """A missing member equals null, a missing parent equals nothing; a boolean is not a number."""
    operations = [{"op": "test", "path": path, "value": value}]
    if passes:
        assert json_patch(DOC, operations, operations) == DOC
    else:
        with pytest.raises(StatusError) as refused:
            json_patch(DOC, operations, operations)
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_a_json_patch_is_all_or_nothing() -> None:
    """The document it is given stays as it was, whether the patch applies or not."""
    before = copy.deepcopy(DOC)
    good = [{"op": "add", "path": "/list/-", "value": 3}, {"op": "remove", "path": "/none"}]
    after = json_patch(DOC, good, good)
    assert after["list"] == [1, 2, 3]
    bad = [{"op": "add", "path": "/list/-", "value": 3}, {"op": "remove", "path": "/missing"}]
    with pytest.raises(StatusError):
        json_patch(DOC, bad, bad)
    assert before == DOC


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON, _JSON)
def test_a_merge_patch_is_rfc_7386(doc: Any, patch: Any) -> None:
    """Applying it twice is applying it once, the input is untouched, and no null of the patch survives in an object."""
    before = copy.deepcopy(doc)
    once = merge_patch(doc, patch)
    assert merge_patch(once, patch) == once
    assert doc == before
    if isinstance(patch, dict):
        assert all(key not in once for key, value in patch.items() if value is None)


POD = {
    "spec": {
        "containers": [{"name": "a", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "b"}],
        "nodeSelector": {"x": "y"},
    }
}


@pytest.mark.parametrize(
    ("patch", "names"),
    [
        ({"spec": {"containers": [{"name": "b", "image": "2"}]}}, ["a", "b"]),
        ({"spec": {"containers": [{"name": "c"}]}}, ["a", "b", "c"]),
        ({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, ["b"]),
        ({"spec": {"containers": [{"$patch": "replace"}, {"name": "d"}]}}, ["d"]),
        ({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}, ["b", "a"]),
    ],
)
def test_a_strategic_patch_merges_by_name(patch: dict[str, Any], names: list[str]) -> None:
    """Containers are found by name, and can be added, removed, replaced and reordered."""
    result = strategic_merge_patch("Pod", POD, patch)
    assert [container["name"] for container in result["spec"]["containers"]] == names


def test_a_strategic_patch_knows_its_lists() -> None:
    """Ports merge by containerPort or by port, finalizers are a set, other lists are replaced."""
    ports = {
        "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 81}, {"containerPort": 80, "name": "x"}]}]}
    }
    container = strategic_merge_patch("Pod", POD, ports)["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "name": "x"}, {"containerPort": 81}]
    service = {"spec": {"ports": [{"port": 80, "name": "a"}]}, "metadata": {"finalizers": ["x/a"]}}
    change = {
        "spec": {"ports": [{"port": 80, "targetPort": 8080}], "externalIPs": ["1.1.1.1"]},
        "metadata": {"finalizers": ["x/b"], "$deleteFromPrimitiveList/finalizers": ["x/a"]},
    }
    merged = strategic_merge_patch("Service", service, change)
    assert merged["spec"]["ports"] == [{"port": 80, "name": "a", "targetPort": 8080}]
    assert merged["metadata"]["finalizers"] == ["x/b"]
    with pytest.raises(StatusError, match="merge key"):
        strategic_merge_patch("Pod", POD, {"spec": {"containers": [{"image": "x"}]}})


@pytest.mark.usefixtures("routes")
async def test_custom_resources_take_no_strategic_patch(client: Client) -> None:
    """415, with the formats that are accepted."""
    await client("POST", ROUTES, route())
    answer = await client("PATCH", f"{ROUTES}/shop", {}, patch="strategic-merge")
    assert answer.code == 415
    assert "application/merge-patch+json" in answer.body["message"]


@pytest.mark.usefixtures("routes")
async def test_a_failed_test_writes_nothing(client: Client) -> None:
    """The weights stay, the answer is 422 Invalid without causes."""
    made = (await client("POST", ROUTES, route())).body
    operations = [
        {"op": "test", "path": "/spec/rules/0/backendRefs/1/weight", "value": 50},
        {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 100},
    ]
    refused = await client("PATCH", f"{ROUTES}/shop", operations, patch="json")
    assert (refused.code, refused.body["reason"], refused.body["details"]) == (422, "Invalid", {})
    assert (await client("GET", f"{ROUTES}/shop")).body == made
