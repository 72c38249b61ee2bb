"""Copies of requests: one filter of ours behind the filters of others, and gone without a trace."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from routes_kit import CANARY, STABLE, Json, ref, route, rule

import canary_sandbox
from canary.routes.edit import edit
from canary.routes.filters import Copied, copied, only_reads
from canary.routes.intent import Intent, Mode, parse_intent, run_annotation
from canary.routes.mirror import Mirror, NoMirror
from canary.routes.pair import Backend, Pair, Weights
from canary.routes.plan import RoutePlan
from canary.routes.rules import read_pairs
from canary_sandbox.apiserver.schema import Schema

PAIR = Pair(STABLE, CANARY)
RUN_ANNOTATION = run_annotation("shop")
FIFTH = Copied(Fraction(20))


def mirror_to(name: str, **more: Any) -> Json:
    """A RequestMirror filter to a Service."""
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}, **more}}


def header(value: str = "b") -> Json:
    """A filter that sets a header."""
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": value}]}}


@cache
def httproute() -> Schema:
    """What the API server takes for an HTTPRoute."""
    text = (Path(canary_sandbox.__file__).parent / "gatewayapi" / "httproutes.yaml").read_text()
    definition = yaml.safe_load(text)
    versions = {version["name"]: version for version in definition["spec"]["versions"]}
    return Schema(versions["v1"]["schema"]["openAPIV3Schema"])


def stored(document: Json) -> Json:
    """The route as an API server keeps it: defaults filled in."""
    document = copy.deepcopy(document)
    httproute().default(document)
    return document


others = st.sampled_from(
    (
        mirror_to("audit"),
        mirror_to("audit", percent=5),
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "c", "namespace": "theirs", "port": 80}}},
        {"type": "ExtensionRef", "extensionRef": {"group": "example.org", "kind": "Limit", "name": "slow"}},
    )
)
filters = st.one_of(
    st.none(),
    st.builds(lambda one, more: [*one, *more], st.sampled_from(([], [header()])), st.lists(others, max_size=3)),
)
shares = st.builds(
    lambda numerator, denominator: Fraction(100 * min(numerator, denominator), denominator),
    st.integers(1, 1000),
    st.integers(1, 1000),
)


@st.composite
def routes(draw: st.DrawFn) -> Json:
    """A valid route at rest, with filters of the team's own, rules with and without names, and third backends."""
    rules = []
    for index in range(draw(st.integers(1, 3))):
        refs = draw(
            st.permutations(
                [ref("s", draw(st.integers(1, 9))), ref("c", 0), *draw(st.sampled_from(([], [ref("t", 2)])))]
            )
        )
        found = draw(filters)
        more: Json = {} if found is None else {"filters": found}
        if draw(st.booleans()):
            method = draw(st.sampled_from(("GET", "HEAD", "POST")))
            more["matches"] = [{"path": {"type": "PathPrefix", "value": f"/{index}"}, "method": method}]
        rules.append(rule(*refs, name=draw(st.sampled_from((None, f"rule-{index}"))), **more))
    strangers = [rule(ref("assets", 3), filters=[mirror_to("c")])] if draw(st.booleans()) else []
    document = stored(route(*draw(st.permutations([*rules, *strangers]))))
    assert not httproute().errors(named(document), None)
    return document


def named(document: Json) -> Json:
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", **document}


def ours(document: Json) -> dict[str, Fraction]:
    """Of what share of the requests each rule with the pair sends copies to the canary."""
    found = {pair.key: copied(pair.document, PAIR.copied_to, "team") for pair in read_pairs(document, PAIR)}
    return {key: share for key, share in found.items() if share}


def applied(document: Json, plan: RoutePlan, intent: Intent | None = None) -> Json:
    after: Json = jsonpatch.apply_patch(document, edit(document, plan, intent, rollout="shop"))
    return after


def theirs(document: Json) -> list[list[Json]]:
    """The filters of every rule without ours."""
    by_rule = {pair.rule for pair in read_pairs(document, PAIR)}
    return [
        [
            item
            for item in rule_.get("filters", [])
            if index not in by_rule or not copied({"filters": [item]}, PAIR.copied_to, "team")
        ]
        for index, rule_ in enumerate(document["spec"]["rules"])
    ]


@settings(max_examples=80)
@given(routes(), st.data())
def test_a_mirror_is_the_last_filter_and_the_only_change(document: Json, data: st.DataObject) -> None:
    """In the rules that are meant, and in no other; with the share that is meant; the route is valid; everybody else's filters stay."""
    pairs = read_pairs(document, PAIR)
    wanted = {pair.key: Copied(data.draw(shares), pair.filters == 0) for pair in pairs if data.draw(st.booleans())}
    plan = RoutePlan.dividing(PAIR, {}, wanted)
    after = applied(document, plan)
    assert ours(after) == {key: said.share for key, said in wanted.items()}
    assert theirs(after) == theirs(document)
    for pair in read_pairs(after, PAIR):
        if pair.key in wanted:
            assert copied({"filters": pair.document["filters"][-1:]}, PAIR.copied_to, "team") == wanted[pair.key].share
    assert plan.kept(after) == plan.kept(stored(after)) == ""
    assert plan.raises(document) == bool(wanted)
    assert not httproute().errors(named(stored(after)), named(document))
    assert edit(stored(after), plan, None, rollout="shop") == []


@settings(max_examples=80)
@given(routes(), st.data())
def test_the_way_back_leaves_nothing_of_a_mirror(document: Json, data: st.DataObject) -> None:
    """Also together with weights: by what the annotation has, the route is what it was, byte for byte, an absent list absent."""
    pairs = read_pairs(document, PAIR)
    mirrors = {pair.key: Copied(data.draw(shares), pair.filters == 0) for pair in pairs if data.draw(st.booleans())}
    weights = {pair.key: Weights(data.draw(st.integers(1, 9)), data.draw(st.integers(0, 9))) for pair in pairs}
    baseline = {pair.key: pair.weights for pair in pairs}
    plan = RoutePlan.dividing(PAIR, weights, mirrors)
    intent = Intent("shop", "uid", 7, Mode.STEP, 1, plan.weights, baseline, PAIR, mirrors=plan.mirrors)
    during = stored(applied(document, plan, intent))
    said = parse_intent(during["metadata"]["annotations"][RUN_ANNOTATION])
    assert said == intent
    after = applied(during, RoutePlan.back(PAIR, said.baseline, said.mirrors))
    assert json.dumps(after["spec"], sort_keys=True) == json.dumps(document["spec"], sort_keys=True)


@settings(max_examples=60)
@given(routes(), shares, shares)
def test_another_share_takes_the_place_of_the_one_before(document: Json, first: Fraction, second: Fraction) -> None:
    """One filter says it, and nothing else moves."""
    keys = [pair.key for pair in read_pairs(document, PAIR)]
    once = applied(document, RoutePlan.dividing(PAIR, {}, {key: Copied(first) for key in keys}))
    again = applied(stored(once), RoutePlan.dividing(PAIR, {}, {key: Copied(second) for key in keys}))
    assert set(ours(again).values()) == {second}
    assert theirs(again) == theirs(document)
    assert [len(rule_.get("filters", [])) for rule_ in again["spec"]["rules"]] == [
        len(rule_.get("filters", [])) for rule_ in once["spec"]["rules"]
    ]


EDITED: list[tuple[str, Callable[[list[Json]], Any]]] = [
    ("the percentage", lambda found: found[-1]["requestMirror"].update(percent=50)),
    ("all requests", lambda found: found[-1]["requestMirror"].pop("percent")),
    (
        "a fraction instead",
        lambda found: found.__setitem__(-1, mirror_to("c", fraction={"numerator": 1, "denominator": 5})),
    ),
    (
        "defaults spelled out",
        lambda found: found[-1]["requestMirror"]["backendRef"].update(group="", kind="Service", namespace="team"),
    ),
    ("put in front", lambda found: found.insert(0, found.pop())),
    ("twice", lambda found: found.append(copy.deepcopy(found[-1]))),
    ("filters behind it", lambda found: found.append(mirror_to("audit"))),
]


@pytest.mark.parametrize(("what", "change"), EDITED, ids=[what for what, _ in EDITED])
def test_what_somebody_made_of_it_goes_all_the_same(what: str, change: Callable[[list[Json]], Any]) -> None:
    """Whatever sends copies to the canary where nothing did before is the run's; what others have added stays."""
    document = route(rule(ref("s"), ref("c", 0), filters=[header(), mirror_to("audit")]))
    during = applied(document, RoutePlan.dividing(PAIR, {}, {"#0": FIFTH}))
    change(during["spec"]["rules"][0]["filters"])
    expected = theirs(during)
    after = applied(during, RoutePlan.back(PAIR, {}, {"#0": FIFTH}))
    assert ours(after) == {}
    assert theirs(after) == expected, what


def test_more_than_was_written_is_put_back_with_one_filter() -> None:
    """Two filters to the canary become one again, with the share that was meant."""
    twice = route(
        rule(ref("s"), ref("c", 0), filters=[mirror_to("c", percent=20), header(), mirror_to("c", percent=20)])
    )
    after = applied(twice, RoutePlan.dividing(PAIR, {}, {"#0": FIFTH}))
    assert after["spec"]["rules"][0]["filters"] == [mirror_to("c", percent=20), header()]


def test_a_forged_record_takes_no_filter_but_mirrors_to_the_canary() -> None:
    """Whatever the annotation names: headers, mirrors to others, to another port or namespace, and rules without the pair stay."""
    kept = [header(), mirror_to("audit"), *others_to_c()]
    document = route(
        rule(ref("s"), ref("c", 0), name="pay", filters=kept),
        rule(ref("assets"), name="static", filters=[mirror_to("c"), header()]),
    )
    said = {
        key: Copied(Fraction(30), bare) for key, bare in (("pay", False), ("static", True), ("#7", False), ("", True))
    }
    assert edit(document, RoutePlan.back(PAIR, {}, said), None, rollout="shop") == []


def others_to_c() -> list[Json]:
    """Mirrors to what is called like the canary and is not it."""
    return [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "c", "namespace": "theirs", "port": 80}}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "c", "kind": "ServiceImport", "port": 80}}},
    ]


def to_port(port: int, **share: int) -> Json:
    """A filter that sends copies to the canary's Service on a port."""
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "c", "port": port}, **share}}


def test_the_canary_on_another_port_is_the_canary_where_no_filter_names_its_port() -> None:
    """As in a list of backends: somebody has edited a port over the whole route. Beside one that names the port it is another one."""
    pair = [ref("s"), ref("c", 0)]
    moved = route(rule(*pair, name="pay", filters=[header(), to_port(8080, percent=20)]))
    assert ours(moved) == {"pay": 20}
    assert edit(moved, RoutePlan.dividing(PAIR, {}, {"pay": FIFTH}), None, rollout="shop") == []
    back = applied(moved, RoutePlan.back(PAIR, {}, {"pay": FIFTH}))
    assert back["spec"]["rules"][0]["filters"] == [header()]
    both = route(rule(*pair, name="pay", filters=[to_port(8080), to_port(80, percent=20)]))
    assert ours(both) == {"pay": 20}
    back = applied(both, RoutePlan.back(PAIR, {}, {"pay": FIFTH}))
    assert back["spec"]["rules"][0]["filters"] == [to_port(8080)]


def test_of_two_ports_of_one_service_the_port_tells_who_gets_copies() -> None:
    """The other one is stable, and copies of its requests to itself are nobody's but the owner's."""
    pair = Pair(Backend("s", "team", 80), Backend("s", "team", 81))
    filters = [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "s", "port": 80}}}]
    document = route(rule(ref("s"), {**ref("s", 0), "port": 81}, name="pay", filters=filters))
    assert not any(copied(found.document, pair.copied_to, "team") for found in read_pairs(document, pair))


def test_where_somebody_took_the_pair_out_only_what_was_written_goes() -> None:
    """A rule without the pair may be another one: a mirror of another share is ours to take only where our own word says so."""
    document = route(rule(ref("s"), filters=[mirror_to("c", percent=20), header(), mirror_to("c", percent=30)]))
    after = applied(document, RoutePlan.back(PAIR, {}, {"#0": FIFTH}))
    assert after["spec"]["rules"][0]["filters"] == [header(), mirror_to("c", percent=30)]
    after = applied(document, RoutePlan.back(PAIR, {}, {"#0": FIFTH}, known={"#0"}))
    assert after["spec"]["rules"][0]["filters"] == [header()]


MOVED: list[tuple[str, Callable[[Json], Any]]] = [
    ("a filter more", lambda rules: rules[0]["filters"].append(header("x"))),
    ("a filter less", lambda rules: rules[0]["filters"].pop()),
    ("the rule's name", lambda rules: rules[0].update(name="buy")),
    ("a rule in front", lambda rules: rules.insert(0, rule(ref("z")))),
    ("filters where there were none", lambda rules: rules[1].update(filters=[header("x")])),
    ("anything of a rule without filters", lambda rules: rules[1].update(timeouts={"request": "1s"})),
]


@pytest.mark.parametrize(("what", "change"), MOVED, ids=[what for what, _ in MOVED])
def test_the_api_server_refuses_a_mirror_for_what_has_moved(what: str, change: Callable[[Json], Any]) -> None:
    """Somebody's filter, written between our read and our write, is never overwritten."""
    document = route(
        rule(ref("s"), ref("c", 0), name="pay", filters=[header()]),
        rule(ref("s"), ref("c", 0)),
    )
    # The version of the whole object is a guard as well, as long as the annotation is not there; here it shall not help.
    document["metadata"]["annotations"] = {RUN_ANNOTATION: Intent("shop", "uid", 7, Mode.STEP, 0).dump()}
    patch = edit(document, RoutePlan.dividing(PAIR, {}, {"pay": FIFTH, "#1": FIFTH}), None, rollout="shop")
    moved = copy.deepcopy(document)
    change(moved["spec"]["rules"])
    assert jsonpatch.apply_patch(document, patch)
    with pytest.raises(jsonpatch.JsonPatchException):
        jsonpatch.apply_patch(moved, patch)


def test_what_is_kept_instead_is_said() -> None:
    """A percentage that was pruned, a filter that was dropped, and one that was put back."""
    wanted, gone = RoutePlan(PAIR, (Mirror("#0", FIFTH),)), RoutePlan(PAIR, (NoMirror("#0"),))
    mirrored = route(rule(ref("s"), ref("c", 0), filters=[mirror_to("c")]))
    plain = route(rule(ref("s"), ref("c", 0)))
    assert "was to mirror 20 % of its requests to the canary, and the API server keeps 100 %" in wanted.kept(mirrored)
    assert "keeps 0 %" in wanted.kept(plain)
    assert "send no copies to the canary any more" in gone.kept(mirrored)
    assert gone.kept(plain) == ""


def test_a_rule_is_the_same_rule_while_it_mirrors() -> None:
    """Our filter is no part of what identifies a rule; a mirror of the team's own is."""
    plain, mirrored, audited = (
        read_pairs(route(rule(ref("s"), ref("c", 0), **more)), PAIR)[0].digest
        for more in ({}, {"filters": [mirror_to("c", percent=20)]}, {"filters": [mirror_to("audit")]})
    )
    assert plain == mirrored != audited


@pytest.mark.parametrize(
    ("matches", "reads"),
    [
        (None, False),
        ([], False),
        ([{"method": "GET"}], True),
        ([{"method": "GET"}, {"method": "HEAD", "path": {"value": "/x"}}, {"method": "OPTIONS"}], True),
        ([{"method": "GET"}, {"path": {"value": "/x"}}], False),
        ([{"method": "GET"}, {"method": "POST"}], False),
        ([{"method": "TRACE"}], False),
        ([{"method": {"type": "Exact", "service": "shop"}}], False),
    ],
)
def test_only_rules_of_safe_methods_only_read(matches: list[Json] | None, reads: bool) -> None:
    """Every match has to name one: a match without a method takes any, and so does a rule without matches."""
    assert only_reads({} if matches is None else {"matches": matches}) is reads


@pytest.mark.parametrize("text", ["", "20%", "-1", "101", "1/0", "20 [] ", "9999999999", "1/9999999999", "1.5", "²"])
def test_what_no_run_has_written_is_no_share(text: str) -> None:
    """What the annotation says is parsed at the door: such a record counts as absent."""
    with pytest.raises(ValueError, match="requests"):
        Copied.parse(text)
    document = json.loads(Intent("shop", "uid", 7, Mode.STEP, 1).dump()) | {"mirrors": {"#0": text}}
    assert parse_intent(json.dumps(document)) is None


@given(shares, st.booleans())
def test_a_share_is_read_as_it_was_written(share: Fraction, bare: bool) -> None:
    """Exactly, also a third."""
    assert Copied.parse(str(Copied(share, bare))) == Copied(share, bare)
