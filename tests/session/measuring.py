"""What took too long is measured again before it is a failure (docs/decisions/0023)."""

from __future__ import annotations

import pytest

MARKERS = ("alone", "cpu_time")
"""Of tests that measure time."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Twice at most: the least of several times is the one that nothing else is in.

    Each is in the report as a rerun. Whatever else fails has failed, and so has what takes too long each time.
    """
    if any(item.get_closest_marker(name) for name in MARKERS):
        item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"]))
