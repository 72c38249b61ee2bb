from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from deploy_kit import Town, town


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    """A cluster with the Gateway API and its people, and nothing of ours."""
    async with town(tmp_path) as made:
        yield made
