"""What stands around routes, as the store keeps it: who is woken by what, and what is known at all."""

from __future__ import annotations

from typing import Any

import pytest
from observe_kit import TEAM, ref, rollout, route

from canary.observe.store import Store
from canary.preflight.objects import Absence

Json = dict[str, Any]
SHOP, SECOND = (TEAM, "shop"), (TEAM, "second")


def thing(name: str, namespace: str = TEAM, **spec: Any) -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def gateway(name: str = "gw", *ports: int, of: str = "edge") -> Json:
    listeners = [{"name": f"p{port}", "port": port, "protocol": "HTTP"} for port in ports or (80,)]
    return thing(name, gatewayClassName=of, listeners=listeners)


def gateway_class(name: str = "edge", *features: str) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {},
        "status": {"supportedFeatures": [{"name": one} for one in features]},
    }


def service(name: str, *ports: int, namespace: str = TEAM) -> Json:
    return thing(name, namespace, ports=[{"port": port} for port in ports or (80,)])


def grant(namespace: str) -> Json:
    return thing("g", namespace, **{"from": [], "to": []})


@pytest.fixture
def store() -> Store:
    """Two Rollouts: one on Gateway gw, one on Gateway other, whose canary lives in another namespace."""
    store = Store()
    store.put_route(route())
    other = route("second", {"backendRefs": [ref("stable", 1), ref("away", 0, namespace="far")]})
    other["spec"]["parentRefs"] = [{"name": "other"}, {"group": "", "kind": "Service", "name": "mesh"}]
    store.put_route(other)
    store.put_rollout(rollout())
    away = {"service": "away", "port": 80, "namespace": "far"}
    store.put_rollout(rollout("second", routes=[{"name": "second"}], canary=away))
    return store


WAKES: list[tuple[str, str, Json, set[tuple[str, str]]]] = [
    ("the Gateway of one", "Gateway", gateway(), {SHOP}),
    ("a Gateway of nobody", "Gateway", gateway("third"), set()),
    ("a Gateway of that name elsewhere", "Gateway", thing("gw", "far", listeners=[]), set()),
    ("the Service of both", "Service", service("stable"), {SHOP, SECOND}),
    ("the Service of one", "Service", service("canary"), {SHOP}),
    ("a Service that is a parent", "Service", service("mesh"), {SECOND}),
    ("a Service of another namespace", "Service", service("away", namespace="far"), {SECOND}),
    ("its namesake here", "Service", service("away"), set()),
    ("a grant where a namespace is crossed", "ReferenceGrant", grant("far"), {SECOND}),
    ("a grant of their own namespace", "ReferenceGrant", grant(TEAM), set()),
    ("a class of nobody", "GatewayClass", gateway_class(), set()),
]


@pytest.mark.parametrize(("why", "kind", "document", "woken"), WAKES, ids=[case[0] for case in WAKES])
def test_only_those_are_woken_that_depend_on_it(
    store: Store, why: str, kind: str, document: Json, woken: set[tuple[str, str]]
) -> None:
    """When it comes and when it goes; said again as it was, it wakes nobody."""
    assert (why, store.put_around(kind, document)) == (why, woken)
    assert store.put_around(kind, document) == set()
    key = document["metadata"].get("namespace", ""), document["metadata"]["name"]
    assert (why, store.drop_around(kind, key)) == (why, woken)
    assert store.drop_around(kind, key) == set()


def test_a_class_wakes_by_its_gateways(store: Store) -> None:
    """What a class says is about the routes of every Gateway of it."""
    store.put_around("Gateway", gateway())
    store.put_around("Gateway", gateway("other", of="else"))
    assert store.put_around("GatewayClass", gateway_class()) == {SHOP}
    assert store.put_around("GatewayClass", gateway_class("edge", "HTTPRouteRequestMirror")) == {SHOP}
    assert store.drop_around("GatewayClass", ("", "edge")) == {SHOP}


def test_runs_under_way_are_left_alone(store: Store) -> None:
    """None is ended by what stands around its routes, so none is woken for it."""
    store.put_rollout(rollout(version=2, status={"phase": "Progressing"}))
    assert store.put_around("Gateway", gateway()) == set()
    assert store.put_around("Service", service("stable")) == {SECOND}


def test_who_names_other_things_is_woken_by_those(store: Store) -> None:
    """Routes and Rollouts that change, or go, depend on what they name then."""
    moved = route(version=2)
    moved["spec"]["parentRefs"] = [{"name": "other"}]
    store.put_route(moved)
    assert store.put_around("Gateway", gateway()) == set()
    assert store.put_around("Gateway", gateway("other")) == {SHOP, SECOND}
    store.put_rollout(rollout(version=2, canary={"service": "next", "port": 80}))
    assert store.put_around("Service", service("canary")) == set()
    assert store.put_around("Service", service("next")) == {SHOP}
    store.drop_rollout(SECOND)
    assert store.put_around("Service", service("stable")) == {SHOP}
    assert store.put_around("ReferenceGrant", grant("far")) == set()


def test_what_is_not_known_is_not_missing(store: Store) -> None:
    """By kind and place; what is listed anew is forgotten first, there and nowhere else."""
    around = store.around
    store.put_around("Service", service("stable"))
    store.put_around("Service", service("stable", namespace="far"))
    assert around.service(TEAM, "stable") is around.service(TEAM, "gone") is Absence.UNKNOWN
    assert around.grants(TEAM) is None
    assert around.know("Service", TEAM, known=True)
    assert not around.know("Service", TEAM, known=True)
    assert (around.service(TEAM, "stable"), around.service(TEAM, "gone")) == ((80,), Absence.MISSING)
    assert around.service("far", "gone") is Absence.UNKNOWN
    around.know("Service", None, known=True)
    around.forget("Service", TEAM)
    assert (around.service(TEAM, "stable"), around.service("far", "stable")) == (Absence.MISSING, (80,))
    around.know("ReferenceGrant", None, known=True)
    assert list(around.grants(TEAM) or ()) == []


# -- policies -------------------------------------------------------------------------------------------------------


SECURITY = "securitypolicies.gateway.envoyproxy.io"


def guard(name: str = "login", section: str | None = "pay", namespace: str = TEAM) -> Json:
    target = {"kind": "HTTPRoute", "name": "shop", **({"sectionName": section} if section else {})}
    return {"kind": "SecurityPolicy", **thing(name, namespace, targetRefs=[target])}


def test_a_policy_about_a_rule_wakes_those_who_would_copy_it_also_in_a_run(store: Store) -> None:
    """And nobody else; one that is about whole routes is nobody's news."""
    match = [{"match": [{"headers": [{"name": "x-beta", "value": "yes"}]}]}, {"weight": 100}]
    store.put_rollout(rollout("opting", steps=match, status={"phase": "Progressing"}))
    store.put_rollout(rollout("far", steps=match, metadata={"namespace": "far"}))
    opting = {(TEAM, "opting")}
    assert store.active((TEAM, "opting"))
    assert store.know_policies(None, known=True) == opting | {("far", "far")}
    assert store.know_policies(None, known=True) == set()
    assert store.put_policy(SECURITY, guard(section=None)) == set()
    assert store.put_policy(SECURITY, guard()) == opting
    assert store.put_policy(SECURITY, guard()) == set()
    (kept,) = store.around.policies(TEAM) or ()
    assert kept.targets_rule("HTTPRoute", TEAM, "shop", "pay")
    assert store.put_policy(SECURITY, guard(section=None)) == opting, "it is about the rule no more"
    assert store.put_policy(SECURITY, guard()) == opting
    assert store.drop_policy(SECURITY, (TEAM, "login")) == opting
    assert store.put_policy(SECURITY, guard()) == opting
    assert store.drop_policies("others.example.org", None) == set()
    assert store.drop_policies(SECURITY, "far") == set()
    assert store.drop_policies(SECURITY, TEAM) == opting
    assert [*(store.around.policies(TEAM) or ())] == []
    assert store.know_policies(None, known=False) == opting | {("far", "far")}
    assert store.around.policies(TEAM) is None
