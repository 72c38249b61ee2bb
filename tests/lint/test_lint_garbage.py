"""No input makes lint crash: it is judged, or said to be malformed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lint_kit import Json, everything, rollout, route, service, template
from routes_kit import GATEWAY_API, ROUTES, gateway, grant

from canary.lint.report import Report, as_json, github, junit, text
from canary.lint.route_files import lint_routes
from canary.lint.run import Linted, lint
from canary.lint.sarif import sarif
from canary.lint.source import Document, read

Look = Callable[[Sequence[Document]], Linted]

MEMBERS = [
    "apiVersion", "kind", "metadata", "name", "namespace", "labels", "generation", "spec", "status", "parents", "parentRef",
    "conditions", "type", "reason", "observedGeneration", "parentRefs", "hostnames", "rules", "backendRefs", "filters",
    "matches", "path", "value", "headers", "queryParams", "method", "service", "port", "weight", "group", "sectionName",
    "requestMirror", "backendRef", "percent", "fraction", "listeners", "protocol", "hostname", "allowedRoutes", "namespaces",
    "from", "to", "selector", "matchLabels", "matchExpressions", "kinds", "gatewayClassName", "supportedFeatures", "ports",
    "controllerName", "sessionPersistence", "items", "routes", "steps", "checks", "template", "args", "stable", "canary",
]  # fmt: skip
words = st.sampled_from(["", "a", "*.a", "Exact", "edge", "shop", "10%"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.floats() | words,
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


@pytest.mark.parametrize("look", [lint, lint_routes])
@given(given_=st.lists(objects() | anything, max_size=4) | sets())
@example(
    given_=[
        {"kind": "GatewayClass", "apiVersion": GROUPS[0], "metadata": {"name": "e"}, "status": {"supportedFeatures": 5}}
    ]
)
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


@pytest.mark.parametrize("look", [lint, lint_routes])
@given(given_=st.text(st.sampled_from("a:-&*!|>{}[]#%@`'\",\n\t ?~<01e.\x00\x85\u2028"), max_size=60))
def test_no_text_makes_it_crash(look: Look, given_: str) -> None:
    """What is no YAML, or only just, is told and not raised."""
    found, _ = read(given_, "m.yaml")
    look(found)
