"""Promise 8 for conditions: what one team makes its checks compute, or be answered, delays nobody else's rollback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from controller_kit import World, backend, check, deployment_document, route_document, rule, service_document

from canary.checks.sources.prometheus import Prometheus
from canary.kube import DEPLOYMENTS, HTTPROUTES, SERVICES
from canary.metrics.port import Query
from canary.metrics.values import measurement

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONGEST = 0.25
"""Seconds that the event loop may be held up. Everybody of the world lives on it, the API server included, and it takes a
fifth of that in a busy moment."""


def nested(depth: int, last: str = "v0 < 1.0") -> str:
    """Comprehensions over `values` inside one another."""
    for level in reversed(range(depth)):
        last = f"values.all(v{level}, {last})"
    return last


def widest() -> str:
    """As many comparisons of all series as 1,024 characters hold and the limit allows."""
    return " && ".join(f"values.all(v, v < {number}.0)" for number in range(10, 30))


@contextlib.asynccontextmanager
async def heartbeat(clock: Callable[[], float]) -> AsyncIterator[list[float]]:
    """Notes how many seconds pass by a clock from one turn of the event loop to the next.

    That of the process counts what its threads have worked, and not how busy the machine is with others, nor what is slept.
    What there is by now is frozen for the garbage collector, as a controller does: going through all that the tests before
    have left would take longer than anything that is measured here.
    """
    late: list[float] = []
    gc.collect()
    gc.freeze()

    async def beat() -> None:
        while True:
            started = clock()
            await asyncio.sleep(0.001)
            late.append(clock() - started)

    task = asyncio.create_task(beat())
    try:
        yield late
    finally:
        task.cancel()


async def two_teams(world: World, hostile: list[dict[str, Any]]) -> None:
    """`shop` has the hostile checks; `two` is somebody else's, with a check of its own, and both are at rest."""
    await world.furnish()
    for name in ("s2", "c2"):
        await world.create(SERVICES, service_document(name))
        await world.create(DEPLOYMENTS, deployment_document(name))
    await world.create(HTTPROUTES, route_document("two", rule(backend("s2", 1), backend("c2", 0))))
    await world.declare("shop", checks=hostile)
    await world.declare(
        "two",
        routes=[{"name": "two"}],
        stable={"service": "s2", "port": 80},
        canary={"service": "c2", "port": 80},
        workloads={"stable": {"name": "s2"}, "canary": {"name": "c2"}},
        checks=[check(prometheus={"query": "other"})],
        steps=[{"weight": 10, "hold": "1h"}],
    )
    world.provider.answers["other"] = 0.0


HOSTILE = [
    pytest.param(nested(9), id="nine nested comprehensions"),
    pytest.param(nested(3), id="three nested comprehensions"),
    pytest.param("(" * 508 + "value<1" + ")" * 508, id="a thousand parentheses"),
    pytest.param("!" * 1020 + "true", id="a thousand negations"),
    pytest.param("[" * 500 + "]" * 500 + "==[]", id="a thousand brackets"),
    pytest.param("1+" * 508 + "1>0", id="a chain of five hundred"),
    pytest.param("size(values" + ".map(v,[v,v])" * 70 + ")>0", id="a list that doubles seventy times"),
    pytest.param("'" + "a" * 900 + "'.matches('(a|aa)+$')", id="a regular expression"),
    pytest.param("value<" + "9" * 1000, id="a number of a thousand digits"),
]


@pytest.mark.cpu_time("how late the event loop is")
@pytest.mark.parametrize("condition", HOSTILE)
async def test_a_hostile_condition_is_refused_beforehand(world: World, condition: str) -> None:
    """It makes its own Rollout Invalid, with the field and what to do; the loop turns, and others are driven."""
    assert len(condition) <= 1024
    async with heartbeat(time.process_time) as late:
        await two_teams(world, [check(threshold=None, condition=condition)])
        await world.start_controller()
        await world.until(lambda: world.phase() == "Invalid" and world.phase("two") == "Idle")
    assert "spec.checks[0].condition" in world.message()
    assert max(late) < LONGEST


@pytest.mark.parametrize(
    ("condition", "series"),
    [
        pytest.param(widest(), 1000, id="the dearest condition that is allowed"),
        pytest.param("values.map(v, v * 2.0).filter(v, v > 0.0).size() > 0", 1000, id="lists of all series"),
        pytest.param(nested(1), 3000, id="three thousand series"),
    ],
)
@pytest.mark.alone("how late the event loop is")
async def test_sixteen_hostile_checks_do_not_delay_the_rollback_of_another_team(
    world: World, condition: str, series: int
) -> None:
    """While one team's conditions are evaluated each second, a failing sample of another team rolls back as ever."""
    hostile = [check(name=f"check-{number}", threshold=None, condition=condition) for number in range(16)]
    await two_teams(world, hostile)
    # What a worker of the real provider makes of that many series, and not on the event loop either.
    labelled = [({"pod": f"{number:06}"}, number % 7 / 100) for number in range(series)]
    world.provider.answers["errors"] = measurement(labelled, Query(Prometheus("errors"), many=True), world.clock.now())
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle" and world.phase("two") == "Idle")
    await world.deploy(2)
    await world.deploy(2, "c2")
    await world.until(lambda: world.step() == 1 and world.step("two") == 1)
    async with heartbeat(time.perf_counter) as late:
        await world.pass_(5)
        world.provider.answers["other"] = 0.5
        await world.until(lambda: world.phase("two") == "RolledBack", within=10)
    assert world.phase() == "Progressing"
    assert max(late) < LONGEST
    expected = {"TooManySeries"} if series > 1000 else {"ConditionHolds"}
    # On a busy machine some of them have not had their turn at the evaluator yet; each has, sooner or later.
    await world.until(lambda: {found["reason"] for found in world.status()["checks"]} == expected)
