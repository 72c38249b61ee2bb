from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession
from native_kit import WRITES, Native, write_request

from canary.checks.queries import BACKENDS, Backend
from canary.checks.render import render
from canary.checks.sources import Source
from canary.checks.sources import prometheus as source
from canary.checks.sources.buckets import Buckets
from canary.controller.counting import Counting
from canary.metrics.history import History
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.model.measurement import Malformed, Measured, Measurement, NoData, Sample, Timed
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


async def test_a_real_prometheus_with_native_histograms() -> None:
    """What it answers of them is counted as it happened: when one loses resolution, restarts, is summed or counts in floats."""
    stable, canary, fresh = Native(3), Native(5), Native(8)
    stable.observe(*[0.1] * 900, *[0.28] * 50, *[0.31] * 40, *[0.9] * 10)
    canary.observe(*[0.1] * 90, *[0.29] * 5, *[0.31] * 4, 0.9)
    fresh.observe(*[0.2] * 50)
    sources: dict[Backend, Source] = {name: Buckets(f'took{{service="{name}"}}', (0.3, 0.5)) for name in BACKENDS}
    flags = ("--enable-feature=native-histograms", "--web.enable-remote-write-receiver")
    async with Prometheus([], flags=flags) as prometheus, ClientSession() as http:
        provider, counting = PrometheusProvider(prometheus.url), Counting()

        async def happened(*, floats: bool = False) -> Measured | None:
            now = round(time.time() * 1000)
            whose = ((stable, "stable", "a"), (canary, "canary", "b"), (fresh, "canary", "c"))
            body = write_request(
                [
                    ({"__name__": "took", "service": service, "pod": pod}, [one.message(now, floats=floats)])
                    for one, service, pod in whose
                ]
            )
            async with http.post(f"{prometheus.url}/api/v1/write", data=body, headers=WRITES) as response:
                assert response.status == 204, await response.text()
            return await counting.look(sources, told, datetime.now(UTC))

        async def told(asked: Source, instant: float | None) -> Measurement:
            return await provider.measure(Query(asked, many=True, counters=True, instant=instant), datetime.now(UTC))

        assert await happened() is None
        stable.observe(*[0.2] * 90, *[0.31] * 5, *[0.7] * 5)
        canary.observe(*[0.2] * 8, 0.31, 0.7)
        found = await happened()
        assert isinstance(found, Timed)
        assert (found.stable, found.stable_within) == (100, {0.3: 95, 0.5: 95})
        assert (found.canary, found.canary_within) == (10, {0.3: 9, 0.5: 9})
        assert found.edges == {0.3: 0.324209889}

        # The canary's buckets are twice as wide three times over, and its other pod starts again and counts in floats.
        for _ in range(3):
            canary.halve()
        canary.observe(0.31, 0.36)
        fresh.restart(schema=2)
        fresh.observe(0.2, 0.7, 0.0)
        stable.observe(0.34, 0.36)
        found = await happened(floats=True)
        assert isinstance(found, Timed)
        assert (found.stable, found.stable_within) == (2, {0.3: 1, 0.5: 2})
        assert (found.canary, found.canary_within) == (5, {0.3: 3, 0.5: 4})
        assert found.edges == {0.3: 0.353553391}

        plain = await ask(provider, "took", many=True)
        assert isinstance(plain, Malformed)
        assert plain.message.startswith("the query returned native histograms, and a number is needed")
        assert isinstance(await ask(provider, "sum(histogram_count(took))"), Sample)
        summed = await told(source.Prometheus("sum(took)"), None)
        assert isinstance(summed, Sample)
        assert summed.value == stable.total + canary.total + fresh.total
        end = int(time.time()) + 1
        with History(prometheus.url) as history:
            past = await asyncio.to_thread(lambda: list(history.vectors("sum(took)", end, 1, 1)))
        assert summed.vector is not None
        assert [list(one.values()) for one in past] == [list(summed.vector.series.values())]
        await provider.close()
