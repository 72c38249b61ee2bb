"""InfluxDB, by InfluxQL (`/query`, as 1.x has it). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from canary.checks import percent
from canary.checks.sources.influxdb import Influxdb
from canary.metrics.asking import REFUSES
from canary.metrics.http import Request
from canary.metrics.http_answer import Answer, Senseless, number_in
from canary.metrics.points import beyond, end_of_now
from canary.model.measurement import Measurement

_MILLISECONDS = 1000.0
_ONE_FIELD = 'the query selects several fields: select one, such as mean("duration")'


class InfluxdbApi:
    """GET /query, which is for what only reads."""

    def request(self, source: Influxdb, now: datetime) -> Request:  # noqa: ARG002 - as every API
        fields = [("db", source.database), ("q", source.query), ("epoch", "ms")]
        if source.retention_policy is not None:
            fields.append(("rp", source.retention_policy))
        return Request("GET", f"{source.origin}/query?{percent.form(fields)}")

    def measurement(self, source: Influxdb, answer: Answer) -> Measurement:  # noqa: ARG002 - as every API
        if answer.status in REFUSES:
            return answer.not_authorized()
        try:
            document = answer.json()
        except Senseless as error:
            return answer.refused() or answer.malformed("UnexpectedResult", str(error))
        said = document if isinstance(document, dict) else {}
        if answer.status == 400:
            words = answer.words(said.get("error"))
            return answer.malformed("BadQuery", words or f"{answer.answered}: it does not understand the query")
        try:
            return answer.refused() or _numbers(answer, said)
        except Senseless as error:
            return answer.malformed("UnexpectedResult", str(error))


def _numbers(answer: Answer, said: dict[str, Any]) -> Measurement:
    """Raises Senseless."""
    results = said.get("results")
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        raise Senseless(f"{answer.answered} with something that is no result of a query")
    (result,) = results
    if "error" in result:
        return answer.malformed("BadQuery", answer.words(result["error"]) or f"{answer.answered} with an error")
    if result.get("partial"):
        return answer.malformed("PartialAnswer", "the query selects more rows than the server gives out: group by less")
    listed = result.get("series", [])
    if not isinstance(listed, list):
        raise Senseless(f"{answer.answered} without a list of series")
    found = []
    for one in listed:
        columns = one.get("columns") if isinstance(one, dict) else None
        if not isinstance(columns, list) or columns[:1] != ["time"]:
            raise Senseless(f"{answer.answered} with a series that has no column of times")
        if len(columns) != 2:
            return answer.malformed("SeveralSeries", _ONE_FIELD)
        last = next(_backwards(answer, one), None)
        if last is not None:
            found.append(last)
    if listed and not found:
        return answer.no_data("the query selects rows that are all null")
    return answer.numbers(found, "the query selects", "group by less, or use a condition over `values`")


def _backwards(answer: Answer, one: dict[str, Any]) -> Iterator[float]:
    """The numbers of a series, the latest first (whichever way it is ordered). Raises Senseless."""
    rows = one.get("values")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
        raise Senseless(f"{answer.answered} with rows that are none")
    times = [number_in(row[0]) for row in rows]
    if None in times:
        raise Senseless(f"{answer.answered} with a time that is none")
    for time, value in sorted(
        ((time or 0.0, row[1]) for time, row in zip(times, rows, strict=True)), key=_time, reverse=True
    ):
        if value is None:
            continue
        if time / _MILLISECONDS > end_of_now(answer):
            raise beyond(answer)
        number = number_in(value)
        if number is None:
            raise Senseless(f"{answer.answered} with a value that is no number")
        yield number


def _time(row: tuple[float, Any]) -> float:
    return row[0]
