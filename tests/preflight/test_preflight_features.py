"""What steps need of gateways against what gateways offer: published, declared or seen, in that order; else nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.errors import ConfigError
from canary.model.rollout import RolloutSpec
from canary.preflight.findings import Reason
from canary.preflight.look import findings
from canary.preflight.objects import Absence, GatewayClass
from canary.preflight.offers import Platform, by_class, by_mesh, seen
from canary.preflight.parents import settle_time
from canary.preflight.support import support
from canary.preflight.surroundings import Documents, Place
from canary.routes.features import Feature, Offered, Source, missing
from canary.routes.key import RouteKey
from canary.routes.reading import RouteReading

Json = dict[str, Any]
TEAM = "team"
API = "gateway.networking.k8s.io"
MIRROR, PART = Feature.REQUEST_MIRROR, Feature.REQUEST_PERCENTAGE_MIRROR
KNOWN: tuple[Place, ...] = (("Gateway", ""), ("GatewayClass", ""))
ENVOY, CONTOUR = "gateway.envoyproxy.io/gatewayclass-controller", "projectcontour.io/gateway-controller"

features = st.lists(st.sampled_from(Feature), max_size=6)


@given(features, st.sets(st.sampled_from(Feature)), st.text(max_size=3))
def test_missing_is_what_is_needed_and_not_offered(needed: list[Feature], offered: set[Feature], other: str) -> None:
    """Each once, in the order of asking; what else is offered makes no difference."""
    found = missing(needed, Offered(frozenset({*map(str, offered), other}), Source.PUBLISHED, "c"))
    assert set(found) == {feature for feature in needed if feature not in offered and feature.value != other}
    assert list(found) == sorted(set(found), key=needed.index)


@given(features)
def test_where_nobody_tells_nothing_is_offered(needed: list[Feature]) -> None:
    """Unknown is not good."""
    assert set(missing(needed, Offered())) == set(needed)


def gateway_class(controller: str = ENVOY, version: str = "", published: Any = None) -> Json:
    labels = {"labels": {"app.kubernetes.io/version": version}} if version else {}
    status = {"status": {"supportedFeatures": published}} if published is not None else {}
    return {
        "kind": "GatewayClass",
        "metadata": {"name": "edge", **labels},
        "spec": {"controllerName": controller},
        **status,
    }


OBJECTS = [{"name": MIRROR.value}]
DECLARED = Platform({"edge": frozenset({MIRROR, PART})}, {"mesh": frozenset({MIRROR})})

OFFERS: list[tuple[str, Json, Platform, Source, set[str]]] = [
    ("published, as objects", gateway_class(published=OBJECTS), Platform(), Source.PUBLISHED, {MIRROR}),
    ("published, as strings of old", gateway_class(published=[PART.value]), Platform(), Source.PUBLISHED, {PART}),
    ("what is published counts more", gateway_class(published=OBJECTS), DECLARED, Source.PUBLISHED, {MIRROR}),
    ("an empty list publishes none", gateway_class(published=[]), DECLARED, Source.DECLARED, {MIRROR, PART}),
    ("declared counts more than seen", gateway_class(CONTOUR, "1.34"), DECLARED, Source.DECLARED, {MIRROR, PART}),
    ("declared for any class", gateway_class(), Platform({"*": frozenset({PART})}), Source.DECLARED, {PART}),
    ("declared that it can nothing", gateway_class(ENVOY, "1.9.1"), Platform({"edge": frozenset()}), Source.DECLARED, set()),
    ("seen in this version", gateway_class(ENVOY, "v1.9.1"), Platform(), Source.SEEN, {MIRROR, PART}),
    ("seen in a patch of it", gateway_class(CONTOUR, "1.34.2"), Platform(), Source.SEEN, {MIRROR}),
    ("another version was not seen", gateway_class(ENVOY, "1.9.10"), Platform(), Source.NONE, set()),
    ("no version was not seen", gateway_class(ENVOY), Platform(), Source.NONE, set()),
    ("nobody knows it", gateway_class("example.com/c", "1.9.1"), Platform(), Source.NONE, set()),
]  # fmt: skip


@pytest.mark.parametrize(("why", "document", "platform", "source", "offered"), OFFERS, ids=[case[0] for case in OFFERS])
def test_who_tells_what_a_class_offers(
    why: str, document: Json, platform: Platform, source: Source, offered: set[str]
) -> None:
    """The first who says anything is believed, and named."""
    found = by_class("edge", GatewayClass.read(document), platform)
    assert (why, found.source, set(found.features), found.gateway_class) == (why, source, offered, "edge")


def test_a_class_that_may_not_be_read_and_a_mesh() -> None:
    """Only the platform can tell: of any class, and of a mesh by its controllerName."""
    assert by_class("", Absence.UNKNOWN, DECLARED).source is Source.NONE
    assert by_class("", Absence.UNKNOWN, Platform({"*": frozenset({MIRROR})})).features == {MIRROR}
    assert by_mesh("mesh", DECLARED) == Offered(frozenset({MIRROR}), Source.DECLARED, "mesh")
    assert by_mesh("other", DECLARED).source is Source.NONE


def test_every_fact_names_its_source() -> None:
    """What was seen is of a controller and a version; where neither is given, nothing was seen."""
    assert seen(ENVOY, "1.9.1") == {MIRROR, PART}
    assert seen(CONTOUR, "1.34") == {MIRROR}, "Contour takes a percentage and mirrors all of it"
    assert seen(ENVOY, "") == seen("", "1.9.1") == frozenset()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gatewayClasses: {edge: {features: [HTTPRouteRequestMirror]}}\nmeshes: {}", ""),
        ("", ""),
        ("gatewayClasses: [", "no YAML"),
        ("gatewayClass: {}", "gatewayClass: Extra inputs are not permitted"),
        ("gatewayClasses: {edge: {}}", "gatewayClasses.edge: it declares nothing; give features, settleTime or both"),
        (
            "gatewayClasses: {edge: {settleTime: 5}}",
            "gatewayClasses.edge.settleTime: 5 is not a duration; write for example",
        ),
        ("meshes: {m: {settleTime: 601s}}", "meshes.m.settleTime: 601s is longer than 600s"),
        ("gatewayClasses: {edge: {features: [mirror]}}", "gatewayClasses.edge.features.0: String should match pattern"),
        ("- x", "Input should be a valid dictionary"),
    ],
)
def test_the_file_of_the_platform(text: str, words: str) -> None:
    """It is read whole or refused with the place: what nobody would heed is no declaration."""
    if not words:
        assert set(Platform.read(text).classes) == ({"edge"} if text else set())
        return
    with pytest.raises(ConfigError, match="--gateway-features") as caught:
        Platform.read(text)
    assert words in str(caught.value)


SLOW = Platform.read(
    """
    gatewayClasses:
      edge: {features: [HTTPRouteRequestMirror], settleTime: 500ms}
      slow: {settleTime: 1m}
      fast: {features: []}
    meshes:
      mesh: {settleTime: 7s}
    """
)
EVERY = Platform.read(
    "gatewayClasses: {'*': {settleTime: 4s}, slow: {settleTime: 1m}}\nmeshes: {'*': {settleTime: 3s}}"
)


def of_class(name: str, of: str) -> Json:
    return {"kind": "Gateway", "metadata": {"name": name, "namespace": TEAM}, "spec": {"gatewayClassName": of}}


LISTENER_SET = {
    "kind": "ListenerSet",
    "metadata": {"name": "team", "namespace": "app"},
    "spec": {"parentRef": {"name": "slow", "namespace": TEAM}},
}
GATEWAYS = [of_class("gw", "edge"), of_class("slow", "slow"), of_class("fast", "fast"), LISTENER_SET]
GW, SLOW_GW, MESH = {"name": "gw"}, {"name": "slow"}, {"group": "", "kind": "Service", "name": "s"}

SETTLES: list[tuple[str, list[Json], Platform, float]] = [
    ("nobody declares any", [GW], Platform(), 2),
    ("of its class", [GW], SLOW, 0.5),
    ("a class of which only features are declared", [{"name": "fast"}], SLOW, 2),
    ("the longest of two parents", [GW, SLOW_GW], SLOW, 60),
    ("in any order", [SLOW_GW, GW], SLOW, 60),
    ("a ListenerSet is of its Gateway's class", [{"kind": "ListenerSet", "name": "team", "namespace": "app"}], SLOW, 60),
    ("a mesh, by its controller", [MESH], SLOW, 7),
    ("a Gateway that nobody may read", [{"name": "hidden"}], SLOW, 2),
    ("every class that is not named", [GW], EVERY, 4),
    ("one that is", [SLOW_GW], EVERY, 60),
    ("a Gateway of which nobody knows the class", [{"name": "hidden"}], EVERY, 4),
    ("every mesh", [MESH], EVERY, 3),
]  # fmt: skip


@pytest.mark.parametrize(("why", "parents", "platform", "seconds"), SETTLES, ids=[case[0] for case in SETTLES])
def test_how_long_the_gateways_of_routes_settle(
    why: str, parents: list[Json], platform: Platform, seconds: float
) -> None:
    """As the platform declares it; of several parents, and of several routes, the longest."""
    around = Documents(GATEWAYS, KNOWN, platform=platform)
    assert (why, settle_time(route(*parents).answers, around).total_seconds()) == (why, seconds)
    both = settle_time((*route(*parents).answers, *route(GW).answers), around)
    assert both == max(settle_time(route(*parents).answers, around), settle_time(route(GW).answers, around))


def test_the_longest_settle_time_is_that_of_any_gateway_or_mesh() -> None:
    """And of those of which nothing is declared."""
    assert [each.longest_settle.total_seconds() for each in (Platform(), SLOW, EVERY)] == [2, 60, 60]
    assert Platform.read("meshes: {m: {settleTime: 9s}}").longest_settle.total_seconds() == 9
    assert Platform.read("gatewayClasses: {c: {settleTime: 0s}}").longest_settle.total_seconds() == 2


def test_what_settles_declares_no_features() -> None:
    """A class of which only the settle time is declared is asked for features as if it were not named."""
    there = GatewayClass.read(gateway_class())
    assert by_class("slow", there, SLOW).source is Source.NONE
    anywhere = Platform.read("gatewayClasses: {'*': {features: [HTTPRouteRequestMirror]}, slow: {settleTime: 1m}}")
    assert by_class("slow", there, anywhere).features == {MIRROR}


@pytest.mark.parametrize("page", ["install", "gateways"])
def test_the_file_that_the_documentation_shows_can_be_read(page: str) -> None:
    """As it stands there, comments and all."""
    text = (Path(__file__).parents[2] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    shown = [
        block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if block.startswith("gatewayClasses:")
    ]
    assert shown
    for block in shown:
        assert Platform.read(block).classes


def spec(*steps: Json, kind: str = "HTTPRoute") -> RolloutSpec:
    return RolloutSpec.model_validate(
        {
            "routes": [{"kind": kind, "name": "shop"}],
            "stable": {"service": "s", "port": 80},
            "canary": {"service": "c", "port": 80},
            "steps": list(steps),
        }
    )


def route(*parents: Json, filters: list[Json] | None = None, kind: str = "HTTPRoute") -> RouteReading:
    rule: Json = {"backendRefs": [{"name": "s", "port": 80, "weight": 1}, {"name": "c", "port": 80, "weight": 0}]}
    rule |= {"matches": [{"method": "GET"}], **({"filters": filters} if filters else {})}
    named = list(parents or ({"name": "gw"},))
    reports = [{"parentRef": parent, "controllerName": "mesh", "conditions": []} for parent in named]
    return RouteReading(
        {
            "kind": kind,
            "metadata": {"name": "shop", "namespace": TEAM, "generation": 1},
            "spec": {"parentRefs": named, "rules": [rule]},
            "status": {"parents": reports},
        }
    )


@pytest.mark.parametrize(("step", "field"), [(0, "spec.steps[0]"), (1, "spec.steps[1]")])
def test_the_first_step_that_asks_is_named(step: int, field: str) -> None:
    """A Rollout whose gateway nobody knows is told where it asks for too much; weights ask for nothing."""
    steps: list[Json] = [{"weight": 10}] * step + [{"mirror": {"percent": 100}}, {"mirror": {"percent": 20}}]
    reading = route()
    routes = {RouteKey.read(reading.document): reading}
    known = [
        finding
        for finding in findings(spec(*steps), TEAM, routes, Documents())
        if finding.field.startswith("spec.steps")
    ]
    assert [(finding.reason, finding.field) for finding in known] == [(Reason.UNSUPPORTED_FEATURE, field)]
    assert "HTTPRouteRequestMirror and HTTPRouteRequestPercentageMirror" in known[0].message
    quiet = findings(spec({"weight": 10}), TEAM, routes, Documents())
    assert not [finding for finding in quiet if finding.reason is Reason.UNSUPPORTED_FEATURE]


GATEWAY = {"kind": "Gateway", "metadata": {"name": "gw", "namespace": TEAM}, "spec": {"gatewayClassName": "edge"}}

FOUND: list[tuple[str, list[Json], Platform, list[str]]] = [
    ("it can", [GATEWAY, gateway_class(published=OBJECTS)], Platform(), []),
    (
        "published, without it",
        [GATEWAY, gateway_class(published=[{"name": "HTTPRoute"}])],
        DECLARED,
        ["GatewayClass edge publishes what its gateways can, and HTTPRouteRequestMirror is not among it; use a gateway that"],
    ),
    (
        "declared, without it",
        [GATEWAY, gateway_class()],
        Platform({"edge": frozenset()}),
        ["the platform declares what GatewayClass edge can, and HTTPRouteRequestMirror is not among it; the platform team has to"],
    ),
    (
        "nobody knows",
        [GATEWAY, gateway_class()],
        Platform(),
        [f"nothing, and what this version of {ENVOY} can was not seen; the platform team has to declare in --gateway-features"],
    ),
    ("nobody may look", [], Platform(), ["nobody says that the class of Gateway team/gw can do HTTPRouteRequestMirror"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "around", "platform", "words"), FOUND, ids=[case[0] for case in FOUND])
def test_the_sentence_says_who_would_allow_it(
    why: str, around: list[Json], platform: Platform, words: list[str]
) -> None:
    """One finding for the class, at the step that asks."""
    known = KNOWN if around else ()
    found = list(support(route(), {MIRROR: 2}, Documents(around, known, platform=platform)))
    assert (why, len(found)) == (why, len(words))
    for finding, part in zip(found, words, strict=True):
        assert (finding.reason, finding.field) == (Reason.UNSUPPORTED_FEATURE, "spec.steps[2]")
        assert part in finding.text


def test_each_class_and_each_mesh_is_told_once() -> None:
    """Two Gateways of a class are one finding; a mesh beside them is judged by its own controller."""
    other = {**GATEWAY, "metadata": {"name": "two", "namespace": TEAM}}
    mesh = {"group": "", "kind": "Service", "name": "s"}
    around = Documents([GATEWAY, other, gateway_class()], KNOWN, platform=Platform(meshes=DECLARED.meshes))
    (finding,) = support(route({"name": "gw"}, {"name": "two"}, mesh), {MIRROR: 0}, around)
    assert "GatewayClass edge" in finding.message
    (finding,) = support(route(mesh), {PART: 0}, around)
    assert "the platform declares what mesh mesh can" in finding.message
