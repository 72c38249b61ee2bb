"""Parsing of answers, so that nobody is held up by how much another one was answered.

Whoever parses or sorts lets nobody else run for milliseconds, and of several who do the event loop would have to wait for all.
So what an answer may consist of is bounded before it is parsed, and large answers, of whichever address, are worked on one
at a time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from canary.model.measurement import MAX_SERIES

MAX_BYTES = 1024 * 1024
"""Of one answer; an aggregated query needs a few hundred."""

MAX_PARTS = 40 * MAX_SERIES
"""Values that the JSON of one answer may consist of, for some thirty labels of each series. Parsed in about 10 ms."""

LARGE_BYTES = 64 * 1024
LARGE_SERIES = 100

_turn = threading.Lock()


class AnswerTooLarge(Exception):
    """More than is read or parsed; in words that follow "the answer"."""


@contextmanager
def in_turn(large: bool) -> Iterator[None]:
    """Wait until nobody else works on something large; what is small does not wait."""
    if large:
        with _turn:
            yield
    else:
        yield


def few_parts(content: bytes, most: int = MAX_PARTS) -> None:
    """Raises AnswerTooLarge: the JSON may consist of more values than are parsed."""
    parts = content.count(b",") + content.count(b"[") + content.count(b"{")  # in strings too: it is an upper bound
    if parts > most:
        raise AnswerTooLarge(f"consists of more than {most} values")


def parsed(content: bytes, most: int = MAX_PARTS) -> Any:
    """The JSON of an answer of at most so many values; None, which is no Prometheus answer either, if it is none.

    Raises AnswerTooLarge.
    """
    few_parts(content, most)
    try:
        with in_turn(len(content) > LARGE_BYTES):
            return json.loads(content)
    except (ValueError, RecursionError):
        return None
