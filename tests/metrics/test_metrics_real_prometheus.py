from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from canary.checks.render import render
from canary.checks.sources import prometheus as source
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, Measurement, NoData, Sample
from canary.telemetry import Telemetry, TelemetryServer
from canary_sandbox.prometheus import Prometheus

pytestmark = pytest.mark.e2e


async def ask(provider: PrometheusProvider, text: str, *, many: bool = False) -> Measurement:
    return await provider.measure(Query(source.Prometheus(text), many=many), datetime.now(UTC))


async def scraped(provider: PrometheusProvider) -> None:
    """Waits until Prometheus has seen the series that the test is about."""
    async with asyncio.timeout(30):
        while not isinstance(await ask(provider, "canary_active_runs"), Sample):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def test_a_real_prometheus() -> None:
    """What our fake server taught us holds for the real one: each kind of answer, and each kind of not knowing."""
    telemetry = Telemetry()
    telemetry.active_runs(4)
    telemetry.weights("team", "shop", desired=50, written=50, accepted=10)
    served = TelemetryServer(telemetry, beat=time.monotonic, waiting_for=list)
    async with served, Prometheus([f"{served.url}/metrics"]) as prometheus:
        provider = PrometheusProvider(prometheus.url)
        await scraped(provider)

        one = await ask(provider, render("max(canary_active_runs) * {{ weight }}", {"weight": 2}))
        assert isinstance(one, Sample)
        assert one.value == 8
        assert isinstance(await ask(provider, "scalar(max(canary_active_runs))"), Sample)
        assert isinstance(await ask(provider, "no_such_series"), NoData)

        weights = 'canary_rollout_weight_percent{rollout="shop"}'
        several = await ask(provider, weights)
        assert isinstance(several, Malformed)
        assert several.reason == "SeveralSeries"
        assert 'stage="accepted"' in several.message
        many = await ask(provider, weights, many=True)
        assert isinstance(many, Sample)
        assert many.values == (10, 50, 50)

        for text, reason, words in (
            ("vector(0) / vector(0)", "NotANumber", "NaN"),
            ("vector(1) / vector(0)", "NotANumber", "+Inf"),
            ("canary_active_runs[1m]", "UnexpectedResult", "matrix"),
            ('"5"', "UnexpectedResult", "string"),
            ("sum(", "BadQuery", "parse error"),
            ("canary_rollout_weight_percent * on() canary_rollout_weight_percent", "BadQuery", "many-to-many"),
        ):
            answer = await ask(provider, text)
            assert isinstance(answer, Malformed), text
            assert answer.reason == reason
            assert words in answer.message
        refusal = await provider.validate(Query(source.Prometheus("rate(x)[")))
        assert refusal is not None
        assert "parse error" in refusal.words
        assert await provider.validate(Query(source.Prometheus("no_such_series"))) is None
        await provider.close()
