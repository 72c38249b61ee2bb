"""Datadog, by what its documentation says that it answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from secrets_kit import Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.datadog import KEYS, Datadog
from canary.metrics.apis import APIS
from canary.metrics.hosts import Hosts
from canary.metrics.http import HttpProvider
from canary.metrics.port import Query
from canary.model.measurement import Malformed, Measurement, NoData, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEAM = "team-shop"
API, APP = "0123456789abcdef", "fedcba9876543210"
DATADOG = Datadog("sum:errors{service:shop}.as_count()", "us5.datadoghq.com", Auth("dd", KEYS, namespace=TEAM), 300.0)


class Asked:
    """What came of a question, and the request as it was sent."""

    def __init__(self, found: Measurement, calls: respx.CallList) -> None:
        self.found = found
        self.requests = [call.request for call in calls]


async def ask(answer: httpx.Response, *, many: bool = False, hosts: str = ".datadoghq.com") -> Asked:
    vault = Vault()
    vault.put_all(TEAM, "dd", {"api-key": API, "app-key": APP}, hosts)
    provider = HttpProvider(APIS, Hosts.read([".datadoghq.com"]), secrets=vault.secrets, time_of_day=lambda: NOW)
    try:
        with respx.mock(assert_all_called=False) as router:
            router.get(url__startswith="https://").return_value = answer
            found = await provider.measure(Query(DATADOG, timeout=5, many=many, tenant=(TEAM, "shop")), NOW)
            return Asked(found, router.calls)
    finally:
        await provider.close()


def ok(*series: Any, **more: Any) -> httpx.Response:
    """As the documentation of GET /api/v1/query has it."""
    return httpx.Response(
        200,
        json={
            "status": "ok",
            "resp_version": 1,
            "res_type": "time_series",
            "query": DATADOG.query,
            "from_date": 1767322445000,
            "to_date": 1767322745000,
            "message": "",
            "group_by": [],
            "series": list(series),
            **more,
        },
    )


def points(*values: float | None) -> dict[str, Any]:
    """One a minute, the last of them of now."""
    last = NOW.timestamp()
    listed = [[1000.0 * (last - 60 * (len(values) - 1 - index)), value] for index, value in enumerate(values)]
    return {"metric": "errors", "scope": "service:shop", "interval": 60, "length": len(listed), "pointlist": listed}


def moved(series: dict[str, Any], seconds: float) -> dict[str, Any]:
    """All points later by so much."""
    return {**series, "pointlist": [[at + 1000.0 * seconds, value] for at, value in series["pointlist"]]}


async def test_datadog_is_asked_as_it_wants_to_be() -> None:
    """At the site of the account, over the window, and shown both keys and nothing else."""
    asked = await ask(ok(points(1, 2)))
    assert asked.found == Sample(2.0, NOW, DATADOG.text, (2.0,))
    (request,) = asked.requests
    assert (request.method, request.url.host, request.url.path) == ("GET", "api.us5.datadoghq.com", "/api/v1/query")
    until = int(NOW.timestamp())
    assert parse_qs(request.url.query.decode()) == {
        "from": [str(until - 300)],
        "to": [str(until)],
        "query": [DATADOG.query],
    }
    assert (request.headers["dd-api-key"], request.headers["dd-application-key"]) == (API, APP)
    assert "authorization" not in request.headers


async def test_keys_are_shown_where_the_secret_says() -> None:
    """Not at another site."""
    asked = await ask(ok(points(1)), hosts="api.datadoghq.eu")
    assert isinstance(asked.found, Malformed)
    assert asked.found.reason == "SecretForOthers"
    assert asked.requests == []


LIMITED = {
    "X-RateLimit-Limit": "100",
    "X-RateLimit-Period": "3600",
    "X-RateLimit-Remaining": "0",
    "X-RateLimit-Reset": "12",
}


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "words"),
    [
        (ok(), NoData, "NoData", "selects nothing"),
        (ok(points()), NoData, "NoData", "are null"),
        (ok(points(None, None)), NoData, "NoData", "are null"),
        (ok(points(1, *[None] * 4)), NoData, "NoData", "of which the last 4 are null"),
        (ok(points(1), points(2)), Malformed, "SeveralSeries", "2 values"),
        (ok({"scope": "x"}), Malformed, "UnexpectedResult", "no pointlist"),
        (ok({"pointlist": [[1.0]]}), Malformed, "UnexpectedResult", "a point that is none"),
        (ok({"pointlist": [[1.0, "1"]]}), Malformed, "UnexpectedResult", "a point that is no number"),
        (ok({"pointlist": [["now", 1.0]]}), Malformed, "UnexpectedResult", "a point that is of no time"),
        (ok(moved(points(0.5, 0.0), 10**9)), Malformed, "UnexpectedResult", "dated later than what was asked for"),
        (ok(moved(points(0.5, 0.0), 61)), Malformed, "UnexpectedResult", "dated later than what was asked for"),
        (ok(moved(points(None, 0.0), 86400)), Malformed, "UnexpectedResult", "dated later than what was asked for"),
        (ok(moved(points(0.5, 0.0), -3600)), NoData, "NoData", "older than the window of 300 s"),
        (ok(moved(points(0.5, 0.0, None), -3600)), NoData, "NoData", "older than the window of 300 s"),
        (ok(3), Malformed, "UnexpectedResult", "no pointlist"),
        (ok(series=None), Malformed, "UnexpectedResult", "without a list of series"),
        (
            ok(status="error", error="Error parsing query: unexpected }"),
            Malformed,
            "BadQuery",
            "Error parsing query: unexpected }",
        ),
        (ok(status="error"), Malformed, "BadQuery", "that this is an error"),
        (httpx.Response(200, json=[]), Malformed, "BadQuery", "that this is an error"),
        (httpx.Response(200, text="<html>"), Malformed, "UnexpectedResult", "no JSON"),
        (
            httpx.Response(400, json={"status": "error", "error": "Rule 'scope' didn't match"}),
            Malformed,
            "BadQuery",
            "didn't match",
        ),
        (httpx.Response(400, json={"errors": ["Invalid query"]}), Malformed, "BadQuery", "Invalid query"),
        (
            httpx.Response(403, json={"errors": ["Forbidden"]}),
            Unreachable,
            "NotAuthorized",
            "does not accept Secret dd",
        ),
        (httpx.Response(401, text="no"), Unreachable, "NotAuthorized", "does not accept Secret dd"),
        (
            httpx.Response(
                429, json={"errors": ["Rate limit of 100 requests in 3600 seconds reached"]}, headers=LIMITED
            ),
            Unreachable,
            "RateLimited",
            "(100 requests in 3600 s); it takes the next one in 12 s",
        ),
        (
            httpx.Response(429, headers={"X-RateLimit-Reset": "<script>"}),
            Unreachable,
            "RateLimited",
            "too many requests of this account; ask less often",
        ),
        (httpx.Response(500, text="oops"), Unreachable, "HTTPError", "answered 500"),
        (
            httpx.Response(302, headers={"Location": "https://evil.example.com"}),
            Unreachable,
            "HTTPError",
            "not followed",
        ),
    ],
)
async def test_what_datadog_answers_besides(answer: httpx.Response, kind: type, reason: str, words: str) -> None:
    """Errors in an answer of 200, no series, points that are null, and limits, each by its name."""
    found = (await ask(answer)).found
    assert isinstance(found, kind), found
    assert (found.reason, words in found.message) == (reason, True), found  # type: ignore[attr-defined]


async def test_several_series_are_for_a_condition() -> None:
    """The last point that is a number, of each."""
    found = (await ask(ok(points(1, None), points(None, 3, None)), many=True)).found
    assert isinstance(found, Sample)
    assert found.values == (1.0, 3.0)


@pytest.mark.parametrize("status", [200, 400, 403, 429])
async def test_words_that_repeat_a_key_are_withheld(status: int) -> None:
    """In an error of whatever status."""
    said = {"status": "error", "error": f"key {API} and {APP}", "errors": [f"key {API}"]}
    asked = await ask(httpx.Response(status, json=said, headers={"X-RateLimit-Limit": API}))
    assert API not in repr(asked.found)
    assert APP not in repr(asked.found)
