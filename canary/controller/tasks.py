"""Tasks that live and die together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def until_stopped(stop: asyncio.Event, tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait until told to stop, or until one of the tasks has ended; then end all, and raise what one of them raised."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, ExceptionGroup):
            raise error.exceptions[0]
        if isinstance(error, Exception):
            raise error
