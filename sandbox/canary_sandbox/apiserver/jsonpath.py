r"""The part of kubectl's JSONPath that printer columns use: `.a.b`, `['a.b']`, `\.`, `[0]`, `[*]`, `[?(@.a=="b")]`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

Step = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(
    r"""\.(?P<member>(?:\\.|[^.\[\]\\\s*])+)
      | \.?\[\s*'(?P<quoted>[^']*)'\s*\]
      | \.?\[\s*(?P<index>-?\d+)\s*\]
      | \.?\[\s*(?P<each>\*)\s*\]
      | (?P<members>\.\*)
      | \.?\[\?\(\s*@(?P<left>[^=!<>]*?)\s*(?P<op>==|!=|<=|>=|<|>)\s*(?P<right>[^)]*?)\s*\)\]
    """,
    re.VERBOSE,
)


class JsonPathError(ValueError):
    """A path outside the part of the language that is understood here."""


def compile_path(path: str) -> Callable[[Any], list[Any]]:
    """A function from a document to everything the path finds. Raises JsonPathError."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise JsonPathError(f"unrecognized character in JSONPath at {text[at:]!r} of {path!r}")
        steps.append(_step(found))
        at = found.end()

    def find(doc: Any) -> list[Any]:
        current = [doc]
        for step in steps:
            current = [value for item in current for value in step(item)]
        return current

    return find


def _step(found: re.Match[str]) -> Step:
    if found["member"] is not None:
        return _member(re.sub(r"\\(.)", r"\1", found["member"]))
    if found["quoted"] is not None:
        return _member(found["quoted"])
    if found["index"] is not None:
        return _index(int(found["index"]))
    if found["op"] is not None:
        return _filter(compile_path(found["left"]), found["op"], _literal(found["right"]))
    return _each


def _member(name: str) -> Step:
    return lambda item: (item[name],) if isinstance(item, dict) and name in item else ()


def _index(index: int) -> Step:
    return lambda item: item[index : index + 1 or None] if isinstance(item, list) else ()


def _each(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _literal(text: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise JsonPathError(f"not a literal in a JSONPath filter: {text!r}") from error


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    ">": lambda a, b: bool(a > b),
    "<=": lambda a, b: bool(a <= b),
    ">=": lambda a, b: bool(a >= b),
}


def _filter(left: Callable[[Any], list[Any]], operator: str, right: Any) -> Step:
    compare = _COMPARE[operator]

    def holds(item: Any) -> bool:
        found = left(item)
        try:
            return bool(found) and compare(found[0], right)
        except TypeError:
            return False

    return lambda item: [member for member in _each(item) if holds(member)]
