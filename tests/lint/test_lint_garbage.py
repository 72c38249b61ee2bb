"""No input makes lint crash: it is judged, or said to be malformed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lint_kit import Json, everything, rollout, route, service, template
from route_health_kit import GATEWAY_API, ROUTES, gateway, grant

from canary.lint.report import Report, as_json, github, junit, text
from canary.lint.route_files import lint_routes
from canary.lint.route_health import health
from canary.lint.run import Linted, lint
from canary.lint.sarif import sarif
from canary.lint.source import Document, read
from canary.lint.world import world_of
from canary.observe.around import Around

Look = Callable[[Sequence[Document]], Linted]

steady = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MEMBERS = [
    "apiVersion", "kind", "metadata", "name", "namespace", "labels", "generation", "spec", "status", "parents", "parentRef",
    "conditions", "type", "reason", "observedGeneration", "parentRefs", "hostnames", "rules", "backendRefs", "filters",
    "matches", "path", "value", "headers", "queryParams", "method", "service", "port", "weight", "group", "sectionName",
    "requestMirror", "backendRef", "percent", "fraction", "listeners", "protocol", "hostname", "allowedRoutes", "namespaces",
    "from", "to", "selector", "matchLabels", "matchExpressions", "kinds", "gatewayClassName", "supportedFeatures", "ports",
    "controllerName", "sessionPersistence", "items", "routes", "steps", "checks", "template", "args", "stable", "canary",
]  # fmt: skip
scalars = st.sampled_from(["", "a", "*.a", "Exact", "edge", "shop", "10%"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.floats() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5),
    max_leaves=12,
)
KINDS = [*ROUTES, "Gateway", "ListenerSet", "GatewayClass", "Service", "ReferenceGrant", "Namespace", "List", "Rollout"]
GROUPS = [f"{GATEWAY_API}/v1", "v1", "canary.dev/v1alpha1", "a/b", ""]
MIRRORING = rollout(steps=[{"mirror": {"percent": 20}, "hold": "5m"}, {"weight": 10, "rules": {"a": 5}, "hold": "5m"}])


@st.composite
def spoiled(draw: st.DrawFn, whole: Json) -> Any:
    """The object with up to three of its members, at any depth, replaced by anything."""
    found = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 3))):
        place, keys = found, list(found)
        while keys:
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.integers(0, 3)) == 0:
                place[key] = draw(anything)
                break
            place = place[key]
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    return found


@st.composite
def objects(draw: st.DrawFn) -> Any:
    """Of a kind that is looked at, in a group that it may not have."""
    kind = draw(st.sampled_from(KINDS))
    wholes = [route(kind=kind), gateway(), service("stable"), grant(), {"metadata": {"name": "edge"}}]
    whole: Json = draw(st.sampled_from(wholes))
    return draw(spoiled({**whole, "kind": kind, "apiVersion": draw(st.sampled_from(GROUPS))}))


@st.composite
def sets(draw: st.DrawFn) -> list[Any]:
    """A Rollout with all it names, some of it spoiled."""
    wholes = [draw(st.sampled_from([rollout(), MIRRORING])), *everything()[1:], template(), gateway(), grant()]
    return [draw(spoiled(whole)) if draw(st.booleans()) else whole for whole in wholes]


def against_a_cluster(documents: Sequence[Document]) -> Linted:
    """As `--live` looks, at a cluster that has all but the Rollout and its route."""
    there = world_of([("team-shop", document) for document in everything()[2:]], complete=True, place="the cluster")
    return lint(documents, there, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("look", [lint, lint_routes, against_a_cluster])
@steady
@given(given_=st.lists(objects() | anything, max_size=4) | sets())
@example(
    given_=[
        {"kind": "GatewayClass", "apiVersion": GROUPS[0], "metadata": {"name": "e"}, "status": {"supportedFeatures": 5}}
    ]
)
@example(given_=[rollout(), service("stable") | {"metadata": {"name": ["shop-stable"]}}])
@example(given_=[route(), {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "team-shop", "labels": "x"}}])
@example(given_=[rollout(), {**route(), "spec": {**route()["spec"], "parentRefs": 1}}])
def test_no_document_makes_it_crash(look: Look, given_: list[Any]) -> None:
    """However malformed its objects are, alone or in a List, and however little they belong together; the report can be written."""
    for document in (given_[0] if given_ else [], {"kind": "List", "items": given_}):
        found, wrong = read(json.dumps(document), "m.json")
        linted = look(found)
        report = Report((*wrong, *linted.findings), (), files=1)
        for form in (text, as_json, junit, github, sarif):
            form(report).encode("utf-8")
        assert all(finding.message for finding in linted.findings)


HEAD = "{kind: HTTPRoute, apiVersion: gateway.networking.k8s.io/v1, metadata: {name: x}, "
ODD = {
    "too deep for a reader that recurses": "[" * 20_000,
    "deep, and a route": f"{HEAD}spec: {'[' * 3_000}{']' * 3_000}}}",
    "within itself": "&a [*a]",
    "a route within itself": f"&a {HEAD}spec: *a}}",
    "a key that is a list": "? [a, b]\n: 1",
    "a set": "!!set {a, b}",
    "an object of Python's": "!!python/object/apply:os.system [x]",
    "merged with a number": "<<: 5",
    "a number of thousands of digits": f"{HEAD}spec: {{rules: [{{backendRefs: [{{name: a, port: {'9' * 6_000}}}]}}]}}}}",
    "not a number": f"{HEAD}spec: {{rules: [{{backendRefs: [{{name: a, port: .nan, weight: .inf}}]}}]}}}}",
    "bytes that are none": "!!binary '###'",
    "half a character": f'{HEAD}spec: {{hostnames: ["\\ud800"]}}}}',
}


@pytest.mark.parametrize("look", [lint, lint_routes])
@pytest.mark.parametrize("words", ODD)
def test_odd_yaml_is_told(look: Look, words: str) -> None:
    """What YAML can spell and no manifest should."""
    found, wrong = read(ODD[words], "m.yaml")
    linted = look(found)
    for form in (text, as_json, junit, github, sarif):
        form(Report((*wrong, *linted.findings), (), files=1)).encode("utf-8")
    if look is lint_routes:
        assert wrong or linted.findings, words


@pytest.mark.parametrize("look", [lint, lint_routes])
@steady
@given(given_=st.text(st.sampled_from("a:-&*!|>{}[]#%@`'\",\n\t ?~<01e.\x00\x85\u2028"), max_size=60))
def test_no_text_makes_it_crash(look: Look, given_: str) -> None:
    """What is no YAML, or only just, is told and not raised."""
    found, _ = read(given_, "m.yaml")
    look(found)


ACCEPTED = {
    "parents": [
        {
            "parentRef": {"name": "edge", "sectionName": "http", "port": 80},
            "controllerName": "example.com/x",
            "conditions": [
                {"type": name, "status": "True", "observedGeneration": 1, "reason": "R", "message": "m"}
                for name in ("Accepted", "ResolvedRefs")
            ],
        }
    ]
}


@steady
@given(data=st.data())
def test_no_object_of_a_cluster_makes_it_crash(data: st.DataObject) -> None:
    """Definitions of another version let other things pass: spec and status of what is read may be anything."""
    kind = data.draw(st.sampled_from(ROUTES))
    around = Around("the cluster")
    named = {"apiVersion": f"{GATEWAY_API}/v1", "kind": "GatewayClass", "metadata": {"name": "envoy"}}
    classy = {**named, "spec": {"controllerName": "example.com/x"}, "status": {"supportedFeatures": [{"name": "a"}]}}
    for whole in (gateway(), classy, service("stable"), grant()):
        around.put(whole["kind"], data.draw(inside(whole)))
        around.know(whole["kind"], None, known=True)
    mine = data.draw(inside({**route(kind=kind), "status": ACCEPTED}))
    for found in health(mine, around, served=True, complete=True):
        assert found.message
        assert found.advice


@st.composite
def inside(draw: st.DrawFn, whole: Json) -> Json:
    """The object with spec and status spoiled; its name is its name."""
    return {**whole, **draw(spoiled({part: whole[part] for part in ("spec", "status") if part in whole}))}
