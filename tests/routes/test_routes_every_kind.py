"""Routes of every kind, as their definitions have them: an edit leaves a valid route and nothing changed that is not ours to change.

The definitions are those of the session: the released ones where GATEWAY_API_CRDS names a folder of them, else our concise ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import jsonpatch
import pytest
import yaml
from definitions import definition
from hypothesis import given, settings
from hypothesis import strategies as st
from routes_kit import CANARY, STABLE

from canary.kube import ROUTES
from canary.model.rollout import RouteKind
from canary.routes.edit import edit
from canary.routes.filters import Copied
from canary.routes.identity import marks, rekeyed
from canary.routes.intent import Intent, Mode, run_annotation
from canary.routes.kinds import FORMS
from canary.routes.pair import MAX_WEIGHT, Pair, Weights
from canary.routes.plan import RoutePlan
from canary.routes.reading import RouteReading
from canary_sandbox.apiserver import crd
from canary_sandbox.apiserver.schema import Schema
from canary_sandbox.cluster import gateway_api_crds

Json = dict[str, Any]

PAIR = Pair(STABLE, CANARY)
OURS = run_annotation("shop")
every_kind = pytest.mark.parametrize("kind", RouteKind)


@cache
def schema(kind: RouteKind) -> Schema:
    """What an API server checks a route of a kind against, in the version that is stored."""
    found = sorted(gateway_api_crds().glob(f"*{ROUTES[kind].plural}.yaml"))
    document = yaml.safe_load(found[0].read_text()) if found else definition(kind, "v1")
    stored = next(version["name"] for version in document["spec"]["versions"] if version["storage"])
    return next(resource.schema for resource in crd.resources(document) if resource.version == stored)


def kept(document: Json, kind: RouteKind) -> Json:
    """A route as an API server keeps it: what its definition does not know is gone, defaults are filled in, and it is valid."""
    document = copy.deepcopy(document)
    schema(kind).prune(document)
    schema(kind).default(document)
    errors = schema(kind).errors(document, None)
    assert not errors, [str(error) for error in errors]
    return document


# -- routes ----------------------------------------------------------------------------------------------------------

weights = st.one_of(st.none(), st.integers(0, 1000), st.just(MAX_WEIGHT))
copies = st.sampled_from((Fraction(1), Fraction(20), Fraction(100)))
divided = st.builds(Weights, weights, weights).filter(lambda given: given.total > 0)
HEADERS = {"set": [{"name": "x-canary", "value": "1"}], "remove": ["x-old"]}
FILTERS: dict[str, Json] = {
    "request": {"type": "RequestHeaderModifier", "requestHeaderModifier": HEADERS},
    "response": {"type": "ResponseHeaderModifier", "responseHeaderModifier": HEADERS},
    "mirror": {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}},
    "other": {"type": "ExtensionRef", "extensionRef": {"group": "example.org", "kind": "Limit", "name": "x"}},
}
filters = st.lists(st.sampled_from(sorted(FILTERS)), unique=True, max_size=3).map(
    lambda names: [FILTERS[name] for name in names]
)
PARENTS: list[Json] = [
    {"name": "public"},
    {"name": "public-b", "sectionName": "https", "namespace": "infra"},
    {"name": "extra", "kind": "ListenerSet", "port": 443},
    {"name": "shop", "kind": "Service", "group": "", "port": 80},
]
DECOYS: list[Json] = [
    {"name": "s", "port": 81},
    {"name": "c", "port": 80, "namespace": "other"},
    {"name": "s", "kind": "Bucket", "group": "storage.example.com"},
    {"name": "c", "kind": "Service", "group": "multicluster.x-k8s.io", "port": 80},
]
"""What is called as one of ours is, and is something else."""


def some(draw: st.DrawFn, **members: st.SearchStrategy[Any]) -> Json:
    """Some of these members."""
    return {name: draw(values) for name, values in members.items() if draw(st.booleans())}


@st.composite
def backend(draw: st.DrawFn, kind: RouteKind, named: Json) -> Json:
    weight = draw(weights)
    more = some(draw, filters=filters) if FORMS[kind].filters else {}
    return {**named, **more, **({} if weight is None else {"weight": weight})}


@st.composite
def match(draw: st.DrawFn, kind: RouteKind, word: str) -> Json:
    headers = st.just([{"name": "x-user", "value": "beta"}])
    if kind is RouteKind.GRPC:
        service = {"method": {"service": f"shop.{word}", "type": "Exact"}}
        return {**service, **some(draw, headers=headers)}
    params = st.just([{"name": "v", "value": "2"}])
    path = {"type": draw(st.sampled_from(("Exact", "PathPrefix"))), "value": f"/{word}"}
    return {"path": path, **some(draw, headers=headers, queryParams=params, method=st.sampled_from(("GET", "POST")))}


@st.composite
def rule(draw: st.DrawFn, kind: RouteKind, word: str, *, ours: bool) -> Json:
    """A rule that no other one of the route is alike: by its name, what it matches, or what it lists besides."""
    refs = [draw(backend(kind, {"name": name, "port": 80})) for name in (("s", "c") if ours else ("assets",))]
    refs += [draw(backend(kind, other)) for other in draw(st.lists(st.sampled_from(DECOYS), max_size=2, unique_by=str))]
    named = {"name": f"rule-{word}"} if draw(st.booleans()) else {}
    matched: Json = {}
    if kind is RouteKind.HTTP or (FORMS[kind].matches and draw(st.booleans())):
        matched = {"matches": [draw(match(kind, word))]}
    else:
        refs.append(draw(backend(kind, {"name": f"third-{word}", "port": 80})))
    more: Json = {}
    if FORMS[kind].filters:
        more |= some(draw, filters=filters, sessionPersistence=st.just({"sessionName": "s", "type": "Cookie"}))
    if kind is RouteKind.HTTP:
        timeouts = st.just({"request": "5s", "backendRequest": "2s"})
        more |= some(draw, timeouts=timeouts, retry=st.just({"attempts": 2, "codes": [503]}))
    return {**named, **matched, **more, "backendRefs": draw(st.permutations(refs))}


@st.composite
def routes(draw: st.DrawFn, kind: RouteKind) -> Json:
    """A valid route of a kind with our pair in at least one rule, as an API server keeps it."""
    word = iter("abcdefgh")
    own = [draw(rule(kind, next(word), ours=True)) for _ in range(draw(st.integers(1, most_rules(kind) or 3)))]
    others = [
        draw(rule(kind, next(word), ours=False)) for _ in range(0 if most_rules(kind) else draw(st.integers(0, 2)))
    ]
    hostnames: Json = {}
    if kind in {RouteKind.HTTP, RouteKind.GRPC, RouteKind.TLS}:
        hostnames = {"hostnames": ["shop.example.org", "*.shop.example.org"][: draw(st.integers(1, 2))]}
    annotations = draw(st.sampled_from(({}, {"annotations": {"a/b": "c"}}, {"annotations": {OURS: intent({}).dump()}})))
    document = {
        "apiVersion": ROUTES[kind].api_version,
        "kind": kind.value,
        "metadata": {"name": "shop", "namespace": "team", "generation": 3, "resourceVersion": "41", **annotations},
        "spec": {
            "parentRefs": draw(st.lists(st.sampled_from(PARENTS), min_size=1, max_size=4, unique_by=str)),
            **hostnames,
            "rules": draw(st.permutations([*own, *others])),
        },
    }
    return kept(document, kind)


def most_rules(kind: RouteKind) -> int:
    """How many rules a route of a kind may have, if that is one."""
    return 0 if FORMS[kind].matches else 1


def intent(given: Mapping[str, Weights]) -> Intent:
    return Intent("shop", "uid", 7, Mode.STEP, 2, dict(given), {key: Weights(None, 0) for key in given})


def drawn_plan(data: st.DataObject, document: Json) -> RoutePlan:
    """Weights for every rule that has the pair, or for some that have a name: a Rollout picks rules by nothing else."""
    keys = list(RouteReading(document).pairs(PAIR))
    if data.draw(st.booleans()):
        keys = [key for key in keys if not key.startswith("#") and data.draw(st.booleans())]
    return RoutePlan.dividing(PAIR, {key: data.draw(divided) for key in keys})


def masked(document: Json) -> Json:
    """The route without the weights of our pair and without our annotation."""
    document = copy.deepcopy(document)
    for pair in RouteReading(document).pairs(PAIR).values():
        refs = document["spec"]["rules"][pair.rule]["backendRefs"]
        refs[pair.stable].pop("weight", None)
        refs[pair.canary].pop("weight", None)
    annotations = document["metadata"].pop("annotations", None) or {}
    document["metadata"]["annotations"] = {name: value for name, value in annotations.items() if name != OURS}
    return document


# -- what people do to the rules meanwhile ---------------------------------------------------------------------------

People = Callable[[list[Json]], list[Json]]


@st.composite
def people(draw: st.DrawFn, kind: RouteKind, there: list[Json]) -> People:
    """Somebody inserts rules (with our pair, too, and like one of ours but for what it matches) or removes some; the order is another.

    Not both: one of ours that is replaced where it is passes for one that was edited (decision 0020). A kind of one rule keeps that.
    """
    if most_rules(kind):
        return lambda rules: rules
    fresh = [draw(rule(kind, word, ours=draw(st.booleans()))) for word in "yz"[: draw(st.integers(0, 2))]]
    if draw(st.booleans()):
        alike = copy.deepcopy(draw(st.sampled_from(there)))
        alike.pop("name", None)
        fresh.append({**alike, "matches": [draw(match(kind, "like"))]})
    document = {"metadata": {"name": "x"}, "spec": {"parentRefs": [PARENTS[0]], "rules": fresh}}
    fresh = kept(document, kind)["spec"]["rules"] if fresh else []
    places = range(len(there) + len(fresh))
    order = draw(st.permutations(places))
    left = list(places) if fresh else draw(st.lists(st.sampled_from(places), min_size=1, unique=True))
    return lambda rules: [copy.deepcopy([*rules, *fresh][place]) for place in order if place in left]


def edited(document: Json, hand: People) -> Json:
    """The route after somebody's hand, as the API server keeps it then."""
    document = copy.deepcopy(document)
    document["spec"]["rules"] = hand(document["spec"]["rules"])
    document["metadata"]["resourceVersion"] = "42"
    return document


# -- the promises ----------------------------------------------------------------------------------------------------


@every_kind
@settings(max_examples=40)
@given(data=st.data())
def test_an_edit_leaves_a_valid_route_and_only_our_weights_changed(kind: RouteKind, data: st.DataObject) -> None:
    """Whatever else a route of the kind may have is deep-equal before and after; the API server keeps what we asked for."""
    document = data.draw(routes(kind))
    plan = drawn_plan(data, document)
    said = data.draw(st.sampled_from((None, intent(plan.weights))))
    after = kept(jsonpatch.apply_patch(document, edit(document, plan, said, rollout="shop")), kind)
    assert masked(after) == masked(document)
    assert plan.kept(after) == ""
    for key, pair in RouteReading(after).pairs(PAIR).items():
        wanted = plan.weights.get(key, RouteReading(document).pairs(PAIR)[key].weights)
        assert pair.weights == wanted.filled
    assert RouteReading(after).intent("shop")[0] == said


@every_kind
@settings(max_examples=40)
@given(data=st.data())
def test_a_plan_and_the_way_back_are_nothing(kind: RouteKind, data: st.DataObject) -> None:
    """Weights, and copies where the kind has filters: the spec is what it was, and each edit leaves a valid route."""
    document = data.draw(routes(kind))
    for pair in RouteReading(document).pairs(PAIR).values():
        refs = document["spec"]["rules"][pair.rule]["backendRefs"]
        refs[pair.canary]["weight"], refs[pair.stable]["weight"] = 0, refs[pair.stable]["weight"] or 1
    pairs = RouteReading(document).pairs(PAIR)
    weights_ = drawn_plan(data, document).weights
    bare = {key: pair.document.get("filters") == [] for key, pair in pairs.items()}
    shares = {key: Copied(data.draw(copies), bare[key]) for key in weights_ if FORMS[kind].filters}
    plan = RoutePlan.dividing(PAIR, weights_, shares)
    after = kept(jsonpatch.apply_patch(document, edit(document, plan, intent(weights_), rollout="shop")), kind)
    assert plan.kept(after) == ""
    way = RoutePlan.back(PAIR, {key: pairs[key].weights for key in weights_}, shares, known=[*shares])
    back = kept(jsonpatch.apply_patch(after, edit(after, way, None, rollout="shop")), kind)
    assert back["spec"] == document["spec"]


@every_kind
@settings(max_examples=60)
@given(data=st.data())
def test_what_a_plan_did_is_taken_back_wherever_its_rules_are_now(kind: RouteKind, data: st.DataObject) -> None:
    """Rules were inserted, removed or ordered anew meanwhile: the route is as if only that had been done to it."""
    document = data.draw(routes(kind))
    plan = drawn_plan(data, document)
    pairs = RouteReading(document).pairs(PAIR)
    record = marks(pairs.values(), plan.weights)
    after = kept(jsonpatch.apply_patch(document, edit(document, plan, intent(plan.weights), rollout="shop")), kind)
    hand = data.draw(people(kind, document["spec"]["rules"]))
    now = edited(after, hand)
    keys = RouteReading(now).moved(PAIR, record)
    before = RoutePlan.dividing(PAIR, rekeyed({key: pairs[key].weights for key in plan.weights}, keys))
    back = kept(jsonpatch.apply_patch(now, edit(now, before, None, rollout="shop")), kind)
    assert back["spec"] == edited(document, hand)["spec"]


@every_kind
@settings(max_examples=60)
@given(data=st.data())
def test_a_patch_never_lands_on_a_rule_that_it_was_not_made_for(kind: RouteKind, data: st.DataObject) -> None:
    """Rules were inserted, removed or ordered anew between our read and our write: it is refused, or it does what it was to do."""
    document = data.draw(routes(kind))
    plan = drawn_plan(data, document)
    hand = data.draw(people(kind, document["spec"]["rules"]))
    now = edited(document, hand)
    patch = [op for op in edit(document, plan, None, rollout="shop") if "/metadata/" not in op["path"]]
    try:
        after = jsonpatch.apply_patch(now, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        return
    there = jsonpatch.apply_patch(document, patch)
    assert after["spec"]["rules"] == hand(there["spec"]["rules"])
