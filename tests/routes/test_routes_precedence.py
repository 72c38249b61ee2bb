"""Which of two matches comes first, and what they have in common."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_model import Request, serving

from canary.routes.matching import Condition, FieldMatch, covers, meet
from canary.routes.precedence import Undecidable, outranks

Json = dict[str, Any]
HTTP, GRPC = "HTTPRoute", "GRPCRoute"


def path(value: str, type_: str = "PathPrefix") -> Json:
    return {"path": {"type": type_, "value": value}}


def headers(*names: str) -> Json:
    return {"headers": [{"type": "Exact", "name": name, "value": "1"} for name in names]}


def query(*names: str) -> Json:
    return {"queryParams": [{"type": "Exact", "name": name, "value": "1"} for name in names]}


def grpc(service: str = "", method: str = "") -> Json:
    return {"method": {key: value for key, value in (("service", service), ("method", method)) if value}}


FIRST = [
    (HTTP, "an exact path before any prefix and any header", path("/a", "Exact"), path("/a") | headers("x", "y")),
    (HTTP, "a longer prefix before a method", path("/a/b"), path("/a") | {"method": "GET"}),
    (HTTP, "a method before headers", {"method": "GET"}, headers("x", "y")),
    (HTTP, "more headers before more query parameters", headers("x", "y"), headers("x") | query("p", "q")),
    (HTTP, "more query parameters", query("p", "q"), query("p")),
    (HTTP, "what asks for something before what asks for nothing", headers("x"), {}),
    (GRPC, "a longer service before a method and headers", grpc("long"), grpc("s", "m") | headers("x", "y")),
    (GRPC, "a method before headers", grpc("s", "m"), grpc("s") | headers("x", "y")),
    (GRPC, "more headers", headers("x"), {}),
]


@pytest.mark.parametrize(("kind", "why", "first", "second"), FIRST, ids=[why for _, why, _, _ in FIRST])
def test_the_gateway_apis_order(kind: str, why: str, first: Json, second: Json) -> None:
    """Of two matches the one that the Gateway API names first is preferred, wherever it is listed; and never both."""
    assert outranks(kind, first, second) is True, why
    assert outranks(kind, second, first) is False, why


def test_even_matches_outrank_each_other_in_no_direction() -> None:
    """Between matches of one rank the order of the rules decides, which is not theirs to say."""
    assert outranks(HTTP, headers("x"), headers("y")) is False
    assert outranks(HTTP, headers("y"), headers("x")) is False
    assert outranks(HTTP, path("/"), {}) is False


@pytest.mark.parametrize(
    ("kind", "match", "why"),
    [
        (HTTP, path("/a.*", "RegularExpression"), Undecidable.REGULAR_EXPRESSION),
        (GRPC, {"method": {"type": "RegularExpression", "service": "s.*"}}, Undecidable.REGULAR_EXPRESSION),
        (HTTP, headers("x-team", "X-Team"), Undecidable.REPEATED_NAME),
        (HTTP, query("p", "p"), Undecidable.REPEATED_NAME),
    ],
)
def test_what_is_up_to_each_gateway_has_no_order(kind: str, match: Json, why: Undecidable) -> None:
    """A regular expression, or a header that is listed twice, ranks as each gateway likes: that is no yes and no no."""
    assert outranks(kind, match, headers("z")) is why
    assert outranks(kind, headers("z"), match) is why


def test_a_slash_at_the_end_of_a_prefix_is_not_counted_alike_everywhere() -> None:
    """`/a` and `/a/` match the same requests; whether the slash is a character that counts, gateways disagree on."""
    assert outranks(HTTP, path("/a/"), path("/a")) is Undecidable.TRAILING_SLASH
    assert outranks(HTTP, path("/a/"), path("/a", "Exact")) is False


@pytest.mark.parametrize(
    ("kind", "first", "second", "expected"),
    [
        (HTTP, path("/a"), path("/a/b"), True),
        (HTTP, path("/a"), path("/ab"), False),
        (HTTP, path("/a"), path("/ab", "Exact"), False),
        (HTTP, path("/a", "Exact"), path("/"), True),
        (HTTP, path("/a", "Exact"), path("/a/b", "Exact"), False),
        (HTTP, path("/a.*", "RegularExpression"), path("/b"), True),
        (HTTP, {"method": "GET"}, {"method": "POST"}, False),
        (HTTP, {"method": "GET"}, {}, True),
        (HTTP, headers("x"), {"headers": [{"name": "X", "value": "2"}]}, False),
        (HTTP, headers("x"), {"headers": [{"name": "X", "value": ".*", "type": "RegularExpression"}]}, True),
        (HTTP, query("p"), {"queryParams": [{"name": "p", "value": "2"}]}, False),
        (HTTP, query("p"), {"queryParams": [{"name": "P", "value": "2"}]}, True),
        (GRPC, grpc("s"), grpc("o"), False),
        (GRPC, grpc("s"), grpc("", "m"), True),
    ],
)
def test_whether_one_request_can_satisfy_two_matches(kind: str, first: Json, second: Json, *, expected: bool) -> None:
    """By whole elements of the path, names of headers whatever their case, and one value for each."""
    assert meet(kind, first, second) is expected
    assert meet(kind, second, first) is expected


@pytest.mark.parametrize(
    ("kind", "wide", "narrow", "expected"),
    [
        (HTTP, path("/a"), path("/a/b") | headers("x"), True),
        (HTTP, path("/a/b"), path("/a"), False),
        (HTTP, path("/a", "Exact"), path("/a"), False),
        (HTTP, headers("X"), headers("x", "y"), True),
        (HTTP, headers("x", "y"), headers("x"), False),
        (HTTP, {"method": "GET"}, {}, False),
        (GRPC, grpc("s"), grpc("s", "m"), True),
        (GRPC, grpc("s", "m"), grpc("s"), False),
    ],
)
def test_whether_a_match_takes_all_requests_of_another(kind: str, wide: Json, narrow: Json, *, expected: bool) -> None:
    """Only where that is plain."""
    assert covers(kind, wide, narrow) is expected


def test_a_narrowed_match_is_a_copy_that_asks_for_more() -> None:
    """What the match says already stays, an unknown member too; the path is spelled out as an API server would fill it in."""
    match = {"headers": [{"name": "a", "value": "1"}], "future": {"x": [1]}}
    condition = Condition((FieldMatch("x-canary", "yes"),), (FieldMatch("beta", ".+", "RegularExpression"),))
    assert condition.narrowed(HTTP, match) == {
        "path": {"type": "PathPrefix", "value": "/"},
        "headers": [{"name": "a", "value": "1"}, {"type": "Exact", "name": "x-canary", "value": "yes"}],
        "queryParams": [{"type": "RegularExpression", "name": "beta", "value": ".+"}],
        "future": {"x": [1]},
    }
    assert match == {"headers": [{"name": "a", "value": "1"}], "future": {"x": [1]}}
    assert str(condition) == "header x-canary and query parameter beta"


def test_the_model_serves_as_the_gateway_api_says() -> None:
    """The reference that other tests rest on, on the examples of the Gateway API's text."""
    rules = [
        {"matches": [path("/foo")]},
        {"matches": [path("/foo") | headers("version")]},
        {"matches": [path("/foo", "Exact")]},
    ]
    route = {"kind": HTTP, "spec": {"rules": rules}}
    assert serving(route, Request("/foo/bar")) == 0
    assert serving(route, Request("/foo/bar", headers={"version": "1"})) == 1
    assert serving(route, Request("/foo", headers={"version": "1"})) == 2
    assert serving(route, Request("/foobar")) is None
