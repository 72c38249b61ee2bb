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


_Trail = tuple["_Trail", str | None] | None
"""How a value was reached: from where, and by which key, None for an index. Made into a path only where something differs."""


def compare(one: Any, other: Any) -> Differences:
    """The paths at which two parsed documents differ, at most so many as results have room for.

    Raises:
        RecursionError: both are nested so deeply that they cannot be compared.

    """
    found: Differences = {}
    _value(one, other, None, 0, found)
    return found


def _value(one: Any, other: Any, trail: _Trail, depth: int, found: Differences) -> None:
    kind = type(one)
    if kind is not type(other):
        numbers = kind in (int, float) and type(other) in (int, float)
        if not numbers or one != other:
            _note(trail, one, other, found)
    elif kind is dict or kind is list:
        if depth == MAX_DEPTH:
            if _canonical(one) != _canonical(other):
                _note(trail, one, other, found)
        elif kind is dict:
            _object(one, other, trail, depth + 1, found)
        else:
            _array(one, other, trail, depth + 1, found)
    elif one != other:
        _note(trail, one, other, found)


def _object(one: dict[str, Any], other: dict[str, Any], trail: _Trail, depth: int, found: Differences) -> None:
    common = 0
    for key, value in one.items():
        twin = other.get(key, ABSENT)
        if twin is not ABSENT:
            common += 1
            kind = type(value)
            if kind is type(twin) and kind is not dict and kind is not list and value == twin:
                continue  # most fields of most documents: no call
        _value(value, twin, (trail, key), depth, found)
    if common < len(other):
        for key, value in other.items():
            if key not in one:
                _note((trail, key), ABSENT, value, found)


def _array(one: list[Any], other: list[Any], trail: _Trail, depth: int, found: Differences) -> None:
    trail = (trail, None)
    for value, twin in zip(one, other, strict=False):
        _value(value, twin, trail, depth, found)
    if len(one) != len(other):
        common = min(len(one), len(other))
        value, twin = (one[common], ABSENT) if len(one) > common else (ABSENT, other[common])
        _note(trail, value, twin, found)


def _note(trail: _Trail, one: Any, other: Any, found: Differences) -> None:
    path = _path(trail)
    if path in found:
        return
    if len(found) >= MAX_PATHS:
        path = OTHER
    found[path] = (_KINDS[type(one)], _KINDS[type(other)])


def _path(trail: _Trail) -> str:
    names: list[str] = []
    while trail is not None:
        trail, key = trail
        names.append("[]" if key is None else f".{shown(key)}")
    path = "$" + "".join(reversed(names))
    return path if len(path) <= MAX_PATH else f"{path[: MAX_PATH - 1]}…"


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
