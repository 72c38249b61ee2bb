"""How much work something is, counted in calls of functions: a clock would measure who else uses the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

MOST = 2000
"""With what it does a call takes 0.2 microseconds or so: a fraction of a millisecond."""


def calls(work: Callable[[], object]) -> int:
    """How many functions, of Python and of C, are called while it is done."""
    count = 0

    def told(_frame: FrameType, event: str, _what: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(told)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
