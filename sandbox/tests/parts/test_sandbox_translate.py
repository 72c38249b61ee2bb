"""Objects → Envoy's routes and the statuses; no process, no network."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox_kit import (
    backend,
    endpoint_slice,
    gateway,
    gateway_class,
    grant,
    listener,
    namespace,
    route,
    rule,
    service,
)

from canary_sandbox.gateway import FEATURES, Objects, translate
from canary_sandbox.gateway.attach import common_hostnames, selects
from canary_sandbox.gateway.matches import UnsupportedError
from canary_sandbox.gateway.objects import Backend, endpoints
from canary_sandbox.gateway.rules import _seconds
from canary_sandbox.gateway.statuses import Condition, ParentStatus, RouteStatus, route_body

WORLD = (gateway_class(), gateway(), service("shop-stable"), service("shop-canary"))
PAIR = (backend("shop-stable", 90), backend("shop-canary", 10))


def run(*documents: Any, features: frozenset[str] = FEATURES) -> Any:
    return translate(Objects.of(*WORLD, *documents), features)


def verdicts(status: RouteStatus, parent: int = 0) -> dict[str, tuple[bool, str]]:
    return {item.type: (item.ok, item.reason) for item in status.parents[parent].conditions}


def hosts(config: Any, name: str = "team-shop/shop/http") -> dict[str, list[Any]]:
    """Routes by hostname, without the final 404."""
    return {host["name"]: host["routes"][:-1] for host in config.virtual_hosts[name]}


def only_route(config: Any) -> Any:
    (routes,) = hosts(config).values()
    assert len(routes) == 1
    return routes[0]


def weights(entry: Any) -> dict[str, int]:
    return {item["name"]: item["weight"] for item in entry["route"]["weighted_clusters"]["clusters"]}


def test_weights_are_passed_on_as_they_are() -> None:
    """Weights are relative, and a weight of 0 stays in the table."""
    config, statuses = run(route(rule(backend("shop-stable", 200), backend("shop-canary", 0))))
    assert weights(only_route(config)) == {"team-shop/shop-stable/8080": 200, "team-shop/shop-canary/8080": 0}
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"]) == {
        "Accepted": (True, "Accepted"),
        "ResolvedRefs": (True, "ResolvedRefs"),
    }


def test_a_weight_that_is_not_said_is_one() -> None:
    """The API's default weight is 1."""
    config, _ = run(route(rule(backend("shop-stable"), backend("shop-canary", 3))))
    assert set(weights(only_route(config)).values()) == {1, 3}


def test_only_zero_weights_answer_500() -> None:
    """All weights 0, or no backend at all: requests get a 500."""
    for backends in ((backend("shop-stable", 0), backend("shop-canary", 0)), ()):
        config, _ = run(route(rule(*backends)))
        assert only_route(config)["direct_response"] == {"status": 500}


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        (backend("nowhere", 10), "BackendNotFound"),
        (backend("shop-canary", 10, port=9999), "BackendNotFound"),
        (backend("shop-canary", 10, namespace="other"), "RefNotPermitted"),
        ({"group": "example.com", "kind": "Bucket", "name": "b", "weight": 10}, "InvalidKind"),
    ],
)
def test_a_backend_that_leads_nowhere_keeps_its_share_as_500s(ref: Any, reason: str) -> None:
    """The share of an unresolved backend is not given to the others; ResolvedRefs says why."""
    config, statuses = run(route(rule(backend("shop-stable", 90), ref)))
    entry = only_route(config)
    assert weights(entry) == {"team-shop/shop-stable/8080": 90, "unresolved": 10}
    assert entry["route"]["cluster_not_found_response_code"] == "INTERNAL_SERVER_ERROR"
    assert "unresolved" not in config.clusters
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["ResolvedRefs"] == (False, reason)


@pytest.mark.parametrize(
    ("permit", "ok"),
    [
        (grant("payments", "team-shop"), True),
        (grant("payments", "team-shop", "pay"), True),
        (grant("payments", "team-shop", "something-else"), False),
        (grant("payments", "somebody-else"), False),
        (grant("elsewhere", "team-shop"), False),
    ],
)
def test_another_namespace_needs_its_grant(permit: Any, ok: bool) -> None:
    """A cross-namespace backend resolves exactly when a ReferenceGrant over there allows it."""
    config, statuses = run(service("pay", "payments"), permit, route(rule(backend("pay", namespace="payments"))))
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["ResolvedRefs"][0] is ok
    assert ("payments/pay/8080" in config.clusters) is ok


def test_mirror_percent_and_fraction_become_millionths() -> None:
    """percent and fraction both reach Envoy exactly; a mirror without either copies everything."""
    shares = []
    for extra in ({"percent": 20}, {"fraction": {"numerator": 1, "denominator": 3}}, {}):
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("shop-canary"), **extra}}
        config, _ = run(route(rule(backend("shop-stable"), filters=[mirror])))
        (policy,) = only_route(config)["route"]["request_mirror_policies"]
        assert policy["cluster"] == "team-shop/shop-canary/8080"
        shares.append(policy["runtime_fraction"]["default_value"]["numerator"])
    assert shares == [200_000, 333_333, 1_000_000]


def test_an_unresolved_mirror_is_left_out_and_reported() -> None:
    """Users' requests go on when a mirror's backend does not exist; ResolvedRefs says so."""
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("nowhere")}}
    config, statuses = run(route(rule(backend("shop-stable"), filters=[mirror])))
    assert "request_mirror_policies" not in only_route(config)["route"]
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["ResolvedRefs"] == (False, "BackendNotFound")


@pytest.mark.parametrize(
    "change",
    [
        {"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "x.example.com"}}]},
        {"filters": [{"type": "ExtensionRef", "extensionRef": {}}]},
        {"sessionPersistence": {"type": "Cookie"}},
        {"retry": {"attempts": 2}},
        {"timeouts": {"backendRequest": "1s"}},
        {"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["Host"]}}]},
    ],
)
def test_what_is_unsupported_is_refused_and_answers_500(change: dict[str, Any]) -> None:
    """A filter or field that the gateway does not know is never ignored; the other rules go on."""
    bad = rule(*PAIR, matches=[{"path": {"type": "Exact", "value": "/bad"}}], **change)
    config, statuses = run(route(bad, rule(*PAIR)))
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["Accepted"] == (False, "UnsupportedValue")
    first, second = hosts(config)["shop.example.com"]
    assert first["match"] == {"path": "/bad"}
    assert first["direct_response"] == {"status": 500}
    assert weights(second)


def test_a_gateway_without_mirrors_refuses_mirrors() -> None:
    """With fewer features, the class says less and the filter is refused."""
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("shop-canary"), "percent": 5}}
    fewer = FEATURES - {"HTTPRouteRequestPercentageMirror"}
    _, statuses = run(route(rule(backend("shop-stable"), filters=[mirror])), features=fewer)
    assert "HTTPRouteRequestPercentageMirror" not in statuses.classes["", "sandbox"].features
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["Accepted"] == (False, "UnsupportedValue")


def test_matches_go_in_the_order_of_the_api() -> None:
    """Exact before regular expression before longer prefix, then method, headers, query parameters."""
    matches = [
        {},
        {"path": {"type": "PathPrefix", "value": "/a"}},
        {"path": {"type": "PathPrefix", "value": "/a"}, "queryParams": [{"name": "q", "value": "1"}]},
        {"path": {"type": "PathPrefix", "value": "/a"}, "headers": [{"name": "x", "value": "1"}]},
        {"path": {"type": "PathPrefix", "value": "/a"}, "method": "POST"},
        {"path": {"type": "PathPrefix", "value": "/a/b"}},
        {"path": {"type": "RegularExpression", "value": "/[ab].*"}},
        {"path": {"type": "Exact", "value": "/a"}},
    ]
    config, _ = run(route(rule(*PAIR, matches=matches)))
    got = [entry["match"] for entry in hosts(config)["shop.example.com"]]
    assert [match.get("path") or match.get("path_separated_prefix") or match.get("prefix") for match in got] == [
        "/a", None, "/a/b", "/a", "/a", "/a", "/a", "/",
    ]  # fmt: skip
    assert got[1]["safe_regex"] == {"regex": "/[ab].*"}
    assert [sorted(match) for match in got[3:7]] == [
        ["headers", "path_separated_prefix"],
        ["headers", "path_separated_prefix"],
        ["path_separated_prefix", "query_parameters"],
        ["path_separated_prefix"],
    ]
    assert got[3]["headers"][0]["name"] == ":method"


def test_rules_of_one_route_keep_their_order_where_all_else_is_equal() -> None:
    """Between equal matches the first rule wins, and an older route before a younger."""
    old, young = route(rule(*PAIR), rule(backend("shop-stable"))), route(rule(backend("shop-canary")), name="a-young")
    old["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z"
    young["metadata"]["creationTimestamp"] = "2024-01-02T00:00:00Z"
    config, _ = run(young, old)
    first, second, third = hosts(config)["shop.example.com"]
    assert [len(weights(entry)) for entry in (first, second, third)] == [2, 1, 1]
    assert weights(third) == {"team-shop/shop-canary/8080": 1}


def test_header_modifiers_set_add_and_remove() -> None:
    """Both directions, on the rule and on a single backend; percent signs are taken literally."""
    outer = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {
            "set": [{"name": "a", "value": "100%"}],
            "add": [{"name": "b", "value": "2"}],
            "remove": ["c"],
        },
    }
    inner = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "d", "value": "4"}]}}
    config, _ = run(route(rule(backend("shop-stable", filters=[inner]), filters=[outer])))
    entry = only_route(config)
    assert [(item["header"], item["append_action"]) for item in entry["request_headers_to_add"]] == [
        ({"key": "a", "value": "100%%"}, "OVERWRITE_IF_EXISTS_OR_ADD"),
        ({"key": "b", "value": "2"}, "APPEND_IF_EXISTS_OR_ADD"),
    ]
    assert entry["request_headers_to_remove"] == ["c"]
    (cluster,) = entry["route"]["weighted_clusters"]["clusters"]
    assert cluster["response_headers_to_add"][0]["header"] == {"key": "d", "value": "4"}


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        (None, (), ("*",)),
        (None, ("a.example.com",), ("a.example.com",)),
        ("*.example.com", ("a.example.com", "b.org"), ("a.example.com",)),
        ("*.example.com", ("example.com",), ()),
        ("a.example.com", ("*.example.com",), ("a.example.com",)),
        ("*.example.com", ("*.a.example.com",), ("*.a.example.com",)),
        ("*.example.com", (), ("*.example.com",)),
        ("a.example.com", ("b.example.com",), ()),
    ],
)
def test_hostnames_meet_as_the_api_says(ours: str | None, theirs: tuple[str, ...], both: tuple[str, ...]) -> None:
    """A listener's and a route's hostnames intersect; wildcards cover any number of labels but not none."""
    assert common_hostnames(ours, theirs) == both


def test_a_specific_hostname_goes_first_and_wildcards_follow() -> None:
    """In the table of a hostname, routes for exactly it come before routes of wildcards that cover it."""
    wide = route(rule(backend("shop-stable")), name="wide", hostnames=("*.example.com",))
    config, _ = run(route(rule(backend("shop-canary"))), wide)
    exact, fallback = hosts(config)["shop.example.com"]
    assert weights(exact) == {"team-shop/shop-canary/8080": 1}
    assert weights(fallback) == {"team-shop/shop-stable/8080": 1}


@pytest.mark.parametrize(
    ("where", "allowed"),
    [
        (None, False),
        ({"from": "Same"}, False),
        ({"from": "All"}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "pay"}}}, False),
    ],
)
def test_listeners_choose_namespaces(where: Any, allowed: bool) -> None:
    """A route of another namespace attaches only where allowedRoutes lets it."""
    item = listener(**({"allowedRoutes": {"namespaces": where}} if where else {}))
    shared = gateway("shared", "infra", [item])
    parent = {"name": "shared", "namespace": "infra"}
    _, statuses = run(shared, namespace("team-shop", team="shop"), route(rule(*PAIR), parent=parent))
    expected = (True, "Accepted") if allowed else (False, "NotAllowedByListeners")
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["Accepted"] == expected
    assert statuses.gateways["infra", "shared"].listeners[0].attached_routes == int(allowed)


@pytest.mark.parametrize(
    ("parent", "hostname", "reason"),
    [
        ({"name": "shop", "sectionName": "https"}, "shop.example.com", "NoMatchingParent"),
        ({"name": "shop", "port": 81}, "shop.example.com", "NoMatchingParent"),
        ({"name": "shop"}, "other.org", "NoMatchingListenerHostname"),
    ],
)
def test_a_route_that_finds_no_listener_is_told_why(parent: Any, hostname: str, reason: str) -> None:
    """Wrong section, wrong port, wrong hostname: each has its reason, and no traffic is taken."""
    own = gateway(listeners=[listener(hostname="*.example.com")])
    config, statuses = run(own, route(rule(*PAIR), parent=parent, hostnames=(hostname,)))
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["Accepted"] == (False, reason)
    assert hosts(config) == {}


def test_gateways_of_other_controllers_are_left_alone() -> None:
    """A class with another controllerName: no table, no status, nothing."""
    objects = Objects.of(gateway_class(controller="example.com/other"), gateway(), route(rule(*PAIR)))
    config, statuses = translate(objects)
    assert not config.virtual_hosts
    assert not statuses.gateways
    assert not statuses.classes
    assert statuses.routes["HTTPRoute", "team-shop", "shop"].parents == ()


def test_a_listener_that_cannot_be_served_says_so() -> None:
    """HTTPS is not supported: the listener is refused, the other one goes on."""
    both = gateway(listeners=[listener(), {"name": "https", "port": 443, "protocol": "HTTPS"}])
    config, statuses = run(both)
    http, https = statuses.gateways["team-shop", "shop"].listeners
    assert (http.served, https.served) == (True, False)
    assert [(item.ok, item.reason) for item in https.conditions if item.type == "Accepted"] == [
        (False, "UnsupportedProtocol")
    ]
    assert set(config.virtual_hosts) == {"team-shop/shop/http"}


def test_only_ready_endpoints_count() -> None:
    """Endpoints that are unready or terminating get no traffic; one that says nothing is ready."""
    pieces = [
        endpoint_slice("shop-canary", 1001),
        endpoint_slice("shop-canary", 1002, ready=False),
        endpoint_slice("shop-canary", 1003, ready=True, terminating=True),
        endpoint_slice("shop-stable", 1004),
        endpoint_slice("shop-canary", 1005, serving=True),
    ]
    objects = Objects.of(service("shop-canary"), *pieces)
    found = endpoints(objects, Backend("team-shop", "shop-canary", 8080))
    assert found == (("127.0.0.1", 1001), ("127.0.0.1", 1005))


def test_other_controllers_entries_stay_and_times_move_only_with_the_status() -> None:
    """route_body replaces our entries only; lastTransitionTime stays while the condition's status does."""
    foreign = {"parentRef": {"name": "shop"}, "controllerName": "example.com/other", "conditions": []}
    accepted = Condition("Accepted", True, "Accepted")
    first = route_body(
        {"status": {"parents": [foreign]}}, RouteStatus(1, (ParentStatus({"name": "shop"}, (accepted,)),)), "t1"
    )
    second = route_body({"status": first}, RouteStatus(2, (ParentStatus({"name": "shop"}, (accepted,)),)), "t2")
    refused = Condition("Accepted", False, "UnsupportedValue")
    third = route_body({"status": second}, RouteStatus(3, (ParentStatus({"name": "shop"}, (refused,)),)), "t3")
    assert [body["parents"][0] for body in (first, second, third)] == [foreign] * 3
    ours = [body["parents"][1]["conditions"][0] for body in (first, second, third)]
    assert [item["lastTransitionTime"] for item in ours] == ["t1", "t1", "t3"]
    assert [item["observedGeneration"] for item in ours] == [1, 2, 3]


def test_what_envoy_refused_is_not_served() -> None:
    """A route that the data plane refused is out of the table, and its status carries the data plane's words."""
    objects = Objects.of(*WORLD, route(rule(*PAIR)), route(rule(*PAIR), name="bad", hostnames=("bad.example.com",)))
    config, statuses = translate(
        Objects(
            **{
                **_fields(objects),
                "refused": {("HTTPRoute", "team-shop", "bad"): "the data plane refused it: bad regex"},
            }
        )
    )
    assert list(hosts(config)) == ["bad.example.com", "shop.example.com"]
    assert hosts(config)["bad.example.com"] == []
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "bad"])["Accepted"] == (False, "UnsupportedValue")
    assert verdicts(statuses.routes["HTTPRoute", "team-shop", "shop"])["Accepted"] == (True, "Accepted")


def _fields(objects: Objects) -> dict[str, Any]:
    return {name: getattr(objects, name) for name in Objects.__slots__}


def test_selectors_know_the_four_operators() -> None:
    """matchExpressions: In, NotIn, Exists, DoesNotExist; anything else selects nothing."""
    labels = {"team": "shop"}
    for operator, values, expected in [
        ("In", ["shop"], True),
        ("In", ["pay"], False),
        ("NotIn", ["pay"], True),
        ("NotIn", ["shop"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
        ("Gt", ["1"], False),
    ]:
        term = {"key": "team", "operator": operator, "values": values}
        assert selects({"matchExpressions": [term]}, labels) is expected, operator


def test_durations_are_read_or_refused() -> None:
    """Gateway API durations become seconds; what cannot be read is unsupported."""
    assert [_seconds(text) for text in ("0s", "500ms", "1m30s", "1h")] == ["0s", "0.5s", "90s", "3600s"]
    for text in ("10", "s", "5 s"):
        with pytest.raises(UnsupportedError):
            _seconds(text)
