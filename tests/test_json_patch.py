"""Operations of a JSON Patch say what they are meant to, to an implementation that is not ours."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpointer import JsonPointer

from canary import json_patch as patch

ANNOTATION = "run.canary.dev/shop"


def applied(document: dict[str, Any], *operations: patch.Operation) -> Any:
    return jsonpatch.apply_patch(document, operations)


@given(st.lists(st.one_of(st.text(), st.integers(min_value=0)), max_size=6))
def test_a_pointer_names_its_members(names: list[str | int]) -> None:
    """Whatever is in a name, `~` and `/` included, is read back as it was."""
    assert JsonPointer(patch.pointer(*names)).parts == [str(name) for name in names]


@pytest.mark.parametrize("name", ["plain", ANNOTATION, "a~b/c", "~1"])
def test_an_annotation_is_set_beside_others(name: str) -> None:
    """What else is there stays, and setting it twice is setting it once."""
    document = {"metadata": {"annotations": {"a": "b"}}}
    once = applied(document, patch.annotate(document, name, "x"))
    assert once == {"metadata": {"annotations": {"a": "b", name: "x"}}}
    assert applied(once, patch.annotate(once, name, "x")) == once
    assert applied(once, patch.test(patch.annotation(name), "x"), patch.remove(patch.annotation(name))) == document


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}])
def test_the_first_annotation_brings_the_map_along(metadata: dict[str, Any]) -> None:
    """An object that has no annotations can be given one."""
    document = {"metadata": metadata}
    assert applied(document, patch.annotate(document, ANNOTATION, "x")) == {
        "metadata": {"annotations": {ANNOTATION: "x"}}
    }


def test_what_was_written_meanwhile_is_refused() -> None:
    """A patch that has to find the object unmoved holds for the version that was read, and for no other."""
    read, now = ({"metadata": {"resourceVersion": version}} for version in ("7", "8"))
    change = patch.add(patch.pointer("spec"), {})
    assert applied(read, patch.unmoved(read), change) == {**read, "spec": {}}
    for other in (now, {"metadata": {}}):
        with pytest.raises(jsonpatch.JsonPatchException):
            applied(other, patch.unmoved(read), change)


def test_what_is_replaced_or_removed_has_to_be_there() -> None:
    """Only `add` makes a member that was not there."""
    path = patch.pointer("spec", "weight")
    assert applied({"spec": {}}, patch.add(path, 1)) == {"spec": {"weight": 1}}
    assert applied({"spec": {"weight": 1}}, patch.replace(path, 2)) == {"spec": {"weight": 2}}
    for operation in (patch.replace(path, 2), patch.remove(path)):
        with pytest.raises((jsonpatch.JsonPatchException, jsonpatch.JsonPointerException)):
            applied({"spec": {}}, operation)
