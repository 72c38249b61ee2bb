"""Whether a document has the shape of a route, as far as anything here looks at it: who judges it after that need not ask again.

The definitions of the Gateway API are not part of canary, and differ from cluster to cluster; an API server holds routes against its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from canary.lint.findings import Path

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """A text; one that is `required` is not empty."""

    required: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number of a range."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose items are all of one shape."""

    items: Shape


@dataclass(frozen=True, slots=True)
class Fields:
    """An object. Members that are not named may be anything; `required` have to be there."""

    members: Mapping[str, Shape]
    required: frozenset[str] = frozenset()


Shape = Text | Number | ListOf | Fields

TEXT, NAME, PORT, COUNT = Text(), Text(required=True), Number(1, 65_535), Number(0, 2**63)


def _fields(*required: str, **members: Shape) -> Fields:
    return Fields(members, frozenset(required))


REF = _fields("name", group=TEXT, kind=TEXT, namespace=TEXT, name=NAME, port=PORT)
FILTERS = ListOf(
    _fields(
        type=TEXT,
        requestMirror=_fields(
            backendRef=REF, percent=Number(0, 100), fraction=_fields(numerator=COUNT, denominator=COUNT)
        ),
    )
)
NAMED_VALUES = ListOf(_fields(type=TEXT, name=TEXT, value=TEXT))
RULE = _fields(
    name=TEXT,
    backendRefs=ListOf(Fields({**REF.members, "weight": Number(0, 1_000_000), "filters": FILTERS}, REF.required)),
    filters=FILTERS,
)
HTTP = _fields(path=_fields(type=TEXT, value=TEXT), method=TEXT, headers=NAMED_VALUES, queryParams=NAMED_VALUES)
GRPC = _fields(method=_fields(type=TEXT, service=TEXT, method=TEXT), headers=NAMED_VALUES)
MATCHES: Mapping[str, Shape] = {"HTTPRoute": ListOf(HTTP), "GRPCRoute": ListOf(GRPC)}
PARENT = Fields({**REF.members, "sectionName": TEXT}, REF.required)
STATUS = _fields(
    parents=ListOf(
        _fields(
            "parentRef",
            parentRef=PARENT,
            controllerName=TEXT,
            conditions=ListOf(_fields(type=TEXT, status=TEXT, reason=TEXT, message=TEXT, observedGeneration=COUNT)),
        )
    )
)


def sound(route: Json) -> Json:
    """The route without members that are null, which an API server takes for absent."""
    return {name: _without_nulls(member) for name, member in route.items() if member is not None}


def flaws(route: Json) -> Iterator[tuple[Path, str]]:
    """Where a route, `sound`, has not the shape of one of its kind, and why."""
    rule = RULE
    if str(route.get("kind")) in MATCHES:
        rule = Fields({**RULE.members, "matches": MATCHES[str(route["kind"])]})
    spec = _fields(parentRefs=ListOf(PARENT), hostnames=ListOf(TEXT), rules=ListOf(rule))
    yield from _flaws(route, _fields("spec", metadata=_fields(generation=COUNT), spec=spec, status=STATUS), ())


def _flaws(value: Any, shape: Shape, path: Path) -> Iterator[tuple[Path, str]]:
    match shape:
        case Fields(members, required) if isinstance(value, dict):
            for name in sorted(required - value.keys()):
                yield path, f"it has no {name}"
            for name, member in members.items():
                if name in value:
                    yield from _flaws(value[name], member, (*path, name))
        case ListOf(items) if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _flaws(item, items, (*path, index))
        case Fields() | ListOf():
            yield path, f"{_said(value)} is no {'object' if isinstance(shape, Fields) else 'list'}"
        case Text() | Number():
            words = _of_scalar(value, shape)
            if words:
                yield path, words


def _of_scalar(value: Any, shape: Text | Number) -> str:
    match shape:
        case Text(required):
            if not isinstance(value, str):
                return f"{_said(value)} is no text"
            return "it is empty" if required and not value else ""
        case Number(least, most):
            if isinstance(value, bool) or not isinstance(value, int):
                return f"{_said(value)} is no whole number"
            return "" if least <= value <= most else f"{_said(value)} is not in the range of {least} to {most}"


def _said(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 40 else f"{words[:39]}…"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value
