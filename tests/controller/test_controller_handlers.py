"""What kopf leaves behind when it is ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from canary.controller.handlers import left_open


async def infinite_watch() -> AsyncIterator[int]:
    """Cannot be closed, as kopf's while an event of it is handled."""
    try:
        yield 1
    except GeneratorExit:
        raise RuntimeError("generator didn't stop after athrow()") from None


async def another() -> AsyncIterator[int]:
    """One of ours that fails in the same way."""
    try:
        yield 1
    except GeneratorExit:
        raise RuntimeError("a mistake of ours") from None


@pytest.mark.parametrize(("stream", "said"), [(infinite_watch, False), (another, True)])
def test_a_stream_that_kopf_left_open_is_no_error(
    stream: Callable[[], AsyncIterator[int]], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can do anything about it at the end of a controller. What is not kopf's is said as always."""

    opened: list[AsyncIterator[int]] = []

    async def leave_open() -> None:
        asyncio.get_running_loop().set_exception_handler(left_open)
        opened.append(stream())
        await anext(opened[0])

    with caplog.at_level(logging.INFO):
        asyncio.run(leave_open())
    assert ("error occurred during closing" in caplog.text) is said
