"""A rule of ours in a route: put last, found wherever it is by then, taken away whole."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routes_kit import CANARY, STABLE, Json, ref, route, rule

from canary.routes.added import MOST_ADDED, Added, Spot, bounded
from canary.routes.added_refusals import Refused
from canary.routes.added_rule import added_rules
from canary.routes.adding import AddRule, RemoveRule, removals, standing, without
from canary.routes.edit import edit
from canary.routes.intent import Intent, Mode, parse_intent
from canary.routes.matching import Condition, FieldMatch
from canary.routes.pair import Pair, Weights
from canary.routes.plan import Entry, RoutePlan, SetWeights
from canary.routes.reading import RouteReading
from canary.routes.rules import every_pair

PAIR = Pair(STABLE, CANARY)
OPT_IN = Condition((FieldMatch("x-canary", "yes"),))


def patched(document: Json, *entries: Entry) -> Json:
    """The route after the one patch that a plan makes, annotation and guards included."""
    after: Json = jsonpatch.apply_patch(document, edit(document, RoutePlan(PAIR, entries), None, rollout="shop"))
    return after


def added(document: Json) -> tuple[AddRule, ...]:
    found = added_rules("HTTPRoute", document, every_pair(document, PAIR), (OPT_IN,))
    assert not isinstance(found, Refused)
    return found


def matched(value: str) -> list[Json]:
    return [{"path": {"type": "PathPrefix", "value": value}}]


@st.composite
def routes(draw: st.DrawFn) -> Json:
    rules = []
    for index in range(draw(st.integers(1, 4))):
        refs = draw(st.sampled_from([[ref("s", 90), ref("c", 10)], [ref("c"), ref("t", 2), ref("s", 5)], [ref("o")]]))
        more: Json = draw(st.sampled_from([{}, {"timeouts": {"request": "1s"}}, {"future": {"x~/y": [1]}}]))
        name = draw(st.sampled_from([None, f"rule-{index}"]))
        rules.append(rule(*refs, name=name, matches=matched(f"/{index}"), **more))
    return copy.deepcopy(route(rule(ref("s", 1), ref("c", 0), matches=matched("/ours")), *rules))


strangers = st.lists(
    st.sampled_from(["/new", "/newer"]).map(
        lambda value: rule(ref("s", 7), ref("c", 3), matches=matched(value), name=f"new{value[1:]}")
    ),
    max_size=2,
    unique_by=lambda each: str(each["name"]),
)


@settings(max_examples=100)
@given(routes())
def test_adding_and_removing_is_the_identity(document: Json) -> None:
    """Byte for byte."""
    before = json.dumps(document)
    plan = RoutePlan(PAIR, added(document))
    after = patched(document, *plan.entries)
    assert after["spec"]["rules"][: len(document["spec"]["rules"])] == document["spec"]["rules"]
    assert after["spec"]["rules"][len(document["spec"]["rules"]) :] == [each.rule for each in added(document)]
    assert plan.kept(after) == ""
    assert plan.raises(document)
    assert not plan.raises(after)
    assert plan.patch(after).changes == ()
    back = RoutePlan(PAIR, tuple(each.removal for each in added(document)))
    assert json.dumps(patched(after, *back.entries)) == before
    assert back.kept(document) == ""
    assert back.kept(after) != ""
    assert not back.raises(after)
    assert json.dumps(document) == before


@settings(max_examples=150)
@given(st.data(), routes(), strangers)
def test_it_goes_from_wherever_it_is_and_takes_nothing_else_along(
    data: st.DataObject, document: Json, came: list[Json]
) -> None:
    """Others inserted, removed and reordered rules meanwhile, also behind ours: theirs stay as they left them, weights included."""
    entries = added(document)
    after = patched(document, *entries)
    mine = [each.rule for each in entries]
    others = [each for each in after["spec"]["rules"] if each not in mine]
    left = [each for each in others if data.draw(st.booleans())]
    after["spec"]["rules"] = data.draw(st.permutations([*left, *came, *mine]))
    expected = copy.deepcopy(after)
    expected["spec"]["rules"] = [each for each in after["spec"]["rules"] if each not in mine]
    removals = data.draw(st.permutations([each.removal for each in entries]))
    assert json.dumps(patched(after, *removals)) == json.dumps(expected)
    assert json.dumps(without(RouteReading(after), PAIR, removals).document) == json.dumps(expected)


@settings(max_examples=150)
@given(st.data(), routes(), strangers)
def test_weights_of_other_rules_move_in_the_same_patch(data: st.DataObject, document: Json, came: list[Json]) -> None:
    """Rules are named by where they were read, those behind ours too, in whatever order a plan says it."""
    entries = added(document)
    after = patched(document, *entries)
    mine = [each.rule for each in entries]
    after["spec"]["rules"] = data.draw(st.permutations([*after["spec"]["rules"], *came]))
    weights = [SetWeights(key, Weights(50, 50)) for key in RouteReading(after).pairs(PAIR)]
    plan: list[Entry] = data.draw(st.permutations([*weights, *(each.removal for each in entries)]))
    expected = [each for each in copy.deepcopy(after["spec"]["rules"]) if each not in mine]
    for each in expected:
        roles = {"s": 50, "c": 50} if {"s", "c"} <= {one["name"] for one in each["backendRefs"]} else {}
        for one in each["backendRefs"]:
            one.update({"weight": roles[one["name"]]} if one["name"] in roles else {})
    assert patched(after, *plan)["spec"]["rules"] == expected


def test_a_rule_that_changed_meanwhile_makes_adding_fail() -> None:
    """How ours ranks was computed from all of them: whoever wrote any of them in between is looked at first."""
    document = route(rule(ref("s", 1), ref("c", 0)), rule(ref("o"), matches=matched("/o")))
    ops = edit(document, RoutePlan(PAIR, added(document)), None, rollout="shop")
    ours, theirs = document["spec"]["rules"]
    late = rule(ref("o"), matches=matched("/late"))
    for rules in ([ours, theirs | {"matches": matched("/other")}], [ours, theirs, late], [ours], [theirs, ours]):
        moved = {**document, "spec": {**document["spec"], "rules": rules}}
        with pytest.raises(jsonpatch.JsonPatchTestFailed):
            jsonpatch.apply_patch(moved, ops)


def test_a_rule_that_moved_meanwhile_makes_removing_fail() -> None:
    """What stands at its index by then is somebody else's."""
    document = route(rule(ref("s", 1), ref("c", 0)))
    entries = added(document)
    after = patched(document, *entries)
    ops = edit(after, RoutePlan(PAIR, (entries[0].removal,)), None, rollout="shop")
    after["spec"]["rules"].insert(1, rule(ref("o"), matches=matched("/o")))
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        jsonpatch.apply_patch(after, ops)


@pytest.mark.parametrize(
    "backends",
    [[ref("s", 1), ref("c", 0)], [ref("o", 1)], [ref("c", 0)], []],
    ids=["pair", "other", "no weight", "none"],
)
def test_a_forged_record_removes_no_rule_of_anybody_else(backends: list[Json]) -> None:
    """Whoever writes the digest of another rule into a record does not get that rule removed: it does not serve our canary alone."""
    document = route(rule(*backends, matches=matched("/")), rule(ref("o")))
    mark = AddRule.of(document["spec"]["rules"][0], "team").mark
    assert RoutePlan(PAIR, (RemoveRule(mark),)).patch(document).changes == ()


def test_of_two_that_are_alike_the_one_with_our_name_goes() -> None:
    """Somebody copied our rule under another name: theirs stays, wherever the two are; and a renamed one is still found."""
    document = route(rule(ref("s", 1), ref("c", 0), name="shop"))
    (entry,) = added(document)
    after = patched(document, entry)
    theirs = entry.rule | {"name": "theirs"}
    for place in (1, 2):
        both = copy.deepcopy(after)
        both["spec"]["rules"].insert(place, theirs)
        left = patched(both, entry.removal)
        assert left["spec"]["rules"] == [*document["spec"]["rules"], theirs]
        assert entry.removal.kept(RouteReading(left), PAIR) == ""
    renamed = copy.deepcopy(document)
    renamed["spec"]["rules"].append(theirs)
    assert patched(renamed, entry.removal) == document


ALTERED: list[tuple[str, dict[str, Any]]] = [
    ("the matches", {"matches": matched("/")}),
    ("the filters", {"filters": [{"type": "X"}]}),
    ("the backend", {"backendRefs": [ref("s", 1)]}),
    ("the weight", {"backendRefs": [ref("c", 0)]}),
    ("the backend's filters", {"backendRefs": [ref("c", 1, filters=[{"type": "X"}])]}),
    ("the name", {"name": "other"}),
    ("the timeouts", {"timeouts": {"request": "1s"}}),
]


@pytest.mark.parametrize(("part", "change"), ALTERED, ids=[part for part, _ in ALTERED])
def test_an_answer_that_keeps_another_rule_is_told(part: str, change: dict[str, Any]) -> None:
    """What admission changes, or an older definition drops, is no longer the rule that was computed."""
    document = route(rule(ref("s", 1), ref("c", 0), name="shop"))
    (entry,) = added(document)
    answer = patched(document, entry)
    assert entry.kept(RouteReading(answer), PAIR) == "", part
    answer["spec"]["rules"][-1] |= change
    assert "API server keeps" in entry.kept(RouteReading(answer), PAIR)


def test_what_an_api_server_fills_in_is_no_change() -> None:
    """Group and kind of a backendRef are spelled out in its answers."""
    document = route(rule(ref("s", 1), ref("c", 0)))
    (entry,) = added(document)
    answer = patched(document, entry)
    answer["spec"]["rules"][-1]["backendRefs"][0] |= {"group": "", "kind": "Service"}
    assert entry.kept(RouteReading(answer), PAIR) == ""


# -- what is on record ----------------------------------------------------------------------------------------------


records = st.builds(
    Added, st.booleans(), st.one_of(st.none(), st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?", fullmatch=True))
)


@given(st.dictionaries(st.text("0123456789abcdef", min_size=10, max_size=10), records, max_size=60))
def test_a_record_survives_the_annotation_and_is_bounded(record: dict[str, Added]) -> None:
    """All that is to be there is kept, and of what is gone what went last."""
    kept = bounded(record)
    there = [mark for mark, said in record.items() if said.there]
    assert len(kept) == min(MOST_ADDED, len(record))
    assert [mark for mark in record if mark in kept] == list(kept)
    assert set(there) <= set(kept) or all(said.there for said in kept.values())
    gone = [mark for mark, said in record.items() if not said.there]
    left = [mark for mark in gone if mark in kept]
    assert gone[len(gone) - len(left) :] == left
    intent = Intent("shop", "uid", 7, Mode.STEP, 1, added=kept)
    assert parse_intent(intent.dump()) == intent


@pytest.mark.parametrize(
    "added",
    [
        "x",
        [],
        {"a": 1},
        {"a": "yes"},
        {"a": "+A"},
        {"a": "+-"},
        {"a": "*"},
        {f"{n}": "+" for n in range(MOST_ADDED + 1)},
    ],
)
def test_a_record_that_makes_no_sense_makes_the_whole_annotation_none(added: Any) -> None:
    """Anybody may write anything there; it never raises."""
    said = json.loads(Intent("shop", "uid", 7, Mode.STEP, 1).dump()) | {"added": added}
    assert parse_intent(json.dumps(said)) is None


def test_filters_of_all_rules_may_be_edited() -> None:
    """The rule is still ours: its filters are put back by the next plan, and it goes when its time is over."""
    document = route(rule(ref("s", 1), ref("c", 0)))
    (entry,) = added(document)
    after = patched(document, entry)
    after["spec"]["rules"][-1]["filters"] = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "audit"}}}
    ]
    there = standing(RouteReading(after), PAIR, {entry.mark: Added(there=True)})
    assert there.said != {entry.mark: entry.said}
    assert patched(after, entry)["spec"]["rules"][-1] == entry.rule
    assert patched(after, entry.removal)["spec"] == document["spec"]


@pytest.mark.parametrize(("more", "goes"), [({}, True), ({"filters": [{"type": "RequestRedirect"}]}, False)])
def test_a_rule_without_any_backend_is_ours_unless_it_needs_none(more: Json, goes: bool) -> None:
    """Somebody took the canary out of all rules: what is left would answer those who opt in with 500."""
    document = route(rule(ref("s", 1), ref("c", 0)))
    (entry,) = added(document)
    after = patched(document, entry)
    after["spec"]["rules"][-1] |= {"backendRefs": [], **more}
    there = standing(RouteReading(after), PAIR, {entry.mark: Added(there=True)})
    assert there.said == ({entry.mark: ""} if goes else {})
    assert (len(patched(after, entry.removal)["spec"]["rules"]) == 1) is goes
    if goes:
        assert entry.raises(RouteReading(after), PAIR)
        assert patched(after, entry)["spec"]["rules"][-1] == entry.rule


OWN_RULES: dict[str, Json] = {
    "for others only": {"backendRefs": [ref("o", 1)]},
    "a redirect": {"backendRefs": [], "filters": [{"type": "RequestRedirect"}]},
    "by a name of their own": {"name": "theirs", "backendRefs": [ref("c", 0)]},
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("change", OWN_RULES.values(), ids=OWN_RULES.keys())
def test_what_its_owner_has_made_their_own_stays(change: Json, *, named: bool, known: bool) -> None:
    """For the same requests, in the same place: nobody but us gives our name, and what is for others, or redirects, is no rule for the canary."""
    document = route(rule(ref("s", 1), ref("c", 0), name="main" if named else None))
    (entry,) = added(document)
    after = patched(document, entry)
    after["spec"]["rules"][-1] |= change
    record = {entry.mark: Added(there=True, name=entry.rule.get("name"), known=known, spot=Spot(1, 2))}
    assert standing(RouteReading(after), PAIR, record).said == {}
    assert RoutePlan(PAIR, (*removals(record),)).patch(after).changes == ()


def test_an_edited_rule_without_a_name_is_told_by_our_own_record_alone() -> None:
    """Other weights, or what it matches in the place where it was: by the word of the route it is nobody's. Nor is one where a rule came or went."""
    document = route(rule(ref("s", 1), ref("c", 0)))
    (entry,) = added(document)
    assert entry.spot == Spot(1, 2)
    divided, popped = patched(document, entry), patched(document, entry)
    divided["spec"]["rules"][-1]["backendRefs"] = [ref("s", 9), ref("c", 1)]
    popped["spec"]["rules"][-1]["matches"][0]["headers"] = []
    for edited, share in ((divided, 10), (popped, 100)):
        told = {entry.mark: Added(there=True)}
        known = {entry.mark: Added(there=True, known=True, spot=entry.spot)}
        assert standing(RouteReading(edited), PAIR, told).said == {}
        there = standing(RouteReading(edited), PAIR, known)
        assert there.said[entry.mark] not in {"", entry.said}
        assert there.shares == {entry.mark: share}
        assert (entry.mark in there.rematched) is (edited is popped)
        assert patched(edited, *removals(known)) == document
        assert patched(edited, entry.among(known))["spec"]["rules"][-1] == entry.rule
    assert not entry.narrowed_to("HTTPRoute", popped["spec"]["rules"][-1])
    popped["spec"]["rules"].append(rule(ref("o"), matches=matched("/o")))
    assert standing(RouteReading(popped), PAIR, known).said == {}


def test_of_two_rules_on_record_neither_is_taken_for_the_other() -> None:
    """One goes and another comes in its place, in one patch: what is there then is the other."""
    document = route(rule(ref("s", 1), ref("c", 0)))
    (entry,) = added(document)
    after = patched(document, entry)
    (other,) = (each for each in added(route(rule(ref("s", 1), ref("c", 0), matches=matched("/other")))))
    record = {entry.mark: Added(there=True, known=True, spot=entry.spot)}
    plan = RoutePlan(PAIR, (*removals(record, besides={other.mark}), other))
    answer = patched(after, *plan.entries)
    assert answer["spec"]["rules"][1:] == [other.rule]
    assert plan.kept(answer, after) == ""
    both = {**record, other.mark: Added(there=True, known=True, spot=other.spot)}
    assert standing(RouteReading(answer), PAIR, both).said == {other.mark: other.said}


def test_what_stands_behind_is_named() -> None:
    """Rules of others, by their names or places; ours among each other are not behind."""
    document = route(
        rule(ref("s", 1), ref("c", 0), matches=matched("/a")), rule(ref("s", 1), ref("c", 0), matches=matched("/b"))
    )
    entries = added(document)
    after = patched(document, *entries)
    record = {entry.mark: Added(there=True) for entry in entries}
    assert standing(RouteReading(after), PAIR, record).behind == ()
    after["spec"]["rules"] += [rule(ref("o"), name="late"), rule(ref("o"))]
    assert standing(RouteReading(after), PAIR, record).behind == ("late", "#5")


def test_weights_of_rules_that_moved_up_are_compared_where_they_are_then() -> None:
    """A rule with the pair and no name stands behind one that goes in the same patch."""
    document = route(rule(ref("s", 1), ref("c", 0), matches=matched("/a")))
    entries = added(document)
    after = patched(document, *entries)
    after["spec"]["rules"].append(rule(ref("s", 1), ref("c", 0), matches=matched("/late")))
    plan = RoutePlan.dividing(PAIR, {"#0": Weights(90, 10), "#2": Weights(40, 60)}, rules=[e.removal for e in entries])
    answer = patched(after, *plan.entries)
    assert len(answer["spec"]["rules"]) == 2
    assert plan.kept(answer, after) == ""
    answer["spec"]["rules"][1]["backendRefs"][0]["weight"] = 1
    assert "was given 40/60" in plan.kept(answer, after)
