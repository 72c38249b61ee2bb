"""A real Prometheus that has a past: counters of a day, written into its database as blocks, so that no time has to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp

from canary.cli.promtool import find
from canary.rehearse.draws import binomial
from canary_sandbox.process import ManagedProcess, answers, free_port
from canary_sandbox.prometheus import require_prometheus

SCRAPE = 15
REQUESTS = 450
"""Of each pod between two scrapes: 60 a second of two."""

FAILING = 0.01
SLOW = 0.08
"""Of the requests takes longer than 100 ms, and a tenth of these longer than 300 ms."""


@dataclass(frozen=True)
class Past:
    """A service with two pods, of which one restarts in the middle; during an incident a tenth of the requests fails.

    All in seconds of Unix time.
    """

    start: int
    end: int

    @property
    def incident(self) -> range:
        """Ten minutes, when two thirds are over."""
        begin = self.start + (self.end - self.start) * 2 // 3
        return range(begin, begin + 600)

    def lines(self) -> Iterator[str]:
        """What was scraped, as OpenMetrics."""
        random = Random(11)
        series: dict[tuple[str, str], list[str]] = {}
        took: dict[tuple[str, str], list[str]] = {}
        for pod in ("a", "b"):
            good = failed = 0
            within = dict.fromkeys(("0.1", "0.3", "+Inf"), 0)
            for at in range(self.start, self.end + 1, SCRAPE):
                if pod == "b" and at == self.start + (self.end - self.start) // 2 // SCRAPE * SCRAPE:
                    good = failed = 0
                    within = dict.fromkeys(within, 0)
                broken = binomial(random, REQUESTS, 0.1 if at in self.incident else FAILING)
                good, failed = good + REQUESTS - broken, failed + broken
                for code, value in (("200", good), ("500", failed)):
                    labels = f'service="shop-stable",instance="{pod}",code="{code}"'
                    series.setdefault((pod, code), []).append(f"http_requests_total{{{labels}}} {value} {at}")
                slow = binomial(random, REQUESTS, SLOW)
                counted = (REQUESTS - slow, REQUESTS - binomial(random, slow, 0.1), REQUESTS)
                for (le, before), more in zip(list(within.items()), counted, strict=True):
                    within[le] = before + more
                    labels = f'service="shop-stable",instance="{pod}",le="{le}"'
                    took.setdefault((pod, le), []).append(f"http_took_seconds_bucket{{{labels}}} {within[le]} {at}")
        yield "# TYPE http_requests counter"
        for lines in series.values():
            yield from lines
        yield "# TYPE http_took_seconds histogram"
        for lines in took.values():
            yield from lines
        yield "# EOF"


def past(hours: int) -> Past:
    """So many hours that ended a while ago."""
    end = int(time.time()) // 3600 * 3600 - 3 * 3600
    return Past(end - hours * 3600, end)


@asynccontextmanager
async def prometheus_with(history: Past, folder: Path) -> AsyncIterator[str]:
    """The address of a Prometheus that has measured that."""
    promtool = find({})
    assert promtool is not None, "promtool is missing: it comes with scripts/prometheus.sh"
    text = folder / "history.om"
    text.write_text("\n".join(history.lines()) + "\n")
    made = await asyncio.create_subprocess_exec(
        promtool, "tsdb", "create-blocks-from", "openmetrics", text, folder / "data", stdout=asyncio.subprocess.DEVNULL
    )
    assert await made.wait() == 0
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    command: list[str | Path] = [
        require_prometheus(),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    async with (
        ManagedProcess(command, log=folder / "prometheus.log", name="prometheus") as process,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
    ):
        await process.wait_until(lambda: answers(http, f"{url}/-/ready"), within=30)
        yield url
