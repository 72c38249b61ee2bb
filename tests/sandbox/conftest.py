"""A sandbox with a shop in it, up for one test."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest_asyncio
from sandbox_kit import Shop

from canary.sandbox.cluster import Sandbox


@pytest_asyncio.fixture
async def shop() -> AsyncGenerator[Shop]:
    async with Sandbox(crds=()) as box:
        shop = Shop(box)
        await shop.open()
        yield shop
