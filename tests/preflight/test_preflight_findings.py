"""What stands against a run: the parents' word decides, the objects around say why, and what is not known says nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.preflight.attachment import attachment
from canary.preflight.backends import backends
from canary.preflight.findings import Finding, Reason
from canary.preflight.hostnames import meet
from canary.preflight.surroundings import Documents, Place
from canary.routes.pair import Backend, Pair
from canary.routes.reading import RouteReading

Json = dict[str, Any]
TEAM, INFRA, ELSEWHERE = "team", "infra", "elsewhere"
API = "gateway.networking.k8s.io"
EVERYTHING: tuple[Place, ...] = tuple(
    (kind, "") for kind in ("Gateway", "ListenerSet", "GatewayClass", "Service", "ReferenceGrant", "Namespace")
)


def thing(kind: str, name: str, namespace: str = TEAM, spec: Json | None = None, **metadata: Any) -> Json:
    place = {} if kind in {"GatewayClass", "Namespace"} else {"namespace": namespace}
    return {"kind": kind, "metadata": {"name": name, **place, **metadata}, "spec": spec or {}}


def listener(name: str = "http", port: int = 80, protocol: str = "HTTP", **more: Any) -> Json:
    return {"name": name, "port": port, "protocol": protocol, **more}


def gateway(*listeners: Json, name: str = "edge", namespace: str = TEAM, kind: str = "Gateway") -> Json:
    return thing(kind, name, namespace, {"gatewayClassName": "envoy", "listeners": list(listeners or (listener(),))})


def service(name: str, *ports: int, namespace: str = TEAM) -> Json:
    return thing("Service", name, namespace, {"ports": [{"port": port} for port in ports or (80,)]})


def grant(*names: str, kind: str = "HTTPRoute", source: str = TEAM, namespace: str = ELSEWHERE) -> Json:
    to = [{"group": "", "kind": "Service", **({"name": name} if name else {})} for name in names or ("",)]
    return thing(
        "ReferenceGrant", "g", namespace, {"from": [{"group": API, "kind": kind, "namespace": source}], "to": to}
    )


def report(parent: Json, *, generation: int = 3, **no: str) -> Json:
    """What a controller says of the route: yes, or for a condition that is named no, for a reason."""
    conditions = [
        {
            "type": kind,
            "status": "False" if kind in no else "True",
            "reason": no.get(kind, kind),
            "message": "as the gateway puts it",
            "observedGeneration": generation,
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    return {"parentRef": parent, "controllerName": "example.com/gateway", "conditions": conditions}


EDGE: Json = {"name": "edge"}


def route(*parents: Json, reports: list[Json] | None = None, kind: str = "HTTPRoute", **spec: Any) -> Json:
    """A route with parents (Gateway edge), each of which says yes if no reports are given."""
    named = list(parents or (EDGE,))
    said = [report(parent) for parent in named] if reports is None else reports
    return {
        "kind": kind,
        "metadata": {"name": "shop", "namespace": TEAM, "generation": 3},
        "spec": {"parentRefs": named, **spec},
        "status": {"parents": said},
    }


AROUND = [gateway(), thing("GatewayClass", "envoy", spec={"controllerName": "example.com/gateway"})]
SERVICES = [service("stable"), service("canary")]


def look(
    document: Json, around: list[Json], known: tuple[Place, ...] = EVERYTHING, canary: Backend | None = None
) -> list[Finding]:
    """Everything that is found of a Rollout of this one route and of Services stable:80 and canary:80."""
    seen = Documents(around, known)
    pair = Pair(Backend("stable", TEAM, 80), canary or Backend("canary", TEAM, 80))
    return [
        *backends(pair, {document["kind"]}, TEAM, seen),
        *attachment(RouteReading(document), seen, "spec.routes[0]"),
    ]


FAR = {"name": "edge", "namespace": INFRA}
SET = {"kind": "ListenerSet", "name": "mine"}
OLD = {"key": "old", "operator": "DoesNotExist"}


def selecting(selector: Json | None, **more: Any) -> Json:
    """A listener that takes routes of namespaces with these labels."""
    chosen = {"from": "Selector", **({"selector": selector} if selector is not None else {})}
    return listener(allowedRoutes={"namespaces": chosen}, **more)


def listener_set(*listeners: Json) -> Json:
    """ListenerSet mine, of Gateway edge of another namespace."""
    spec = {"parentRef": {"name": "edge", "namespace": INFRA}, "listeners": list(listeners or (listener(),))}
    return thing("ListenerSet", "mine", TEAM, spec)


def taking(selector: Json) -> Json:
    """Gateway edge, which takes ListenerSets of namespaces with these labels."""
    found = gateway(namespace=INFRA)
    found["spec"]["allowedListeners"] = {"namespaces": {"from": "Selector", "selector": selector}}
    return found


AWAY: Json = {"canary": Backend("canary", ELSEWHERE, 80)}
CLASS = AROUND[1]
NO: list[Json] = []

CASES: list[tuple[str, Json, list[Json], Json, Reason, str]] = [
    (
        "a Gateway that does not exist, whatever a report of it says still",
        route(),
        SERVICES,
        {},
        Reason.PARENT_MISSING,
        "there is no Gateway edge in namespace team, which HTTPRoute shop names as parent; its owners have to create it",
    ),
    (
        "one of two parents that does not exist is one finding",
        route(EDGE, {"name": "gone"}),
        [*AROUND, *SERVICES],
        {},
        Reason.PARENT_MISSING,
        "there is no Gateway gone",
    ),
    (
        "a Gateway of that name in another namespace is another one",
        route(FAR),
        [*AROUND, *SERVICES],
        {},
        Reason.PARENT_MISSING,
        "there is no Gateway edge in namespace infra",
    ),
    (
        "a Service of a mesh that does not exist",
        route({"group": "", "kind": "Service", "name": "web"}),
        SERVICES,
        {},
        Reason.PARENT_MISSING,
        "there is no Service web in namespace team, which HTTPRoute shop names as parent",
    ),
    (
        "a ListenerSet that does not exist",
        route({"kind": "ListenerSet", "name": "mine"}),
        SERVICES,
        {},
        Reason.PARENT_MISSING,
        "there is no ListenerSet mine",
    ),
    (
        "no parent at all",
        {**route(), "spec": {}},
        SERVICES,
        {},
        Reason.ROUTE_NOT_ATTACHED,
        "HTTPRoute shop has no parentRefs, so no gateway serves it; name the Gateway in its spec.parentRefs",
    ),
    (
        "nobody has answered, though the listener would take it",
        route(reports=NO),
        [*AROUND, *SERVICES],
        {},
        Reason.ROUTE_NOT_ATTACHED,
        "the platform team has to see that the controller example.com/gateway of GatewayClass envoy runs",
    ),
    (
        "nobody has answered, and the class does not exist",
        route(reports=NO),
        [gateway(), *SERVICES],
        {},
        Reason.ROUTE_NOT_ATTACHED,
        "correct its gatewayClassName: there is no GatewayClass envoy",
    ),
    (
        "a mesh of which nobody has answered",
        route({"group": "", "kind": "Service", "name": "stable"}, reports=NO),
        SERVICES,
        {},
        Reason.ROUTE_NOT_ATTACHED,
        "Service stable has not answered for the route yet",
    ),
    (
        "an answer to an older generation is no answer to this one, and nobody's fault yet",
        route(reports=[report(EDGE, generation=2, Accepted="NotAllowedByListeners")]),
        [*AROUND, *SERVICES],
        {},
        Reason.NOT_ACCEPTED,
        "Gateway edge has not answered for generation 3 yet (Accepted)",
    ),
    (
        "a no for a reason of the gateway's own is told in its words",
        route(reports=[report(EDGE, Accepted="UnsupportedValue")]),
        [*AROUND, *SERVICES],
        {},
        Reason.NOT_ACCEPTED,
        "Gateway edge says Accepted=False (UnsupportedValue: as the gateway puts it)",
    ),
    (
        "a sectionName that no listener has",
        route(
            {**EDGE, "sectionName": "https"},
            reports=[report({**EDGE, "sectionName": "https"}, Accepted="NoMatchingParent")],
        ),
        [*AROUND, *SERVICES],
        {},
        Reason.NO_MATCHING_PARENT,
        "Gateway edge has no listener https, which HTTPRoute shop names; its listeners: http:80; correct sectionName",
    ),
    (
        "a port that no listener has, and a gateway that answers for no such route",
        route({**EDGE, "port": 443}, reports=NO),
        [*AROUND, *SERVICES],
        {},
        Reason.NO_MATCHING_PARENT,
        "has no listener port 443",
    ),
    (
        "a listener of that name on another port",
        route({**EDGE, "sectionName": "http", "port": 81}, reports=NO),
        [*AROUND, *SERVICES],
        {},
        Reason.NO_MATCHING_PARENT,
        "has no listener http port 81",
    ),
    (
        "a Gateway of another namespace that takes its own routes only",
        route(FAR, reports=[report(FAR, Accepted="NotAllowedByListeners")]),
        [gateway(namespace=INFRA), CLASS, *SERVICES],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        (
            "Gateway infra/edge takes routes of its own namespace infra only, so it does not serve HTTPRoute shop of namespace "
            "team; the owners of Gateway infra/edge have to allow the namespace"
        ),
    ),
    (
        "a listener that takes nobody's routes",
        route(reports=NO),
        [gateway(listener(allowedRoutes={"namespaces": {"from": "None"}})), CLASS, *SERVICES],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        "takes routes of no namespace only",
    ),
    (
        "labels that the namespace does not have",
        route(FAR, reports=NO),
        [
            gateway(
                listener(
                    allowedRoutes={"namespaces": {"from": "Selector", "selector": {"matchLabels": {"public": "yes"}}}}
                ),
                namespace=INFRA,
            ),
            CLASS,
            thing("Namespace", TEAM, labels={"public": "no"}),
            *SERVICES,
        ],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        (
            "Gateway infra/edge takes routes of namespaces with public=yes only, so it does not serve HTTPRoute shop of "
            "namespace team; whoever may label namespaces has to set the label public=yes on namespace team, or the owners "
            "of Gateway infra/edge have to allow the namespace in allowedRoutes.namespaces of a listener"
        ),
    ),
    (
        "labels that the namespace lacks, of two listeners",
        route(FAR, reports=[report(FAR, Accepted="NotAllowedByListeners")]),
        [
            gateway(
                listener(),
                selecting({"matchLabels": {"public": "yes"}, "matchExpressions": [OLD]}, name="other", port=81),
                namespace=INFRA,
            ),
            CLASS,
            thing("Namespace", TEAM, labels={"old": "v1"}),
            *SERVICES,
        ],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        (
            "takes routes of its own namespace infra, namespaces with public=yes, no label old only, so it does not serve "
            "HTTPRoute shop of namespace team; whoever may label namespaces has to set the label public=yes and take away "
            "the label old on namespace team"
        ),
    ),
    (
        "a Gateway that takes no ListenerSets",
        route(SET, reports=NO),
        [listener_set(), gateway(namespace=INFRA), CLASS, *SERVICES],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        (
            "Gateway infra/edge takes ListenerSets of no namespace only, so ListenerSet mine of namespace team is none of "
            "its, and does not serve HTTPRoute shop; the owners of Gateway infra/edge have to allow the namespace in "
            "allowedListeners.namespaces"
        ),
    ),
    (
        "a Gateway that takes ListenerSets of namespaces with another label",
        route(SET, reports=NO),
        [
            listener_set(),
            taking({"matchExpressions": [{"key": "sets", "operator": "Exists"}]}),
            thing("Namespace", TEAM, labels={}),
            CLASS,
            *SERVICES,
        ],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        "takes ListenerSets of namespaces with label sets only",
    ),
    (
        "a ListenerSet that takes no such route, of a Gateway that takes the ListenerSet",
        route(SET, reports=NO),
        [
            listener_set(selecting({"matchLabels": {"public": "yes"}})),
            taking({"matchLabels": {"sets": "yes"}}),
            thing("Namespace", TEAM, labels={"sets": "yes"}),
            CLASS,
            *SERVICES,
        ],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        "ListenerSet mine takes routes of namespaces with public=yes only",
    ),
    (
        "a kind that no listener takes",
        route(kind="GRPCRoute", reports=[report(EDGE, Accepted="NotAllowedByListeners")]),
        [gateway(listener(allowedRoutes={"kinds": [{"kind": "HTTPRoute"}]})), CLASS, *SERVICES],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        "no listener of Gateway edge takes GRPCRoutes",
    ),
    (
        "a kind that the protocol of the listener excludes",
        route(kind="TCPRoute", reports=NO),
        [*AROUND, *SERVICES],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        "no listener of Gateway edge takes TCPRoutes",
    ),
    (
        "a hostname that no listener has",
        route(reports=[report(EDGE, Accepted="NoMatchingListenerHostname")], hostnames=["shop.example.org"]),
        [gateway(listener(hostname="*.example.com"), listener("b", hostname="shop.example.net")), CLASS, *SERVICES],
        {},
        Reason.NO_MATCHING_LISTENER_HOSTNAME,
        (
            "HTTPRoute shop is for shop.example.org, and the listeners of Gateway edge that it may use are for *.example.com, "
            "shop.example.net"
        ),
    ),
    (
        "a hostname that only a listener has that takes other people's routes",
        route(reports=NO, hostnames=["shop.example.org"]),
        [
            gateway(
                listener(hostname="other.example.org"),
                listener("b", hostname="shop.example.org", allowedRoutes={"namespaces": {"from": "None"}}),
            ),
            CLASS,
            *SERVICES,
        ],
        {},
        Reason.NO_MATCHING_LISTENER_HOSTNAME,
        "that it may use are for other.example.org",
    ),
    (
        "a refusal that the objects do not explain is told in the gateway's words",
        route(reports=[report(EDGE, Accepted="NotAllowedByListeners")]),
        [*AROUND, *SERVICES],
        {},
        Reason.NOT_ALLOWED_BY_LISTENERS,
        "says Accepted=False (NotAllowedByListeners: as the gateway puts it); the owners of Gateway edge have to allow it",
    ),
    (
        "a third backend that does not exist",
        route(reports=[report(EDGE, ResolvedRefs="BackendNotFound")]),
        [*AROUND, *SERVICES],
        {},
        Reason.BACKEND_NOT_FOUND,
        "says ResolvedRefs=False (BackendNotFound: as the gateway puts it)",
    ),
    (
        "a Service that does not exist, though the gateway says nothing of it",
        route(),
        [*AROUND, service("stable")],
        {},
        Reason.BACKEND_NOT_FOUND,
        "there is no Service canary in namespace team; create it, or correct spec.canary",
    ),
    (
        "a port that the Service does not have",
        route(),
        [*AROUND, service("stable"), service("canary", 8080, 9090)],
        {},
        Reason.WRONG_PORT,
        "Service canary has no port 80; its ports: 8080, 9090; correct spec.canary.port",
    ),
    (
        "a namespace that is crossed without a grant",
        route(),
        [*AROUND, service("stable"), service("canary", namespace=ELSEWHERE)],
        AWAY,
        Reason.REF_NOT_PERMITTED,
        (
            "no ReferenceGrant of namespace elsewhere lets HTTPRoute of namespace team name Service canary; the owners of "
            "elsewhere have to create one there"
        ),
    ),
    (
        "a grant for another Service",
        route(),
        [*AROUND, service("stable"), service("canary", namespace=ELSEWHERE), grant("other")],
        AWAY,
        Reason.REF_NOT_PERMITTED,
        "name Service canary",
    ),
    (
        "a grant for another kind of route",
        route(kind="GRPCRoute"),
        [*AROUND, service("stable"), service("canary", namespace=ELSEWHERE), grant()],
        AWAY,
        Reason.REF_NOT_PERMITTED,
        "lets GRPCRoute of namespace team",
    ),
    (
        "a grant for another namespace",
        route(),
        [*AROUND, service("stable"), service("canary", namespace=ELSEWHERE), grant(source="others")],
        AWAY,
        Reason.REF_NOT_PERMITTED,
        "namespace team",
    ),
]


@pytest.mark.parametrize(
    ("why", "document", "around", "spec", "reason", "words"), CASES, ids=[case[0] for case in CASES]
)
def test_each_is_one_finding(
    why: str, document: Json, around: list[Json], spec: Json, reason: Reason, words: str
) -> None:
    """One reason, and a sentence that says what is the case and who must do what."""
    (finding,) = look(document, around, **spec)
    assert (finding.reason, why) == (reason, why)
    assert words in finding.text


GOOD: list[tuple[str, Json, list[Json], Json]] = [
    ("everything is there", route(), [*AROUND, *SERVICES], {}),
    (
        "two listeners of one Gateway",
        route({**EDGE, "sectionName": "http"}, {**EDGE, "port": 80}),
        [*AROUND, *SERVICES],
        {},
    ),
    (
        "a gateway that says yes is believed, whatever its listeners look like",
        route({**EDGE, "sectionName": "odd"}, FAR, hostnames=["a.example.org"]),
        [gateway(listener(hostname="b.example.org")), gateway(namespace=INFRA), CLASS, *SERVICES],
        {},
    ),
    (
        "a mesh beside a Gateway",
        route(EDGE, {"group": "", "kind": "Service", "name": "stable"}),
        [*AROUND, *SERVICES],
        {},
    ),
    (
        "a ListenerSet",
        route({"kind": "ListenerSet", "name": "mine"}),
        [gateway(name="mine", kind="ListenerSet"), *SERVICES],
        {},
    ),
    (
        "a parent of a kind that nobody here knows",
        route({"group": "example.com", "kind": "Fabric", "name": "f"}),
        SERVICES,
        {},
    ),
    (
        "a Service without ports, a name elsewhere",
        route(),
        [*AROUND, service("stable"), thing("Service", "canary")],
        {},
    ),
    (
        "a grant for every Service",
        route(),
        [*AROUND, service("stable"), service("canary", namespace=ELSEWHERE), grant()],
        AWAY,
    ),
    (
        "a grant for that Service",
        route(),
        [*AROUND, service("stable"), service("canary", namespace=ELSEWHERE), grant("x", "canary")],
        AWAY,
    ),
    (
        "an answer of a controller that is gone does not count beside a current one",
        route(reports=[report(EDGE, generation=2, Accepted="NoMatchingParent"), report(EDGE)]),
        [*AROUND, *SERVICES],
        {},
    ),
]


@pytest.mark.parametrize(("why", "document", "around", "spec"), GOOD, ids=[case[0] for case in GOOD])
def test_nothing_stands_against_it(why: str, document: Json, around: list[Json], spec: Json) -> None:
    """A run could work now, so nothing is found."""
    assert (why, look(document, around, **spec)) == (why, [])


@pytest.mark.parametrize(("why", "document", "_around", "spec"), GOOD, ids=[case[0] for case in GOOD])
def test_what_may_not_be_read_says_nothing(why: str, document: Json, _around: list[Json], spec: Json) -> None:
    """Without any right to look around, a route that is accepted stands against nothing."""
    assert (why, look(document, [], (), **spec)) == (why, [])


@pytest.mark.parametrize(("why", "document", "_around", "spec", "_reason", "_words"), CASES, ids=[c[0] for c in CASES])
def test_without_rights_only_the_status_speaks(
    why: str, document: Json, _around: list[Json], spec: Json, _reason: Reason, _words: str
) -> None:
    """What is found then is what the route itself says: a no, no answer, or no parents."""
    found = look(document, [], (), **spec)
    silent = RouteReading(document).acceptance.accepted
    assert (why, bool(found)) == (why, not silent)
    assert all("is not served" in finding.message or "parentRefs" in finding.message for finding in found)


PUBLIC = {"matchLabels": {"public": "yes"}}
LABELLED = thing("Namespace", TEAM, labels={"public": "no"})
UNTOLD: list[tuple[str, list[Json]]] = [
    ("nobody may read Namespaces", [gateway(selecting(PUBLIC), namespace=INFRA)]),
    ("a selector that makes no sense", [gateway(selecting({"matchExpressions": [{"key": "a"}]}), namespace=INFRA), LABELLED]),
    ("no selector at all", [gateway(selecting(None), namespace=INFRA), LABELLED]),
    ("labels that are as it asks", [gateway(selecting(PUBLIC), namespace=INFRA), thing("Namespace", TEAM, labels={"public": "yes"})]),
    ("a namespace without labels, and a selector that takes all", [gateway(selecting({}), namespace=INFRA), thing("Namespace", TEAM)]),
    ("one listener of two lets it in", [gateway(selecting(PUBLIC), listener("all", 81, allowedRoutes={"namespaces": {"from": "All"}}), namespace=INFRA), LABELLED]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "around"), UNTOLD, ids=[case[0] for case in UNTOLD])
def test_where_labels_say_nothing_the_gateway_has_the_word(why: str, around: list[Json]) -> None:
    """It has not answered yet, and that is all that is said; nor is a yes of its doubted for labels."""
    (finding,) = look(route(FAR, reports=NO), [*around, CLASS, *SERVICES])
    assert (why, finding.reason) == (why, Reason.ROUTE_NOT_ATTACHED)
    assert look(route(FAR), [gateway(selecting(PUBLIC), namespace=INFRA), LABELLED, CLASS, *SERVICES]) == []


def test_a_place_that_may_be_read_tells_nothing_of_another() -> None:
    """A controller of one namespace knows its own Gateways, and not those of the platform."""
    found = look(route(FAR), SERVICES, (("Gateway", TEAM), ("Service", TEAM)))
    assert found == []
    (finding,) = look(route(), SERVICES, (("Gateway", TEAM), ("Service", TEAM)))
    assert finding.reason is Reason.PARENT_MISSING


def test_the_missing_grant_is_the_one_that_helps() -> None:
    """The ReferenceGrant that a finding carries, once it is created, is all that was missing."""
    around = [*AROUND, service("stable"), service("canary", namespace=ELSEWHERE)]
    (finding,) = look(route(), around, **AWAY)
    assert finding.grant is not None
    document = finding.grant.document
    assert document["metadata"]["namespace"] == ELSEWHERE
    assert look(route(), [*around, document], **AWAY) == []


labels = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
patterns = st.one_of(st.just(""), labels, labels.map("*.{}".format))


def meant(pattern: str, host: str) -> bool:
    """The definition: a wildcard stands for one label or several."""
    if not pattern:
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern[1:])
    return host == pattern


@given(patterns, patterns)
def test_two_hostnames_meet_exactly_if_some_host_is_meant_by_both(one: str, other: str) -> None:
    """Every host that decides it is one of the two, or just below one of them."""
    hosts = [
        name
        for pattern in (one, other, "x.y")
        for name in (pattern.removeprefix("*."), f"z.{pattern.removeprefix('*.')}")
    ]
    assert meet(one, other) == any(meant(one, host) and meant(other, host) for host in hosts)
    assert meet(one, other) == meet(other, one)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "spec",
                        "listeners",
                        "ports",
                        "from",
                        "to",
                        "name",
                        "allowedRoutes",
                        "kinds",
                        "namespaces",
                        "selector",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_objects_that_make_no_sense_trouble_nobody(spec: Any) -> None:
    """Whatever a Gateway, a class, a Service or a grant says, looking at it raises nothing."""
    around = [{**thing(kind, name, place), "spec": spec, "status": spec}
              for kind, name, place in (("Gateway", "edge", TEAM), ("GatewayClass", "envoy", ""), ("Service", "canary", TEAM),
                                        ("Service", "stable", TEAM), ("ReferenceGrant", "g", ELSEWHERE))]  # fmt: skip
    look(route(reports=NO, hostnames=["a"]), around, **AWAY)
    look(route(), around)
