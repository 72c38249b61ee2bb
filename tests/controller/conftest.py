from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from cluster_kit import api_server, install_all
from controller_kit import Clients, World


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients() -> AsyncIterator[Clients]:
    """One API server for all tests of a module, and those who talk to it."""
    async with api_server() as api:
        await install_all(api)
        made = Clients(api)
        yield made
        await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def world(clients: Clients) -> AsyncIterator[World]:
    """A namespace of its own with everybody in it but the controller."""
    clients.api.audit.clear()
    async with World(clients) as made:
        yield made
    clients.api.faults.clear()
