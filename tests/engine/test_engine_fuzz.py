"""What is read may be garbage: status, annotation and answers with anything in any place (promise 9)."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from world import RUN_ANNOTATION, Gateways, World, begun

from canary.decide.engine import decide
from canary.model.measurement import Malformed, Unreachable
from canary.model.status import RolloutStatus
from canary.observe.copies import copies, copy_annotation, read_copy
from canary.routes.intent import parse_intent
from canary.status.project import project

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "Progressing",
            "Promoting",
            "RollingBack",
            "Paused",
            "Succeeded",
            "RolledBack",
            "2999-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "-1",
        ]
    ),
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: [{"name": "errors"}]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [path] if path else []
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def running() -> World:
    world = begun()
    world.wait(1)
    world.measure(0.0)
    world.run()
    return world


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_status_with_junk_in_it_raises_nothing_and_stops_no_rollback(data: st.DataObject) -> None:
    """Some members of the recorded status say something else when a controller comes back to it."""
    world = running()
    world.crash()
    document = copy.deepcopy(world.recorded)
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(document)
        put(document, data.draw(st.sampled_from(found)), data.draw(JUNK))
        if not isinstance(document, dict):
            break
    world.recorded = document
    world.promises.failed.clear()
    world.promises.allowed.setdefault(
        RolloutStatus.load(document).run.number if RolloutStatus.load(document).run else 0, {"": 10}
    )  # type: ignore[union-attr]
    for _ in range(4):
        world.tick()
        json.dumps(world.memory.dump() if world.memory else {}, allow_nan=False).encode()
        assert world.share() <= 10
        world.now += timedelta(seconds=1)
    assert world.stable.revision == "a"
    world.ask("abort", id_="now")
    for _ in range(12):
        world.tick()
    assert world.share() == 0


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_an_annotation_with_junk_in_it_raises_nothing_and_stops_no_rollback(data: st.DataObject, crash: bool) -> None:
    """Somebody edits what a route says of our run."""
    world = running()
    if crash:
        world.crash()
    raw = world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION]
    document = json.loads(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        put(document, data.draw(st.sampled_from(places(document))), data.draw(JUNK))
    world.edit_route(
        "shop", lambda route: route["metadata"]["annotations"].update({RUN_ANNOTATION: json.dumps(document)})
    )
    for _ in range(4):
        world.tick()
        assert world.share() <= 10
        world.now += timedelta(seconds=1)
    assert world.stable.revision == "a"
    world.measure(0.9)
    world.ask("abort", id_="now")
    for _ in range(12):
        world.tick()
    assert world.share() == 0


@given(
    st.one_of(
        st.text(),
        st.recursive(JUNK, lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3)).map(json.dumps),
    )
)
def test_any_text_is_an_intent_or_none_and_a_record_or_none(raw: str) -> None:
    """Nothing that anybody writes there makes a parser raise."""
    intent = parse_intent(raw)
    assert intent is None or parse_intent(intent.dump()) == intent
    document = {"metadata": {"annotations": {copy_annotation("shop"): raw}}}
    read_copy(document, "shop")
    assert set(copies(document)) == {"shop"}


@given(st.text(alphabet=st.characters(), max_size=30), st.sampled_from(["\ud800", "\udfff", "\x00", ""]))
def test_a_providers_words_fit_into_a_status(words: str, half: str) -> None:
    """Halves of UTF-16 pairs, which JSON can spell and nothing can encode."""
    world = running()
    facts = world.facts()
    for measurement in (
        Malformed(world.now, "BadQuery", words + half, half),
        Unreachable(world.now, "HTTPError", half + words),
    ):
        told = decide(world.spec, world.memory or RolloutStatus(), _with(facts, measurement))
        status = project(world.spec, told, facts)
        json.dumps(status.dump(), ensure_ascii=False).encode()


def _with(facts: Any, measurement: Any) -> Any:
    from dataclasses import replace

    later = replace(measurement, at=facts.now + timedelta(seconds=1))
    return replace(facts, now=facts.now + timedelta(seconds=2), measurements=(("errors", later),))


def test_the_gateways_of_these_worlds_answer() -> None:
    """Else nothing above would ever have been raised."""
    world = running()
    assert (world.gateways, world.share()) == (Gateways.PROMPT, 10)
