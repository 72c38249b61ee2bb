from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from fake_prometheus import FakePrometheus


@pytest.fixture
async def prometheus() -> AsyncIterator[FakePrometheus]:
    fake = FakePrometheus()
    app = web.Application()
    for prefix in ("", "/other"):
        app.router.add_route("GET", f"{prefix}/api/v1/query", fake.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    fake.release.set()
    await runner.cleanup()
