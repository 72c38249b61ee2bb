"""JSONPath (RFC 9535), bounded: what a path may cost grows with the size of the document and not faster. Pure.

A path is written by an app team and evaluated in the controller. So of the standard there is left out what takes more than one look
at each value: regular expressions, several selectors side by side, more than one `..`, filters within filters, and paths in filters
that select more than one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.filter import BaseExpression, FilterQuery
from jsonpath.segments import JSONPathRecursiveDescentSegment
from jsonpath.selectors import Filter, IndexSelector, JSONPathSelector, NameSelector

MOST_SEGMENTS = 32
_ABOUT = "JSONPath (RFC 9535), such as $.data[0].value or $.results[?@.name == 'p99'].value"


class _Environment(JSONPathEnvironment):
    max_recursion_depth = 100

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        for name in ("match", "search"):
            del self.function_extensions[name]


_ENVIRONMENT = _Environment(strict=True)


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a document, and where it is."""

    path: str
    value: Any


class TooDeep(Exception):
    """The document has more levels than are looked at."""


def check(text: str) -> None:
    """Raises ValueError: it is no path that can be used, in words for its author."""
    _compiled(text)


def places(text: str, document: Any, most: int) -> list[Place]:
    """What a path selects in a document, in its order; of more than `most` places so many and one. Raises ValueError, TooDeep."""
    found: list[Place] = []
    try:
        for match in _compiled(text).finditer(document):
            found.append(Place(str(match.path), match.obj))
            if len(found) > most:
                break
    except RecursionError as error:
        raise TooDeep("the answer has more levels than are looked at") from error
    except (JSONPathError, TypeError) as error:  # of what is compared in a filter
        raise ValueError(f"{text}: {_words(error)}") from error
    return found


@lru_cache(maxsize=1024)
def _compiled(text: str) -> JSONPath:
    try:
        path = _ENVIRONMENT.compile(text)
    except JSONPathError as error:
        raise ValueError(f"{text!r} is no {_ABOUT}: {_words(error)}") from error
    if not isinstance(path, JSONPath):
        raise ValueError(f"{text!r} is no {_ABOUT}: it is several paths")  # noqa: TRY004 - it is a matter of its text
    for why in _costly(path):
        raise ValueError(f"{text!r} cannot be used: {why}")
    return path


def _costly(path: JSONPath) -> Iterator[str]:
    """Why it may take more than one look at each value."""
    if len(path.segments) > MOST_SEGMENTS:
        yield f"it has more than {MOST_SEGMENTS} segments"
    if sum(isinstance(segment, JSONPathRecursiveDescentSegment) for segment in path.segments) > 1:
        yield "it has more than one `..`"
    for segment in path.segments:
        if len(segment.selectors) > 1:
            yield "it has several selectors side by side; write a check for each"
        for selector in segment.selectors:
            if isinstance(selector, Filter):
                for expression in _expressions(selector.expression):
                    if isinstance(expression, FilterQuery) and not _names_one_place(expression.path):
                        yield "a path in a filter may name one place only, such as @.name"


def _expressions(expression: BaseExpression) -> Iterator[BaseExpression]:
    yield expression
    for child in expression.children():
        yield from _expressions(child)


def _names_one_place(path: JSONPath) -> bool:
    return all(
        not isinstance(segment, JSONPathRecursiveDescentSegment)
        and len(segment.selectors) == 1
        and _is_plain(segment.selectors[0])
        for segment in path.segments
    )


def _is_plain(selector: JSONPathSelector) -> bool:
    return isinstance(selector, NameSelector | IndexSelector)


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else error  # without the drawing of where it is
    return " ".join(str(said).split())[:200]


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
