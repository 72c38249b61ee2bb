"""What is made when it is first asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from canary.later import Later


async def test_it_is_made_once_however_many_ask_at_once() -> None:
    """Loading is done in a thread, making in the event loop's own; nobody gets another one."""
    loaded, made = [], []

    def load() -> Callable[[], object]:
        loaded.append(threading.current_thread())
        return make

    def make() -> object:
        made.append(threading.current_thread())
        return object()

    later = Later(load)
    assert later.made is None
    found = await asyncio.gather(*(later.get() for _ in range(5)))
    assert {id(one) for one in found} == {id(later.made)}
    assert made == [threading.main_thread()]
    assert threading.main_thread() not in loaded


async def test_nobody_else_waits_while_it_is_loaded() -> None:
    """The event loop goes on meanwhile."""
    go = threading.Event()

    def load() -> Callable[[], str]:
        assert go.wait(10)
        return lambda: "made"

    later = Later(load)
    asking = asyncio.create_task(later.get())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    go.set()
    assert await asking == "made"


async def test_what_could_not_be_loaded_is_tried_again() -> None:
    """Whoever asked is told, the next one may have more luck."""
    answers = iter((ImportError("no such library"), None))

    def load() -> Callable[[], str]:
        if (trouble := next(answers)) is not None:
            raise trouble
        return lambda: "made"

    later = Later(load)
    with pytest.raises(ImportError, match="no such library"):
        await later.get()
    assert await later.get() == "made"
