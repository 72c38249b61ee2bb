"""Conditions are evaluated off the event loop, in turns, and each within its time."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from canary.controller.conditions import Conditions
from canary.model.measurement import MAX_SERIES, Sample, Weighed

pytestmark = pytest.mark.asyncio(loop_scope="function")

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEAR = " && ".join(f"values.all(v, v < {number}.0)" for number in range(10, 34))
"""Just below the limit: every series is looked at two dozen times."""


def sample(count: int = MAX_SERIES) -> Sample:
    return Sample(0.5, NOW, "q", (0.5,) * count)


@pytest_asyncio.fixture(loop_scope="function")
async def conditions() -> AsyncIterator[Conditions]:
    made = Conditions()
    yield made
    made.close()


async def test_a_sample_comes_back_with_what_the_condition_said(conditions: Conditions) -> None:
    """The number, its time and its query stay what they were."""
    weigh = conditions.of("team", "shop")
    for text, holds in (("values.all(v, v < 1.0)", True), ("value > 1.0", False)):
        assert await weigh(text, sample(3)) == Sample(0.5, NOW, "q", (0.5,) * 3, Weighed(text, holds))
    broken = (await weigh("values[5] > 1.0", sample(3))).weighed
    assert broken is not None
    assert (broken.holds, broken.reason) == (None, "ConditionError")


async def test_an_evaluation_ends_at_its_deadline() -> None:
    """On a machine where a thousand steps take half a minute, the condition is too expensive, and the next one is evaluated."""
    seconds = itertools.count(0, 30)
    conditions = Conditions(deadline=45, clock=lambda: float(next(seconds)))
    weigh = conditions.of("team", "shop")
    late = (await weigh(DEAR, sample())).weighed
    assert late is not None
    assert (late.holds, late.reason) == (None, "ConditionTooExpensive")
    assert "within 45 s" in late.message
    assert (await weigh("value < 1.0", sample())).weighed == Weighed("value < 1.0", True)
    conditions.close()


async def test_a_bug_is_no_verdict(conditions: Conditions) -> None:
    """Whatever happens in an evaluation, the measuring goes on, and nobody takes it for a pass."""
    nonsense: Any = ("no number",)
    found = (await conditions.of("team", "shop")("value < 1.0", Sample(0.5, NOW, "q", nonsense))).weighed
    assert found is not None
    assert (found.holds, found.reason) == (None, "ConditionError")
    assert "ValueError" in found.message


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([("crowd", f"shop-{number}") for number in range(40)], id="forty Rollouts of another namespace"),
        pytest.param([("team", "other")] * 40, id="forty checks of another Rollout of the namespace"),
    ],
)
async def test_turns(conditions: Conditions, others: list[tuple[str, str]]) -> None:
    """However many evaluations of somebody else wait, ours comes after one of them, or two."""
    order: list[str] = []

    async def evaluate(who: tuple[str, str], label: str) -> None:
        await conditions.of(*who)(DEAR, sample())
        order.append(label)

    async with asyncio.TaskGroup() as group:
        for who in others:
            group.create_task(evaluate(who, "theirs"))
        await asyncio.sleep(0.01)
        group.create_task(evaluate(("team", "shop"), "ours"))
    assert order.index("ours") <= order.count("theirs") / 2
    behind = order.index("ours")
    assert behind <= 4  # those that were done before we came, one that was under way, one whose turn it was


async def test_who_gives_up_blocks_nobody(conditions: Conditions) -> None:
    """A run that ends while its conditions wait leaves its place in every line, and nothing is kept about it."""
    given_up = [asyncio.create_task(conditions.of("team", f"shop-{number}")(DEAR, sample())) for number in range(10)]
    await asyncio.sleep(0.002)
    for task in given_up:
        task.cancel()
    assert (await conditions.of("team", "other")("value < 1.0", sample())).weighed == Weighed("value < 1.0", True)
    await asyncio.gather(*given_up, return_exceptions=True)
    assert conditions._turns == {}


@pytest.mark.alone("how late the event loop is")
async def test_the_event_loop_turns_meanwhile(conditions: Conditions) -> None:
    """While the dearest conditions are evaluated one after the other, the loop is late by less than one of them takes."""
    gc.collect()
    gc.freeze()
    late: list[float] = []
    tasks = [asyncio.create_task(conditions.of("crowd", f"shop-{number}")(DEAR, sample())) for number in range(40)]
    while not all(task.done() for task in tasks):
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - started - 0.001)
    assert all(task.result().weighed == Weighed(DEAR, True) for task in tasks)
    late.sort()
    assert late[-1] < 0.05
    assert late[len(late) * 9 // 10] < 0.005


async def test_without_conditions_there_is_no_thread() -> None:
    """Who declares no condition pays nothing; the thread ends when it is let go."""

    def alive() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("conditions")]

    before = set(alive())
    conditions = Conditions()
    assert set(alive()) == before
    await conditions.of("team", "shop")("value < 1.0", sample(1))
    (started,) = set(alive()) - before
    conditions.close()
    await asyncio.to_thread(started.join, 5)
    assert not started.is_alive()
