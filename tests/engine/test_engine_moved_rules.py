"""Rules that people insert, remove and reorder in the middle of a run are not taken for those that the run has written."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, begun, route, rule

from canary.routes.intent import parse_intent, run_annotation

Json = dict[str, Any]
RUN_ANNOTATION = run_annotation("shop")


def on(path: str, **more: Any) -> Json:
    """A rule with our pair for a path of its own."""
    return {**rule(**more), "matches": [{"path": {"type": "PathPrefix", "value": path}}]}


def at_half(*rules: Json) -> World:
    world = begun(routes={"shop": route("shop", *rules)})
    world.pass_step()
    assert world.share() == 50
    return world


def weights(world: World) -> dict[str, tuple[int | None, int | None]]:
    """Weights of the pair by path, of the rules that have it."""
    found = {}
    for item in world.routes["shop"]["spec"]["rules"]:
        refs = {ref["name"]: ref.get("weight") for ref in item["backendRefs"]}
        if {"s", "c"} <= refs.keys():
            found[item["matches"][0]["path"]["value"]] = (refs["s"], refs["c"])
    return found


def insert(world: World, at: int, *rules: Json) -> None:
    world.edit_route("shop", lambda document: document["spec"]["rules"].__setitem__(slice(at, at), [*rules]))


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("strip", [False, True])
def test_a_rule_inserted_before_ours_is_not_given_what_ours_had(crash: bool, strip: bool) -> None:
    """Each gets back what it had itself, also where nothing but the status is left to tell."""
    world = at_half(on("/ours", stable=3, canary=0))
    if strip:
        world.crash()
        world.strip()
    elif crash:
        world.crash()
    insert(world, 0, on("/new", stable=7, canary=0))
    world.run()
    world.ask("abort")
    world.wait(30)
    assert weights(world) == {"/new": (7, 0), "/ours": (3, 0)}
    assert not world.annotated()


def test_the_run_goes_on_with_its_rule_at_its_new_place() -> None:
    """Nobody has changed a weight of it: nothing is put back, nobody is blamed, and it is given the next share."""
    world = at_half(on("/ours", stable=3, canary=0))
    insert(world, 0, {"backendRefs": [{"name": "assets", "port": 80}]})
    before = list(world.reasons)
    world.run()
    assert world.reasons == before
    world.pass_step()
    assert weights(world) == {"/ours": (0, 100)}


def test_a_rule_edited_where_it_is_stays_ours() -> None:
    """Its weights are put back as they were before the run."""
    world = at_half(on("/ours", stable=3, canary=0))
    world.edit_route("shop", lambda document: document["spec"]["rules"][0].update(filters=[]))
    world.run()
    world.ask("abort")
    world.wait(30)
    assert weights(world) == {"/ours": (3, 0)}


def test_what_an_earlier_version_wrote_is_read_by_place() -> None:
    """An annotation and a status without digests lead on as they did."""
    world = at_half(on("/ours", stable=3, canary=0))
    world.crash()
    annotations = world.routes["shop"]["metadata"]["annotations"]
    said = json.loads(annotations[RUN_ANNOTATION])
    del said["rules"]
    annotations[RUN_ANNOTATION] = json.dumps(said)
    for remembered in world.recorded["routes"]:
        remembered.pop("rules", None)
    world.run()
    world.ask("abort")
    world.wait(30)
    assert weights(world) == {"/ours": (3, 0)}


def test_the_annotation_says_what_identifies_each_rule() -> None:
    """So that a restart, with nothing else to go by, finds it."""
    world = at_half(on("/a"), on("/b"))
    intent = parse_intent(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION])
    assert intent is not None
    assert intent.rules.keys() == {"#0", "#1"}
    assert len(set(intent.rules.values())) == 2


@settings(max_examples=40)
@given(st.data())
def test_whatever_people_do_to_the_order_each_rule_ends_as_it_was(data: st.DataObject) -> None:
    """Foreign rules come, go and change places at any step; ours end with the very weights of before the run."""
    ours = {f"/ours/{n}": (data.draw(st.integers(1, 9)), 0) for n in range(data.draw(st.integers(1, 3)))}
    rules = [on(path, stable=stable, canary=canary) for path, (stable, canary) in ours.items()]
    world = begun(routes={"shop": route("shop", *rules)})
    expected: dict[str, tuple[int | None, int | None]] = dict(ours)
    fresh = 0
    for _ in range(data.draw(st.integers(1, 3))):
        match data.draw(st.sampled_from(("insert", "stranger", "remove", "reorder", "step", "crash"))):
            case "insert":
                path, fresh = f"/new/{fresh}", fresh + 1
                expected[path] = (data.draw(st.integers(1, 9)), 0)
                insert(world, 0, on(path, stable=expected[path][0], canary=0))
            case "stranger":
                insert(world, 0, {"backendRefs": [{"name": "assets", "port": 8080, "weight": 7}]})
            case "remove":
                world.edit_route("shop", _without_foreign)
                expected = dict(ours)
            case "reorder":
                order = data.draw(st.permutations(range(len(world.routes["shop"]["spec"]["rules"]))))
                world.edit_route("shop", lambda document, order=order: _reorder(document, order))  # type: ignore[misc]
            case "step":
                world.pass_step()
            case "crash":
                world.crash()
        world.run()
    world.ask("abort")
    world.wait(60)
    assert weights(world) == expected


def _without_foreign(document: Json) -> None:
    document["spec"]["rules"] = [
        item
        for item in document["spec"]["rules"]
        if item.get("matches", [{}])[0].get("path", {}).get("value", "").startswith("/ours")
    ]


def _reorder(document: Json, order: list[int]) -> None:
    rules = copy.deepcopy(document["spec"]["rules"])
    document["spec"]["rules"] = [rules[index] for index in order]
