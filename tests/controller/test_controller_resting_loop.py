"""The loop that these tests run in tells when nothing is left to do in it, however fast or slow the machine is."""

from __future__ import annotations

import asyncio
import threading
import time

from resting_loop import rest


async def test_what_is_on_its_way_through_sockets_is_no_rest() -> None:
    """Two that answer each other a thousand times are waited for, though each of them waits most of the time."""
    answers = 0

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        for _ in range(1000):
            writer.write(b"?\n")
            answers += len(await reader.readline()) == 2

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        asking = asyncio.create_task(ask(reader, writer))
        await rest()
        assert (answers, asking.done()) == (1000, True)
        writer.close()
        await writer.wait_closed()


async def test_a_loop_that_is_held_up_does_not_rest() -> None:
    """How long a turn takes says nothing: a machine may stand still at any time."""
    turns = 0

    async def slow() -> None:
        nonlocal turns
        for _ in range(5):
            time.sleep(0.02)  # noqa: ASYNC251 - as on a machine that has no time for us
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(slow())
    await rest()
    assert (turns, task.done()) == (5, True)


async def test_a_thread_that_works_for_somebody_is_waited_for() -> None:
    """Of a thread that somebody waits for comes news, when it is done."""
    go = threading.Event()
    work = asyncio.get_running_loop().run_in_executor(None, go.wait)
    resting = asyncio.create_task(rest())
    await asyncio.sleep(0.05)
    assert not resting.done()
    go.set()
    await resting
    assert work.done()


async def test_timers_are_waited_for_within_the_horizon_and_not_beyond() -> None:
    """A timer beyond it may ring whenever it likes."""
    loop, rung = asyncio.get_running_loop(), list[str]()
    loop.call_later(0.05, rung.append, "near")
    far = loop.call_later(3600, rung.append, "far")
    await rest()
    assert rung == []
    await rest(1)
    assert rung == ["near"]
    far.cancel()


async def test_a_timer_that_always_rings_again_is_no_unrest() -> None:
    """With no horizon, a heartbeat of a millisecond keeps nobody from resting."""

    async def beat() -> None:
        while True:  # noqa: ASYNC110 - what it is about
            await asyncio.sleep(0.001)

    task = asyncio.create_task(beat())
    await asyncio.wait_for(rest(), 20)
    task.cancel()


async def test_what_is_busy_elsewhere_is_waited_for() -> None:
    """It is asked again each time that the loop has nothing to do."""
    busy = True
    resting = asyncio.create_task(rest(0, lambda: busy))
    await asyncio.sleep(0.02)
    assert not resting.done()
    busy = False
    await asyncio.sleep(0)
    await asyncio.wait_for(resting, 20)


async def test_everybody_who_waits_is_told() -> None:
    """One after the other, by their own horizon; who has given up is in nobody's way."""
    lost = asyncio.create_task(rest())
    await asyncio.sleep(0)
    lost.cancel()
    await asyncio.wait_for(asyncio.gather(*(rest(horizon) for horizon in (0, 0.01, 0.1))), 20)
