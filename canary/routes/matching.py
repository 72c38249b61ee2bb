"""What matches of a route have in common: whether a request can satisfy two, whether all requests of one satisfy another.

A header or a query parameter is taken to have one value in a request, as the Gateway API advises; of requests that repeat one it
leaves everything to the gateway.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from canary.routes.precedence import EXACT, GRPC_ROUTE, PATH_PREFIX, REGULAR_EXPRESSION, name_of, path_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """A header or a query parameter and what it has to be; `type` as in the Gateway API, Exact or RegularExpression."""

    name: str
    value: str
    type: str = EXACT

    @property
    def document(self) -> Json:
        """The same in a route, with nothing left for an API server to fill in."""
        return {"type": self.type, "name": self.name, "value": self.value}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a request has to carry, all of it, to be an opted-in one."""

    headers: tuple[FieldMatch, ...] = ()
    query_params: tuple[FieldMatch, ...] = ()

    def __str__(self) -> str:
        kinds = (("header", self.headers), ("query parameter", self.query_params))
        return " and ".join(f"{kind} {field.name}" for kind, fields in kinds for field in fields)

    def taken(self, match: Json) -> str:
        """What of it a match speaks of already, or it says twice itself, in words; empty when nothing."""
        for kind, member, given in (
            ("header", "headers", self.headers),
            ("query parameter", "queryParams", self.query_params),
        ):
            header = kind == "header"
            seen = {name_of(field, header=header) for field in match.get(member) or ()}
            for field in given:
                name = name_of(field.document, header=header)
                if name in seen:
                    return f"{kind} {field.name}"
                seen.add(name)
        return ""

    def narrowed(self, kind: str, match: Json) -> Json:
        """A copy of a match that asks for this as well."""
        narrow = copy.deepcopy(match)
        if kind != GRPC_ROUTE:
            narrow.setdefault("path", {"type": PATH_PREFIX, "value": "/"})
        for member, given in (("headers", self.headers), ("queryParams", self.query_params)):
            if given:
                narrow[member] = [*(narrow.get(member) or ()), *(field.document for field in given)]
        return narrow


def meet(kind: str, first: Json, second: Json) -> bool:
    """Whether a request can satisfy both matches; also True where regular expressions leave it open."""
    if kind == GRPC_ROUTE:
        places = _grpc_parts(first), _grpc_parts(second)
        same_place = all(_agree(places[0].get(part), places[1].get(part)) for part in ("service", "method"))
    else:
        methods = first.get("method"), second.get("method")
        same_place = (not all(methods) or methods[0] == methods[1]) and _paths_meet(path_of(first), path_of(second))
    one, other = _fields(first), _fields(second)
    return same_place and all(_agree(one[key], other[key]) for key in one.keys() & other.keys())


def covers(kind: str, wide: Json, narrow: Json) -> bool:
    """Whether every request that satisfies the narrow match plainly satisfies the wide one."""
    if kind == GRPC_ROUTE:
        places = _grpc_parts(wide), _grpc_parts(narrow)
        place = all(places[0][part] == places[1].get(part) for part in places[0])
    else:
        method = wide.get("method")
        place = (not method or method == narrow.get("method")) and _path_covers(path_of(wide), path_of(narrow))
    fields = _fields(narrow)
    return place and all(fields.get(key) == field for key, field in _fields(wide).items())


Part = tuple[str, str]
"""Type and value."""


def _agree(first: Part | None, second: Part | None) -> bool:
    """Whether one text can be both; what is not asked for can be anything."""
    if first is None or second is None or REGULAR_EXPRESSION in {first[0], second[0]}:
        return True
    return first == second


def _grpc_parts(match: Json) -> dict[str, Part]:
    method: Mapping[str, str] = match.get("method") or {}
    return {part: (method.get("type") or EXACT, method[part]) for part in ("service", "method") if method.get(part)}


def _fields(match: Json) -> dict[tuple[str, str], Part]:
    """What headers and query parameters have to be; of several of one name, only the first counts."""
    found: dict[tuple[str, str], Part] = {}
    for key, part in _each_field(match):
        found.setdefault(key, part)
    return found


def _each_field(match: Json) -> Iterator[tuple[tuple[str, str], Part]]:
    for member in ("headers", "queryParams"):
        for field in match.get(member) or ():
            key = member, name_of(field, header=member == "headers")
            yield key, (field.get("type") or EXACT, field.get("value") or "")


def _paths_meet(first: Part, second: Part) -> bool:
    if REGULAR_EXPRESSION in {first[0], second[0]}:
        return True
    return _path_covers(first, second) or _path_covers(second, first)


def _path_covers(wide: Part, narrow: Part) -> bool:
    """By whole elements of the path: `/foo` covers `/foo/bar` and not `/foobar`; a slash at the end of a prefix counts for nothing."""
    if REGULAR_EXPRESSION in {wide[0], narrow[0]} or wide[0] == EXACT:
        return wide == narrow
    return f"{narrow[1].rstrip('/')}/".startswith(f"{wide[1].rstrip('/')}/")
