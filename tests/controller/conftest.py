from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from cluster_kit import api_server, install_all
from controller_kit import Clients, World
from resting_loop import RestingLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """Every loop of these tests can be waited for."""
    return {"resting": RestingLoop}


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
