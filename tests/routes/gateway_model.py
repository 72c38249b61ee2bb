"""A gateway in thirty lines: which rule of a route serves a request. Written from the Gateway API's text alone, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A request to a host of the route; names of headers in lower case. For gRPC the path is /service/method."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


def serving(route: Json, request: Request) -> int | None:
    """The index of the rule that serves a request; None: nothing does, and it is answered with 404."""
    ranks = []
    for index, rule in enumerate(route["spec"]["rules"]):
        for match in rule.get("matches") or [{}]:
            rank = _grpc(match, request) if route["kind"] == "GRPCRoute" else _http(match, request)
            if rank is not None:
                ranks.append((*rank, -index))
    return -max(ranks)[-1] if ranks else None


def _http(match: Json, request: Request) -> tuple[int, ...] | None:
    path = {"type": "PathPrefix", "value": "/", **match.get("path", {})}
    if path["type"] == "Exact":
        fits, rank = request.path == path["value"], (1, 0)
    else:
        wanted = [part for part in path["value"].split("/") if part]
        given = [part for part in request.path.split("/") if part]
        fits, rank = given[: len(wanted)] == wanted, (0, len(path["value"]))
    fits = fits and match.get("method", request.method) == request.method
    headers, query = match.get("headers", []), match.get("queryParams", [])
    fits = fits and all(request.headers.get(one["name"].lower()) == one["value"] for one in headers)
    fits = fits and all(request.query.get(one["name"]) == one["value"] for one in query)
    return (*rank, int("method" in match), len(headers), len(query)) if fits else None


def _grpc(match: Json, request: Request) -> tuple[int, ...] | None:
    _, service, method = request.path.split("/")
    wanted, headers = match.get("method", {}), match.get("headers", [])
    fits = wanted.get("service", service) == service and wanted.get("method", method) == method
    fits = fits and all(request.headers.get(one["name"].lower()) == one["value"] for one in headers)
    return (len(wanted.get("service", "")), len(wanted.get("method", "")), len(headers)) if fits else None


def requests(kind: str, headers: dict[str, list[str]], query: dict[str, list[str]]) -> Iterator[Request]:
    """Every request there is, as far as the routes of these tests can tell them apart; a header may be absent."""
    places = [("/a/b", "GET"), ("/a", "GET"), ("/ab", "GET"), ("/", "GET"), ("/a", "POST"), ("/a/b", "POST")]
    if kind == "GRPCRoute":
        places, query = (
            [(f"/{service}/{method}", "POST") for service in ("s", "long", "o") for method in ("m", "n")],
            {},
        )
    choices = [[(name, value) for value in (None, *values)] for name, values in (*headers.items(), *query.items())]
    for path, method in places:
        for chosen in itertools.product(*choices):
            has = {name: value for name, value in chosen if value is not None}
            yield Request(
                path,
                method,
                {name: value for name, value in has.items() if name in headers},
                {name: value for name, value in has.items() if name in query},
            )
