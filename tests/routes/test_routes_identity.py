"""A run finds its rules again wherever somebody moves them, and takes no other rule for one of them."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routes_kit import CANARY, STABLE, Json, ref, route, rule

from canary.routes.identity import moved, rule_digest, since_known
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import every_pair

BOTH = Pair(STABLE, CANARY)


def on(path: str, *, name: str | None = None, weights: tuple[int, int] = (9, 1), **more: object) -> Json:
    """A rule for a path that lists our pair."""
    return rule(ref("s", weights[0]), ref("c", weights[1]), name=name, matches=[{"path": {"value": path}}], **more)


def record(*rules: Json) -> dict[str, str]:
    """What a run keeps of a route with these rules."""
    return {pair.key: pair.digest for pair in every_pair(route(*rules), BOTH)}


def found(recorded: dict[str, str], *rules: Json) -> list[int]:
    return [pair.rule for pair in RouteReading(route(*rules)).recorded(BOTH, recorded)]


A, B, C = on("/a"), on("/b"), on("/c")
PAY = on("/a", name="pay")
EDITED = on("/a", filters=[{"type": "URLRewrite"}])

ROWS = [
    ("nothing moved", (A, B), (A, B), [0, 1]),
    ("a rule more in front", (A,), (C, A), [1]),
    ("a rule more without our pair in front", (A,), (rule(ref("x")), A), [1]),
    ("a rule less in front", (C, A), (A,), [0]),
    ("another order", (A, B), (B, A), [0, 1]),
    ("ours is gone and another is in its place", (A, B), (B,), [0]),
    ("a rule is given a name", (A,), (C, on("/a", name="pay")), [1]),
    ("a name is taken away", (on("/a", name="pay"),), (C, A), [1]),
    ("edited, and called the same", (on("/a", name="pay"),), (C, on("/b", name="pay")), [1]),
    ("another one has its name: it may be both", (on("/a", name="pay"),), (A, on("/b", name="pay")), [0, 1]),
    ("renamed, and another one has its name", (PAY,), (on("/a", name="pay1"), on("/b", name="pay"), C), [0, 1]),
    ("its name and its content are there, and a copy of it", (PAY,), (on("/a", name="pay1"), PAY), [1]),
    (
        "two that have exchanged their names",
        (PAY, on("/b", name="x")),
        (on("/a", name="x"), on("/b", name="pay")),
        [0, 1],
    ),
    ("renamed, to the name of one that is gone", (PAY, on("/b", name="x")), (on("/a", name="x"),), [0]),
    ("weights, timeouts and fields unknown to us do not count", (A,), (C, on("/a", weights=(1, 7), timeouts={})), [1]),
    ("edited where it is", (A,), (EDITED,), [0]),
    ("both edited where they are", (A, B), (EDITED, on("/z")), [0, 1]),
    ("edited, and another one came: nobody can tell", (A,), (C, EDITED), []),
    ("edited, and another one came that gives nothing", (A,), (on("/c", weights=(1, 0)), EDITED), [1]),
    (
        "both edited, in another order, and another one came",
        (A, B),
        (EDITED, on("/z"), on("/c", weights=(1, 0))),
        [0, 1],
    ),
    ("edited, and one that gives nothing is in another's place", (A, B), (on("/c", weights=(1, 0)), A), [1]),
    ("its match and stable's port", (A,), (rule(ref("s", 9, port=8080), ref("c", 1), matches=[]),), [0]),
    ("its match and the canary's port", (A,), (rule(ref("s", 9), ref("c", 1, port=8080), matches=[]),), [0]),
    ("its match, and stable is gone", (A,), (rule(ref("c", 1), matches=[]),), []),
    ("alike, and all of them moved", (A, A), (C, A, A), [1, 2]),
    ("alike, and one more: its place decides", (C, A), (A, A), [1]),
    ("gone", (A,), (), []),
]


@pytest.mark.parametrize(("before", "after", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_recorded_rule_is_found(before: tuple[Json, ...], after: tuple[Json, ...], expected: list[int]) -> None:
    """By name and content, else by either, then by its place where nothing speaks against it; else it is gone."""
    recorded = record(*before)
    if before == (C, A):
        recorded = {key: mark for key, mark in recorded.items() if key == "#1"}
    assert found(recorded, *after) == expected


@pytest.mark.parametrize(("rules", "expected"), [((A,), [0]), ((C, A), [0]), ((), [])])
def test_what_an_earlier_version_recorded_is_found_by_its_place(rules: tuple[Json, ...], expected: list[int]) -> None:
    """It kept nothing but a key."""
    assert found({"#0": ""}, *rules) == expected


def test_what_is_spelled_out_is_the_same_rule() -> None:
    """An API server fills in defaults: they identify nothing."""
    short = rule(ref("s", 1), ref("c"))
    long = rule(ref("s", 5, kind="Service", group="", namespace="team"), ref("c", 0))
    assert rule_digest(short, "team") == rule_digest(long, "team")
    assert rule_digest(short, "team") != rule_digest(rule(ref("s", 1, namespace="lab"), ref("c")), "team")


@given(st.data())
def test_moving_foreign_rules_never_leads_to_one_of_them(data: st.DataObject) -> None:
    """Whatever is inserted, removed and put elsewhere: each record leads to the very rule that it was made of."""
    paths = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1, max_size=8)
    every = data.draw(paths)
    ours = every[: data.draw(st.integers(1, len(every)))]
    documents = {path: on(f"/{path}", name=path if data.draw(st.booleans()) else None) for path in every}
    before = [documents[path] for path in every]
    mine = [documents[path] for path in ours]
    pairs = every_pair(route(*before), BOTH)
    recorded = {pair.key: pair.digest for pair in pairs if before[pair.rule] in mine}

    foreign = [documents[path] for path in every if path not in ours and data.draw(st.booleans())]
    foreign += [on(f"/new/{number}") for number in range(data.draw(st.integers(0, 2)))]
    after = data.draw(st.permutations([*copy.deepcopy(mine), *foreign]))
    for item in after:
        item["backendRefs"] = [ref("s", data.draw(st.integers(0, 9))), ref("c", data.draw(st.integers(0, 9)))]

    there = route(*after)
    assert [rule_digest(after[at], "team") for at in found(recorded, *after)] == [
        rule_digest(item, "team") for item in after if rule_digest(item, "team") in recorded.values()
    ]
    keys = moved(recorded, every_pair(there, BOTH))
    now = {pair.key: pair.digest for pair in every_pair(there, BOTH)}
    assert {keys.get(key, key) for key in recorded} == {key for key in now if now[key] in recorded.values()}
    assert all(now[keys.get(key, key)] == mark for key, mark in recorded.items())


def test_a_rule_that_is_gone_does_not_answer_for_the_one_in_its_place() -> None:
    """What was recorded of it is kept under what identifies it; back again, it is found by that."""
    recorded = record(A)
    keys = moved(recorded, every_pair(route(B, C), BOTH))
    assert keys == {"#0": f"#{recorded['#0']}"}
    kept = {keys[key]: mark for key, mark in recorded.items()}
    assert found(kept, B, A) == [1]
    assert moved(kept, every_pair(route(B, A), BOTH)) == {keys["#0"]: "#1"}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((on("/a", name="pay1"), on("/b", name="pay")), {"pay": "pay1"}),
        ((on("/a", name="pay1"), on("/b", name="pay", weights=(1, 0))), {"pay": "pay1"}),
        ((on("/a", name="pay1", weights=(1, 0)), on("/b", name="pay")), {}),
        ((on("/a", name="x"), on("/b", name="pay")), {"pay": "x", "x": "pay"}),
        ((on("/a", name="x", weights=(1, 0)), on("/b", name="pay")), {"pay": "x", "x": "pay"}),
        ((on("/b", name="pay"),), {}),
    ],
)
def test_what_is_on_record_goes_with_the_content(after: tuple[Json, ...], expected: dict[str, str]) -> None:
    """Unless only the rule that has the name gives the canary what was given: then nobody else can have lowered it there."""
    recorded = record(PAY, on("/b", name="x")) if "x" in expected else record(PAY)
    assert moved(recorded, every_pair(route(*after), BOTH)) == expected


@pytest.mark.parametrize(
    ("recorded", "known", "expected"),
    [
        ({"#0": "a", "#1": "b"}, {"#0": "a", "#1": "b"}, {}),
        ({"#0": "a", "#1": "b"}, {"#0": "b", "#a": "a"}, {"#0": "#a", "#1": "#0"}),
        ({"#0": "a", "#1": "b"}, {"#1": "a", "#2": "b"}, {"#0": "#1", "#1": "#2"}),
        ({"#0": "a", "#1": "b"}, {"#0": "edited", "#1": "b"}, {}),
        ({"#0": "a", "#1": "b"}, {"#0": "b", "#1": "edited"}, {"#1": "#0", "#0": "#a"}),
        ({"#0": "a", "#1": "a"}, {"#0": "x", "#1": "a"}, {}),
        ({"pay": "a", "#1": ""}, {"paying": "a"}, {"pay": "paying"}),
        ({"#0": "a"}, {}, {}),
    ],
    ids=[
        "the same",
        "one is gone",
        "one has come",
        "edited",
        "moved and edited",
        "two alike",
        "renamed",
        "nothing known",
    ],
)
def test_an_older_record_goes_by_the_keys_of_a_newer_one(
    recorded: dict[str, str], known: dict[str, str], expected: dict[str, str]
) -> None:
    """By what identified each rule, where that is of one rule alone."""
    assert since_known(recorded, known) == expected
