"""What the comparer says: /results, /metrics and /healthz, on a port of their own, for any path may be one of the application's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import accumulate

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from canary.comparer.mirror import Mirror
from canary.comparer.tally import BUCKETS, Tally

REST = 9.0
"""Results are not made again before so many times the time that it took: whoever asks without end takes a tenth of the processor."""


def admin(
    tally: Tally,
    mirror: Mirror,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """The application that serves them."""
    kept, stale_at = "", -math.inf
    registry = CollectorRegistry()
    registry.register(_Series(tally, mirror))
    ProcessCollector(registry=registry)

    async def results(_: web.Request) -> web.Response:
        nonlocal kept, stale_at
        began = clock()
        if began >= stale_at:
            kept = tally.results(now()).text()
            stale_at = clock() + REST * (clock() - began)
        return web.Response(text=kept, content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(status=503, text="stopping\n") if mirror.stopping else web.Response(text="ok\n")

    app = web.Application()
    app.router.add_get("/results", results)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    return app


class _Series(Collector):
    """The counters as Prometheus reads them. Field paths are not among them: there may be thousands."""

    def __init__(self, tally: Tally, mirror: Mirror) -> None:
        self._tally, self._mirror = tally, mirror

    def collect(self) -> Iterator[Metric]:
        tally = self._tally
        for name, what, value in (
            ("received", "Mirrored requests that arrived.", tally.received),
            ("compared", "Requests that were sent on three times and compared.", tally.compared),
            ("different", "Compared requests in which the canary alone differed somewhere.", tally.different),
        ):
            yield CounterMetricFamily(f"canary_comparer_{name}", what, value)
        dropped = CounterMetricFamily("canary_comparer_dropped", "Requests not compared, by why.", labels=["reason"])
        for why, count in sorted(tally.dropped.items()):
            dropped.add_metric([why], count)
        yield dropped
        failures = CounterMetricFamily(
            "canary_comparer_failures", "Answers that were failures, or never came.", labels=["version"]
        )
        for version, count in tally.failures.items():
            failures.add_metric([version], count)
        yield failures
        yield GaugeMetricFamily(
            "canary_comparer_share", "Share of requests that stable can bear, from 0 to 1.", self._mirror.guard.share
        )
        yield GaugeMetricFamily("canary_comparer_under_way", "Comparisons under way.", self._mirror.under_way)
        latency = HistogramMetricFamily(
            "canary_comparer_latency_seconds", "Time to an answer of compared requests.", labels=["version"]
        )
        bounds = [*map(str, BUCKETS), "+Inf"]
        for version, counts in tally.latency.items():
            buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
            latency.add_metric([version], buckets, tally.seconds[version])
        yield latency
