"""What our writes put on record is told to whoever wants to know, whatever became of their answers: once, and nothing of others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from act_kit import NOW, TEAM, Bench

from canary.act.gate import always_open
from canary.act.status import StatusWriter
from canary.fair import Limit
from canary.kube import ROLLOUTS
from canary.model.status import Phase, RolloutStatus
from canary.status.write import Urgency
from canary_sandbox.apiserver import Fault

KEY = (TEAM, "shop")
Json = dict[str, Any]


class Telling:
    """A writer of statuses, and what it has told: the phase before, and the one on record."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.told = bench, list[tuple[str, str]]()
        self.moved = asyncio.Event()
        self.record = StatusWriter(
            KEY, bench.kube, bench.store, Limit(1), lambda: NOW, self.moved.set, lambda: None, self.recorded
        )

    def recorded(self, before: Json, document: Json) -> None:
        self.told.append((before.get("phase", ""), document["status"]["phase"]))

    async def write(self, phase: Phase) -> bool:
        return await self.record.write(RolloutStatus(phase=phase), Urgency.NOW, always_open, asyncio.Event())

    async def read(self) -> None:
        """The watch tells of what is on record."""
        await self.bench.see()
        self.record.read(self.bench.store.rollouts[KEY].document)

    def lose(self, status: int | None, *, effect: bool = True) -> None:
        self.bench.api.faults.add(
            Fault("patch", "rollouts", status, drop=status is None, subresource="status", after_effect=effect)
        )


@pytest.fixture
async def telling(bench: Bench) -> Telling:
    made = Telling(bench)
    await made.read()
    assert await made.write(Phase.IDLE)
    assert made.told == [("", "Idle")]
    made.told.clear()
    return made


@pytest.mark.parametrize("status", [None, 409, 504])
async def test_a_write_whose_answer_is_lost_is_told_when_it_is_seen(telling: Telling, status: int | None) -> None:
    """By the watch, or by a read; and not again by what is written after it."""
    telling.lose(status)
    assert not await telling.write(Phase.PROGRESSING)
    await telling.read()
    assert telling.told == [("Idle", "Progressing")]
    await telling.read()
    telling.record._backoff.succeeded("status")
    assert await telling.write(Phase.PAUSED)
    assert telling.told == [("Idle", "Progressing"), ("Progressing", "Paused")]


async def test_a_write_that_took_no_effect_is_not_told(telling: Telling) -> None:
    """The next one that does replaces the same status."""
    telling.lose(504, effect=False)
    assert not await telling.write(Phase.PROGRESSING)
    await telling.read()
    assert telling.told == []
    telling.record._backoff.succeeded("status")
    assert await telling.write(Phase.PROGRESSING)
    assert telling.told == [("Idle", "Progressing")]


async def test_what_another_has_recorded_is_told_by_them(telling: Telling) -> None:
    """Also where a write of ours went before it, of which nobody knows what became."""
    telling.lose(504, effect=False)
    assert not await telling.write(Phase.PROGRESSING)
    theirs = {"status": {"phase": "RolledBack", "recordedAt": "2020-01-01T00:00:00.000Z"}}
    await telling.bench.other.merge_patch(ROLLOUTS, "shop", TEAM, theirs, subresource="status")
    await telling.read()
    telling.record._backoff.succeeded("status")
    assert await telling.write(Phase.PAUSED)
    assert telling.told == [("RolledBack", "Paused")]


async def test_an_answer_that_comes_after_the_watch_tells_nothing_again(telling: Telling) -> None:
    """Nor of everything that is on record, as if nothing had been there before."""
    telling.bench.api.faults.add(Fault("patch", "rollouts", latency=1.0, subresource="status", after_effect=True))
    writing = asyncio.create_task(telling.write(Phase.PROGRESSING))
    async with asyncio.timeout(10):
        while not telling.told:
            await asyncio.sleep(0.01)
            await telling.read()
        assert telling.record.busy
        telling.moved.clear()
        await writing
        while telling.record.busy:
            await telling.moved.wait()
    assert telling.told == [("Idle", "Progressing")]
