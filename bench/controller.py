"""The controller of the benchmark: the real one with scripted metrics, and its own stop-watch.

Says one JSON object a line: when it was ready, and on `report` what it measured. Times are those of time.time().
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from datetime import datetime
from typing import Any

from bench import world
from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.metrics.port import Query
from canary.model.measurement import Measurement, Sample
from canary.telemetry import Telemetry, configure

_TEAM = re.compile(r'namespace="([^"]+)"')


class Numbers:
    """A provider that answers every query with a good number, after the millisecond that a near Prometheus takes.

    Namespaces in `failing` get a bad one; `failed_at` says when the first bad one of each was returned.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.failing: set[str] = set()
        self.failed_at: dict[str, float] = {}

    async def measure(self, query: Query, now: datetime) -> Measurement:
        self.asked += 1
        await asyncio.sleep(0.001)
        found = _TEAM.search(query.text)
        team = found[1] if found else ""
        if team not in self.failing:
            return Sample(0.0, now, query.text, (0.0,))
        self.failed_at.setdefault(team, time.time())
        return Sample(1.0, now, query.text, (1.0,))

    async def validate(self, query: Query) -> str | None:  # noqa: ARG002 - the port
        return None

    async def close(self) -> None:
        return None


class StopWatch(Telemetry):
    """Telemetry that keeps every single rollback latency, and when which run was first decided upon."""

    def __init__(self) -> None:
        super().__init__()
        self.latencies: list[float] = []
        self.decided: dict[str, float] = {}
        self.ticks = 0

    def rollback_latency(self, seconds: float) -> None:
        self.latencies.append(seconds)
        super().rollback_latency(seconds)

    def weights(self, namespace: str, rollout: str, **stages: Any) -> None:
        self.decided.setdefault(namespace, time.time())
        super().weights(namespace, rollout, **stages)

    def tick(self, seconds: float) -> None:
        self.ticks += 1
        super().tick(seconds)


async def main(server: str, token: str) -> None:
    """Run until standard input ends, or until told to stop by a signal."""
    configure("ERROR")
    numbers, watch = Numbers(), StopWatch()
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = Settings(metrics_address="127.0.0.1:0", lease=world.LEASE)
    serving = asyncio.create_task(
        serve(settings, provider=numbers, telemetry=watch, stop=stop, ready=ready, server=server, token=token)
    )
    await ready.wait()
    _say({"ready_at": time.time()})
    listening = asyncio.create_task(_listen(numbers, watch))
    await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    stop.set()
    await serving


async def _listen(numbers: Numbers, watch: StopWatch) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        match command["do"]:
            case "fail":
                numbers.failing |= set(command["teams"])
                watch.latencies.clear()
                _say({})
            case "report":
                _say({"measurements": numbers.asked, "ticks": watch.ticks, "decided": sorted(watch.decided.values())})
            case "failures":
                _say({"failed_at": numbers.failed_at, "latencies": watch.latencies})
            case unknown:
                raise SystemExit(f"unknown command {unknown}")


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
