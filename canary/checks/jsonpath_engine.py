"""JSONPath by a library, bounded: what a path may cost grows with the size of the document and not faster. Pure.

A path is written by an app team and evaluated in the controller. So of the standard there is left out what takes more than one look
at each value: regular expressions, several selectors side by side, more than one `..`, filters within filters, and paths in filters
that select more than one place.
"""

from __future__ import annotations

from collections.abc import Iterator
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


@lru_cache(maxsize=1024)
def compiled(text: str) -> JSONPath:
    """A path that can be used. Raises ValueError: it is none, in words for its author."""
    try:
        path = _ENVIRONMENT.compile(text)
    except JSONPathError as error:
        raise ValueError(f"{text!r} is no {_ABOUT}: {_words(error)}") from error
    if not isinstance(path, JSONPath):
        raise ValueError(f"{text!r} is no {_ABOUT}: it is several paths")  # noqa: TRY004 - it is a matter of its text
    for why in _costly(path):
        raise ValueError(f"{text!r} cannot be used: {why}")
    return path


def found(text: str, document: Any) -> Iterator[tuple[str, Any]]:
    """Path and value of each place. Raises ValueError; and RecursionError: the document has too many levels."""
    path = compiled(text)
    try:
        for match in path.finditer(document):
            yield str(match.path), match.obj
    except RecursionError:
        raise
    except (JSONPathError, TypeError) as error:  # of what is compared in a filter
        raise ValueError(f"{text}: {_words(error)}") from error


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
