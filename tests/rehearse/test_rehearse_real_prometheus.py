"""Both verbs against a real Prometheus with a past of a day: a pod restarted in it, and for ten minutes a tenth of everything failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_kit import canary
from history_kit import FAILING, SLOW, Past, past, prometheus_with
from rehearse_kit import document, steps, written

pytestmark = pytest.mark.e2e

Json = dict[str, Any]

SELECT = 'http_requests_total{service="{{ backend.service }}"'
ERRORS: Json = {
    "name": "errors",
    "interval": "15s",
    "compare": {"prometheus": {"requests": SELECT + "}", "failures": SELECT + ',code="500"}'}, "lag": "20s"},
}
SHARE = 'sum(rate(http_requests_total{service="{{ canary.service }}"'
RATE: Json = {
    "name": "error-rate",
    "interval": "15s",
    "window": "1m",
    "prometheus": {"query": SHARE + ',code="500"}[{{ window }}])) / ' + SHARE + "}[{{ window }}]))"},
    "threshold": {"max": "3%"},
}


TOOK: Json = {
    "name": "latency",
    "interval": "15s",
    "initialDelay": "30s",
    "compare": {
        "prometheus": {"buckets": 'http_took_seconds_bucket{service="{{ backend.service }}"}'},
        "slowerThan": ["100ms", "300ms"],
        "tolerance": 1.2,
        "lag": "20s",
    },
}


def moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def shop() -> Json:
    backends = {role: {"service": f"shop-{role}", "port": 80} for role in ("stable", "canary")}
    found = document(steps(10, 50), ERRORS, RATE, TOOK)
    return {**found, "spec": {**found["spec"], **backends}}


def alarms(check: Json) -> list[float]:
    return [datetime.fromisoformat(one["at"]).timestamp() for one in check["alarms"]]


async def test_a_past_is_replayed(tmp_path: Path) -> None:
    """The limit is broken during the incident and at no other time; the comparison knows that stable failed alike, and finds what is worse."""
    history: Past = past(24)
    file = written(tmp_path, shop())
    async with prometheus_with(history, tmp_path) as url:
        between = ("--from", moment(history.start), "--to", moment(history.end))
        ran = await canary("backtest", file, *between, "--times", "3", "-o", "json", CANARY_PROMETHEUS_URL=url)
        back = f"{(int(datetime.now(UTC).timestamp()) - history.start) // 60}m"
        planned = await canary("plan", file, "--over", back, "--times", "10", "-o", "json", CANARY_PROMETHEUS_URL=url)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    errors, rate, latency = told["checks"]
    assert told["warnings"] == []
    assert 1 <= len(alarms(rate)) <= 3
    assert all(history.incident.start <= at <= history.incident.stop + 60 for at in alarms(rate))
    for compared in (errors, latency):
        healthy, worse = compared["canaries"]
        assert healthy["share"] <= 0.05
        assert worse["share"] >= 0.95
        assert worse["medianSeconds"] < 300

    comparison, timed = json.loads(planned.out)["comparisons"]
    # A part of that time is after the end of what was measured: the rate is lower, what fails of it is not.
    assert 30 < comparison["requestsPerSecond"] < 60
    assert comparison["errorRate"] == pytest.approx(FAILING, rel=0.2)
    assert [one["part"] for one in timed["slower"]] == [pytest.approx(SLOW, rel=0.1), pytest.approx(SLOW / 10, rel=0.1)]
