"""Places in a JSON document by JSONPath (RFC 9535), and whether two values are the same JSON. Pure.

What a path may be is `jsonpath_engine`'s to say, which is loaded when the first path comes: it takes as long as all the rest of a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a document, and where it is."""

    path: str
    value: Any


class TooDeep(Exception):
    """The document has more levels than are looked at."""


def check(text: str) -> None:
    """Raises ValueError: it is no path that can be used, in words for its author."""
    from canary.checks.jsonpath_engine import compiled

    compiled(text)


def places(text: str, document: Any, most: int) -> list[Place]:
    """What a path selects in a document, in its order; of more than `most` places so many and one. Raises ValueError, TooDeep."""
    from canary.checks.jsonpath_engine import found

    selected: list[Place] = []
    try:
        for path, value in found(text, document):
            selected.append(Place(path, value))
            if len(selected) > most:
                break
    except RecursionError as error:
        raise TooDeep("the answer has more levels than are looked at") from error
    return selected


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: true is not 1, and 1 is 1.0. Raises RecursionError for what is too deep."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and bool(one == other)
