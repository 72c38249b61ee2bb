"""Matches of HTTPRoutes and GRPCRoutes → Envoy route matches, and who goes first."""

from __future__ import annotations

from canary_sandbox.gateway.objects import Json


class UnsupportedError(Exception):
    """A value that this gateway does not serve; becomes Accepted=False, reason UnsupportedValue."""


def http_match(match: Json) -> Json:
    """The Envoy match of an HTTPRouteMatch. Raises UnsupportedError."""
    path = match.get("path") or {}
    kind, value = path.get("type") or "PathPrefix", path.get("value") or "/"
    body: Json
    match kind:
        case "Exact":
            body = {"path": value}
        case "PathPrefix":
            # By path elements: /foo matches /foo and /foo/bar, never /foobar.
            trimmed = value.rstrip("/")
            body = {"path_separated_prefix": trimmed} if trimmed else {"prefix": "/"}
        case "RegularExpression":
            body = {"safe_regex": {"regex": value}}
        case _:
            raise UnsupportedError(f"path match type {kind} not supported")
    headers = _headers(match)
    if method := match.get("method"):
        headers.append({"name": ":method", "string_match": {"exact": method}})
    if headers:
        body["headers"] = headers
    if params := match.get("queryParams"):
        body["query_parameters"] = [
            {"name": param["name"], "string_match": _string_match(param, "query parameter")} for param in params
        ]
    return body


def http_precedence(match: Json) -> tuple[int, ...]:
    """The Gateway API's order: exact paths, (regular expressions), longest prefix, method, headers, query parameters."""
    path = match.get("path") or {}
    kind, value = path.get("type") or "PathPrefix", path.get("value") or "/"
    rank = {"Exact": 0, "RegularExpression": 1}.get(kind, 2)
    return (
        rank,
        -len(value) if rank else 0,
        0 if match.get("method") else 1,
        -len(match.get("headers") or []),
        -len(match.get("queryParams") or []),
    )


def grpc_match(match: Json) -> Json:
    """The Envoy match of a GRPCRouteMatch: a call's path is `/service/method`. Raises UnsupportedError."""
    wanted = match.get("method") or {}
    if (kind := wanted.get("type") or "Exact") != "Exact":
        raise UnsupportedError(f"method match type {kind} not supported")
    body: Json
    match (wanted.get("service"), wanted.get("method")):
        case (None | "", None | ""):
            body = {"prefix": "/"}
        case (service, None | ""):
            body = {"prefix": f"/{service}/"}
        case (None | "", method):
            body = {"safe_regex": {"regex": f"/[^/]+/{method}"}}
        case (service, method):
            body = {"path": f"/{service}/{method}"}
    if headers := _headers(match):
        body["headers"] = headers
    return body


def grpc_precedence(match: Json) -> tuple[int, ...]:
    """The Gateway API's order: longest service, longest method, most headers."""
    wanted = match.get("method") or {}
    return (
        -len(wanted.get("service") or ""),
        -len(wanted.get("method") or ""),
        -len(match.get("headers") or []),
    )


def _headers(match: Json) -> list[Json]:
    return [
        {"name": header["name"], "string_match": _string_match(header, "header")}
        for header in match.get("headers") or []
    ]


def _string_match(match: Json, what: str) -> Json:
    match match.get("type") or "Exact":
        case "Exact":
            return {"exact": match["value"]}
        case "RegularExpression":
            return {"safe_regex": {"regex": match["value"]}}
        case kind:
            raise UnsupportedError(f"{what} match type {kind} not supported")
