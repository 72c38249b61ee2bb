"""Tasks that live and die together."""

from __future__ import annotations

import asyncio

import pytest

from canary.controller.tasks import until_stopped
from canary.errors import LeadershipLost


async def forever() -> None:
    await asyncio.Event().wait()


async def fail(error: Exception) -> None:
    raise error


async def in_a_group(error: Exception) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail(error))
        group.create_task(forever())


async def test_they_end_when_told_to() -> None:
    """All of them, and without an error."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(forever()) for _ in range(3)]
    running = asyncio.create_task(until_stopped(stop, tasks))
    await asyncio.sleep(0)
    assert not running.done()
    stop.set()
    async with asyncio.timeout(5):
        await running
    assert all(task.cancelled() for task in tasks)


@pytest.mark.parametrize("way", [fail, in_a_group])
async def test_the_error_of_one_ends_all(way) -> None:
    """It comes out as it is, also from a part that is made of parts."""
    tasks = [asyncio.create_task(part) for part in (forever(), way(LeadershipLost("another leads")))]
    async with asyncio.timeout(5):
        with pytest.raises(LeadershipLost, match="another leads"):
            await until_stopped(asyncio.Event(), tasks)
    assert all(task.done() for task in tasks)


async def test_the_end_of_one_ends_all() -> None:
    """What makes up a controller is there as a whole, or not at all."""
    tasks = [asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(forever())]
    async with asyncio.timeout(5):
        await until_stopped(asyncio.Event(), tasks)
    assert tasks[1].cancelled()


async def test_whoever_waits_for_them_may_be_cancelled() -> None:
    """No task is left over."""
    tasks = [asyncio.create_task(forever()) for _ in range(2)]
    running = asyncio.create_task(until_stopped(asyncio.Event(), tasks))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(task.cancelled() for task in tasks)
