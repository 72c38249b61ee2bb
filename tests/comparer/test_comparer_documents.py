"""Documents are compared field path by field path, whatever they hold."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.comparer.documents import MAX_DEPTH, OTHER, compare, ignores, parse, shown
from canary.model.comparer_results import MAX_PATH, MAX_PATHS

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "price", "id"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """What JSON means by equal: types as they are, numbers as numbers, members in any order."""
    numbers = [type(value) in (int, float) for value in (one, other)]
    if all(numbers):
        return bool(one == other)
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(DOCUMENTS)
def test_a_document_does_not_differ_from_itself(document: Any) -> None:
    """Written twice, with members in another order, it is the same."""
    root = {"root": document}
    assert compare(parse(json.dumps(root).encode()), parse(json.dumps(root, sort_keys=True, indent=1).encode())) == {}


@given(DOCUMENTS, DOCUMENTS)
def test_documents_differ_somewhere_exactly_if_they_are_not_equal(one: Any, other: Any) -> None:
    """No difference is overlooked, and none is made up."""
    assert bool(compare(one, other)) is not same(one, other)


@given(DOCUMENTS, DOCUMENTS)
def test_it_does_not_matter_which_of_two_comes_first(one: Any, other: Any) -> None:
    """The same paths differ, and what stood there has changed places; of a list's elements, one stands for all."""
    there, back = compare(one, other), compare(other, one)
    assert there.keys() == back.keys()
    assert {path: kinds[::-1] for path, kinds in back.items() if "[]" not in path} == {
        path: kinds for path, kinds in there.items() if "[]" not in path
    }


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": True}, {"$.a": ("number", "boolean")}),
        ({"a": 0}, {"a": False}, {"$.a": ("number", "boolean")}),
        ({"a": 1}, {"a": "1"}, {"$.a": ("number", "string")}),
        ({"a": None}, {}, {"$.a": ("null", "absent")}),
        ({}, {"a": {"b": 1}}, {"$.a": ("absent", "object")}),
        ({"items": [{"price": 1}, {"price": 2}]}, {"items": [{"price": 1}, {"price": 3}]}, "$.items[].price"),
        ({"items": [1, 2]}, {"items": [1]}, {"$.items[]": ("number", "absent")}),
        ({"items": [1]}, {"items": [1, "2"]}, {"$.items[]": ("absent", "string")}),
        ({"items": []}, {"items": {}}, {"$.items": ("array", "object")}),
        ([1], {"a": 1}, {"$": ("array", "object")}),
        ([[1]], [[2]], {"$[][]": ("number", "number")}),
        ({"a": 1, "b": 1}, {"a": 2, "b": 2}, {"$.a": ("number", "number"), "$.b": ("number", "number")}),
    ],
)
def test_paths_and_types(one: Any, other: Any, found: Any) -> None:
    """Each difference has the path of its field, and the types of what stood there."""
    got = compare(one, other)
    assert got == found if isinstance(found, dict) else list(got) == [found]


@pytest.mark.parametrize(
    ("one", "other", "paths"),
    [
        ('{"a": NaN}', '{"a": NaN}', []),
        ('{"a": NaN}', '{"a": Infinity}', ["$.a"]),
        ('{"a": NaN}', '{"a": "NaN"}', ["$.a"]),
        ('{"a": 1, "a": 2}', '{"a": 2}', []),
        ('{"a": 1, "a": 2}', '{"a": 2, "a": 1}', ["$.a"]),
        (f'{{"a": {"9" * 5000}, "b": 1}}', f'{{"a": {"9" * 5000}, "b": 1}}', []),
        (f'{{"a": {"9" * 5000}, "b": 1}}', f'{{"a": {"9" * 4999}8, "b": 1}}', ["$.a"]),
        (f'{{"a": {"9" * 5000}, "b": 1}}', '{"a": 9, "b": 1}', ["$.a"]),
        (f'{{"a": 1{"0" * 30}}}', '{"a": 1e30}', ["$.a"]),  # no double is 10 to the 30th
        ('{"a": 1e999}', '{"a": 1e999}', []),
        ('{"\\ud800": 1}', '{"\\ud800": 2}', ["$.*"]),
        ('{"a\\u0000": 1}', '{"a\\u0000": 2}', ["$.*"]),
    ],
)
def test_odd_json(one: str, other: str, paths: list[str]) -> None:
    """NaN equals itself, of a name that is there twice the last counts, and long numbers are compared by all of their digits."""
    assert list(compare(parse(one.encode()), parse(other.encode()))) == paths


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"1", b'"text"', b"<html>", b"{", b'{"a": \xff}', b"\xef\xbb\xbf{}", b"[" * 200_000, b"\x00" * 99],
)
def test_what_is_no_object_or_array_is_no_document(body: bytes) -> None:
    """Text, pictures, what is not UTF-8, half a document and one that is nested without end: all are bodies, and no more."""
    assert parse(body) is None


@pytest.mark.parametrize("depth", [MAX_DEPTH - 2, MAX_DEPTH + 5, 400])
def test_what_is_nested_deeply_is_compared_as_a_whole(depth: int) -> None:
    """A difference at any depth is seen; paths end at a level."""

    def nested(leaf: int) -> Any:
        return parse(b'{"a":' * depth + str(leaf).encode() + b"}" * depth)

    assert compare(nested(1), nested(1)) == {}
    (path,) = compare(nested(1), nested(2))
    assert path.count(".a") == min(depth, MAX_DEPTH)


def test_a_bomb_is_no_trouble() -> None:
    """Whatever depth it has: it is compared, or said not to be comparable, and nothing else is raised."""
    for depth in (900, 950, 990, 1000, 5000):
        one, other = (parse(b"[" * depth + leaf + b"]" * depth) for leaf in (b"1", b"2"))
        if one is not None:
            try:
                assert list(compare(one, other)) == ["$" + "[]" * MAX_DEPTH]
            except RecursionError:
                continue  # the caller compares digests


@pytest.mark.cpu_time("how long a comparison takes")
def test_a_million_members_are_compared_in_seconds_and_give_few_paths() -> None:
    """The number of paths that one comparison gives has a bound, and the last of them stands for the rest."""

    names = list(map("".join, itertools.product("abcdefghij", repeat=6)))
    one, other = dict.fromkeys(names, 1), dict.fromkeys(names, 2)
    began = time.thread_time()
    found = compare(one, other)
    assert time.thread_time() - began < 10
    assert len(found) == MAX_PATHS + 1
    assert OTHER in found
    assert compare(one, dict(reversed(one.items()))) == {}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("price", "price"),
        ("größe", "größe"),
        ("created-at", "created-at"),
        ("@type", "@type"),
        ("$ref", "$ref"),
        ("sha256", "sha256"),
        ("", "*"),
        ("12345", "*"),
        ("user12345", "*"),
        ("bob@example.com", "*"),
        ("2026-11-29", "*"),
        ("deadbeefdeadbeef", "*"),
        ("0b0e4c0e-6f3a-4a55-9d44-0123456789ab", "*"),
        ("Bob Smith", "*"),
        ("a.b", "*"),
        ("x" * 65, "*"),
    ],
)
def test_keys_that_are_data_are_not_shown(key: str, name: str) -> None:
    """A map by user has one path, and no user's name or number in it."""
    assert shown(key) == name


@given(st.dictionaries(st.text(), st.integers(), max_size=5), st.dictionaries(st.text(), st.text(), max_size=5))
def test_every_path_can_be_served(one: Any, other: Any) -> None:
    """Whatever the keys are, paths are short texts of UTF-8 on one line."""
    for path in compare({"root": one}, {"root": other}):
        assert len(path.encode()) <= MAX_PATH
        assert path.encode().decode().isprintable()


@pytest.mark.parametrize("letter", ["x", "ü", "漢", "\U00010330"])
@pytest.mark.parametrize("depth", [1, 4, 5, MAX_DEPTH])
def test_long_paths_are_cut(letter: str, depth: int) -> None:
    """A path has an end even if names have none, by its bytes, and never in the middle of a letter."""
    key = letter * 60
    one: Any = 1
    other: Any = 2
    for _ in range(depth):
        one, other = {key: one}, {key: other}
    (path,) = compare(one, other)
    whole = "$" + f".{key}" * depth
    if len(whole.encode()) <= MAX_PATH:
        assert path == whole
    else:
        assert MAX_PATH - 4 < len(path.encode()) <= MAX_PATH
        assert path.endswith("…")
        assert whole.startswith(path[:-1])


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("$.meta", True),
        ("$.meta.time", True),
        ("$.meta[].time", True),
        ("$.metadata", False),
        ("$.a.meta", False),
        ("header:date", True),
        ("header:date2", False),
        ("status", False),
    ],
)
def test_what_lies_below_an_ignored_path_is_ignored_too(path: str, ignored: bool) -> None:
    """And nothing that merely begins alike."""
    pattern = ignores(["$.meta", "header:date"])
    assert pattern is not None
    assert bool(pattern.fullmatch(path)) is ignored


def test_nothing_is_ignored_by_default() -> None:
    """Without a list there is no pattern that could match something."""
    assert ignores([]) is None
