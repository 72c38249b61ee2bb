"""Kinds of routes besides HTTPRoute → Envoy and the statuses, and lies; no process, no network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sandbox_kit import backend, gateway, gateway_class, grant, listener, mirror, namespace, route, rule, service

from canary_sandbox.gateway import FEATURES, LIES_ANNOTATION, Lie, Objects, translate
from canary_sandbox.gateway.streams import NOBODY

PAIR = (backend("shop-stable", 90), backend("shop-canary", 10))
TCP = listener("tcp", protocol="TCP", port=5000)
TLS = listener("tls", protocol="TLS", port=443, tls={"mode": "Passthrough"})
UDP = listener("udp", protocol="UDP", port=53)
WORLD = (
    gateway_class(),
    gateway(listeners=[listener(), TCP, TLS, UDP]),
    service("shop-stable"),
    service("shop-canary"),
)
STABLE, CANARY = "team-shop/shop-stable/8080", "team-shop/shop-canary/8080"


def run(*documents: Any, features: frozenset[str] = FEATURES) -> Any:
    return translate(Objects.of(*WORLD, *documents), features)


def grpc(*rules: Any, **more: Any) -> Any:
    return route(*rules, kind="GRPCRoute", **more)


def tcp(*backends: Any, **more: Any) -> Any:
    return route(rule(*backends), kind="TCPRoute", hostnames=(), **more)


def udp(*backends: Any, **more: Any) -> Any:
    return route(rule(*backends), kind="UDPRoute", hostnames=(), **more)


def tls(*backends: Any, **more: Any) -> Any:
    return route(rule(*backends), kind="TLSRoute", **more)


def created(document: Any, when: str) -> Any:
    document["metadata"]["creationTimestamp"] = f"2026-01-{when}T00:00:00Z"
    return document


def verdict(statuses: Any, kind: str, name: str = "shop", what: str = "Accepted") -> tuple[bool, str]:
    (parent,) = statuses.routes[kind, "team-shop", name].parents
    return next((item.ok, item.reason) for item in parent.conditions if item.type == what)


def entries(config: Any, hostname: str = "shop.example.com") -> list[Any]:
    """Envoy's routes of a hostname, without the final 404."""
    (host,) = [host for host in config.virtual_hosts["team-shop/shop/http"] if host["name"] == hostname]
    found: list[Any] = host["routes"][:-1]
    return found


def weights(entry: Any) -> dict[str, int]:
    return {item["name"]: item["weight"] for item in entry["route"]["weighted_clusters"]["clusters"]}


def listeners(statuses: Any) -> dict[str, Any]:
    return {item.name: item for item in statuses.gateways["team-shop", "shop"].listeners}


def said(item: Any, what: str) -> tuple[bool, str]:
    return next((condition.ok, condition.reason) for condition in item.conditions if condition.type == what)


# --- GRPCRoute -------------------------------------------------------------------------------------------------------


def test_calls_are_matched_by_service_method_and_headers_the_most_specific_first() -> None:
    """Longest service, longest method, most headers; without a method every call; a rule without matches too."""
    matches = [
        {"headers": [{"name": "x", "value": "1"}]},
        {"method": {"method": "Buy"}},
        {"method": {"service": "shop.v1.Shop"}},
        {"method": {"service": "shop.v1.Shop", "method": "Buy"}},
        {"method": {"service": "shop.v1.Shop", "method": "Buy"}, "headers": [{"name": "x", "value": "1"}]},
    ]
    config, statuses = run(grpc(rule(*PAIR, matches=matches), rule(backend("shop-stable"))))
    got = [entry["match"] for entry in entries(config)]
    header = [{"name": "x", "string_match": {"exact": "1"}}]
    assert got == [
        {"path": "/shop.v1.Shop/Buy", "headers": header},
        {"path": "/shop.v1.Shop/Buy"},
        {"prefix": "/shop.v1.Shop/"},
        {"safe_regex": {"regex": "/[^/]+/Buy"}},
        {"prefix": "/", "headers": header},
        {"prefix": "/"},
    ]
    assert weights(entries(config)[0]) == {f"{STABLE}/h2c": 90, f"{CANARY}/h2c": 10}
    assert verdict(statuses, "GRPCRoute") == (True, "Accepted")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"matches": [{"method": {"type": "RegularExpression", "service": ".*"}}]}, "RegularExpression"),
        ({"sessionPersistence": {"type": "Cookie"}}, "sessionPersistence"),
        ({"filters": [{"type": "ExtensionRef"}]}, "ExtensionRef"),
    ],
)
def test_what_is_not_supported_of_a_grpcroute_is_refused(given: Any, word: str) -> None:
    """The route is not accepted, and the words name what it is."""
    _, statuses = run(grpc(rule(*PAIR, **given)))
    (parent,) = statuses.routes["GRPCRoute", "team-shop", "shop"].parents
    assert (parent.conditions[0].reason, word in parent.conditions[0].message) == ("UnsupportedValue", True)


def test_a_call_that_nobody_can_serve_is_unavailable() -> None:
    """UNAVAILABLE, as the API says, for an unresolved share (which keeps its size) and for weights of 0."""
    config, statuses = run(grpc(rule(backend("nowhere", 30), backend("shop-stable", 70))))
    (entry,) = entries(config)
    assert weights(entry) == {"unresolved": 30, f"{STABLE}/h2c": 70}
    assert entry["route"]["cluster_not_found_response_code"] == "SERVICE_UNAVAILABLE"
    assert verdict(statuses, "GRPCRoute", what="ResolvedRefs") == (False, "BackendNotFound")
    config, _ = run(grpc(rule(backend("shop-stable", 0))))
    assert entries(config)[0]["direct_response"] == {"status": 503}


def test_an_httproute_and_a_grpcroute_of_one_name_are_two_routes() -> None:
    """Each has its hostname, its table and its status."""
    config, statuses = run(route(rule(*PAIR)), grpc(rule(*PAIR), hostnames=("grpc.example.com",)))
    assert set(weights(entries(config)[0])) == {STABLE, CANARY}
    assert set(weights(entries(config, "grpc.example.com")[0])) == {f"{STABLE}/h2c", f"{CANARY}/h2c"}
    assert {key[0] for key in statuses.routes} == {"HTTPRoute", "GRPCRoute"}
    assert listeners(statuses)["http"].attached_routes == 2


@pytest.mark.parametrize("hostname", ["shop.example.com", "*.example.com"])
def test_a_hostname_is_not_shared_between_http_and_grpc_routes(hostname: str) -> None:
    """The older of two whose hostnames meet is accepted; the other is not, and its words name the older one."""
    old, young = created(grpc(rule(*PAIR)), "01"), created(route(rule(*PAIR), hostnames=(hostname,)), "02")
    config, statuses = run(young, old)
    assert verdict(statuses, "GRPCRoute") == (True, "Accepted")
    assert verdict(statuses, "HTTPRoute") == (False, "Conflicted")
    (parent,) = statuses.routes["HTTPRoute", "team-shop", "shop"].parents
    assert "GRPCRoute team-shop/shop is older" in parent.conditions[0].message
    assert [host["name"] for host in config.virtual_hosts["team-shop/shop/http"]] == ["shop.example.com"]
    # By the API a route counts as attached whether it is accepted or not.
    assert listeners(statuses)["http"].attached_routes == 2


def test_a_service_that_two_kinds_name_is_spoken_to_in_both_ways_and_measured_as_one() -> None:
    """gRPC goes to a backend as HTTP/2, HTTP as its Service says; statistics name one backend."""
    config, _ = run(route(rule(*PAIR)), grpc(rule(*PAIR), hostnames=("grpc.example.com",)))
    assert {(item.cluster, item.http2, item.measured_as) for item in config.backends} == {
        (STABLE, False, STABLE),
        (f"{STABLE}/h2c", True, STABLE),
        (CANARY, False, CANARY),
        (f"{CANARY}/h2c", True, CANARY),
    }


@pytest.mark.parametrize(
    ("kind", "protocol", "http2"),
    [
        ("HTTPRoute", "kubernetes.io/h2c", True),
        ("HTTPRoute", "http", False),
        ("HTTPRoute", "kubernetes.io/ws", None),
        ("GRPCRoute", "kubernetes.io/h2c", True),
        ("GRPCRoute", "kubernetes.io/wss", None),
        ("TCPRoute", "kubernetes.io/ws", False),
    ],
)
def test_the_app_protocol_of_a_service_says_how_it_is_spoken_to(kind: str, protocol: str, http2: bool | None) -> None:
    """h2c is HTTP/2 with prior knowledge; what this gateway cannot speak is unresolved; connections are only passed on."""
    own = service("own", appProtocol=protocol)
    config, statuses = run(
        own, route(rule(backend("own")), kind=kind, hostnames=() if kind == "TCPRoute" else ("a.b",))
    )
    assert [item.http2 for item in config.backends] == ([] if http2 is None else [http2])
    resolved = verdict(statuses, kind, what="ResolvedRefs")
    assert resolved == ((False, "UnsupportedProtocol") if http2 is None else (True, "ResolvedRefs"))


@pytest.mark.parametrize(("kind", "ok"), [("GRPCRoute", True), ("HTTPRoute", False)])
def test_a_grant_is_for_one_kind_of_route(kind: str, ok: bool) -> None:
    """A GRPCRoute needs a ReferenceGrant for GRPCRoutes."""
    permit = grant("payments", "team-shop", kind=kind)
    _, statuses = run(service("pay", "payments"), permit, grpc(rule(backend("pay", namespace="payments"))))
    assert verdict(statuses, "GRPCRoute", what="ResolvedRefs")[0] is ok


# --- TCPRoute, TLSRoute ----------------------------------------------------------------------------------------------


def test_connections_are_shared_by_weight() -> None:
    """A weight of 0 gets none; what leads nowhere keeps its share, as connections that are closed at once."""
    config, statuses = run(tcp(backend("shop-stable", 3), backend("shop-canary", 0), backend("nowhere", 1)))
    assert config.streams["team-shop/shop/tcp"].shares == (("*", ((STABLE, 3), ("unresolved", 1))),)
    assert verdict(statuses, "TCPRoute") == (True, "Accepted")
    assert verdict(statuses, "TCPRoute", what="ResolvedRefs") == (False, "BackendNotFound")
    assert STABLE in config.clusters


def test_a_listener_without_a_route_closes_what_comes() -> None:
    """And so does one whose only route gives nobody any weight."""
    for documents in ((), (tcp(backend("shop-stable", 0)),)):
        config, _ = run(*documents)
        assert config.streams["team-shop/shop/tcp"].shares == (("*", NOBODY),)


def test_a_tcp_listener_has_one_route() -> None:
    """The oldest; nothing tells the connections of two apart. Both are counted as attached."""
    old, young = created(tcp(backend("shop-stable")), "01"), created(tcp(backend("shop-canary"), name="another"), "02")
    config, statuses = run(old, young)
    assert config.streams["team-shop/shop/tcp"].shares == (("*", ((STABLE, 1),)),)
    assert verdict(statuses, "TCPRoute") == (True, "Accepted")
    assert verdict(statuses, "TCPRoute", "another") == (False, "Conflicted")
    assert listeners(statuses)["tcp"].attached_routes == 2


def test_a_route_with_several_rules_of_the_old_version_is_refused() -> None:
    """v1alpha2 takes sixteen; nothing says which connection belongs to which."""
    two = route(rule(backend("shop-stable")), rule(backend("shop-canary")), kind="TCPRoute", hostnames=())
    config, statuses = run(two)
    assert verdict(statuses, "TCPRoute") == (False, "UnsupportedValue")
    assert config.streams["team-shop/shop/tcp"].shares == (("*", NOBODY),)


def test_tls_goes_by_server_name_and_each_name_has_one_route() -> None:
    """A younger route gets the names that are left, and is not accepted where none is."""
    routes = [
        created(tls(backend("shop-stable"), hostnames=("a.example.com",)), "01"),
        created(tls(backend("shop-canary"), name="more", hostnames=("a.example.com", "*.example.com")), "02"),
        created(tls(backend("shop-canary"), name="late", hostnames=("*.example.com",)), "03"),
    ]
    config, statuses = run(*routes)
    assert dict(config.streams["team-shop/shop/tls"].shares) == {
        "a.example.com": ((STABLE, 1),),
        "*.example.com": ((CANARY, 1),),
    }
    assert [verdict(statuses, "TLSRoute", name) for name in ("shop", "more", "late")] == [
        (True, "Accepted"),
        (True, "Accepted"),
        (False, "Conflicted"),
    ]


# --- UDPRoute --------------------------------------------------------------------------------------------------------


def test_datagrams_are_shared_by_weight_among_ports_of_their_protocol() -> None:
    """A Service that has the number for TCP alone is not one to send datagrams to."""
    stable = service("shop-stable", protocol="UDP")
    config, statuses = run(stable, udp(backend("shop-stable", 3), backend("shop-canary", 1)))
    assert config.streams["team-shop/shop/udp"].shares == (("*", ((f"{STABLE}/udp", 3), ("unresolved", 1))),)
    assert config.streams["team-shop/shop/udp"].udp
    assert verdict(statuses, "UDPRoute") == (True, "Accepted")
    assert verdict(statuses, "UDPRoute", what="ResolvedRefs") == (False, "BackendNotFound")


def test_one_number_may_be_a_port_of_each_protocol() -> None:
    """As of a name server: a TCPRoute and a UDPRoute find each their own, and both are measured as the one backend."""
    both = service("shop-stable")
    both["spec"]["ports"].append({"name": "datagrams", "port": 8080, "protocol": "UDP"})
    config, statuses = run(both, tcp(backend("shop-stable")), udp(backend("shop-stable")))
    assert config.streams["team-shop/shop/tcp"].shares == (("*", ((STABLE, 1),)),)
    assert config.streams["team-shop/shop/udp"].shares == (("*", ((f"{STABLE}/udp", 1),)),)
    assert {item.measured_as for item in config.backends} == {STABLE}
    for kind in ("TCPRoute", "UDPRoute"):
        assert verdict(statuses, kind, what="ResolvedRefs") == (True, "ResolvedRefs")


def test_a_udp_listener_has_one_route_and_shares_its_number_with_another_protocol() -> None:
    """The oldest route; UDP ports are other ports than those of TCP."""
    own = gateway(listeners=[listener("tcp", protocol="TCP", port=53), UDP])
    old, young = created(udp(backend("shop-stable")), "01"), created(udp(backend("shop-canary"), name="another"), "02")
    _, statuses = run(own, old, young)
    assert verdict(statuses, "UDPRoute") == (True, "Accepted")
    assert verdict(statuses, "UDPRoute", "another") == (False, "Conflicted")
    assert all(item.served for item in listeners(statuses).values())


# --- listeners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "listed", "kinds", "resolved"),
    [
        ("HTTP", [], ("HTTPRoute", "GRPCRoute"), (True, "ResolvedRefs")),
        ("HTTP", ["GRPCRoute"], ("GRPCRoute",), (True, "ResolvedRefs")),
        ("HTTP", ["HTTPRoute", "UDPRoute"], ("HTTPRoute",), (False, "InvalidRouteKinds")),
        ("HTTP", ["TCPRoute"], (), (False, "InvalidRouteKinds")),
        ("TCP", [], ("TCPRoute",), (True, "ResolvedRefs")),
        ("TCP", ["HTTPRoute"], (), (False, "InvalidRouteKinds")),
        ("UDP", [], ("UDPRoute",), (True, "ResolvedRefs")),
    ],
)
def test_listeners_say_which_kinds_can_attach(protocol: str, listed: Any, kinds: Any, resolved: Any) -> None:
    """supportedKinds are those of the protocol that allowedRoutes lists; one that is neither makes ResolvedRefs False."""
    item = listener("one", protocol=protocol, allowedRoutes={"kinds": [{"kind": kind} for kind in listed]})
    _, statuses = run(gateway(listeners=[item]), route(rule(*PAIR)), grpc(rule(*PAIR), hostnames=("g.example.com",)))
    one = listeners(statuses)["one"]
    assert (one.kinds, said(one, "ResolvedRefs")) == (kinds, resolved)
    assert one.served is bool(kinds)
    assert one.attached_routes == len({"HTTPRoute", "GRPCRoute"} & set(kinds))
    for kind in ("HTTPRoute", "GRPCRoute"):
        expected = (True, "Accepted") if kind in kinds else (False, "NotAllowedByListeners")
        assert verdict(statuses, kind) == expected


def test_a_route_without_a_section_name_finds_the_listeners_of_its_kind() -> None:
    """One parentRef to the whole Gateway: HTTP to the HTTP listener, connections to that of TCP."""
    _, statuses = run(route(rule(*PAIR)), tcp(*PAIR), tls(*PAIR), udp(*PAIR))
    attached = {item.name: item.attached_routes for item in listeners(statuses).values()}
    assert attached == {"http": 1, "tcp": 1, "tls": 1, "udp": 1}


def test_listeners_on_one_port_with_different_protocols_are_all_refused() -> None:
    """By the API none of them wins; the Gateway goes on with the others, and says which are out."""
    own = gateway(listeners=[listener(), listener("tcp", protocol="TCP"), listener("free", protocol="TCP", port=5000)])
    _, statuses = run(own, tcp(*PAIR))
    found = listeners(statuses)
    for name in ("http", "tcp"):
        assert said(found[name], "Conflicted") == (True, "ProtocolConflict")
        assert said(found[name], "Accepted") == (False, "ProtocolConflict")
    assert (said(found["free"], "Conflicted"), found["free"].attached_routes) == ((False, "NoConflicts"), 1)
    accepted = statuses.gateways["team-shop", "shop"].conditions[0]
    assert (accepted.ok, accepted.reason, accepted.message) == (True, "ListenersNotValid", "not served: http, tcp")


def test_tls_is_passed_through_and_never_ended() -> None:
    """A TLS listener of mode Terminate would need what this gateway does not have."""
    _, statuses = run(gateway(listeners=[{**TLS, "tls": {"mode": "Terminate"}}]), tls(*PAIR))
    assert said(listeners(statuses)["tls"], "Accepted") == (False, "UnsupportedProtocol")
    assert verdict(statuses, "TLSRoute") == (False, "NotAllowedByListeners")


def test_namespaces_are_asked_for_every_kind() -> None:
    """A TCPRoute of another namespace attaches only where allowedRoutes lets it."""
    for allowed, reason in (("All", "Accepted"), ("Same", "NotAllowedByListeners")):
        shared = gateway("shared", "infra", [{**TCP, "allowedRoutes": {"namespaces": {"from": allowed}}}])
        own = tcp(*PAIR, parent={"name": "shared", "namespace": "infra"})
        _, statuses = run(shared, namespace("team-shop"), own)
        assert verdict(statuses, "TCPRoute")[1] == reason


def test_a_kind_that_is_left_out_of_the_features_is_refused() -> None:
    """With fewer features the gateway acts as one that can do less."""
    _, statuses = run(grpc(rule(*PAIR)), features=FEATURES - {"GRPCRoute"})
    assert verdict(statuses, "GRPCRoute") == (False, "UnsupportedValue")


# --- mirrors and lies ------------------------------------------------------------------------------------------------


def test_a_grpcroute_mirrors_as_an_httproute_does() -> None:
    """Several mirrors, each with its share, each to HTTP/2."""
    filters = [mirror("shop-canary", percent=20), mirror("shop-stable", fraction={"numerator": 1, "denominator": 8})]
    config, _ = run(grpc(rule(*PAIR, filters=filters)))
    policies = entries(config)[0]["route"]["request_mirror_policies"]
    shares = {item["cluster"]: item["runtime_fraction"]["default_value"]["numerator"] for item in policies}
    assert shares == {f"{CANARY}/h2c": 200_000, f"{STABLE}/h2c": 125_000}


def test_more_than_one_mirror_is_a_feature_of_its_own() -> None:
    """A gateway without it refuses the second one."""
    two = rule(*PAIR, filters=[mirror("shop-canary"), mirror("shop-stable")])
    fewer = FEATURES - {"HTTPRouteRequestMultipleMirrors"}
    _, statuses = run(route(two), features=fewer)
    assert verdict(statuses, "HTTPRoute") == (False, "UnsupportedValue")
    _, statuses = run(route(rule(*PAIR, filters=[mirror("shop-canary")])), features=fewer)
    assert verdict(statuses, "HTTPRoute") == (True, "Accepted")


def lying(*lies: str) -> Any:
    made = gateway_class()
    made["metadata"]["annotations"] = {LIES_ANNOTATION: ", ".join(lies)}
    return made


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize("lie", Lie)
def test_a_lie_changes_what_is_done_and_not_what_is_said(lie: Lie, kind: str) -> None:
    """The routes' statuses are the same with and without; so is all that the lie is not about."""
    rules = [
        rule(*PAIR, filters=[mirror("shop-canary", percent=20)], name="mirrored"),
        rule(*PAIR, filters=[mirror("nowhere")], name="missing", matches=[{"headers": [{"name": "x", "value": "1"}]}]),
        rule(*PAIR, name="plain", matches=[{"headers": [{"name": "y", "value": "1"}]}]),
    ]
    document = route(*rules, kind=kind)
    honest, honest_words = run(document)
    config, words = run(document, lying(lie))
    assert words.routes == honest_words.routes
    assert verdict(words, kind, what="ResolvedRefs") == (False, "BackendNotFound")
    assert verdict(words, kind) == (True, "Accepted")
    # Headers outrank none: missing, plain, mirrored.
    missing, plain, mirrored = entries(config)
    assert [plain, replace(config, virtual_hosts={})] == [entries(honest)[1], replace(honest, virtual_hosts={})]
    failing = {"direct_response": {"status": 500}}
    fails = [{key: entry[key] for key in failing if key in entry} == failing for entry in (missing, mirrored)]
    assert fails == [
        lie in (Lie.MIRROR_ANSWERS_500, Lie.MISSING_MIRROR_ANSWERS_500),
        lie is Lie.MIRROR_ANSWERS_500,
    ]
    if not fails[1]:
        (policy,) = mirrored["route"]["request_mirror_policies"]
        share = 1_000_000 if lie is Lie.MIRROR_IGNORES_PERCENT else 200_000
        assert policy["runtime_fraction"]["default_value"]["numerator"] == share
    published = words.classes["", "sandbox"].features
    assert published == (None if lie is Lie.FEATURES_NOT_PUBLISHED else tuple(sorted(FEATURES)))


def test_lies_come_together_and_an_unknown_one_is_refused() -> None:
    """Names with commas between them; a word that is none makes the class not accepted, and nobody lies."""
    _, statuses = run(lying(Lie.FEATURES_NOT_PUBLISHED, Lie.MIRROR_IGNORES_PERCENT))
    assert statuses.classes["", "sandbox"].features is None
    config, statuses = run(
        lying("mirror-ignores-percent", "sometimes"), route(rule(*PAIR, filters=[mirror("shop-canary", percent=1)]))
    )
    about = statuses.classes["", "sandbox"]
    assert (about.conditions[0].ok, about.conditions[0].reason) == (False, "InvalidParameters")
    assert "sometimes" in about.conditions[0].message
    assert str(Lie.MIRROR_ANSWERS_500) in about.conditions[0].message
    (policy,) = entries(config)[0]["route"]["request_mirror_policies"]
    assert policy["runtime_fraction"]["default_value"]["numerator"] == 10_000
