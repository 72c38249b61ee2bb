"""When Python looks for garbage, as a process of its own has it; and when a controller at work does."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from canary.controller.calm import CALM, LATEST, LOOK, MANY, SELDOM, SOONER, Calm
from canary.controller.clock import ManualClock

IMPORTED = """
import gc, json
from canary.controller import garbage
garbage.spare()
looked = []
gc.callbacks.append(lambda phase, info: looked.append(phase))
import canary.controller.run
among_imports = len(looked)
garbage.start()
frozen, at_a_start = gc.get_freeze_count(), (gc.isenabled(), gc.get_threshold()[0])
garbage.settle()
print(json.dumps([among_imports, frozen > 50_000, *at_a_start, gc.isenabled(), gc.get_threshold()[:2] == garbage.USUAL[:2], gc.get_threshold()[2] > 1_000_000]))
"""


async def test_nobody_looks_for_garbage_among_imports_and_everybody_does_afterwards() -> None:
    """What is imported stays, and is looked into neither while it is imported nor ever after; what comes then is, in time."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORTED, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert json.loads(out) == [0, True, True, 500_000, True, True, True]


class Process:
    """A process that computes a share of its time, in which runs end; and the seconds after which it searched."""

    def __init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.began = self.clock.now()
        self.ended, self.load, self.spent = 7, 0.0, 3.0
        self.searched: list[float] = []
        self.calm = Calm(self.clock, lambda: self.ended, spent=lambda: self.spent, search=self.search)

    def search(self) -> int:
        self.searched.append((self.clock.now() - self.began).total_seconds())
        self.spent += 30  # which is no sign that anything is under way
        return 0

    async def live(self, seconds: float) -> None:
        for _ in range(int(seconds / LOOK)):
            self.spent += self.load * LOOK
            self.clock.advance(LOOK)
            for _ in range(3):
                await asyncio.sleep(0)


@contextmanager
def process() -> Iterator[Process]:
    made = Process()
    task = asyncio.create_task(made.calm.run())
    try:
        yield made
    finally:
        task.cancel()


@pytest.mark.parametrize(("ended", "after"), [(0, SELDOM), (MANY - 1, SELDOM), (MANY, SOONER), (1000, SOONER)])
async def test_what_runs_leave_behind_is_searched_for_sooner(ended: int, after: object) -> None:
    """A search costs a fifth of a second where many are under way, and finds next to nothing where none has ended."""
    with process() as made:
        await asyncio.sleep(0)
        made.ended += ended
        await made.live(SELDOM.total_seconds() + LOOK)
        assert made.searched == [after.total_seconds()]  # type: ignore[attr-defined]


async def test_a_search_waits_until_nothing_much_is_under_way() -> None:
    """A thousand runs end at once: not while they do; and anew only when as many have ended since."""
    with process() as made:
        await asyncio.sleep(0)
        made.ended, made.load = 1000, CALM + 0.1
        await made.live(120)
        assert made.searched == []
        made.load = CALM - 0.1
        await made.live(SELDOM.total_seconds() - LOOK)
        assert made.searched == [120 + LOOK]


async def test_a_search_waits_for_no_calm_that_never_comes() -> None:
    """Who is always busy would keep all garbage for ever."""
    with process() as made:
        await asyncio.sleep(0)
        made.load = 1.0
        await made.live(2 * (SELDOM + LATEST).total_seconds())
        assert made.searched == [1200, 2400]


async def test_a_burst_that_goes_on_waits_as_long_whatever_made_it_time() -> None:
    """It was due because ten minutes were over, and then because fifty runs have ended: no search in the middle of them for that."""
    with process() as made:
        await asyncio.sleep(0)
        await made.live(SELDOM.total_seconds() - 2 * LOOK)
        made.load = 1.0
        await made.live(30)
        made.ended += MANY
        await made.live(LATEST.total_seconds() - 60)
        assert made.searched == []
