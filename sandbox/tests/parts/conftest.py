"""A sandbox with a shop in it, up for one test."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest_asyncio
from cluster_kit import sandbox
from sandbox_kit import Shop


@pytest_asyncio.fixture
async def shop() -> AsyncGenerator[Shop]:
    async with sandbox(crds=()) as cluster:
        shop = Shop(cluster)
        await shop.open()
        yield shop
