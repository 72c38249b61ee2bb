from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from act_kit import Bench, make_bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An executor over a real API server with a Rollout, two routes and two Deployments."""
    async with make_bench() as made:
        yield made
        await made.executor.stop()
