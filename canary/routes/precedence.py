"""Which of two matches of one route a gateway prefers, in the order that the Gateway API prescribes.

HTTPRoute, `spec.rules.matches`: "Exact" path match; "Prefix" path match with largest number of characters; method match; largest
number of header matches; largest number of query param matches. GRPCRoute: the largest number of characters in a matching
service, of characters in a matching method, of header matches. What is still even goes to the first matching rule. (Hostnames
come before all that for gRPC, and are the same for all rules of a route.)

"The precedence of RegularExpression path matches [is] implementation-specific", so it is told apart from both answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

Json = dict[str, Any]

GRPC_ROUTE = "GRPCRoute"
REGULAR_EXPRESSION = "RegularExpression"
EXACT = "Exact"
PATH_PREFIX = "PathPrefix"


class HttpOrder(NamedTuple):
    """What matches of an HTTPRoute are compared by, the greater one first. `prefix`: characters, 0 for an Exact path."""

    exact: bool
    prefix: int
    method: bool
    headers: int
    query_params: int


class GrpcOrder(NamedTuple):
    """What matches of a GRPCRoute are compared by, the greater one first. `service`, `method`: characters."""

    service: int
    method: int
    headers: int


class Undecidable(StrEnum):
    """Why the Gateway API does not say which match comes first."""

    REGULAR_EXPRESSION = "where a regular expression stands in the order is up to each gateway"
    REPEATED_NAME = "a header or query parameter is listed twice there, and gateways count that differently"
    TRAILING_SLASH = "their paths differ by a slash at the end only, which some gateways drop before they compare"


def matches_of(kind: str, rule: Json) -> tuple[Json, ...]:
    """The matches of a rule as they work: without any, every request matches."""
    given = rule.get("matches")
    if given:
        return tuple(given)
    return ({},) if kind == GRPC_ROUTE else ({"path": {"type": PATH_PREFIX, "value": "/"}},)


def path_of(match: Json) -> tuple[str, str]:
    """Type and value of the path of an HTTPRouteMatch; absent members are as the API fills them in."""
    path = match.get("path") or {}
    return path.get("type") or PATH_PREFIX, path.get("value") or "/"


def name_of(field: Json, *, header: bool) -> str:
    """The name by which two header matches, or two query parameter matches, are of the same thing."""
    name: str = field.get("name") or ""
    return name.lower() if header else name


def order(kind: str, match: Json) -> HttpOrder | GrpcOrder | Undecidable:
    """What a match is compared by, or why nothing can be said."""
    headers, query_params = match.get("headers") or (), match.get("queryParams") or ()
    if _repeats(headers, header=True) or _repeats(query_params, header=False):
        return Undecidable.REPEATED_NAME
    if kind == GRPC_ROUTE:
        method = match.get("method") or {}
        if method.get("type") == REGULAR_EXPRESSION:
            return Undecidable.REGULAR_EXPRESSION
        return GrpcOrder(len(method.get("service") or ""), len(method.get("method") or ""), len(headers))
    path, value = path_of(match)
    if path == REGULAR_EXPRESSION:
        return Undecidable.REGULAR_EXPRESSION
    prefix = len(value) if path == PATH_PREFIX else 0
    return HttpOrder(path == EXACT, prefix, bool(match.get("method")), len(headers), len(query_params))


def outranks(kind: str, first: Json, second: Json) -> bool | Undecidable:
    """Whether the first of two matches that one request satisfies is preferred wherever their rules stand.

    False also for two that are even: between them the order of the rules decides.
    """
    one, other = order(kind, first), order(kind, second)
    if isinstance(one, Undecidable):
        return one
    if isinstance(other, Undecidable):
        return other
    if kind != GRPC_ROUTE and _differ_by_a_slash(path_of(first), path_of(second)):
        return Undecidable.TRAILING_SLASH
    return one > other


def _repeats(fields: Sequence[Json], *, header: bool) -> bool:
    return len({name_of(field, header=header) for field in fields}) < len(fields)


def _differ_by_a_slash(first: tuple[str, str], second: tuple[str, str]) -> bool:
    prefixes = first[0] == second[0] == PATH_PREFIX
    return prefixes and first[1] != second[1] and first[1].rstrip("/") == second[1].rstrip("/")
