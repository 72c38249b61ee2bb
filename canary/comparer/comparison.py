"""Three answers compared: the second one of stable, and the canary's, each with the first one of stable.

Both comparisons are the same function of two answers, which is what the judge rests on: if the canary answers as stable does,
then nothing tells the two apart, and each difference is as likely in the one as in the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from canary.comparer.answers import Answer, NoAnswer, Reply
from canary.comparer.documents import Differences, parse
from canary.comparer.documents import compare as compare_documents

_UNREAD = object()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Where B and where C differed from A."""

    stable: Differences
    canary: Differences


@dataclass(slots=True)
class _Reference:
    """The answer that others are compared with; its document is read once, and only if it has to be."""

    answer: Answer
    _document: Any = _UNREAD

    @property
    def document(self) -> Any:
        if self._document is _UNREAD:
            self._document = parse(self.answer.body or b"")
        return self._document


def compare(
    first: Answer, second: Reply, canary: Reply, headers: Sequence[str] = (), ignored: re.Pattern[str] | None = None
) -> Comparison:
    """Compare status, `headers` (names in lower case) and body; leave out paths that `ignored` matches as a whole.

    `first.body` has to be there: whoever calls drops what is too long.
    """
    reference = _Reference(first)
    return Comparison(
        _differences(reference, second, headers, ignored), _differences(reference, canary, headers, ignored)
    )


def _differences(
    reference: _Reference, other: Reply, headers: Sequence[str], ignored: re.Pattern[str] | None
) -> Differences:
    found = _all(reference, other, headers)
    if ignored is not None and found:
        return {path: kinds for path, kinds in found.items() if not ignored.fullmatch(path)}
    return found


def _all(reference: _Reference, other: Reply, headers: Sequence[str]) -> Differences:
    first = reference.answer
    if isinstance(other, NoAnswer):
        return {"status": (str(first.status), other.why)}
    found: Differences = {}
    if other.status != first.status:
        found["status"] = (str(first.status), str(other.status))
    for name in headers:
        one, twin = first.headers.get(name), other.headers.get(name)
        if one != twin:
            found[f"header:{name}"] = (_text(one), _text(twin))
    if other.body != first.body:
        found |= _bodies(reference, other.body)
    return found


def _bodies(reference: _Reference, other: bytes | None) -> Differences:
    mine = reference.document
    theirs = parse(other) if other is not None and mine is not None else None
    if mine is not None and theirs is not None:
        try:
            return compare_documents(mine, theirs)
        except RecursionError:
            pass
    return {"body": (_form(reference.answer.body), _form(other))}


def _text(value: str | None) -> str:
    return "absent" if value is None else "string"


def _form(body: bytes | None) -> str:
    if body is None:
        return "too long"
    if not body:
        return "empty"
    return "other" if parse(body) is None else "JSON"
