"""Route editing as data: nothing but two weights per rule and one annotation, or nothing at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonpatch
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from routes_kit import CANARY, STABLE, Json, ref, route, rule

from canary.routes.edit import edit
from canary.routes.intent import Intent, Mode, parse_intent, run_annotation
from canary.routes.pair import MAX_WEIGHT, Pair, Weights
from canary.routes.plan import RoutePlan
from canary.routes.rules import RulePair, read_pairs

RUN_ANNOTATION = run_annotation("shop")

INTENT = Intent("shop", "uid", 7, Mode.STEP, 2, {"#0": Weights(50, 50)}, {"#0": Weights(None, 0)})

jsons = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
extras = st.dictionaries(st.sampled_from(("x-a", "x/b", "x~c", "filters", "timeouts")), jsons, max_size=3)
weights = st.one_of(st.none(), st.integers(0, 1000))


@st.composite
def routes(draw: st.DrawFn) -> Json:
    """A route with a lot in it that is not ours."""
    rules = []
    for index in range(draw(st.integers(1, 3))):
        refs = [ref("s", draw(weights), **draw(extras)), ref("c", draw(weights), **draw(extras))]
        refs += [ref(f"third-{number}", draw(weights)) for number in range(draw(st.integers(0, 2)))]
        refs = draw(st.permutations(refs))
        name = draw(st.sampled_from((None, f"rule-{index}")))
        rules.append(rule(*refs, name=name, **draw(extras)))
    document = route(*draw(st.permutations([*rules, rule(ref("assets", 3))])))
    document["metadata"] |= draw(st.dictionaries(st.sampled_from(("labels", "x")), jsons, max_size=2))
    annotations = draw(st.sampled_from((None, {}, {"a/b": "c"}, {"a": "b", RUN_ANNOTATION: INTENT.dump()})))
    if annotations is not None:
        document["metadata"]["annotations"] = dict(annotations)
    return document


def masked(document: Json) -> Json:
    """The route without what is ours to change."""
    document = copy.deepcopy(document)
    for pair in read_pairs(document, Pair(STABLE, CANARY)):
        refs = document["spec"]["rules"][pair.rule]["backendRefs"]
        refs[pair.stable].pop("weight", None)
        refs[pair.canary].pop("weight", None)
    annotations = document["metadata"].pop("annotations", None) or {}
    document["metadata"]["annotations"] = {key: value for key, value in annotations.items() if key != RUN_ANNOTATION}
    return document


@settings(max_examples=60)
@given(routes(), st.data(), st.sampled_from((None, INTENT)))
def test_only_our_weights_and_our_annotation_change(document: Json, data: st.DataObject, intent: Intent | None) -> None:
    """Whatever else is in a route is deep-equal before and after, and what we asked for is there."""
    pairs = read_pairs(document, Pair(STABLE, CANARY))
    wanted = {pair.key: Weights(data.draw(weights), data.draw(weights)) for pair in pairs if data.draw(st.booleans())}
    patch = edit(document, plan(wanted), intent, rollout="shop")
    after = jsonpatch.apply_patch(document, patch)
    assert masked(after) == masked(document)
    for before, now in zip(pairs, read_pairs(after, Pair(STABLE, CANARY)), strict=True):
        assert now.weights == wanted.get(before.key, before.weights)
    said = (after["metadata"].get("annotations") or {}).get(RUN_ANNOTATION)
    assert parse_intent(said) == intent
    assert edit(after, plan(wanted), intent, rollout="shop") == []


def plan(weights: Mapping[str, Weights]) -> RoutePlan:
    return RoutePlan.dividing(Pair(STABLE, CANARY), weights)


def some_pairs(document: Json) -> tuple[RulePair, ...]:
    return read_pairs(document, Pair(STABLE, CANARY))


@settings(max_examples=60)
@given(routes(), st.data())
def test_the_way_back_leaves_nothing_of_a_plan(document: Json, data: st.DataObject) -> None:
    """Of a route whose canary had nothing everything is as it was, byte for byte, an absent weight absent; else the canary has nothing."""
    pairs = some_pairs(document)
    at_rest = data.draw(st.booleans())
    if at_rest:
        for pair in pairs:
            refs = document["spec"]["rules"][pair.rule]["backendRefs"]
            refs[pair.canary]["weight"] = 0
            if refs[pair.stable].get("weight") == 0:
                refs[pair.stable]["weight"] = 1
        pairs = some_pairs(document)
    wanted = {pair.key: Weights(data.draw(weights), data.draw(weights)) for pair in pairs}
    there = plan(wanted)
    after = jsonpatch.apply_patch(document, edit(document, there, INTENT, rollout="shop"))
    assert there.kept(after) == ""
    assert there.raises(document) == any(wanted[pair.key].share > pair.weights.share for pair in pairs)
    back = RoutePlan.back(Pair(STABLE, CANARY), {pair.key: pair.weights for pair in pairs})
    left = jsonpatch.apply_patch(after, edit(after, back, None, rollout="shop"))
    assert not back.raises(after)
    if at_rest:
        assert json.dumps(left["spec"], sort_keys=True) == json.dumps(document["spec"], sort_keys=True)
    assert all(pair.weights.share == 0 for pair in some_pairs(left))
    assert masked(left)["spec"] == masked(document)["spec"]


def test_what_is_kept_instead_is_said() -> None:
    """A weight that a webhook changed, and a rule that is not there; an absent weight is the 1 that is filled in."""
    there = plan({"#0": Weights(None, 7)})
    assert there.kept(route(rule(ref("s", 1), ref("c", 7)))) == ""
    assert "rule #0 of shop was given -/7, and the API server keeps 1/8" in there.kept(
        route(rule(ref("s", 1), ref("c", 8)))
    )
    assert "keeps nothing" in there.kept(route(rule(ref("s", 1))))


def test_a_rule_put_in_front_between_read_and_write_is_not_written() -> None:
    """It lists the same, with the same weights: a rule without a name is told by what it matches."""
    ours = rule(ref("s", 1), ref("c", 0), matches=[{"path": {"value": "/ours"}}])
    document = route(ours)
    patch = edit(document, plan({"#0": Weights(50, 50)}), None, rollout="shop")
    document["spec"]["rules"].insert(0, {**copy.deepcopy(ours), "matches": [{"path": {"value": "/new"}}]})
    with pytest.raises(jsonpatch.JsonPatchException):
        jsonpatch.apply_patch(document, patch)


BASE = route(
    rule(ref("x", 3), ref("s", 90), ref("c", 10), name="pay"),
    rule(ref("s"), ref("c", 0)),
    annotations={RUN_ANNOTATION: INTENT.dump(), "a": "b"},
)

MOVED: list[tuple[str, Callable[[Json], Any]]] = [
    ("stable's weight", lambda r: r["spec"]["rules"][0]["backendRefs"][1].update(weight=91)),
    ("the canary's weight", lambda r: r["spec"]["rules"][0]["backendRefs"][2].update(weight=11)),
    ("an absent weight that is there now", lambda r: r["spec"]["rules"][1]["backendRefs"][0].update(weight=1)),
    ("another field of our backendRef", lambda r: r["spec"]["rules"][0]["backendRefs"][2].update(filters=[])),
    ("the order of backendRefs", lambda r: r["spec"]["rules"][0]["backendRefs"].reverse()),
    ("a backendRef less", lambda r: r["spec"]["rules"][0]["backendRefs"].pop(0)),
    ("the rule's name", lambda r: r["spec"]["rules"][0].update(name="buy")),
    ("the order of rules", lambda r: r["spec"]["rules"].reverse()),
    ("a rule more in front", lambda r: r["spec"]["rules"].insert(0, rule(ref("z")))),
    ("the rules are gone", lambda r: r["spec"].pop("rules")),
    ("our annotation says another run", lambda r: r["metadata"]["annotations"].update({RUN_ANNOTATION: "{}"})),
    ("our annotation is gone", lambda r: r["metadata"]["annotations"].pop(RUN_ANNOTATION)),
    ("all annotations are gone", lambda r: r["metadata"].pop("annotations")),
]


@pytest.mark.parametrize(("what", "move"), MOVED, ids=[what for what, _ in MOVED])
def test_whatever_moved_of_what_was_read_makes_the_patch_fail(what: str, move: Callable[[Json], Any]) -> None:
    """Somebody wrote in between: the API server refuses the patch whole, and we read again."""
    pairs = some_pairs(BASE)
    patch = edit(BASE, plan({pair.key: Weights(50, 50) for pair in pairs}), None, rollout="shop")
    jsonpatch.apply_patch(BASE, patch)
    moved = copy.deepcopy(BASE)
    move(moved)
    with pytest.raises((jsonpatch.JsonPatchException, jsonpatch.JsonPointerException)):
        jsonpatch.apply_patch(moved, patch)


@settings(max_examples=60)
@given(routes(), st.data())
def test_any_other_weights_make_the_patch_fail(document: Json, data: st.DataObject) -> None:
    """Property of the above: the weights as they were read are guarded, absent ones included."""
    pairs = some_pairs(document)
    pair = data.draw(st.sampled_from(pairs))
    patch = edit(document, plan({pair.key: Weights(7_001, 2_999)}), INTENT, rollout="shop")
    moved = copy.deepcopy(document)
    target = moved["spec"]["rules"][pair.rule]["backendRefs"][data.draw(st.sampled_from((pair.stable, pair.canary)))]
    other = data.draw(weights)
    assume(other != target.get("weight"))
    target.pop("weight", None)
    if other is not None:
        target["weight"] = other
    with pytest.raises(jsonpatch.JsonPatchException):
        jsonpatch.apply_patch(moved, patch)


UNRELATED: list[tuple[str, Callable[[Json], Any]]] = [
    ("a third backend's weight", lambda r: r["spec"]["rules"][0]["backendRefs"][0].update(weight=4)),
    ("a filter of the rule", lambda r: r["spec"]["rules"][0].update(filters=[{"type": "URLRewrite"}])),
    ("a hostname", lambda r: r["spec"].update(hostnames=["a.example.org"])),
    ("another annotation", lambda r: r["metadata"]["annotations"].update(a="c")),
    ("the status, and with it the version", lambda r: r["metadata"].update(resourceVersion="42")),
]


@pytest.mark.parametrize(("what", "move"), UNRELATED, ids=[what for what, _ in UNRELATED])
def test_what_we_did_not_rely_on_may_move(what: str, move: Callable[[Json], Any]) -> None:
    """A patch is polite, not nervous: it does not fail over what is none of its business, and keeps it."""
    pairs = some_pairs(BASE)
    moved = copy.deepcopy(BASE)
    move(moved)
    after = jsonpatch.apply_patch(
        moved, edit(BASE, plan({pair.key: Weights(50, 50) for pair in pairs}), None, rollout="shop")
    )
    assert masked(after) == masked(moved)


@pytest.mark.parametrize("annotations", [None, {}, {"a": "b"}])
def test_a_claim_is_only_made_on_the_version_that_was_read(annotations: dict[str, str] | None) -> None:
    """Without an annotation to test, two controllers could both claim a route: the version stands in for it."""
    document = route(rule(ref("s", 1), ref("c", 0)))
    if annotations is not None:
        document["metadata"]["annotations"] = annotations
    patch = edit(document, plan({"#0": Weights(90, 10)}), INTENT, rollout="shop")
    after = jsonpatch.apply_patch(document, patch)
    assert after["metadata"]["annotations"] == {**(annotations or {}), RUN_ANNOTATION: INTENT.dump()}
    moved = copy.deepcopy(document)
    moved["metadata"]["resourceVersion"] = "42"
    with pytest.raises(jsonpatch.JsonPatchException):
        jsonpatch.apply_patch(moved, patch)


def test_tests_come_before_changes() -> None:
    """All that is relied on is tested before anything is touched."""
    pairs = some_pairs(BASE)
    ops = [op["op"] for op in edit(BASE, plan({pair.key: Weights(50, 50) for pair in pairs}), None, rollout="shop")]
    assert ops == sorted(ops, key=lambda op: op != "test")
    assert "test" in ops


def test_absent_weights_can_be_given_back() -> None:
    """What was absent before a run is absent after it."""
    document = route(rule(ref("s", 90), ref("c", 10)))
    after = jsonpatch.apply_patch(document, edit(document, plan({"#0": Weights(None, 0)}), None, rollout="shop"))
    assert after["spec"]["rules"][0]["backendRefs"] == [ref("s"), ref("c", 0)]


def test_removing_the_annotation_leaves_the_others() -> None:
    """And without weights to change, nothing else is tested."""
    patch = edit(BASE, plan({}), None, rollout="shop")
    assert [(op["op"], op["path"]) for op in patch] == [
        ("test", "/metadata/annotations/run.canary.dev~1shop"),
        ("remove", "/metadata/annotations/run.canary.dev~1shop"),
    ]
    assert jsonpatch.apply_patch(BASE, patch)["metadata"]["annotations"] == {"a": "b"}


def test_nothing_to_change_is_no_patch() -> None:
    """Not even a test: an empty patch is not sent."""
    pairs = some_pairs(BASE)
    assert edit(BASE, plan({pair.key: pair.weights for pair in pairs}), INTENT, rollout="shop") == []
    assert edit(BASE, plan({}), INTENT, rollout="shop") == []


# -- the annotation -----------------------------------------------------------------------------------------------

ours = st.builds(
    Weights, st.one_of(st.none(), st.integers(0, MAX_WEIGHT)), st.one_of(st.none(), st.integers(0, MAX_WEIGHT))
).filter(lambda weights: weights.total > 0)


@given(
    st.builds(
        Intent,
        rollout=st.text(max_size=63),
        uid=st.text(max_size=64),
        run=st.integers(1, 10**9),
        mode=st.sampled_from(Mode),
        step=st.integers(0, 64),
        weights=st.dictionaries(st.text(max_size=63), ours, max_size=16),
        baseline=st.dictionaries(st.text(max_size=63), ours, max_size=16),
        reason=st.just("Why"),
        message=st.text(max_size=512),
        turn=st.text(max_size=64),
    )
)
def test_an_intent_survives_the_annotation(intent: Intent) -> None:
    """What a route says about a run is what was written there."""
    assert parse_intent(intent.dump()) == intent
    assert parse_intent(intent.dump().replace('"baseline"', '"original"')) == intent, "what an earlier version wrote"


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "rollback",
        "{}",
        "[]",
        "null",
        "7",
        '{"rollout":"a"}',
        INTENT.dump().replace("step", "leap"),
        INTENT.dump().replace("50/50", "50"),
        INTENT.dump().replace("50/50", "-50/50"),
        INTENT.dump().replace('"run":7', '"run":"x"'),
        INTENT.dump().replace('{"#0":"50/50"}', "[]"),
        "[" * 100_000,
        *(
            INTENT.dump().replace('"run":7', f'"run":{number}')
            for number in ("Infinity", "NaN", "7.0", "true", "0", "-1", str(2**63))
        ),
        *(INTENT.dump().replace('"step":2', f'"step":{number}') for number in ("1e309", "65", "-1", "null")),
        INTENT.dump().replace("50/50", "0/0"),
        INTENT.dump().replace("50/50", "1000001/0"),
        INTENT.dump().replace("50/50", "\N{ARABIC-INDIC DIGIT FIVE}\N{ARABIC-INDIC DIGIT ZERO}/50"),
        INTENT.dump().replace("-/0", "0/0"),
        INTENT.dump().replace('"uid"', '"\\ud800"'),
        json.dumps(INTENT.dump()),
    ],
)
def test_what_is_not_ours_to_understand_is_no_intent(raw: str | None) -> None:
    """Anybody may write anything there; it never raises."""
    assert parse_intent(raw) is None


@given(st.text(alphabet="abc-.", min_size=1, max_size=253))
def test_the_annotations_name_is_one_that_an_api_server_takes(rollout: str) -> None:
    """At most 63 characters after the slash; two Rollouts never share one."""
    name = run_annotation(rollout).partition("/")[2]
    assert len(name) <= 63
    assert (name == rollout) == (len(rollout) <= 63)
    assert run_annotation(rollout) != run_annotation(rollout + "x")
