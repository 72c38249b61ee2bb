"""Datadog, by its API for timeseries points (v1). Pure.

What it answers is what its documentation says: `status` may be `error` in an answer of 200, a series may have no points or points that
are null, and who asks too often is told by headers for how long.
"""

from __future__ import annotations

import re
from datetime import datetime

from canary.checks import percent
from canary.checks.sources.datadog import Datadog
from canary.metrics.asking import REFUSES
from canary.metrics.http import Request
from canary.metrics.http_answer import Answer, Senseless
from canary.metrics.points import Shape, last_of_each
from canary.metrics.server_time import APART
from canary.model.measurement import Measurement

TOO_OFTEN = 429
_SHAPE = Shape("pointlist", time=0, value=1, unit=1000.0)
_COUNT = re.compile(r"[0-9]{1,9}")


class DatadogApi:
    """GET /api/v1/query."""

    def request(self, source: Datadog, now: datetime) -> Request:
        until = int(now.timestamp())
        fields = (("from", str(until - int(source.window))), ("to", str(until)), ("query", source.query))
        return Request("GET", f"{source.origin}/api/v1/query?{percent.form(fields)}", timed=True)

    def measurement(self, source: Datadog, answer: Answer) -> Measurement:
        if answer.status == TOO_OFTEN:
            return answer.unreachable("RateLimited", f"{answer.answered}: {_limit(answer)}")
        if answer.status in REFUSES:
            return answer.not_authorized()
        try:
            document = answer.json()
        except Senseless as error:
            return answer.refused() or answer.malformed("UnexpectedResult", str(error))
        said = document if isinstance(document, dict) else {}
        errors = said.get("errors")
        words = answer.words(said.get("error") or (errors[0] if isinstance(errors, list) and errors else ""))
        if answer.status == 400:
            return answer.malformed("BadQuery", words or f"{answer.answered}: it does not understand the query")
        refused = answer.refused()
        if refused is not None:
            return refused
        if said.get("status") != "ok":
            return answer.malformed("BadQuery", words or f"{answer.answered}, and that this is an error")
        try:
            end = (answer.asked + APART).timestamp()
            return last_of_each(answer, said.get("series"), _SHAPE, source.window, end)
        except Senseless as error:
            return answer.malformed("UnexpectedResult", str(error))


def _limit(answer: Answer) -> str:
    """In words, from headers of which only numbers are believed."""
    limit, period, reset = (
        value if _COUNT.fullmatch(value := answer.headers.get(f"x-ratelimit-{name}", "")) else ""
        for name in ("limit", "period", "reset")
    )
    allowed = f" ({limit} requests in {period} s)" if limit and period else ""
    again = f"; it takes the next one in {reset} s" if reset else ""
    return f"too many requests of this account{allowed}{again}; ask less often, by a longer interval"
