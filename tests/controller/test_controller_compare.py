"""Comparisons, as a run lives through them: counters are read, looks are posted, evidence is kept and judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from controller_kit import World

from canary.kube import CHECKTEMPLATES
from canary.metrics.port import Query
from canary.model.measurement import Unreachable

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

COUNTERS: Json = {"requests": "sent {{ backend.service }}", "failures": "failed {{ backend.service }}"}
DOWN = Unreachable(None, "Unreachable", "connection refused")  # type: ignore[arg-type]  # Scripted stamps it


def check(**compare: Any) -> Json:
    return {"name": "errors", "interval": "2s", "compare": {"prometheus": COUNTERS, "lag": "1s", **compare}}


def counting(
    world: World, rate: float, scraped_every: float = 0.001, phase: float = 0
) -> Callable[[Query, datetime], float]:
    """A counter that goes up by so much each second, as it was scraped last before the instant that is asked for."""
    begun = world.clock.now().timestamp() - phase

    def answer(query: Query, now: datetime) -> float:
        at = query.instant if query.instant is not None else now.timestamp()
        return float(round(rate * ((at - begun) // scraped_every) * scraped_every))

    return answer


def serve(
    world: World, *, canary: float = 100, failed: float = 1, stable: float = 900, stable_failed: float = 9
) -> None:
    """What the counters say, by the second."""
    rates = {"sent canary": canary, "failed canary": failed, "sent stable": stable, "failed stable": stable_failed}
    world.provider.answers.update({name: counting(world, rate) for name, rate in rates.items()})


async def run(world: World, *steps: Json, **of_check: Any) -> None:
    await world.begin(
        checks=[check(**of_check)], steps=list(steps or ({"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20s"}))
    )
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))


def said(world: World) -> Json:
    found: Json = world.status()["checks"][0]
    return found


async def test_a_canary_like_stable_is_promoted(world: World) -> None:
    """All four counters are asked for, each as it is rendered, and those of a look at one instant."""
    serve(world)
    await run(world)
    await world.until(lambda: world.phase() == "Succeeded")
    asked = {call.query.text for call in world.provider.calls}
    assert asked == {"sent canary", "failed canary", "sent stable", "failed stable"}
    looks: dict[datetime, set[float | None]] = {}
    for call in world.provider.calls:
        looks.setdefault(call.now, set()).add(call.query.instant)
    assert all(instants in ({None, at.timestamp()}, {None}) for at, instants in looks.items())


async def test_a_canary_with_ten_times_the_errors_is_rolled_back(world: World) -> None:
    """And the status says by how much, and on what evidence."""
    serve(world, failed=10)
    await run(world)
    await world.until(lambda: world.phase() == "RolledBack", within=20)
    assert world.weights()[1] == 0
    assert re.match(r"check errors failed: errors (9|1[0-2])(\.\d)?. stable", world.status()["run"]["message"])
    assert said(world)["reason"] == "WorseThanStable"
    assert "of 20 needed" in said(world)["message"]
    assert len(json.dumps(said(world)["evidence"]["state"])) < 1024


async def test_it_looks_early(world: World) -> None:
    """Ten times the errors do not get half a minute, because that is how often somebody wanted to look in the long run."""
    serve(world, failed=10)
    await world.begin(checks=[{**check(), "interval": "30s"}], steps=[{"weight": 10, "hold": "10m"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    begun = world.clock.now()
    await world.until(lambda: world.weights() == (1, 0), within=30)
    # 2 s for the gateways to settle, 1 s of lag, and a look or two after 1 and 2 s.
    assert (world.clock.now() - begun).total_seconds() <= 8


async def test_looks_slow_down_to_the_interval(world: World) -> None:
    """After 1, 2, 4, 8 and 10 seconds, and every 10 from then on, where counters may be that old."""
    serve(world)
    await world.begin(checks=[{**check(lag="20s"), "interval": "10s"}], steps=[{"weight": 10, "hold": "10m"}])
    await world.deploy(2)
    await world.until(lambda: bool(world.provider.calls))
    world.provider.calls.clear()
    await world.pass_(60)
    looks = sorted({call.now for call in world.provider.calls})
    pauses = [(after - before).total_seconds() for before, after in pairwise(looks)]
    for pause, expected in zip(pauses, (2, 4, 8, 10, 10, 10), strict=False):
        assert pause == pytest.approx(expected, rel=0.2)
    assert len(pauses) >= 5


async def test_who_counts_often_is_looked_at_often(world: World) -> None:
    """Counters that are two seconds old at most are read every second, also in the middle of a step: a canary that gets worse
    is back within a few of them, whatever the interval is."""
    serve(world)
    await world.begin(checks=[{**check(lag="2s"), "interval": "30s"}], steps=[{"weight": 10, "hold": "10m"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.pass_(60)
    world.provider.calls.clear()
    await world.pass_(20)
    looks = sorted({call.now for call in world.provider.calls})
    assert max((after - before).total_seconds() for before, after in pairwise(looks)) <= 1.2
    begun, now = world.clock.now(), world.clock.now().timestamp()
    before = world.provider.answers["failed canary"]
    world.provider.answers["failed canary"] = lambda query, asked: (
        before(query, asked) + 20 * max(0, round((query.instant or asked.timestamp()) - now))
    )
    await world.until(lambda: world.weights() == (1, 0), within=30)
    assert (world.clock.now() - begun).total_seconds() <= 4


async def test_looks_between_two_scrapes_are_none(world: World) -> None:
    """What is scraped every 15 s, each side at another moment, is not taken for silence by early looks."""
    rates = {"sent canary": 100, "failed canary": 1, "sent stable": 900, "failed stable": 9}
    for name, rate in rates.items():
        phase = 7 if name.endswith("stable") else 0
        world.provider.answers[name] = counting(world, rate, scraped_every=15, phase=phase)
    await world.begin(
        checks=[{**check(lag="16s"), "interval": "30s"}], steps=[{"weight": 10, "hold": "2m"}, {"weight": 50}]
    )
    await world.deploy(2)
    reasons = set()
    while world.step() < 2:
        await world.pass_(1)
        reasons |= {one["reason"] for one in world.status().get("checks", [])}
    assert reasons <= {"NotMeasured", "NotProved"}
    assert world.status()["checks"][0]["evidence"]["looks"] >= 3


async def test_no_failure_series_means_that_nothing_failed(world: World) -> None:
    """A counter with a label that nothing had yet does not exist."""
    serve(world)
    for name in ("failed canary", "failed stable"):
        world.provider.answers[name] = None
    await run(world)
    await world.until(lambda: world.phase() == "Succeeded")


async def test_no_requests_at_all_hold(world: World) -> None:
    """Neither good nor bad; onNoData has its say."""
    serve(world)
    for name in ("sent canary", "sent stable"):
        world.provider.answers[name] = None
    await run(world)
    await world.pass_(60)
    assert (world.weights(), said(world)["reason"]) == ((90, 10), "NoData")


async def test_one_counter_that_cannot_be_read_holds(world: World) -> None:
    """It says which, and what is compared goes on from the reading before."""
    serve(world)
    await run(world, {"weight": 10, "hold": "10m"})
    await world.pass_(10)
    world.provider.answers["failed stable"] = DOWN
    await world.until(lambda: said(world)["reason"] == "Unreachable", within=10)
    assert said(world)["message"] == "failures of stable: connection refused"
    world.provider.answers["failed stable"] = counting(world, 9)
    await world.until(lambda: said(world)["verdict"] == "Pass", within=20)


async def test_evidence_survives_the_controller(world: World) -> None:
    """Killed in the middle of a hold, the next one goes on with what is on record."""
    serve(world)
    await run(world, {"weight": 10, "hold": "10m"})
    await world.pass_(60)
    before = said(world)["evidence"]
    assert before["looks"] >= 8
    await world._instances[-1].kill()
    world.clock.advance(5)
    await world.start_controller()
    await world.pass_(60)
    after = said(world)["evidence"]
    assert after["process"] == before["process"]
    counts = json.loads(after["state"])["counts"]
    assert after["looks"] >= 2 * before["looks"]
    assert counts[0] > json.loads(before["state"])["counts"][0]


async def test_a_comparison_of_a_template(world: World) -> None:
    """The platform writes it once; arguments are filled in, and the Rollout may set the interval."""
    serve(world)
    await world.furnish()
    spec = {
        "args": [{"name": "unit", "default": "sent"}],
        "compare": {"prometheus": {**COUNTERS, "requests": "{{ args.unit }} {{ backend.service }}"}, "lag": "1s"},
    }
    template = {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "CheckTemplate",
        "metadata": {"name": "errors"},
        "spec": spec,
    }
    await world.create(CHECKTEMPLATES, template)
    await world.declare(
        checks=[{"template": {"name": "errors"}, "interval": "2s"}], steps=[{"weight": 10, "hold": "10m"}]
    )
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1)
    await world.pass_(5)
    serve(world, failed=30)
    await world.until(lambda: world.phase() == "RolledBack", within=30)


@pytest.mark.parametrize(
    ("counters", "words"),
    [
        ({"requests": "sent"}, "spec.checks[0].compare.prometheus: requests counts the same for both backends"),
        ({"failures": "failed {{ backend.servce }}"}, "did you mean 'backend.service'?"),
    ],
)
async def test_what_cannot_be_compared_is_said_at_once(world: World, counters: Json, words: str) -> None:
    """Before any run."""
    await world.begin(checks=[{"name": "errors", "compare": {"prometheus": {**COUNTERS, **counters}}}])
    assert (world.phase(), words in world.message()) == ("Invalid", True), world.message()


async def test_a_query_that_prometheus_refuses_makes_it_invalid(world: World) -> None:
    """Each of the four is asked once per edit."""
    world.provider.refused["failed stable"] = "parse error"
    await world.begin(checks=[check()])
    await world.until(lambda: world.phase() == "Invalid")
    assert "spec.checks[0].compare.prometheus.failures: Prometheus refuses the query: parse error" in world.message()
