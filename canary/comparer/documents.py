"""Where two JSON documents differ, by field path: `$.items[].price`.

An index is `[]`, so that neither order nor length makes new paths. Numbers are compared as numbers (1 is 1.0), a name that
is there twice counts as its last value, as nearly every reader of JSON has it. Nothing that is compared is kept: what comes out
are paths, and of each value its type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from canary.model.comparer_results import MAX_PATH, MAX_PATHS

Differences = dict[str, tuple[str, str]]
"""The paths that differ, each with what stood there first: the type in the one and in the other."""

OTHER: Final = "other"
"""Stands for paths that there is no room for: beyond the limit they differ together, or not at all."""

ELLIPSIS: Final = "…"

MAX_DEPTH = 32
"""Levels that are told apart; what lies deeper is compared as a whole."""

_BEGINS = re.compile(rb"[ \t\r\n]*[{\[]")
_WHOLE_DIGITS = 4300
"""Digits of the longest number that Python reads as one, by default."""


class Verbatim(str):
    """A number that is none of Python's: NaN, Infinity, or thousands of digits. Equal if it is written alike."""

    __slots__ = ()


class _Absent:
    """What stands where nothing stands."""


ABSENT: Final = _Absent()

_KINDS: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    Verbatim: "number",
    type(None): "null",
    _Absent: "absent",
}


def _whole(digits: str) -> int | Verbatim:
    return int(digits) if len(digits) < _WHOLE_DIGITS else Verbatim(digits)


_USUAL = json.JSONDecoder(parse_constant=Verbatim)
_PATIENT = json.JSONDecoder(parse_constant=Verbatim, parse_int=_whole)


def parse(body: bytes) -> Any:
    """The object or array that a body is, in UTF-8; None if it is anything else, or nested beyond all reason."""
    if not _BEGINS.match(body):
        return None
    try:
        text = body.decode()
        try:
            return _USUAL.decode(text)
        except json.JSONDecodeError:
            return None
        except ValueError:  # a number that is too long for `int`
            return _PATIENT.decode(text)
    except (ValueError, RecursionError):
        return None


def compare(one: Any, other: Any) -> Differences:
    """The paths at which two parsed documents differ, at most so many as results have room for.

    Raises:
        RecursionError: both are nested so deeply that they cannot be compared.

    """
    walk = _Walk()
    walk.value(one, other, "$", 0)
    return walk.found


class _Walk:
    """Two documents side by side. Each path is spelled once, however many elements of a list have it."""

    __slots__ = ("_paths", "found")

    def __init__(self) -> None:
        self.found: Differences = {}
        self._paths: dict[tuple[str, str], str] = {}

    def value(self, one: Any, other: Any, path: str, depth: int) -> None:
        kind = type(one)
        if kind is not type(other):
            numbers = kind in (int, float) and type(other) in (int, float)
            if not numbers or one != other:
                self._note(path, one, other)
        elif kind is dict or kind is list:
            if depth == MAX_DEPTH:
                if _canonical(one) != _canonical(other):
                    self._note(path, one, other)
            elif kind is dict:
                self._object(one, other, path, depth + 1)
            else:
                self._array(one, other, f"{path}[]", depth + 1)
        elif one != other:
            self._note(path, one, other)

    def _object(self, one: dict[str, Any], other: dict[str, Any], path: str, depth: int) -> None:
        common = 0
        for key, value in one.items():
            twin = other.get(key, ABSENT)
            if twin is not ABSENT:
                common += 1
                kind = type(value)
                if kind is type(twin) and kind is not dict and kind is not list and value == twin:
                    continue  # most fields of most documents: no call, no path
            self.value(value, twin, self._below(path, key), depth)
        if common < len(other):
            for key, value in other.items():
                if key not in one:
                    self._note(self._below(path, key), ABSENT, value)

    def _array(self, one: list[Any], other: list[Any], path: str, depth: int) -> None:
        for value, twin in zip(one, other, strict=False):
            self.value(value, twin, path, depth)
        if len(one) != len(other):
            common = min(len(one), len(other))
            value, twin = (one[common], ABSENT) if len(one) > common else (ABSENT, other[common])
            self._note(path, value, twin)

    def _below(self, path: str, key: str) -> str:
        place = path, key
        found = self._paths.get(place)
        if found is None:
            found = self._paths[place] = f"{path}.{shown(key)}"
        return found

    def _note(self, path: str, one: Any, other: Any) -> None:
        if len(path) > MAX_PATH // 4:
            path = _cut(path)
        if path in self.found:
            return
        if len(self.found) >= MAX_PATHS:
            path = OTHER
        self.found[path] = (_KINDS[type(one)], _KINDS[type(other)])


def _cut(path: str) -> str:
    """At most MAX_PATH bytes of UTF-8, so that results have a length that a reader can rely on."""
    spelled = path.encode()
    return (
        path
        if len(spelled) <= MAX_PATH
        else f"{spelled[: MAX_PATH - len(ELLIPSIS.encode())].decode(errors='ignore')}{ELLIPSIS}"
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


_IDENTIFIES = re.compile(r"\d{5}|[0-9a-fA-F-]{16}")
_MAX_NAME = 64


def shown(key: str) -> str:
    """The name of a field as paths have it; `*` for a key that is rather data: an id, an address, a date, a text.

    So a map by user has one path and not as many as users, and no user's name or number is in the results.
    """
    if len(key) <= _MAX_NAME and key.replace("-", "_").lstrip("$@").isidentifier() and not _IDENTIFIES.search(key):
        return key
    return "*"


def ignores(paths: Iterable[str]) -> re.Pattern[str] | None:
    """Matches the paths named, and whatever lies below them; None if there are none."""
    words = "|".join(re.escape(path) for path in paths)
    return re.compile(rf"(?:{words})(?:[.\[].*)?", re.DOTALL) if words else None
