"""Kinds of routes besides HTTPRoute: what their definitions take and refuse, ours and the released ones alike."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from apiserver_kit import OURS, ROUTES, Client

pytestmark = pytest.mark.usefixtures("routes")

BACKEND = {"name": "a", "port": 80}
MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": BACKEND, "fraction": {"numerator": 1}}}
HEADERS = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}


def rules(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"backendRefs": [BACKEND], **change} for change in changes]


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("GRPCRoute", rules({"filters": [MIRROR, HEADERS], "name": "main"}), ""),
        ("GRPCRoute", rules({"backendRefs": [{**BACKEND, "filters": [HEADERS]}]}), ""),
        ("GRPCRoute", rules({"matches": [{"method": {"service": "shop.v1.Shop", "method": "Buy"}}]}), ""),
        ("GRPCRoute", rules({"matches": [{"method": {"service": "shop/Shop"}}]}), "service must only contain valid"),
        ("GRPCRoute", rules({"filters": [{"type": "RequestMirror"}]}), "requestMirror"),
        ("GRPCRoute", rules({"filters": [HEADERS, HEADERS]}), "cannot be repeated"),
        ("GRPCRoute", rules({"timeouts": {"request": "1s"}}), "unknown field"),
        ("TCPRoute", rules({"name": "main"}), ""),
        ("TCPRoute", rules({"backendRefs": [{"name": "a"}]}), "Must have port for Service reference"),
        ("TCPRoute", rules({"filters": [MIRROR]}), "unknown field"),
        ("TCPRoute", rules({}, {}), "at most 1"),
        ("UDPRoute", rules({"backendRefs": [{**BACKEND, "weight": 3}]}), ""),
        ("UDPRoute", rules({"backendRefs": []}), "at least 1"),
    ],
)
async def test_other_kinds_are_judged_alike_by_our_and_the_real_definitions(
    client: Client, kind: str, given: list[dict[str, Any]], said: str
) -> None:
    """With GATEWAY_API_CRDS set the same sentences hold for the definitions of the Gateway API itself."""
    path = ROUTES.replace("httproutes", f"{kind.lower()}s") + "?fieldValidation=Strict"
    spec = {"parentRefs": [{"name": "gw"}], "rules": given}
    body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "one"}, "spec": spec}
    answer = await client("POST", path, body)
    assert answer.code == ({"unknown field": 400}.get(said, 422) if said else 201), answer.body
    assert said in answer.body.get("message", "")
    if not said:
        assert answer.body["spec"]["rules"][0]["backendRefs"][0]["kind"] == "Service"


@pytest.mark.sandbox_only("a real server has the released definitions, whose channel says what is served")
@pytest.mark.parametrize("kind", ["tcproutes", "udproutes"])
def test_our_layer_four_routes_are_served_in_both_versions(kind: str) -> None:
    """v1 stores and takes one rule; v1alpha2 is served too and takes sixteen, as in the experimental channel."""
    versions = yaml.safe_load((OURS / f"{kind}.yaml").read_text())["spec"]["versions"]
    limits = {
        item["name"]: item["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rules"]["maxItems"]
        for item in versions
        if item["served"]
    }
    assert limits == {"v1": 1, "v1alpha2": 16}
    assert [item["name"] for item in versions if item["storage"]] == ["v1"]


async def test_a_route_written_in_the_old_version_is_read_in_the_new_one(client: Client) -> None:
    """Where both are served, it is one object; a server without the old one says 404."""
    spec = {"parentRefs": [{"name": "gw"}], "rules": rules({})}
    body = {"apiVersion": "gateway.networking.k8s.io/v1alpha2", "kind": "TCPRoute", "metadata": {"name": "old"}}
    new = ROUTES.replace("httproutes", "tcproutes")
    answer = await client("POST", new.replace("/v1/", "/v1alpha2/"), {**body, "spec": spec})
    assert answer.code in (201, 404), answer.body
    found = await client("GET", f"{new}/old")
    assert (found.code, found.body.get("apiVersion")) == (
        (200, "gateway.networking.k8s.io/v1") if answer.code == 201 else (404, "v1")
    )


async def test_retries_and_sticky_sessions_are_kept_where_the_definition_has_them(client: Client) -> None:
    """Fields of the experimental channel: ours have them; the standard channel refuses them under Strict."""
    experimental = {
        "retry": {"attempts": 2, "codes": [503], "backoff": "100ms"},
        "sessionPersistence": {"sessionName": "s", "type": "Cookie", "cookieConfig": {"lifetimeType": "Session"}},
    }
    spec = {"parentRefs": [{"name": "gw"}], "rules": rules(experimental)}
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "one"},
        "spec": spec,
    }
    answer = await client("POST", ROUTES + "?fieldValidation=Strict", body)
    if answer.code == 201:
        stored = answer.body["spec"]["rules"][0]
        assert {name: stored[name] for name in experimental} == experimental
    else:
        assert (answer.code, "unknown field" in answer.body["message"]) == (400, True)
