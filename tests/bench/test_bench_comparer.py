"""The benchmark of the comparer, for a moment: it runs through, and what it counts makes sense."""

from __future__ import annotations

from typing import Any

import pytest

from bench.comparer import FIELDS, RUNS, Backend, measure, table


def fields(document: Any) -> int:
    """Values of a document that are neither object nor array."""
    if isinstance(document, dict):
        return sum(map(fields, document.values()))
    return sum(map(fields, document)) if isinstance(document, list) else 1


def test_a_document_has_as_many_fields_as_is_said() -> None:
    """The goal is about sixty."""
    assert fields(Backend("noisy").document(canary=True)) == FIELDS


@pytest.mark.parametrize(
    ("kind", "different", "paths"), [("equal", False, 0), ("noisy", False, 2), ("changed", True, 3)]
)
def test_a_measurement_compares_what_it_says(kind: str, different: bool, paths: int) -> None:
    """Equal answers have no paths, noise has two, and a changed field one more; each comparison cost something."""
    found = measure(kind, 0.3)
    assert found["compared"] > 10
    assert (bool(found["different"]), found["paths"]) == (different, paths)
    assert 0.05 < found["cpu_ms"] < 50


def test_the_table_has_a_row_for_each_kind() -> None:
    """And what misses the goal is bold."""
    rows = table([{"kind": kind, "cpu_ms": cost} for (kind, _), cost in zip(RUNS, (0.5, 1.0, 1.01), strict=True)])
    assert [("**" in row) for row in rows.splitlines()[2:]] == [False, False, True]
    assert "| 0.50 ms | 2,000 | ≥ 1,000 |" in rows
