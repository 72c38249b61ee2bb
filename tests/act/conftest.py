from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from act_kit import Bench, make_bench

from canary.act import executor


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick waits for its writes for as long as a busy machine may take for them, not for a quarter of a second."""
    monkeypatch.setattr(executor, "PATIENCE", 30.0)


@pytest.fixture
def impatient(patience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what happens to writes that a tick has not waited for."""
    monkeypatch.setattr(executor, "PATIENCE", 0.25)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An executor over a real API server with a Rollout, two routes and two Deployments."""
    async with make_bench() as made:
        yield made
        await made.executor.stop()
