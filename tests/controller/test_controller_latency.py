"""How slow the canary is against stable, as a run lives through it: buckets are read, looks are posted and judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest
from controller_kit import World

from canary.metrics.port import Query
from canary.model.measurement import Labels

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
LES = ("100", "300", "1000", "+Inf")


def check(**compare: Any) -> Json:
    declared = {
        "prometheus": {"buckets": "took {{ backend.service }}", "unit": "ms"},
        "slowerThan": ["300ms"],
        "tolerance": 1.5,
        "lag": "1s",
        **compare,
    }
    return {"name": "latency", "interval": "2s", "initialDelay": "5s", "compare": declared}


def histogram(world: World, *rates: float, cold: float = 0) -> Callable[[Query, datetime], Mapping[Labels, float]]:
    """Buckets that go up by so much each second; in the first `cold` seconds of it none but the last does."""
    begun = world.clock.now().timestamp()

    def answer(query: Query, now: datetime) -> Mapping[Labels, float]:
        passed = (query.instant if query.instant is not None else now.timestamp()) - begun
        warm = max(passed - cold, 0)
        counts = [*(rate * warm for rate in rates[:-1]), rates[-1] * passed]
        return {
            frozenset({"job": "gateway", "instance": "one", "le": le}.items()): float(round(count))
            for le, count in zip(LES, counts, strict=True)
        }

    return answer


def serve(world: World, *canary: float, cold: float = 0) -> None:
    """Of 900 requests a second of stable 2 % take longer than 300 ms."""
    world.provider.answers["took canary"] = histogram(world, *(canary or (50, 98, 100, 100)), cold=cold)
    world.provider.answers["took stable"] = histogram(world, 450, 882, 900, 900)


async def run(world: World, *steps: Json, **of_check: Any) -> None:
    await world.begin(
        checks=[check(**of_check)], steps=list(steps or ({"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20s"}))
    )
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))


def said(world: World) -> Json:
    found: Json = world.status()["checks"][0]
    return found


async def test_a_canary_that_is_as_fast_is_promoted(world: World) -> None:
    """Two questions a look, each as it is rendered."""
    serve(world)
    await run(world)
    await world.until(lambda: world.phase() == "Succeeded")
    assert {call.query.text for call in world.provider.calls} == {"took canary", "took stable"}


async def test_a_slow_canary_is_rolled_back(world: World) -> None:
    """And the status says beyond what, and on what evidence, in at most 1 KiB."""
    serve(world, 50, 85, 100, 100)
    await run(world)
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    assert world.weights()[1] == 0
    words = r"check latency failed: slower than 300 ms: (1.9|2|2.1) % → 1\d %, evidence .+ of 20 needed"
    assert re.match(words, world.status()["run"]["message"])
    assert said(world)["reason"] == "SlowerThanStable"
    assert len(json.dumps(said(world)["evidence"]["state"])) < 1024


async def test_a_cold_canary_is_given_its_time(world: World) -> None:
    """What is slow in the initialDelay is not looked at."""
    await world.begin(
        checks=[{**check(), "initialDelay": "15s"}], steps=[{"weight": 10, "hold": "40s"}, {"weight": 50}]
    )
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    serve(world, cold=12)
    await world.until(lambda: world.step() == 2)
    assert said(world)["verdict"] == "Pass"


async def test_a_bound_that_is_no_bucket_holds_the_run(world: World) -> None:
    """Unknown, with the words that mend it."""
    serve(world)
    await run(world, slowerThan=["250ms"])
    await world.until(lambda: said(world)["reason"] == "NoSuchBucket")
    assert said(world)["message"].endswith("has no bucket of 250 ms: the nearest are 100 ms and 300 ms")
    await world.pass_(30)
    assert (world.step(), said(world)["verdict"]) == (1, "Unknown")
