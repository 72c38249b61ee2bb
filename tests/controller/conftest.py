from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from cluster_kit import api_server, install_all
from controller_kit import Cast, World


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast() -> AsyncIterator[Cast]:
    """One API server for all tests of a module, and those who talk to it."""
    async with api_server() as api:
        await install_all(api)
        made = Cast(api)
        yield made
        await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def world(cast: Cast) -> AsyncIterator[World]:
    """A namespace of its own with everybody in it but the controller."""
    cast.api.audit.clear()
    async with World(cast) as made:
        yield made
    cast.api.faults.clear()
