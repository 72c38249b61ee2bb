"""Turns by namespace, of whatever is shared and quick."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.fair import Limit, RoundRobin


@given(st.lists(st.sampled_from("abc") | st.none(), max_size=60))
def test_turns(played: list[str | None]) -> None:
    """Nothing is lost, each namespace keeps its order, and between two of one nobody else who waits is passed over."""
    queue: RoundRobin[tuple[str, int]] = RoundRobin()
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    passed: defaultdict[str, int] = defaultdict(int)
    for number, namespace in enumerate(played):
        if namespace is not None:
            queue.put(namespace, (namespace, number))
            waiting[namespace].append(number)
        elif queue:
            taken, which = queue.pop()
            assert which == waiting[taken].pop(0)
            passed[taken] = 0
            for other in "abc":
                if other != taken and waiting[other]:
                    passed[other] += 1
                    assert passed[other] <= 2  # one turn of each of the two others
        assert len(queue) == sum(map(len, waiting.values()))


async def hold(limit: Limit, namespace: str, held: list[str], until: asyncio.Event) -> None:
    async with limit.held(namespace):
        held.append(namespace)
        await until.wait()


async def rounds(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_a_place_that_gets_free_goes_to_another_namespace() -> None:
    """Three hundred who wait for a place hold up one of another namespace by a place, not by three hundred."""
    places, held, until = Limit(2), list[str](), asyncio.Event()
    flood = [asyncio.create_task(hold(places, "flood", held, until)) for _ in range(300)]
    await rounds()
    other = asyncio.create_task(hold(places, "team", held, until))
    await rounds()
    assert held == ["flood", "team"]
    until.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*flood, other)
    assert len(held) == 301


@pytest.mark.asyncio
async def test_who_is_slow_leaves_places_to_others() -> None:
    """A namespace holds no more than it leaves free: whatever many of it wait, others begin at once, and so do many others."""
    places, held, until = Limit(32), list[str](), asyncio.Event()
    flood = [asyncio.create_task(hold(places, "flood", held, until)) for _ in range(300)]
    await rounds()
    assert held == ["flood"] * 16
    others = [asyncio.create_task(hold(places, f"team-{number % 4}", held, until)) for number in range(40)]
    await rounds()
    last = asyncio.create_task(hold(places, "last", held, until))
    await rounds()
    assert {f"team-{number}" for number in range(4)} <= set(held)
    assert held[-1] == "last"
    until.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*flood, *others, last)
    assert len(held) == 341


@pytest.mark.asyncio
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=80), st.integers(1, 9))
async def test_places_that_are_free_are_given_to_who_may_have_them(played: list[tuple[str, int]], number: int) -> None:
    """Nobody waits who holds fewer than are free, nobody begins who does not, and all places come back."""
    places, held, tasks = Limit(number), list[str](), list[tuple[asyncio.Task[None], asyncio.Event, str]]()

    async def one(namespace: str, end: asyncio.Event) -> None:
        async with places.held(namespace):
            free = number - len(held)
            assert held.count(namespace) < free
            held.append(namespace)
            try:
                await end.wait()
            finally:
                held.remove(namespace)

    for namespace, which in played:
        if which < len(tasks):
            task, end, _ = tasks[which]
            _ = task.cancel() if which % 2 else end.set()
        else:
            end = asyncio.Event()
            tasks.append((asyncio.create_task(one(namespace, end)), end, namespace))
        await rounds(6)
        begun = len(held)
        waiting = {name for task, end, name in tasks if not task.done()} - set(held)
        assert not waiting or begun == number
    for _, end, _ in tasks:
        end.set()
    ends = await asyncio.gather(*(task for task, _, _ in tasks), return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
    assert places.free == number


@pytest.mark.asyncio
async def test_places_are_bounded_and_given_back() -> None:
    """Whoever is cancelled, while he waits, while he holds one, or as he gets one, leaves no place behind."""
    places, held, until = Limit(2), list[str](), asyncio.Event()
    tasks = [asyncio.create_task(hold(places, name, held, until)) for name in "abcdef"]
    await rounds()
    assert held == ["a", "b"]
    tasks[2].cancel()
    tasks[0].cancel()
    await asyncio.sleep(0)  # d has a's place by now, and has not run yet
    tasks[3].cancel()
    await rounds()
    assert held == ["a", "b", "e"]
    until.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert held == ["a", "b", "e", "f"]
    again = [asyncio.create_task(hold(places, "z", held, until)) for _ in range(2)]
    await asyncio.gather(*again)
    assert len(held) == 6
