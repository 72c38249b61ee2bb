"""Label and field selectors, parsed into predicates over documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from canary_sandbox.apiserver.errors import Json, bad_request
from canary_sandbox.apiserver.names import label_value, qualified_name

Predicate = Callable[[Json], bool]

_SET = re.compile(r"^\s*(?P<key>[^\s!=<>(),]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*$")
_COMPARED = re.compile(r"^\s*(?P<key>[^\s!=<>(),]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=!<>(),]*)\s*$")
_EXISTS = re.compile(r"^\s*(?P<absent>!?)\s*(?P<key>[^\s!=<>(),]+)\s*$")
_TERMS = re.compile(r",(?![^(]*\))")


def parse_labels(text: str) -> Predicate | None:
    """A predicate over documents, or None when `text` is empty. Raises StatusError 400 when it does not parse."""
    if not text.strip():
        return None
    tests = [_label_term(term) for term in _TERMS.split(text)]

    def matches(doc: Json) -> bool:
        labels = doc["metadata"].get("labels") or {}
        return all(test(labels) for test in tests)

    return matches


def _label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(term):
        key = _label_key(found["key"], term)
        values = {_label_value(value.strip(), term) for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _COMPARED.match(term):
        return _compared(_label_key(found["key"], term), found["op"], found["value"], term)
    if found := _EXISTS.match(term):
        key = _label_key(found["key"], term)
        if found["absent"]:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise bad_request(f"unable to parse requirement: {term!r}")


def _compared(key: str, operator: str, value: str, term: str) -> Callable[[Mapping[str, str]], bool]:
    _label_value(value, term)
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _label_key(key: str, term: str) -> str:
    if problem := qualified_name(key):
        raise bad_request(f"unable to parse requirement: {term!r}: {problem}")
    return key


def _label_value(value: str, term: str) -> str:
    if problem := label_value(value):
        raise bad_request(f"unable to parse requirement: {term!r}: {problem}")
    return value


def parse_fields(text: str, known: frozenset[str]) -> Predicate | None:
    """A predicate for `a.b=c,d!=e` over the fields a resource supports, or None when `text` is empty.

    Raises StatusError 400 for a field outside `known`, as the real server does.
    """
    if not text.strip():
        return None
    tests: list[tuple[tuple[str, ...], bool, str]] = []
    for term in text.split(","):
        found = re.match(r"^([^=!]+)(==|=|!=)(.*)$", term.strip())
        if not found:
            raise bad_request(f"invalid selector: {text!r}; can't understand {term!r}")
        name, operator, value = found.groups()
        if name not in known:
            raise bad_request(f"field label not supported: {name}")
        tests.append((tuple(name.split(".")), operator != "!=", value))

    def matches(doc: Json) -> bool:
        return all((_at(doc, path) == value) is wanted for path, wanted, value in tests)

    return matches


def _at(doc: Any, path: tuple[str, ...]) -> str:
    for part in path:
        if not isinstance(doc, dict):
            return ""
        doc = doc.get(part)
    return "" if doc is None else (str(doc).lower() if isinstance(doc, bool) else str(doc))


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    """The conjunction of two optional predicates."""
    if first is None or second is None:
        return first or second
    return lambda doc: first(doc) and second(doc)
