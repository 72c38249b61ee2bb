from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from controller_kit import World, api_server

from canary.sandbox.apiserver import ApiServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api() -> AsyncIterator[ApiServer]:
    """One API server for all tests of a module; each test has a namespace of its own in it."""
    async with api_server() as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokens() -> dict[str, str]:
    """Bearer tokens by user, so that each exists once per server."""
    return {}


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_api: ApiServer, tokens: dict[str, str]) -> AsyncIterator[World]:
    """A namespace with everybody in it but the controller."""
    shared_api.audit.clear()
    async with World(shared_api, tokens) as made:
        yield made
    shared_api.faults.clear()
