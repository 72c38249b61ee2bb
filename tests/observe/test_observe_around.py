"""What stands around routes, as the store keeps it: who is woken by what, and what is known at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


def grant(namespace: str, *sources: str, to: str = "") -> Json:
    of = [
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": source}
        for source in sources or (TEAM,)
    ]
    named = {"group": "", "kind": "Service", **({"name": to} if to else {})}
    return thing("g", namespace, **{"from": of, "to": [named]})


@pytest.fixture
def store() -> Store:
    return peopled()


def peopled() -> Store:
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
    ("a grant there for somebody else", "ReferenceGrant", grant("far", "another"), set()),
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


def namespace(name: str = TEAM, **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}}}


def choosing(label: str) -> Json:
    """By which a listener chooses namespaces, or a Gateway those of its ListenerSets."""
    return {"namespaces": {"from": "Selector", "selector": {"matchLabels": {label: "yes"}}}}


def test_a_label_wakes_those_alone_whose_listeners_choose_by_it(store: Store) -> None:
    """Of a Gateway that a route names, in the namespace of the route; any other label, and any other namespace, wakes nobody."""
    chosen = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": choosing("public")}
    store.put_around("Gateway", thing("gw", listeners=[chosen]))
    store.put_around("Gateway", gateway("other"))
    for labels, woken in (
        ({"team": "a"}, {SHOP}),  # the first sight of it: until then nobody could tell
        ({"team": "b"}, set()),
        ({"team": "b", "public": "yes"}, {SHOP}),
        ({"team": "b", "public": "yes"}, set()),
        ({"public": "no"}, {SHOP}),
    ):
        assert (labels, store.put_around("Namespace", namespace(**labels))) == (labels, woken)
    assert store.put_around("Namespace", namespace("far", public="no")) == set()
    assert store.drop_around("Namespace", ("", TEAM)) == {SHOP}


def test_a_label_wakes_those_whose_listener_set_is_chosen_by_it(store: Store) -> None:
    """Which is a matter of the namespace of the ListenerSet, wherever the route is; and its Gateway's news are theirs, too."""
    moved = route(version=2)
    moved["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": "set", "namespace": "sets"}]
    store.put_route(moved)
    of = {"parentRef": {"name": "edge", "namespace": "infra"}, "listeners": []}
    assert store.put_around("ListenerSet", thing("set", "sets", **of)) == {SHOP}
    assert store.put_around("Gateway", thing("edge", "infra", allowedListeners=choosing("sets"))) == {SHOP}
    assert store.put_around("Namespace", namespace("sets", team="a")) == {SHOP}
    assert store.put_around("Namespace", namespace("sets", team="b")) == set()
    assert store.put_around("Namespace", namespace("sets", sets="yes")) == {SHOP}
    assert store.put_around("Namespace", namespace(TEAM, sets="yes")) == set()
    assert store.put_around("GatewayClass", gateway_class()) == set()
    edge = thing("edge", "infra", gatewayClassName="edge", allowedListeners=choosing("sets"))
    assert store.put_around("Gateway", edge) == {SHOP}
    assert store.put_around("GatewayClass", gateway_class("edge", "HTTPRouteRequestMirror")) == {SHOP}
    assert store.drop_around("Gateway", ("infra", "edge")) == {SHOP}
    assert store.put_around("GatewayClass", gateway_class()) == set()


def test_labels_are_known_or_not(store: Store) -> None:
    """The name of a namespace is one of them; one with more labels than anybody needs is as good as not seen."""
    around = store.around
    store.put_around("Namespace", namespace(public="yes"))
    assert around.labels(TEAM) is None, "nobody has listed them yet"
    around.know("Namespace", None, known=True)
    assert around.labels(TEAM) == {"kubernetes.io/metadata.name": TEAM, "public": "yes"}
    assert around.labels("unheard-of") is None
    store.put_around("Namespace", namespace(**{f"l{number}": "" for number in range(70)}))
    assert around.labels(TEAM) is None
    store.put_around("Namespace", {"metadata": {"name": TEAM}})
    assert around.labels(TEAM) == {"kubernetes.io/metadata.name": TEAM}
    around.forget("Namespace", None)
    assert around.labels(TEAM) is None


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


listeners = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["http", "https"]), "port": st.sampled_from([80, 81])},
        optional={"allowedRoutes": st.sampled_from([choosing("public"), {"namespaces": {"from": "All"}}])},
    ),
    max_size=2,
)
theirs = st.one_of(
    st.builds(
        lambda kind, name, ports, of, sets: (
            kind,
            thing(name, "evil", listeners=ports, gatewayClassName=of, parentRef=sets, allowedListeners=choosing("x")),
        ),
        st.sampled_from(["Gateway", "ListenerSet"]),
        st.sampled_from(["gw", "other"]),
        listeners,
        st.sampled_from(["edge", "mine"]),
        st.sampled_from([None, {"name": "gw", "namespace": TEAM}, {"name": "gw"}]),
    ),
    st.builds(
        lambda name, ports: ("Service", service(name, *ports, namespace="evil")),
        st.sampled_from(["stable", "canary", "mesh"]),
        st.lists(st.integers(1, 3), min_size=1, max_size=2),
    ),
    st.builds(
        lambda sources, to: ("ReferenceGrant", grant("evil", *sources, to=to)),
        st.lists(st.sampled_from([TEAM, "far", "evil"]), min_size=1, max_size=2),
        st.sampled_from(["", "stable"]),
    ),
    st.builds(
        lambda labels: ("Namespace", namespace("evil", **labels)),
        st.dictionaries(st.sampled_from(["public", "x"]), st.sampled_from(["yes", "no"])),
    ),
)


@given(st.lists(st.tuples(theirs, st.booleans()), max_size=20))
def test_whatever_a_team_does_to_its_own_objects_wakes_nobody_elsewhere(
    events: list[tuple[tuple[str, Json], bool]],
) -> None:
    """Names as others have them, Gateways of their class, ListenerSets of their Gateway, grants for them, labels of its own."""
    store = peopled()
    store.put_around("GatewayClass", gateway_class())
    store.put_around("Gateway", gateway())
    for (kind, document), gone in events:
        key = document["metadata"].get("namespace", ""), document["metadata"]["name"]
        woken = store.drop_around(kind, key) if gone else store.put_around(kind, document)
        assert woken == set(), (kind, document, gone)


SAID: list[tuple[str, Json]] = [
    ("Gateway", gateway()),
    ("ListenerSet", thing("set", parentRef={"name": "gw"}, listeners=[])),
    ("GatewayClass", gateway_class("edge", "HTTPRouteRequestMirror")),
    ("Service", service("stable")),
    ("ReferenceGrant", grant("far")),
    ("Namespace", namespace(public="yes")),
]


@pytest.mark.parametrize(("kind", "document"), SAID, ids=[case[0] for case in SAID])
def test_what_changes_nothing_that_a_preflight_looks_at_wakes_nobody(store: Store, kind: str, document: Json) -> None:
    """Versions, annotations, managed fields, and what controllers say in a status, as often as they like."""
    store.put_around(kind, document)
    for number in range(100):
        metadata = {
            **document["metadata"],
            "resourceVersion": str(number),
            "annotations": {"seen": str(number)},
            "managedFields": [{"manager": "somebody", "time": str(number)}],
        }
        status = {**document.get("status", {}), "conditions": [{"type": "Programmed", "message": str(number)}]}
        assert store.put_around(kind, {**document, "metadata": metadata, "status": status}) == set()


def test_a_grant_concerns_those_alone_whose_namespace_it_names_or_named(store: Store) -> None:
    """One for another team, beside ours or instead of it; and to which Services it is, of those that it names."""
    assert store.put_around("ReferenceGrant", grant("far", "another")) == set()
    assert store.put_around("ReferenceGrant", grant("far", "another", TEAM)) == {SECOND}
    assert store.put_around("ReferenceGrant", grant("far", "third", TEAM)) == set()
    assert store.put_around("ReferenceGrant", grant("far", "third", TEAM, to="away")) == {SECOND}
    assert store.put_around("ReferenceGrant", grant("far", "third", to="away")) == {SECOND}
    assert store.drop_around("ReferenceGrant", ("far", "g")) == set()


def test_a_kind_that_is_listed_in_a_place_is_news_to_those_who_look_there(store: Store) -> None:
    """To Rollouts of the namespace, to those who cross into it, and to those whose parents are there."""
    parents = [{"name": "edge", "namespace": "infra"}]
    elsewhere = route("third", version=1)
    elsewhere["metadata"]["namespace"], elsewhere["spec"]["parentRefs"] = "apps", parents
    store.put_route(elsewhere)
    third = rollout("third", routes=[{"name": "third"}])
    third["metadata"]["namespace"] = "apps"
    store.put_rollout(third)
    assert store.resting(TEAM) == {SHOP, SECOND}
    assert store.resting("far") == {SECOND}
    assert store.resting("infra") == {("apps", "third")}
    assert store.resting("nowhere") == set()
    assert store.resting(None) == {SHOP, SECOND, ("apps", "third")}
    store.put_rollout(rollout(version=2, status={"phase": "Progressing"}))
    assert store.resting(TEAM) == {SECOND}


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
