"""JSON that anybody answers: a number at a path, or whether something is as expected (`web`). Pure.

Of an answer's text no sentence repeats more than the one value that was expected to be another one.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from canary.checks import jsonpath
from canary.checks.sources.web import Expected, Web
from canary.metrics.credentials import WITHHELD, withheld
from canary.metrics.http import Request
from canary.metrics.http_answer import Answer, Senseless, number_in
from canary.metrics.parsing import LARGE_BYTES, in_turn
from canary.model.measurement import MAX_SERIES, Measurement, Sample

_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_VALUE = 80
LONGEST_SAID = 240
"""Characters of what an answer says for people to read."""


class WebApi:
    """Whatever the check declares."""

    def request(self, source: Web, now: datetime) -> Request:  # noqa: ARG002 - as every API
        return Request(source.method, source.url, source.headers, source.content)

    def measurement(self, source: Web, answer: Answer) -> Measurement:
        expected = source.expected
        if expected is None:
            return answer.refused() or _number(source.path or "$", answer)
        if answer.status in expected.status:
            return _expected(source, expected, answer)
        refused = answer.refused()
        if refused is not None and refused.reason != "HTTPError":
            return refused
        return _sample(
            source, answer, False, f"{answer.answered}, and {' or '.join(map(str, expected.status))} is expected"
        )


def _number(path: str, answer: Answer) -> Measurement:
    try:
        found = _places(path, answer, MAX_SERIES)
    except Senseless as error:
        return answer.malformed("UnexpectedResult", str(error))
    values = []
    for place in found:
        if place.value is None:
            continue
        value = _number_of(place.value)
        if value is None:
            return answer.malformed("NotANumber", f"{path} selects {_kind(place.value)} and no number")
        values.append(value)
    return answer.numbers(values, f"{path} selects", "name one, or use a condition over `values`")


def _expected(source: Web, expected: Expected, answer: Answer) -> Measurement:
    if expected.path is None:
        return _sample(source, answer, True, answer.answered)
    try:
        found = _places(expected.path, answer, 1)
    except Senseless as error:
        return _sample(source, answer, False, str(error))
    if len(found) > 1:
        return answer.malformed("SeveralSeries", f"{expected.path} selects several values: name one place")
    if not found:
        return _sample(source, answer, False, f"{answer.answered}, and {expected.path} selects nothing in it")
    value = found[0].value
    good = expected.is_met_by(value)
    told = isinstance(value, str) and answer.shown is not None and answer.shown.is_told_in(value)
    said = WITHHELD if told else _spoken(value)
    more = "" if good else f", and {_spoken(expected.equals)} is expected"
    return _sample(source, answer, good, f"{expected.path} is {said}{more}")


def _places(path: str, answer: Answer, most: int) -> list[jsonpath.Place]:
    """Raises Senseless."""
    document = answer.json()
    try:
        with in_turn(len(answer.content) > LARGE_BYTES):
            return jsonpath.places(path, document, most)
    except jsonpath.TooDeep as error:
        raise Senseless(str(error)) from error
    except ValueError as error:
        raise Senseless(withheld(str(error), answer.shown)) from error


def _sample(source: Web, answer: Answer, good: bool, note: str) -> Sample:
    said = _said(source.tells, answer) if source.tells is not None else ""
    return Sample(float(good), answer.now, answer.query.text, (float(good),), note=note, said=said)


def _said(tells: str, answer: Answer) -> str:
    """What the answer says for people to read, all of it or at a place: on one line, and short."""
    text = answer.content.decode("utf-8", "replace")
    if tells:
        try:
            found = _places(tells, answer, 1)
        except Senseless:
            return ""
        value = found[0].value if found else None
        text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if answer.shown is not None and answer.shown.is_told_in(text):
        return WITHHELD
    clean = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST_SAID])
    words = " ".join(clean.split())
    return words if len(words) <= LONGEST_SAID else f"{words[:LONGEST_SAID]}…"


def _number_of(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return number_in(value)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case dict():
            return "an object"
        case _:
            return "a list"


def _spoken(value: Any) -> str:
    """A value for a message: on one line, and short."""
    text = value if isinstance(value, str) else _kind(value) if isinstance(value, dict | list) else str(value).lower()
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return repr(clean if len(clean) <= _LONGEST_VALUE else f"{clean[:_LONGEST_VALUE]}…")
