"""Routes of files, judged with no Rollout: each reason, where it is told, and what says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import sarif_kit
from lint_kit import Json, dump, route, service
from route_health_kit import GATEWAY_API, ROUTES, gateway, grant, listener, mirrored, refs, ruled

from canary.lint.findings import Severity
from canary.lint.report import Report, as_json, github, junit, text
from canary.lint.route_files import lint_routes
from canary.lint.route_health import health
from canary.lint.run import Linted
from canary.lint.sarif import sarif
from canary.lint.source import read
from canary.observe.around import Around


def look(*documents: Json, given: str = "") -> Linted:
    found, wrong = read(given or dump(*documents), "m.yaml")
    assert wrong == []
    return lint_routes(found)


def told(*documents: Json) -> list[tuple[str, str, str]]:
    """(severity, reason, field) of the findings."""
    return sorted((item.severity.value, item.reason, item.field) for item in look(*documents).findings)


def words(*documents: Json) -> str:
    (found,) = look(*documents).findings
    return found.text


SERVICES = [service("stable"), service("canary")]


def test_a_sound_route_with_all_it_names_is_clean() -> None:
    """Of every kind, with its Services and its Gateway, and without: what is not in the files says nothing."""
    for kind in ROUTES:
        kinds = {"allowedRoutes": {"kinds": [{"kind": kind}]}}
        assert told(route(kind=kind), *SERVICES, gateway(listener(**kinds))) == []
        assert told(route(kind=kind)) == []


@pytest.mark.parametrize("kind", ROUTES)
def test_backends_that_are_not_among_those_of_the_files(kind: str) -> None:
    """A Service is missed where others of its namespace are given; a port wherever its Service is; each once, at its line."""
    found = look(route(kind=kind), service("stable", port=9090)).findings
    assert [(item.severity, item.reason, item.field) for item in found] == [
        (Severity.ERROR, "WrongPort", "spec.rules[0].backendRefs[0].port"),
        (Severity.WARNING, "BackendNotFound", "spec.rules[0].backendRefs[1].name"),
    ]
    lines = dump(route(kind=kind)).splitlines()
    assert lines[found[0].line - 1].strip() == "port: 8080"
    assert lines[found[1].line - 1].strip() == "- name: shop-canary"
    assert found[0].text == (
        "Service shop-stable has no port 8080; its ports: 9090; correct the port of the backendRef, or give the Service that port"
    )
    assert found[0].subject == f"{kind} team-shop/shop"


def test_a_backend_is_told_once_however_many_rules_name_it() -> None:
    """Sixteen rules with the same mistake are one mistake."""
    rules = [{"matches": [{"path": {"value": f"/{n}"}}], "backendRefs": refs(1)} for n in range(16)]
    assert told(ruled(*rules), service("canary")) == [
        ("warning", "BackendNotFound", "spec.rules[0].backendRefs[0].name")
    ]


def test_other_backends_than_services_are_for_their_gateways() -> None:
    """A ServiceImport, or a Service of a mesh's own group, is nothing that files or grants could tell of."""
    other = {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "far", "port": 80, "namespace": "other"}
    assert told(ruled({"backendRefs": [other]}), *SERVICES, grant()) == []


def test_a_mirror_to_nowhere_is_told_with_what_it_does_to_users() -> None:
    """In a rule, or in one backend of it: on some gateways every request of the rule is answered with 500."""
    found = look(
        ruled({"name": "web", "filters": [mirrored("shadow")], "backendRefs": refs(1)}),
        *SERVICES,
    ).findings
    assert [(item.reason, item.field) for item in found] == [
        ("BackendNotFound", "spec.rules[0].filters[0].requestMirror.backendRef.name")
    ]
    assert (
        "and rule web sends copies there: some gateways then answer each of its requests with 500" in found[0].message
    )
    assert "take the mirror out, or correct it" in found[0].advice
    within = ruled({"backendRefs": [{"name": "shop-stable", "port": 8080, "filters": [mirrored("shop-canary", 1)]}]})
    assert told(within, *SERVICES) == [
        ("error", "WrongPort", "spec.rules[0].backendRefs[0].filters[0].requestMirror.backendRef.port")
    ]


@pytest.mark.parametrize("kind", ROUTES)
def test_a_namespace_is_crossed_by_leave(kind: str) -> None:
    """A grant of another kind, or to another namespace, is none; where no grant is given, nobody can tell."""
    far = {"name": "shop-canary", "port": 8080, "namespace": "other"}
    crossing = ruled({"backendRefs": [far]}, kind=kind)
    assert told(crossing) == []
    assert told(crossing, grant(kind)) == []
    for wrong in (grant("HTTPRoute" if kind != "HTTPRoute" else "GRPCRoute"), grant(kind, "team-pay")):
        assert told(crossing, wrong) == [("warning", "RefNotPermitted", "spec.rules[0].backendRefs[0].namespace")]
    assert words(crossing, grant(kind, "x")) == (
        f"no ReferenceGrant of namespace other in these files lets {kind} of namespace team-shop name Service shop-canary; "
        "the owners of other have to create one there"
    )


NOT_SERVED: list[tuple[str, Json, Json, str, str]] = [
    ("no listener of that name", listener(name="https"), {"sectionName": "http"}, "NoMatchingParent", "has no listener http"),
    ("no listener of that port", listener(), {"port": 81}, "NoMatchingParent", "has no listener port 81"),
    ("another kind", listener(allowedRoutes={"kinds": [{"kind": "GRPCRoute"}]}), {}, "NotAllowedByListeners", "takes HTTPRoutes"),
    ("another protocol", listener(protocol="TCP"), {}, "NotAllowedByListeners", "takes HTTPRoutes"),
    ("its own namespace", listener(), {"namespace": "infra"}, "NotAllowedByListeners", "its own namespace infra only"),
    (
        "namespaces by name",
        listener(allowedRoutes={"namespaces": {"from": "Selector", "selector": {"matchLabels": {
            "kubernetes.io/metadata.name": "team-pay"}}}}),
        {}, "NotAllowedByListeners", "namespaces with kubernetes.io/metadata.name=team-pay only",
    ),
    ("another hostname", listener(hostname="*.example.org"), {}, "NoMatchingListenerHostname", "is for shop.example.com"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "item", "parent", "reason", "part"), NOT_SERVED, ids=[row[0] for row in NOT_SERVED])
def test_listeners_that_would_not_take_a_route(case: str, item: Json, parent: Json, reason: str, part: str) -> None:
    """Where the Gateway is in the files, too, its listeners tell what it would say: an error, at the parentRef."""
    mine = ruled(
        {"backendRefs": refs(1)},
        hostnames=["shop.example.com"],
        parentRefs=[{"name": "other"}, {"name": "edge", **parent}],
    )
    edge = gateway(item, namespace=parent.get("namespace", "team-shop"))
    (found,) = look(mine, edge).findings
    assert (found.severity, found.reason, found.field) == (Severity.ERROR, reason, "spec.parentRefs[1]"), case
    assert part in found.message
    assert found.advice
    assert dump(mine).splitlines()[found.line - 1].strip() == "- name: edge"


def test_namespaces_are_chosen_by_labels_that_the_files_have() -> None:
    """A Namespace of the files has its labels, and its name as one; without it only the name can be told."""
    chosen = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}}
    by_name = {
        "namespaces": {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "team-shop"}}}
    }
    space: Json = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "team-shop", "labels": {"team": "pay"}},
    }
    edge = gateway(listener(allowedRoutes=chosen))
    assert told(route(), edge) == []
    assert told(route(), edge, space) == [("error", "NotAllowedByListeners", "spec.parentRefs[0]")]
    assert told(route(), gateway(listener(allowedRoutes=by_name)), space) == []


def test_a_route_without_parents_is_served_by_nobody() -> None:
    """Whatever else is there."""
    assert told(ruled({"backendRefs": refs(1)}, parentRefs=[])) == [("error", "RouteNotAttached", "spec.parentRefs")]


def test_what_a_file_has_as_status_is_nobodys_word() -> None:
    """A manifest that was read from a cluster years ago: its status is not what would be applied."""
    refused = [{"type": "Accepted", "status": "False", "reason": "Old", "observedGeneration": 1}]
    old = route() | {"status": {"parents": [{"parentRef": {"name": "edge"}, "conditions": refused}]}}
    assert told(old, gateway()) == []
    assert told(route() | {"status": "gone"}) == []


NOWHERE = [
    (None, {"backendRefs": refs(0, 0)}, "error", "spec.rules[0].backendRefs"),
    (None, {}, "warning", "spec.rules[0]"),
    (None, {"filters": [mirrored("shop-canary")]}, "warning", "spec.rules[0]"),
    ("HTTPRoute", {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}, "", ""),
    ("HTTPRoute", {"filters": [{"type": "ExtensionRef", "extensionRef": {"kind": "X", "name": "x"}}]}, "", ""),
    (None, {"backendRefs": refs(0, 1)}, "", ""),
    (None, {"backendRefs": refs(0, None)}, "", ""),
]


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute", "TCPRoute"])
@pytest.mark.parametrize(("only", "rule", "severity", "field"), NOWHERE)
def test_a_rule_that_sends_nothing_anywhere(kind: str, only: str | None, rule: Json, severity: str, field: str) -> None:
    """An error with weights that are all 0; a warning without backends, by which some close a path; a filter may answer."""
    if (only or kind) != kind or (kind == "TCPRoute" and "filters" in rule):
        return
    found = [item for item in told(ruled(rule, kind=kind)) if item[1] == "RuleSendsNowhere"]
    assert found == ([(severity, "RuleSendsNowhere", field)] if severity else [])


def test_what_happens_to_requests_of_such_a_rule_depends_on_the_kind() -> None:
    """By the words of the Gateway API, which says nothing of weights; a route without rules is one rule without backends."""
    assert "answers every request with 500" in words(ruled({}))
    assert "answers every call with UNAVAILABLE" in words(ruled({}, kind="GRPCRoute"))
    assert "refuses every connection" in words(ruled({}, kind="TLSRoute"))
    assert "none of its calls are sent anywhere: every one fails" in words(
        ruled({"backendRefs": refs(0, 0)}, kind="GRPCRoute")
    )
    assert "the route has no rules, so it" in words(ruled())


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((90, 5), "94.7 % / 5.3 %"),
        ((100, 10), "90.9 % / 9.1 %"),
        ((80, 10, 5), "84.2 % / 10.5 % / 5.3 %"),
        ((90, 10), ""),
        ((50, 50, 20), "41.7 % / 41.7 % / 16.7 %"),
        ((9, 1), ""),
        ((1, 1), ""),
        ((55, 55), ""),
        ((995, 5), ""),
        ((100, 0), ""),
        ((90, None), ""),
        ((60, 30, 10), ""),
        ((100, 100, 100), ""),
    ],
)
def test_weights_that_look_like_percentages_and_are_none(weights: tuple[int, ...], shares: str) -> None:
    """A sum that is almost 100: the shares that come of it are named. Other relative weights are as good as any."""
    found = look(ruled({"backendRefs": refs(*weights)})).findings
    assert [(item.severity.value, item.reason) for item in found] == (
        [("warning", "WeightsAreNoPercentages")] if shares else []
    )
    assert all(f"which makes {shares}: weights are relative" in item.message for item in found)


PREFIX = {"path": {"type": "PathPrefix", "value": "/a"}}
HIDDEN: list[tuple[str, list[list[Json]], bool]] = [
    ("twice the same path", [[PREFIX], [PREFIX]], True),
    ("defaults spelled out", [[], [{"path": {"type": "PathPrefix", "value": "/"}}]], True),
    ("both matches taken, by two rules", [[PREFIX], [{"method": "GET"}], [PREFIX, {"method": "GET"}]], True),
    ("one match is left", [[PREFIX], [PREFIX, {"method": "GET"}]], False),
    ("a longer prefix ranks higher", [[{}], [PREFIX]], False),
    ("a header more ranks higher", [[PREFIX], [{**PREFIX, "headers": [{"name": "x", "value": "a"}]}]], False),
    ("names of headers have no case", [
        [{"headers": [{"name": "X", "value": "a"}]}], [{"headers": [{"name": "x", "value": "a"}]}]], True),
    ("regular expressions are for gateways to order", [
        [{"path": {"type": "RegularExpression", "value": "/a.*"}}], [{"path": {"type": "RegularExpression", "value": "/a.*"}}]], False),
    ("a slash at the end is for gateways to order", [[PREFIX], [{"path": {"type": "PathPrefix", "value": "/a/"}}]], False),
]  # fmt: skip


@pytest.mark.parametrize(("case", "rules", "hidden"), HIDDEN, ids=[row[0] for row in HIDDEN])
def test_a_rule_that_never_gets_a_request(case: str, rules: list[list[Json]], hidden: bool) -> None:
    """Only where the Gateway API's own order proves it: one before it asks for no more, and ranks as high."""
    found = told(ruled(*({"matches": matches, "backendRefs": refs(1)} for matches in rules)))
    assert found == ([("warning", "RuleNeverMatches", f"spec.rules[{len(rules) - 1}]")] if hidden else []), case


def test_rules_of_connections_have_no_matches_and_stand_alone() -> None:
    """What the API server refuses or drops."""
    rule = {"matches": [{}], "filters": [mirrored("x")], "backendRefs": refs(1)}
    assert told(ruled(rule, rule, kind="TCPRoute")) == [
        ("error", "NotInThisKind", "spec.rules[0].matches"),
        ("error", "NotInThisKind", "spec.rules[1].matches"),
        ("warning", "NotInThisKind", "spec.rules[1]"),
    ]


MALFORMED = [
    ({"spec": None}, "", "it has no spec"),
    ({"spec": "x"}, "spec", "'x' is no object"),
    ({"spec": {"rules": {"a": 1}}}, "spec.rules", "{'a': 1} is no list"),
    ({"spec": {"rules": [None]}}, "spec.rules[0]", "None is no object"),
    ({"spec": {"parentRefs": [{"name": ""}]}}, "spec.parentRefs[0].name", "it is empty"),
    ({"spec": {"parentRefs": [{}]}}, "spec.parentRefs[0]", "it has no name"),
    ({"spec": {"hostnames": [5]}}, "spec.hostnames[0]", "5 is no text"),
    ({"spec": {"rules": [{"backendRefs": [{"name": "a", "port": "http"}]}]}}, "spec.rules[0].backendRefs[0].port", "no whole number"),
    ({"spec": {"rules": [{"backendRefs": [{"name": "a", "port": 0}]}]}}, "spec.rules[0].backendRefs[0].port", "range of 1 to 65535"),
    ({"spec": {"rules": [{"backendRefs": [{"name": "a", "weight": 1.5}]}]}}, "spec.rules[0].backendRefs[0].weight", "1.5 is no whole"),
    ({"spec": {"rules": [{"backendRefs": [{"name": "a", "weight": -1}]}]}}, "spec.rules[0].backendRefs[0].weight", "-1 is not in the"),
    ({"spec": {"rules": [{"matches": [{"headers": "x"}]}]}}, "spec.rules[0].matches[0].headers", "'x' is no list"),
    ({"metadata": None}, "metadata", "the route has no name"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "part"), MALFORMED)
def test_what_has_not_the_shape_of_a_route_is_told_where(change: Json, field: str, part: str) -> None:
    """And nothing else is said of that route, for nobody knows what it would be."""
    (found,) = look(route() | change, *SERVICES).findings
    assert (found.severity, found.reason, found.field) == (Severity.ERROR, "MalformedRoute", field)
    assert part in found.message


def test_only_routes_of_the_gateway_api_are_looked_at() -> None:
    """Not a Rollout beside them, not a kind of another group; doubles are told, of what is looked at."""
    stranger = route() | {"apiVersion": "example.com/v1", "spec": "x"}
    ours = {"apiVersion": "canary.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}, "spec": {"no": 1}}
    linted = look(stranger, ours, ours, route(), route())
    assert [document.subject for document in linted.looked_at] == ["HTTPRoute team-shop/shop"] * 2
    assert [finding.message for finding in linted.findings] == [
        "HTTPRoute team-shop/shop is given twice, first in m.yaml:22"
    ]


PUBLISHED = [
    ([mirrored("shop-canary")], ["HTTPRouteRequestMirror"], ""),
    ([mirrored("shop-canary")], ["HTTPRouteMethodMatching"], "HTTPRouteRequestMirror is not among it"),
    ([mirrored("shop-canary")], None, ""),
    (
        [mirrored("shop-canary", percent=5)],
        ["HTTPRouteRequestMirror"],
        "HTTPRouteRequestPercentageMirror is not among it",
    ),
    (
        [mirrored("shop-canary"), mirrored("shop-stable")],
        ["HTTPRouteRequestMirror"],
        "HTTPRouteRequestMultipleMirrors is not",
    ),
    ([], ["HTTPRouteMethodMatching"], ""),
]


@pytest.mark.parametrize(("filters", "features", "part"), PUBLISHED)
def test_a_mirror_that_a_gateway_says_it_cannot_do(filters: list[Json], features: list[str] | None, part: str) -> None:
    """Traefik accepts it, and then answers every request with 500. A class that publishes nothing is not held against a route."""
    named: Json = {"apiVersion": f"{GATEWAY_API}/v1", "kind": "GatewayClass", "metadata": {"name": "envoy"}}
    if features is not None:
        named["status"] = {"supportedFeatures": [{"name": name} for name in features]}
    mine = ruled({"filters": filters, "backendRefs": refs(1)})
    found = look(mine, gateway(), named).findings
    assert [(item.severity, item.reason) for item in found] == (
        [(Severity.ERROR, "UnsupportedFeature")] if part else []
    )
    assert all(f"GatewayClass envoy publishes what its gateways can, and {part}" in item.message for item in found)


EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/*/"))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_our_examples_are_clean(folder: Path) -> None:
    """What teams copy from us has nothing to object to."""
    documents = [
        document for file in sorted(folder.rglob("*.yaml")) for document in read(file.read_text(), str(file))[0]
    ]
    assert lint_routes(documents).findings == ()


# -- every reason in every form ------------------------------------------------------------------------------------

EACH: dict[str, list[Json]] = {
    "BackendNotFound": [route(), service("stable")],
    "WrongPort": [route(), service("stable", port=1), service("canary")],
    "RefNotPermitted": [ruled({"backendRefs": [{"name": "x", "port": 80, "namespace": "other"}]}), grant("TCPRoute")],
    "NoMatchingParent": [ruled({"backendRefs": refs(1)}, parentRefs=[{"name": "edge", "port": 1}]), gateway()],
    "NotAllowedByListeners": [route(kind="TCPRoute"), gateway()],
    "NoMatchingListenerHostname": [ruled({"backendRefs": refs(1)}, hostnames=["a"]), gateway(listener(hostname="b"))],
    "RouteNotAttached": [ruled({"backendRefs": refs(1)}, parentRefs=[])],
    "MalformedRoute": [route() | {"spec": 5}],
    "UnsupportedFeature": [
        ruled({"filters": [mirrored("shop-canary")], "backendRefs": refs(1)}),
        gateway(),
        {
            "apiVersion": f"{GATEWAY_API}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "status": {"supportedFeatures": ["HTTPRouteMethodMatching"]},
        },
    ],
    "NotInThisKind": [ruled({"matches": [{}], "backendRefs": refs(1)}, kind="UDPRoute")],
    "RuleSendsNowhere": [ruled({"backendRefs": refs(0)})],
    "WeightsAreNoPercentages": [ruled({"backendRefs": refs(90, 5)})],
    "RuleNeverMatches": [ruled({"backendRefs": refs(1)}, {"backendRefs": refs(1)})],
}  # fmt: skip


@pytest.mark.parametrize("reason", EACH)
def test_every_reason_is_in_every_form_with_its_line(reason: str) -> None:
    """What a person reads and what programs read is the same finding."""
    linted = look(*EACH[reason])
    (found,) = linted.findings
    assert found.reason == reason
    assert found.line > 0
    objects = tuple((document.file, document.position(())[0], document.subject) for document in linted.looked_at)
    report = Report(linted.findings, objects, files=1, strict=True)
    level = found.severity.value
    assert text(report).startswith(f"m.yaml:{found.line}:{found.column}: {level}: {found.subject}: ")
    assert f"[{reason}]" in text(report).splitlines()[0]
    (as_read,) = json.loads(as_json(report))["findings"]
    assert (as_read["reason"], as_read["line"], as_read["severity"]) == (reason, found.line, level)
    assert github(report).startswith(
        f"::{level} file=m.yaml,line={found.line},col={found.column},title=canary lint%3A "
    )
    (failure,) = ET.fromstring(junit(report)).iter("failure")
    assert failure.get("type") == reason
    assert found.message in (failure.text or "")
    (result,) = sarif_kit.results(json.loads(sarif(report)))
    assert (result["ruleId"], result["level"]) == (reason, level)
    assert sarif_kit.place(result) == ("m.yaml", found.line)


def said(status: str, generation: int) -> Json:
    conditions = [
        {"type": name, "status": status, "reason": "R", "message": "m", "observedGeneration": generation}
        for name in ("Accepted", "ResolvedRefs")
    ]
    return {"parents": [{"parentRef": {"name": "edge"}, "controllerName": "example.com/x", "conditions": conditions}]}


SERVED: dict[str, tuple[str, Json, list[Json]]] = {
    "refused": ("RoutesNotAccepted", said("False", 2), [gateway()]),
    "behind": ("RoutesNotAccepted", said("True", 1), [gateway()]),
    "silent": ("RouteNotAttached", {}, [gateway()]),
    "gone": ("ParentMissing", said("True", 2), []),
}


@pytest.mark.parametrize("case", SERVED)
def test_what_gateways_say_is_in_every_form_without_a_line(case: str) -> None:
    """A route of a cluster stands in no file: it is named instead, and somebody is told what to do."""
    reason, status, parents = SERVED[case]
    around = Around("the cluster")
    for kind in ("Gateway", "Service"):
        around.know(kind, None, known=True)
    for document in (*parents, *SERVICES):
        around.put(document["kind"], document)
    mine = route()
    mine["metadata"]["generation"] = 2
    (found,) = health({**mine, "status": status}, around, served=True, complete=True)
    assert (found.reason, found.field, found.file, found.line) == (reason, "spec.parentRefs[0]", "", 0)
    assert found.advice
    report = Report((found,), (("", 0, found.subject),), files=0, where="the cluster")
    assert text(report).startswith("error: HTTPRoute team-shop/shop: spec.parentRefs[0]: ")
    assert f"[{reason}]" in text(report)
    assert json.loads(as_json(report))["findings"][0]["reason"] == reason
    assert github(report).startswith(f"::error title=canary lint%3A HTTPRoute team-shop/shop%3A {reason}::")
    (failure,) = ET.fromstring(junit(report)).iter("failure")
    assert failure.get("type") == reason
    (result,) = sarif_kit.results(json.loads(sarif(report)))
    assert (result["ruleId"], list(result["locations"][0])) == (reason, ["logicalLocations"])


def test_a_route_that_is_served_is_clean() -> None:
    """Accepted at its generation, whatever else could not be looked at."""
    mine = route() | {"status": said("True", 2)}
    mine["metadata"]["generation"] = 2
    assert list(health(mine, Around("the cluster"), served=True, complete=True)) == []
