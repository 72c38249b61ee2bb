"""The controller of the benchmark: the real one with scripted metrics, and its own stop-watch.

Says one JSON object a line: when it was ready, when it first decided about an active run, and on `report` what it measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import datetime
from typing import Any

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.metrics.port import Query
from canary.model.measurement import Measurement, Sample
from canary.telemetry import Telemetry, configure

BORN = time.time()


class Numbers:
    """A provider that answers every query with one number, after the millisecond that a near Prometheus takes."""

    def __init__(self) -> None:
        self.value = 0.0
        self.asked = 0

    async def measure(self, query: Query, now: datetime) -> Measurement:
        self.asked += 1
        await asyncio.sleep(0.001)
        return Sample(self.value, now, query.text, (self.value,))

    async def validate(self, query: Query) -> str | None:  # noqa: ARG002 - the port
        return None

    async def close(self) -> None:
        return None


class StopWatch(Telemetry):
    """Telemetry that keeps every single rollback latency, and when the first run was driven."""

    def __init__(self) -> None:
        super().__init__()
        self.latencies: list[float] = []
        self.first_decision: float | None = None
        self.ticks = 0

    def rollback_latency(self, seconds: float) -> None:
        self.latencies.append(seconds)
        super().rollback_latency(seconds)

    def weights(self, namespace: str, rollout: str, **stages: Any) -> None:
        if self.first_decision is None:
            self.first_decision = time.time()
        super().weights(namespace, rollout, **stages)

    def tick(self, seconds: float) -> None:
        self.ticks += 1
        super().tick(seconds)


async def main(server: str, token: str) -> None:
    """Run until standard input ends."""
    configure("ERROR")
    numbers, watch = Numbers(), StopWatch()
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = Settings(metrics_address="127.0.0.1:0")
    serving = asyncio.create_task(
        serve(settings, provider=numbers, telemetry=watch, stop=stop, ready=ready, server=server, token=token)
    )
    await ready.wait()
    _say({"pid": os.getpid(), "ready_seconds": time.time() - BORN})
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        match json.loads(line)["do"]:
            case "fail":
                numbers.value = 1.0
            case "pass":
                numbers.value = 0.0
        first = watch.first_decision
        _say(
            {
                "first_decision_seconds": None if first is None else first - BORN,
                "latencies": watch.latencies,
                "measurements": numbers.asked,
                "ticks": watch.ticks,
            }
        )
    stop.set()
    await serving


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
