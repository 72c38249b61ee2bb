"""Graphite: a real graphite-web, and what it could answer besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from graphite_kit import graphite
from secrets_kit import Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.graphite import Graphite
from canary.metrics.apis import APIS
from canary.metrics.hosts import Hosts
from canary.metrics.http import HttpProvider
from canary.metrics.port import Query
from canary.model.measurement import Malformed, Measurement, NoData, Sample, Unreachable

TEAM = "team-shop"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
END = int(NOW.timestamp())
SOURCE = Graphite("sumSeries(shop.errors, 'a b')", "https://graphite.example.com/base", None, 120.0)

SERIES: Mapping[str, list[float | None]] = {
    "shop.canary.errors": [float(minute) for minute in range(1, 21)],
    "shop.canary.requests": [100.0] * 20,
    "shop.canary.idle": [0.0] * 20,
    "shop.canary.bounced": [0.0] * 17 + [7.0, 0.0, None],
    "shop.canary.late": [*[1.0] * 17, 3.0, None, None],
    "shop.canary.stopped": [*[1.0] * 15, None, None, None, None, None],
    "shop.canary.never": [],
    "shop.stable.errors": [2.0] * 20,
}
"""By the minute. While the tests ask, the next one may begin, and all end with one null more: nothing below depends on it."""


@pytest.mark.e2e
async def test_a_real_graphite() -> None:
    """Each kind of answer, by the functions that checks are written with; and in its own words what is wrong with a target."""
    async with graphite(SERIES) as url:
        provider = HttpProvider(APIS, Hosts.read(["127.0.0.1"]))

        async def ask(target: str, *, window: float = 300, many: bool = False, address: str = url) -> Measurement:
            source = Graphite(target, address, None, window)
            return await provider.measure(Query(source, timeout=10, many=many), NOW)

        try:
            for target, value in (
                ("shop.canary.errors", 20.0),
                ("shop.canary.late", 3.0),
                ("sumSeries(shop.*.errors)", 22.0),
                ("divideSeries(shop.canary.errors, shop.canary.requests)", 0.2),
                ("asPercent(shop.canary.errors, shop.canary.requests)", 20.0),
                ("summarize(shop.canary.bounced, '5min', 'sum', true)", 7.0),
                ("alias(shop.canary.errors, 'Fehler & Rückläufer + 100%')", 20.0),
                ("keepLastValue(shop.canary.stopped)", 1.0),
            ):
                found = await ask(target, window=600 if "stopped" in target else 300)
                assert isinstance(found, Sample), found
                assert (found.value, found.query) == (value, target)

            smallest = "summarize(shop.canary.errors, '1d', 'min', true)"
            for window, earliest in ((300, 16), (600, 11)):
                found = await ask(smallest, window=window)
                assert isinstance(found, Sample), found
                assert found.value in (earliest, earliest + 1), "the window is what was asked about"

            several = await ask("shop.*.errors")
            assert isinstance(several, Malformed)
            assert (several.reason, "2 values" in several.message) == ("SeveralSeries", True)
            many = await ask("shop.*.errors", many=True)
            assert isinstance(many, Sample)
            assert many.values == (20.0, 2.0)

            for target, words in (
                ("shop.nobody.errors", "selects nothing"),
                ("sumSeries(shop.canary.errors", "selects nothing"),
                ("shop.canary.stopped", "are null"),
                ("shop.canary.never", "are null"),
                ("divideSeries(shop.canary.errors, shop.canary.idle)", "are null"),
                ("divideSeries(shop.canary.errors, shop.nobody.requests)", "are null"),
            ):
                nothing = await ask(target)
                assert isinstance(nothing, NoData), (target, nothing)
                assert words in nothing.message, (target, nothing)
            too_short = await ask("shop.canary.late", window=1)
            assert isinstance(too_short, NoData), "a series by the minute, asked about one second"

            infinite = await ask("scale(shop.canary.errors, 1e308)")
            assert isinstance(infinite, Malformed)
            assert infinite.reason == "NotANumber"

            unknown = await ask("nosuch(shop.canary.errors)")
            assert isinstance(unknown, Malformed)
            assert (unknown.reason, "unknown function: nosuch" in unknown.message) == ("BadQuery", True)

            for target, words in (
                ("summarize(shop.canary.errors)", "missing 1 required positional argument: 'intervalString'"),
                ("movingAverage(shop.canary.errors, 'soon')", "Invalid offset: soon"),
                ("scale(shop.canary.errors, 'much')", "could not convert string to float: 'much'"),
            ):
                raised = await ask(target)
                assert isinstance(raised, Unreachable), raised
                assert (raised.reason, words in raised.message) == ("HTTPError", True), raised

            elsewhere = await ask("shop.canary.errors", address=url.removesuffix("/graphite"))
            assert isinstance(elsewhere, Unreachable)
            assert (elsewhere.reason, "answered 404" in elsewhere.message) == ("HTTPError", True)
        finally:
            await provider.close()


class Asked:
    """What came of a question, and the requests as they were sent."""

    def __init__(self, found: Measurement, calls: respx.CallList) -> None:
        self.found = found
        self.requests = [call.request for call in calls]


async def made_of(answer: httpx.Response, source: Graphite = SOURCE, vault: Vault | None = None) -> Asked:
    secrets, hosts = vault.secrets if vault else None, Hosts.read([".example.com"])
    provider = HttpProvider(APIS, hosts, secrets=secrets, time_of_day=lambda: NOW)
    try:
        with respx.mock(assert_all_called=False) as router:
            router.get(url__startswith="https://").return_value = answer
            return Asked(await provider.measure(Query(source, timeout=5, tenant=(TEAM, "shop")), NOW), router.calls)
    finally:
        await provider.close()


def target(*values: float | None, **more: Any) -> Mapping[str, Any]:
    listed = [[value, END - (len(values) - 1 - index)] for index, value in enumerate(values)]
    return {"target": "a", "datapoints": listed, **more}


REFUSED = 'Invalid parameters (Received request for unknown function: nosuch); targets: "nosuch(shop.errors)"'
"""As graphite-web 1.1.10 answered."""


async def test_graphite_says_what_it_does_not_understand() -> None:
    """In its own words, where these are no page for a person."""
    for text, said in ((REFUSED, REFUSED), ("<html>Invalid</html>", "it does not understand the target")):
        found = (await made_of(httpx.Response(400, text=text))).found
        assert isinstance(found, Malformed)
        assert (found.reason, said in found.message) == ("BadQuery", True), found


PAGE = "<body><h2><p>Graphite encountered an unexpected error while handling your request.</p></h2>{}</body>"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            PAGE.format("<pre>\nTraceback:\n  File x\nValueError: &#x27;a&#x27; &lt; 1\n\n</pre>"),
            " answered 500: ValueError: 'a' < 1",
        ),
        (PAGE.partition("{}")[0] + "<pre>KeyError: 'cut", " answered 500: KeyError: 'cut"),
        (PAGE.format("<pre>" + "x" * 1000 + "</pre>"), " answered 500: " + "x" * 300),
        (PAGE.format("<pre>\n</pre>"), " answered 500"),
        (PAGE.format(""), " answered 500"),
        ("<html><pre>ValueError: of a proxy</pre>", " answered 500"),
        ("", " answered 500"),
    ],
)
async def test_graphite_says_what_went_wrong(page: str, said: str) -> None:
    """By the last line of its stack trace, and not by anybody else's page."""
    found = (await made_of(httpx.Response(500, text=page))).found
    assert isinstance(found, Unreachable)
    assert (found.reason, found.message) == ("HTTPError", f"https://graphite.example.com:443/base{said}"), found


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (httpx.Response(200, json=[target(1, 2)]), Sample, ""),
        (httpx.Response(200, json=[target(1, 2, None)]), Sample, ""),
        (httpx.Response(200, json=[]), NoData, "NoData"),
        (httpx.Response(200, json=[target(None)]), NoData, "NoData"),
        (httpx.Response(200, json=[target(1), target(2)]), Malformed, "SeveralSeries"),
        (httpx.Response(200, text=f'[{{"target": "a", "datapoints": [[NaN, {END}]]}}]'), Malformed, "NotANumber"),
        (httpx.Response(200, text=f'[{{"target": "a", "datapoints": [[1e9999, {END}]]}}]'), Malformed, "NotANumber"),
        (httpx.Response(200, json=[target(1, datapoints=[[2, END - 3600]])]), NoData, "NoData"),
        (httpx.Response(200, json=[target(1, datapoints=[[1, END], [2, END + 10**9]])]), Malformed, "UnexpectedResult"),
        (httpx.Response(200, json=[target(1, datapoints=[[2, None]])]), Malformed, "UnexpectedResult"),
        (httpx.Response(200, json=[target(1, datapoints=[[2, END + 600]])]), Sample, ""),
        (httpx.Response(200, json={"error": "x"}), Malformed, "UnexpectedResult"),
        (httpx.Response(200, text="a,1,2|3"), Malformed, "UnexpectedResult"),
        (httpx.Response(400, text="Invalid target"), Malformed, "BadQuery"),
        (httpx.Response(500, text="<html>"), Unreachable, "HTTPError"),
        (httpx.Response(401), Unreachable, "NotAuthorized"),
    ],
)
async def test_what_graphite_answers(answer: httpx.Response, kind: type, reason: str) -> None:
    """The last point that is a number; what is none has a name."""
    asked = await made_of(answer)
    assert isinstance(asked.found, kind), asked.found
    if isinstance(asked.found, Sample):
        assert asked.found.value == 2.0
    else:
        assert asked.found.reason == reason
    (request,) = asked.requests
    assert (request.url.host, request.url.path) == ("graphite.example.com", "/base/render")
    assert parse_qs(request.url.query.decode()) == {
        "target": [SOURCE.target],
        "from": ["-120s"],
        "until": ["now"],
        "format": ["json"],
    }


@pytest.mark.parametrize("status", [400, 500])
async def test_words_that_repeat_a_credential_are_withheld(status: int) -> None:
    """Of a refusal, and of a stack trace."""
    said = "Invalid parameters (of {0})" if status == 400 else PAGE.format("<pre>\nValueError: &#x27;{0}&#x27;\n</pre>")
    vault = Vault()
    vault.put_all(TEAM, "front", {"username": "canary", "password": "let'me<in"}, ".example.com")
    source = replace(SOURCE, auth=Auth("front", namespace=TEAM))
    repeated = said.format(escape("let'me<in") if status == 500 else "let'me<in")
    asked = await made_of(httpx.Response(status, text=repeated), source, vault)
    assert asked.requests[0].headers["authorization"].startswith("Basic ")
    assert isinstance(asked.found, Malformed | Unreachable)
    assert ("withheld" in asked.found.message, "me<in" in asked.found.message) == (True, False), asked.found


async def test_a_host_that_is_not_allowed_is_asked_nothing() -> None:
    """Neither by a check, nor before a run."""
    asked = await made_of(httpx.Response(200, json=[]), replace(SOURCE, address="https://graphite.internal"))
    assert isinstance(asked.found, Malformed)
    assert asked.found.reason == "AddressNotAllowed"
    assert asked.requests == []
