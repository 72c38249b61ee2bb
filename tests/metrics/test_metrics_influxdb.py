"""InfluxDB: a real one, and what it could answer besides."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx
from influxdb_kit import NAME, PASSWORD, influxdb
from secrets_kit import Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.influxdb import Influxdb
from canary.metrics.apis import APIS
from canary.metrics.hosts import Hosts
from canary.metrics.http import HttpProvider
from canary.metrics.port import Query
from canary.model.measurement import Malformed, Measurement, NoData, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEAM = "team-shop"


@pytest.mark.e2e
async def test_a_real_influxdb() -> None:
    """Each kind of answer; whose words they are; and that nothing is written, whoever asks."""
    vault = Vault()
    vault.put(TEAM, "influx", username=NAME, password=PASSWORD)
    async with influxdb() as server:
        provider = HttpProvider(APIS, Hosts.read(["127.0.0.1"]), secrets=vault.secrets)
        auth = Auth("influx", namespace=TEAM)

        async def ask(query: str, *, many: bool = False, **more: Any) -> Measurement:
            source = replace(Influxdb(query, server.url, "shop", auth=auth), **more)
            return await provider.measure(Query(source, timeout=10, many=many, tenant=(TEAM, "shop")), NOW)

        try:
            refused = await ask("SELECT mean(took) FROM requests", auth=None)
            assert isinstance(refused, Unreachable)
            assert (refused.reason, "name a Secret" in refused.message) == ("NotAuthorized", True)

            missing = await ask("SELECT mean(took) FROM requests")
            assert isinstance(missing, Malformed)
            assert (missing.reason, missing.message) == ("BadQuery", "database not found: shop")

            await server.run("CREATE DATABASE shop")
            await server.run("CREATE RETENTION POLICY brief ON shop DURATION 1h REPLICATION 1")
            assert isinstance(await ask("SELECT mean(took) FROM requests"), NoData)
            at = int(time.time())
            await server.write(
                "shop",
                *(f"requests,service=shop-canary,pod=a took={0.1 * n},bytes={n}i {at - n}" for n in range(1, 4)),
                f"requests,service=shop-canary,pod=b took=0.7 {at - 2}",
                f'requests,service=shop-stable,pod=c took=9,note="x" {at - 2}',
            )
            await server.write("shop", f"requests,service=shop-canary took=42 {at - 1}", policy="brief")

            where = "FROM requests WHERE service = 'shop-canary' AND time > now() - 1m"
            found = await ask(f"SELECT mean(took) {where}")
            assert isinstance(found, Sample)
            assert found.value == pytest.approx((0.1 + 0.2 + 0.3 + 0.7) / 4)
            assert isinstance(latest := await ask(f"SELECT took {where} AND pod = 'a' ORDER BY time DESC"), Sample)
            assert latest.value == pytest.approx(0.1)
            assert isinstance(counted := await ask(f"SELECT sum(bytes) {where}"), Sample)
            assert counted.value == 6
            assert isinstance(brief := await ask(f"SELECT max(took) {where}", retention_policy="brief"), Sample)
            assert brief.value == 42
            by_minute = await ask(f"SELECT max(took) {where} GROUP BY time(10s) fill(null)")
            assert isinstance(by_minute, Sample)

            several = await ask(f"SELECT max(took) {where} GROUP BY pod")
            assert isinstance(several, Malformed)
            assert (several.reason, "2 values" in several.message) == ("SeveralSeries", True)
            many = await ask(f"SELECT max(took) {where} GROUP BY pod", many=True)
            assert isinstance(many, Sample)
            assert [round(value, 9) for value in many.values] == [0.3, 0.7]

            for query, reason, words in (
                ("SELECT mean( FROM requests", "BadQuery", "error parsing query"),
                (f"SELECT mean(took), max(took) {where}", "SeveralSeries", "select one"),
                (f"SELECT nosuchfunction(took) {where}", "BadQuery", "undefined function"),
                ("SELECT note FROM requests", "UnexpectedResult", "no number"),
            ):
                answer = await ask(query)
                assert isinstance(answer, Malformed), answer
                assert (answer.reason, words in answer.message) == (reason, True), answer
            assert isinstance(await ask("SELECT mean(took) FROM requests WHERE service = 'nobody'"), NoData)
            everything = await server.run("SHOW DATABASES; SELECT count(took) FROM shop..requests")
            assert "shop" in everything
        finally:
            await provider.close()


SOURCE = Influxdb('SELECT mean("took") FROM "requests"', "https://influx.example.com/db", "shop", None)


async def made_of(answer: httpx.Response, *, many: bool = False) -> Measurement:
    provider = HttpProvider(APIS, Hosts.read([".example.com"]), time_of_day=lambda: NOW)
    try:
        with respx.mock:
            respx.get("https://influx.example.com/db/query").return_value = answer
            return await provider.measure(Query(SOURCE, timeout=5, many=many), NOW)
    finally:
        await provider.close()


def series(*values: Any, columns: tuple[str, ...] = ("time", "mean"), **more: Any) -> httpx.Response:
    one = {"name": "requests", "columns": list(columns), "values": list(values)}
    return httpx.Response(200, json={"results": [{"statement_id": 0, "series": [one], **more}]})


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (series([1, 0.5]), 0.5),
        (series([3, 0.5], [2, 9]), 0.5),
        (series([2, 9], [3, 0.5]), 0.5),
        (series([2, 9], [3, None]), 9.0),
        (series([0, 7]), 7.0),
    ],
)
async def test_the_last_row_that_has_a_number(answer: httpx.Response, value: float) -> None:
    """By its time, in whichever order they come."""
    assert await made_of(answer) == Sample(value, NOW, SOURCE.text, (value,))


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (httpx.Response(200, json={"results": [{"statement_id": 0}]}), NoData, "NoData"),
        (series([1, None]), NoData, "NoData"),
        (httpx.Response(200, json={"results": [{"error": "max-select-point limit exceeded"}]}), Malformed, "BadQuery"),
        (httpx.Response(200, json={"error": "x"}), Malformed, "UnexpectedResult"),
        (httpx.Response(200, json={"results": [{}, {}]}), Malformed, "UnexpectedResult"),
        (httpx.Response(200, json=[]), Malformed, "UnexpectedResult"),
        (httpx.Response(200, text="<html>"), Malformed, "UnexpectedResult"),
        (httpx.Response(200, json={"results": [{"series": {}}]}), Malformed, "UnexpectedResult"),
        (httpx.Response(200, json={"results": [{"series": [3]}]}), Malformed, "UnexpectedResult"),
        (series(3), Malformed, "UnexpectedResult"),
        (series([1]), Malformed, "UnexpectedResult"),
        (series(["2026-01-01T00:00:00Z", 1]), Malformed, "UnexpectedResult"),
        (series([1, True]), Malformed, "UnexpectedResult"),
        (series([1, 0.9], [1000 * (NOW.timestamp() + 10**9), 0.0]), Malformed, "UnexpectedResult"),
        (series([1, 2], columns=("mean", "time")), Malformed, "UnexpectedResult"),
        (series([1, 2], partial=True), Malformed, "PartialAnswer"),
        (httpx.Response(400, json={"error": "error parsing query: found x"}), Malformed, "BadQuery"),
        (
            httpx.Response(401, json={"error": "unable to parse authentication credentials"}),
            Unreachable,
            "NotAuthorized",
        ),
        (httpx.Response(503, text="no"), Unreachable, "HTTPError"),
        (httpx.Response(503, json={"error": "timeout"}), Unreachable, "HTTPError"),
    ],
)
async def test_what_is_no_number(answer: httpx.Response, kind: type, reason: str) -> None:
    """Each has a name, an error in an answer of 200 too."""
    found = await made_of(answer)
    assert isinstance(found, kind), found
    assert found.reason == reason  # type: ignore[attr-defined]
