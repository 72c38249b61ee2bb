"""What a comparer answers is read into bounded types, or refused with one error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canary.model.comparer_results import MAX_PATHS, MAX_RESULTS_BYTES, ComparerResults

GOOD: dict[str, Any] = {
    "version": 1,
    "instance": "7f3a",
    "startedAt": "2026-11-29T10:00:00.000Z",
    "now": "2026-11-29T10:05:00.000Z",
    "received": 120,
    "compared": 100,
    "dropped": {"busy": 15, "stable": 5},
    "different": 3,
    "failures": {"stable": 0, "canary": 1},
    "paths": [
        {
            "path": "$.items[].price",
            "canaryOnly": 3,
            "stableOnly": 0,
            "both": 0,
            "examples": [{"stable": "number", "canary": "string"}],
        }
    ],
    "pathsDropped": 0,
    "latency": {"buckets": [0.01, 0.1], "stable": [90, 9, 1], "canary": [80, 19, 1]},
}


def test_what_is_written_is_what_was_read() -> None:
    """Results come back from their JSON member for member."""
    assert json.loads(ComparerResults.read(json.dumps(GOOD)).text()) == GOOD


def test_what_a_later_version_adds_is_not_looked_at() -> None:
    """A member that we do not know changes nothing."""
    assert ComparerResults.read(json.dumps({**GOOD, "mood": "good"})) == ComparerResults.read(json.dumps(GOOD))


PATH = GOOD["paths"][0]


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "[]",
        "null",
        "<html>",
        "\x00",
        {"version": 2},
        {"received": -1},
        {"received": True},
        {"received": "120"},
        {"received": 10**30},
        {"compared": 121},
        {"different": 101},
        {"failures": {"stable": 101, "canary": 0}},
        {"now": "yesterday"},
        {"instance": ""},
        {"paths": [{**PATH, "canaryOnly": 99, "both": 2}]},
        {"paths": [PATH, PATH]},
        {"paths": [{**PATH, "path": f"$.{number}"} for number in range(MAX_PATHS + 1)]},
        {"paths": [{**PATH, "path": "x" * 257}]},
        {"paths": [{**PATH, "examples": PATH["examples"] * 4}]},
        {"dropped": {f"{number}": 1 for number in range(65)}},
        {"latency": {"buckets": [0.1, 0.1], "stable": [1, 1, 1], "canary": [1, 1, 1]}},
        {"latency": {"buckets": [0.1], "stable": [1, 1, 1], "canary": [1, 1, 1]}},
    ],
    ids=lambda garbage: str(garbage)[:40],
)
def test_garbage_is_one_error(garbage: str | dict[str, Any]) -> None:
    """What is no JSON, of another version, too long or does not add up raises ValueError in one sentence."""
    text = garbage if isinstance(garbage, str) else json.dumps({**GOOD, **garbage})
    with pytest.raises(ValueError, match="no results of a comparer") as raised:
        ComparerResults.read(text)
    assert type(raised.value) is ValueError
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


def test_many_paths_are_read_a_few_at_a_time_and_all_of_them() -> None:
    """In their order, up to as many as there may be; a fault in the last is a fault."""
    paths = [{"path": f"$.{n}", "canaryOnly": n % 3, "stableOnly": 1, "both": 0} for n in range(MAX_PATHS)]
    document = {
        **GOOD,
        "received": 100,
        "compared": 100,
        "different": 0,
        "failures": {},
        "latency": None,
        "paths": paths,
    }
    read = ComparerResults.read(json.dumps(document))
    assert [(one.path, one.canary_only) for one in read.paths] == [(f"$.{n}", n % 3) for n in range(MAX_PATHS)]
    for wrong in ([*paths[:-1], {**paths[-1], "both": 0.5}], [*paths, {**paths[0], "path": "$.more"}]):
        with pytest.raises(ValueError, match="no results of a comparer"):
            ComparerResults.read(json.dumps({**document, "paths": wrong}))


def test_what_is_too_long_is_not_even_parsed() -> None:
    """A body beyond the bound is refused by its length."""
    with pytest.raises(ValueError, match="more than"):
        ComparerResults.read(b" " * (MAX_RESULTS_BYTES + 1))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    """Whatever arrives, it is results or ValueError."""
    with pytest.raises(ValueError, match="no results of a comparer"):
        ComparerResults.read(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": [{}] * 13_000},
        {"paths": [{"path": "a", "canaryOnly": 1, "stableOnly": 0, "both": 0, "examples": [{}] * 13_000}]},
        {"dropped": {f"why-{number}": "x" for number in range(13_000)}},
        {"latency": {"buckets": ["x"] * 13_000, "stable": ["x"] * 13_000, "canary": ["x"] * 13_000}},
    ],
    ids=["paths", "examples", "dropped", "latency"],
)
def test_garbage_is_given_up_at_its_first_fault(changes: dict[str, Any]) -> None:
    """Each fault that is noted takes time in which the controller does nothing else: 40,000 of them a third of a second."""
    with pytest.raises(ValidationError) as refused:
        ComparerResults.model_validate_json(json.dumps({**GOOD, **changes}))
    assert refused.value.error_count() <= 8
