"""The controller of the benchmark: the real one with scripted metrics, and its own stop-watch.

Says one JSON object a line: when it was ready, and on `report` what it measured. Times are those of time.time().
"""

from __future__ import annotations

from canary.controller import garbage

garbage.spare()  # as the program does before it imports anything else

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from unittest.mock import patch

from bench import world
from canary.controller import counting
from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.decide import engine
from canary.decide.comparing import compare
from canary.metrics.port import Query, Refusal
from canary.model.measurement import Compared, Labels, Measurement, Sample, Vector
from canary.telemetry import Telemetry, configure

_TEAM = re.compile(r'namespace="([^"]+)"')

PODS = 2
"""Of each backend: so many series are behind each counter."""

RATES = {"canary": 10.0, "stable": 90.0}
"""Requests a second of each backend, of which one percent fails."""

BURST = 60
"""So many requests of a canary fail at once when it is to fail, and half of them from then on."""


class Numbers:
    """A provider that answers every query with a good number, after the millisecond that a near Prometheus takes.

    Namespaces in `failing` get a bad one; `failed_at` says when the first bad one of each was returned. Counters grow by the
    clock; those of a canary's failures grow faster once its namespace is in `failing`, in seconds by the same clock.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.worse_since: dict[str, float] = {}
        self.failing: set[str] = set()
        self.failed_at: dict[str, float] = {}

    async def measure(self, query: Query, now: datetime) -> Measurement:
        self.asked += 1
        await asyncio.sleep(0.001)
        found = _TEAM.search(query.text)
        team = found[1] if found else ""
        if query.counters:
            return self._counters(query, team, now)
        if team not in self.failing:
            return Sample(0.0, now, query.text, (0.0,))
        self.failed_at.setdefault(team, time.time())
        return Sample(1.0, now, query.text, (1.0,))

    def _counters(self, query: Query, team: str, now: datetime) -> Measurement:
        instant = time.time() if query.instant is None else query.instant
        backend = "canary" if 'service="shop-canary"' in query.text else "stable"
        count = RATES[backend] * (instant % 1_000_000)
        if "code=" in query.text:
            count *= 0.01
            since = self.worse_since.get(team)
            if backend == "canary" and since is not None and instant >= since:
                count += BURST + RATES[backend] / 2 * (instant - since)
        series: dict[Labels, float] = {
            frozenset({"job": "gateway", "instance": "gateway-0", "pod": f"shop-{backend}-{pod}"}.items()): float(
                int(count / PODS)
            )
            for pod in range(PODS)
        }
        return Sample(next(iter(series.values())), now, query.text, vector=Vector(series, instant))

    async def validate(self, query: Query) -> Refusal | None:  # noqa: ARG002 - the port
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


class Judging:
    """How many looks of comparisons were judged, and what that took: seconds of CPU, of whatever thread.

    From the counters in hand to the text that goes on record: series are subtracted, what is remembered is read, the look is
    folded in and judged, and the words are made.
    """

    def __init__(self) -> None:
        self.looks = 0
        self.seconds = 0.0
        subtract = counting._compared  # noqa: SLF001 - what is measured

        def folded(scope: Any, check: Any, rule: Any, before: Any, measurements: Sequence[Any]) -> Any:
            seen = tuple(measurements)
            looks = sum(isinstance(one, Compared) for one in seen)
            if not looks:
                return compare(scope, check, rule, before, seen)
            self.looks += looks
            return self._timed(compare)(scope, check, rule, before, seen)

        patch.object(counting, "_compared", self._timed(subtract)).start()
        patch.object(engine, "compare", folded).start()

    def _timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self.seconds += time.thread_time() - began

        return timed


async def main(server: str, token: str) -> None:
    """Run until standard input ends, or until told to stop by a signal."""
    configure("ERROR")
    numbers, watch, judging = Numbers(), StopWatch(), Judging()
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = Settings(metrics_address="127.0.0.1:0", lease=world.LEASE)
    serving = asyncio.create_task(
        serve(settings, provider=numbers, telemetry=watch, stop=stop, ready=ready, server=server, token=token)
    )
    await ready.wait()
    _say({"ready_at": time.time()})
    listening = asyncio.create_task(_listen(numbers, watch, judging))
    await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    stop.set()
    await serving


async def _listen(numbers: Numbers, watch: StopWatch, judging: Judging) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        match command["do"]:
            case "fail":
                numbers.failing |= set(command["teams"])
                numbers.worse_since |= dict.fromkeys(command["teams"], time.time())
                watch.latencies.clear()
                _say({})
            case "report":
                _say(
                    {
                        "measurements": numbers.asked,
                        "ticks": watch.ticks,
                        "decided": sorted(watch.decided.values()),
                        "looks": judging.looks,
                        "judging": judging.seconds,
                    }
                )
            case "failures":
                _say({"failed_at": numbers.failed_at, "latencies": watch.latencies})
            case unknown:
                raise SystemExit(f"unknown command {unknown}")


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
